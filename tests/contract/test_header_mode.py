"""The session routes for clients that keep their session themselves, and send it in a header: on every stack."""

from __future__ import annotations

import itertools
import json
from typing import Any

import httpx
import pytest
from contract.behaviour import ORIGIN
from contract.requests import bearer
from contract.responses import assert_refused
from contract.stacks import Site

from moonkey_core.emulator import Emulator
from support import quick
from support.scripted import wait_until
from support.visitors import FOREIGN, PAGE, pair, signed_in_long_ago, with_app

_numbers = itertools.count()


@pytest.fixture
def me() -> str:
    """An address of each test's own: only so many codes are sent to one."""
    return f"ada{next(_numbers)}@header.example"


@pytest.fixture
def api(site: Site, browser: httpx.Client) -> httpx.Client:
    """A client of a site without cookies."""
    browser.base_url = httpx.URL(f"{site.url}/header")
    return browser


def answered(response: httpx.Response, status: int = 200) -> dict[str, Any]:
    """The JSON of an answer: never stored, never a cookie or a page."""
    assert response.status_code == status, response.text
    assert response.headers["cache-control"] == "no-store"
    assert "set-cookie" not in response.headers
    expected = "application/json" if status == 200 else "application/problem+json"
    assert response.headers["content-type"] == expected
    found: dict[str, Any] = response.json()
    return found


def is_alive(emulator: Emulator, user_id: str, session_id: str) -> bool:
    """Whether the API itself still knows a session."""
    url = f"{emulator.base_url}/v1/auth/sessions/list"
    listed = quick.get(url, params={"user_id": user_id}, headers=bearer(emulator.secret_key)).json()["sessions"]
    return session_id in {session["id"] for session in listed}


def signed_in(api: httpx.Client, emulator: Emulator, email: str) -> dict[str, Any]:
    sent = answered(api.post("/sign-in/otp", json={"email": email}))
    code = {"method_id": sent["method_id"], "code": emulator.outbox()[0].code}
    return answered(api.post("/sign-in/otp/verify", json=code))


def test_signing_in(api: httpx.Client, emulator: Emulator, me: str) -> None:
    steps = answered(api.get("/sign-in"))["steps"]
    assert steps["verify_otp"] == {
        "method": "POST",
        "path": "/header/sign-in/otp/verify",
        "fields": ["method_id", "code"],
    }
    found = signed_in(api, emulator, me)
    assert found.keys() == {"authenticated", "session_token", "session_jwt", "user", "session", "next"}
    assert found["user"]["id"] == found["session"]["user_id"] == emulator.outbox()[0].user_id
    for name in ("session_token", "session_jwt"):
        for headers in (bearer(found[name]), {"session-token": found[name]}):
            hydrated = answered(api.get("/session", headers=headers))
            assert (hydrated["authenticated"], hydrated["user"]["id"]) == (True, found["user"]["id"])
            assert "session_jwt" not in hydrated


def test_as_the_browsers_fetch_sends_it(api: httpx.Client, emulator: Emulator, me: str) -> None:
    """From a page of another origin, which keeps what it gets: with no cookie there is nothing to forge."""
    headers = {**FOREIGN, **PAGE, "Origin": ORIGIN}
    sent = answered(api.post("/sign-in/otp", json={"email": me}, headers=headers))
    code = {"method_id": sent["method_id"], "code": emulator.outbox()[0].code}
    found = answered(api.post("/sign-in/otp/verify", data=code, headers=headers))
    left = answered(api.post("/sign-out", headers={**headers, **bearer(found["session_token"])}))
    assert left == {"signed_out": True, "complete": True, "revocation": "local"}


def test_by_a_magic_link(api: httpx.Client, emulator: Emulator, me: str) -> None:
    url = f"{emulator.base_url}/v1/auth/magic_links/email/login_or_create"
    quick.post(url, json={"email": me}, headers=bearer(emulator.secret_key)).raise_for_status()
    found = answered(api.post("/sign-in/magic", json={"token": emulator.outbox()[0].code}))
    assert answered(api.get("/session", headers=bearer(found["session_jwt"])))["authenticated"]
    assert_refused(api.post("/sign-in/magic", json={"token": emulator.outbox()[0].code}), 401, "invalid_token")


def test_devices(api: httpx.Client, emulator: Emulator, me: str) -> None:
    mine, *others = (emulator.sign_in(email=me) for _ in range(4))
    headers = bearer(mine.session_token)
    listed = answered(api.get("/sessions", headers=headers))["sessions"]
    assert {one["id"] for one in listed} == {mine.session_id, *(one.session_id for one in others)}
    first = others[0].session_id
    assert answered(api.post(f"/sessions/{first}/revoke", headers=headers)) == {
        "revoked": [first],
        "revocation": "local",
    }
    ended = answered(api.post("/sessions/revoke-others", headers=headers))["revoked"]
    assert {*ended} == {one.session_id for one in others[1:]}
    for other in others:
        assert_refused(api.get("/sessions", headers=bearer(other.session_jwt)), 401, "invalid_token")
    own = answered(api.post(f"/sessions/{mine.session_id}/revoke", headers=headers))
    assert own == {"signed_out": True, "complete": True, "revocation": "local"}
    assert answered(api.get("/session", headers=headers)) == {"authenticated": False}


def test_signing_out(api: httpx.Client, emulator: Emulator, me: str) -> None:
    for name in ("session_token", "session_jwt"):
        found = signed_in(api, emulator, me)
        headers = {"session-token": found[name]}
        assert answered(api.post("/sign-out", headers=headers)) == {
            "signed_out": True,
            "complete": True,
            "revocation": "local",
        }
        for other in ("session_token", "session_jwt"):
            assert answered(api.get("/session", headers=bearer(found[other]))) == {"authenticated": False}


def test_proving_more(api: httpx.Client, emulator: Emulator, me: str) -> None:
    found = signed_in(api, emulator, me)
    secret = with_app(emulator, found["user"]["id"])
    headers = bearer(found["session_token"])
    options = answered(api.get("/step-up", headers=headers))["options"]
    assert [one["which"] for one in options] == ["email", "totp"]
    sent = answered(api.post("/step-up/otp", json={"which": "email"}, headers=headers))
    code = {"method_id": sent["method_id"], "code": emulator.outbox()[0].code}
    proven = answered(api.post("/step-up/otp/verify", json=code, headers=headers))
    assert proven["session"]["id"] == found["session"]["id"]
    assert proven["session_token"] != found["session_token"]
    headers = bearer(proven["session_token"])
    again = answered(api.post("/step-up/totp", json={"code": emulator.totp_code(secret)}, headers=headers))
    assert len(again["session"]["factors"]) == 3
    assert answered(api.get("/session", headers=bearer(again["session_jwt"])))["authenticated"]


def test_an_old_jwt_is_exchanged(api: httpx.Client, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    hydrated = answered(api.get("/session", headers=bearer(person.session_jwt)))
    fresh = hydrated["session_jwt"]
    assert fresh != person.session_jwt
    emulator.clear_requests()
    assert answered(api.get("/session", headers=bearer(fresh)))["session"]["id"] == person.session_id
    assert emulator.requests()["POST /v1/auth/sessions/verify"] == 0


@pytest.mark.rule("S42")
def test_cookies_prove_nothing(web: httpx.Client, emulator: Emulator) -> None:
    """Beside the routes for browsers, in a site that reads cookies everywhere else."""
    ada = emulator.sign_in()
    assert web.get("/auth/session", headers=pair(ada)).json()["authenticated"]
    assert answered(web.get("/header/session", headers=pair(ada))) == {"authenticated": False}
    for method, path in (("GET", "sessions"), ("POST", "sessions/revoke-others"), ("GET", "step-up")):
        refused = web.request(method, f"/header/{path}", headers={**pair(ada), **FOREIGN})
        assert_refused(refused, 401)
    left = answered(web.post("/header/sign-out", headers={**pair(ada), **FOREIGN}))
    assert left == {"signed_out": True, "complete": True, "revocation": "local"}
    assert is_alive(emulator, ada.user_id, ada.session_id)
    assert web.get("/auth/session", headers=pair(ada)).json()["authenticated"]


def test_what_there_is_for_browsers_only(api: httpx.Client) -> None:
    for path in ("/callback/oauth", "/style.css"):
        assert api.get(path, headers=PAGE).status_code == 404
    for path in ("/sign-in/otp/verify", "/sign-in/magic", "/sign-out", "/step-up/otp/verify"):
        assert api.get(path, headers=PAGE).status_code == 405


def test_a_code_goes_with_its_method_id(api: httpx.Client, emulator: Emulator, me: str) -> None:
    first, second = (answered(api.post("/sign-in/otp", json={"email": f"{name}{me}"})) for name in "ab")
    code = emulator.outbox()[0].code
    for wrong in ({}, {"method_id": ""}, {"method_id": "x" * 300}, {"method_id": emulator.outbox()[0].method_id}):
        refused = answered(api.post("/sign-in/otp/verify", json={**wrong, "code": code}), 400)
        assert refused["status"] == 400
    refused = answered(api.post("/sign-in/otp/verify", json={"method_id": first["method_id"], "code": code}), 401)
    assert refused["tries_left"] == 4
    found = answered(api.post("/sign-in/otp/verify", json={"method_id": second["method_id"], "code": code}))
    assert found["authenticated"]
    assert emulator.outbox()[0].method_id not in second["method_id"]


@pytest.mark.parametrize("kind", ["text/plain;charset=UTF-8", "", "multipart/form-data; boundary=x", "text/json"])
def test_a_body_of_another_kind(web: httpx.Client, api: httpx.Client, emulator: Emulator, kind: str) -> None:
    """As ``fetch`` sends JSON if it is not told what it is."""
    headers = {"Content-Type": kind} if kind else {}
    for client, path in ((api, "/sign-in/otp"), (web, "/auth/sign-in/otp"), (web, "/header/sign-in/otp")):
        own = {**headers, "Sec-Fetch-Site": "same-origin"}
        refused = answered(client.post(path, content=b'{"email": "ada@example.com"}', headers=own), 415)
        assert refused["title"] == "Unsupported Media Type"
        assert "application/json" in refused["detail"]
    assert emulator.outbox() == []


def test_a_compressed_body(api: httpx.Client, emulator: Emulator, me: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answered(api.post("/sign-in/otp", content=b"\x1f\x8b", headers=headers), 415)
    headers["Content-Encoding"] = "identity"
    answered(api.post("/sign-in/otp", content=json.dumps({"email": me}).encode(), headers=headers))
    assert len(emulator.outbox()) == 1


def test_without_a_credential(api: httpx.Client) -> None:
    assert answered(api.get("/session")) == {"authenticated": False}
    assert answered(api.post("/sign-out")) == {"signed_out": True, "complete": True, "revocation": "local"}
    for method, path in (
        ("GET", "/sessions"),
        ("POST", "/sessions/revoke-others"),
        ("GET", "/step-up"),
        ("POST", "/step-up/otp"),
    ):
        assert_refused(api.request(method, path, headers=PAGE), 401)


def test_while_the_api_is_down(
    api: httpx.Client, emulator: Emulator, me: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moonkey_core._operations.ending_retries._FIRST_PAUSE", 0.05)
    found = signed_in(api, emulator, me)
    emulator.fault("/v1/auth", status=500)
    assert_refused(api.get("/session", headers=bearer(found["session_token"])), 503)
    assert_refused(api.post("/sign-in/otp", json={"email": f"new{me}"}), 503)
    left = answered(api.post("/sign-out", headers=bearer(found["session_token"])))
    assert left == {"signed_out": True, "complete": False, "revocation": "local"}
    emulator.clear_faults()
    assert answered(api.get("/session", headers=bearer(found["session_token"]))) == {"authenticated": False}
    assert wait_until(lambda: not is_alive(emulator, found["user"]["id"], found["session"]["id"]))
