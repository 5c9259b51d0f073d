"""The OpenID Connect issuer: its keys, tokens and endpoints, each as another party sees them."""

from __future__ import annotations

import base64
import json
import time
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from moonkey_core.emulator import OidcEmulator
from moonkey_core.emulator.oidc.keys import ALGORITHMS
from moonkey_core.emulator.oidc.presets import PRESETS
from support import quick

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
BY_SECRET = ("refresh", "legacy", "encrypted")
"""The kinds of token that no published key has signed."""


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def verified(token: str, jwks: dict[str, Any]) -> dict[str, Any]:
    """The claims of a token that a key of this set has signed; the key is found as a resource server finds it."""
    header = jwt.get_unverified_header(token)
    (entry,) = [one for one in jwks["keys"] if one["kid"] == header["kid"]]
    key = jwt.PyJWK({**entry, "alg": header["alg"]})
    return jwt.decode(token, key, algorithms=[header["alg"]], options={"verify_aud": False})


def introspect(oidc: OidcEmulator, token: str) -> dict[str, Any]:
    """The reply to the client ``demo-api``."""
    secret = (oidc.client_id, oidc.client_secret)
    reply = quick.post(oidc.introspection_url, data={"token": token}, auth=secret)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


@pytest.mark.parametrize("name", list(PRESETS))
def test_each_token_of_each_preset_is_really_signed(oidc: OidcEmulator, name: str) -> None:
    info = oidc.preset(name)
    jwks = quick.get(info.jwks_url).json()
    for kind in info.kinds:
        token = oidc.token(name, kind)
        if kind not in BY_SECRET:
            assert verified(token, jwks)["exp"] > time.time()
    token = oidc.token(name)
    assert jwt.get_unverified_header(token)["alg"] == info.algorithm
    claims = claims_of(token)
    assert claims["iss"] == info.issuer
    if info.audience:
        assert info.audience in ([claims["aud"]] if isinstance(claims["aud"], str) else claims["aud"])
    else:
        assert "aud" not in claims


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_sign_in_is_of_one_user_and_one_session(oidc: OidcEmulator, name: str) -> None:
    preset = PRESETS[name]
    ada, again, eve = (oidc.sign_in(email, name) for email in ("ada@x.example", "ada@x.example", "eve@x.example"))
    assert ada.user_id == again.user_id != eve.user_id
    claims = claims_of(ada.access_token)
    assert claims[preset.user_id] == ada.user_id
    if preset.session_id is None:
        assert ada.session_id == ""
    else:
        assert claims[preset.session_id] == ada.session_id != again.session_id
    newer = oidc.token(name, email="ada@x.example", session_id=ada.session_id)
    if preset.session_id:
        assert claims_of(newer)[preset.session_id] == ada.session_id
    assert ada.access_token not in repr(ada)
    assert ada.opaque_token not in repr(ada)


def test_the_kinds_of_token_differ_as_they_do_at_the_issuers(oidc: OidcEmulator) -> None:
    def made(preset: str, kind: str) -> dict[str, Any]:
        return claims_of(oidc.token(preset, kind))

    assert made("auth0", "machine")["sub"].endswith("@clients")
    assert made("auth0", "id")["aud"] == oidc.preset("auth0").client_id
    assert "azp" not in made("auth0-rfc9068", "user")
    assert "uid" not in made("okta", "machine")
    assert isinstance(made("okta", "user")["scp"], list)
    assert not {"scp", "azp"} & set(made("entra-v2", "id"))
    assert "scp" not in made("entra-v1", "machine")
    assert "groups" in made("entra-v2", "overage")["_claim_names"]
    assert made("keycloak", "id")["typ"] == "ID"
    assert "sub" not in made("keycloak", "lightweight")
    assert made("keycloak", "machine")["preferred_username"].startswith("service-account-")
    assert made("cognito", "machine")["sub"] == made("cognito", "machine")["client_id"]
    assert made("cognito", "id")["token_use"] == "id"
    assert made("firebase", "anonymous")["firebase"]["sign_in_provider"] == "anonymous"
    assert made("clerk-v2", "pending")["sts"] == "pending"
    assert set(made("clerk-v2", "organization")["o"]) == {"id", "slg", "rol", "per", "fpm"}
    assert set(made("supabase", "anon-key")) == {"iss", "ref", "role", "iat", "exp"}
    assert made("workos", "agent")["sub_profile"] == "agent"
    assert made("workos", "widget")["sub_type"] == "widget"
    assert "nonce" in made("generic", "id")
    assert made("generic", "delegated")["act"]["sub"] == "support@example.com"
    assert set(made("generic", "dpop")["cnf"]) == {"jkt"}
    assert set(made("generic", "mtls")["cnf"]) == {"x5t#S256"}
    assert jwt.get_unverified_header(oidc.token("generic", "logout"))["typ"] == "logout+jwt"
    assert jwt.get_unverified_header(oidc.token("generic-rfc9068"))["typ"] == "at+jwt"
    assert "typ" not in jwt.get_unverified_header(oidc.token("cognito"))
    assert "kid" not in jwt.get_unverified_header(oidc.token("supabase", "legacy"))
    assert oidc.token("auth0", "encrypted").count(".") == 4


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_has_its_key(oidc: OidcEmulator, algorithm: str) -> None:
    token = oidc.token(algorithm=algorithm)
    jwks = quick.get(oidc.jwks_url).json()
    assert verified(token, jwks)["iss"] == oidc.issuer
    assert oidc.jwks() == jwks
    jwt.decode(token, oidc.pem(algorithm), algorithms=[algorithm], audience=oidc.audience)
    private = {"d", "p", "q", "dp", "dq", "qi", "k"}
    assert not any(private & set(one) for one in jwks["keys"])
    (entry,) = [one for one in jwks["keys"] if one["kid"] == oidc.kid(algorithm)]
    assert (entry["alg"], entry["use"]) == (algorithm, "sig")


def test_tokens_that_no_published_key_has_signed(oidc: OidcEmulator) -> None:
    foreign, imposter = oidc.token(key="foreign"), oidc.token(key="imposter")
    assert jwt.get_unverified_header(foreign)["kid"] not in {one["kid"] for one in oidc.jwks()["keys"]}
    with pytest.raises(jwt.InvalidSignatureError):
        verified(imposter, oidc.jwks())
    confused = oidc.token(algorithm="HS256", key="public")
    signed, _, signature = confused.rpartition(".")
    hmac = jwt.get_algorithm_by_name("HS256")
    assert hmac.verify(signed.encode(), oidc.pem().encode(), base64.urlsafe_b64decode(signature + "=="))
    unsigned = oidc.token(algorithm="none")
    assert unsigned.endswith(".")
    for token in (foreign, imposter, confused, unsigned):
        assert introspect(oidc, token) == {"active": False}


def test_content_is_arbitrary(oidc: OidcEmulator) -> None:
    token = oidc.token(
        "cognito",
        header={"typ": "JWS", "x5u": "https://evil.example"},
        drop=["jti", "kid"],
        claims={"cognito:groups": []},
        iss="https://evil.example",
        life=10,
        age=5,
    )
    header, claims = jwt.get_unverified_header(token), claims_of(token)
    assert header == {"alg": "RS256", "typ": "JWS", "x5u": "https://evil.example"}
    assert (claims["iss"], claims["cognito:groups"]) == ("https://evil.example", [])
    assert "jti" not in claims
    assert claims["exp"] - claims["iat"] == 10
    assert 5 <= time.time() - claims["iat"] < 60


@pytest.mark.parametrize(
    "wrong", [{"preset": "nobody"}, {"kind": "nothing"}, {"algorithm": "RS1"}, {"key": "other"}]
)
def test_what_it_cannot_make_is_named(oidc: OidcEmulator, wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        oidc.token(**wrong)  # type: ignore[arg-type]


def test_settings_of_an_app(oidc: OidcEmulator) -> None:
    assert oidc.preset("generic").settings["MOONKEY_OIDC_ISSUER"] == oidc.issuer
    assert oidc.preset("auth0").settings["MOONKEY_AUTH0_JWKS_URL"] == oidc.preset("auth0").jwks_url
    assert oidc.preset("keycloak").settings["MOONKEY_KEYCLOAK_URL"] == oidc.base_url
    with OidcEmulator(issuer="https://idp.example/", algorithms=["ES256"]) as other:
        settings = other.preset("generic").settings
        assert settings["MOONKEY_OIDC_ISSUER"] == "https://idp.example/"
        assert settings["MOONKEY_OIDC_JWKS_URL"] == other.jwks_url


@pytest.mark.long
def test_rotation(oidc: OidcEmulator) -> None:
    old = oidc.token()
    oidc.rotate_keys()
    assert verified(old, oidc.jwks())
    new = oidc.token()
    assert jwt.get_unverified_header(new)["kid"] != jwt.get_unverified_header(old)["kid"]
    oidc.rotate_keys(keep_old=False, algorithm="RS256")
    published = {one["kid"] for one in quick.get(oidc.jwks_url).json()["keys"]}
    assert not {jwt.get_unverified_header(one)["kid"] for one in (old, new)} & published
    assert oidc.kid() in published


def test_how_keys_are_published(oidc: OidcEmulator) -> None:
    oidc.key_set(alg=False, use=False, members={"issuer": "https://x.example"}, extra=[{"kty": "new"}])
    *keys, extra = quick.get(oidc.jwks_url).json()["keys"]
    assert extra == {"kty": "new"}
    for key in keys:
        assert not {"alg", "use"} & set(key)
        assert key["issuer"] == "https://x.example"
    oidc.key_set()
    assert all({"alg", "use"} <= set(key) for key in oidc.jwks()["keys"])


def test_discovery(oidc: OidcEmulator) -> None:
    document = quick.get(oidc.discovery_url).json()
    assert document["issuer"] == oidc.issuer == oidc.base_url
    assert document["jwks_uri"] == oidc.jwks_url
    assert document["introspection_endpoint"] == oidc.introspection_url
    assert set(document["id_token_signing_alg_values_supported"]) >= {"RS256", "ES256", "EdDSA"}
    for name in ("keycloak", "okta", "supabase", "clerk-v2"):
        issuer = oidc.preset(name).issuer
        assert quick.get(f"{issuer}/.well-known/openid-configuration").json()["issuer"] == issuer
    oidc.discovery(issuer="https://evil.example", jwks_uri=None)
    wrong = quick.get(oidc.discovery_url).json()
    assert wrong["issuer"] == "https://evil.example"
    assert "jwks_uri" not in wrong
    oidc.discovery()
    assert quick.get(oidc.discovery_url).json() == document


def test_another_issuer() -> None:
    with OidcEmulator(issuer="https://idp.example/", algorithms=["ES256"], client_secret="mine") as oidc:
        assert quick.get(oidc.discovery_url).json()["issuer"] == oidc.issuer == "https://idp.example/"
        assert [one["alg"] for one in oidc.jwks()["keys"]] == ["ES256"]
        assert claims_of(oidc.token(algorithm="ES256"))["iss"] == "https://idp.example/"
        assert oidc.client_secret == "mine"
    with pytest.raises(ValueError, match="algorithm must be one of"):
        OidcEmulator(algorithms=["HS256"])
    with pytest.raises(ValueError, match="allow_remote"):
        OidcEmulator(host="0.0.0.0")


class TestIntrospection:
    @pytest.mark.parametrize("name", list(PRESETS))
    def test_it_says_of_an_opaque_token_what_a_jwt_would(self, oidc: OidcEmulator, name: str) -> None:
        signed_in = oidc.sign_in(preset=name)
        reply = introspect(oidc, signed_in.opaque_token)
        expected = claims_of(signed_in.access_token)
        own = {"jti", "uti", "iat", "exp", "nbf", "auth_time", "amr"}
        assert {key: value for key, value in expected.items() if key not in own}.items() <= reply.items()
        assert reply["active"] is True
        assert reply["token_type"] == "Bearer"
        assert introspect(oidc, signed_in.access_token)["active"] is True

    def test_names_of_the_standard(self, oidc: OidcEmulator) -> None:
        reply = introspect(oidc, oidc.opaque_token("okta"))
        assert reply["scope"] == "openid profile"
        assert reply["client_id"] == oidc.preset("okta").client_id

    def test_what_is_not_active(self, oidc: OidcEmulator) -> None:
        ada = oidc.sign_in("ada@x.example")
        assert introspect(oidc, "never-existed") == {"active": False}
        assert introspect(oidc, oidc.opaque_token(life=60, age=60)) == {"active": False}
        oidc.revoke(ada.access_token)
        assert introspect(oidc, ada.access_token) == {"active": False}
        assert introspect(oidc, ada.opaque_token)["active"] is True
        oidc.revoke(session_id=ada.session_id)
        assert introspect(oidc, ada.opaque_token) == {"active": False}
        again = oidc.sign_in("ada@x.example")
        eve = oidc.sign_in("eve@x.example")
        oidc.revoke(user_id=ada.user_id)
        assert introspect(oidc, again.opaque_token) == {"active": False}
        assert introspect(oidc, eve.opaque_token)["active"] is True
        oidc.set_clock(3_601)
        assert introspect(oidc, eve.opaque_token) == {"active": False}
        with pytest.raises(ValueError, match="name a token"):
            oidc.revoke()

    def test_replies_can_be_changed(self, oidc: OidcEmulator) -> None:
        token = oidc.opaque_token(aud=None)
        assert introspect(oidc, token)["iss"] == oidc.issuer
        oidc.introspection(iss="https://evil.example", sub=None)
        reply = introspect(oidc, token)
        assert reply["iss"] == "https://evil.example"
        assert "sub" not in reply

    def test_revocation(self, oidc: OidcEmulator) -> None:
        secret = (oidc.client_id, oidc.client_secret)
        ada = oidc.sign_in()
        assert quick.post(oidc.revocation_url, data={"token": ada.opaque_token}, auth=secret).status_code == 200
        assert introspect(oidc, ada.opaque_token) == {"active": False}
        assert introspect(oidc, ada.access_token)["active"] is True
        form = {"token": ada.refresh_token, "token_type_hint": "refresh_token"}
        assert quick.post(oidc.revocation_url, data=form, auth=secret).status_code == 200
        assert introspect(oidc, ada.access_token) == {"active": False}
        assert quick.post(oidc.revocation_url, data={"token": "unknown"}, auth=secret).status_code == 200
        assert quick.post(oidc.revocation_url, data={"token": "x"}).status_code == 401


class TestClients:
    """Client authentication (RFC 6749, section 2.3; RFC 7523)."""

    ODD = "a:b%20+&=ü"

    def ask(self, oidc: OidcEmulator, headers: dict[str, str] | None = None, **form: str) -> httpx.Response:
        return quick.post(oidc.introspection_url, data={"token": "x", **form}, headers=headers)

    def basic(self, name: str, secret: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}

    def test_basic_is_form_encoded_first(self, oidc: OidcEmulator) -> None:
        oidc.add_client("http://id.example", self.ODD)
        name, secret = quote_plus("http://id.example"), quote_plus(self.ODD)
        assert self.ask(oidc, self.basic(name, secret)).status_code == 200
        for wrong in (
            self.basic("http://id.example", secret),
            self.basic(name, self.ODD),
            self.basic(name, "no"),
            {"Authorization": "Basic !"},
            {"Authorization": "Bearer x"},
        ):
            reply = self.ask(oidc, wrong)
            assert (reply.status_code, reply.json()["error"]) == (401, "invalid_client")
            assert reply.headers["www-authenticate"].startswith("Basic")

    def test_post(self, oidc: OidcEmulator) -> None:
        oidc.add_client("poster", self.ODD, methods=["client_secret_post"])
        assert self.ask(oidc, client_id="poster", client_secret=self.ODD).status_code == 200
        assert self.ask(oidc, client_id="poster", client_secret="no").status_code == 401
        assert self.ask(oidc, self.basic("poster", quote_plus(self.ODD))).status_code == 401
        both = self.ask(oidc, self.basic("poster", "x"), client_id="poster", client_secret=self.ODD)
        assert (both.status_code, both.json()["error"]) == (400, "invalid_request")
        assert self.ask(oidc).status_code == 401

    def test_private_key(self, oidc: OidcEmulator) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        oidc.add_client("signer", public_key=public)

        def ask(form: dict[str, str] | None = None, **changes: Any) -> int:
            claims = {
                "iss": "signer",
                "sub": "signer",
                "aud": oidc.introspection_url,
                "exp": oidc.now() + 60,
                "jti": str(time.monotonic_ns()),
                **changes,
            }
            claims = {name: value for name, value in claims.items() if value is not None}
            assertion = jwt.encode(claims, changes.get("key", key), "ES256")
            fields = {"client_assertion_type": ASSERTION, "client_assertion": assertion, **(form or {})}
            return self.ask(oidc, None, **fields).status_code

        assert ask() == ask(aud=oidc.issuer) == ask(aud=[oidc.token_url]) == 200
        assert ask({"client_id": "signer"}) == 200
        assert ask(jti="once") == 200
        wrong: dict[str, Any]
        for wrong in (
            {"jti": "once"},
            {"jti": None},
            {"aud": "https://other.example"},
            {"exp": oidc.now() - 1},
            {"exp": oidc.now() + 86_400},
            {"exp": None},
            {"iss": "other"},
            {"sub": "demo-api"},
        ):
            assert ask(**wrong) == 401, wrong
        assert ask({"client_id": "demo-api"}) == 401
        assert ask({"client_assertion_type": "other"}) == 400
        assert ask({"client_assertion": "no.jwt"}) == 401
        oidc.add_client("signer", public_key=public, assertion_audience="https://idp.example")
        assert ask() == 401
        assert ask(aud="https://idp.example") == 200

    def test_a_foreign_key(self, oidc: OidcEmulator) -> None:
        own, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        oidc.add_client("signer", public_key=ECAlgorithm.to_jwk(own.public_key(), as_dict=True))
        claims = {
            "iss": "signer",
            "sub": "signer",
            "aud": oidc.introspection_url,
            "exp": oidc.now() + 60,
            "jti": "1",
        }
        assertion = jwt.encode(claims, other, "ES256")
        assert self.ask(oidc, client_assertion_type=ASSERTION, client_assertion=assertion).status_code == 401

    def test_what_is_no_form(self, oidc: OidcEmulator) -> None:
        form = "application/x-www-form-urlencoded"
        json_body = (b'{"token": "x"}', "application/json")
        for content, kind in (json_body, (b"token=a&token=b", form), (b"\xff", form)):
            headers = {"Content-Type": kind}
            reply = quick.post(oidc.introspection_url, content=content, headers=headers)
            assert (reply.status_code, reply.json()["error"]) == (400, "invalid_request")
        secret = (oidc.client_id, oidc.client_secret)
        assert quick.post(oidc.introspection_url, data={"x": "y"}, auth=secret).status_code == 400

    def test_a_client_needs_something_to_prove_itself_by(self, oidc: OidcEmulator) -> None:
        with pytest.raises(ValueError, match="a secret or a public key"):
            oidc.add_client("nobody")
        with pytest.raises(ValueError, match="methods must be"):
            oidc.add_client("nobody", "secret", methods=["tls"])
        with pytest.raises(ValueError, match="not a key"):
            oidc.add_client("nobody", public_key={"kty": "new"})


class TestLogin:
    """The way of a browser, without a page: the user consents at once."""

    BACK = "http://127.0.0.1:9/back"

    def authorize(self, oidc: OidcEmulator, **changes: str) -> httpx.Response:
        usual = {"response_type": "code", "client_id": "demo-api", "redirect_uri": self.BACK, "state": "s"}
        query = {**usual, **changes}
        return quick.get(f"{oidc.base_url}/authorize", params=query, follow_redirects=False)

    def exchange(self, oidc: OidcEmulator, **form: str) -> httpx.Response:
        return quick.post(oidc.token_url, data=form, auth=(oidc.client_id, oidc.client_secret))

    def test_a_code_is_exchanged_once(self, oidc: OidcEmulator) -> None:
        answer = self.authorize(oidc, nonce="n1", acr_values="2 1", login_hint="ada@x.example")
        assert answer.status_code == 302
        location = urlsplit(answer.headers["location"])
        query = parse_qs(location.query)
        assert query["state"] == ["s"]
        form = {"grant_type": "authorization_code", "code": query["code"][0], "redirect_uri": self.BACK}
        reply = self.exchange(oidc, **form).json()
        identity = jwt.decode(reply["id_token"], oidc.pem(), algorithms=["RS256"], audience="demo-api")
        assert (identity["nonce"], identity["acr"]) == ("n1", "2")
        access = jwt.decode(reply["access_token"], oidc.pem(), algorithms=["RS256"], audience=oidc.audience)
        assert (access["client_id"], access["acr"], access["sid"]) == ("demo-api", "2", identity["sid"])
        assert "nonce" not in access
        assert access["sub"] == oidc.sign_in("ada@x.example").user_id
        again = self.exchange(oidc, **form)
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")

        renewed = self.exchange(oidc, grant_type="refresh_token", refresh_token=reply["refresh_token"]).json()
        newer = claims_of(renewed["access_token"])
        assert (newer["sub"], newer["sid"], newer["acr"]) == (access["sub"], access["sid"], "2")
        oidc.revoke(session_id=access["sid"])
        ended = self.exchange(oidc, grant_type="refresh_token", refresh_token=reply["refresh_token"])
        assert ended.json()["error"] == "invalid_grant"

    def test_a_code_belongs_to_its_verifier_and_address(self, oidc: OidcEmulator) -> None:
        challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"  # RFC 7636, appendix B
        verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        for right, changes in (
            (True, {}),
            (False, {"code_verifier": "x" * 43}),
            (False, {"redirect_uri": self.BACK + "x"}),
        ):
            answer = self.authorize(oidc, code_challenge=challenge, code_challenge_method="S256")
            code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
            form = {"code": code, "redirect_uri": self.BACK, "code_verifier": verifier, **changes}
            reply = self.exchange(oidc, grant_type="authorization_code", **form)
            assert reply.status_code == (200 if right else 400)

    @pytest.mark.parametrize(
        "changes",
        [
            {"redirect_uri": "https://evil.example/"},
            {"redirect_uri": "http://127.0.0.1@evil.example/"},
            {"redirect_uri": "javascript:alert(1)"},
            {"client_id": "unknown"},
            {"response_type": "token"},
            {"code_challenge": "x", "code_challenge_method": "plain"},
        ],
    )
    def test_no_code_leaves_the_machine(self, oidc: OidcEmulator, changes: dict[str, str]) -> None:
        assert self.authorize(oidc, **changes).status_code == 400

    def test_a_client_of_its_own(self, oidc: OidcEmulator) -> None:
        reply = self.exchange(oidc, grant_type="client_credentials").json()
        claims = verified(reply["access_token"], oidc.jwks())
        assert claims["sub"] == claims["client_id"] == "demo-api"
        assert "sid" not in claims
        assert self.exchange(oidc, grant_type="password").json()["error"] == "unsupported_grant_type"


class TestTrouble:
    def test_faults(self, oidc: OidcEmulator) -> None:
        for fault, status in (
            ({"status": 503}, 503),
            ({"status": 429, "headers": {"Retry-After": "7"}}, 429),
            ({"body": "<html>"}, 200),
        ):
            oidc.fault("/jwks", times=1, **fault)
            reply = quick.get(oidc.jwks_url)
            assert reply.status_code == status
        assert reply.text == "<html>"
        oidc.fault("/introspect", reset=True, times=1)
        with pytest.raises(httpx.TransportError):
            introspect(oidc, "x")
        assert introspect(oidc, "x") == {"active": False}

    def test_an_outage_forgets_nothing(self, oidc: OidcEmulator) -> None:
        ada = oidc.sign_in()
        issuer = oidc.issuer
        oidc.stop()
        with pytest.raises(httpx.ConnectError):
            quick.get(oidc.jwks_url)
        oidc.start()
        assert oidc.issuer == issuer
        assert introspect(oidc, ada.opaque_token)["active"] is True

    def test_calls_are_counted_by_route(self, oidc: OidcEmulator) -> None:
        introspect(oidc, "x")
        quick.get(oidc.preset("keycloak").jwks_url)
        quick.get(f"{oidc.base_url}/nowhere")
        assert oidc.requests() == {
            "POST /introspect": 1,
            "GET /{path:path}/protocol/openid-connect/certs": 1,
            "(other)": 1,
        }

    def test_the_clock(self, oidc: OidcEmulator) -> None:
        oidc.set_clock(-7_200)
        assert claims_of(oidc.token())["exp"] < time.time()

    def test_it_starts_over(self, oidc: OidcEmulator) -> None:
        ada = oidc.sign_in()
        oidc.add_client("other", "secret")
        oidc.key_set(alg=False)
        oidc.discovery(issuer="x")
        oidc.introspection(iss="x")
        oidc.reset()
        assert introspect(oidc, ada.opaque_token) == {"active": False}
        assert quick.get(oidc.discovery_url).json()["issuer"] == oidc.issuer
        assert all("alg" in key for key in oidc.jwks()["keys"])
        wrong = quick.post(oidc.introspection_url, data={"token": "x"}, auth=("other", "secret"))
        assert wrong.status_code == 401


class TestControlOverHttp:
    def post(self, oidc: OidcEmulator, path: str, body: object = None) -> httpx.Response:
        return quick.post(f"{oidc.base_url}/_emulator/{path}", json={} if body is None else body)

    @pytest.mark.long
    def test_it_does_what_the_methods_do(self, oidc: OidcEmulator) -> None:
        told = quick.get(f"{oidc.base_url}/_emulator").json()
        assert (told["issuer"], told["client_id"]) == (oidc.issuer, "demo-api")
        assert oidc.client_secret not in json.dumps(told)
        presets = quick.get(f"{oidc.base_url}/_emulator/presets").json()
        assert presets["auth0"]["issuer"] == "https://demo.eu.auth0.com/"

        signed_in = self.post(oidc, "sign-in", {"email": "ada@x.example", "preset": "clerk-v2"}).json()
        assert claims_of(signed_in["access_token"])["sid"] == signed_in["session_id"]
        body = {"preset": "okta", "kind": "machine", "drop": ["cid"], "claims": {"aud": "x"}, "life": 5}
        claims = claims_of(self.post(oidc, "token", body).json()["token"])
        assert claims["aud"] == "x"
        assert not {"uid", "cid"} & set(claims)
        opaque = self.post(oidc, "opaque-token", {"claims": {"sub": "ada"}}).json()["token"]
        assert introspect(oidc, opaque)["sub"] == "ada"
        assert self.post(oidc, "revoke", {"token": opaque}).json() == {"ok": True}
        assert introspect(oidc, opaque) == {"active": False}

        kid = oidc.kid()
        self.post(oidc, "keys/rotate", {"keep_old": False})
        assert oidc.kid() != kid
        self.post(oidc, "keys/publish", {"alg": False, "extra": [{"kty": "new"}]})
        assert "alg" not in oidc.jwks()["keys"][0]
        self.post(oidc, "discovery", {"members": {"issuer": "x"}})
        assert quick.get(oidc.discovery_url).json()["issuer"] == "x"
        self.post(oidc, "introspection", {"members": {"iss": "x"}})
        assert introspect(oidc, oidc.opaque_token())["iss"] == "x"
        self.post(oidc, "clients", {"client_id": "c", "secret": "s"})
        assert quick.post(oidc.introspection_url, data={"token": "x"}, auth=("c", "s")).status_code == 200
        self.post(oidc, "faults", {"path": "/jwks", "status": 500})
        assert quick.get(oidc.jwks_url).status_code == 500
        self.post(oidc, "reset")
        assert quick.get(oidc.jwks_url).status_code == 200

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("token", {"preset": "nobody"}),
            ("token", {"drop": [1]}),
            ("token", {"unknown": 1}),
            ("sign-in", {"life": True}),
            ("sign-in", {"age": 1e300}),
            ("revoke", {}),
            ("keys/publish", {"extra": [1]}),
            ("clients", {"client_id": "c"}),
            ("clients", {"secret": "s"}),
            ("opaque-token", {"drop": "sub"}),
        ],
    )
    def test_what_is_wrong_is_refused(self, oidc: OidcEmulator, path: str, body: dict[str, Any]) -> None:
        assert self.post(oidc, path, body).status_code == 400

    def test_web_pages_are_kept_out(self, oidc: OidcEmulator) -> None:
        url = f"{oidc.base_url}/_emulator/sign-in"
        assert quick.post(url, json={}, headers={"Origin": "https://evil.example"}).status_code == 403
        assert quick.post(url, json={}, headers={"Host": "evil.example"}).status_code == 403
