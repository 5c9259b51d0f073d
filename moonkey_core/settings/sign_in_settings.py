"""What the ready-made sign-in routes do where an app may choose."""

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
    """What the app's own limiter is asked about: somebody wants a code sent, or tries one.

    ``address`` is the e-mail address or phone number, ``client_address`` that of the browser, where it is known.
    Both are personal data: count by them, and don't log them.
    """

    kind: Literal["send", "try"]
    address: str | None
    client_address: str | None


Limiter = Callable[[Attempt], bool]
"""Whether an attempt may go on. It must not block for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInSettings(KnownArguments):
    """The ready-made sign-in routes.

    Arguments:
        page: where a browser without a session is sent, if not to the mounted sign-in page; a path of this site.
        step_up_page: where one is sent that has to prove more, if not to the mounted page.
        after_sign_in: where a browser goes that came without a ``next``.
        after_sign_out: where it goes afterwards.
        lifetime: of a session.
        remember_me: of a session that is to be remembered.
        max_tries: how often one code may be tried.
        max_sends: how many codes one address is sent within ``send_window``.
        send_window: see there.
        limiter: the app's own say: called with an :class:`Attempt`, returns whether it may go on.

    Raises :class:`~moonkey_core.errors.ConfigurationError` for a wrong value.
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
        for name in ("page", "step_up_page", "after_sign_in", "after_sign_out"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or safe_target(value) != value):
                raise _wrong(f"{name} must be a path of this site, such as /account.")
        for name in ("lifetime", "remember_me", "send_window"):
            value = getattr(self, name)
            if not isinstance(value, timedelta) or value <= timedelta(0):
                raise _wrong(f"{name} must be a timedelta above zero.")
        if self.send_window > _WINDOW:
            raise _wrong("send_window must be a day at most.")
        for name in ("max_tries", "max_sends"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= 100:
                raise _wrong(f"{name} must be a whole number from 1 to 100.")
        if self.limiter is not None and not callable(self.limiter):
            raise _wrong("limiter must be a function of an Attempt.")


def sign_in_settings(value: object) -> SignInSettings:
    """The ``sign_in`` setting: a ``SignInSettings``, or a mapping of its arguments."""
    if isinstance(value, SignInSettings):
        return value
    if isinstance(value, Mapping):
        return SignInSettings(**arguments(value, SignInSettings, "sign_in"))
    raise ValueError("must be a SignInSettings or a dict of its arguments.")


def safe_target(value: str | None, fallback: str = "") -> str:
    """A path of this very site to send a browser to; ``fallback`` for everything else.

    One slash in front, and neither two in a row (``/.//host`` is ``//host`` to whoever resolves its dots) nor
    anything that a browser reads as one or drops (WHATWG URL section 4.4: backslashes, tabs, line ends, control
    characters).
    """
    if not value or len(value) > 2048 or not value.isascii() or not value.isprintable():
        return fallback
    if value[0] != "/" or "//" in value.partition("?")[0] or "\\" in value or " " in value:
        return fallback
    return value


def _wrong(problem: str) -> ConfigurationError:
    return ConfigurationError(f"sign_in: {problem}")
