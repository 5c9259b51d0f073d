"""Settings of the ready-made sign-in routes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from moonkey_core._spelling import KnownArguments
from moonkey_core.errors import ConfigurationError
from moonkey_core.settings.cookie_settings import arguments

_WINDOW = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that the app's own limiter may refuse: a code is requested, or tried.

    Both addresses are personal data: count by them, and do not log them.

    Attributes:
        kind: ``send`` where a code is requested, ``try`` where one is tried.
        address: The e-mail address or phone number.
        client_address: The IP address of the browser, where it is known.
    """

    kind: Literal["send", "try"]
    address: str | None
    client_address: str | None


Limiter = Callable[[Attempt], bool]
"""Returns whether an attempt may go on. It must not block for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInSettings(KnownArguments):
    """The ready-made sign-in routes.

    Args:
        page: Where a browser without a session is sent, if not to the mounted sign-in page; a path of this site.
        step_up_page: Where a browser is sent to step up, if not to the mounted page.
        after_sign_in: Where a browser goes after sign-in if the request had no ``next``.
        after_sign_out: Where a browser goes after sign-out.
        lifetime: Lifetime of a session.
        remember_me: Lifetime of a session that is to be remembered.
        max_tries: How often one code may be tried.
        max_sends: How many codes may be sent to one address within ``send_window``.
        send_window: The time within which ``max_sends`` counts; a day at most.
        limiter: The app's own limiter: called with an :class:`Attempt`, returns whether it may go on.

    Raises:
        ConfigurationError: A value is wrong.
    """

    page: str | None = None
    step_up_page: str | None = None
    after_sign_in: str = "/"
    after_sign_out: str = "/"
    lifetime: timedelta = timedelta(days=7)
    remember_me: timedelta = timedelta(days=30)
    max_tries: int = 5
    max_sends: int = 5
    send_window: timedelta = timedelta(minutes=15)
    limiter: Limiter | None = None

    def __post_init__(self) -> None:
        """Check all values."""
        for name in ("page", "step_up_page", "after_sign_in", "after_sign_out"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or safe_target(value) != value):
                raise _error(f"{name} must be a path of this site, such as /account.")
        for name in ("lifetime", "remember_me", "send_window"):
            value = getattr(self, name)
            if not isinstance(value, timedelta) or value <= timedelta(0):
                raise _error(f"{name} must be a timedelta above zero.")
        if self.send_window > _WINDOW:
            raise _error("send_window must be a day at most.")
        for name in ("max_tries", "max_sends"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= 100:
                raise _error(f"{name} must be a whole number from 1 to 100.")
        if self.limiter is not None and not callable(self.limiter):
            raise _error("limiter must be a function of an Attempt.")


def sign_in_settings(value: object) -> SignInSettings:
    """Parse the ``sign_in`` setting: a ``SignInSettings``, or a mapping of its arguments.

    Raises:
        ValueError: The value is of another type.
        ConfigurationError: An argument is unknown or wrong.
    """
    if isinstance(value, SignInSettings):
        return value
    if isinstance(value, Mapping):
        return SignInSettings(**arguments(value, SignInSettings, "sign_in"))
    raise ValueError("must be a SignInSettings or a dict of its arguments.")


def safe_target(value: str | None, fallback: str = "") -> str:
    """Return ``value`` if it is a path of this site that a browser may be redirected to, else ``fallback``.

    Such a path begins with one slash. It has neither two in a row (a browser that resolves its dots reads
    ``/.//host`` as ``//host``) nor any character that a browser reads as a slash or drops (WHATWG URL section 4.4:
    backslashes, tabs, line ends, control characters).
    """
    if not value or len(value) > 2048 or not value.isascii() or not value.isprintable():
        return fallback
    if value[0] != "/" or "//" in value.partition("?")[0] or "\\" in value or " " in value:
        return fallback
    return value


def _error(problem: str) -> ConfigurationError:
    return ConfigurationError(f"sign_in: {problem}")
