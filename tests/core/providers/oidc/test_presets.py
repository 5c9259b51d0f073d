"""What the tokens of each identity provider say, and which tokens are refused for what reason."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from moonkey_core import ConfigurationError, InvalidCredentials, Session, User
from moonkey_core._provider import SessionClaims
from moonkey_core._reasons import CREDENTIAL_REASONS
from moonkey_core.gate import Requirements
from moonkey_core.models import Grants
from moonkey_core.provider import (
    OIDC,
    Auth0,
    ClaimRules,
    Clerk,
    Cognito,
    EntraID,
    Firebase,
    Keycloak,
    OidcProvider,
    Okta,
    Rule,
    Supabase,
    WorkOS,
)
from moonkey_core.providers.oidc.claims import OidcClaims
from support.oidc_tokens import LOOK_ALIKES, MACHINES, NOW, OTHER_TENANT, PRESETS, TENANT, LookAlike

each_preset = pytest.mark.parametrize("name", PRESETS)
_BY_THE_CORE = {"jwt_type", "jwt_algorithm", "jwt_issuer", "jwt_audience", "jwt_lifetime"}
"""What is refused before the claims are read."""


def judged(provider: OidcProvider, payload: dict[str, Any]) -> SessionClaims:
    return provider.jwt_claims.session_claims(payload, payload["exp"])


def read(name: str, options: dict[str, Any] | None = None, **changes: Any) -> tuple[SessionClaims, User, Session]:
    """What a good token with these changes says."""
    preset = PRESETS[name]
    provider, payload = preset.make(**options or {}), preset.payload(**changes)
    body = json.dumps(payload).encode()
    return judged(provider, payload), provider.user(body), provider.session(body)


def at(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


@each_preset
def test_a_good_token(name: str) -> None:
    preset = PRESETS[name]
    claims, user, session = read(name)
    assert (claims.user_id, claims.principal, claims.actor) == (preset.user_id, "user", None)
    assert user.id == session.user_id == preset.user_id
    assert session.id == claims.session_id
    assert preset.session_id in ("", session.id)
    assert claims.ends_at == preset.payload()["exp"]
    assert session.expires_at == at(claims.ends_at)
    assert session.ends_with_token
    assert json.dumps(session.claims) == json.dumps(preset.payload())
    assert session.to_dict()["id"] == session.id
    assert claims.started_at == (None if session.started_at is None else session.started_at.timestamp())
    assert provider_ids(name) == (session.id, (preset.user_id,))


def provider_ids(name: str) -> tuple[str | None, tuple[str, ...]]:
    return PRESETS[name].make().jwt_claims.claimed_ids(PRESETS[name].payload())


@each_preset
def test_the_issuer_and_the_audience_are_those_of_its_tokens(name: str) -> None:
    preset = PRESETS[name]
    rules, payload = preset.make().jwt_rules, preset.payload()
    assert payload["iss"] in rules.issuers
    assert preset.algorithm in rules.algorithms
    assert not [one for one in rules.algorithms if one.startswith("HS") or one == "none"]
    assert preset.header.get("typ", "none").lower() in {one or "none" for one in rules.types}
    if rules.audience:
        found = payload[rules.audience_claim]
        assert set(rules.audience) & set([found] if isinstance(found, str) else found)
    else:
        assert name in ("keycloak azp", "clerk", "workos")  # azp; azp; the key set is that of the client


@pytest.mark.parametrize("one", [one for one in LOOK_ALIKES if one.reason not in _BY_THE_CORE], ids=str)
def test_a_look_alike_is_refused_by_its_claims(one: LookAlike) -> None:
    preset = PRESETS[one.preset]
    with pytest.raises(InvalidCredentials) as caught:
        judged(preset.make(**one.options), preset.payload(**one.changes))
    assert caught.value.reason == one.reason
    assert caught.value.status == 401
    assert caught.value.evidence
    assert not caught.value.session_is_over


def test_each_reason_is_known_and_each_refusal_has_a_case() -> None:
    assert {one.reason for one in LOOK_ALIKES} - {"jwt_lifetime"} <= CREDENTIAL_REASONS.keys()


SAID_TWICE = {("keycloak", "sub"), ("cognito", "token_use")}
"""Rules that give a better reason, or say what another one says too."""


def outcome(rules: ClaimRules, payload: dict[str, Any]) -> str:
    try:
        return OidcClaims(rules).session_claims(payload, payload["exp"]).principal
    except InvalidCredentials as error:
        return error.reason


def without(rules: ClaimRules, one: object) -> ClaimRules:
    kept: dict[str, Any] = {
        name: tuple(other for other in getattr(rules, name) if other != one)
        for name in ("rules", "user_rules", "machine_rules", "machine_when")
    }
    return dataclasses.replace(rules, **kept)


@pytest.mark.parametrize("family", sorted({name.partition(" ")[0] for name in PRESETS}))
def test_each_rule_refuses_a_look_alike(family: str) -> None:
    """Without any one of them, some token would be accepted, or be refused for another reason."""
    cases = [one for one in LOOK_ALIKES if one.preset.partition(" ")[0] == family]
    made = [(PRESETS[one.preset].make(**one.options).claim_rules, one) for one in cases]
    all_rules = {
        rule: None
        for rules, _ in made
        for rule in (*rules.rules, *rules.user_rules, *rules.machine_rules, *rules.machine_when)
    }
    for rule in all_rules:
        name = rule.claim.path[-1] if isinstance(rule, Rule) else "a sign"
        payloads = ((rules, PRESETS[one.preset].payload(**one.changes)) for rules, one in made)
        is_needed = any(
            outcome(rules, payload) != outcome(without(rules, rule), payload) for rules, payload in payloads
        )
        assert is_needed or (family, name) in SAID_TWICE, rule


@pytest.mark.parametrize("name", MACHINES)
def test_the_token_of_a_program_is_a_principal_without_a_user_session_where_it_is_allowed(name: str) -> None:
    changes, machine_id = MACHINES[name]
    with pytest.raises(InvalidCredentials) as caught:
        read(name, **changes)
    assert caught.value.reason == ("agent_token" if name == "workos" else "machine_token")
    claims, user, session = read(name, {"allow_machines": True}, **changes)
    assert (claims.principal, claims.user_id) == ("machine", machine_id)
    assert user.id == machine_id
    assert session.factors == ()
    assert session.authenticated_at is None
    assert claims.started_at is None
    assert read(name, {"allow_machines": True})[0].principal == "user"


class TestIds:
    def test_the_session_then_the_token_then_a_digest(self) -> None:
        assert read("oidc")[0].session_id == "s1"
        assert read("oidc", sid=...)[0].session_id == "j1"
        assert read("oidc")[0].names_session
        assert not read("oidc", sid=...)[0].names_session
        assert read("firebase")[0].names_session
        digest = read("oidc", sid=..., jti=...)[0].session_id
        assert len(digest) == 64
        assert digest == read("oidc", sid=..., jti=...)[2].id
        assert digest != read("oidc", sid=..., jti=..., iat=NOW - 9)[0].session_id

    @pytest.mark.parametrize("value", [7, "", " s", ["s"], {"s": 1}, True, "s" * 300])
    def test_a_session_of_the_wrong_form(self, value: object) -> None:
        with pytest.raises(InvalidCredentials) as caught:
            read("oidc", sid=value)
        assert caught.value.reason == "jwt_session"

    def test_null_is_absent(self) -> None:
        assert read("oidc", sid=None)[0].session_id == "j1"
        assert read("oidc", cnf=None, events=None, act=None)[0].user_id == "ada"
        with pytest.raises(InvalidCredentials):
            read("oidc", sub=None)

    def test_oktas_login_name_is_not_the_id(self) -> None:
        assert read("okta", sub="new@example.com")[0].user_id == read("okta")[0].user_id == "00u1"

    def test_firebase_without_a_time_has_a_token(self) -> None:
        assert len(read("firebase", auth_time=...)[0].session_id) == 64


class TestScopes:
    @each_preset
    def test_the_provider_and_its_claims_agree(self, name: str) -> None:
        provider, payload = PRESETS[name].make(), PRESETS[name].payload()
        assert provider.scopes[payload["iss"]] == read(name)[0].scope
        assert set(provider.scopes) == set(provider.jwt_rules.issuers)

    def test_the_issuer(self) -> None:
        assert read("oidc")[0].scope == "https://id.example.com"

    def test_both_versions_of_a_tenant_share_one(self) -> None:
        expected = f"https://login.microsoftonline.com/{TENANT}/v2.0"
        assert read("entra")[0].scope == read("entra v1")[0].scope == expected
        assert read("entra several")[0].scope != expected

    def test_the_issuers_of_one_workos_client_share_one(self) -> None:
        other = read("workos", iss="https://api.workos.com/user_management/client_1")[0].scope
        assert read("workos")[0].scope == other == "https://api.workos.com/user_management/client_1"

    def test_cookies_and_id_tokens_of_a_project_share_one(self) -> None:
        assert read("firebase")[0].scope == read("firebase cookie")[0].scope


MAY_DO: dict[str, Grants] = {
    "oidc": Grants(scopes=("read", "write"), roles=("admin",)),
    "auth0": Grants(("openid", "read:orders"), permissions=("read:orders",), organization="org_1"),
    "okta": Grants(("openid", "orders"), ("Staff",)),
    "entra": Grants(("Orders.Read", "Orders.Write"), ("Reader",), organization=TENANT),
    "entra v1": Grants(("Orders.Read",), organization=TENANT),
    "keycloak": Grants(("openid", "email"), ("staff", "writer")),
    "keycloak azp": Grants(),
    "cognito": Grants(("aws.cognito.signin.user.admin",), ("staff",)),
    "firebase": Grants(),
    "clerk": Grants(
        roles=("org:admin",),
        permissions=("org:dashboard:read", "org:dashboard:manage", "org:teams:read"),
        organization="org_1",
    ),
    "supabase": Grants(roles=("authenticated",)),
    "workos": Grants(roles=("member", "billing"), permissions=("posts:read",), organization="org_1"),
}


@pytest.mark.parametrize("name", MAY_DO)
def test_grants(name: str) -> None:
    session = read(name)[2]
    assert session.grants == MAY_DO[name]
    assert (session.scopes, session.roles, session.permissions, session.organization) == MAY_DO[name][:4]


SIGN_IN: dict[str, tuple[list[str], int | None, tuple[str, ...]]] = {
    "oidc": (["pwd", "otp"], NOW - 60, ("gold",)),
    "auth0": ([], None, ()),
    "okta": ([], None, ()),
    "entra": ([], None, ()),
    "entra v1": (["pwd", "mfa"], None, ("1",)),
    "keycloak": ([], None, ("1",)),
    "cognito": (["unknown"], NOW - 60, ()),
    "firebase": (["password", "totp"], NOW - 60, ()),
    "clerk": (["first_factor"], NOW - 190, ()),
    "supabase": (["totp", "password"], NOW - 30, ("aal2",)),
    "workos": (["unknown"], NOW - 60, ()),
}
"""By which methods, when at last, in which contexts."""


@pytest.mark.parametrize("name", SIGN_IN)
def test_sign_in(name: str) -> None:
    session = read(name)[2]
    methods, last, contexts = SIGN_IN[name]
    assert [factor.type for factor in session.factors] == methods
    assert session.authenticated_at == (None if last is None else at(last))
    assert session.acr_values == contexts


class TestGrants:
    def test_gates_read_them(self) -> None:
        session, now = read("keycloak")[2], at(NOW)
        assert Requirements(roles={"writer"}, scopes={"email"}).check(session, now) is None
        refusal = Requirements(roles={"manage-account"}).check(session, now)
        assert refusal is not None
        assert refusal.status == 403
        assert Requirements(permissions={"x"}).check(session, now) is not None

    def test_claims_that_are_only_named_alike_give_nothing(self) -> None:
        """Roles come from where the provider has them, not from a claim of that name."""
        session = read("keycloak", roles=["root"], permissions=["all"], scopes=["x"])[2]
        assert Requirements(roles={"root"}).check(session, at(NOW)) is not None
        assert Requirements(permissions={"all"}).check(session, at(NOW)) is not None
        assert Requirements(scopes={"x"}).check(session, at(NOW)) is not None
        assert session.claims["roles"] == ("root",)

    def test_custom_claims_replace_no_claim(self) -> None:
        session = read("oidc", email_verified=False, custom_claims={"email_verified": True})[2]
        assert session.claims["email_verified"] is False
        assert Requirements(claims={"email_verified": True}).check(session, at(NOW)) is not None

    @pytest.mark.parametrize("value", [7, {"admin": 1}, ["admin", 7], [["admin"]], True])
    def test_roles_of_the_wrong_type_are_none(self, value: object) -> None:
        assert read("oidc", roles=value)[2].roles == ()

    def test_another_claim_for_roles(self) -> None:
        claim = "https://acme.example/roles"
        assert read("auth0", {"roles_claim": claim}, **{claim: ["admin"]})[2].roles == ("admin",)
        assert read("supabase", {"roles_claim": ("app_metadata", "roles")})[2].roles == ("editor",)

    @pytest.mark.parametrize("claim", ["user_metadata", ("user_metadata", "roles"), ("unsafe_metadata", "roles")])
    def test_never_one_that_users_can_change(self, claim: Any) -> None:
        with pytest.raises(ConfigurationError, match="users can change"):
            Supabase("https://abcdef.supabase.co", roles_claim=claim)

    def test_clerks_first_version(self) -> None:
        session = read("clerk", v=..., o=..., org_id="org_2", org_role="org:member", org_permissions=["org:a:b"])[
            2
        ]
        assert (session.organization, session.roles, session.permissions) == (
            "org_2",
            ("org:member",),
            ("org:a:b",),
        )

    def test_clerks_masks_count_only_where_all_readers_agree(self) -> None:
        packed = {"id": "org_1", "rol": "admin", "per": "read,manage", "fpm": "1,3"}
        assert read("clerk", fea="u:notes,o:teams", o=packed)[2].permissions == ("org:teams:read",)

    @pytest.mark.parametrize("fpm", ["x", "-1", "9" * 5000, "\u0661", 3, None, "1,,1"])
    def test_clerks_masks_of_any_form(self, fpm: object) -> None:
        found = read("clerk", o={"id": "org_1", "per": "read", "fpm": fpm})[2].permissions
        assert set(found) <= {"org:dashboard:read"}

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("a", "a"),
            (["a"], "a"),
            ({"a": {"id": "1"}}, "a"),
            (["a", "b"], None),
            ([], None),
            (7, None),
            ([7], None),
        ],
    )
    def test_keycloaks_organization(self, value: object, expected: str | None) -> None:
        assert read("keycloak", organization=value)[2].organization == expected


class TestSignIn:
    def test_methods_and_a_time(self) -> None:
        session = read("oidc")[2]
        assert [factor.type for factor in session.factors] == ["pwd", "otp"]
        assert {factor.last_verified_at for factor in session.factors} == {at(NOW - 60)}
        assert session.started_at == session.authenticated_at == at(NOW - 60)
        assert session.acr_values == ("gold",)

    def test_what_is_not_known_meets_no_demand(self) -> None:
        session = read("oidc", auth_time=..., amr=..., acr=...)[2]
        assert (session.factors, session.started_at, session.authenticated_at) == ((), None, None)
        week = timedelta(days=7)
        for demand in (
            Requirements(session_max_age=week),
            Requirements(factor_max_age=week),
            Requirements(factors={"otp"}),
            Requirements(factor_count=1),
        ):
            refusal = demand.check(session, at(NOW))
            assert refusal is not None
            assert refusal.status == 401

    def test_a_time_alone_is_that_of_some_factor(self) -> None:
        session = read("cognito")[2]
        assert Requirements(factor_max_age=timedelta(minutes=2)).check(session, at(NOW)) is None
        assert Requirements(factor_max_age=timedelta(seconds=59)).check(session, at(NOW)) is not None
        assert Requirements(factors={"otp"}).check(session, at(NOW)) is not None

    def test_clerks_ages(self) -> None:
        session = read("clerk", fva=[3, 0])[2]
        assert [(one.type, one.last_verified_at) for one in session.factors] == [
            ("first_factor", at(NOW - 10 - 180)),
            ("second_factor", at(NOW - 10)),
        ]
        assert session.authenticated_at == at(NOW - 190)
        assert [one.type for one in read("clerk")[2].factors] == ["first_factor"]
        assert read("clerk", fva=[-1, -1])[2].factors == ()

    def test_supabases_times(self) -> None:
        session = read("supabase")[2]
        assert [(one.type, one.last_verified_at) for one in session.factors] == [
            ("totp", at(NOW - 30)),
            ("password", at(NOW - 90)),
        ]
        assert (session.started_at, session.authenticated_at) == (at(NOW - 90), at(NOW - 30))
        assert session.acr_values == ("aal2",)
        assert Requirements(factors={"totp"}, factor_max_age=timedelta(minutes=1)).check(session, at(NOW)) is None
        assert Requirements(factors={"password"}, factor_max_age=timedelta(minutes=1)).check(session, at(NOW))

    def test_firebases_methods(self) -> None:
        assert [one.type for one in read("firebase")[2].factors] == ["password", "totp"]

    @pytest.mark.parametrize(
        ("methods", "different"),
        [
            (["pwd"], 1),
            (["pwd", "otp"], 2),
            (["pwd", "mfa"], 2),
            (["otp", "sms"], 1),  # a code that was sent by text message
            (["hwk", "fido", "pop"], 1),  # one passkey
            (["hwk", "user"], 1),  # that somebody was there proves nothing of who
            (["fpt", "face"], 1),
            (["foo", "bar"], 1),  # two words that nothing is known of
            (["pwd", "rba", "geo"], 1),
            (["pwd", "hwk"], 2),
        ],
    )
    def test_how_many_are_certainly_different(self, methods: list[str], different: int) -> None:
        session = read("oidc", amr=methods)[2]
        counts = [count for count in (1, 2, 3) if Requirements(factor_count=count).check(session, at(NOW)) is None]
        assert max(counts) == different

    @pytest.mark.parametrize("value", ["1800000000", True, [1], {}, -1, 0, 1e30, 10**400])
    def test_a_time_of_the_wrong_type(self, value: object) -> None:
        with pytest.raises(InvalidCredentials) as caught:
            read("oidc", auth_time=value)
        assert caught.value.reason == "jwt_claims"

    def test_a_sign_in_after_the_token(self) -> None:
        with pytest.raises(InvalidCredentials, match="later than the token"):
            read("oidc", auth_time=NOW + 100)

    def test_entras_contexts(self) -> None:
        assert read("entra v1")[2].acr_values == ("1",)
        assert read("entra", acrs=["c1", "c2"])[2].acr_values == ("c1", "c2")


class TestUsers:
    def test_an_address_only_if_it_is_verified(self) -> None:
        assert read("keycloak")[1].email == "ada@example.com"
        assert read("keycloak", email_verified="true")[1].email is None
        assert read("firebase")[1].email is None
        assert read("supabase")[1].email is None  # it is verified by a claim that the user can change

    def test_entras_is_never_believed(self) -> None:
        """Administrators of any tenant can give their users any address."""
        assert read("entra", email="ada@example.com", email_verified=True)[1].email is None

    def test_names(self) -> None:
        user = read("oidc", given_name="Ada", family_name="Lovelace")[1]
        assert (user.first_name, user.last_name, user.complete) == ("Ada", "Lovelace", False)


class TestActors:
    def test_the_outermost(self) -> None:
        claims = read("workos", act={"sub": "admin@example.com", "act": {"sub": "earlier"}})[0]
        assert (claims.actor, claims.user_id) == ("admin@example.com", "user_1")


class TestAllowed:
    def test_clerk_without_an_origin(self) -> None:
        assert read("clerk", {"allow_missing_azp": True}, azp=...)[0].user_id == "user_2abc"
        with pytest.raises(InvalidCredentials):
            read("clerk", {"allow_missing_azp": True}, azp="https://evil.example")

    def test_anonymous_users(self) -> None:
        assert read("supabase", {"allow_anonymous": True}, is_anonymous=True)[0].user_id == "0c1d"
        session = read("firebase", {"allow_anonymous": True}, firebase={"sign_in_provider": "anonymous"})[2]
        assert session.factors == ()

    def test_tenants_of_firebase(self) -> None:
        session = read("firebase", {"tenant_ids": ["t1", "t2"]}, firebase={"tenant": "t2"})[2]
        assert session.organization == "t2"

    def test_overage(self) -> None:
        names = {"groups": "src1"}
        assert read("entra", {"allow_overage": True}, _claim_names=names)[0].user_id == "person-1"

    def test_an_id_token_for_two(self) -> None:
        assert read("oidc id", aud=["web", "ios"], azp="web")[0].user_id == "ada"


WRONG: dict[str, Any] = {
    "no issuer": lambda: OIDC("", "api"),
    "http": lambda: OIDC("http://id.example.com", "api"),
    "http on a host that looks like loopback": lambda: OIDC("http://127.evil.example", "api"),
    "no audience": lambda: OIDC("https://id.example.com", []),
    "empty audience": lambda: OIDC("https://id.example.com", ""),
    "a shared secret": lambda: OIDC("https://id.example.com", "api", algorithms=["HS256"]),
    "no signature": lambda: OIDC("https://id.example.com", "api", algorithms=["none"]),
    "two issuers, one discovery": lambda: OIDC(["https://a.example", "https://b.example"], "api"),
    "another use": lambda: OIDC("https://id.example.com", "api", token_use="refresh"),  # type: ignore[arg-type]
    "keys and an address": lambda: OIDC(
        "https://i.example", "api", keys={"keys": []}, jwks_url="https://i.example/k"
    ),
    "keys of no form": lambda: OIDC("https://id.example.com", "api", keys="keys"),
    "http for keys": lambda: OIDC("https://id.example.com", "api", jwks_url="http://id.example.com/keys"),
    "endless leeway": lambda: OIDC("https://id.example.com", "api", leeway=600),
    "endless life": lambda: OIDC("https://id.example.com", "api", longest_life=10**9),
    "a name with spaces": lambda: OIDC("https://id.example.com", "api", name="Our IdP"),
    "rules of no type": lambda: OIDC("https://id.example.com", "api", claim_rules={}),  # type: ignore[arg-type]
    "a path for a domain": lambda: Auth0("acme.auth0.com/x", "api"),
    "the API of Auth0": lambda: Auth0("acme.auth0.com", "https://acme.auth0.com/api/v2/"),
    "userinfo": lambda: Auth0("acme.auth0.com", ["api", "https://acme.auth0.com/userinfo"]),
    "the org server": lambda: Okta("https://acme.okta.com", "api://default"),
    "any tenant": lambda: EntraID("common", "api"),
    "any organization": lambda: EntraID(["organizations"], "api"),
    "any person": lambda: EntraID("consumers", "api"),
    "the template": lambda: EntraID("{tenantid}", "api"),
    "a domain for a tenant": lambda: EntraID("acme.onmicrosoft.com", "api"),
    "no client of Keycloak": lambda: Keycloak("https://id.example.com", "shop"),
    "account": lambda: Keycloak("https://id.example.com", "shop", audience=["orders", "account"]),
    "no pool": lambda: Cognito("AbC", "c1"),
    "no clients": lambda: Cognito("eu-central-1_AbC", []),
    "programs with ID tokens": lambda: Cognito("eu-central-1_AbC", "c1", token_use="id", allow_machines=True),
    "a project's name": lambda: Firebase("Acme Prod"),
    "no origins": lambda: Clerk("https://clerk.example.com", []),
    "a host": lambda: Supabase("abcdef.supabase.co"),
    "no issuers": lambda: WorkOS("client_1", []),
    "a path for a client": lambda: WorkOS("client_1/../x", "https://api.workos.com"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_argument(what: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        WRONG[what]()
    assert str(caught.value).endswith((".", "…)."))


def test_where_keys_come_from() -> None:
    assert PRESETS["oidc"].make().keys.discovery == "https://id.example.com"
    assert PRESETS["oidc"].make(jwks_url="https://id.example.com/k?x=1").keys.url == "https://id.example.com/k?x=1"
    pem = "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----"
    assert PRESETS["firebase"].make(keys={"kid1": pem}).keys.pem == {"kid1": pem}
    assert PRESETS["clerk"].make(keys=pem).keys.pem == pem
    assert PRESETS["clerk"].make(keys=pem.replace("\n", "\\n")).keys.pem == pem
    assert PRESETS["oidc"].make(keys='{"keys": []}').keys.jwks == {"keys": []}
    tenants = (PRESETS["entra"].make().keys.url or "", PRESETS["entra several"].make().keys.url or "")
    assert TENANT in tenants[0]
    assert "/common/" in tenants[1]


def test_forms_of_the_same_address() -> None:
    assert (
        Supabase("https://abcdef.supabase.co/auth/v1/").jwt_rules
        == Supabase("https://abcdef.supabase.co").jwt_rules
    )
    assert Auth0("https://acme.auth0.com/", "api").jwt_rules == Auth0("acme.auth0.com", "api").jwt_rules
    assert EntraID(TENANT.upper(), "api").jwt_rules == EntraID(TENANT, "api").jwt_rules
    assert Keycloak("https://i.example/auth/", "r", audience="a").jwt_rules.issuers == (
        "https://i.example/auth/realms/r",
    )
    china = Cognito("cn-north-1_AbC", "c").jwt_rules.issuers[0]
    assert china == "https://cognito-idp.cn-north-1.amazonaws.com.cn/cn-north-1_AbC"
    assert OTHER_TENANT not in str(EntraID(TENANT, "api"))
