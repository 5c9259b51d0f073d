"""The table of outcomes for Stytch's organizations, the same on every stack. All but one stack are long."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest
from contract import responses
from contract.provider_sites import PROVIDER_STACKS
from contract.requests import bearer

from moonkey_core.emulator import StytchB2BEmulator
from moonkey_core.provider import StytchB2B
from support import quick
from support.patience import PATIENT

AUTHENTICATE = "POST /v1/b2b/sessions/authenticate"
QUICK = "fastapi"
assert_refused = partial(responses.assert_refused, headers=frozenset({"authorization"}))


def options(b2b: StytchB2BEmulator) -> dict[str, Any]:
    provider = StytchB2B(b2b.project_id, b2b.secret, base_url=b2b.base_url)
    return {"provider": provider, "cache_secret": "c" * 32, **PATIENT}


class Site:
    """A running site, and the service that it asks."""

    def __init__(self, url: str, stack: str, b2b: StytchB2BEmulator, http: httpx.Client) -> None:
        self.url, self.stack, self.b2b, self._http = url, stack, b2b, http

    def get(self, path: str, credential: str) -> httpx.Response:
        return self._http.get(self.url + path, headers=bearer(credential))

    def post(self, path: str, credential: str) -> httpx.Response:
        return self._http.post(self.url + path, headers=bearer(credential))

    def asked(self) -> int:
        return self.b2b.requests()[AUTHENTICATE]


@pytest.fixture(
    scope="module",
    params=[pytest.param(one, marks=() if one == QUICK else pytest.mark.long) for one in PROVIDER_STACKS],
)
def shared_site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with (
        StytchB2BEmulator() as b2b,
        PROVIDER_STACKS[request.param](options(b2b)) as url,
        quick.Client() as http,
    ):
        yield Site(url, request.param, b2b, http)


@pytest.fixture
def site(shared_site: Site) -> Site:
    shared_site.b2b.start()
    shared_site.b2b.reset()
    shared_site.b2b.clear_requests()
    return shared_site


def test_good_members(site: Site) -> None:
    ada = site.b2b.sign_in("ada@acme.example", "acme")
    for path in ("/protected", "/other-colour"):
        for credential in (ada.session_jwt, ada.session_token):
            response = site.get(path, credential)
            assert response.status_code == 200, response.text
            body = response.json()
            assert body.pop("source") == "remote" or credential == ada.session_jwt
            assert body == {
                "user": ada.member_id,
                "session": ada.session_id,
                "provider": "stytch_b2b",
                "scope": f"stytch_b2b:{site.b2b.project_id}",
            }
            assert response.headers["cache-control"] == "private"
    assert site.asked() == 2


def test_what_only_looks_like_a_member_costs_no_call(site: Site) -> None:
    tokens = {shape: site.b2b.token(shape) for shape in ("consumer", "m2m", "connected-app", "other-project")}
    tokens |= {key: site.b2b.token(key=key) for key in ("foreign", "imposter")}
    tokens |= {algorithm: site.b2b.token(algorithm=algorithm) for algorithm in ("none", "HS256")}
    for name, token in tokens.items():
        response = site.get("/protected", token)
        assert response.status_code == 401, name
        assert_refused(response, 401, "invalid_token")
    assert site.asked() == 0


def test_an_old_jwt_is_renewed(site: Site) -> None:
    ada = site.b2b.sign_in()
    old = site.b2b.token(session_id=ada.session_id, age=900)
    assert site.get("/protected", old).json()["session"] == ada.session_id
    assert site.asked() == 1
    site.b2b.revoke(ada.session_id)
    again = site.b2b.token(session_id=site.b2b.sign_in().session_id, age=900)
    assert site.get("/protected", again).status_code == 200
    assert_refused(site.get("/protected", ada.session_token), 401, "invalid_token")


def test_what_is_ended_there_and_here(site: Site) -> None:
    ada, other = (site.b2b.sign_in("ada@acme.example", "acme") for _ in range(2))
    assert site.get("/protected", ada.session_token).status_code == 200
    site.b2b.revoke(ada.session_id)
    assert_refused(site.get("/protected", ada.session_token), 401, "invalid_token")
    assert_refused(site.get("/strict", ada.session_jwt), 401, "invalid_token")
    assert site.post("/end", other.session_jwt).json() == {"ended": other.session_id}
    for credential in (other.session_jwt, other.session_token, site.b2b.token(session_id=other.session_id)):
        assert_refused(site.get("/protected", credential), 401, "invalid_token")


def test_an_outage_signs_nobody_out(site: Site) -> None:
    ada = site.b2b.sign_in()
    for path in ("/protected", "/other-colour", "/strict"):  # Django has a client of each kind, with its own keys
        assert site.get(path, ada.session_jwt).status_code == 200
    site.b2b.stop()
    assert site.get("/protected", ada.session_jwt).status_code == 200
    for path, credential in (("/protected", ada.session_token), ("/strict", ada.session_jwt)):
        response = site.get(path, credential)
        assert_refused(response, 503, response.json().get("error"))


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (
            401,
            '{"status_code":401,"request_id":"r","error_type":"unauthorized_credentials","error_message":""}',
            500,
        ),
        (429, '{"status_code":429,"request_id":"r","error_type":"too_many_requests","error_message":""}', 503),
        (500, "", 503),
        (200, "{}", 503),
        (404, "<html>", 503),
        (404, '{"status_code":404,"request_id":"r","error_type":"session_not_found","error_message":""}', 401),
    ],
)
def test_what_a_reply_means(site: Site, status: int, body: str, expected: int) -> None:
    ada = site.b2b.sign_in()
    site.b2b.fault("/v1/b2b/sessions/authenticate", status=status, body=body)
    assert site.get("/protected", ada.session_token).status_code == expected
    site.b2b.clear_faults()
    if expected == 503:
        assert site.get("/protected", ada.session_token).status_code == 200


def test_what_a_route_asks_for(site: Site) -> None:
    ada = site.b2b.sign_in()
    for _ in range(2):
        assert site.get("/strict", ada.session_jwt).json()["source"] == "remote"
    assert site.asked() == 2
    assert site.get("/reader", ada.session_jwt).status_code == 403
    reader = site.b2b.sign_in(claims={"scope": "read"})
    support = site.b2b.sign_in(factors=["impersonated"])
    for credential in ("session_jwt", "session_token"):
        assert site.get("/reader", getattr(reader, credential)).status_code == 200
        assert site.get("/protected", getattr(support, credential)).status_code == 200
        assert site.get("/personal", getattr(support, credential)).status_code == 403
        assert site.get("/personal", getattr(ada, credential)).status_code == 200


def test_new_keys_are_found(site: Site) -> None:
    old = site.b2b.sign_in().session_jwt
    assert site.get("/protected", old).status_code == 200
    site.b2b.rotate_keys()
    assert site.get("/protected", site.b2b.sign_in().session_jwt).status_code == 200
    assert site.get("/protected", old).status_code == 200
