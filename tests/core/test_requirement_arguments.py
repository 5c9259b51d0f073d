"""What may be demanded of a session, and which demands are the same."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from moonkey_core.gate import Requirements

NOW = datetime(2027, 1, 15, 12, tzinfo=UTC)
TEN = timedelta(minutes=10)


def is_adult(age: Any) -> bool:
    return bool(age >= 18)


async def awaited(value: Any) -> bool:
    return True


WRONG: dict[str, list[Any]] = {
    "factors": ["totp", ["totp"], ("totp",), set(), {1}, {""}, {"to tp"}, {'to"tp'}, {"tötp"}, True, {"a": 1}],
    "scopes": ["write", ["write"], set(), {None}, {""}, {"read write"}, {"back\\slash"}, {"a\n"}, 1],
    "roles": ["admin", ["admin"], frozenset(), {b"admin"}, {""}, False],
    "permissions": ["pay", [], {("pay",)}, {""}],
    "factor_count": [0, -1, True, 1.0, "2", {2}],
    "factor_max_age": [600, 600.0, True, "10m", timedelta(0), -TEN, timedelta(milliseconds=999)],
    "session_max_age": [600, False, -TEN, timedelta(0), NOW],
    "claims": ["plan", {"plan"}, [("plan", "pro")], {}, {"": 1}, {1: 1}, True],
}


@pytest.mark.parametrize(("name", "wrong"), [(name, one) for name, all_ in WRONG.items() for one in all_])
def test_a_wrong_one_is_named(name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be .{{10}}"):
        Requirements(**{name: wrong})


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, value: Any) -> bool:
        return True


class Awaited:
    async def __call__(self, value: Any) -> bool:
        return True


@pytest.mark.parametrize(
    "wrong",
    [
        None, [], ["pro"], ("pro",), {}, {"a": 1}, set(), {None}, {("a",)}, b"pro", NOW,
        float("nan"), float("inf"), {float("nan")}, awaited, partial(awaited), Awaited(), Unhashable(),
    ],
)  # fmt: skip
def test_a_wrong_demand_on_a_claim_is_named(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"claim 'plan' .{20}"):
        Requirements(claims={"good": 1, "plan": wrong})


def test_an_unknown_one_is_none() -> None:
    asked: dict[str, Any] = {"factor": {"totp"}}
    with pytest.raises(TypeError, match="factor"):
        Requirements(**asked)


def test_equal_is_what_asks_the_same() -> None:
    whole: dict[str, Any] = {
        "factors": {"totp", "webauthn"},
        "factor_count": 2,
        "factor_max_age": TEN,
        "session_max_age": timedelta(days=1),
        "claims": {"plan": "pro", "level": {1, 2}, "age": is_adult},
        "scopes": {"write"},
        "roles": {"admin"},
        "permissions": {"pay"},
    }
    one = Requirements(**whole)
    same = Requirements(**{**whole, "factors": frozenset(("webauthn", "totp"))})
    assert (one, hash(one)) == (same, hash(same))
    assert pickle.loads(pickle.dumps(one)) == one
    for name in whole:
        assert Requirements(**{**whole, name: None}) != one


@pytest.mark.parametrize(
    ("one", "other"), [(1, True), (0, False), (1, "1"), (1, {1}), ({1}, {True}), ("a", {"a"}), (0, 0.5)]
)
def test_claims_that_differ_only_in_kind_differ(one: Any, other: Any) -> None:
    """Frameworks that take equal gates for one would else ask the weaker question."""
    assert Requirements(claims={"a": one}) != Requirements(claims={"a": other})
    assert Requirements(claims={"a": one}) == Requirements(claims={"a": one})


def test_what_is_given_may_change_later() -> None:
    plan: dict[str, Any] = {"plan": {"pro"}}
    factors = {"totp"}
    asked = Requirements(claims=plan, factors=factors)
    plan["plan"].add("free")
    plan.clear()
    factors.add("otp")
    assert asked == Requirements(claims={"plan": {"pro"}}, factors={"totp"})
    assert asked.claims is not None
    with pytest.raises(TypeError):
        asked.claims["plan"] = "free"  # type: ignore[index]
