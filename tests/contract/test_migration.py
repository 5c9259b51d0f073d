"""An app whose users move from MoonKey to Stytch: both have sessions, and each page is for the users of both.

One stack is tested here, the others by the long tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from contract.stacks import STACKS
from contract.stytch_sites import SIGN_IN, on_each_stack, provider

from moonkey_core import CookieSettings
from moonkey_core.emulator import Emulator, SignedIn, StytchEmulator
from support import quick
from support.patience import PATIENT
from support.scripted import wait_until
from support.stytch_sdk import OPAQUE, StytchVisitor

SESSION = CookieSettings().session_name
DELETE = "DELETE /v1/auth/sessions/delete"

pytestmark = on_each_stack({"starlette"})


@pytest.fixture(scope="module", params=["stytch", "moonkey"])
def first(request: pytest.FixtureRequest) -> str:
    """The provider that signs users in."""
    return str(request.param)


@pytest.fixture(scope="module")
def shared_site(
    stack: str, first: str, shared_emulator: Emulator, shared_stytch: StytchEmulator
) -> Iterator[httpx.Client]:
    for one in (shared_emulator, shared_stytch):
        one.start()
    other: Any = provider(shared_stytch).at(credential_headers="x-stytch-session", cookies=CookieSettings())
    options = {
        "secret_key": shared_emulator.secret_key,
        "base_url": shared_emulator.base_url,
        "jwt_issuer": shared_emulator.issuer,
        "cookies": CookieSettings(),
        "sign_in": SIGN_IN,
        "providers": [other, "moonkey"] if first == "stytch" else ["moonkey", other],
        **PATIENT,
    }
    with STACKS[stack](options) as made, quick.Client(base_url=made.url) as http:
        yield http


@pytest.fixture
def site(shared_site: httpx.Client, emulator: Emulator, stytch: StytchEmulator) -> httpx.Client:
    return shared_site


def at_moonkey(site: httpx.Client, emulator: Emulator) -> tuple[StytchVisitor, SignedIn]:
    visitor, person = StytchVisitor(site), emulator.sign_in(email=f"{uuid4().hex[:12]}@example.com")
    visitor.jar.write(f"{SESSION}={person.session_token}; Path=/; Secure; HttpOnly")
    return visitor, person


def at_stytch(site: httpx.Client, stytch: StytchEmulator) -> tuple[StytchVisitor, Any]:
    visitor, person = StytchVisitor(site), stytch.sign_in(f"{uuid4().hex[:12]}@example.com")
    visitor.jar.write(f"{OPAQUE}={person.session_token}; Path=/; Secure; HttpOnly")
    return visitor, person


def test_the_pages_are_for_users_of_both(site: httpx.Client, emulator: Emulator, stytch: StytchEmulator) -> None:
    for visitor, person in (at_moonkey(site, emulator), at_stytch(site, stytch)):
        assert visitor.get("/auth/session").json()["session"]["id"] == person.session_id
        (listed,) = visitor.get("/auth/sessions").json()["sessions"]
        assert listed["id"] == person.session_id
        assert visitor.get("/auth/step-up").json()["options"][0]["which"] == "email"
        done = visitor.post("/auth/sign-out").json()
        assert (done["signed_out"], done["complete"]) == (True, True)
        assert visitor.jar.names() == set()
        assert visitor.get("/protected").status_code == 401
    assert emulator.requests()[DELETE] == 1
    assert stytch.requests()["POST /v1/sessions/revoke"] == 1


def test_another_device_of_the_same_user(site: httpx.Client, emulator: Emulator, stytch: StytchEmulator) -> None:
    visitor, person = at_moonkey(site, emulator)
    address = visitor.get("/auth/session").json()["user"]["email"]
    other = emulator.sign_in(email=address)
    assert visitor.post(f"/auth/sessions/{other.session_id}/revoke").json()["revoked"] == [other.session_id]
    assert {one["id"] for one in visitor.get("/auth/sessions").json()["sessions"]} == {person.session_id}
    visitor, person = at_stytch(site, stytch)
    second = stytch.sign_in(user_id=person.user_id)
    assert visitor.post("/auth/sessions/revoke-others").json()["revoked"] == [second.session_id]


def test_a_step_up(site: httpx.Client, emulator: Emulator, stytch: StytchEmulator) -> None:
    for (visitor, _), service in ((at_moonkey(site, emulator), emulator), (at_stytch(site, stytch), stytch)):
        before = visitor.get("/auth/session").json()["session"]["id"]
        assert visitor.post("/auth/step-up/otp", {"which": "email"}).json()["sent"] is True
        done = visitor.post("/auth/step-up/otp/verify", {"code": service.outbox()[0].code})
        assert done.status_code == 200, done.text
        assert visitor.get("/auth/session").json()["session"]["id"] == before


def test_a_browser_that_signs_in_has_one_session(
    site: httpx.Client, first: str, emulator: Emulator, stytch: StytchEmulator
) -> None:
    """Nothing lies below the new one, to come up when that ends; and what was before has ended."""
    service: Any = stytch if first == "stytch" else emulator
    visitor, before = at_moonkey(site, emulator) if first == "stytch" else at_stytch(site, stytch)
    assert visitor.get("/protected").json()["session"] == before.session_id
    address = f"{uuid4().hex[:12]}@example.com"
    assert visitor.post("/auth/sign-in/otp", {"address": address}).json()["sent"] is True
    done = visitor.post("/auth/sign-in/otp/verify", {"code": service.outbox()[0].code})
    assert done.status_code == 200, done.text
    old, new = (SESSION, OPAQUE) if first == "stytch" else (OPAQUE, SESSION)
    assert new in visitor.jar.names()
    assert old not in visitor.jar.names()
    copy = StytchVisitor(site)
    copy.jar.write(f"{old}={before.session_token}; Path=/; Secure; HttpOnly")
    assert wait_until(lambda: copy.get("/protected").status_code == 401)
    asked, route = (emulator, DELETE) if first == "stytch" else (stytch, "POST /v1/sessions/revoke")
    assert wait_until(lambda: asked.requests()[route] == 1)
    assert visitor.post("/auth/sign-out").status_code == 200
    assert visitor.jar.names() == set()


def test_a_browser_with_sessions_of_both_is_signed_out_of_both(
    site: httpx.Client, emulator: Emulator, stytch: StytchEmulator
) -> None:
    visitor, _ = at_moonkey(site, emulator)
    visitor.jar.write(f"{OPAQUE}={stytch.sign_in().session_token}; Path=/; Secure; HttpOnly")
    assert visitor.post("/auth/sign-out").status_code == 200
    assert visitor.jar.names() == set()
    assert visitor.get("/protected").status_code == 401
