"""Whatever a session carries: the decision is that of the rules, said once more in the plainest way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from moonkey_core import Factor, PermissionDenied, Session, StepUpRequired
from moonkey_core.gate import Requirements
from moonkey_core.models import fits_challenge
from moonkey_core.providers.moonkey.wire import parse_session
from support.any_json import JSON

NOW = datetime(2027, 1, 15, 12, tzinfo=UTC)
AHEAD = 60  # seconds

# Few enough names and times that demands and sessions meet.
NAMES = st.sampled_from(["a", "b", "c"])
SETS = st.none() | st.frozensets(NAMES, min_size=1, max_size=2)
AGES = st.sampled_from([None, 1, 60, 600])
SCALARS: st.SearchStrategy[Any] = st.sampled_from([0, 1, True, False, "a", "b", "1", "", 1.0, 1.5])
TIMES = st.none() | st.sampled_from([-600, -61, -60, -1, 0, 1, 2, 59, 60, 61, 599, 600, 601, 9000])
FACTORS = st.lists(
    st.tuples(st.none() | NAMES, st.none() | NAMES, st.sampled_from([None, "m_1", "m_2"]), TIMES), max_size=4
)
DEMANDS = st.dictionaries(NAMES, SCALARS | st.frozensets(SCALARS, min_size=1, max_size=3), min_size=1, max_size=2)
# Strings, lists and texts with spaces that are nearly right, and then anything at all.
NEARLY = st.one_of(
    NAMES,
    st.lists(NAMES, max_size=3),
    st.lists(NAMES, max_size=3).map(" ".join),
    st.lists(SCALARS, max_size=3),
    SCALARS,
    JSON,
)
CARRIED = st.dictionaries(
    st.sampled_from(["scope", "scopes", "roles", "permissions", "a", "b", "custom_claims"]), NEARLY, max_size=7
)


def seconds(age: int | None) -> timedelta | None:
    return None if age is None else timedelta(seconds=age)


def session(factors: list[Any] | None = None, started: int | None = None, **extra: Any) -> Session:
    """A session whose times are so many seconds ago."""
    body = {"id": "sess_1", "user_id": "user_1", "expires_at": int(NOW.timestamp()) + 600, **extra}
    made = parse_session(body)
    at = None if started is None else NOW - timedelta(seconds=started)
    parts = tuple(
        Factor(
            type=kind,
            delivery_channel=channel,
            method_id=method,
            last_verified_at=None if ago is None else NOW - timedelta(seconds=ago),
        )
        for kind, channel, method, ago in factors or []
    )
    return Session(made.id, made.user_id, made.expires_at, started_at=at, factors=parts, extra=made.extra)


def is_recent(ago: int | None, age: int) -> bool:
    if ago is None:
        return False
    return ago <= age if ago >= 0 else ago >= -AHEAD


def are_different(one: Any, other: Any) -> bool:
    """Whether two of these factors, whose types and channels are no known ones, are certainly not one."""
    (kind, channel, method), (other_kind, other_channel, other_method) = one, other
    if (kind or channel) != (other_kind or other_channel):
        return True
    if None in (method, other_method):
        return None not in (channel, other_channel) and channel != other_channel
    return bool(method != other_method)


@pytest.mark.long
@pytest.mark.rule("S50")
@settings(max_examples=200)
@given(FACTORS, TIMES, SETS, st.sampled_from([None, 1, 2, 3]), AGES, AGES)
@example([("a", None, "m_1", 0), ("a", None, "m_2", 0)], None, None, 2, None, None)
def test_factors(
    factors: list[Any],
    started: int | None,
    names: frozenset[str] | None,
    count: int | None,
    age: int | None,
    session_age: int | None,
) -> None:
    met = True
    if session_age is not None and not is_recent(started, session_age):
        met = False
    counted = []
    for kind, channel, method, ago in factors:
        if age is None or is_recent(ago, age):
            counted.append((kind, channel, method))
    if names is not None:
        found = False
        for kind, channel, _ in counted:
            if kind in names or channel in names:
                found = True
        met = met and found
    of_a_kind = [one for one in counted if one[0] is not None or one[1] is not None]
    if age is not None and not of_a_kind:
        met = False
    has_enough = count is None or any(
        all(are_different(one, other) for one, other in combinations(some, 2))
        for some in combinations(of_a_kind, count)
    )
    asked = Requirements(
        factors=names, factor_count=count, factor_max_age=seconds(age), session_max_age=seconds(session_age)
    )
    refusal = asked.check(session(factors, started), NOW)
    if all(method for _, _, method in of_a_kind):
        assert (refusal is None) is (met and has_enough)
    elif refusal is None:  # where less is known, it may be that not all are counted that are different
        assert met
        assert has_enough
    if refusal is not None:
        assert isinstance(refusal, StepUpRequired)
        assert set(refusal.acr_values) == (names or set())
        ages = [one for one in (age, session_age) if one is not None]
        assert refusal.max_age == (min(ages) if ages else None)
        assert refusal.sign_in_again is (session_age is not None and not is_recent(started, session_age))


def merged(carried: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(carried)
    custom = carried.get("custom_claims")
    if isinstance(custom, dict):
        for name, value in custom.items():
            found[name] = value
    return found


def same(one: Any, other: Any) -> bool:
    """Equality of JSON scalars: a bool is no number, and nothing else is equal to anything."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, str) or isinstance(other, str):
        return isinstance(one, str) and isinstance(other, str) and one == other
    return isinstance(one, int | float) and isinstance(other, int | float) and one == other


def claim_is_met(demand: Any, value: Any) -> bool:
    if not isinstance(demand, frozenset):
        return same(demand, value)
    values = value if isinstance(value, list) else [value]
    return any(same(one, other) for one in demand for other in values)


def listed(value: Any, *, by_spaces: bool = False) -> list[str]:
    if isinstance(value, str):
        return value.split(" ") if by_spaces else [value]
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return list(value)
    return []


@pytest.mark.long
@settings(max_examples=200)
@given(CARRIED, st.none() | DEMANDS, SETS, SETS, SETS)
@example({"roles": "a b"}, None, None, frozenset({"a"}), None)
@example({"a": True}, {"a": 1}, None, None, None)
@example({"a": [True]}, {"a": frozenset({1})}, None, None, None)
@example({"roles": ["a", 1]}, None, None, frozenset({"a"}), None)
@example({"permissions": ["a", None]}, None, None, None, frozenset({"a"}))
@example({"scopes": "a b"}, None, frozenset({"a", "b"}), None, None)
@example({"scopes": ["a", 1]}, None, frozenset({"a"}), None, None)
@example({"scope": ["a"], "custom_claims": {"scope": "b"}}, None, frozenset({"b"}), None, None)
def test_permission(
    carried: dict[str, Any],
    demands: dict[str, Any] | None,
    scopes: frozenset[str] | None,
    roles: frozenset[str] | None,
    permissions: frozenset[str] | None,
) -> None:
    claims = merged(carried)
    met = all(name in claims and claim_is_met(demand, claims[name]) for name, demand in (demands or {}).items())
    if roles is not None:
        met = met and any(role in listed(claims.get("roles")) for role in roles)
    if permissions is not None:
        met = met and all(one in listed(claims.get("permissions")) for one in permissions)
    held_up_by_scopes = False
    if scopes is not None:
        scope = claims.get("scope")
        granted = listed(scope if isinstance(scope, str) else "", by_spaces=True)
        granted += listed(claims.get("scopes"), by_spaces=True)
        held_up_by_scopes = met and not all(one in granted for one in scopes)
        met = met and not held_up_by_scopes
    asked = Requirements(claims=demands, scopes=scopes, roles=roles, permissions=permissions)
    refusal = asked.check(session(**carried), NOW)
    assert (refusal is None) is met
    if refusal is not None:
        assert isinstance(refusal, PermissionDenied)
        assert set(refusal.scope) == (scopes if held_up_by_scopes else set())


@pytest.mark.long
@pytest.mark.rule("S50")
@given(st.dictionaries(st.text(min_size=1, max_size=6), JSON, max_size=4), st.text(min_size=1, max_size=6))
def test_no_claims_at_all_break_the_gate_or_meet_what_they_do_not_say(carried: dict[str, Any], word: str) -> None:
    found = session(custom_claims=carried)
    for name in (*carried, "roles"):
        is_it = Requirements(claims={name: word}).check(found, NOW) is None
        assert is_it is (carried.get(name) == word)
        is_in = Requirements(claims={name: {word, 7}}).check(found, NOW) is None
        assert is_in is claim_is_met(frozenset({word, 7}), carried.get(name))
        functions = (lambda value: value["deeper"] > 7, lambda value: value + 1 > 2, lambda value: not value.x)
        for function in functions:
            asked = Requirements(claims={name: function})
            expected = PermissionDenied if not says_yes(function, carried, name) else type(None)
            assert type(asked.check(found, NOW)) is expected


def says_yes(function: Any, carried: dict[str, Any], name: str) -> bool:
    try:
        return name in carried and function(carried[name]) is True
    except Exception:
        return False


@pytest.mark.long
@given(SETS, st.none() | DEMANDS, SETS, st.sampled_from([None, 1, 2]), AGES)
def test_what_asks_more_lets_in_no_more(
    factors: frozenset[str] | None,
    demands: dict[str, Any] | None,
    roles: frozenset[str] | None,
    count: int | None,
    age: int | None,
) -> None:
    """Each demand stands for itself: a session passes all together exactly if it passes each alone."""
    found = session([("a", None, None, 30), (None, "b", "m_1", 90)], 30, a=1, b="a", roles=["a", "c"])
    alone: list[dict[str, Any]] = [{"claims": demands}, {"roles": roles}]
    sign_in: dict[str, Any] = {"factors": factors, "factor_count": count, "factor_max_age": seconds(age)}
    together = Requirements(**sign_in, claims=demands, roles=roles)
    passes = [Requirements(**one).check(found, NOW) is None for one in (*alone, sign_in)]
    assert (together.check(found, NOW) is None) is all(passes)


@given(st.frozensets(st.text(max_size=4), max_size=3))
def test_names_are_taken_exactly_if_they_fit_a_challenge(names: frozenset[str]) -> None:
    legal = {chr(code) for code in range(33, 127)} - set('"\\')
    is_fit = bool(names) and all(name and legal.issuperset(name) for name in names)
    assert (bool(names) and all(fits_challenge(name) for name in names)) is is_fit
    for option in ("factors", "scopes"):
        asked: dict[str, Any] = {option: names}
        try:
            Requirements(**asked)
            taken = True
        except ValueError:
            taken = False
        assert taken is is_fit
