"""The API's users, sessions and login steps, as immutable values."""

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
_BLANKS = " \u115f\u1160\u2800\u3164\uffa0"  # the printable characters that show nothing by themselves
_USER = "user_"  # the prefix of a user's id in the API reference; some documents leave it out
_PLAIN_NAME = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


def _refuse_change(*_: object, **__: object) -> NoReturn:
    raise TypeError("This mapping is read-only.")


class Extra(dict[str, Any]):
    """A read-only dict; a real ``dict``, so that JSON encoders accept it."""

    if not TYPE_CHECKING:  # to type checkers, a dict
        __setitem__ = __delitem__ = __ior__ = _refuse_change
        clear = pop = popitem = setdefault = update = _refuse_change

    def __reduce__(self) -> tuple[type[Extra], tuple[dict[str, Any]]]:
        return Extra, (dict(self),)


@value
class Device(Value):
    """The device that a session was started from.

    Attributes:
        user_agent: The ``User-Agent`` of its browser or app; ``None`` where unknown.
        ip: Its network address; ``None`` where unknown.
        extra: All other members of the API's object.
    """

    shown_fields: ClassVar[tuple[str, ...]] = ("user_agent", "ip")

    user_agent: str | None = None
    ip: str | None = None
    extra: Mapping[str, Any] = field(default_factory=Extra, repr=False, hash=False)


@value
class Factor(Value):
    """One way in which the user proved their identity. Any field is ``None`` where unknown.

    Attributes:
        type: The kind of the factor, such as ``otp``. The API may add others.
        delivery_channel: How a code or link reached the user, such as ``email``. The API may add others.
        method_type: The kind of the address or account.
        method_id: The id of the address or account.
        last_verified_at: When the user verified it last (aware UTC).
        extra: All other members of the API's object.
    """

    shown_fields: ClassVar[tuple[str, ...]] = (
        "type",
        "delivery_channel",
        "method_type",
        "method_id",
        "last_verified_at",
    )

    type: str | None = None
    delivery_channel: str | None = None
    method_type: str | None = None
    method_id: str | None = None
    last_verified_at: datetime | None = None
    extra: Mapping[str, Any] = field(default_factory=Extra, repr=False, hash=False)


@value
class User(Value):
    """A signed-in person. ``id`` is always set; the other fields are ``None`` unless ``complete`` is true.

    Attributes:
        id: The id in the API's spelling, ``user_…``. Methods accept it without the ``user_`` as well.
        email: The first address; a verified one where the API marks which are verified.
        phone_number: The first number; a verified one where the API marks which are verified.
        first_name: The first name.
        last_name: The last name.
        status: The status of the user at the API.
        created_at: When the user was created (aware UTC).
        complete: Whether the API sent the whole user, and not only the id.
        extra: All other members of the API's object.
    """

    shown_fields: ClassVar[tuple[str, ...]] = (
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
    """A session: one sign-in of a user on one device. All times are aware UTC datetimes.

    Attributes:
        id: The id of the session.
        user_id: The id of its user.
        expires_at: When it ends, unless it is extended.
        started_at: When it began; ``None`` where unknown.
        last_active_at: When it was used last, by the API's record; ``None`` where unknown.
        factors: The factors that the user has verified in it.
        device: The device that it was started from; ``None`` where unknown.
        extra: All other members of the API's object.
    """

    shown_fields: ClassVar[tuple[str, ...]] = (
        "id",
        "user_id",
        "expires_at",
        "started_at",
        "last_active_at",
        "factors",
        "device",
    )

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
        """The session's other data: ``extra``, with the members of its ``custom_claims`` taking precedence."""
        custom = self.extra.get("custom_claims")
        return Extra({**self.extra, **custom} if isinstance(custom, Mapping) else self.extra)

    @property
    def expires_in(self) -> timedelta:
        """The time left from now; zero when the session has expired."""
        return max(self.expires_at - _clock.now(), timedelta(0))

    def is_expired(self, now: datetime | None = None) -> bool:
        """Return whether the session has expired at ``now`` (an aware datetime; by default the current time)."""
        return self.expires_at <= (now or _clock.now())

    def expires_soon(self, within: timedelta) -> bool:
        """Return whether the session expires within that time from now."""
        return self.expires_in <= within


@value
class VerifiedSession(Value):
    """The result of verifying a credential. The credentials are for cookies and clients: never log them.

    Attributes:
        user: The verified user.
        session: The verified session.
        session_token: The session token, where the API has sent it.
        session_jwt: The session JWT, where the API has sent it.
        fresh_jwt: A new session JWT, set where the presented one was too old and has been refreshed.
    """

    shown_fields: ClassVar[tuple[str, ...]] = ("user", "session")

    user: User
    session: Session
    session_token: str | None = field(default=None, repr=False)
    session_jwt: str | None = field(default=None, repr=False)
    fresh_jwt: str | None = field(default=None, repr=False)


@value
class Login(Value):
    """A verified login step. ``session`` and its credentials are ``None`` unless a session was requested.

    Attributes:
        user: The user.
        session: The session that was started or stepped up.
        session_token: Its session token. Never log it.
        session_jwt: Its session JWT. Never log it.
        method_id: The id of the address or account that was verified.
        extra: All other members of the API's reply.
    """

    shown_fields: ClassVar[tuple[str, ...]] = ("user", "session", "method_id")

    user: User
    session: Session | None = None
    session_token: str | None = field(default=None, repr=False)
    session_jwt: str | None = field(default=None, repr=False)
    method_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=Extra, repr=False, hash=False)


@value
class OtpRequest(Value):
    """A one-time passcode that has been sent. Pass ``method_id`` and the code to ``otps.verify``.

    Attributes:
        method_id: The id of the address that the code was sent to.
        user_id: The id of the user; ``None`` where the API does not send it.
        extra: All other members of the API's reply.
    """

    shown_fields: ClassVar[tuple[str, ...]] = ("method_id", "user_id")

    method_id: str
    user_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=Extra, repr=False, hash=False)


MODELS = (User, Session, Device, Factor, Login, VerifiedSession, OtpRequest)
"""All models, for a framework that has to register how each is written as JSON: by ``to_dict()``."""


def identifier(value: object) -> str:
    """Return a value that is a bounded, printable string, and neither begins nor ends with a blank.

    Databases and forms remove blanks: a user whose id has one would be taken for another user. A user's id must be
    more than its prefix ``user_``, and must not begin with a blank after it, as both spellings name one user.

    Raises:
        ValueError: It is anything else.
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
    """Return a user's id with the prefix ``user_``, the spelling that the API documents and receives."""
    return user_id if user_id.startswith(_USER) else f"{_USER}{user_id}"


def bare_user_id(user_id: str) -> str:
    """Return a user's id without the prefix ``user_``: the part that both spellings have in common."""
    return user_id.removeprefix(_USER)


def bounded_user_id(value: object) -> str:
    """Return a user's id in a spelling that :func:`identifier` accepts.

    Raises:
        ValueError: It has no such spelling.
    """
    bare = identifier(bare_user_id(value) if isinstance(value, str) else value)
    return value if isinstance(value, str) and len(value) <= _MAX_ID_LENGTH else bare


def same_user(one: str, other: str) -> bool:
    """Return whether two spellings of a user's id name the same user."""
    return bare_user_id(one) == bare_user_id(other)


def fits_challenge(name: object) -> bool:
    """Return whether a name may be written into a ``WWW-Authenticate`` challenge.

    That is a quoted list separated by spaces; each name is a scope-token (RFC 6749 section 3.3).
    """
    return isinstance(name, str) and _PLAIN_NAME.fullmatch(name) is not None


def with_user_id(user: User, user_id: str) -> User:
    """Return the same user under the id that the credential proved."""
    return user if user.id == user_id else user.replace(id=user_id)
