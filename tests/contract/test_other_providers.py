"""The table of outcomes for providers other than MoonKey: the same on every stack, whichever the provider.

Each kind of provider is tested on one stack here, and on the others by the long tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Literal

import httpx
import pytest
from contract import responses
from contract.provider_sites import PROVIDER_STACKS
from contract.requests import bearer

from moonkey_core.emulator import OidcEmulator
from moonkey_core.provider import OIDC, Introspection, Keycloak
from support import quick
from support.visitors import vary

PATHS = ["/protected", "/other-colour"]
assert_refused = partial(responses.assert_refused, headers=frozenset({"authorization"}))
Form = Literal["jwt", "opaque"]


def introspection(oidc: OidcEmulator, secret: str | None = None, **more: Any) -> Introspection:
    secret = oidc.client_secret if secret is None else secret
    return Introspection(oidc.introspection_url, client_id=oidc.client_id, client_secret=secret, **more)


def provider_options(kind: str, oidc: OidcEmulator) -> dict[str, Any]:
    """The settings of an app with a provider of this kind."""
    generic = OIDC(oidc.issuer, oidc.audience)
    keycloak = Keycloak(oidc.base_url, "demo", audience=oidc.preset("keycloak").audience)
    alone = introspection(oidc, issuer=oidc.issuer, audience=oidc.audience)
    both = OIDC(oidc.issuer, oidc.audience, introspection=introspection(oidc))
    found: dict[str, dict[str, Any]] = {
        "oidc": {"provider": generic},
        "keycloak": {"provider": keycloak},
        "introspection": {"provider": alone, "cache_secret": "c" * 32},
        "both": {"provider": both, "cache_secret": "c" * 32},
        "several": {"providers": [keycloak, generic]},
    }
    return found[kind]


FORMS: Mapping[str, tuple[Form, ...]] = {
    "oidc": ("jwt",),
    "keycloak": ("jwt",),
    "introspection": ("opaque",),
    "both": ("jwt", "opaque"),
    "several": ("jwt",),
}
"""The kinds of provider, and the credentials that each accepts."""
QUICK = {
    ("oidc", "flask-wsgi"),
    ("keycloak", "starlette"),
    ("introspection", "django-asgi"),
    ("both", "fastapi"),
    ("several", "django-wsgi"),
}


def each_site(*kinds: str) -> pytest.MarkDecorator:
    """Run a test for these kinds of provider, each on every stack; all but one stack of a kind are long."""
    pairs = [(kind, stack) for kind in kinds or FORMS for stack in PROVIDER_STACKS]
    params = [
        pytest.param(pair, id="-".join(pair), marks=() if pair in QUICK else pytest.mark.long) for pair in pairs
    ]
    return pytest.mark.parametrize("shared_site", params, indirect=True, scope="module")


class Site:
    """A running site, its kind of provider, and tokens that it accepts."""

    def __init__(self, url: str, kind: str, oidc: OidcEmulator, http: httpx.Client) -> None:
        self.url = url
        self.kind = kind
        self.oidc = oidc
        self.preset = "keycloak" if kind == "keycloak" else "generic"
        self.name = kind if kind in ("keycloak", "introspection") else "oidc"
        self.forms = FORMS[kind]
        self._http = http

    def token(self, form: Form, kind: str = "user", **content: Any) -> str:
        if form == "jwt":
            return self.oidc.token(self.preset, kind, **content)
        return self.oidc.opaque_token(self.preset, kind, **content)

    def get(self, path: str, token: str | None = None, **headers: str) -> httpx.Response:
        return self._http.get(self.url + path, headers={**({} if token is None else bearer(token)), **headers})

    def post(self, path: str, token: str) -> httpx.Response:
        return self._http.post(self.url + path, headers=bearer(token))

    def asked(self) -> int:
        """How often the provider was asked about a token since the last clearing."""
        return sum(count for route, count in self.oidc.requests().items() if "introspect" in route)


@pytest.fixture(scope="module")
def shared_site(request: pytest.FixtureRequest, shared_oidc: OidcEmulator) -> Iterator[Site]:
    kind, stack = request.param
    shared_oidc.start()
    with PROVIDER_STACKS[stack](provider_options(kind, shared_oidc)) as url, quick.Client() as http:
        yield Site(url, kind, shared_oidc, http)


@pytest.fixture
def site(shared_site: Site, oidc: OidcEmulator) -> Site:
    """The site, with the issuer in its first state."""
    return shared_site


def fresh(site: Site, request: pytest.FixtureRequest, **options: Any) -> AbstractContextManager[str]:
    """Another site of the same kind on the same stack, with nothing remembered."""
    stack = request.node.callspec.params["shared_site"][1]
    return PROVIDER_STACKS[stack]({**provider_options(site.kind, site.oidc), **options})


@each_site()
def test_no_credential_and_malformed_ones(site: Site) -> None:
    for path in PATHS:
        assert_refused(site.get(path), 401)
        assert_refused(site.get(path, Authorization="Bearer a b"), 400, "invalid_request")
    assert site.get("/optional").json() == {"state": "anonymous", "reason": None}
    assert site.asked() == 0


@each_site()
def test_good_credentials(site: Site) -> None:
    ada = site.oidc.sign_in("ada@example.com", site.preset)
    for form in site.forms:
        token = ada.access_token if form == "jwt" else ada.opaque_token
        for path in PATHS:
            response = site.get(path, token)
            assert response.status_code == 200, response.text
            body = response.json()
            assert (body["user"], body["session"]) == (ada.user_id, ada.session_id)
            assert body["scope"] == site.oidc.preset(site.preset).issuer
            assert body["provider"] == site.name
            assert "authorization" in vary(response)
            assert response.headers["cache-control"] == "private"
    if site.forms == ("jwt",):
        assert site.asked() == 0


@each_site("oidc", "keycloak", "both", "several")
def test_jwts_that_only_look_good_cost_no_call(site: Site) -> None:
    assert site.get("/protected", site.token("jwt")).status_code == 200
    site.oidc.clear_requests()
    bad = {
        "another key": site.token("jwt", key="foreign"),
        "another key, under the id of ours": site.token("jwt", key="imposter"),
        "another issuer": site.token("jwt", iss="https://evil.example"),
        "another audience": site.token("jwt", aud="https://other.example"),
        "no audience": site.token("jwt", drop=["aud"]),
        "no end": site.token("jwt", drop=["exp"]),
        "a life without an end": site.token("jwt", life=10 * 366 * 86_400),
        "no subject": site.token("jwt", drop=["sub"]),
        "unsigned": site.token("jwt", algorithm="none"),
        "signed with the public key": site.token("jwt", algorithm="HS256", key="public"),
        "signed with a secret": site.token("jwt", algorithm="HS256"),
        **{kind: site.token("jwt", kind) for kind in ("id", "machine", "logout", "refresh", "dpop", "mtls")},
    }
    for name, token in bad.items():
        response = site.get("/protected", token)
        assert response.status_code == 401, name
        assert_refused(response, 401, "invalid_token")
        assert response.json().get("reason") == "invalid", name
    # The unknown key id was looked for once.
    assert sum(site.oidc.requests().values()) <= 1
    assert site.asked() == 0


@each_site("introspection", "both")
def test_opaque_tokens_that_only_look_good(site: Site) -> None:
    bad = {
        "unknown": "never-existed",
        "another audience": site.token("opaque", aud="https://other.example"),
        "no audience": site.token("opaque", drop=["aud"]),
        "no subject": site.token("opaque", drop=["sub"]),
        "over": site.token("opaque", life=60, age=60),
        **{kind: site.token("opaque", kind) for kind in ("id", "machine", "logout", "refresh", "dpop", "mtls")},
    }
    for name, token in bad.items():
        response = site.get("/protected", token)
        assert response.status_code == 401, name
        assert_refused(response, 401, "invalid_token")
    site.oidc.introspection(iss="https://evil.example")
    assert_refused(site.get("/protected", site.token("opaque")), 401, "invalid_token")


@each_site("oidc", "keycloak", "both", "several")
def test_an_old_jwt_is_only_expired(site: Site) -> None:
    """There is nobody who would renew it, and a client may want to know that a new sign-in is not needed."""
    response = site.get("/protected", site.token("jwt", life=60, age=120))
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith('Bearer realm="moonkey", error="invalid_token"')
    assert response.json()["reason"] == "expired"
    forged = site.get("/protected", site.token("jwt", life=60, age=120, key="imposter"))
    assert forged.json()["reason"] == "invalid"
    assert site.asked() == 0


@each_site("introspection", "both")
def test_what_the_issuer_ends_is_over(site: Site) -> None:
    ada = site.oidc.sign_in("ada@example.com", site.preset)
    assert site.get("/protected", ada.opaque_token).status_code == 200
    site.oidc.revoke(session_id=ada.session_id)
    assert_refused(site.get("/protected", ada.opaque_token), 401, "invalid_token")
    if "jwt" in site.forms:
        other = site.oidc.sign_in("ada@example.com", site.preset)
        assert site.get("/strict", other.access_token).status_code == 200
        site.oidc.revoke(session_id=other.session_id)
        assert_refused(site.get("/strict", other.access_token), 401, "invalid_token")


@each_site()
def test_what_the_app_revokes_is_over_here(site: Site) -> None:
    """Also in a newer token of the same session; and no session of another."""
    for form in site.forms:
        ended, kept = (site.oidc.sign_in("ada@example.com", site.preset).session_id for _ in range(2))
        mine = site.token(form, email="ada@example.com", session_id=ended)
        other = site.token(form, email="ada@example.com", session_id=kept)
        assert site.post("/end", mine).json() == {"ended": ended}
        assert_refused(site.get("/protected", mine), 401, "invalid_token")
        newer = site.token(form, email="ada@example.com", session_id=ended)
        assert_refused(site.get("/protected", newer), 401, "invalid_token")
        assert site.get("/protected", other).status_code == 200


@each_site()
def test_an_outage_signs_no_user_out(site: Site, request: pytest.FixtureRequest) -> None:
    """Keys that are known go on verifying; whatever needs the issuer is 503."""
    tokens = {form: site.token(form) for form in site.forms}
    if "jwt" in tokens:
        assert site.get("/protected", tokens["jwt"]).status_code == 200
    site.oidc.stop()
    for form, token in tokens.items():
        response = site.get("/protected", token)
        if form == "jwt":
            assert response.status_code == 200
        else:
            assert_refused(response, 503, response.json().get("error"))
    with fresh(site, request, timeout=30.0) as empty, quick.Client() as http:
        for token in tokens.values():
            response = http.get(empty + "/protected", headers=bearer(token))
            assert_refused(response, 503, response.json().get("error"))


@each_site("introspection", "both")
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "headers": {"Retry-After": "30"}},
        {"status": 500},
        {"status": 200, "body": "<html>"},
        {"status": 200, "body": "[]"},
        {"status": 200, "body": "{}"},
        {"status": 200, "body": '{"active": "false"}'},
        {"status": 404, "body": '{"active": false}'},
    ],
    ids=lambda fault: str(fault.get("body", fault["status"])),
)
def test_no_clear_answer_is_no_answer(site: Site, fault: dict[str, Any]) -> None:
    token = site.token("opaque")
    site.oidc.fault("/introspect", **fault)
    response = site.get("/protected", token)
    assert_refused(response, 503, response.json().get("error"))
    site.oidc.clear_faults()
    assert site.get("/protected", token).status_code == 200


@each_site("introspection", "both")
def test_a_wrong_client_secret_is_our_own_fault(site: Site, request: pytest.FixtureRequest) -> None:
    oidc, token = site.oidc, site.token("opaque")
    wrong = {
        "introspection": introspection(oidc, "wrong", issuer=oidc.issuer, audience=oidc.audience),
        "both": OIDC(oidc.issuer, oidc.audience, introspection=introspection(oidc, "wrong")),
    }
    with fresh(site, request, provider=wrong[site.kind]) as url, quick.Client() as http:
        assert http.get(url + "/protected", headers=bearer(token)).status_code == 500


@each_site("oidc", "both", "several")
def test_a_discovery_document_of_another_issuer(site: Site, request: pytest.FixtureRequest) -> None:
    site.oidc.discovery(issuer="https://evil.example")
    with fresh(site, request) as url, quick.Client() as http:
        response = http.get(url + "/protected", headers=bearer(site.token("jwt")))
        assert response.status_code in (500, 503)


@each_site("several")
def test_equal_ids_of_two_issuers_never_meet(site: Site) -> None:
    """The same user and session by their ids: what the app revokes at one issuer is not over at the other."""
    same: dict[str, Any] = {"user_id": "ada", "session_id": "one"}
    here, there = site.token("jwt", **same), site.oidc.token("keycloak", **same)
    found = [site.get("/protected", token).json() for token in (here, there)]
    assert [(one["user"], one["session"]) for one in found] == [("ada", "one")] * 2
    assert [one["provider"] for one in found] == ["oidc", "keycloak"]
    assert site.post("/end", there).status_code == 200
    assert [site.get("/protected", token).status_code for token in (here, there)] == [200, 401]
    assert site.get("/protected", site.token("jwt", iss="https://evil.example")).status_code == 401


@each_site("oidc", "keycloak", "both", "several")
def test_new_keys_are_found(site: Site) -> None:
    old = site.token("jwt")
    assert site.get("/protected", old).status_code == 200
    site.oidc.rotate_keys()
    assert site.get("/protected", site.token("jwt")).status_code == 200
    assert site.get("/protected", old).status_code == 200
    site.oidc.rotate_keys(keep_old=False)
    assert site.get("/protected", site.token("jwt")).status_code == 200
    gone = site.get("/protected", old)  # it had been verified, and its key is no more
    assert (gone.status_code, gone.json()["reason"]) == (401, "invalid")


@each_site()
def test_what_a_route_asks_for(site: Site) -> None:
    """Scopes, the way of signing in, and nobody in the user's place (RFC 6750, RFC 9470, RFC 8693)."""
    for form in site.forms:
        plain = site.token(form, scope="openid")
        denied = site.get("/reader", plain)
        assert denied.status_code == 403
        assert 'error="insufficient_scope", scope="read"' in denied.headers["www-authenticate"]
        assert site.get("/reader", site.token(form, scope="openid read")).status_code == 200

        weak = site.get("/strong", plain)
        assert (weak.status_code, weak.json()["error"]) == (401, "insufficient_user_authentication")
        assert 'acr_values="2"' in weak.headers["www-authenticate"]
        assert site.get("/strong", site.token(form, acr="2")).status_code == 200

        delegated = site.token(form, "delegated")
        assert site.get("/protected", delegated).status_code == 200
        assert site.get("/personal", delegated).status_code == 403
        assert site.get("/personal", plain).status_code == 200


@each_site("introspection", "both")
def test_a_strict_route_asks_each_time(site: Site) -> None:
    for form in site.forms:
        token = site.token(form)
        site.oidc.clear_requests()
        for _ in range(3):
            assert site.get("/strict", token).json()["source"] == "remote"
        assert site.asked() == 3
