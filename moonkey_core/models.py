"""The API's users, sessions and login steps, as immutable values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn, TypeVar

from moonkey_core import _clock
from moonkey_core._dataclass import dataclass
from moonkey_core._values import Value, value

__all__ = [
    "AuthenticationMethod", "Device", "Factor", "Login", "Machine", "MagicLinkRequest",
    "MfaMethod", "MfaRecord", "OtpRequest", "Session", "StartRecord", "TotpRegistration", "User",
    "VerifiedSession", "Wallet", "WalletChallenge",
]  # fmt: skip

V = TypeVar("V", bound=Value)

MAX_ID_LENGTH = 256
BLANKS = " \u115f\u1160\u2800\u3164\uffa0"
"""The printable characters that show nothing by themselves."""

_USUAL_ID = re.compile(rf"[!-~]{{1,{MAX_ID_LENGTH}}}")  # every such text passes the rules below
_PLAIN_NAME = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


def _refuse_change(*_: object, **__: object) -> NoReturn:
    raise TypeError("This mapping is read-only.")


class Extra(dict[str, Any]):
    """A read-only dict; a real ``dict``, so that JSON encoders accept it."""

    __slots__ = ()

    if not TYPE_CHECKING:  # to type checkers, a dict
        __setitem__ = __delitem__ = __ior__ = _refuse_change
        clear = pop = popitem = setdefault = update = _refuse_change

    def __reduce__(self) -> tuple[type[Extra], tuple[dict[str, Any]]]:
        return Extra, (dict(self),)


def read_only(value: Any) -> Any:
    """Return decoded JSON, read-only at any depth."""
    if isinstance(value, Mapping):
        return Extra({name: read_only(one) for name, one in value.items()})
    return tuple(map(read_only, value)) if isinstance(value, list | tuple) else value


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
class Wallet(Value):
    """A wallet that belongs to a user.

    Attributes:
        type: Its kind, such as ``evm``, ``evm_smart`` (a smart account) or ``solana``.
        address: Its address.
        created_at: When it was created (aware UTC); ``None`` where unknown.
        owners: The addresses that own it, of a smart account.
        extra: All other members of the API's object.
    """

    shown_fields: ClassVar[tuple[str, ...]] = ("type", "address", "created_at", "owners")

    type: str
    address: str
    created_at: datetime | None = None
    owners: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=Extra, repr=False, hash=False)


@value
class AuthenticationMethod(Value):
    """A way in which a user may sign in. It does not say that this session began by it.

    Attributes:
        type: Its kind, such as ``email``, ``sms`` or ``google``. The API may add others.
        identifier: What names the user there: the address, the number, or the id at the other provider. ``None``
            where unknown.
        extra: All other members of the API's object.
    """

    shown_fields: ClassVar[tuple[str, ...]] = ("type", "identifier")

    type: str
    identifier: str | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = field(default_factory=Extra, repr=False, hash=False)


@value
class MfaMethod(Value):
    """A second factor that a user has enrolled. It does not say that it was used in this session.

    Attributes:
        type: Its kind, such as ``totp`` or ``sms``. The API may add others.
        enrolled_at: When it was enrolled (aware UTC); ``None`` where unknown.
    """

    shown_fields: ClassVar[tuple[str, ...]] = ("type", "enrolled_at")

    type: str
    enrolled_at: datetime | None = None


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
        scope: What the id belongs to: ``moonkey``, or the issuer. Equal ids of two scopes are two users.
        wallets: The wallets of the user, where the provider has any. ``to_dict()`` has these three only then.
        authentication_methods: The ways in which the user may sign in, where the provider names them.
        mfa_methods: The second factors that the user has enrolled; ``None`` where the provider does not say.
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
    optional_fields: ClassVar[tuple[str, ...]] = ("wallets", "authentication_methods", "mfa_methods")
    _late_fields: ClassVar[tuple[str, ...]] = ("scope", "wallets", "authentication_methods", "mfa_methods")

    id: str
    email: str | None = field(default=None, repr=False)
    phone_number: str | None = field(default=None, repr=False)
    first_name: str | None = field(default=None, repr=False)
    last_name: str | None = field(default=None, repr=False)
    status: str | None = None
    created_at: datetime | None = None
    complete: bool = False
    extra: Mapping[str, Any] = field(default_factory=Extra, repr=False, hash=False)
    scope: str = "moonkey"
    wallets: tuple[Wallet, ...] = field(default=(), repr=False)
    authentication_methods: tuple[AuthenticationMethod, ...] = field(default=(), repr=False)
    mfa_methods: tuple[MfaMethod, ...] | None = None


class Grants(NamedTuple):
    """What a user may do, as the rules of a provider have read it.

    Attributes:
        scopes: What the client was allowed to do for the user (RFC 6749 section 3.3).
        roles: The roles of the user.
        permissions: The permissions of the user; ``None`` where they are not known yet, as they follow from the
            roles by a policy that is loaded only where a route asks for permissions.
        organization: The id of the organization that the user acts in; ``None`` where none is named.
        wholly: The resources on which every action is permitted: each permission that begins with one of them and
            a colon.
    """

    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    permissions: tuple[str, ...] | None = ()
    organization: str | None = None
    wholly: tuple[str, ...] = ()


class Granted:
    """What the holder of a credential may do. The base of :class:`Session` and :class:`Machine`."""

    __slots__ = ()

    if TYPE_CHECKING:  # fields of the subclasses
        extra: Mapping[str, Any]
        grants: Grants | None
        ends_with_token: bool

    @property
    def claims(self) -> Mapping[str, Any]:
        """The session's other data: ``extra``, with the members of its ``custom_claims`` taking precedence.

        Of a session made of a token's claims, these claims as they are.
        """
        custom = None if self.ends_with_token else self.extra.get("custom_claims")
        return Extra({**self.extra, **custom} if isinstance(custom, Mapping) else self.extra)

    @property
    def scopes(self) -> tuple[str, ...]:
        """What the client was allowed to do for the user: of the claims, ``scope`` and ``scopes``."""
        if self.grants is not None:
            return self.grants.scopes
        claims = self.claims
        scope, scopes = claims.get("scope"), claims.get("scopes")
        words = scope.split(" ") if isinstance(scope, str) else []
        return tuple(dict.fromkeys([*texts(scopes.split(" ") if isinstance(scopes, str) else scopes), *words]))

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles of the user: of the claims, ``roles``."""
        return texts(self.claims.get("roles")) if self.grants is None else self.grants.roles

    @property
    def permissions(self) -> tuple[str, ...]:
        """The permissions of the user: of the claims, ``permissions``.

        Where they follow from roles by a policy, there are none unless the route has asked for permissions.
        """
        if self.grants is None:
            return texts(self.claims.get("permissions"))
        return self.grants.permissions or ()

    def has_permissions(self, names: AbstractSet[str]) -> bool:
        """Return whether these are all among the permissions of the user."""
        lacking = names - set(self.permissions)
        if not lacking or self.grants is None or not self.grants.wholly:
            return not lacking
        parts = (name.partition(":") for name in lacking)
        return all(resource in self.grants.wholly and action for resource, _, action in parts)

    @property
    def organization(self) -> str | None:
        """The id of the organization that the user acts in; ``None`` where none is named."""
        return None if self.grants is None else self.grants.organization


@value
class Session(Granted, Value):
    """A session: one sign-in of a user on one device. All times are aware UTC datetimes.

    Attributes:
        id: The id of the session.
        user_id: The id of its user.
        expires_at: When it ends, unless it is extended.
        started_at: When it began; ``None`` where unknown.
        last_active_at: When it was used last, by the API's record; ``None`` where unknown.
        factors: The factors that the user has verified in it.
        device: The device that it was started from; ``None`` where unknown.
        extra: All other members of the API's object. Of a session made of a token's claims, all claims.
        grants: What the user may do, where a provider's own rules have read it from the claims of a token. Read it
            by ``scopes``, ``roles``, ``permissions`` and ``organization``.
        acr_values: The authentication context classes that the sign-in has met (OIDC Core section 2, ``acr``).
        authenticated_at: When the user signed in, or proved their identity again; ``None`` where unknown.
        ends_with_token: Whether ``expires_at`` is the end of a token, and not that of the session. The session
            goes on at the provider, and a newer token of it ends later.
        must_end_at: When a session of such a token ends at the latest, where its start was noted
            (``sessions.note_start``); ``None`` where that is not known, or ``expires_at`` says it.
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
    _late_fields: ClassVar[tuple[str, ...]] = ("must_end_at",)

    id: str
    user_id: str
    expires_at: datetime
    started_at: datetime | None = None
    last_active_at: datetime | None = None
    factors: tuple[Factor, ...] = ()
    device: Device | None = None
    extra: Mapping[str, Any] = field(default_factory=Extra, repr=False, hash=False)
    grants: Grants | None = field(default=None, repr=False)
    acr_values: tuple[str, ...] = ()
    authenticated_at: datetime | None = None
    ends_with_token: bool = False
    must_end_at: datetime | None = None

    @property
    def expires_in(self) -> timedelta:
        """The time left from now; zero when the session has expired."""
        return max(self.expires_at - _clock.now(), timedelta(0))

    def is_expired(self, now: datetime | None = None) -> bool:
        """Return whether the session has expired at ``now`` (an aware datetime; by default the current time)."""
        return self.expires_at <= (now or _clock.now())

    @property
    def known_end(self) -> datetime | None:
        """When the session itself ends, unless it is extended; ``None`` where only the end of a token is known."""
        return self.must_end_at if self.ends_with_token else self.expires_at

    def expires_soon(self, within: timedelta) -> bool | None:
        """Return whether the session expires within that time from now; ``None`` where its end cannot be known.

        That is so for a session of which only a token is known (``ends_with_token``), unless the app has noted its
        start with ``sessions.note_start``.
        """
        end = self.known_end
        return None if end is None else max(end - _clock.now(), timedelta(0)) <= within


@value
class Machine(Granted, Value):
    """A program that a credential was issued to, and no person: it has no session and no factors.

    Attributes:
        id: Its id at the issuer of the credential.
        expires_at: When the credential ends (aware UTC).
        extra: All claims of the credential.
        grants: As of a session.
        ends_with_token: As of a session.
        scope: What the id belongs to: an issuer.
    """

    shown_fields: ClassVar[tuple[str, ...]] = ("id", "expires_at")

    id: str
    expires_at: datetime
    extra: Mapping[str, Any] = field(default_factory=Extra, repr=False, hash=False)
    grants: Grants | None = field(default=None, repr=False)
    ends_with_token: bool = True
    scope: str = ""


@dataclass(frozen=True, slots=True)
class AuthorizationCheck:
    """A question to the roles of a session: whether its user may do something to a resource.

    Attributes:
        resource_id: The kind of resource, as the policy of the roles names it.
        action: What is to be done.
        organization_id: The organization in which; only where sessions belong to organizations.

    Raises:
        ValueError: One of them is no text, or an empty one.
    """

    resource_id: str
    action: str
    organization_id: str | None = None

    def __post_init__(self) -> None:
        """Check the texts."""
        for name in ("resource_id", "action", "organization_id"):
            text = getattr(self, name)
            if not isinstance(text, str | None) or text == "" or (text is None and name != "organization_id"):
                raise ValueError(f"{name} of an AuthorizationCheck must be a text that is not empty.")


@value
class MfaRecord(Value):
    """What this app has recorded of a second factor that a user has verified. All times are aware UTC datetimes.

    Attributes:
        id: The id of the record, by which it can be revoked: ``revocations.add(session_id=…)``.
        method: What was verified, such as ``totp``, as the app has named it.
        verified_at: When it was verified.
        ends_at: When the record ends.
        handle: The sealed text that stands for the record at one client. Only a new record of the scope
            ``credential`` has it. Never log it.
    """

    shown_fields: ClassVar[tuple[str, ...]] = ("id", "method", "verified_at", "ends_at")

    id: str
    method: str
    verified_at: datetime
    ends_at: datetime
    handle: str | None = field(default=None, repr=False)


@value
class StartRecord(Value):
    """The start of a session, noted by this app for one client. All times are aware UTC datetimes.

    Attributes:
        id: The id of the record.
        started_at: When the user signed in.
        ends_at: When the session ends at the latest.
        handle: The sealed text that stands for the record at that client. Never log it.
    """

    shown_fields: ClassVar[tuple[str, ...]] = ("id", "started_at", "ends_at")

    id: str
    started_at: datetime
    ends_at: datetime
    handle: str | None = field(default=None, repr=False)


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


@value
class MagicLinkRequest(Value):
    """A magic link that has been sent. Its user comes back with a ``token``: pass that to ``magic_links.verify``.

    Attributes:
        method_id: The id of the address that the link was sent to.
        user_id: The id of the user; ``None`` where the API does not send it.
        extra: All other members of the API's reply.
    """

    shown_fields: ClassVar[tuple[str, ...]] = ("method_id", "user_id")

    method_id: str
    user_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=Extra, repr=False, hash=False)


@value
class WalletChallenge(Value):
    """A text that a wallet has to sign. Pass the signature to ``wallets.verify``, with the same type and address.

    Attributes:
        challenge: The text to sign.
        wallet_type: The type of the wallet, as it was passed.
        public_address: The address of the wallet, as it was passed.
        user_id: The id of the user who the wallet belongs to.
        extra: All other members of the API's reply.
    """

    shown_fields: ClassVar[tuple[str, ...]] = ("challenge", "wallet_type", "public_address", "user_id")

    challenge: str
    wallet_type: str
    public_address: str
    user_id: str
    extra: Mapping[str, Any] = field(default_factory=Extra, repr=False, hash=False)


@value
class TotpRegistration(Value):
    """A new authenticator app. Show its secret to its user once; it counts when ``totps.verify`` accepts a code.

    Attributes:
        totp_id: The id of the registration.
        user_id: The id of the user.
        secret: The secret for the app. Never log it.
        qr_base64: The secret as a QR code, a base64-encoded image; ``None`` where the API does not send it.
        recovery_codes: Codes for ``totps.recover``, each of which works once. Never log them.
        extra: All other members of the API's reply.
    """

    shown_fields: ClassVar[tuple[str, ...]] = ("totp_id", "user_id")

    totp_id: str
    user_id: str
    secret: str = field(repr=False)
    qr_base64: str | None = field(default=None, repr=False)
    recovery_codes: tuple[str, ...] = field(default=(), repr=False)
    extra: Mapping[str, Any] = field(default_factory=Extra, repr=False, hash=False)


MODELS = (
    User, Session, Device, Factor, Login, VerifiedSession, OtpRequest, MagicLinkRequest, WalletChallenge,
    TotpRegistration, Machine, Wallet, AuthenticationMethod, MfaMethod, MfaRecord, StartRecord,
)  # fmt: skip
"""All models, for a framework that has to register how each is written as JSON: by ``to_dict()``."""


def identifier(value: object) -> str:
    """Return a value that is a bounded, printable string, and neither begins nor ends with a blank.

    Databases and forms remove blanks: a user whose id has one would be taken for another user.

    Raises:
        ValueError: It is anything else.
    """
    if isinstance(value, str) and _USUAL_ID.fullmatch(value):
        return value
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= MAX_ID_LENGTH
        or not value.isprintable()
        or value != value.strip(BLANKS)
    ):
        raise ValueError("not an identifier")
    return value


def texts(value: object) -> tuple[str, ...]:
    """Return the text, or the texts of a list that contains nothing else; for any other value none."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return tuple(value)
    return ()


def fits_challenge(name: object) -> bool:
    """Return whether a name may be written into a ``WWW-Authenticate`` challenge.

    That is a quoted list separated by spaces; each name is a scope-token (RFC 6749 section 3.3).
    """
    return isinstance(name, str) and _PLAIN_NAME.fullmatch(name) is not None


def read_only_model(model: V) -> V:
    """Return a model with nothing in it that can be changed, at any depth, whatever it was made of."""
    return model.replace(**{name: _read_only_value(getattr(model, name)) for name in model._fields})


def _read_only_value(value: Any) -> Any:
    if isinstance(value, Value):
        return read_only_model(value)
    if isinstance(value, Grants):
        return Grants(*map(read_only, value))
    return tuple(map(_read_only_value, value)) if isinstance(value, list | tuple) else read_only(value)


def with_user_id(user: User, user_id: str, same_user: Callable[[str, str], bool]) -> User:
    """Return a user under the id that the credential proved. Of another user, no field is taken over.

    Args:
        user: The user.
        user_id: The id.
        same_user: Returns whether two spellings of an id name the same user.
    """
    if user.id == user_id:
        return user
    return user.replace(id=user_id) if same_user(user.id, user_id) else User(id=user_id)


def with_session_user(session: Session, user_id: str, same_user: Callable[[str, str], bool]) -> Session:
    """Return a session whose user is the one that the credential proved, in any spelling.

    Args:
        session: The session.
        user_id: The id of its user.
        same_user: Returns whether two spellings of an id name the same user.
    """
    if session.user_id == user_id or same_user(session.user_id, user_id):
        return session
    return session.replace(user_id=user_id)
