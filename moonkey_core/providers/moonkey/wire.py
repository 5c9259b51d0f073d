"""From wire bodies to models: the users, sessions and logins in the API's replies and JWTs.

The API has two generations of spelling. Both are read, and every time becomes an aware UTC ``datetime``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from moonkey_core.models import (
    Device,
    Extra,
    Factor,
    Login,
    MagicLinkRequest,
    OtpRequest,
    Session,
    TotpRegistration,
    User,
    WalletChallenge,
)
from moonkey_core.providers.moonkey.ids import identifier

_SECRET_NAMES = frozenset(
    {"session_token", "session_jwt", "access_token", "refresh_token", "id_token", "secret", "recovery_codes"}
    | {"qr_base64", "request_origin_token"}
)
_IN_FACTORS = _SECRET_NAMES.union(("type", "delivery_channel"))  # all that is not `extra`
_METHOD_IDS = ("method_id", "email_id", "phone_number_id")
_MAX_CHALLENGE = 8192  # characters
_PLAIN = frozenset((str, int, float, bool, type(None)))
_MAX_DEPTH = 128  # more than the JSON reader accepts
_LATEST = 253_402_300_799  # the end of the year 9999, the last that datetime can represent
_ENDED = {
    **dict.fromkeys(("active", "is_active", "valid", "is_valid", "authenticated"), False),
    **dict.fromkeys(("revoked", "expired", "ended"), True),
}
_ENDED_TIMES = ("revoked_at", "ended_at", "terminated_at")
_ENDED_WORDS = frozenset(
    {"revoked", "deleted", "expired", "ended", "terminated", "inactive", "invalid", "logged_out", "signed_out"}
)
_ENDS = frozenset({"status", *_ENDED, *_ENDED_TIMES})
_ALL_ENDS = _ENDS.union(("deleted", "deleted_at"))
_SESSION_TIMES = ("started_at", "created_at", "last_active_at", "updated_at")
_RARE_TIMES = _SESSION_TIMES[1:]
_RARE = _ALL_ENDS.union(_RARE_TIMES)
_WHOLE_NUMBERS = {int}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DEVICES = frozenset(("device_fingerprint", "device_info"))


def parse_session(body: object, *, expires_at: float | None = None) -> Session:
    """Return the session in a wire form (API reference, session object).

    Args:
        body: The wire form.
        expires_at: The end of the session (Unix seconds), where the wire form has none.

    Raises:
        ValueError: A required member is missing or of the wrong type.
    """
    check_session(body, expires_at=expires_at)
    return build_session(_fields(body), expires_at=expires_at)


def check_session(body: object, *, user_id: str | None = None, expires_at: float | None = None) -> float:
    """Check a wire session without building a model, and return its end (Unix seconds).

    A session that passes can be built later: this raises exactly where :func:`parse_session` does.

    Args:
        body: The wire form.
        user_id: The id of its user, checked, where the wire form has none.
        expires_at: Its end (Unix seconds), where the wire form has none.

    Raises:
        ValueError: A required member is missing or of the wrong type.
    """
    is_deleted(body)
    return check_session_members(body, user_id=user_id, expires_at=expires_at)


def check_session_members(body: Any, *, user_id: str | None = None, expires_at: float | None = None) -> float:
    """Do what :func:`check_session` does, for a body that :func:`is_deleted` has seen."""
    identifier(body.get("id"))
    named = body.get("user_id", user_id)
    if named is None or named != user_id:
        identifier(named)
    times = tuple(map(body.get, _SESSION_TIMES))
    if set(map(type, times)) != _WHOLE_NUMBERS or not 0 < min(times) <= max(times) <= _LATEST:
        for at in times:  # else they are all as usual
            _moment(at)
    if "factors" in body:
        for factor in _factors(body):
            _moment(_verified_at(factor))
    if not _DEVICES.isdisjoint(body):
        device = _device_of(body)
        if device and not isinstance(device, dict):
            raise ValueError("not an object")
    ends = _moment(body.get("expires_at")) or _moment(expires_at)
    if ends is None:
        raise ValueError("a session without an end")
    return ends


def usual_times(body: Mapping[str, Any]) -> tuple[float | None, float] | None:
    """Return start and end of a wire session in which all but the ids is as usual; ``None`` for any other one.

    Such a session passes :func:`is_deleted` and :func:`check_session_members`. It has an end of its own, nothing
    that could speak of an earlier one, and all its times are whole seconds.
    """
    if not _RARE.isdisjoint(body) and not (
        _ALL_ENDS.isdisjoint(body) and all(map(_is_usual_time, map(body.get, _RARE_TIMES)))
    ):
        return None
    get = body.get
    started_at, ends_at, factors = get("started_at"), get("expires_at"), get("factors")
    if type(ends_at) is not int or type(started_at) is not int:
        return None
    if not (0 < ends_at <= _LATEST and 0 < started_at <= _LATEST):
        return None
    if factors is not None:
        if type(factors) is not list:
            return None
        for factor in factors:
            if type(factor) is not dict:
                return None
            at = _verified_at(factor) if "method" in factor else factor.get("last_verified_at")
            if at is not None and not (type(at) is int and 0 < at <= _LATEST):
                return None
    device = get("device_fingerprint") or get("device_info")
    return None if device and type(device) is not dict else (started_at, ends_at)


def _is_usual_time(value: object) -> bool:
    return value is None or (type(value) is int and 0 < value <= _LATEST)


def build_session(rest: dict[str, Any], *, expires_at: float | None = None) -> Session:
    """Return the session in a wire form that has passed :func:`check_session`. ``rest`` is consumed."""
    device = rest.pop("device_fingerprint", None) or rest.pop("device_info", None)
    factors = _factors(rest)
    rest.pop("factors", None)
    started = _time(rest.pop("started_at", None)) or _time(rest.get("created_at"))
    active = _time(rest.pop("last_active_at", None)) or _time(rest.get("updated_at"))
    ends = _time(rest.pop("expires_at", None)) or _time(expires_at)
    assert ends is not None  # checked
    return Session(  # by position, which takes less time
        rest.pop("id"),
        rest.pop("user_id"),
        ends,
        started,
        active,
        tuple(map(_factor, factors)),
        _device(device) if device else None,
        _others(rest, _SECRET_NAMES),
    )


def session_start(body: Mapping[str, Any]) -> float | None:
    """Return when a checked wire session began (Unix seconds); ``None`` where unknown."""
    return _moment(body.get("started_at")) or _moment(body.get("created_at"))


def session_span(body: object, now: float) -> tuple[float | None, float, bool]:
    """Check a wire session, and return its start and end (Unix seconds), and whether it has been ended by ``now``.

    Raises:
        ValueError: Exactly where :func:`is_deleted` or :func:`check_session_members` raises it.
    """
    usual = usual_times(body) if type(body) is dict else None
    if usual is not None and type(body) is dict:
        identifier(body.get("id"))
        identifier(body.get("user_id"))
        return *usual, False
    is_over = is_deleted(body, now)
    assert isinstance(body, dict)  # checked
    ends_at = check_session_members(body)
    return session_start(body), ends_at, is_over


def is_deleted(body: object, now: float = math.inf) -> bool:
    """Return whether a wire session has been ended, by ``now`` (Unix seconds).

    Raises:
        ValueError: That cannot be read: another type, a contradiction, or a member of another service.
    """
    if not isinstance(body, dict):
        raise ValueError("not an object")
    if _ALL_ENDS.isdisjoint(body):
        return False
    deleted, at = body.get("deleted"), _moment(body.get("deleted_at"))
    if deleted is not None and not isinstance(deleted, bool):
        raise ValueError("deleted is neither true nor false")
    if at is not None and (deleted is False or at > now):
        raise ValueError("deleted and not deleted")
    if deleted is True or at is not None:
        return True
    if is_ended_otherwise(body):
        raise ValueError("a session that has ended in an unknown way")
    return False


def is_ended_otherwise(body: Mapping[str, Any]) -> bool:
    """Return whether a session, or a reply with one, has an end in members that are not part of this API.

    They are neither trusted nor ignored, also where their values are of another type.
    """
    if _ENDS.isdisjoint(body):
        return False
    status = body.get("status")
    return (
        (isinstance(status, str) and status.lower() in _ENDED_WORDS)
        or any(body.get(name) not in (None, not ended) for name, ended in _ENDED.items())
        or any(body.get(name) not in (None, 0, "") for name in _ENDED_TIMES)
    )


def check_user(body: object) -> str:
    """Check a wire user without building a model, and return its id.

    Raises:
        ValueError: Exactly where :func:`parse_user` raises it.
    """
    if not isinstance(body, dict):
        raise ValueError("not an object")
    _moment(body.get("created_at"))
    return identifier(body.get("user_id") or body.get("id"))


def parse_user(body: object) -> User:
    """Return the user in either wire form (with ``user_id`` or ``id``).

    Raises:
        ValueError: A required member is missing or of the wrong type.
    """
    rest = _fields(body)
    user_id = identifier(rest.pop("user_id", None) or rest.get("id"))
    rest.pop("id", None)
    complete = bool(rest)
    return User(
        id=user_id,
        email=_text(rest.pop("email", None)) or _verified(rest.get("emails"), "email"),
        phone_number=_text(rest.pop("phone_number", None)) or _verified(rest.get("phone_numbers"), "phone_number"),
        first_name=_text(rest.pop("first_name", None)),
        last_name=_text(rest.pop("last_name", None)),
        status=_text(rest.pop("status", None)),
        created_at=_time(rest.pop("created_at", None)),
        complete=complete,
        extra=_frozen(rest),
    )


def parse_login(body: Mapping[str, Any]) -> Login:
    """Return the login in a reply of any verify endpoint.

    Raises:
        ValueError: A required member is missing or of the wrong type, or the session has ended.
    """
    rest = dict(body)
    session = rest.pop("session", None)
    if session is not None and is_deleted(session):
        raise ValueError("a session that has ended")
    parsed = None if session is None else parse_session(session)
    user_body, user_id = rest.pop("user", None), rest.pop("user_id", None)
    user = None if user_body is None else parse_user(user_body)
    known_id = user_id or (parsed.user_id if parsed else None)
    token, jwt = _text(rest.pop("session_token", None)), _text(rest.pop("session_jwt", None))
    if (parsed is None) != (token is None and jwt is None):
        raise ValueError("a session without a credential, or the reverse")
    return Login(
        user=user or User(id=identifier(known_id)),
        session=parsed,
        session_token=token,
        session_jwt=jwt,
        method_id=_text(rest.pop("method_id", None)),
        extra=_frozen(rest),
    )


def parse_otp_request(body: Mapping[str, Any]) -> OtpRequest:
    """Return the passcode request in the reply of an OTP send.

    Raises:
        ValueError: A required member is missing or of the wrong type.
    """
    return OtpRequest(*_sent(rest := dict(body)), extra=_frozen(rest))


def parse_magic_link_request(body: Mapping[str, Any]) -> MagicLinkRequest:
    """Return the magic link in the reply of a call that sends one.

    Raises:
        ValueError: A required member is missing or of the wrong type.
    """
    return MagicLinkRequest(*_sent(rest := dict(body)), extra=_frozen(rest))


def _sent(rest: dict[str, Any]) -> tuple[str, str | None]:
    """Take the id of the address and that of the user out of a reply to a call that has sent something.

    The API reference has the first one as ``email_id`` or ``phone_number_id``.
    """
    found = next((rest[name] for name in _METHOD_IDS if rest.get(name)), None)
    user_id = rest.pop("user_id", None)
    rest.pop("method_id", None)
    return identifier(found), identifier(user_id) if user_id else None


def parse_wallet_challenge(body: Mapping[str, Any], wallet_type: str, public_address: str) -> WalletChallenge:
    """Return the challenge in the reply to the begin of a wallet's registration.

    Args:
        body: The reply.
        wallet_type: The type of wallet that was sent.
        public_address: The address that was sent.

    Raises:
        ValueError: A required member is missing or of the wrong type.
    """
    rest = dict(body)
    challenge = rest.pop("challenge", None)
    if not isinstance(challenge, str) or not 0 < len(challenge) <= _MAX_CHALLENGE:
        raise ValueError("no challenge")
    user_id = identifier(rest.pop("user_id", None))
    rest = {name: value for name, value in rest.items() if name not in ("wallet_type", "public_address")}
    return WalletChallenge(challenge, wallet_type, public_address, user_id, _frozen(rest))


def parse_totp_registration(body: Mapping[str, Any]) -> TotpRegistration:
    """Return the authenticator app in the reply to its registration.

    Raises:
        ValueError: A required member is missing or of the wrong type.
    """
    rest = dict(body)
    codes, picture = rest.pop("recovery_codes", None) or [], _text(rest.pop("qr_base64", None))
    if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
        raise ValueError("recovery codes that are no texts")
    secret = _text(rest.pop("secret", None))
    if secret is None:
        raise ValueError("no secret")
    return TotpRegistration(
        totp_id=identifier(rest.pop("totp_id", None)),
        user_id=identifier(rest.pop("user_id", None)),
        secret=secret,
        qr_base64=picture,
        recovery_codes=tuple(codes),
        extra=_frozen(rest),
    )


def without_secrets(value: Any) -> Any:
    """Return decoded JSON without the members that hold credentials, at any depth."""
    if isinstance(value, dict):
        return {name: without_secrets(one) for name, one in value.items() if name not in _SECRET_NAMES}
    if isinstance(value, list):
        return [without_secrets(one) for one in value]
    return value


def _fields(body: object) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise ValueError("not an object")
    return dict(body)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _moment(value: object) -> float | None:
    """Return a time in Unix seconds. ``None`` and 0 mean "unknown" in this API.

    Raises:
        ValueError: It is not a time.
    """
    if type(value) is int and 0 < value <= _LATEST:
        return value
    if value is None or (value == 0 and value is not False):
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= _LATEST:
        raise ValueError("not a time")
    return value


def _time(value: object) -> datetime | None:
    if type(value) is int and 0 < value <= _LATEST:  # as usual
        return _EPOCH + timedelta(0, value)  # in half the time of fromtimestamp
    if value is None:
        return None
    moment = _moment(value)
    return None if moment is None else datetime.fromtimestamp(moment, UTC)


def _factors(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    factors = body.get("factors")
    if factors is None:
        return []
    if not isinstance(factors, list):
        raise ValueError("factors are not a list")
    for factor in factors:
        if not isinstance(factor, dict):
            raise ValueError("a factor is not an object")
    return factors


def _verified_at(factor: Mapping[str, Any]) -> object:
    method = factor.get("method")
    at = method.get("last_verified_at") if isinstance(method, dict) else None
    return at or factor.get("last_verified_at")


def _device_of(body: Mapping[str, Any]) -> object:
    return body.get("device_fingerprint") or body.get("device_info")


def _factor(body: dict[str, Any]) -> Factor:
    kind, channel, method = body.get("type"), body.get("delivery_channel"), body.get("method")
    if isinstance(method, dict):
        method_type, method_id = _text(method.get("method_type")), _text(method.get("method_id"))
        at = _time(_verified_at(body))
    else:
        method_type = method_id = None
        at = _time(body.get("last_verified_at"))
    return Factor(_text(kind), _text(channel), method_type, method_id, at, _others(body, _IN_FACTORS))


def _device(body: object) -> Device:
    rest = _fields(body)
    ip, ip_address = rest.pop("ip", None), rest.pop("ip_address", None)
    agent = rest.pop("user_agent", None)
    return Device(_text(agent), _text(ip) or _text(ip_address), _frozen(rest) if rest else Extra())


def _verified(entries: object, name: str) -> str | None:
    """Return the first verified entry of a list such as ``[{"email": …, "verified": true}]``."""
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("verified") is True:
            return _text(entry.get(name))
    return None


def _frozen(value: Any, depth: int = 0) -> Any:
    """Return decoded JSON without secrets, read-only at any depth.

    Raises:
        ValueError: It is nested too deeply.
    """
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        return _others(value, _SECRET_NAMES, depth)
    if isinstance(value, list | tuple):
        return tuple(_frozen(item, depth + 1) for item in value)
    return value


def _others(value: Mapping[str, Any], names: frozenset[str], depth: int = 0) -> Extra:
    """Return the members that have none of these names, as :func:`_frozen` does."""
    inner = depth + 1
    return Extra(
        {
            name: one if type(one) in _PLAIN else _frozen(one, inner)
            for name, one in value.items()
            if name not in names
        }
    )
