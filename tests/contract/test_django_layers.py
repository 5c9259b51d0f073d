"""Django and Django REST framework: a refusal comes through all layers between a gate and the client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from contract.django_layers import ARRANGEMENTS, GATED
from contract.refusals import REFUSALS, Refused, assert_kept, assert_whole
from contract.requests import bearer
from contract.stacks import AS_SENT_ASGI, AS_SENT_WSGI, usual_options
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings

from moonkey_core.emulator import Emulator
from support import quick
from support.servers import serve_asgi, serve_wsgi


def serve(kind: str) -> AbstractContextManager[str]:
    if kind == "wsgi":
        return serve_wsgi(WSGIHandler(), **AS_SENT_WSGI)
    return serve_asgi(ASGIHandler(), lifespan="off", **AS_SENT_ASGI)


@pytest.fixture(
    scope="module", params=[(kind, name) for kind in ("wsgi", "asgi", "lazy") for name in ARRANGEMENTS]
)
def browser(request: pytest.FixtureRequest, shared_emulator: Emulator) -> Iterator[httpx.Client]:
    shared_emulator.start()
    kind, arrangement = request.param
    options: dict[str, Any] = {**usual_options(shared_emulator), "lazy": kind == "lazy"}
    with (
        override_settings(
            ROOT_URLCONF="contract.django_layers",
            MIDDLEWARE=ARRANGEMENTS[arrangement],
            ALLOWED_HOSTS=["*"],
            MOONKEY={name.upper(): value for name, value in options.items()},
        ),
        serve(kind) as url,
        quick.Client(base_url=url) as client,
    ):
        yield client


def paths(refused: Refused) -> list[str]:
    found = [f"/{view}/{refused.asks_for}" for view in GATED]
    return found if refused.asks_for == "write" else [*found, "/stream/me"]


@pytest.mark.long
@pytest.mark.rule("S27", "S28")
@pytest.mark.parametrize("situation", REFUSALS)
def test_refusals_come_through(browser: httpx.Client, emulator: Emulator, situation: str) -> None:
    refused = REFUSALS[situation]
    sent = refused.arrange(emulator)
    for path in paths(refused):
        assert_whole(browser.get(path, headers=sent), refused, path)
    enveloped = browser.get(f"/rest-enveloped/{refused.asks_for}", headers=sent)
    assert_kept(enveloped, refused)
    assert enveloped.json()["status_code"] == refused.status


def test_rest_framework_refuses_as_ever(browser: httpx.Client, emulator: Emulator) -> None:
    """Its own responses for what its authentication class has refused."""
    for name in ("bad credential", "outage", "configuration fault"):
        emulator.clear_faults()
        refused = REFUSALS[name]
        response = browser.get("/authenticated/me", headers=refused.arrange(emulator))
        assert_kept(response, refused, name)
        assert list(response.json()) == (["detail", "reason"] if name == "bad credential" else ["detail"])


def test_a_signed_in_user_comes_through(browser: httpx.Client, emulator: Emulator) -> None:
    person = emulator.sign_in()
    for path in (*paths(REFUSALS["no credential"]), "/rest-enveloped/me", "/authenticated/me"):
        response = browser.get(path, headers=bearer(person.session_token))
        assert (response.status_code, response.json()) == (200, {"user": person.user_id}), path
