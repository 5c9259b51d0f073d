"""The table of outcomes for Stytch, the same on every stack. All but one stack are long."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any

import httpx
import pytest
from contract import responses
from contract.provider_sites import PROVIDER_STACKS
from contract.requests import bearer

from moonkey_core.emulator import StytchEmulator, StytchSignedIn
from moonkey_core.provider import Stytch
from support import quick
from support.patience import PATIENT
from support.scripted import wait_until

AUTHENTICATE = "POST /v1/sessions/authenticate"
PATHS = ("/protected", "/other-colour")
QUICK = "starlette"
assert_refused = partial(responses.assert_refused, headers=frozenset({"authorization"}))


def options(stytch: StytchEmulator, secret: str | None = None) -> dict[str, Any]:
    provider = Stytch(stytch.project_id, secret or stytch.secret, base_url=stytch.base_url)
    return {"provider": provider, "cache_secret": "c" * 32, **PATIENT}


class Site:
    """A running site, and the service that it asks."""

    def __init__(self, url: str, stack: str, stytch: StytchEmulator, http: httpx.Client) -> None:
        self.url, self.stack, self.stytch, self._http = url, stack, stytch, http

    def get(self, path: str, credential: str | None = None, **headers: str) -> httpx.Response:
        given = {} if credential is None else bearer(credential)
        return self._http.get(self.url + path, headers={**given, **headers})

    def post(self, path: str, credential: str) -> httpx.Response:
        return self._http.post(self.url + path, headers=bearer(credential))

    def asked(self) -> int:
        """How often the service was asked about a credential since the last clearing."""
        return self.stytch.requests()[AUTHENTICATE]


@pytest.fixture(
    scope="module",
    params=[pytest.param(one, marks=() if one == QUICK else pytest.mark.long) for one in PROVIDER_STACKS],
)
def shared_site(request: pytest.FixtureRequest, shared_stytch: StytchEmulator) -> Iterator[Site]:
    shared_stytch.start()
    with PROVIDER_STACKS[request.param](options(shared_stytch)) as url, quick.Client() as http:
        yield Site(url, request.param, shared_stytch, http)


@pytest.fixture
def site(shared_site: Site, stytch: StytchEmulator) -> Site:
    """The site, with the service in its first state."""
    return shared_site


def test_no_credential_and_malformed_ones(site: Site) -> None:
    for path in PATHS:
        assert_refused(site.get(path), 401)
        assert_refused(site.get(path, Authorization="Bearer a b"), 400, "invalid_request")
    assert site.get("/optional").json() == {"state": "anonymous", "reason": None}
    assert site.asked() == 0


def test_good_credentials(site: Site) -> None:
    ada = site.stytch.sign_in("ada@example.com")
    for path in PATHS:
        for credential in (ada.session_jwt, ada.session_token):
            response = site.get(path, credential)
            assert response.status_code == 200, response.text
            body = response.json()
            assert body.pop("source") == "remote" or credential == ada.session_jwt
            assert body == {
                "user": ada.user_id,
                "session": ada.session_id,
                "provider": "stytch",
                "scope": f"stytch:{site.stytch.project_id}",
            }
            assert response.headers["cache-control"] == "private"
    assert site.asked() == 2


def test_what_only_looks_like_a_session_costs_no_call(site: Site) -> None:
    assert site.get("/protected", site.stytch.token()).status_code == 200
    bad = {
        **{shape: site.stytch.token(shape) for shape in ("m2m", "connected-app", "b2b", "other-project", "slash")},
        **{
            shape: site.stytch.token(shape) for shape in ("other-audience", "https-issuer", "no-nbf", "no-session")
        },
        **{key: site.stytch.token(key=key) for key in ("foreign", "imposter")},
        **{algorithm: site.stytch.token(algorithm=algorithm) for algorithm in ("none", "HS256")},
        "old, and of another key": site.stytch.token("expired", key="imposter"),
    }
    for name, token in bad.items():
        for path in PATHS:
            response = site.get(path, token)
            assert response.status_code == 401, name
            assert_refused(response, 401, "invalid_token")
            assert response.json().get("reason") == "invalid", name
    assert site.asked() == 0


def test_opaque_tokens_that_are_none(site: Site) -> None:
    for token in ("x" * 44, "never-existed", "mZAYn5aLEqKUlZ_Ad9U_fWr38GaAQ1oFhhT8ds245v7Q"):
        assert_refused(site.get("/protected", token), 401, "invalid_token")


def test_an_old_jwt_is_asked_about(site: Site) -> None:
    """It is accepted as long as its session lives, and the service says whether that is so."""
    ada = site.stytch.sign_in()
    old = site.stytch.token("expired", session_id=ada.session_id)
    response = site.get("/protected", old)
    assert (response.status_code, response.json()["session"]) == (200, ada.session_id)
    assert site.asked() == 1
    other = site.stytch.sign_in()
    old = site.stytch.token("expired", session_id=other.session_id)
    site.stytch.revoke(other.session_id)
    assert_refused(site.get("/protected", old), 401, "invalid_token")


def test_what_is_ended_there_and_here(site: Site) -> None:
    ada, other = (site.stytch.sign_in("ada@example.com") for _ in range(2))
    for path in PATHS:
        assert site.get(path, ada.session_token).status_code == 200
    site.stytch.revoke(ada.session_id)
    assert_refused(site.get("/protected", ada.session_token), 401, "invalid_token")
    assert_refused(site.get("/strict", ada.session_jwt), 401, "invalid_token")
    assert site.post("/end", other.session_jwt).json() == {"ended": other.session_id}
    for credential in (
        other.session_jwt,
        other.session_token,
        site.stytch.token("expired", session_id=other.session_id),
    ):
        assert_refused(site.get("/protected", credential), 401, "invalid_token")


def test_an_outage_signs_no_user_out(site: Site) -> None:
    """Keys that are known go on verifying; what needs the service is 503."""
    ada = site.stytch.sign_in()
    for path in PATHS:  # Django has a client of each kind, with its own keys
        assert site.get(path, ada.session_jwt).status_code == 200
    site.stytch.stop()
    for path in PATHS:
        assert site.get(path, ada.session_jwt).status_code == 200
        response = site.get(path, ada.session_token)
        assert_refused(response, 503, response.json().get("error"))
    response = site.get("/strict", ada.session_jwt)
    assert_refused(response, 503, response.json().get("error"))


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "headers": {"Retry-After": "30"}},
        {"status": 500},
        {"status": 404, "body": "<html>"},
        {"status": 200, "body": "<html>"},
        {"status": 200, "body": "[]"},
        {"status": 200, "body": "{}"},
    ],
    ids=lambda fault: str(fault.get("body", fault["status"])),
)
def test_no_clear_answer_is_no_answer(site: Site, fault: dict[str, Any]) -> None:
    ada = site.stytch.sign_in()
    site.stytch.fault("/v1/sessions/authenticate", **fault)
    response = site.get("/protected", ada.session_token)
    assert_refused(response, 503, response.json().get("error"))
    site.stytch.clear_faults()
    assert site.get("/protected", ada.session_token).status_code == 200


def test_an_answer_about_another_session_is_no_answer(site: Site) -> None:
    ada, eve = site.stytch.sign_in("ada@example.com"), site.stytch.sign_in("eve@example.com")
    site.stytch.wrong_session(eve.session_id)
    for credential in (ada.session_token, site.stytch.token("expired", session_id=ada.session_id)):
        response = site.get("/protected", credential)
        assert_refused(response, 503, response.json().get("error"))


def test_a_wrong_secret_is_our_own_fault(site: Site) -> None:
    ada = site.stytch.sign_in()
    with PROVIDER_STACKS[site.stack](options(site.stytch, "wrong")) as url, quick.Client() as http:
        for path in PATHS:
            assert http.get(url + path, headers=bearer(ada.session_token)).status_code == 500
            assert http.get(url + path, headers=bearer(ada.session_jwt)).status_code == 200


def test_an_impersonator_is_no_proof_of_the_user(site: Site) -> None:
    ada, acted = site.stytch.token(), site.stytch.token("impersonated")
    for path, statuses in {"/protected": (200, 200), "/personal": (200, 403)}.items():
        assert (site.get(path, ada).status_code, site.get(path, acted).status_code) == statuses


def test_a_strict_route_asks_each_time(site: Site) -> None:
    ada = site.stytch.sign_in()
    for credential in (ada.session_token, ada.session_jwt):
        site.stytch.clear_requests()
        for _ in range(3):
            assert site.get("/strict", credential).json()["source"] == "remote"
        assert site.asked() == 3


def ends_in(site: Site, person: StytchSignedIn) -> float:
    """In how many seconds a session is over, by the service."""
    stytch = site.stytch
    listed = quick.get(
        f"{stytch.base_url}/v1/sessions",
        params={"user_id": person.user_id},
        auth=(stytch.project_id, stytch.secret),
    ).json()["sessions"]
    (found,) = [one for one in listed if one["session_id"] == person.session_id]
    return datetime.fromisoformat(found["expires_at"]).timestamp() - stytch.now()


def test_a_session_that_cannot_be_extended_stops_no_other(site: Site) -> None:
    """An impersonator's session ends when it was to end; the users' own go on."""
    sliding = {**options(site.stytch), "extend_on_activity": 3_600}
    with PROVIDER_STACKS[site.stack](sliding) as url, quick.Client() as http:

        def visit(factor: str) -> StytchSignedIn:
            person = site.stytch.sign_in(f"{factor}@example.com", factors=[factor], minutes=10)
            response = http.get(f"{url}/protected", headers=bearer(person.session_token))
            assert response.status_code == 200
            return person

        impersonator = visit("impersonated")
        # Asked about, refused an extension, and asked about again.
        assert wait_until(lambda: site.asked() >= 3)
        user = visit("email")
        assert wait_until(lambda: ends_in(site, user) > 3_000)
        assert ends_in(site, impersonator) <= 600


def test_new_keys_are_found(site: Site) -> None:
    """By a site of its own, and at the end: a key that is not known is not looked for without limit."""
    with PROVIDER_STACKS[site.stack](options(site.stytch)) as url, quick.Client() as http:

        def get(token: str) -> httpx.Response:
            return http.get(f"{url}/protected", headers=bearer(token))

        old = site.stytch.sign_in().session_jwt
        assert get(old).status_code == 200
        site.stytch.rotate_keys()
        for token in (site.stytch.sign_in().session_jwt, old):
            assert get(token).status_code == 200
        site.stytch.rotate_keys(keep_old=False)
        assert get(site.stytch.sign_in().session_jwt).status_code == 200
        gone = get(old)  # it had been verified, and its key is no more
        assert (gone.status_code, gone.json()["reason"]) == (401, "invalid")
