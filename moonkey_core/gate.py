"""The decision whether a request may go on. Every gate of every framework calls it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypedDict, cast

from moonkey_core import _clock
from moonkey_core._spelling import KnownArguments, near_miss
from moonkey_core.auth import Auth, AuthenticatedAuth, consume_fresh_answer, scheme_hint
from moonkey_core.errors import MissingCredentials, MoonKeyError, PermissionDenied, StepUpRequired
from moonkey_core.models import Extra, Factor, Session, User, fits_challenge

__all__ = [
    "ClaimDemand", "FreshnessOptions", "RequirementOptions", "Requirements", "check", "optional_user", "require",
]  # fmt: skip

Scalar = str | int | float
ClaimDemand = Scalar | AbstractSet[Scalar] | Callable[[Any], bool]
"""What a claim has to be: this value, one of these, or a value for which a function returns ``True``."""

_Rule = tuple[bool, Scalar] | frozenset[tuple[bool, Scalar]] | Callable[[Any], bool]

_SAME_REQUEST = 1.0
"""Seconds for which the answer to a call that was made for this request counts as fresh for it."""

_MAX_CLOCK_SKEW = timedelta(minutes=1)
"""How far ahead of our clock a time may be and still count as now: the most that ``leeway`` may be set to."""


class FreshnessOptions(TypedDict, total=False):
    """The keywords of :class:`Requirements` that make sense where no request is refused."""

    max_staleness: float | None
    grace_seconds: float | None


class RequirementOptions(FreshnessOptions, total=False):
    """All keywords of :class:`Requirements`."""

    factors: AbstractSet[str] | None
    factor_count: int | None
    factor_max_age: timedelta | None
    session_max_age: timedelta | None
    claims: Mapping[str, ClaimDemand] | None
    scopes: AbstractSet[str] | None
    roles: AbstractSet[str] | None
    permissions: AbstractSet[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements(KnownArguments):
    """The requirements of a route beyond a verified user and session. All that are given have to be met.

    Freshness of the answer:

    - ``max_staleness`` (seconds) is how long ago the API itself may have vouched for the credential: for a JWT
      that is verified locally, since it was issued; for a remembered answer, since the call. With 0 the API is
      called on every request.
    - ``grace_seconds`` lowers the setting of that name for this route.

    A stronger or fresher sign-in, else :class:`~moonkey_core.errors.StepUpRequired` (RFC 9470):

    - ``factors``: one of these at least, by the factor's ``type`` or ``delivery_channel``.
    - ``factor_count``: so many different ones, distinguished by type, channel and method id.
    - ``factor_max_age``: only factors that were verified no longer ago count; alone, it requires one of any kind.
    - ``session_max_age``: the session began no longer ago. Stepping up does not make a session younger.

    Permission, else :class:`~moonkey_core.errors.PermissionDenied`. All are read from the session's ``claims``:

    - ``claims``: by name, the value that the claim has (a bool is no number), a set that it or one of the items of
      a list is in, or a function that returns ``True`` for it. A function that raises has not returned ``True``.
    - ``scopes``: all of these, in ``scope`` (separated by spaces, RFC 8693 section 4.2) and ``scopes``.
    - ``roles``: one of these at least, in ``roles``. ``permissions``: all of these, in ``permissions``.

    A missing value never satisfies a requirement.

    Raises:
        ValueError: A requirement could never be met, or is of the wrong type.
    """

    max_staleness: float | None = None
    grace_seconds: float | None = None
    factors: AbstractSet[str] | None = None
    factor_count: int | None = None
    factor_max_age: timedelta | None = None
    session_max_age: timedelta | None = None
    claims: Mapping[str, ClaimDemand] | None = field(default=None, compare=False)
    scopes: AbstractSet[str] | None = None
    roles: AbstractSet[str] | None = None
    permissions: AbstractSet[str] | None = None
    # Stands for the claims in comparisons: in it 1 and True differ.
    _rules: tuple[tuple[str, _Rule], ...] = field(init=False, default=(), repr=False)
    _checks_session: bool = field(init=False, default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check and normalize all values."""
        for name in ("max_staleness", "grace_seconds"):
            _check_seconds(name, getattr(self, name))
        for name in ("factor_max_age", "session_max_age"):
            _check_age(name, getattr(self, name))
        count = self.factor_count
        if count is not None and (type(count) is not int or count < 1):
            raise ValueError("factor_count must be a whole number, 1 or more.")
        for name in ("factors", "scopes", "roles", "permissions"):
            object.__setattr__(self, name, _names(name, getattr(self, name), plain=name in ("factors", "scopes")))
        if self.claims is not None:
            object.__setattr__(self, "_rules", _rules_of(self.claims))
            object.__setattr__(self, "claims", Extra(self.claims))
        authentication = (self.factors, self.factor_count, self.factor_max_age, self.session_max_age)
        allowed = (self.claims, self.scopes, self.roles, self.permissions)
        object.__setattr__(self, "_checks_session", any(one is not None for one in (*authentication, *allowed)))

    def are_met_by(self, auth: Auth) -> bool:
        """Return whether a verified identity is fresh enough; else it has to be verified again."""
        most, grace = self.max_staleness, self.grace_seconds
        if (most is None and grace is None) or auth.as_of is None:
            return True  # no freshness is required, or there is no verified identity that could be stale
        staleness = auth.staleness
        if auth.source == "grace" and grace is not None and staleness > grace:
            return False
        if most is None or 0 < staleness <= most:
            return True
        return consume_fresh_answer(auth) and staleness <= _SAME_REQUEST

    def check(self, session: Session, now: datetime) -> PermissionDenied | StepUpRequired | None:
        """Check a verified session against these requirements.

        Permission is checked first: no user has to step up for what is never allowed.

        Args:
            session: The verified session.
            now: The current time, aware.

        Returns:
            The error to refuse it with, or ``None`` where it meets all requirements.
        """
        if not self._checks_session:
            return None
        return self._denial(session.claims) or self._step_up(session, now)

    def _denial(self, claims: Mapping[str, Any]) -> PermissionDenied | None:
        for name, rule in self._rules:
            lack = _unmet_claim(claims, name, rule)
            if lack is not None:
                return PermissionDenied(lack)
        if self.roles is not None and self.roles.isdisjoint(_strings(claims.get("roles"))):
            return PermissionDenied("The session has none of the roles that this route asks for.")
        if self.permissions is not None and not self.permissions <= _strings(claims.get("permissions")):
            return PermissionDenied("The session lacks a permission that this route asks for.")
        if self.scopes is not None and not self.scopes <= _scopes(claims):
            scope = tuple(sorted(self.scopes))
            return PermissionDenied("The session lacks a scope that this route asks for.", scope=scope)
        return None

    def _step_up(self, session: Session, now: datetime) -> StepUpRequired | None:
        most = self.session_max_age
        is_too_old = most is not None and not _is_recent(session.started_at, most, now)
        if not is_too_old and self._has_factors(session.factors, now):
            return None
        ages = [age for age in (self.factor_max_age, most) if age is not None]
        return StepUpRequired(
            acr_values=tuple(sorted(self.factors or ())),
            max_age=int(min(ages).total_seconds()) if ages else None,
            factor_count=self.factor_count if self.factor_count != 1 else None,
            sign_in_again=is_too_old,
        )

    def _has_factors(self, factors: tuple[Factor, ...], now: datetime) -> bool:
        names, count, most = self.factors, self.factor_count, self.factor_max_age
        if names is None and count is None and most is None:
            return True
        fresh = [one for one in factors if most is None or _is_recent(one.last_verified_at, most, now)]
        if names is not None and not any(one.type in names or one.delivery_channel in names for one in fresh):
            return False
        different = {
            (one.type, one.delivery_channel, one.method_id) for one in fresh if one.type or one.delivery_channel
        }
        return len(different) >= (count or 1)


def check(auth: Auth, requirements: Requirements | None = None) -> MoonKeyError | None:
    """Check whether a request may go on to a protected route.

    Args:
        auth: The identity of the request.
        requirements: What the route requires beyond a verified user and session.

    Returns:
        The error to refuse the request with, or ``None`` where it may go on.
    """
    if not auth.is_authenticated:
        return auth.error or MissingCredentials(evidence=scheme_hint(auth))
    if requirements is None or not requirements._checks_session:
        return None
    return requirements.check(auth.session, _clock.now())


def require(auth: Auth, requirements: Requirements | None = None) -> AuthenticatedAuth:
    """Return ``auth`` where the request may go on to a protected route.

    Args:
        auth: The identity of the request.
        requirements: What the route requires beyond a verified user and session.

    Raises:
        MoonKeyError: The request must be refused with this error.
    """
    error = check(auth, requirements)
    if error is None:
        return cast("AuthenticatedAuth", auth)
    raise error


def own_attributes(kind: type, *frameworks: str) -> set[str]:
    """Return the public attributes that the app itself has given to a class.

    Methods that take arguments, such as the actions of a view set, are left out: they are no requirement's value.

    Args:
        kind: The class.
        frameworks: The top-level packages whose base classes do not count.
    """
    return {
        name
        for one in kind.__mro__
        if one.__module__.partition(".")[0] not in ("builtins", *frameworks)
        for name, value in vars(one).items()
        if not name.startswith("_") and not _takes_arguments(value)
    }


def _takes_arguments(value: object) -> bool:
    return inspect.isfunction(value) and len(inspect.signature(value).parameters) > 1


def similar_requirements(names: Iterable[str]) -> dict[str, str]:
    """Return the names that are those of a requirement, or nearly so, each with the requirement's right name."""
    likes = {name: near_miss(name, RequirementOptions.__optional_keys__) for name in sorted(names)}
    return {name: like for name, like in likes.items() if like is not None}


def optional_user(auth: Auth) -> User | None:
    """Return the user, for gates that know only "signed in" and "not signed in"; ``None`` where not signed in.

    Raises:
        ProviderError: The identity cannot be determined: an outage must not look like an anonymous caller.
    """
    if auth.is_unavailable and auth.error is not None:
        raise auth.error
    return auth.user


def _is_recent(at: datetime | None, most: timedelta, now: datetime) -> bool:
    return at is not None and -_MAX_CLOCK_SKEW <= now - at <= most


def _unmet_claim(claims: Mapping[str, Any], name: str, rule: _Rule) -> str | None:
    """Return the error in a claim, for the operator, without its value; ``None`` where it meets the rule."""
    if name in claims:
        try:
            if _is_met(rule, claims[name]):
                return None
        except Exception as error:  # raised by the app's own function
            return f"The function for the claim {name!r} raised {type(error).__name__}."
    return f"The claim {name!r} is not what this route asks for."


def _is_met(rule: _Rule, value: Any) -> bool:
    if isinstance(rule, tuple):
        return _typed(value) == rule
    if isinstance(rule, frozenset):
        return any(_typed(one) in rule for one in (value if isinstance(value, list | tuple) else (value,)))
    return rule(value) is True


def _typed(value: object) -> tuple[bool, Scalar] | None:
    """Return a comparable value with whether it is a bool; ``None`` for any other value."""
    return (isinstance(value, bool), value) if isinstance(value, Scalar) else None


def _strings(value: object) -> frozenset[str]:
    """Return the text, or the texts of a list that contains nothing else; for any other value none."""
    if isinstance(value, str):
        return frozenset((value,))
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return frozenset(value)
    return frozenset()


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    scope, scopes = claims.get("scope"), claims.get("scopes")
    words = scope.split(" ") if isinstance(scope, str) else ()
    return _strings(scopes.split(" ") if isinstance(scopes, str) else scopes).union(words)


def _check_seconds(name: str, value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 <= value < math.inf):
        raise ValueError(f"{name} must be a number of seconds, 0 or more.")


def _check_age(name: str, value: object) -> None:
    if value is not None and not (isinstance(value, timedelta) and value >= timedelta(seconds=1)):
        raise ValueError(f"{name} must be a timedelta of a second or more, such as timedelta(minutes=10).")


def _names(name: str, value: object, *, plain: bool) -> frozenset[str] | None:
    """Return the names in a set, checked; ``plain`` ones may be written into a ``WWW-Authenticate`` challenge."""
    if value is None:
        return None
    if not isinstance(value, AbstractSet) or not value or not all(isinstance(one, str) and one for one in value):
        raise ValueError(f'{name} must be a set of names that is not empty, such as {{"one", "two"}}.')
    if plain and not all(fits_challenge(one) for one in value):
        raise ValueError(f"{name} must be names of ASCII characters, without spaces, quotes and backslashes.")
    return frozenset(value)


def _rules_of(claims: object) -> tuple[tuple[str, _Rule], ...]:
    if not isinstance(claims, Mapping) or not claims or not all(isinstance(name, str) and name for name in claims):
        raise ValueError('claims must be a mapping by name that is not empty, such as {"plan": "pro"}.')
    return tuple((name, _rule_of(name, claims[name])) for name in sorted(claims))


def _rule_of(name: str, demand: Any) -> _Rule:
    if isinstance(demand, AbstractSet) and demand:
        return frozenset(_comparable(name, one) for one in demand)
    if callable(demand):
        is_async = inspect.iscoroutinefunction(demand) or inspect.iscoroutinefunction(type(demand).__call__)
        if is_async or type(demand).__hash__ is None:
            raise ValueError(f"The function for the claim {name!r} must not be async, and it must be hashable.")
        return cast(_Rule, demand)
    return _comparable(name, demand)


def _comparable(name: str, value: object) -> tuple[bool, Scalar]:
    typed = _typed(value)
    if typed is None or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(
            f"The claim {name!r} can be asked to be a text, a finite number or a bool, one of a set of these that "
            "is not empty, or what a function returns True for."
        )
    return typed
