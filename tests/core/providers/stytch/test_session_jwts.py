"""Session JWTs with a real signature, from the header of a request to its ``Auth``, without a call."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from moonkey_core import Auth, ConfigurationError, InvalidCredentials, Settings, Stytch
from moonkey_core._operations.core import Core
from moonkey_core.gate import Requirements, check
from moonkey_core.web.request import mapped_headers
from support.signed_tokens import key_set
from support.stytch_tokens import (
    CLAIM,
    LOOK_ALIKES,
    PROJECT,
    SECRET,
    SESSION,
    USER,
    at,
    factor,
    impersonated,
    jwt,
    session_claim,
)

NOW = 1_777_629_600
CUSTOM_DOMAIN = "https://login.example.test"


class Client:
    """The deciding half of a client, whose keys are given; a call ends a test that does not expect it."""

    def __init__(self, now: float = NOW, **arguments: Any) -> None:
        made = Stytch(PROJECT, SECRET, **{"keys": key_set(), **arguments})
        self.core = Core(Settings.load({"provider": made}, {}), lambda: float(now))

    def asks(self, token: str) -> Any:
        """What is asked about a JWT; its ``Auth`` where nothing is."""
        found = self.core.begin(mapped_headers({"authorization": f"Bearer {token}"}), None)
        if isinstance(found, Auth):
            return found
        plan = self.core.finish(found)
        try:
            return next(plan)
        except StopIteration as end:
            return end.value

    def judged(self, token: str) -> Auth:
        found = self.asks(token)
        assert isinstance(found, Auth), f"a call: {found.operation}"
        return found


def test_a_session_jwt_signs_in_without_a_call() -> None:
    auth = Client().judged(jwt(NOW, plan="pro", limits={"seats": 3}))
    assert auth.is_authenticated, auth.error
    user, session = auth.user, auth.session
    assert (user.id, user.scope, session.id, auth.source) == (USER, f"stytch:{PROJECT}", SESSION, "local")
    assert (session.started_at, session.expires_at) == (
        datetime.fromtimestamp(NOW - 600, UTC),
        datetime.fromtimestamp(NOW + 3600, UTC),
    )
    assert session.last_active_at == datetime.fromtimestamp(NOW - 10 + 0.123456, UTC)
    assert session.claims["plan"] == "pro"
    assert session.claims["limits"] == {"seats": 3}
    assert session.extra["custom_claims"] == {"plan": "pro", "limits": {"seats": 3}}
    assert session.roles == ("stytch_user",)
    assert session.device is not None
    assert session.device.ip == "203.0.113.7"
    (found,) = session.factors
    assert (found.type, found.delivery_channel, found.method_type, found.method_id) == (
        "otp",
        "sms",
        "phone_number",
        "phone-number-test-1",
    )
    assert found.last_verified_at == session.authenticated_at == datetime.fromtimestamp(NOW - 600, UTC)


def test_a_custom_claim_is_never_a_role_or_a_part_of_the_session() -> None:
    token = jwt(NOW, roles=["admin"], permissions=["documents:write"], session_id="session-of-eve", jti="j-1")
    session = Client().judged(token).session
    assert session is not None
    assert (session.id, session.roles, session.permissions) == (SESSION, ("stytch_user",), ())
    assert session.claims["roles"] == ("admin",)  # what an app has set, by the name that it has chosen
    assert "jti" not in session.claims


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_what_looks_like_a_session_jwt_is_refused_without_a_call(name: str) -> None:
    changes, reason = LOOK_ALIKES[name]
    error = Client().judged(jwt(NOW, **changes)).error
    assert isinstance(error, InvalidCredentials)
    assert (error.reason, error.status, error.session_is_over) == (reason, 401, False)
    assert SECRET not in str(error)


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_so_is_an_old_one(name: str) -> None:
    """Only a JWT that is genuine in all but its age is asked about."""
    changes, reason = LOOK_ALIKES[name]
    error = Client(NOW + 1000).judged(jwt(NOW, **changes)).error
    assert error is not None
    assert error.reason == reason


def test_a_forged_jwt_is_refused_without_a_call() -> None:
    head, body, signature = jwt(NOW).split(".")
    auth = Client().judged(f"{head}.{body}.{signature[:-8]}AAAAAAAA")
    assert auth.error is not None
    assert auth.error.reason == "jwt_signature"


class TestTheSecondFormOfTheIssuer:
    def test_is_the_custom_domain_without_a_slash(self) -> None:
        auths = [
            Client(custom_base_url=domain).judged(jwt(NOW, iss=CUSTOM_DOMAIN))
            for domain in (CUSTOM_DOMAIN, f"{CUSTOM_DOMAIN}/")
        ]
        assert all(auth.is_authenticated for auth in auths)
        assert {auth.scope for auth in auths} == {f"stytch:{PROJECT}"}

    def test_is_of_the_same_scope_as_the_first(self) -> None:
        client = Client(custom_base_url=CUSTOM_DOMAIN)
        assert client.judged(jwt(NOW)).is_authenticated
        client.core.revocations.add(session_id=SESSION)
        assert client.judged(jwt(NOW, iss=CUSTOM_DOMAIN)).is_rejected

    @pytest.mark.parametrize("issuer", [f"{CUSTOM_DOMAIN}/", "login.example.test", "http://login.example.test"])
    def test_has_no_other_spelling(self, issuer: str) -> None:
        error = Client(custom_base_url=CUSTOM_DOMAIN).judged(jwt(NOW, iss=issuer)).error
        assert error is not None
        assert error.reason == "jwt_issuer"

    def test_is_not_the_address_of_the_api(self) -> None:
        for issuer in ("https://test.stytch.com", "https://api.stytch.com"):
            assert Client().judged(jwt(NOW, iss=issuer)).is_rejected


class TestAge:
    @pytest.mark.parametrize(("age", "is_asked"), [(0, False), (299, False), (300, True), (5000, True)])
    def test_an_old_jwt_is_asked_about(self, age: int, is_asked: bool) -> None:
        found = Client(NOW + age).asks(jwt(NOW, exp=NOW + 3000))
        assert isinstance(found, Auth) is not is_asked
        if is_asked:
            assert found.operation == "sessions.verify"
            assert found.json == {"session_jwt": jwt(NOW, exp=NOW + 3000)}

    def test_the_greatest_age_is_an_argument(self) -> None:
        assert isinstance(Client(NOW + 59, jwt_max_age=60).asks(jwt(NOW)), Auth)
        assert not isinstance(Client(NOW + 60, jwt_max_age=60).asks(jwt(NOW)), Auth)

    @pytest.mark.parametrize("nanoseconds", [-1, 0, 1])
    def test_a_session_that_ends_about_now(self, nanoseconds: int) -> None:
        """The end of the session counts, and never a moment more: then the service has the last word."""
        ends = at(NOW - 1, 999_999_999) if nanoseconds < 0 else at(NOW, nanoseconds)
        found = Client(leeway=0).asks(jwt(NOW - 60, **{CLAIM: session_claim(NOW, expires_at=ends)}))
        assert not isinstance(found, Auth)
        assert found.operation == "sessions.verify"

    def test_without_an_end_of_its_own_a_session_ends_with_its_jwt(self) -> None:
        for left_out in ({"expires_at": ...}, {"expires_at": None}):
            auth = Client().judged(jwt(NOW, **{CLAIM: session_claim(NOW, **left_out)}))
            assert auth.session is not None, auth.error
            assert auth.session.expires_at == datetime.fromtimestamp(NOW + 300, UTC)


class TestOptionalMembers:
    @pytest.mark.parametrize("name", ["roles", "attributes", "last_accessed_at", "started_at"])
    def test_of_the_session_may_be_missing(self, name: str) -> None:
        for changes in ({name: ...}, {name: None}):
            auth = Client().judged(jwt(NOW, **{CLAIM: session_claim(NOW, **changes)}))
            assert auth.session is not None, auth.error
            assert auth.session.roles == (() if name == "roles" else ("stytch_user",))

    def test_a_time_of_a_factor_too(self) -> None:
        for value in (..., None):
            factors = [
                {
                    name: one
                    for name, one in {**factor(NOW), "last_authenticated_at": value}.items()
                    if one is not ...
                }
            ]
            auth = Client().judged(jwt(NOW, **{CLAIM: session_claim(NOW, authentication_factors=factors)}))
            assert auth.session is not None, auth.error
            assert auth.session.factors[0].last_verified_at is None

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("expires_at", "tomorrow"),
            ("expires_at", NOW + 3600),
            ("started_at", "2026-05-01"),
            ("started_at", at(NOW + 7200)),
            ("last_accessed_at", 7),
            ("id", ""),
            ("id", 7),
            ("roles", "admin"),
            ("roles", [7]),
            ("attributes", []),
            ("authentication_factors", {}),
            ("authentication_factors", ["otp"]),
            ("authentication_factors", [{"type": "otp", "last_authenticated_at": "now"}]),
        ],
    )
    def test_one_of_another_type_is_refused(self, name: str, value: object) -> None:
        error = Client().judged(jwt(NOW, **{CLAIM: session_claim(NOW, **{name: value})})).error
        assert error is not None
        assert error.reason == "jwt_session"


UNPROVEN: dict[str, dict[str, Any]] = {
    "imported": factor(NOW, "imported", "imported_auth0"),
    "impersonated": impersonated(NOW),
    "trusted_auth_token": factor(
        NOW, "trusted_auth_token", "trusted_token_exchange", trusted_auth_token_factor={"token_id": "t-1"}
    ),
}


class TestFactorsThatThePersonHasNotVerified:
    @pytest.mark.parametrize("name", UNPROVEN)
    @pytest.mark.parametrize(
        "asked",
        [
            {"factors": {*UNPROVEN, *(str(one["delivery_method"]) for one in UNPROVEN.values())}},
            {"factor_count": 1},
            {"factor_max_age": timedelta(days=36_500)},
            {"max_age": timedelta(days=36_500)},
        ],
        ids=lambda asked: next(iter(asked)),
    )
    def test_meet_no_demand(self, name: str, asked: dict[str, Any]) -> None:
        auth = Client().judged(jwt(NOW, **{CLAIM: session_claim(NOW, authentication_factors=[UNPROVEN[name]])}))
        assert auth.is_authenticated, auth.error
        refusal = check(auth, Requirements(**asked))
        assert refusal is not None
        assert refusal.reason == "step_up_required"
        assert auth.session is not None
        assert [one["type"] for one in auth.session.extra["authentication_factors"]] == [name]

    def test_do_not_hide_those_that_were(self) -> None:
        factors = [*UNPROVEN.values(), factor(NOW - 60)]
        session = Client().judged(jwt(NOW, **{CLAIM: session_claim(NOW, authentication_factors=factors)})).session
        assert session is not None
        assert [one.type for one in session.factors] == ["otp"]

    def test_a_recovery_code_is_not_a_second_factor_beside_its_app(self) -> None:
        factors = [
            factor(NOW, "totp", "authenticator_app", authenticator_app_factor={"totp_id": "totp-test-1"}),
            factor(NOW, "recovery_codes", "recovery_code", recovery_code_factor={"totp_recovery_code_id": "r-1"}),
        ]
        auth = Client().judged(jwt(NOW, **{CLAIM: session_claim(NOW, authentication_factors=factors)}))
        assert check(auth, Requirements(factor_count=1)) is None
        assert check(auth, Requirements(factor_count=2)) is not None

    def test_a_link_that_the_app_has_sent_somehow_is_not_certainly_another_way(self) -> None:
        embedded = factor(NOW, "magic_link", "embedded", embeddable_magic_link_factor={"embedded_id": "e-1"})
        for other in (factor(NOW), factor(NOW, "otp", "email", email_factor={"email_id": "email-test-1"})):
            auth = Client().judged(
                jwt(NOW, **{CLAIM: session_claim(NOW, authentication_factors=[embedded, other])})
            )
            assert check(auth, Requirements(factor_count=2)) is not None

    def test_different_factors_are_counted(self) -> None:
        factors = [
            factor(NOW),
            factor(NOW, "totp", "authenticator_app", authenticator_app_factor={"totp_id": "t"}),
        ]
        auth = Client().judged(jwt(NOW, **{CLAIM: session_claim(NOW, authentication_factors=factors)}))
        assert check(auth, Requirements(factor_count=2)) is None


class TestImpersonation:
    def test_is_seen_as_the_actor(self) -> None:
        auth = Client().judged(jwt(NOW, **{CLAIM: session_claim(NOW, authentication_factors=[impersonated(NOW)])}))
        assert auth.is_authenticated
        assert (auth.user.id, auth.actor) == (USER, "member-of-the-dashboard")
        refusal = check(auth, Requirements(allow_actor=False))
        assert refusal is not None
        assert refusal.reason == "actor_refused"

    @pytest.mark.parametrize(
        "changes",
        [
            {"impersonated_factor": None},
            {"impersonated_factor": {}},
            {"impersonated_factor": {"impersonator_id": ""}},
            {"impersonated_factor": {"impersonator_id": ["x"]}},
            {"type": "otp", "impersonated_factor": None},
            {"type": "otp", "delivery_method": "sms", "impersonated_factor": {}},
        ],
    )
    def test_never_goes_unseen(self, changes: dict[str, Any]) -> None:
        odd = {**impersonated(NOW), **changes}
        auth = Client().judged(jwt(NOW, **{CLAIM: session_claim(NOW, authentication_factors=[odd])}))
        assert auth.is_rejected

    def test_is_not_what_a_custom_claim_says(self) -> None:
        assert Client().judged(jwt(NOW, act={"sub": "eve"})).actor is None


class TestArguments:
    def test_the_environment_is_that_of_the_project(self) -> None:
        for project, root in (
            ("project-live-1", "https://api.stytch.com"),
            ("project-test-1", "https://test.stytch.com"),
            ("project-1", "https://test.stytch.com"),
        ):
            assert Stytch(project, SECRET).keys.url == f"{root}/v1/sessions/jwks/{project}"

    @pytest.mark.parametrize(
        "arguments",
        [
            {"project_id": ""},
            {"project_id": "a:b"},
            {"project_id": "a b"},
            {"secret": ""},
            {"secret": "a b"},
            {"secret": 7},
            {"base_url": "http://api.example.test"},
            {"base_url": "ftp://api.example.test"},
            {"custom_base_url": "http://127.0.0.1:8080"},
            {"custom_base_url": "login.example.test"},
            {"jwt_max_age": 0},
            {"jwt_max_age": math.nan},
            {"leeway": -1},
            {"leeway": 61},
            {"keys": {"keys": []}, "jwks_url": "https://keys.example.test"},
            {"hydrate": "all"},
            {"cookies_by": "nobody"},
            {"public_token": ""},
            {"public_token": SECRET},
            {"public_token": "secret-test-another"},
            {"public_token": PROJECT},
            {"secret": "public-token-test-x"},
            {"secret": PROJECT},
            {"project_id": "secret-test-x"},
            {"project_id": "public-token-test-x"},
        ],
    )
    def test_a_wrong_one_is_refused(self, arguments: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError) as caught:
            Stytch(**{"project_id": PROJECT, "secret": SECRET, **arguments})
        assert SECRET not in str(caught.value)

    def test_a_stand_in_on_this_machine_may_speak_http(self) -> None:
        assert Stytch(PROJECT, SECRET, base_url="http://127.0.0.1:8080/").keys.url == (
            f"http://127.0.0.1:8080/v1/sessions/jwks/{PROJECT}"
        )

    def test_the_secret_is_masked(self) -> None:
        made = Stytch(PROJECT, SECRET)
        settings = Settings.load({"provider": made}, {})
        assert SECRET not in repr(made) + repr(vars(made)) + repr(settings)
