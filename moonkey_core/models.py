"""What the API says about people and sessions, as immutable values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from moonkey_core import _clock
from moonkey_core._values import Value, value

__all__ = ["Device", "Factor", "Login", "OtpRequest", "Session", "User", "VerifiedSession"]

_MAX_ID_LENGTH = 256
_BLANKS = " \u115f\u1160\u2800\u3164\uffa0"  # of what is printable, all that shows nothing by itself
_USER = "user_"  # in front of a user's id in the API reference; some documents leave it out
_PLAIN_NAME = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


def _refuse_change(*_: object, **__: object) -> NoReturn:
    raise TypeError("This mapping is read-only.")


class Extra(dict[str, Any]):
    """A read-only dict; a real ``dict``, so that JSON encoders take it."""

    if not TYPE_CHECKING:  # to type checkers, a dict
        __setitem__ = __delitem__ = __ior__ = _refuse_change
        clear = pop = popitem = setdefault = update = _refuse_change

    def __reduce__(self) -> tuple[type[Extra], tuple[dict[str, Any]]]:
        return Extra, (dict(self),)


@value
class Device(Value):
    """The device a session was started from; either field is ``None`` where it is not known."""

    shown_fields: ClassVar = ("user_agent", "ip")

    user_agent: str | None = None
    ip: str | None = None
    extra: Mapping[str, Any] = field(default_factory=Extra, repr=False, hash=False)


@value
class Factor(Value):
    """One way in which the user proved who they are. ``type`` and ``delivery_channel`` are open sets."""

    shown_fields: ClassVar = ("type", "delivery_channel", "method_type", "method_id", "last_verified_at")

    type: str | None = None
    delivery_channel: str | None = None
    method_type: str | None = None
    method_id: str | None = None
    last_verified_at: datetime | None = None
    extra: Mapping[str, Any] = field(default_factory=Extra, repr=False, hash=False)


@value
class User(Value):
    """A signed-in person. ``id`` is always known; the rest is ``None`` unless ``complete`` is true.

    ``id`` is as the API spells it, ``user_…``. Methods take it without the ``user_`` as well.

    ``email`` and ``phone_number`` are verified ones where the API says which are verified.
    """

    shown_fields: ClassVar = (
        "id",
        "email",
        "phone_number",
        "first_name",
        "last_name",
        "status",
        "created_at",
        "complete",
    )

    id: str
    email: str | None = field(default=None, repr=False)
    phone_number: str | None = field(default=None, repr=False)
    first_name: str | None = field(default=None, repr=False)
    last_name: str | None = field(default=None, repr=False)
    status: str | None = None
    created_at: datetime | None = None
    complete: bool = False
    extra: Mapping[str, Any] = field(default_factory=Extra, repr=False, hash=False)


@value
class Session(Value):
    """A signed-in state. All times are aware UTC datetimes."""

    shown_fields: ClassVar = ("id", "user_id", "expires_at", "started_at", "last_active_at", "factors", "device")

    id: str
    user_id: str
    expires_at: datetime
    started_at: datetime | None = None
    last_active_at: datetime | None = None
    factors: tuple[Factor, ...] = ()
    device: Device | None = None
    extra: Mapping[str, Any] = field(default_factory=Extra, repr=False, hash=False)

    @property
    def claims(self) -> Mapping[str, Any]:
        """What else the session carries: ``extra``, with the members of its ``custom_claims`` laid over it."""
        custom = self.extra.get("custom_claims")
        return Extra({**self.extra, **custom} if isinstance(custom, Mapping) else self.extra)

    @property
    def expires_in(self) -> timedelta:
        """Time left from now; zero when it is over."""
        return max(self.expires_at - _clock.now(), timedelta(0))

    def is_expired(self, now: datetime | None = None) -> bool:
        """Whether the session's end has come at ``now`` (aware datetime; default: the present)."""
        return self.expires_at <= (now or _clock.now())

    def expires_soon(self, within: timedelta) -> bool:
        """Whether the session ends within that time from now."""
        return self.expires_in <= within


@value
class VerifiedSession(Value):
    """What verifying a credential proved. The credentials are for cookies and clients: never log them.

    ``fresh_jwt`` is a new session JWT, set where the one presented was too old and has been refreshed.
    """

    shown_fields: ClassVar = ("user", "session")

    user: User
    session: Session
    session_token: str | None = field(default=None, repr=False)
    session_jwt: str | None = field(default=None, repr=False)
    fresh_jwt: str | None = field(default=None, repr=False)


@value
class Login(Value):
    """A verified login step. ``session`` and its credentials are ``None`` unless a session was asked for."""

    shown_fields: ClassVar = ("user", "session", "method_id")

    user: User
    session: Session | None = None
    session_token: str | None = field(default=None, repr=False)
    session_jwt: str | None = field(default=None, repr=False)
    method_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=Extra, repr=False, hash=False)


@value
class OtpRequest(Value):
    """A one-time passcode on its way: hand ``method_id`` and the code to ``otps.verify``."""

    shown_fields: ClassVar = ("method_id", "user_id")

    method_id: str
    user_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=Extra, repr=False, hash=False)


MODELS = (User, Session, Device, Factor, Login, VerifiedSession, OtpRequest)
"""All of them, for a framework that has to be told what to make of each: ``to_dict()``."""


def identifier(value: object) -> str:
    """A bounded, printable string that neither begins nor ends with a blank. Raises ``ValueError``.

    Databases and forms take blanks off: whoever has one would be taken for somebody else. A user's id is no blank
    without its ``user_`` either, as both spellings name one user.
    """
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= _MAX_ID_LENGTH
        or not value.isprintable()
        or value != value.strip(_BLANKS)
        or not (bare := bare_user_id(value))
        or bare[0] in _BLANKS
    ):
        raise ValueError("not an identifier")
    return value


def public_user_id(user_id: str) -> str:
    """The form of a user's id that the API documents, and is sent: with ``user_`` in front."""
    return user_id if user_id.startswith(_USER) else f"{_USER}{user_id}"


def bare_user_id(user_id: str) -> str:
    """What both spellings of one user's id have in common: it without the ``user_`` in front."""
    return user_id.removeprefix(_USER)


def bounded_user_id(value: object) -> str:
    """A user's id in a spelling that :func:`identifier` takes. Raises ``ValueError``."""
    bare = identifier(bare_user_id(value) if isinstance(value, str) else value)
    return value if isinstance(value, str) and len(value) <= _MAX_ID_LENGTH else bare


def same_user(one: str, other: str) -> bool:
    """Whether two spellings name one user."""
    return bare_user_id(one) == bare_user_id(other)


def fits_challenge(name: object) -> bool:
    """Whether a name may stand in a challenge, quoted, between spaces: a scope-token (RFC 6749 section 3.3)."""
    return isinstance(name, str) and _PLAIN_NAME.fullmatch(name) is not None


def with_user_id(user: User, user_id: str) -> User:
    """The same user under the id that the credential proved."""
    return user if user.id == user_id else user.replace(id=user_id)
