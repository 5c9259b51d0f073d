"""What a gate demands of a token of any provider: ``acr``, ``auth_time``, who acts, and that it is no machine."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from moonkey_core import (
    Auth,
    ConfigurationError,
    InvalidCredentials,
    MoonKeyError,
    PermissionDenied,
    Settings,
    StepUpRequired,
)
from moonkey_core._verified import CacheEntry, Principal
from moonkey_core.auth import new_auth, session_facts
from moonkey_core.gate import Requirements, admit, check, optional_user, require
from moonkey_core.models import Extra, Session, User
from moonkey_core.web.responses import refuse

SETTINGS = Settings.load({"secret_key": "sk_test_gates"}, {})
TEN = timedelta(minutes=10)


def now() -> float:
    return datetime.now(UTC).timestamp()


class Reader:
    """Reads a payload as a provider of the app's own would."""

    def user(self, body: Any) -> User:
        return User(body["sub"])

    def session(self, body: Any) -> Session:
        ends = datetime.fromtimestamp(body["exp"], UTC)
        claims = dict(body["claims"])
        acr, at = claims.pop("acr", ()), claims.pop("auth_time", None)
        return Session(
            "s1",
            body["sub"],
            ends,
            extra=Extra(claims),
            acr_values=acr,
            authenticated_at=None if at is None else datetime.fromtimestamp(at, UTC),
        )


def verified(
    claims: dict[str, Any] | None = None, *, principal: Principal = "user", actor: str | None = None
) -> Auth:
    ends_at = now() + 600
    entry = CacheEntry(
        body={"sub": "u1", "exp": ends_at, "claims": claims or {}},
        reader=Reader(),
        session_id="s1",
        user_id="u1",
        issued_at=now(),
        starts_at=now(),
        reusable_until=ends_at,
        vouched_at=now(),
        ends_at=ends_at,
        last_accepted_at=now(),
        scope="https://issuer.example",
        principal=principal,
        actor=actor,
    )
    return new_auth(entry, "local", now())


def refusal(auth: Auth, **asked: Any) -> MoonKeyError | None:
    return check(auth, Requirements(**asked))


@pytest.mark.rule("S50")
class TestAuthentication:
    @pytest.mark.parametrize("values", [["phr", "mfa"], ("phr", "mfa"), {"phr", "mfa"}, frozenset({"mfa"})])
    def test_acr(self, values: Any) -> None:
        for good in (("mfa",), ("pwd", "mfa")):
            assert refusal(verified({"acr": good}), acr_values=values) is None
        for wrong in (("pwd",), ("MFA",), ("phr mfa",), ("",), ()):
            assert isinstance(refusal(verified({"acr": wrong}), acr_values=values), StepUpRequired), wrong
        unnamed = verified({"custom_claims": {"acr": "mfa"}})  # the app's own data say nothing of a sign-in
        assert isinstance(refusal(unnamed, acr_values=values), StepUpRequired)

    def test_max_age(self) -> None:
        for at in (now(), now() - 590, now() + 50):
            assert refusal(verified({"auth_time": at}), max_age=TEN) is None
        for wrong in (now() - 610, now() + 70, None):
            assert isinstance(refusal(verified({"auth_time": wrong}), max_age=TEN), StepUpRequired), wrong

    def test_both_and_what_there_was(self) -> None:
        good = {"acr": ("mfa",), "auth_time": now()}
        assert refusal(verified(good), acr_values=["mfa"], max_age=TEN) is None
        for claims in ({**good, "acr": ("pwd",)}, {**good, "auth_time": now() - 700}):
            assert isinstance(refusal(verified(claims), acr_values=["mfa"], max_age=TEN), StepUpRequired)
        assert isinstance(refusal(verified(good), acr_values=["mfa"], factor_max_age=TEN), StepUpRequired)
        assert isinstance(refusal(verified(good), acr_values=["mfa"], roles={"admin"}), PermissionDenied)

    def test_the_challenge(self) -> None:
        """RFC 9470 section 3, in the order that the route prefers."""
        values = ["urn:example:silver", "myACR", "urn:example:silver"]
        error = refusal(verified(), acr_values=values, max_age=TEN, session_max_age=timedelta(hours=8))
        assert error is not None
        made = refuse(error, SETTINGS)
        challenge = dict(made.headers)["www-authenticate"]
        assert challenge.startswith('Bearer realm="moonkey", error="insufficient_user_authentication", error_desc')
        assert challenge.endswith(', acr_values="urn:example:silver myACR", max_age="600"')
        body = json.loads(made.body)
        assert (made.status, body["error"]) == (401, "insufficient_user_authentication")
        assert (body["acr_values"], body["max_age"]) == (["urn:example:silver", "myACR"], 600)

    def test_only_what_is_asked_for_is_in_it(self) -> None:
        for asked, members in (
            ({"acr_values": ["mfa"]}, {"acr_values"}),
            ({"max_age": TEN}, {"max_age"}),
        ):
            error = refusal(verified(), **asked)
            assert error is not None
            made = refuse(error, SETTINGS)
            assert {"acr_values", "max_age"} & json.loads(made.body).keys() == members
            for name in ("acr_values", "max_age"):
                assert (f"{name}=" in dict(made.headers)["www-authenticate"]) is (name in members)

    @pytest.mark.parametrize(
        "wrong",
        ["mfa", [], set(), ["a b"], ['a"b'], [""], [1], {None}, {"a": 1}, iter(["mfa"]), b"mfa", True, ["mfa", 1]],
    )
    def test_wrong_values(self, wrong: Any) -> None:
        with pytest.raises(ValueError, match=r"^acr_values must be "):
            Requirements(acr_values=wrong)

    @pytest.mark.parametrize("wrong", [600, "10m", timedelta(0), -TEN, True])
    def test_wrong_ages(self, wrong: Any) -> None:
        with pytest.raises(ValueError, match=r"^max_age must be a timedelta"):
            Requirements(max_age=wrong)

    def test_two_lists_contradict_each_other(self) -> None:
        with pytest.raises(ConfigurationError, match="contradict"):
            Requirements(factors={"totp"}, acr_values=["mfa"])
        with pytest.raises(ConfigurationError, match="contradict"):
            Requirements(factors={"totp"}, acr_values=["totp", "mfa"])
        Requirements(factors={"totp", "mfa"}, acr_values=["totp", "mfa"])

    def test_equal_gates(self) -> None:
        one = Requirements(acr_values=["b", "a"])
        assert one == Requirements(acr_values=("b", "a", "b")) != Requirements(acr_values={"a", "b"})
        assert hash(one) == hash(Requirements(acr_values=["b", "a"]))
        assert pickle.loads(pickle.dumps(one)) == one
        assert Requirements() != Requirements(allow_actor=False) != Requirements(allow_machines=True)


@pytest.mark.rule("S50")
class TestActor:
    def test_it_is_shown_and_may_be_refused(self) -> None:
        auth = verified(actor="support_7")
        assert (auth.actor, auth.user and auth.user.id, verified().actor) == ("support_7", "u1", None)
        assert refusal(auth) is None
        error = refusal(auth, allow_actor=False)
        assert isinstance(error, PermissionDenied)
        assert (error.status, error.reason) == (403, "actor_refused")
        assert refusal(verified(), allow_actor=False) is None
        assert b"support_7" not in refuse(error, SETTINGS).body

    @pytest.mark.parametrize("wrong", [None, 0, 1, "no"])
    @pytest.mark.parametrize("name", ["allow_actor", "allow_machines"])
    def test_a_wrong_word_is_named(self, name: str, wrong: Any) -> None:
        with pytest.raises(ValueError, match=f"^{name} must be True or False"):
            Requirements(**{name: wrong})


@pytest.mark.rule("S50")
class TestMachine:
    def test_it_is_no_user(self) -> None:
        auth = verified({"scope": "read"}, principal="machine")
        assert (auth.state, auth.is_machine, auth.principal) == ("machine", True, "machine")
        assert not any((auth, auth.is_authenticated, auth.is_anonymous, auth.is_rejected, auth.is_unavailable))
        assert (auth.user, auth.session, auth.error) == (None, None, None)
        assert auth.machine is not None
        assert (auth.machine.id, auth.machine.claims) == ("u1", {"scope": "read"})
        assert set(auth.machine.to_dict()) == {"id", "expires_at"}
        assert optional_user(auth) is None
        assert session_facts(auth) is None

    def test_a_user_is_no_machine(self) -> None:
        auth = verified()
        assert (auth.is_machine, auth.machine, auth.principal) == (False, None, "user")
        assert (new_auth().is_machine, new_auth().machine, new_auth().principal) == (False, None, None)
        rejected = new_auth(error=InvalidCredentials())
        assert (rejected.machine, rejected.principal, rejected.actor) == (None, None, None)
        assert refusal(auth, allow_machines=True) is None

    def test_no_gate_lets_it_pass_unasked(self) -> None:
        auth = verified(principal="machine")
        for requirements in (None, Requirements(), Requirements(max_staleness=5), Requirements(scopes={"read"})):
            error = check(auth, requirements)
            assert isinstance(error, PermissionDenied)
            assert (error.status, error.reason) == (403, "machine_refused")
        for gate in (require, admit):
            with pytest.raises(PermissionDenied):
                gate(auth)
        asked = Requirements(allow_machines=True)
        assert admit(auth, asked) is auth
        with pytest.raises(PermissionDenied):  # what it returns has a user
            require(auth, asked)

    def test_what_is_asked_of_it(self) -> None:
        auth = verified({"scope": "read", "roles": ["batch"]}, principal="machine")
        assert refusal(auth, allow_machines=True, scopes={"read"}, roles={"batch"}) is None
        denied: list[dict[str, Any]] = [{"scopes": {"write"}}, {"roles": {"admin"}}, {"claims": {"plan": "pro"}}]
        for asked in denied:
            assert isinstance(refusal(auth, allow_machines=True, **asked), PermissionDenied), asked
        stepping_up: list[dict[str, Any]] = [
            {"factors": {"totp"}},
            {"factor_count": 1},
            {"factor_max_age": TEN},
            {"session_max_age": TEN},
            {"acr_values": ["mfa"]},
            {"max_age": TEN},
        ]
        for asked in stepping_up:
            error = refusal(auth, allow_machines=True, **asked)
            assert (type(error), error and error.reason) == (PermissionDenied, "machine_refused"), asked
        acted = verified(principal="machine", actor="x")
        assert refusal(acted, allow_machines=True) is None
        assert isinstance(refusal(acted, allow_machines=True, allow_actor=False), PermissionDenied)

    @pytest.mark.parametrize("principal", ["user", "machine"])
    def test_a_copy_says_the_same(self, principal: Principal) -> None:
        auth = verified({"scope": "read"}, principal=principal, actor="x")
        for again in (copy.copy(auth), copy.deepcopy(auth)):
            assert (again.state, again.actor, again.machine) == (auth.state, "x", auth.machine)
            assert (again.user, again.session) == (auth.user, auth.session)


@pytest.mark.rule("S29")
def test_one_that_is_not_valid_and_has_not_merely_expired_says_so() -> None:
    error = InvalidCredentials(reason="jwt_audience")
    assert json.loads(refuse(error, SETTINGS).body)["reason"] == "invalid"
