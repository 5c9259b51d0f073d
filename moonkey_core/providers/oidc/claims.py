"""The claims of an OIDC issuer's tokens, judged and read by :class:`ClaimRules`.

The one reader of all presets, and of introspection replies, which have the same claims (RFC 7662 section 2.2).
Each refusal is an :class:`InvalidCredentials` with a reason code of its own. Does no I/O and reads no clock.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from moonkey_core._evidence import shown
from moonkey_core._provider import SessionClaims
from moonkey_core._strict_json import load_object
from moonkey_core._verified import Body
from moonkey_core.errors import InvalidCredentials
from moonkey_core.models import Factor, Grants, Session, User, identifier, read_only, texts
from moonkey_core.providers.oidc.rules import TENANT_ID, Claim, ClaimPath, ClaimRules, Rule, finite, lookup

_LATEST = 253_402_300_799  # the end of the year 9999, the last that datetime can represent
_MAX_CLOCK_SKEW = 60.0  # seconds by which a sign-in may seem to be later than its token
_ACTOR = Claim(path=("act",), kind="object")
_ACTOR_ID = Claim(path=("act", "sub"), kind="text")
_AUDIENCE = ("aud",)
_ELSEWHERE = ("_claim_names",)  # OIDC Core section 5.6.2


class OidcClaims:
    """The reader of the claims of one issuer's tokens."""

    def __init__(self, rules: ClaimRules) -> None:
        self.rules = rules
        self._scopes = dict(rules.scope_of)

    def session_claims(self, payload: Mapping[str, Any], expires_at: float) -> SessionClaims:
        """Return the user and session that a payload names, or the program.

        Args:
            payload: The payload of a JWT with a valid signature, from the right issuer for the right audience, or
                an introspection reply, with the issuer that it is from.
            expires_at: Its ``exp`` (Unix seconds).

        Raises:
            InvalidCredentials: A rule is broken, or the payload names no user.
        """
        rules = self.rules
        _check(rules.rules, payload)
        self._check_client(payload)
        self._check_tenant(payload)
        self._check_completeness(payload)
        if not 0 < expires_at <= _LATEST:
            raise _refusal("jwt_claims", ("exp",), "is not a time.")
        actor = _actor(payload)
        is_machine = self.is_machine(payload)
        if is_machine and not rules.allow_machines:
            raise InvalidCredentials(
                reason=rules.machine_reason,
                evidence="It is the token of a program. To accept such tokens: allow_machines=True.",
            )
        _check(rules.machine_rules if is_machine else rules.user_rules, payload)
        user_id = self._principal_id(payload, rules.machine_id if is_machine else rules.user_id)
        return SessionClaims(
            user_id=user_id,
            session_id=self._session_id(payload),
            started_at=None if is_machine else self._started_at(payload),
            ends_at=expires_at,
            scope=self.scope_of(payload),
            principal="machine" if is_machine else "user",
            actor=actor,
            names_session=self.names_session(payload),
        )

    def claimed_ids(self, payload: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
        """Return the session id, and the user id, in a payload that is not verified yet."""
        try:
            session_id: str | None = self._session_id(payload)
        except InvalidCredentials:
            session_id = None
        users = (lookup(payload, path) for path in self.rules.user_id)
        return session_id, tuple(user for user in users if isinstance(user, str) and user)

    def is_machine(self, payload: Mapping[str, Any]) -> bool:
        """Return whether a payload is that of a program's token."""
        return any(all(sign.is_there(payload) for sign in group) for group in self.rules.machine_when)

    def names_session(self, payload: Mapping[str, Any]) -> bool:
        """Return whether a payload says which session it is of."""
        return self._named_session(payload)[1] is not None

    def scope_of(self, payload: Mapping[str, Any]) -> str:
        """Return what the ids of a payload belong to: its issuer, in the form that stands for all of them.

        Raises:
            InvalidCredentials: The payload names no issuer.
        """
        issuer = payload.get("iss")
        if not isinstance(issuer, str) or not issuer:
            raise _refusal("jwt_issuer", ("iss",), "is missing.")
        return self._scopes.get(issuer, issuer)

    def user(self, body: Body) -> User:
        """Return the user.

        An e-mail address or a phone number is taken over only where the issuer says that it is verified, and may
        be believed. All that a token says of its user is in the session's ``claims`` too.
        """
        payload = _decoded(body)
        paths = self.rules.machine_id if self.is_machine(payload) else self.rules.user_id
        believes = self.rules.has_verified_email
        return User(
            id=self._principal_id(payload, paths),
            email=_verified(payload, "email") if believes else None,
            phone_number=_verified(payload, "phone_number") if believes else None,
            first_name=_text(payload.get("given_name")),
            last_name=_text(payload.get("family_name")),
        )

    def session(self, body: Body) -> Session:
        """Return the session. Its end is that of the token."""
        payload = _decoded(body)
        is_machine = self.is_machine(payload)
        started = None if is_machine else self._started_at(payload)
        return Session(
            id=self._session_id(payload),
            user_id=self._principal_id(payload, self.rules.machine_id if is_machine else self.rules.user_id),
            expires_at=_date(_moment(payload.get("exp")) or 0.0),
            started_at=None if started is None else _date(started),
            factors=() if is_machine else self._factors(payload),
            extra=read_only(payload),
            grants=self._grants(payload),
            acr_values=tuple(
                dict.fromkeys(one for path in self.rules.acr for one in texts(lookup(payload, path)))
            ),
            authenticated_at=None if is_machine else self._authenticated_at(payload),
            ends_with_token=True,
        )

    # --- the rules that need more than one claim

    def _check_client(self, payload: Mapping[str, Any]) -> None:
        rules = self.rules
        if not rules.clients:
            return
        audience = lookup(payload, _AUDIENCE)
        is_for_many = rules.checks_azp and isinstance(audience, list | tuple) and len(audience) > 1
        name, client = _first(payload, rules.client)
        if client is None:
            if rules.client_is_optional and not is_for_many:
                return
            raise _refusal("other_client", rules.client[0], "is missing, and only tokens of known clients count.")
        if not isinstance(client, str) or client not in rules.clients:
            raise _refusal("other_client", name, f"is {shown(client)}, not one of {shown(tuple(rules.clients))}.")

    def _check_tenant(self, payload: Mapping[str, Any]) -> None:
        """Check the tenant, and that the issuer is that tenant's: the template with its id, compared whole."""
        rules = self.rules
        if not rules.tenants:
            return
        tenant, issuer = lookup(payload, rules.tenant), payload.get("iss")
        if not isinstance(tenant, str) or tenant not in rules.tenants:
            raise _refusal("other_tenant", rules.tenant, f"is {shown(tenant)}, not an accepted tenant.")
        if issuer not in [form.replace(TENANT_ID, tenant) for form in rules.tenant_issuers]:
            raise _refusal(
                "other_tenant", ("iss",), f"is {shown(issuer)}, not that of the tenant {shown(tenant)}."
            )

    def _check_completeness(self, payload: Mapping[str, Any]) -> None:
        if not self.rules.refuses_overage:
            return
        names, has_groups = lookup(payload, _ELSEWHERE), payload.get("hasgroups")
        if names is not None or has_groups not in (None, False):
            raise InvalidCredentials(
                reason="claims_overage",
                evidence="Claims were left out because they were too many (_claim_names or hasgroups): what the "
                "user may do is not known. Have fewer groups put into the token, or set allow_overage=True.",
            )

    # --- ids

    def _principal_id(self, payload: Mapping[str, Any], paths: tuple[ClaimPath, ...]) -> str:
        name, value = _first(payload, paths)
        if value is None:
            raise _refusal("jwt_subject", paths[0], "is missing: the token does not say whose it is.")
        try:
            found = identifier(value)
        except ValueError:
            raise _refusal("jwt_subject", name, "is no id.") from None
        if len(found) > self.rules.user_id_length:
            raise _refusal("jwt_subject", name, "is too long.")
        return found

    def _session_id(self, payload: Mapping[str, Any]) -> str:
        """Return the id of the session, else of the token, else a digest of its claims.

        The digest is of the claims, not of the token: some signatures can be changed into others that are valid
        too, and a revocation must hold for all of them.
        """
        name, value = self._named_session(payload)
        if value is None:
            name, value = _first(payload, self.rules.token_id)
        if value is None:
            text = json.dumps(payload, sort_keys=True, separators=(",", ":"), default=str)
            value = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
        try:
            return identifier(value)
        except ValueError:
            raise _refusal("jwt_session", name, "is no id.") from None

    def _named_session(self, payload: Mapping[str, Any]) -> tuple[ClaimPath, Any]:
        name, value = _first(payload, self.rules.session_id)
        parts = [lookup(payload, path) for path in self.rules.session_parts]
        if value is None and parts and all(isinstance(part, str | int) for part in parts):
            value = ":".join(str(part) for part in parts)
        return name, value

    # --- when and how the user signed in

    def _started_at(self, payload: Mapping[str, Any]) -> float | None:
        """Return when the user signed in, by the claims that say so; ``None`` where none does.

        Raises:
            InvalidCredentials: A time is of another type, or later than the token.
        """
        times = [at for at in (self._auth_time(payload), self._first_factor_at(payload)) if at is not None]
        times.extend(at for _, at in self._timed_methods(payload))
        return min(times, default=None)

    def _authenticated_at(self, payload: Mapping[str, Any]) -> datetime | None:
        times = [at for at in (self._auth_time(payload), self._first_factor_at(payload)) if at is not None]
        times.extend(at for _, at in self._timed_methods(payload))
        return _date(max(times)) if times else None

    def _auth_time(self, payload: Mapping[str, Any]) -> float | None:
        name, value = _first(payload, self.rules.auth_time)
        return None if value is None else _past(payload, name, value)

    def _first_factor_at(self, payload: Mapping[str, Any]) -> float | None:
        times = self._factor_times(payload)
        return times[0] if times else None

    def _factor_times(self, payload: Mapping[str, Any]) -> tuple[float | None, ...]:
        """Return when the first and the second factor were verified, from their ages in minutes; -1: never."""
        path = self.rules.factor_ages
        ages, issued_at = lookup(payload, path) if path else None, finite(payload.get("iat"))
        if ages is None:
            return ()
        if not isinstance(ages, list | tuple) or len(ages) != 2 or issued_at is None:
            raise _refusal("jwt_claims", path, "is not a list of two numbers of minutes.")
        found: list[float | None] = []
        for age in ages:
            minutes = finite(age)
            if minutes is None or (minutes < 0 and minutes != -1):
                raise _refusal("jwt_claims", path, "is not a list of two numbers of minutes.")
            at = issued_at - 60 * minutes
            found.append(at if minutes >= 0 and 0 < at <= _LATEST else None)
        return tuple(found)

    def _timed_methods(self, payload: Mapping[str, Any]) -> list[tuple[str, float]]:
        """Return the authentication methods that have a time each."""
        found: list[tuple[str, float]] = []
        methods = lookup(payload, self.rules.amr)
        for one in methods if isinstance(methods, list | tuple) else ():
            if not isinstance(one, Mapping):
                continue
            method, at = one.get("method"), one.get("timestamp")
            if not isinstance(method, str) or not method:
                raise _refusal("jwt_claims", self.rules.amr, "has a method without a name.")
            if method in self.rules.not_proven:
                continue
            found.append((method, _past(payload, self.rules.amr, at)))
        return found

    def _factors(self, payload: Mapping[str, Any]) -> tuple[Factor, ...]:
        timed = self._timed_methods(payload)
        if timed:
            return tuple(_factor(method, at) for method, at in timed)
        ages = self._factor_times(payload)
        if ages:
            names = ("first_factor", "second_factor")
            return tuple(_factor(name, at) for name, at in zip(names, ages, strict=True) if at is not None)
        at = self._auth_time(payload)
        single = (lookup(payload, path) for path in self.rules.methods)
        methods = [*texts(lookup(payload, self.rules.amr)), *(one for one in single if isinstance(one, str))]
        proven = [one for one in dict.fromkeys(methods) if one and one not in self.rules.not_proven]
        if not proven and at is not None and not methods:
            return (_factor("unknown", at),)  # the user has signed in at that time, the token does not say how
        return tuple(_factor(method, at) for method in proven)

    # --- what the user may do

    def _grants(self, payload: Mapping[str, Any]) -> Grants:
        rules = self.rules
        if rules.grants is not None:
            return rules.grants(payload)
        return Grants(
            scopes=_words(lookup(payload, path) for path in rules.scopes),
            roles=_all_texts(lookup(payload, path) for path in rules.roles),
            permissions=_all_texts(lookup(payload, path) for path in rules.permissions),
            organization=_organization(_first(payload, rules.organization)[1]),
        )


def _check(rules: Iterable[Rule], payload: Mapping[str, Any]) -> None:
    for rule in rules:
        if not rule.is_kept(payload):
            raise _broken(rule, payload)


def _broken(rule: Rule, payload: Mapping[str, Any]) -> InvalidCredentials:
    claim, found = rule.claim, rule.claim.find(payload)
    if found == "absent":
        what = "is missing."
    elif found == "other_type":
        what = "is of the wrong type."
    elif claim.values is not None:
        what = f"is {shown(lookup(payload, claim.path))}."
    else:
        what = "is there." if rule.forbids else "is not what this issuer's tokens have."
    return _refusal(rule.reason, claim.path, what, rule.remedy)


def _refusal(reason: str, path: ClaimPath, what: str, remedy: str = "") -> InvalidCredentials:
    return InvalidCredentials(reason=reason, evidence=f"Its {'.'.join(path)} {what} {remedy}".rstrip())


def _first(payload: Mapping[str, Any], paths: tuple[ClaimPath, ...]) -> tuple[ClaimPath, Any]:
    """Return the first claim that is there, with its path."""
    for path in paths:
        value = lookup(payload, path)
        if value is not None:
            return path, value
    return (paths[0] if paths else ()), None


def _actor(payload: Mapping[str, Any]) -> str | None:
    """Return who acts for the user: the outermost actor; others are history (RFC 8693 section 4.1).

    Raises:
        InvalidCredentials: There is one, and it cannot be read: it must not go unseen.
    """
    if _ACTOR.find(payload) == "absent":
        return None
    if _ACTOR_ID.find(payload) != "fits":
        raise _refusal("jwt_actor", _ACTOR.path, "does not say who acts for the user.")
    try:
        return identifier(lookup(payload, _ACTOR_ID.path))
    except ValueError:
        raise _refusal("jwt_actor", _ACTOR_ID.path, "is no id.") from None


def _moment(value: object) -> float | None:
    number = finite(value)
    return number if number is not None and 0 < number <= _LATEST else None


def _past(payload: Mapping[str, Any], path: ClaimPath, value: object) -> float:
    """Return the time of a sign-in (Unix seconds), which no token can be older than."""
    at, issued_at = _moment(value), finite(payload.get("iat"))
    if at is None:
        raise _refusal("jwt_claims", path, "is not a time.")
    if issued_at is not None and at > issued_at + _MAX_CLOCK_SKEW:
        raise _refusal("jwt_claims", path, "is later than the token.")
    return at


def _date(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


def _factor(method: str, at: float | None) -> Factor:
    return Factor(type=method, method_type="amr", last_verified_at=None if at is None else _date(at))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _verified(payload: Mapping[str, Any], name: str) -> str | None:
    return _text(payload.get(name)) if payload.get(f"{name}_verified") is True else None


def _words(values: Iterable[object]) -> tuple[str, ...]:
    """Return the scopes in texts with spaces and in lists."""
    found = [word for one in values for word in (one.split(" ") if isinstance(one, str) else texts(one))]
    return tuple(dict.fromkeys(word for word in found if word))


def _all_texts(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for one in values for text in texts(one) if text))


def _organization(value: object) -> str | None:
    """Return the one organization in a claim: a text, a list of one, or an object with one member."""
    if isinstance(value, list | tuple | Mapping):
        names = list(value)
        value = names[0] if len(names) == 1 else None
    return _text(value)


def _decoded(body: Body) -> Mapping[str, Any]:
    return load_object(body) if isinstance(body, bytes) else body
