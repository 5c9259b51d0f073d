"""The document on Coinbase CDP shows what can be used as it is, and what a sign-out answers."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings

from moonkey_core import CDP
from moonkey_core.emulator import CdpEmulator
from support import quick
from support.clients import Both
from support.documents import between, block
from support.flow_visits import Visitor
from support.servers import serve_asgi, serve_wsgi

DOCUMENT = "docs/cdp.md"


@pytest.mark.parametrize("name", ["cdp", "custom"])
def test_its_examples(cdp: CdpEmulator, name: str) -> None:
    names = {"api_key_id": cdp.api_key_id, "api_key_secret": cdp.api_key_secret, "project_id": cdp.project_id}
    with block(DOCUMENT, name).run(**names)["client"] as client:
        assert ("get_user" in client.capabilities) is (name == "cdp")


def credentials_of(cdp: CdpEmulator) -> dict[str, Any]:
    """The names that the apps use, and a provider that asks the emulator."""
    return {
        "api_key_id": cdp.api_key_id,
        "api_key_secret": cdp.api_key_secret,
        "project_id": cdp.project_id,
        "cache_secret": "c" * 32,
        "timedelta": timedelta,
        "CDP": partial(CDP, base_url=cdp.api_url),
    }


@contextmanager
def served(name: str, cdp: CdpEmulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The app of the document, on a socket."""
    monkeypatch.setattr("moonkey_core.CDP", partial(CDP, base_url=cdp.api_url))
    names = credentials_of(cdp)
    shown = block(DOCUMENT, name).run(**names)
    if name == "flask":
        with serve_wsgi(shown["app"]) as url:
            yield url
    elif name == "fastapi":
        with serve_asgi(shown["app"]) as url:
            yield url
    else:
        settings = block(DOCUMENT, "django settings").run(**names)
        with (
            override_settings(
                ROOT_URLCONF=tuple(shown["urlpatterns"]),
                MOONKEY=settings["MOONKEY"],
                MIDDLEWARE=settings["MIDDLEWARE"],
                ALLOWED_HOSTS=["127.0.0.1"],
            ),
            serve_wsgi(WSGIHandler()) as url,
        ):
            yield url


@pytest.mark.parametrize("name", ["flask", "django", "fastapi"])
def test_its_apps(cdp: CdpEmulator, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    ada = cdp.sign_in("ada@example.com")
    cdp.add_wallets(ada.user_id)
    bearer = {"Authorization": f"Bearer {ada.access_token}"}
    with served(name, cdp, monkeypatch) as url, quick.Client(base_url=url, headers=bearer) as http:
        me = http.get("/me").json()
        assert me["id"] == ada.user_id
        assert len(me["wallets"]) > 1
        assert http.get("/vault").json()["reason"] == "mfa_not_enrolled"
        cdp.enroll_mfa(ada.user_id)
        bearer["Authorization"] = f"Bearer {cdp.refresh(ada.refresh_token).access_token}"
        asked = http.get("/vault", headers=bearer)
        assert (asked.status_code, asked.json()["mfa"]) == (401, True)
        handle = http.post("/mfa/verified", headers=bearer).headers["mfa-handle"]
        assert "verified_at" in http.get("/vault", headers={**bearer, "MFA-Handle": handle}).json()
        assert http.post("/auth/sign-out", headers=bearer).json()["provider_sign_out"] is True
        assert http.get("/me", headers=bearer).status_code == 401
        bearer["Authorization"] = f"Bearer {cdp.refresh(ada.refresh_token).access_token}"
        assert http.get("/vault", headers={**bearer, "MFA-Handle": handle}).json()["mfa"] is True


def test_the_command_is_that_of_the_emulator() -> None:
    command = block(DOCUMENT, "Develop without an account").code.split()
    assert command == ["python", "-m", "moonkey_core.emulator", "--provider", "cdp"]


def test_the_arguments_are_those_that_there_are() -> None:
    cells = [line.split("|")[1] for line in between(DOCUMENT, "arguments").splitlines() if "|" in line]
    shown = set(re.findall(r"`(\w+)`", "".join(cells)))
    assert shown == set(inspect.signature(CDP).parameters)


def test_what_a_sign_out_answers(cdp: CdpEmulator) -> None:
    provider = CDP(cdp.api_key_id, cdp.api_key_secret, cdp.project_id, base_url=cdp.api_url)
    call = Both("sync", {"provider": provider, "cache_secret": "c" * 32})
    try:
        visitor = Visitor(call, html=False, mode="header")
        answer = visitor.post("sign_out", authorization=f"Bearer {cdp.sign_in().access_token}")
        assert json.loads(answer.body) == json.loads(block(DOCUMENT, "sign-out").code)
    finally:
        call.close()
