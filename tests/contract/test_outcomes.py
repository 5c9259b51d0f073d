"""The table of outcomes, the same on every stack."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest
from contract.behaviour import ORIGIN
from contract.requests import bearer
from contract.responses import assert_refused
from contract.stacks import OpenSite, Site

from moonkey_core.emulator import Emulator
from moonkey_core.emulator.errors import Shape
from support.visitors import pair, set_by, signed_in_long_ago, vary

PROTECTED = ["/protected", "/other-colour"]


@pytest.mark.parametrize("path", PROTECTED)
def test_no_credential(site: Site, browser: httpx.Client, path: str) -> None:
    assert_refused(browser.get(site.url + path), 401)
    assert_refused(browser.get(site.url + path, headers={"Authorization": "Basic dXNlcjpwdw=="}), 401)
    assert site.runs == []


@pytest.mark.rule("S28", "token", "jwt")
@pytest.mark.rule("S34")
@pytest.mark.parametrize("path", PROTECTED)
def test_good_credentials(site: Site, browser: httpx.Client, emulator: Emulator, path: str) -> None:
    signed_in = emulator.sign_in(email="ada@example.com")
    emulator.clear_requests()
    for credential in (signed_in.session_token, signed_in.session_jwt):
        for headers in (
            bearer(credential),
            {"session-token": credential},
            {"authorization": f"bEARER   {credential}"},
        ):
            response = browser.get(site.url + path, headers=headers)
            assert response.status_code == 200
            assert response.json() == {"user": signed_in.user_id, "session": signed_in.session_id}
            assert {"authorization", "session-token"} <= vary(response)
            assert response.headers["cache-control"] == "private"
    # Each token is checked at the API, every time; the JWTs cost one fetch of the keys together.
    assert emulator.requests()["POST /v1/auth/sessions/verify"] == 3
    assert emulator.requests()["GET /v1/auth/jwks/default"] <= 1


@pytest.mark.rule("S2", "token")
@pytest.mark.parametrize("path", PROTECTED)
@pytest.mark.parametrize(
    "value",
    [
        "Bearer ,",
        "Bearer a b",
        "Bearer Bearer abc",
        "Bearer a,Bearer b",
        'Bearer "abc"',
        "Bearer abc=d",
        "Bearer " + "a" * 8193,
        "Bearer caf%C3%A9",
        "Bearer=abc",
    ],
)
def test_malformed(site: Site, browser: httpx.Client, emulator: Emulator, path: str, value: str) -> None:
    """S2."""
    emulator.clear_requests()
    assert_refused(browser.get(site.url + path, headers={"Authorization": value}), 400, "invalid_request")
    assert emulator.requests() == {}
    assert site.runs == []


@pytest.mark.rule("S3")
def test_two_credentials(site: Site, browser: httpx.Client, emulator: Emulator) -> None:
    """S3."""
    token = emulator.sign_in().session_token
    url = site.url + "/protected"
    both = {**bearer(token), "session-token": token}
    assert_refused(browser.get(url, headers=both), 400, "invalid_request")
    for name in ("Authorization", "session-token"):
        value = f"Bearer {token}" if name == "Authorization" else token
        twice = [(name, value), (name, value)]
        assert_refused(browser.get(url, headers=twice), 400, "invalid_request")
    assert site.runs == []


@pytest.mark.rule("S20", "token")
@pytest.mark.parametrize(
    ("status", "coded", "shape"), [(404, True, "A"), (404, True, "B"), (400, True, "A"), (401, False, "A")]
)
@pytest.mark.parametrize("path", PROTECTED)
def test_dead_session(
    site: Site, browser: httpx.Client, emulator: Emulator, path: str, status: int, coded: bool, shape: Shape
) -> None:
    """S20. However the API says it, a dead session is 401 for the caller."""
    emulator.dead_session(status, coded)
    emulator.error_shape(shape)
    signed_in = emulator.sign_in()
    assert browser.get(site.url + path, headers=bearer(signed_in.session_token)).status_code == 200
    emulator.revoke(signed_in.session_id)
    assert_refused(browser.get(site.url + path, headers=bearer(signed_in.session_token)), 401, "invalid_token")
    assert_refused(browser.get(site.url + path, headers=bearer("never-existed")), 401, "invalid_token")


@pytest.mark.rule("S4", "jwt")
@pytest.mark.rule("S7")
@pytest.mark.parametrize("path", PROTECTED)
def test_bad_jwts_cost_no_call(site: Site, browser: httpx.Client, emulator: Emulator, path: str) -> None:
    """S4, S7."""
    good = emulator.sign_in().session_jwt
    assert browser.get(site.url + path, headers=bearer(good)).status_code == 200
    emulator.clear_requests()
    site.runs.clear()
    head, body, signature = good.split(".")
    bad = {
        "forged": f"{head}.{body}.{signature[:-8]}AAAAAAAA",
        "foreign key": emulator.mint(key="foreign"),
        "foreign issuer": emulator.mint({"iss": emulator.issuer + "x"}),
        "no audience of ours, no subject": emulator.mint({"sub": ""}),
        "not yet": emulator.mint({"nbf": int(time.time()) + 60}),
        "unsigned": f"{head}.{body}.",
    }
    for name, jwt in bad.items():
        response = browser.get(site.url + path, headers=bearer(jwt))
        assert response.status_code == 401, name
        assert_refused(response, 401, "invalid_token")
    # The unknown key id was looked for once; nothing was asked about any session.
    assert set(emulator.requests()) <= {"GET /v1/auth/jwks/default"}
    assert emulator.requests()["GET /v1/auth/jwks/default"] <= 1
    assert site.runs == []


@pytest.mark.rule("S13", "jwt")
def test_old_jwt_is_refreshed(site: Site, browser: httpx.Client, emulator: Emulator) -> None:
    emulator.set_clock(-400)
    signed_in = emulator.sign_in()
    emulator.set_clock(0)
    emulator.clear_requests()
    for _ in range(3):
        response = browser.get(site.url + "/protected", headers=bearer(signed_in.session_jwt))
        assert response.json()["user"] == signed_in.user_id
        assert "fresh-jwt" not in response.headers
    assert emulator.requests()["POST /v1/auth/sessions/verify"] == 1


@pytest.mark.rule("S13", "jwt")
def test_expired_beyond_refresh(site: Site, browser: httpx.Client, emulator: Emulator) -> None:
    """S13."""
    emulator.set_clock(-400)
    signed_in = emulator.sign_in()
    emulator.set_clock(0)
    emulator.revoke(signed_in.session_id)
    refused = browser.get(site.url + "/protected", headers=bearer(signed_in.session_jwt))
    assert_refused(refused, 401, "invalid_token")


@pytest.mark.rule("S28")
def test_fresh_jwt_is_handed_out_where_configured(
    open_site: OpenSite, browser: httpx.Client, emulator: Emulator
) -> None:
    site = open_site(fresh_jwt_header="Fresh-JWT")
    emulator.set_clock(-400)
    old = emulator.sign_in().session_jwt
    emulator.set_clock(0)
    for path in ("/protected", "/cached", "/optional"):
        response = browser.get(site.url + path, headers=bearer(old))
        assert response.headers["cache-control"] == "no-store", path
        fresh = response.headers["fresh-jwt"]
        assert fresh != old
        again = browser.get(site.url + path, headers=bearer(fresh))
        assert again.status_code == 200
        assert "fresh-jwt" not in again.headers


TROUBLE: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "503": {"status": 503, "headers": {"Retry-After": "60"}},
    "429": {"status": 429},
    "html 404": {"status": 404, "body": "<h1>Not found</h1>", "headers": {"Content-Type": "text/html"}},
    "other json 404": {"status": 404, "body": '{"detail": "nope"}'},
    "empty 400": {"status": 400, "body": ""},
    "redirect": {"status": 302, "headers": {"Location": "/elsewhere"}, "body": ""},
    "garbage 200": {"status": 200, "body": "{]"},
    "empty object 200": {"status": 200, "body": "{}"},
    "reset": {"reset": True},
    "slow": {"delay": 3},
}


@pytest.mark.long
@pytest.mark.rule("S19", "token")
@pytest.mark.parametrize("trouble", TROUBLE)
def test_trouble_of_the_api(
    site: Site, open_site: OpenSite, browser: httpx.Client, emulator: Emulator, trouble: str
) -> None:
    """S19."""
    signed_in = emulator.sign_in()
    if trouble == "slow":
        site = open_site(timeout=0.3)
    emulator.fault("/v1/auth/sessions/verify", **TROUBLE[trouble])
    for path in PROTECTED:
        assert_refused(browser.get(site.url + path, headers=bearer(signed_in.session_token)), 503)
    assert site.runs == []
    optional = browser.get(site.url + "/optional", headers=bearer(signed_in.session_token))
    assert optional.json()["state"] == "unavailable"
    # Nothing of it is remembered, and a session survives it.
    emulator.clear_faults()
    assert browser.get(site.url + PROTECTED[0], headers=bearer(signed_in.session_token)).status_code == 200


@pytest.mark.rule("S17", "jwt")
@pytest.mark.rule("S19", "token")
def test_api_is_down(site: Site, browser: httpx.Client, emulator: Emulator) -> None:
    """S17, S19."""
    signed_in = emulator.sign_in()
    assert browser.get(site.url + "/protected", headers=bearer(signed_in.session_jwt)).status_code == 200
    emulator.stop()
    assert_refused(browser.get(site.url + "/protected", headers=bearer(signed_in.session_token)), 503)
    # The keys are known: JWTs go on, and a forged one is still refused.
    assert browser.get(site.url + "/protected", headers=bearer(signed_in.session_jwt)).status_code == 200
    forged = bearer(signed_in.session_jwt[:-8] + "AAAAAAAA")
    assert_refused(browser.get(site.url + "/protected", headers=forged), 401, "invalid_token")


@pytest.mark.rule("S17")
def test_keys_cannot_be_fetched(open_site: OpenSite, browser: httpx.Client, emulator: Emulator) -> None:
    site = open_site()
    signed_in = emulator.sign_in()
    emulator.fault("/v1/auth/jwks", status=502)
    assert_refused(browser.get(site.url + "/protected", headers=bearer(signed_in.session_jwt)), 503)
    assert site.runs == []


@pytest.mark.rule("S20")
def test_our_key_is_wrong(
    open_site: OpenSite, browser: httpx.Client, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    site = open_site(secret_key="sk_test_wrong")
    signed_in = emulator.sign_in()
    for credential in (signed_in.session_token, signed_in.session_jwt):
        response = browser.get(site.url + "/protected", headers=bearer(credential))
        assert_refused(response, 500)
        assert "key" not in response.text.lower()
    assert site.runs == []
    messages = [record.getMessage() for record in caplog.records if record.name == "moonkey"]
    assert any("MOONKEY_SECRET_KEY" in message for message in messages)


@pytest.mark.rule("S28")
def test_optional_route_runs_in_all_four_states(site: Site, browser: httpx.Client, emulator: Emulator) -> None:
    signed_in = emulator.sign_in()
    url = site.url + "/optional"

    def read(headers: dict[str, str]) -> dict[str, Any]:
        response = browser.get(url, headers=headers)
        assert response.status_code == 200
        assert response.headers["cache-control"] == "private"
        assert {"authorization", "session-token"} <= vary(response)
        body: dict[str, Any] = response.json()
        return body

    assert read({}) == {"state": "anonymous", "reason": None, "user": None}
    good = read(bearer(signed_in.session_token))
    assert good == {"state": "authenticated", "reason": None, "user": signed_in.user_id}
    assert read(bearer("dead"))["state"] == "rejected"
    assert read(bearer("a b")) == {"state": "rejected", "reason": "malformed_credentials", "user": None}
    emulator.stop()
    assert read(bearer(signed_in.session_token))["state"] == "unavailable"


def test_what_never_looks_is_left_alone(site: Site, browser: httpx.Client, emulator: Emulator) -> None:
    """A bad credential takes no public page down, and such a page stays cacheable."""
    for headers in ({}, bearer("dead"), bearer("a b"), bearer(emulator.sign_in().session_token)):
        response = browser.get(site.url + "/public", headers=headers)
        assert response.status_code == 200
        assert "cache-control" not in response.headers
        assert "authorization" not in vary(response)
        assert browser.get(site.url + "/nowhere", headers=headers).status_code == 404


@pytest.mark.rule("S28")
def test_the_apps_own_cache_headers_are_kept(site: Site, browser: httpx.Client, emulator: Emulator) -> None:
    """S28."""
    response = browser.get(site.url + "/cached", headers=bearer(emulator.sign_in().session_token))
    assert response.headers["cache-control"] == "public, max-age=60"
    assert {"accept-language", "authorization", "session-token"} <= vary(response)


def test_an_error_raised_by_a_view(site: Site, browser: httpx.Client, emulator: Emulator) -> None:
    response = browser.get(site.url + "/raises", headers=bearer(emulator.sign_in().session_token))
    assert_refused(response, 503)
    assert response.headers["retry-after"] == "7"


@pytest.mark.rule("S27", "token")
def test_foreign_gates_do_not_take_cannot_know_for_anonymous(
    site: Site, browser: httpx.Client, emulator: Emulator
) -> None:
    """S27."""
    signed_in = emulator.sign_in()
    url = site.url + "/foreign"
    assert browser.get(url).status_code == 403
    assert browser.get(url, headers=bearer("dead")).status_code == 403
    assert browser.get(url, headers=bearer(signed_in.session_token)).json() == {"user": signed_in.user_id}
    emulator.stop()
    assert_refused(browser.get(url, headers=bearer(signed_in.session_token)), 503)


@pytest.mark.rule("S27", "token", "jwt", "pair")
def test_so_it_is_with_each_kind_of_credential(web: httpx.Client, emulator: Emulator) -> None:
    person = signed_in_long_ago(emulator)
    emulator.stop()
    for headers in (bearer(person.session_token), bearer(person.session_jwt), pair(person)):
        refused = web.get("/foreign", headers=headers)
        assert_refused(refused, 503)
        assert set_by(refused) == {}


@pytest.mark.rule("S28")
def test_streams(site: Site, browser: httpx.Client, emulator: Emulator) -> None:
    signed_in = emulator.sign_in()
    response = browser.get(site.url + "/stream", headers=bearer(signed_in.session_token))
    assert response.text == f"{signed_in.user_id}\n" * 3
    assert response.headers["cache-control"] == "private"


@pytest.mark.rule("S26")
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_no_method_runs_a_protected_view(
    site: Site, browser: httpx.Client, emulator: Emulator, method: str
) -> None:
    """S26."""
    for headers in ({}, bearer("dead"), bearer("a b")):
        response = browser.request(method, site.url + "/protected", headers=headers)
        # A framework may answer OPTIONS itself, and refuse a method before any view.
        assert response.status_code in ((200, 204, 400, 401, 405) if method == "OPTIONS" else (400, 401, 405))
    assert site.runs == []


@pytest.mark.rule("S1", "token", "jwt")
@pytest.mark.parametrize("where", ["query", "form", "json", "cookie", "path"])
@pytest.mark.parametrize("kind", ["session_token", "session_jwt"])
def test_credentials_elsewhere_are_never_read(
    site: Site, browser: httpx.Client, emulator: Emulator, kind: str, where: str
) -> None:
    """S1."""
    token = getattr(emulator.sign_in(), kind)
    emulator.clear_requests()
    url = site.url + "/protected"
    names = dict.fromkeys(("session_token", "session-token", "access_token", "authorization", "token"), token)
    sent = {
        "query": lambda: browser.get(url, params=names),
        "form": lambda: browser.post(url, data=names),
        "json": lambda: browser.post(url, json=names),
        "cookie": lambda: browser.get(url, headers={"Cookie": "; ".join(f"{k}={v}" for k, v in names.items())}),
        "path": lambda: browser.get(url, headers={"Referer": f"{url}?session_token={token}"}),
    }[where]()
    assert_refused(sent, 401)
    assert emulator.requests() == {}


def test_cors_preflight_and_refusals(site: Site, browser: httpx.Client, emulator: Emulator) -> None:
    url = site.url + "/protected"
    preflight = browser.options(
        url,
        headers={
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization",
        },
    )
    assert preflight.status_code in (200, 204)
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
    refused = browser.get(url, headers={"Origin": ORIGIN})
    assert_refused(refused, 401)
    assert refused.headers["access-control-allow-origin"] == ORIGIN
    emulator.stop()
    unavailable = browser.get(url, headers={"Origin": ORIGIN, **bearer("abc")})
    assert_refused(unavailable, 503)
    assert unavailable.headers["access-control-allow-origin"] == ORIGIN
    assert site.runs == []


@pytest.mark.rule("S32")
def test_refusals_are_logged_with_a_reason_and_the_request_id(
    site: Site, browser: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """S32."""
    caplog.set_level("INFO", "moonkey")
    response = browser.get(site.url + "/protected", headers={**bearer("a b"), "X-Request-ID": "req-42"})
    assert json.loads(response.content)["instance"] == "urn:request:req-42"
    assert ("malformed_credentials", "req-42") in [
        (getattr(record, "reason", None), getattr(record, "request_id", None)) for record in caplog.records
    ]
    sneaky = browser.get(site.url + "/protected", headers={"X-Request-ID": "a b<script>"})
    assert "script" not in sneaky.text
