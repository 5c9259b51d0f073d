"""What the API says about people and sessions, as immutable values: wire body in, value out.

The wire has two generations of spelling; both are read, and every time becomes an aware UTC ``datetime``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

__all__ = ["Device", "Factor", "Login", "OtpRequest", "Session", "User", "VerifiedSession"]

_SECRET_NAMES = frozenset(
    {"session_token", "session_jwt", "access_token", "refresh_token", "id_token", "secret", "recovery_codes"}
)
_MAX_ID_LENGTH = 256
_MAX_DEPTH = 32


def _refuse_change(*_: object, **__: object) -> NoReturn:
    raise TypeError("This mapping is read-only.")


_READ_ONLY: Any = _refuse_change


class _Extra(dict[str, Any]):
    """A read-only dict; a real ``dict``, so that JSON encoders and ``dataclasses.asdict`` take it."""

    __setitem__ = __delitem__ = __ior__ = _READ_ONLY
    clear = pop = popitem = setdefault = update = _READ_ONLY

    def __reduce__(self) -> tuple[type[_Extra], tuple[dict[str, Any]]]:
        return _Extra, (dict(self),)


@dataclass(frozen=True, slots=True)
class Device:
    """The device a session was started from; either field is ``None`` where it is not known."""

    user_agent: str | None = None
    ip: str | None = None
    extra: Mapping[str, Any] = field(default_factory=_Extra, repr=False, hash=False)


@dataclass(frozen=True, slots=True)
class Factor:
    """One way in which the user proved who they are. ``type`` and ``delivery_channel`` are open sets."""

    type: str | None = None
    delivery_channel: str | None = None
    method_type: str | None = None
    method_id: str | None = None
    last_verified_at: datetime | None = None
    extra: Mapping[str, Any] = field(default_factory=_Extra, repr=False, hash=False)


@dataclass(frozen=True, slots=True)
class User:
    """A signed-in person. ``id`` is always known; the rest is ``None`` unless ``complete`` is true.

    ``email`` and ``phone_number`` are verified ones where the API says which are verified.
    """

    id: str
    email: str | None = field(default=None, repr=False)
    phone_number: str | None = field(default=None, repr=False)
    first_name: str | None = field(default=None, repr=False)
    last_name: str | None = field(default=None, repr=False)
    status: str | None = None
    created_at: datetime | None = None
    complete: bool = False
    extra: Mapping[str, Any] = field(default_factory=_Extra, repr=False, hash=False)


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in state. All times are aware UTC datetimes."""

    id: str
    user_id: str
    expires_at: datetime
    started_at: datetime | None = None
    last_active_at: datetime | None = None
    factors: tuple[Factor, ...] = ()
    device: Device | None = None
    extra: Mapping[str, Any] = field(default_factory=_Extra, repr=False, hash=False)

    @property
    def expires_in(self) -> timedelta:
        """Time left from now; zero when it is over."""
        return max(self.expires_at - datetime.now(UTC), timedelta(0))

    def is_expired(self, now: datetime | None = None) -> bool:
        """Whether the session's end has come at ``now`` (aware datetime; default: the present)."""
        return self.expires_at <= (now or datetime.now(UTC))

    def expires_soon(self, within: timedelta) -> bool:
        """Whether the session ends within that time from now."""
        return self.expires_in <= within


@dataclass(frozen=True, slots=True)
class VerifiedSession:
    """What verifying a credential proved. The credentials are for cookies and clients: never log them.

    ``fresh_jwt`` is a new session JWT, set where the one presented was too old and has been refreshed.
    """

    user: User
    session: Session
    session_token: str | None = field(default=None, repr=False)
    session_jwt: str | None = field(default=None, repr=False)
    fresh_jwt: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """A verified login step. ``session`` and its credentials are ``None`` unless a session was asked for."""

    user: User
    session: Session | None = None
    session_token: str | None = field(default=None, repr=False)
    session_jwt: str | None = field(default=None, repr=False)
    method_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=_Extra, repr=False, hash=False)


@dataclass(frozen=True, slots=True)
class OtpRequest:
    """A one-time passcode on its way: hand ``method_id`` and the code to ``otps.verify``."""

    method_id: str
    user_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=_Extra, repr=False, hash=False)


def parse_session(body: object, *, expires_at: float | None = None) -> Session:
    """A session from its wire form (API reference, session object). ``expires_at`` is used where it has none.

    Raises ``ValueError`` when something that a session must have is missing or of the wrong type.
    """
    rest = _fields(body)
    device = rest.pop("device_fingerprint", None) or rest.pop("device_info", None)
    factors = rest.pop("factors", None) or []
    started = _time(rest.pop("started_at", None))
    created = _time(rest.get("created_at"))
    active = _time(rest.pop("last_active_at", None))
    ends = _time(rest.pop("expires_at", None)) or _time(expires_at)
    if ends is None:
        raise ValueError("a session without an end")
    if not isinstance(factors, list):
        raise ValueError("factors are not a list")
    return Session(
        id=identifier(rest.pop("id", None)),
        user_id=identifier(rest.pop("user_id", None)),
        expires_at=ends,
        started_at=started or created,
        last_active_at=active or _time(rest.get("updated_at")),
        factors=tuple(_factor(item) for item in factors),
        device=_device(device) if device else None,
        extra=_frozen(rest),
    )


def is_deleted(body: object) -> bool:
    """Whether a wire session says that it has been ended."""
    rest = _fields(body)
    return rest.get("deleted") not in (None, False) or _time(rest.get("deleted_at")) is not None


def parse_user(body: object) -> User:
    """A user from either wire form (``user_id`` or ``id``). Raises ``ValueError``."""
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
    """A login reply of any verify endpoint. Raises ``ValueError``."""
    rest = dict(body)
    session = rest.pop("session", None)
    parsed = parse_session(session) if session else None
    user_body, user_id = rest.pop("user", None), rest.pop("user_id", None)
    user = parse_user(user_body) if user_body else None
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
    """The reply of an OTP send. Raises ``ValueError``."""
    rest = dict(body)
    return OtpRequest(
        method_id=identifier(rest.pop("method_id", None)),
        user_id=_text(rest.pop("user_id", None)),
        extra=_frozen(rest),
    )


def identifier(value: object) -> str:
    """A non-empty, bounded string. Raises ``ValueError``."""
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_ID_LENGTH or not value.isprintable():
        raise ValueError("not an identifier")
    return value


def with_user_id(user: User, user_id: str) -> User:
    """The same user under the id that the credential proved."""
    return user if user.id == user_id else replace(user, id=user_id)


def _fields(body: object) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise ValueError("not an object")
    return dict(body)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _time(value: object) -> datetime | None:
    """Unix seconds to UTC; ``None`` and 0 mean "not known" on this wire."""
    if value is None or (value == 0 and value is not False):
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError("not a time")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError, ValueError):
        raise ValueError("not a time") from None


def _factor(body: object) -> Factor:
    rest = _fields(body)
    method = rest.get("method")
    inside = method if isinstance(method, dict) else {}
    return Factor(
        type=_text(rest.pop("type", None)),
        delivery_channel=_text(rest.pop("delivery_channel", None)),
        method_type=_text(inside.get("method_type")),
        method_id=_text(inside.get("method_id")),
        last_verified_at=_time(inside.get("last_verified_at") or rest.get("last_verified_at")),
        extra=_frozen(rest),
    )


def _device(body: object) -> Device:
    rest = _fields(body)
    ip, ip_address = _text(rest.pop("ip", None)), _text(rest.pop("ip_address", None))
    return Device(user_agent=_text(rest.pop("user_agent", None)), ip=ip or ip_address, extra=_frozen(rest))


def _verified(entries: object, name: str) -> str | None:
    """The first verified entry of a list such as ``[{"email": …, "verified": true}]``."""
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("verified") is True:
            return _text(entry.get(name))
    return None


def _frozen(value: Any, depth: int = 0) -> Any:
    """Deeply read-only, and without secrets. Raises ``ValueError`` for what is nested beyond all reason."""
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        return _Extra({k: _frozen(v, depth + 1) for k, v in value.items() if k not in _SECRET_NAMES})
    if isinstance(value, list | tuple):
        return tuple(_frozen(item, depth + 1) for item in value)
    return value
