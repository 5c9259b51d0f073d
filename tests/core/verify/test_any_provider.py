"""Any provider's JWTs are judged by its rules; a provider that cannot be asked is never asked."""

from __future__ import annotations

import logging
from typing import Any

import jwt as pyjwt
import pytest

from moonkey_core import (
    Auth,
    ConfigurationError,
    ExpiredCredentials,
    InvalidCredentials,
    MoonKey,
    ProviderUnavailable,
    RevokedCredentials,
)
from moonkey_core.auth import cache_entry
from moonkey_core.gate import AS_FRESH_AS_POSSIBLE
from moonkey_core.provider import OIDC, JwtRules, KeySource, SessionClaims
from support.decisions import NOW
from support.foreign_tokens import (
    ALGORITHMS,
    AUDIENCE,
    ISSUER,
    ForeignDecisions,
    claims,
    jwk,
    key_set,
    private_key,
    provider,
    public_pem,
    token,
)


def shown(decisions: ForeignDecisions, text: str, **requirements: Any) -> Auth:
    return decisions.authenticate(f"Bearer {text}", "authorization", **requirements)


def reason(decisions: ForeignDecisions, text: str, **requirements: Any) -> str:
    auth = shown(decisions, text, **requirements)
    assert auth.is_rejected
    assert auth.error is not None
    assert decisions.fetches == []
    return auth.error.reason


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("stated", [True, False], ids=["alg", "no alg"])
def test_each_algorithm_with_a_key_of_its_type(algorithm: str, stated: bool) -> None:
    entry = jwk(algorithm, alg=algorithm if stated else None)
    decisions = ForeignDecisions(provider(KeySource(jwks={"keys": [entry]})))
    auth = shown(decisions, token(algorithm))
    assert auth.is_authenticated
    assert (auth.user.id, auth.session.id) == ("user_1", "sid-1")
    assert decisions.fetches == []


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_algorithm_that_the_rules_do_not_name(algorithm: str) -> None:
    others = tuple(one for one in ALGORITHMS if one != algorithm)
    decisions = ForeignDecisions(provider(algorithms=others))
    assert reason(decisions, token(algorithm)) == "jwt_algorithm"


@pytest.mark.parametrize("stated", ["RS256", "PS512", "ES384", "EdDSA"])
def test_a_key_is_used_only_as_its_type_and_its_alg_say(stated: str) -> None:
    """The header of a token never chooses the algorithm of a key."""
    entry = jwk("RS512", alg="RS512", kid="only")
    decisions = ForeignDecisions(provider(KeySource(jwks={"keys": [entry]})))
    assert shown(decisions, token("RS512", head={"kid": "only"})).is_authenticated
    signer = private_key(stated)
    forged = pyjwt.encode(claims(), signer, stated, headers={"kid": "only"})
    assert reason(decisions, forged) == "jwt_algorithm"


@pytest.mark.parametrize("algorithm", ["HS256", "none", "HS512"])
def test_symmetric_and_no_algorithms(algorithm: str) -> None:
    secret: Any = (
        None if algorithm == "none" else "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    forged = pyjwt.encode(claims(), secret, algorithm, headers={"kid": "key of RS256"})
    auth = shown(ForeignDecisions(), forged)
    assert not auth.is_authenticated
    with pytest.raises(ConfigurationError, match="asymmetric"):
        ForeignDecisions(provider(algorithms=("RS256", algorithm)))


def test_a_symmetric_key_is_never_used() -> None:
    with pytest.raises(ConfigurationError, match="no usable key"):
        ForeignDecisions(provider(KeySource(jwks={"keys": [{"kty": "oct", "kid": "a", "k": "AAAA"}]})))


TYPES = [("JWT", None), ("jwt", None), ("application/at+jwt", None), ("at+JWT", None), ("logout+jwt", "jwt_type")]


@pytest.mark.parametrize(("kind", "why"), [*TYPES, ("secevent+jwt", "jwt_type"), (7, None)])
def test_types(kind: Any, why: str | None) -> None:
    if kind == 7:
        text = pyjwt.encode(claims(), private_key("RS256"), "RS256", headers={"kid": "key of RS256", "typ": None})
        assert shown(ForeignDecisions(), text).is_authenticated  # absent
        assert reason(ForeignDecisions(provider(types=frozenset({"jwt"}))), text) == "jwt_type"
        return
    text = token(head={"typ": kind})
    if why is None:
        assert shown(ForeignDecisions(), text).is_authenticated
    else:
        assert reason(ForeignDecisions(), text) == why


LOOK_ALIKES: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"iss": ISSUER + "/"}, "jwt_issuer"),
    "issuer in other case": ({"iss": ISSUER.upper()}, "jwt_issuer"),
    "no issuer": ({"iss": None}, "jwt_issuer"),
    "another audience": ({"aud": "https://other.example.com"}, "jwt_audience"),
    "no audience": ({"aud": None}, "jwt_audience"),
    "other audiences": ({"aud": ["a", "b"]}, "jwt_audience"),
    "audience as number": ({"aud": [AUDIENCE, 7]}, "jwt_audience"),
    "no iat": ({"iat": None}, "jwt_claims"),
    "no exp": ({"exp": None}, "jwt_claims"),
    "exp as text": ({"exp": str(int(NOW) + 300)}, "jwt_claims"),
    "from the future": ({"iat": int(NOW) + 60}, "jwt_not_yet_valid"),
    "valid for too long": ({"exp": int(NOW) + 86_401}, "jwt_lifetime"),
    "no session": ({"sid": None}, "jwt_session"),
    "an ID token": ({"nonce": "n"}, "jwt_claims"),
    "bound to a key": ({"cnf": {"jkt": "x"}}, "jwt_claims"),
}


@pytest.mark.parametrize("case", LOOK_ALIKES)
def test_a_look_alike_is_refused_without_a_call(case: str) -> None:
    changes, why = LOOK_ALIKES[case]
    assert reason(ForeignDecisions(), token(**changes)) == why


def test_an_audience_in_another_claim() -> None:
    decisions = ForeignDecisions(provider(audience=("app-1",), audience_claim="client_id"))
    assert shown(decisions, token(client_id="app-1", aud=None)).is_authenticated
    assert reason(decisions, token(client_id="app-2", aud="app-1")) == "jwt_audience"


def test_several_audiences_and_the_longest_life_that_is_accepted() -> None:
    assert shown(ForeignDecisions(), token(aud=["x", AUDIENCE], exp=int(NOW) + 86_400)).is_authenticated


def test_a_key_that_names_an_issuer_serves_only_that() -> None:
    for named, accepted in ((ISSUER, True), ("https://other", False), ("https://x/{tenantid}", True)):
        decisions = ForeignDecisions(provider(KeySource(jwks={"keys": [jwk("RS256", issuer=named)]})))
        assert shown(decisions, token()).is_authenticated is accepted


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_pem_for_every_kid_or_by_kid(algorithm: str) -> None:
    for pem, kid in ((public_pem(algorithm), "any"), ({"k1": public_pem(algorithm)}, "k1")):
        decisions = ForeignDecisions(provider(KeySource(pem=pem)))
        text = token(algorithm, head={"kid": kid})
        for _ in range(2):
            auth = shown(decisions, text)
            assert auth.is_authenticated
        assert auth.source == "cache"
    assert reason(decisions, token(algorithm, head={"kid": "k2"})) == "jwt_unknown_key"


def test_a_jwt_without_kid_only_where_the_rules_say_so() -> None:
    text = pyjwt.encode(claims(), private_key("ES256"), "ES256")
    assert reason(ForeignDecisions(), text) == "jwt_key_id"
    for keys in (key_set("RS256", "ES256"), {"keys": [jwk("ES256", kid=None)]}):
        decisions = ForeignDecisions(provider(KeySource(jwks=keys), needs_kid=False))
        assert shown(decisions, text).is_authenticated
        assert shown(decisions, text).source == "cache"
    two = {"keys": [jwk("RS256"), jwk("RS512", kid="another")]}
    same_key_twice = ForeignDecisions(provider(KeySource(jwks=two), needs_kid=False, algorithms=("RS256",)))
    unclear = pyjwt.encode(claims(), private_key("RS256"), "RS256")
    assert reason(same_key_twice, unclear) == "jwt_unknown_key"


class TestNobodyToAsk:
    def test_an_old_jwt_is_expired_and_no_call_is_made(self) -> None:
        decisions = ForeignDecisions()
        text = token()
        assert shown(decisions, text).is_authenticated
        decisions.now += 3600 + 6
        for _ in range(2):
            auth = shown(decisions, text)
            assert isinstance(auth.error, ExpiredCredentials)
            assert not auth.error.session_is_over  # the next token may be of the same session
        assert decisions.fetches == []
        assert decisions.known({"authorization": [f"Bearer {text}"]}) is not None  # without waiting

    def test_old_and_wrong_is_invalid(self) -> None:
        old: dict[str, Any] = {"iat": int(NOW) - 7200, "exp": int(NOW) - 3600}
        assert reason(ForeignDecisions(), token(**old)) == "expired_credentials"
        assert reason(ForeignDecisions(), token(**old, aud="other")) == "jwt_audience"
        assert reason(ForeignDecisions(), token(**old)[:-8] + "AAAAAAAA") == "jwt_signature"

    @pytest.mark.parametrize("text", ["opaque-token-of-somebody", "a.b.c.d.e", "session_0123456789"])
    def test_an_opaque_credential(self, text: str) -> None:
        assert reason(ForeignDecisions(), text) in ("opaque_credential", "jwt_form")

    def test_a_maximum_age(self) -> None:
        decisions = ForeignDecisions(provider(max_age=300))
        text = token()
        assert shown(decisions, text).is_authenticated
        decisions.now += 301
        assert reason(decisions, text) == "expired_credentials"

    def test_the_leeway_of_the_rules_counts(self) -> None:
        decisions = ForeignDecisions(provider(leeway=0))
        decisions.now += 3600
        assert reason(decisions, token()) == "expired_credentials"

    def test_what_would_have_to_be_confirmed_is_refused(self) -> None:
        decisions = ForeignDecisions()
        text = token()
        assert shown(decisions, text).is_authenticated
        decisions.core.revocations.add_cutoff("user_1", scope=ISSUER)
        auth = shown(decisions, text)
        assert isinstance(auth.error, RevokedCredentials)
        assert decisions.fetches == []

    def test_a_route_that_asks_for_more_freshness_than_there_is(self) -> None:
        decisions = ForeignDecisions()
        for most, late in ((0, 0), (30, 0), (30, 60)):  # however young the token is
            decisions.now = NOW + late
            with pytest.raises(ConfigurationError, match="max_staleness"):
                shown(decisions, token(), max_staleness=most)
        assert shown(decisions, token(), max_staleness=86_405).is_authenticated

    def test_a_connection_goes_on_until_the_end_of_its_token(self) -> None:
        decisions = ForeignDecisions()
        headers = {"authorization": [f"Bearer {token()}"]}
        decisions.now += 60
        assert decisions.read(headers, AS_FRESH_AS_POSSIBLE).is_authenticated
        decisions.now += 3600
        assert isinstance(decisions.read(headers, AS_FRESH_AS_POSSIBLE).error, ExpiredCredentials)
        assert decisions.fetches == []

    def test_a_revocation_ends_a_session_of_that_scope_only(self) -> None:
        decisions = ForeignDecisions()
        assert shown(decisions, token()).is_authenticated
        decisions.core.revocations.add(session_id="sid-1", issuer=ISSUER)
        assert reason(decisions, token()) == "revoked_credentials"


class Live:
    """A feed whose state the test sets."""

    is_live = True
    is_starting = False

    def start(self) -> None: ...
    def lag(self) -> float | None:
        return 0.0


class TestFeed:
    REDIS = {"redis_url": "redis://127.0.0.1:1/0", "cache_secret": "0123456789abcdef"}

    def test_the_loss_of_the_feed_has_to_be_thought_of(self) -> None:
        with pytest.raises(ConfigurationError, match="on_feed_lost"):
            ForeignDecisions(**self.REDIS)

    def test_local_says_its_bound_once(self, caplog: pytest.LogCaptureFixture) -> None:
        feed = Live()
        with caplog.at_level(logging.INFO, "moonkey"):
            decisions = ForeignDecisions(feed=feed, on_feed_lost="local", **self.REDIS)
            feed.is_live = False
            assert shown(decisions, token()).is_authenticated
        found = [one for one in caplog.records if getattr(one, "reason", "") == "feed_lost_bound"]
        assert len(found) == 1
        assert "86410 s" in found[0].getMessage()

    def test_refuse_is_an_outage(self) -> None:
        feed = Live()
        decisions = ForeignDecisions(feed=feed, on_feed_lost="refuse", **self.REDIS)
        assert shown(decisions, token()).is_authenticated
        feed.is_live = False
        for text in (token(), token(jti="another")):
            auth = shown(decisions, text)
            assert auth.is_unavailable
            assert isinstance(auth.error, ProviderUnavailable)
            assert (auth.error.status, auth.error.reason) == (503, "feed_refused")
        feed.is_live = True
        assert shown(decisions, token()).is_authenticated


def test_ids_without_a_scope_are_never_those_of_moonkey(monkeypatch: pytest.MonkeyPatch) -> None:
    made = provider()
    own = made.session_claims
    monkeypatch.setattr(made, "session_claims", lambda payload, end: SessionClaims(*own(payload, end)[:4]))
    entry = cache_entry(shown(ForeignDecisions(made), token()))
    assert entry is not None
    assert entry.scope == ISSUER


def test_what_claims_say_of_actor_and_principal_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made = provider()
    own = made.session_claims

    def claims_of(payload: Any, end: float) -> SessionClaims:
        return own(payload, end)._replace(actor="boss", scope="https://shared")

    monkeypatch.setattr(made, "session_claims", claims_of)
    monkeypatch.setattr(type(made), "scopes", {ISSUER: "https://shared"})
    entry = cache_entry(shown(ForeignDecisions(made), token()))
    assert entry is not None
    assert (entry.scope, entry.actor, entry.principal) == ("https://shared", "boss", "user")


@pytest.mark.parametrize(
    "source",
    [
        KeySource(),
        KeySource(url="https://a.example/k", discovery=ISSUER),
        KeySource(url="http://keys.example.com/k"),
        KeySource(discovery="http://login.example.com"),
        KeySource(url="nonsense"),
        KeySource(pem="nonsense"),
        KeySource(jwks={"keys": []}),
    ],
    ids=["nothing", "two", "plain http", "plain issuer", "no url", "no pem", "no keys"],
)
def test_a_source_of_keys_that_is_of_no_use(source: KeySource) -> None:
    with pytest.raises(ConfigurationError):
        ForeignDecisions(provider(source))


def test_a_provider_that_would_accept_nothing() -> None:
    made = provider()
    made.jwt_rules = JwtRules(issuers=())
    with pytest.raises(ConfigurationError, match="no credential would ever"):
        ForeignDecisions(made)


def test_no_error_names_the_token() -> None:
    text = token(aud="other")
    error = shown(ForeignDecisions(), text).error
    assert isinstance(error, InvalidCredentials)
    assert text.split(".")[1] not in str(error)


@pytest.mark.parametrize("name", ["issuers", "algorithms", "audience", "types"])
@pytest.mark.parametrize("value", ["https://login.example.com", None, 7, [""], [7], {"a": "b"}])
def test_a_list_of_names_is_no_text(name: str, value: Any) -> None:
    """Each part of a text would count as a name: ``"a" in "audience"`` is true."""
    with pytest.raises(ConfigurationError, match=f"JwtRules.{name} must be"):
        JwtRules(**{"issuers": ("https://login.example.com",), name: value})


def test_any_collection_of_names_will_do() -> None:
    rules = JwtRules(issuers=["one"], audience=["api"], algorithms=["ES256"], types={"application/JWT", None})  # type: ignore[arg-type]
    assert rules == JwtRules(
        issuers=("one",), audience=("api",), algorithms=("ES256",), types=frozenset({"jwt", None})
    )
    hash(rules)


def test_no_other_provider_has_the_name_or_scope_of_moonkey() -> None:
    issuer = "https://login.example.com"
    pretender = type("Pretender", (OIDC,), {"scopes": {issuer: "moonkey"}})
    for made in (OIDC(issuer, "api", name="moonkey"), pretender(issuer, "api")):
        with pytest.raises(ConfigurationError, match="which is MoonKey's"):
            MoonKey(provider=made)
