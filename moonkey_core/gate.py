"""The decision whether a request may go on. Every gate of every framework calls it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, cast

from moonkey_core import _clock
from moonkey_core._dataclass import dataclass
from moonkey_core._spelling import KnownArguments, near_miss
from moonkey_core.auth import (
    Auth,
    AuthenticatedAuth,
    cache_entry,
    consume_fresh_answer,
    held_by,
    is_admitted,
    lacks_permissions,
    note_admitted,
    scheme_hint,
    to_raise,
)
from moonkey_core.errors import (
    ConfigurationError,
    MfaNotEnrolled,
    MissingCredentials,
    MoonKeyError,
    PermissionDenied,
    ProviderUnavailable,
    StepUpRequired,
)
from moonkey_core.models import Extra, Factor, Machine, MfaRecord, Session, User, fits_challenge

__all__ = [
    "ClaimDemand", "FreshnessOptions", "RequirementOptions", "Requirements", "admit", "check", "optional_user",
    "require",
]  # fmt: skip

Scalar = str | int | float
ClaimDemand = Scalar | AbstractSet[Scalar] | Callable[[Any], bool]
"""What a claim has to be: this value, one of these, or a value for which a function returns ``True``."""

_Rule = tuple[bool, Scalar] | frozenset[tuple[bool, Scalar]] | Callable[[Any], bool]

_OF_FACTORS = ("factors", "factor_count", "factor_max_age")
"""The requirements that ask for what ``mfa_max_age`` asks for."""

_SAME_REQUEST = 1.0
"""Seconds for which the answer to a call that was made for this request counts as fresh for it."""

_MAX_CLOCK_SKEW = timedelta(minutes=1)
"""How far ahead of our clock a time may be and still count as now: the most that ``leeway`` may be set to."""


class ChecksRequirements(Protocol):
    """A client, as far as a gate has to know it."""

    def check_requirements(self, requirements: Requirements) -> None:
        """Raise ``ConfigurationError`` where a provider cannot give what a route requires."""


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
    acr_values: Sequence[str] | AbstractSet[str] | None
    max_age: timedelta | None
    mfa_max_age: timedelta | None
    claims: Mapping[str, ClaimDemand] | None
    scopes: AbstractSet[str] | None
    roles: AbstractSet[str] | None
    permissions: AbstractSet[str] | None
    allow_actor: bool
    allow_machines: bool


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
    - ``factor_count``: so many that are certainly different. A code and a link to one mailbox are one factor.
    - ``factor_max_age``: only factors that were verified no longer ago count; alone, it requires one of any kind.
    - ``session_max_age``: the session began no longer ago. Stepping up does not make a session younger.
    - ``acr_values``: one of the session's is one of these, the best one first (``acr``, OIDC Core section 2).
    - ``max_age``: the session's ``authenticated_at`` is no longer ago.
    - ``mfa_max_age``: a second factor was verified no longer ago, by what the app has recorded (``client.mfa``) or
      by the session's factors. It stands instead of the three about factors, not beside them.

    Permission, else :class:`~moonkey_core.errors.PermissionDenied`. All are read from the session's ``claims``:

    - ``claims``: by name, the value that the claim has (a bool is no number), a set that it or one of the items of
      a list is in, or a function that returns ``True`` for it. A function that raises has not returned ``True``.
    - ``scopes``: all of these, in ``scope`` (separated by spaces, RFC 8693 section 4.2) and ``scopes``.
    - ``roles``: one of these at least, in ``roles``. ``permissions``: all of these, in ``permissions``.
    - ``allow_actor``: if false, no one may act for the user (RFC 8693 section 4.1).
    - ``allow_machines``: if true, a machine may pass as well, which has no session and cannot step up.

    A missing value never satisfies a requirement.

    Raises:
        ConfigurationError: ``factors`` and ``acr_values`` are not the same names: a challenge has one list. Or
            ``mfa_max_age`` stands beside a requirement about factors.
        ValueError: A requirement could never be met, or is of the wrong type.
    """

    max_staleness: float | None = None
    grace_seconds: float | None = None
    factors: AbstractSet[str] | None = None
    factor_count: int | None = None
    factor_max_age: timedelta | None = None
    session_max_age: timedelta | None = None
    acr_values: Sequence[str] | AbstractSet[str] | None = None
    max_age: timedelta | None = None
    mfa_max_age: timedelta | None = None
    claims: Mapping[str, ClaimDemand] | None = field(default=None, compare=False)
    scopes: AbstractSet[str] | None = None
    roles: AbstractSet[str] | None = None
    permissions: AbstractSet[str] | None = None
    allow_actor: bool = True
    allow_machines: bool = False
    # Stands for the claims in comparisons: in it 1 and True differ.
    _rules: tuple[tuple[str, _Rule], ...] = field(init=False, default=(), repr=False)
    _checks_session: bool = field(init=False, default=False, repr=False, compare=False)
    _checks_freshness: bool = field(init=False, default=False, repr=False, compare=False)
    _checks_again: bool = field(init=False, default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check and normalize all values."""
        for name in ("max_staleness", "grace_seconds"):
            _check_seconds(name, getattr(self, name))
        for name in ("factor_max_age", "session_max_age", "max_age", "mfa_max_age"):
            _check_age(name, getattr(self, name))
        count = self.factor_count
        if count is not None and (type(count) is not int or count < 1):
            raise ValueError("factor_count must be a whole number, 1 or more.")
        for name in ("factors", "scopes", "roles", "permissions"):
            object.__setattr__(self, name, _names(name, getattr(self, name), plain=name in ("factors", "scopes")))
        object.__setattr__(self, "acr_values", _ordered_names("acr_values", self.acr_values))
        if self.claims is not None:
            object.__setattr__(self, "_rules", _rules_of(self.claims))
            object.__setattr__(self, "claims", Extra(self.claims))
        for name in ("allow_actor", "allow_machines"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, and nothing else.")
        if None not in (self.factors, self.acr_values) and self.factors != set(self.acr_values or ()):
            raise ConfigurationError(
                "factors and acr_values contradict each other: a challenge (RFC 9470) has one list, of which any "
                "name is enough. Give one of the two, or the same names in both."
            )
        by_factors = [name for name in _OF_FACTORS if getattr(self, name) is not None]
        if self.mfa_max_age is not None and by_factors:
            raise ConfigurationError(
                f"mfa_max_age and {by_factors[0]} ask for the same in two ways. With mfa_max_age, the factors "
                "count that the provider states with their times, and what the app has recorded (client.mfa). To "
                "ask for certain factors of the session instead, leave it out."
            )
        allowed = (self.claims, self.scopes, self.roles, self.permissions)
        asks = self._asks_for_authentication or any(one is not None for one in allowed)
        object.__setattr__(self, "_checks_session", asks or not self.allow_actor)
        freshness = (self.max_staleness, self.grace_seconds, self.mfa_max_age)
        is_fresh = any(one is not None for one in freshness)
        object.__setattr__(self, "_checks_freshness", is_fresh)
        object.__setattr__(self, "_checks_again", is_fresh or self.permissions is not None)

    @property
    def asks_nothing_more(self) -> bool:
        """Whether each verified user and session meets them, so that a gate has nothing else to check."""
        return not (self._checks_session or self._checks_again)

    @property
    def _asks_for_authentication(self) -> bool:
        """Whether a stronger or fresher sign-in is required, of which a machine is not capable."""
        by_session = (self.factors, self.factor_count, self.factor_max_age, self.session_max_age)
        return any(one is not None for one in (*by_session, self.acr_values, self.max_age, self.mfa_max_age))

    @property
    def depends_on_provider(self) -> bool:
        """Whether not every client can check this, so that it is checked at start."""
        needs = (self.max_staleness, self.session_max_age, self.mfa_max_age)
        return any(one is not None for one in needs)

    def needs_record(self, auth: Auth) -> bool:
        """Return whether the shared store has to be asked whether the user has verified a second factor."""
        if self.mfa_max_age is None or not auth.is_authenticated:
            return False
        held = held_by(auth)
        return held is not None and held.must_load

    def are_met_by(self, auth: Auth, client: ChecksRequirements | None = None) -> bool:
        """Return whether a verified identity is fresh enough and complete; else it has to be verified again.

        It is not, either, where :meth:`needs_record` is true of it.

        Args:
            auth: The identity.
            client: The client that has verified it.

        Raises:
            ConfigurationError: A provider of the client cannot give what is required.
        """
        if not self._checks_again:
            return True
        if self.permissions is not None and lacks_permissions(auth):
            return False
        if not self._checks_freshness:
            return True
        if client is not None:
            client.check_requirements(self)
        if self.needs_record(auth):
            return False
        if auth.as_of is None:
            return True  # there is no verified identity that could be stale
        most, grace = self.max_staleness, self.grace_seconds
        staleness = auth.staleness
        if auth.source == "grace" and grace is not None and staleness > grace:
            return False
        if most is None or 0 < staleness <= most:
            return True
        return consume_fresh_answer(auth) and staleness <= _SAME_REQUEST

    def check(
        self, session: Session, now: datetime, mfa: MfaRecord | None = None
    ) -> PermissionDenied | StepUpRequired | None:
        """Check a verified session against these requirements.

        Permission is checked first: no user has to step up for what is never allowed.

        Args:
            session: The verified session.
            now: The current time, aware.
            mfa: What the app has recorded of a second factor.

        Returns:
            The error to refuse it with, or ``None`` where it meets all requirements.
        """
        if not self._checks_session:
            return None
        return self._denial(session) or self._step_up(session, now, mfa)

    def _denial(self, session: Session | Machine) -> PermissionDenied | None:
        claims = session.claims if self._rules else Extra()
        for name, rule in self._rules:
            lack = _unmet_claim(claims, name, rule)
            if lack is not None:
                return PermissionDenied(lack)
        if self.roles is not None and self.roles.isdisjoint(session.roles):
            return PermissionDenied("The session has none of the roles that this route asks for.")
        if self.permissions is not None and not session.has_permissions(self.permissions):
            return PermissionDenied("The session lacks a permission that this route asks for.")
        if self.scopes is not None and not self.scopes <= frozenset(session.scopes):
            scope = tuple(sorted(self.scopes))
            return PermissionDenied("The session lacks a scope that this route asks for.", scope=scope)
        return None

    def _step_up(self, session: Session, now: datetime, mfa: MfaRecord | None) -> StepUpRequired | None:
        most = self.session_max_age
        is_too_old = most is not None and not _is_recent(session.started_at, most, now)
        lacks_mfa = not self._has_mfa(session.factors, now, mfa)
        is_met = not is_too_old and not lacks_mfa and self._has_factors(session.factors, now)
        if is_met and self._is_proven(session, now):
            return None
        ages = [age for age in (self.factor_max_age, most, self.max_age, self.mfa_max_age) if age is not None]
        return StepUpRequired(
            acr_values=tuple(self.acr_values or sorted(self.factors or ())),
            max_age=int(min(ages).total_seconds()) if ages else None,
            factor_count=self.factor_count if self.factor_count != 1 else None,
            sign_in_again=is_too_old,
            mfa=lacks_mfa,
        )

    def _has_mfa(self, factors: tuple[Factor, ...], now: datetime, mfa: MfaRecord | None) -> bool:
        most = self.mfa_max_age
        if most is None:
            return True
        if mfa is not None and now < mfa.ends_at and _is_recent(mfa.verified_at, most, now):
            return True
        return any(
            _is_recent(one.last_verified_at, most, now) and is_second_factor(one, factors) for one in factors
        )

    def _is_proven(self, session: Session, now: datetime) -> bool:
        """Return whether the user has signed in by one of the ways of ``acr_values``, within ``max_age``."""
        if self.acr_values is None and self.max_age is None:
            return True
        if self.acr_values is not None and set(self.acr_values).isdisjoint(session.acr_values):
            return False
        return self.max_age is None or _is_recent(session.authenticated_at, self.max_age, now)

    def _has_factors(self, factors: tuple[Factor, ...], now: datetime) -> bool:
        names, count, most = self.factors, self.factor_count, self.factor_max_age
        if names is None and count is None and most is None:
            return True
        fresh = [one for one in factors if most is None or _is_recent(one.last_verified_at, most, now)]
        if names is not None and not any(one.type in names or one.delivery_channel in names for one in fresh):
            return False
        return _has_different(fresh, count or 1)


def check(auth: Auth, requirements: Requirements | None = None) -> MoonKeyError | None:
    """Check whether a request may go on to a protected route.

    Args:
        auth: The identity of the request.
        requirements: What the route requires beyond a verified user and session.

    Returns:
        The error to refuse the request with, or ``None`` where it may go on.
    """
    if not auth.is_authenticated:
        machine = auth.machine
        if machine is None:
            return auth.error or MissingCredentials(evidence=scheme_hint(auth))
        return _machine_refusal(auth, machine, requirements)
    if requirements is None or not requirements._checks_session:
        return None
    if requirements.permissions is not None and lacks_permissions(auth):
        return ProviderUnavailable(
            reason="permissions_unknown",
            evidence="The identity was verified without the permissions that this gate asks for. Verify it with "
            "the requirements of the gate: client.authenticate(headers, requirements).",
        )
    refusal = _actor_refusal(auth, requirements)
    if refusal is not None or requirements.mfa_max_age is None:
        return refusal or requirements.check(auth.session, _clock.now())
    return _check_with_mfa(auth, requirements, auth.session)


def _check_with_mfa(auth: Auth, requirements: Requirements, session: Session) -> MoonKeyError | None:
    """Check a session for a route with ``mfa_max_age``, by what the app has recorded."""
    held = held_by(auth)
    mfa = None if held is None or held.trouble is not None else held.mfa(auth)
    refusal = requirements.check(session, _clock.now(), mfa)
    if not isinstance(refusal, StepUpRequired) or not refusal.mfa:
        return refusal
    if held is None:  # an identity made by a test has no client, and so no records
        return refusal if cache_entry(auth) is None else _nothing_recorded()
    if held.trouble is not None:
        return held.trouble
    if not _is_known_unenrolled(auth.user):
        return refusal
    if held.allows_unenrolled:
        return replace(requirements, mfa_max_age=None).check(session, _clock.now())
    return MfaNotEnrolled(enrol_url=held.enrol_url)


def _nothing_recorded() -> ConfigurationError:
    return ConfigurationError(
        "A route has mfa_max_age, but nothing is recorded of second factors: set mfa_lifetime."
    )


def _is_known_unenrolled(user: User | None) -> bool:
    """Return whether the provider says that a user has enrolled no second factor. Unknown is no."""
    return getattr(user, "mfa_methods", None) == ()


def _actor_refusal(auth: Auth, requirements: Requirements) -> PermissionDenied | None:
    if requirements.allow_actor or auth.actor is None:
        return None
    return PermissionDenied("On this route no one may act for another user.", reason="actor_refused")


def _machine_refusal(auth: Auth, machine: Machine, requirements: Requirements | None) -> MoonKeyError | None:
    """Return why a machine may not go on: it passes only where it is asked for, and cannot step up."""
    if requirements is None or not requirements.allow_machines:
        return PermissionDenied("This route is for users, and a machine has called it.", reason="machine_refused")
    refusal = _actor_refusal(auth, requirements) or requirements._denial(machine)
    if refusal is None and requirements._asks_for_authentication:
        return PermissionDenied("A machine cannot step up, as this route asks.", reason="machine_refused")
    if refusal is None:
        note_admitted(auth)
    return refusal


def admit(auth: Auth, requirements: Requirements | None = None) -> Auth:
    """Return ``auth`` where the request may go on to a protected route. A machine may, if it is asked for.

    Args:
        auth: The identity of the request.
        requirements: What the route requires beyond a verified user and session.

    Raises:
        MoonKeyError: The request must be refused with this error. In a request to an app with one of the framework
            packages, it is also that framework's HTTP exception.
    """
    error = check(auth, requirements)
    if error is None:
        return auth
    raise to_raise(auth, error)


def require_admitted(auth: Auth) -> Auth:
    """Return ``auth`` where it is that of a user, or of a machine that a gate has let pass before.

    Raises:
        MoonKeyError: It is neither; the error is the one of a gate.
    """
    return auth if is_admitted(auth) else require(auth)


def require(auth: Auth, requirements: Requirements | None = None) -> AuthenticatedAuth:
    """Return ``auth`` where the request may go on to a protected route, and comes from a user.

    Args:
        auth: The identity of the request.
        requirements: What the route requires beyond a verified user and session.

    Raises:
        MoonKeyError: The request must be refused with this error. In a request to an app with one of the framework
            packages, it is also that framework's HTTP exception.
    """
    if requirements is not None and requirements.allow_machines and auth.machine is not None:
        requirements = None  # a machine is refused as on any route that is for users
    error = check(auth, requirements)
    if error is not None:
        raise to_raise(auth, error)
    if TYPE_CHECKING:  # `cast` would be a call in each request
        assert isinstance(auth, AuthenticatedAuth)
    return auth


def accept_any(auth: Auth, requirements: Requirements) -> None:
    """Determine an identity, for a gate that lets every request pass: reading it now verifies a credential."""
    _ = auth.state


def check_freshness(given: Mapping[str, Any]) -> None:
    """Check the requirements of a gate that lets every request pass.

    Raises:
        TypeError: One of them could refuse a request.
    """
    if not given.keys() <= FreshnessOptions.__optional_keys__:
        raise TypeError("optional_auth takes max_staleness and grace_seconds; demands are for require_auth.")


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
        raise to_raise(auth, auth.error)
    return auth.user


def is_second_factor(factor: Factor, factors: Iterable[Factor]) -> bool:
    """Return whether a factor was certainly verified beside another one, and does more than repeat a sign-in.

    A code to the mailbox that the user has signed in with does not count because an app was used some time before.
    """
    if _is_context(factor) or not (factor.type or factor.delivery_channel):
        return False
    is_strong = _means_of(factor)[0] in _STRONG
    return any(
        _are_different(factor, other)
        for other in factors
        if other is not factor
        and not _is_context(other)
        and (other.type or other.delivery_channel)
        and (is_strong or _means_of(other)[0] not in _STRONG)
    )


def _has_different(factors: Iterable[Factor], count: int) -> bool:
    """Return whether so many factors are certainly different. Those with an id are counted first."""
    named = (one for one in factors if one.type or one.delivery_channel)
    known = sorted((one for one in named if not _is_context(one)), key=lambda one: not one.method_id)
    found: list[Factor] = []
    for factor in known:
        if len(found) == count:
            break
        if all(_are_different(factor, other) for other in found):
            found.append(factor)
    return len(found) >= count


def _are_different(one: Factor, other: Factor) -> bool:
    """Return whether two factors are certainly not one: a user who has the first may lack the second."""
    (kind, medium), (other_kind, other_medium) = _means_of(one), _means_of(other)
    if kind != other_kind:
        return True
    address, other_address = _address_of(one), _address_of(other)
    if (one.method_id and one.method_id == other.method_id) or (address and address == other_address):
        return False
    if (medium and other_medium and medium != other_medium) or (address and other_address):
        return True
    # The id of a link may name the link: beside that of a code it says nothing about the mailbox. Likewise, the id
    # of a recovery code may not be that of the app.
    has_like_ids = (
        one.type == other.type if kind == "message" else kind != "totp" or _channel_of(one) == _channel_of(other)
    )
    return bool(has_like_ids and one.method_id and other.method_id)


_MESSAGES = frozenset(
    {"otp", "magic_link", "email", "sms", "whatsapp"}
)  # types and channels of codes and links that are sent
_MEDIA = {
    "magic_link": "email",
    "phone_number": "sms",
    "whatsapp": "sms",  # to the same phone
    **dict.fromkeys(("totp_authenticator", "authenticator_app"), "totp"),
    **dict.fromkeys(("totp_recovery_code", "recovery_code", "recovery_codes"), "totp"),  # stands in for the app
    **{f"oauth_exchange_{name}": f"oauth_{name}" for name in ("google", "slack", "hubspot", "github")},
    "webauthn_credential": "webauthn",
}
"""What a user has to have for a factor, by its channel, type or kind of method, where that is not its name."""

_ANY_MEDIUM = frozenset({"embedded", "oauth_access_token_exchange"})
"""Channels that do not say what a user has: an app may send a link to any address, a client may have any token."""


_AMR_KINDS = {
    **dict.fromkeys(("pwd", "password"), "password"),
    **dict.fromkeys(("otp", "sms", "tel", "phone", "email", "magiclink", "email/signup"), "message"),
    **dict.fromkeys(("recovery", "invite", "email_change", "mfa/phone"), "message"),
    **dict.fromkeys(("totp", "mfa/totp"), "totp"),
    **dict.fromkeys(("hwk", "swk", "pop", "sc", "fido", "fido2", "rsa", "wia"), "key"),
    **dict.fromkeys(("webauthn", "passkey", "mfa/webauthn", "x509"), "key"),
    **dict.fromkeys(("face", "fpt", "iris", "retina", "vbm"), "biometric"),
    **dict.fromkeys(("oauth", "sso/saml"), "federated"),
    **{name: name for name in ("pin", "kba", "mfa", "first_factor", "second_factor")},
}
"""The kinds of authentication methods (RFC 8176): several of one kind may be one act. All others are one kind."""

_STRONG = frozenset({"totp", "webauthn", "key", "biometric"})
"""Kinds of factors that are not how a user signs in at first."""

_AMR_CONTEXT = frozenset({"geo", "mca", "rba", "user"})
"""Methods that say how a user signed in, and are no factor."""


def _is_context(factor: Factor) -> bool:
    return factor.method_type == "amr" and factor.type in _AMR_CONTEXT


def _means_of(factor: Factor) -> tuple[str, str | None]:
    """Return the kind of a factor, and what exactly its user has to have; ``None`` where that is not known."""
    if factor.method_type == "amr":
        return _AMR_KINDS.get(factor.type or "", "other"), None
    channel = _channel_of(factor)
    name = (factor.type or "").lower() or channel or ""
    kind = "message" if name in _MESSAGES or channel in _MESSAGES else _MEDIA.get(name, name)
    if factor.type is None and name.endswith(("_oauth", "_wallet")):
        kind = name.rpartition("_")[2]
    medium = channel
    if medium is None and kind == "message":
        medium = "email" if name == "magic_link" else factor.method_type
    if medium in _ANY_MEDIUM:
        return kind, None
    return kind, _MEDIA.get(medium, medium) if medium else None


def _channel_of(factor: Factor) -> str | None:
    return factor.delivery_channel.lower() if factor.delivery_channel else None


def _address_of(factor: Factor) -> str | None:
    """Return the e-mail address or phone number that a factor names, for comparison."""
    method = factor.extra.get("method")
    found = [method.get(name) for name in ("email", "phone_number")] if isinstance(method, Mapping) else []
    return next((one.lower() for one in found if isinstance(one, str) and one), None)


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


def _ordered_names(name: str, value: object) -> tuple[str, ...] | None:
    """Return the names in a sequence in their order, and those of a set in that of the alphabet."""
    if value is None:
        return None
    is_ordered = isinstance(value, list | tuple)
    if not is_ordered and not isinstance(value, AbstractSet):
        raise ValueError(f'{name} must be a list or a set of names that is not empty, such as ["one", "two"].')
    listed = cast("Iterable[Any]", value)
    names = _names(name, set(listed) if all(isinstance(one, str) for one in listed) else {None}, plain=True)
    assert names is not None
    return tuple(dict.fromkeys(listed)) if is_ordered else tuple(sorted(names))


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


AS_FRESH_AS_POSSIBLE = Requirements(max_staleness=0)
"""That the provider is asked, where it can be asked at all: of connections, and not of a route."""
