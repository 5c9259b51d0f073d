"""The table of outcomes for Coinbase CDP, the same on every stack. All but one stack are long."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest
from contract import responses
from contract.provider_sites import PROVIDER_STACKS
from contract.requests import bearer

from moonkey_core.emulator import CdpBrowser, CdpEmulator
from moonkey_core.provider import CDP
from support import quick
from support.patience import PATIENT

VALIDATE = "POST /platform/v2/end-users/auth/validate-token"
PATHS = ("/protected", "/other-colour")
QUICK = "django-wsgi"
assert_refused = partial(responses.assert_refused, headers=frozenset({"authorization"}))


def options(cdp: CdpEmulator, **more: Any) -> dict[str, Any]:
    provider = CDP(cdp.api_key_id, cdp.api_key_secret, cdp.project_id, base_url=cdp.api_url)
    return {"provider": provider, "cache_secret": "c" * 32, **PATIENT, **more}


class Site:
    """A running site, and the service that it asks."""

    def __init__(self, url: str, stack: str, cdp: CdpEmulator, http: httpx.Client) -> None:
        self.url, self.stack, self.cdp, self._http = url, stack, cdp, http

    def get(self, path: str, token: str | None = None, **headers: str) -> httpx.Response:
        given = {} if token is None else bearer(token)
        return self._http.get(self.url + path, headers={**given, **headers})

    def post(self, path: str, token: str) -> httpx.Response:
        return self._http.post(self.url + path, headers=bearer(token))

    def asked(self) -> int:
        """How often the service was asked about a token since the last clearing."""
        return self.cdp.requests()[VALIDATE]


@pytest.fixture(
    scope="module",
    params=[pytest.param(one, marks=() if one == QUICK else pytest.mark.long) for one in PROVIDER_STACKS],
)
def shared_site(request: pytest.FixtureRequest, shared_cdp: CdpEmulator) -> Iterator[Site]:
    shared_cdp.start()
    with PROVIDER_STACKS[request.param](options(shared_cdp)) as url, quick.Client() as http:
        yield Site(url, request.param, shared_cdp, http)


@pytest.fixture
def site(shared_site: Site, cdp: CdpEmulator) -> Site:
    """The site, with the service in its first state."""
    return shared_site


def test_no_credential_and_malformed_ones(site: Site) -> None:
    for path in PATHS:
        assert_refused(site.get(path), 401)
        assert_refused(site.get(path, Authorization="Bearer a b"), 400, "invalid_request")
    assert site.get("/optional").json() == {"state": "anonymous", "reason": None}
    assert site.asked() == 0


def test_good_tokens(site: Site) -> None:
    ada = site.cdp.sign_in("ada@example.com")
    for path in PATHS:
        response = site.get(path, ada.access_token)
        assert response.status_code == 200, response.text
        assert response.json() == {
            "user": ada.user_id,
            "session": ada.token_id,
            "provider": "cdp",
            "scope": f"cdp:{site.cdp.project_id}",
            "source": "remote",
        }
        assert response.headers["cache-control"] == "private"


def test_what_only_looks_like_a_token_of_this_project(site: Site) -> None:
    cdp = site.cdp
    bad = {
        "another project": cdp.token(project_id="another"),
        "another issuer": cdp.token(iss="cdp"),
        "another audience": cdp.token(aud="another"),
        "a refresh token": cdp.sign_in().refresh_token,
    }
    for name, token in bad.items():
        for path in PATHS:
            response = site.get(path, token)
            assert response.status_code == 401, name
            assert_refused(response, 401, "invalid_token")
            assert response.json().get("reason") == "invalid", name
    assert site.asked() == 0
    for token in (cdp.token(key="foreign"), cdp.token(key="imposter"), cdp.token(algorithm="EdDSA")):
        assert_refused(site.get("/protected", token), 401, "invalid_token")
    assert site.asked() == 3


def test_an_old_token_is_only_expired(site: Site) -> None:
    browser = CdpBrowser(site.cdp)
    old = site.cdp.token(age=1000)
    for path in PATHS:
        response = site.get(path, old)
        assert (response.status_code, response.json()["reason"]) == (401, "expired")
    assert site.asked() == 0
    assert site.get("/protected", browser.renew()).json()["user"] == browser.user_id


def test_whose_fault_it_is(site: Site) -> None:
    cdp = site.cdp
    token = cdp.sign_in().access_token
    cdp.fault("/platform", status=429, headers={"Retry-After": "30"})
    limited = site.get("/protected", token)
    assert_refused(limited, 503, limited.json().get("error"))
    assert limited.headers["retry-after"] == "30"
    cdp.clear_faults()
    cdp.gateway_refuses()
    assert site.get("/protected", token).status_code == 500
    cdp.clear_faults()
    cdp.stop()
    down = site.get("/protected", token)
    assert_refused(down, 503, down.json().get("error"))
    cdp.start()
    assert site.get("/protected", token).status_code == 200
    cdp.revoke_api_key()
    for path in PATHS:
        assert site.get(path, token).status_code == 500


def test_what_the_app_revokes_is_over_here(site: Site) -> None:
    mine, other = (site.cdp.sign_in("ada@example.com") for _ in range(2))
    assert site.post("/end", mine.access_token).json() == {"ended": mine.token_id}
    assert_refused(site.get("/protected", mine.access_token), 401, "invalid_token")
    assert site.get("/protected", other.access_token).status_code == 200


def test_a_sign_out_asks_for_the_other_half(site: Site) -> None:
    browser = CdpBrowser(site.cdp)
    token = browser.access_token()
    answer = site.post("/auth/sign-out", token)
    assert answer.status_code == 200
    assert answer.json() == {
        "signed_out": True,
        "complete": False,
        "revocation": "local",
        "provider_sign_out": True,
    }
    assert_refused(site.get("/protected", token), 401, "invalid_token")
    assert site.get("/protected", browser.renew()).status_code == 200  # until signOut() is called


def test_devices_are_not_there(site: Site) -> None:
    token = site.cdp.sign_in().access_token
    answers = [
        site.get("/auth/sessions", token),
        site.post("/auth/sessions/x/revoke", token),
        site.post("/auth/sessions/revoke-others", token),
    ]
    for answer in answers:
        assert answer.status_code == 501, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["reason"] == "not_supported"
        assert answer.json()["detail"] == "The identity provider cannot list sessions."
    found = site.get("/auth/session", token).json()
    assert found["authenticated"] is True
    assert found["user"]["authentication_methods"] == [{"type": "email", "identifier": "demo@example.com"}]
