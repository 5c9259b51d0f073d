"""Logins that were verified a moment ago, for a form that was sent twice at once, as by a double click."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any, TypeVar

from cachetools import TTLCache

from moonkey_core import _clock
from moonkey_core._crypto import Digest
from moonkey_core._dataclass import dataclass
from moonkey_core._fork import reset_after_fork
from moonkey_core._plan import Pause
from moonkey_core.errors import InvalidCredentials, MoonKeyError, TooManyAttempts
from moonkey_core.models import Login

Y = TypeVar("Y")

_MOST = 1024
_SECONDS = 10.0
_PAUSE, _MOST_PAUSES = 0.02, 50  # seconds between two looks, and looks, at a try that is under way


@dataclass(slots=True)
class _Try:
    under_way: int = 0
    login: Login | None = None
    verified_at: float = 0.0


class SharedLogins:
    """The tries of codes that are under way in this process, and what has come of them.

    A browser drops the response to the first click, with its cookies: the one to the second click has to sign in.
    """

    def __init__(self) -> None:
        """Start without any."""
        self._digest = Digest()
        self.reset()
        reset_after_fork(self.reset)

    def reset(self) -> None:
        """Forget all tries, and make a new lock, in the child of a fork."""
        self._lock = threading.Lock()
        self._tries: TTLCache[str, _Try] = TTLCache(_MOST, _SECONDS, timer=_clock.monotonic)

    def share(self, key: str, trial: Generator[Y, Any, Login]) -> Generator[Y | Pause, Any, tuple[Login, bool]]:
        """Run a plan that tries a code; where it fails, return the login of another try under way with it.

        Args:
            key: Names the form that was sent: the cookie that it came with, and the code.
            trial: Tries the code.

        Returns:
            The login, and whether it is that of another try.

        Raises:
            MoonKeyError: The try failed, and there is no other login.
        """
        name = self._digest("login", key)
        began = self._begin(name)
        try:
            login = yield from trial
        except (InvalidCredentials, TooManyAttempts) as error:
            self._end(name, None)
            failure: MoonKeyError = error
        except BaseException:
            self._end(name, None)
            raise
        else:
            self._end(name, login)
            return login, False
        for _ in range(_MOST_PAUSES):
            found = self._find(name, began)
            if isinstance(found, Login):
                return found, True
            if not found:
                break
            yield Pause(_PAUSE)
        raise failure

    def _begin(self, name: str) -> float:
        with self._lock:
            one = self._tries.get(name) or _Try()
            one.under_way += 1
            self._tries[name] = one
            return _clock.monotonic()

    def _end(self, name: str, login: Login | None) -> None:
        with self._lock:
            one = self._tries.get(name)
            if one is not None:
                one.under_way -= 1
                if login is not None:
                    one.login, one.verified_at = login, _clock.monotonic()

    def _find(self, name: str, began: float) -> Login | bool:
        """Return the login of a try that was under way at that time, or whether there may be one in a moment."""
        with self._lock:
            one = self._tries.get(name)
            if one is None:
                return False
            if one.login is not None:
                return one.login if one.verified_at >= began else False
            return one.under_way > 0
