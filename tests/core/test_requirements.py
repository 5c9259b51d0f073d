"""What a gate demands of a good session, rule by rule."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from moonkey_core import (
    Auth,
    Factor,
    InvalidCredentials,
    MissingCredentials,
    PermissionDenied,
    ProviderUnavailable,
    Session,
    StepUpRequired,
    User,
    VerifiedSession,
)
from moonkey_core.auth import BaseAuth, new_auth
from moonkey_core.gate import Requirements, check, require

NOW = datetime(2027, 1, 15, 12, tzinfo=UTC)
TEN = timedelta(minutes=10)


def session(**changes: Any) -> Session:
    usual: dict[str, Any] = {"id": "sess_1", "user_id": "user_1", "expires_at": NOW + timedelta(days=1)}
    return Session(**{**usual, "started_at": NOW - timedelta(hours=1), **changes})


def factor(kind: str | None, ago: timedelta | None = timedelta(0), **changes: Any) -> Factor:
    verified = None if ago is None else NOW - ago
    return Factor(type=kind, **{"method_id": "m_1", "last_verified_at": verified, **changes})


def replace(one: Factor, **changes: Any) -> Factor:
    names = ("type", "delivery_channel", "method_type", "method_id", "last_verified_at", "extra")
    return Factor(**{**{name: getattr(one, name) for name in names}, **changes})


ADDRESS = {"method": {"email": "Me@example.com"}}
MAIL = factor("otp", delivery_channel="email", method_type="email", extra=ADDRESS)
LINK = factor("magic_link", method_id="l_1", extra={"method": {"email": "me@example.com"}})
APP = factor("totp", delivery_channel="totp_authenticator")
TEXT = factor("otp", delivery_channel="sms", method_type="phone_number", method_id=None)
RECOVERY = factor("totp", delivery_channel="totp_recovery_code", method_id=None)


def lacks(asked: dict[str, Any], **changes: Any) -> PermissionDenied | StepUpRequired | None:
    return Requirements(**asked).check(session(**changes), NOW)


def is_met(asked: dict[str, Any], carried: dict[str, Any]) -> bool:
    """Whether a session with these claims is allowed."""
    refusal = lacks(asked, extra={"custom_claims": carried})
    assert refusal is None or type(refusal) is PermissionDenied
    return refusal is None


def is_adult(age: Any) -> bool:
    return bool(age >= 18)


def is_truthy(value: Any) -> Any:
    return value


NOT_HERE = object()


class TestClaims:
    @pytest.mark.parametrize(
        ("demand", "value", "met"),
        [
            ("pro", "pro", True), ("pro", "Pro", False), ("pro", "pro ", False), ("pro", ["pro"], False),
            ("pro", NOT_HERE, False), ("pro", None, False), ("pro", {"pro": 1}, False), ("", "", True),
            (1, 1, True), (1, 1.0, True), (1, True, False), (1, "1", False), (0, False, False), (0, None, False),
            (True, True, True), (True, 1, False), (True, "true", False), (False, 0, False), (False, False, True),
            (False, NOT_HERE, False), (1.5, 1.5, True), (10**400, 10**400, True), (1, 10**400, False),
            ({"pro", "team"}, "team", True), ({"pro", "team"}, "free", False), ({"pro"}, NOT_HERE, False),
            ({"pro"}, ["free", "pro"], True), ({"pro"}, ["free"], False), ({"pro"}, [], False),
            ({"pro"}, [["pro"]], False), ({"pro"}, "pro team", False), ({"pro"}, {"pro": True}, False),
            ({"pro"}, [None, 7, {}, "pro"], True), ({1}, True, False), ({1}, [True], False), ({1}, [1], True),
            (frozenset({True}), [1], False), (frozenset({True}), True, True), ({"pro"}, None, False),
            (is_adult, 18, True), (is_adult, 17, False), (is_adult, "18", False), (is_adult, None, False),
            (is_adult, NOT_HERE, False), (is_truthy, True, True), (is_truthy, "yes", False), (is_truthy, 1, False),
            ("p".__eq__, "p", True), (bool, "x", True), (bool, "", False), (len, [1], False),
        ],
    )  # fmt: skip
    def test_a_demand_and_a_value(self, demand: Any, value: Any, met: bool) -> None:
        carried = {} if value is NOT_HERE else {"plan": value}
        assert is_met({"claims": {"plan": demand}}, carried) is met

    def test_all_of_them(self) -> None:
        asked: dict[str, Any] = {"claims": {"plan": "pro", "level": {2, 3}}}
        assert is_met(asked, {"plan": "pro", "level": 3})
        assert not is_met(asked, {"plan": "pro"})
        assert not is_met(asked, {"plan": "free", "level": 3})

    def test_a_function_that_fails_is_named_and_the_value_is_not(self) -> None:
        refusal = lacks({"claims": {"age": is_adult}}, extra={"age": "private"})
        assert "'age'" in str(refusal)
        assert "TypeError" in str(refusal)
        assert "private" not in repr(refusal)
        assert refusal is not None
        assert (refusal.__cause__, refusal.__context__) == (None, None)

    @pytest.mark.rule("S50")
    def test_a_function_is_not_asked_about_what_is_not_there(self) -> None:
        seen: list[Any] = []
        refusal = lacks({"claims": {"age": seen.append}})
        assert seen == []
        assert str(refusal) == "The claim 'age' is not what this route asks for."

    def test_custom_claims_lie_over_the_rest(self) -> None:
        carried = session(extra={"plan": "free", "team": "a", "custom_claims": {"plan": "pro"}}).claims
        assert carried == {"plan": "pro", "team": "a", "custom_claims": {"plan": "pro"}}
        with pytest.raises(TypeError):
            carried["plan"] = "free"  # type: ignore[index]
        for odd in (None, "plan", ["plan"], 7):
            assert session(extra={"plan": "free", "custom_claims": odd}).claims["plan"] == "free"
        assert session().claims == {}


class TestScopesRolesPermissions:
    @pytest.mark.parametrize(
        ("carried", "met"),
        [
            ({"scope": "read write"}, True), ({"scope": "write  read"}, True),
            ({"scopes": ["read", "write"]}, True),
            ({"scopes": "read write"}, True), ({"scope": "read", "scopes": ["write"]}, True),
            ({}, False), ({"scope": "read"}, False), ({"scope": "readwrite"}, False),
            ({"scope": "READ WRITE"}, False),
            ({"scope": "read\twrite"}, False), ({"scope": "read,write"}, False), ({"scope": ""}, False),
            ({"scope": ["read", "write"]}, False), ({"scope": {"read": 1, "write": 1}}, False),
            ({"scope": None}, False),
            ({"scopes": ["read write"]}, False), ({"scopes": ["read", "write", 1]}, False), ({"scopes": 7}, False),
            ({"scopes": {"read": True, "write": True}}, False), ({"scopes": [["read"], ["write"]]}, False),
            ({"scope": True, "scopes": None}, False),
        ],
    )  # fmt: skip
    def test_all_scopes(self, carried: dict[str, Any], met: bool) -> None:
        assert is_met({"scopes": {"read", "write"}}, carried) is met

    @pytest.mark.parametrize(
        ("value", "any_role", "all_permissions"),
        [
            ("a", True, False), (["a"], True, False), (["b", "a"], True, True), (["a", "b", "c"], True, True),
            ("a b", False, False), ("c", False, False), ([], False, False), (None, False, False),
            (7, False, False),
            ({"a": 1, "b": 1}, False, False), (["a", "b", 7], False, False), ([["a"], ["b"]], False, False),
            ("A", False, False), (True, False, False),
        ],
    )  # fmt: skip
    def test_any_role_all_permissions(self, value: Any, any_role: bool, all_permissions: bool) -> None:
        assert is_met({"roles": {"a", "b"}}, {"roles": value}) is any_role
        assert is_met({"permissions": {"a", "b"}}, {"permissions": value}) is all_permissions

    def test_a_role_may_have_a_space_and_is_one_still(self) -> None:
        assert is_met({"roles": {"Super Admin"}}, {"roles": "Super Admin"})
        assert not is_met({"roles": {"Admin"}}, {"roles": "Super Admin"})

    def test_scopes_are_named_where_only_they_are_missing(self) -> None:
        asked: dict[str, Any] = {"scopes": {"write", "read"}, "roles": {"admin"}}
        refusal = lacks(asked, extra={"roles": "admin", "scope": "read"})
        assert isinstance(refusal, PermissionDenied)
        assert refusal.scope == ("read", "write")
        refusal = lacks(asked)
        assert isinstance(refusal, PermissionDenied)
        assert refusal.scope == ()


MINUTE = timedelta(minutes=1)
OLD, FRESH, AHEAD = timedelta(hours=2), 3 * MINUTE, -2 * MINUTE


@pytest.mark.rule("S50")
class TestFactors:
    @pytest.mark.parametrize(
        ("asked", "factors", "met"),
        [
            ({"factors": {"totp"}}, [factor("totp")], True),
            ({"factors": {"totp"}}, [factor("totp", OLD)], True),
            ({"factors": {"totp"}}, [factor("totp", None)], True),
            ({"factors": {"totp"}}, [factor("otp", delivery_channel="totp")], True),
            ({"factors": {"totp"}}, [factor("otp", method_type="totp", method_id="totp")], False),
            ({"factors": {"totp"}}, [factor("TOTP"), factor("otp"), factor(None)], False),
            ({"factors": {"totp", "webauthn"}}, [factor("otp"), factor("webauthn")], True),
            ({"factors": {"totp"}}, [], False),
            ({"factor_count": 1}, [factor("otp")], True),
            ({"factor_count": 1}, [], False),
            ({"factor_count": 1}, [factor(None)], False),
            ({"factor_count": 2}, [factor("otp"), factor("totp")], True),
            ({"factor_count": 2}, [factor("otp"), factor("otp")], False),
            ({"factor_count": 2}, [factor("otp"), factor("otp", OLD)], False),
            ({"factor_count": 2}, [factor("otp"), factor("otp", method_id="m_2")], True),
            ({"factor_count": 2}, [factor("otp"), factor("otp", delivery_channel="sms")], False),
            ({"factor_count": 2}, [factor("otp"), factor(None, method_id="m_2")], False),
            # A code and a link to one mailbox, as far as the API says that it is one.
            ({"factor_count": 2}, [MAIL, replace(MAIL, type="magic_link")], False),
            ({"factor_count": 2}, [MAIL, replace(MAIL, type="magic_link", delivery_channel="magic_link")], False),
            ({"factor_count": 2}, [MAIL, replace(MAIL, type="magic_link", delivery_channel=None)], False),
            ({"factor_count": 2}, [MAIL, replace(LINK, method_id=None)], False),
            ({"factor_count": 2}, [MAIL, LINK], False),
            ({"factor_count": 2}, [MAIL, replace(LINK, extra={})], False),
            ({"factor_count": 2}, [MAIL, replace(LINK, extra={"method": {"email": "you@example.com"}})], True),
            ({"factor_count": 2}, [MAIL, replace(MAIL, method_id="m_2", extra={})], True),
            # One factor, with and without its id.
            ({"factor_count": 2}, [MAIL, replace(MAIL, method_id=None)], False),
            ({"factor_count": 2}, [replace(MAIL, method_id=None, extra={}), MAIL], False),
            ({"factor_count": 2}, [replace(MAIL, method_id=None), factor("otp", method_id=None)], False),
            ({"factor_count": 2}, [factor("totp"), factor("totp", method_id=None)], False),
            ({"factor_count": 2}, [factor("totp", delivery_channel="totp_authenticator"), RECOVERY], False),
            ({"factor_count": 2}, [factor(None, delivery_channel="totp_authenticator"), RECOVERY], False),
            # The id of a recovery code need not be that of the app.
            ({"factor_count": 2}, [APP, replace(RECOVERY, method_id="code_1")], False),
            ({"factor_count": 2}, [APP, replace(APP, method_id="m_2")], True),
            # Other names of one means.
            ({"factor_count": 2}, [MAIL, replace(MAIL, type="OTP", delivery_channel="Email")], False),
            ({"factor_count": 2}, [MAIL, replace(MAIL, type="email_otp", method_id="m_2", extra={})], False),
            ({"factor_count": 2}, [TEXT, replace(TEXT, delivery_channel="whatsapp")], False),
            ({"factor_count": 2}, [MAIL, replace(TEXT, delivery_channel="whatsapp")], True),
            ({"factor_count": 2}, [MAIL, replace(MAIL, delivery_channel="sms", method_id="m_2", extra={})], True),
            ({"factor_count": 2}, [MAIL, factor("otp", delivery_channel="sms", method_id=None)], True),
            ({"factor_count": 2}, [MAIL, RECOVERY], True),
            ({"factor_count": 2}, [factor("oauth", delivery_channel="google_oauth", method_id=None), MAIL], True),
            ({"factor_count": 3}, [MAIL, LINK, RECOVERY, factor("totp", method_id=None)], False),
            ({"factor_max_age": TEN}, [factor("otp", FRESH)], True),
            ({"factor_max_age": TEN}, [factor("otp", TEN)], True),
            ({"factor_max_age": TEN}, [factor("otp", TEN + timedelta(seconds=1))], False),
            ({"factor_max_age": TEN}, [factor("otp", -MINUTE)], True),
            ({"factor_max_age": TEN}, [factor("otp", -MINUTE - timedelta(seconds=1))], False),
            ({"factor_max_age": TEN}, [factor("otp", AHEAD), factor("sms", None)], False),
            ({"factor_max_age": TEN}, [], False),
            ({"factor_max_age": timedelta.max}, [factor("otp", None)], False),
            ({"factors": {"totp"}, "factor_max_age": TEN}, [factor("totp", OLD), factor("otp")], False),
            ({"factors": {"totp"}, "factor_max_age": TEN}, [factor("totp", OLD), factor("totp", FRESH)], True),
            ({"factor_count": 2, "factor_max_age": TEN}, [factor("totp", OLD), factor("otp")], False),
            ({"factor_count": 2, "factor_max_age": TEN}, [factor("totp", FRESH), factor("otp")], True),
            ({"factors": {"totp"}, "factor_count": 2}, [factor("otp"), factor("sms")], False),
            ({"factors": {"totp"}, "factor_count": 2}, [factor("totp"), factor("sms")], True),
        ],
    )
    def test_a_demand_and_what_is_there(self, asked: dict[str, Any], factors: list[Factor], met: bool) -> None:
        refusal = lacks(asked, factors=tuple(factors))
        assert refusal is None if met else type(refusal) is StepUpRequired

    @pytest.mark.parametrize(
        ("started", "met"),
        [
            (NOW, True), (NOW - TEN, True), (NOW - TEN - timedelta(seconds=1), False), (None, False),
            (NOW + MINUTE, True), (NOW + MINUTE + timedelta(seconds=1), False),
        ],
    )  # fmt: skip
    def test_the_age_of_the_session(self, started: datetime | None, met: bool) -> None:
        refusal = lacks({"session_max_age": TEN}, started_at=started)
        assert refusal is None if met else isinstance(refusal, StepUpRequired)
        assert met or (isinstance(refusal, StepUpRequired) and refusal.sign_in_again)

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            ({"factors": {"webauthn", "totp"}}, (("totp", "webauthn"), None, None, False)),
            ({"factor_count": 1}, ((), None, None, False)),
            ({"factor_count": 3}, ((), None, 3, False)),
            ({"factor_max_age": timedelta(seconds=90.7)}, ((), 90, None, False)),
            ({"session_max_age": TEN}, ((), 600, None, True)),
            ({"session_max_age": TEN, "factor_max_age": TEN * 2, "factor_count": 2}, ((), 600, 2, True)),
            ({"session_max_age": OLD, "factor_max_age": TEN, "factors": {"a"}}, (("a",), 600, None, False)),
        ],
    )
    def test_a_refusal_says_what_would_do(self, asked: dict[str, Any], expected: tuple[Any, ...]) -> None:
        refusal = lacks(asked)
        assert isinstance(refusal, StepUpRequired)
        said = (refusal.acr_values, refusal.max_age, refusal.factor_count, refusal.sign_in_again)
        assert said == expected

    def test_permission_comes_first(self) -> None:
        asked: dict[str, Any] = {"factors": {"totp"}, "claims": {"plan": "pro"}}
        assert isinstance(lacks(asked), PermissionDenied)
        assert isinstance(lacks(asked, extra={"plan": "pro"}), StepUpRequired)
        assert lacks(asked, extra={"plan": "pro"}, factors=(factor("totp"),)) is None


class Unread(BaseAuth):
    """An identity whose session must not be made."""

    @property
    def session(self) -> Session | None:
        raise AssertionError("nobody has asked for it")


class TestTheGate:
    def auth(self, kind: Callable[..., BaseAuth] = new_auth, **changes: Any) -> Auth:
        now = datetime.now(UTC)
        made = session(expires_at=now + TEN, started_at=now, **changes)
        return cast("Auth", kind(verified=VerifiedSession(User(id="user_1"), made)))

    def test_now_is_now(self) -> None:
        just = Factor(type="otp", last_verified_at=datetime.now(UTC) - timedelta(seconds=5))
        auth = self.auth(factors=(just,))
        asked = Requirements(factor_max_age=TEN, session_max_age=TEN)
        assert require(auth, asked) is auth
        assert check(auth, asked) is None
        with pytest.raises(StepUpRequired):
            require(auth, Requirements(factor_max_age=timedelta(seconds=2)))
        with pytest.raises(PermissionDenied):
            require(auth, Requirements(roles={"admin"}))

    def test_each_refusal_is_a_new_one(self) -> None:
        auth, asked = self.auth(), Requirements(factors={"totp"})
        assert check(auth, asked) is not check(auth, asked)

    @pytest.mark.parametrize("asked", [None, Requirements(), Requirements(max_staleness=5, grace_seconds=1)])
    def test_who_demands_nothing_reads_nothing(self, asked: Requirements | None) -> None:
        auth = self.auth(Unread)
        assert require(auth, asked) is auth
        with pytest.raises(AssertionError, match="asked for"):
            require(auth, Requirements(factor_count=1))

    def test_who_is_not_signed_in_is_told_so(self) -> None:
        asked = Requirements(factors={"totp"}, roles={"admin"})
        assert isinstance(check(new_auth(), asked), MissingCredentials)
        for error in (InvalidCredentials(), ProviderUnavailable()):
            assert check(new_auth(error=error), asked) is error
