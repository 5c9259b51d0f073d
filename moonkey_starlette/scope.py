"""The identity on a scope, as ``request.state`` and Starlette's ``request.user`` and ``request.auth`` show it."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, NoReturn

from starlette.authentication import BaseUser
from starlette.types import Scope

from moonkey_core.gate import optional_user
from moonkey_core.models import User
from moonkey_starlette.identity import KEY, Identity

AUTHENTICATED = "authenticated"
"""The only permission, for Starlette's ``@requires``."""


def attach(scope: Scope, identity: Identity) -> None:
    """Put the identity on the scope itself, not on a copy: outer layers read the scope after inner ones."""
    scope[KEY] = identity
    scope["state"] = RequestState(scope.get("state", {}), identity)
    scope["user"] = scope["auth"] = ConnectionUser(identity)


class RequestState(MutableMapping[str, Any]):
    """The state dict of a request with an additional entry for the identity, which the dict itself never holds.

    A server may give the same dict to all requests of a connection, so that an identity in it would be visible to
    another user's request. All other entries are read from the dict and written to it.
    """

    __slots__ = ("_identity", "_state")

    def __init__(self, state: MutableMapping[str, Any], identity: Identity) -> None:
        self._state = state
        self._identity = identity

    def __getitem__(self, name: str) -> Any:
        if name == KEY:
            return self._identity.shown
        return self._state[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._writable(name)[name] = value

    def __delitem__(self, name: str) -> None:
        del self._writable(name)[name]

    def __iter__(self) -> Iterator[str]:
        yield from (name for name in self._state if name != KEY)
        yield KEY

    def __len__(self) -> int:
        return len(self._state) + (KEY not in self._state)

    def copy(self) -> dict[str, Any]:
        """Return a plain dict of all entries, as ``dict.copy`` does."""
        return dict(self)

    def _writable(self, name: str) -> MutableMapping[str, Any]:
        if name == KEY:
            raise TypeError(f"request.state.{KEY} is read-only: nothing but the request decides who sent it.")
        return self._state


class ConnectionUser(BaseUser):
    """The value of ``request.user`` and of ``request.auth``: the verified user, or an anonymous one.

    Each property raises :class:`~moonkey_core.errors.ProviderError` where the identity cannot be determined, so
    that an outage is never taken for an anonymous user, and :class:`~moonkey_core.errors.ConfigurationError` where
    the identity has not been verified yet.
    """

    __slots__ = ("_identity",)

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    if not TYPE_CHECKING:  # only errors come here

        def __getattr__(self, name: str) -> NoReturn:
            said = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(said if name.startswith("_") else f"{said}. {_advice(name)}")

        def __getitem__(self, name: object) -> NoReturn:
            raise TypeError(f"request.user is an object and no dict. {_advice(name)}")

        __iter__ = None  # else Python would iterate by `__getitem__`

    @property
    def is_authenticated(self) -> bool:
        """Whether a user is signed in."""
        return _user_of(self._identity) is not None

    @property
    def display_name(self) -> str:
        """The user's name, else e-mail address, else id; empty for an anonymous user."""
        user = _user_of(self._identity)
        if user is None:
            return ""
        name = " ".join(part for part in (user.first_name, user.last_name) if part)
        return name or user.email or user.id

    @property
    def identity(self) -> str:
        """The user's id; empty for an anonymous user. Of several providers, two users may have equal ids."""
        user = _user_of(self._identity)
        return "" if user is None else user.id

    @property
    def scopes(self) -> list[str]:
        """The permissions for ``@requires``: ``["authenticated"]`` if a user is signed in, else none."""
        return [] if _user_of(self._identity) is None else [AUTHENTICATED]


def _advice(name: object) -> str:
    place = "request.state.moonkey"
    shown = f"{place}.{name}" if name in ("user", "session") else f"{place}.user.{name}"
    plain = isinstance(name, str) and name.isidentifier() and name not in ("get", "keys", "items", "to_dict")
    return (
        "This is Starlette's user, which has is_authenticated, identity (the id) and display_name. MoonKey's is "
        f"request.state.moonkey.user: write {shown if plain else f'{place}.user.id'}."
    )


def _user_of(identity: Identity) -> User | None:
    return optional_user(identity.read())
