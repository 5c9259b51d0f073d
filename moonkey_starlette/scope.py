"""The identity of a request as ``request.state`` shows it."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from moonkey_starlette.identity import KEY, Identity


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
            identity = self._identity
            return identity.shown if identity.auth is None else identity.auth
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
