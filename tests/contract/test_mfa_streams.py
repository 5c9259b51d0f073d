"""A second factor that the app has recorded, where a stream of Flask or Django begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from contract.mfa_clients import MFA, SAME, Client, assert_asked
from contract.mfa_sites import MFA_STACKS
from contract.requests import bearer

from moonkey_core import CookieSettings
from moonkey_core.emulator import Emulator
from support import quick
from support.visitors import pair

STACKS = ["flask-wsgi", "django-wsgi", "django-asgi"]
on_each_stack = pytest.mark.parametrize(
    "stack", [pytest.param(one, marks=() if one != "django-wsgi" else pytest.mark.long) for one in STACKS]
)


@contextmanager
def open_site(stack: str, emulator: Emulator, **more: Any) -> Iterator[httpx.Client]:
    options = {
        "secret_key": emulator.secret_key,
        "base_url": emulator.base_url,
        "jwt_issuer": emulator.issuer,
        "mfa_lifetime": 3600,
        "mfa_scope": "credential",
        "timeout": 30.0,
        **more,
    }
    with MFA_STACKS[stack](options) as url, quick.Client(base_url=url) as http:
        yield http


@on_each_stack
@pytest.mark.parametrize("place", ["header", "cookie"])
def test_it_begins_with_a_handle_and_outlasts_the_record(stack: str, place: str, emulator: Emulator) -> None:
    more = {"cookies": CookieSettings()} if place == "cookie" else {}
    with open_site(stack, emulator, **more) as http:

        def client(email: str) -> Client:
            person = emulator.sign_in(email=email)
            return Client(http, pair(person) if place == "cookie" else bearer(person.session_jwt))

        ada, ben = client("ada@example.com"), client("ben@example.com")
        assert_asked(ada.get("/stream"))
        assert ada.post("/verified").status_code == 200
        assert_asked(ada.like(ben.credential).get("/stream"))
        line = "; ".join(
            filter(None, [ada.credential.get("Cookie"), *(f"{MFA}={one}" for one in ada.cookies.values())])
        )
        sent = {**SAME, **ada.credential, **ada.handles, **({"Cookie": line} if line else {})}
        with http.stream("GET", "/stream", headers=sent) as response:
            assert response.status_code == 200
            lines = response.iter_lines()
            assert next(lines).startswith("mfa_")
            assert ada.like(ada.credential).post("/end").status_code == 200
            assert [one for one in lines if one != "."] == ["None"]  # it was not cut off
        assert_asked(http.get("/stream", headers=sent))


@on_each_stack
def test_the_scope_of_a_user(stack: str, emulator: Emulator) -> None:
    """A stream looks the record up as any request does; without the store it is 503, never let through."""
    with open_site(stack, emulator, mfa_scope="user", mfa_single_process=True) as http:
        ada = Client(http, bearer(emulator.sign_in(email="ada@example.com").session_jwt))
        assert_asked(ada.get("/stream"))
        assert ada.post("/verified").status_code == 200
        with http.stream("GET", "/stream", headers=ada.credential) as response:
            lines = response.iter_lines()
            assert next(lines).startswith("mfa_")
            assert ada.post("/end").status_code == 200
            assert [one for one in lines if one != "."] == ["None"]
        assert_asked(ada.get("/stream"))
    with open_site(stack, emulator, mfa_scope="user", redis_url="redis://127.0.0.1:1/0") as http:
        refused = Client(http, bearer(emulator.sign_in(email="ada@example.com").session_jwt)).get("/stream")
        assert refused.status_code == 503, refused.text
        assert "www-authenticate" not in refused.headers
