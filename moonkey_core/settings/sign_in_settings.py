"""Settings of the ready-made sign-in routes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Literal

from moonkey_core._dataclass import dataclass
from moonkey_core._spelling import KnownArguments
from moonkey_core.errors import ConfigurationError
from moonkey_core.settings.cookie_settings import arguments

_WINDOW = timedelta(days=1)
_METHODS = ("email", "phone_number")
_MOST = 10_000  # attempts that are counted together
_LONGEST_NAME = 200  # characters
_LANGUAGE = r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,8}"  # RFC 5646 section 2.1
_COOKIE_NAME = r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,64}"  # RFC 6265 section 4.1.1


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


_OF_PAGES = frozenset(
    {"page", "step_up_page", "after_sign_out", "clear_storage"}
    | {"site_name", "home", "translate", "language", "time_zone_cookie"}
)
"""What has an effect without sign-in steps, too: browsers are sent there, or the other pages have it."""

Limiter = Callable[[Attempt], bool]
"""Returns whether an attempt may go on. It must not block for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInSettings(KnownArguments):
    """The ready-made sign-in routes.

    Args:
        methods: The kinds of address that a code for sign-in is sent to: ``"email"``, ``"phone_number"`` or both.
            Text messages cost money, so a phone number has to be named.
        sign_up: Whether a user whose address is not known yet gets an account.
        page: Where a browser without a session is sent, if not to the mounted sign-in page; a path of this site.
        step_up_page: Where a browser is sent to step up, if not to the mounted page.
        after_sign_in: Where a browser goes after sign-in if the request had no ``next``.
        after_sign_out: Where a browser goes after sign-out.
        lifetime: Lifetime of a session.
        remember_me: Lifetime of a session that is to be remembered.
        max_tries: How often one code may be tried.
        max_sends: How many codes may be sent to one address within ``send_window``.
        max_sends_per_client: How many codes may be requested from one client address within ``send_window``;
            ``None`` for no limit.
        max_tries_per_client: How often codes may be tried from one client address within ``send_window``; ``None``
            for no limit.
        send_window: The time within which these count; a day at most.
        max_sms: How many text messages the whole app may send within ``sms_window``.
        sms_window: The time within which ``max_sms`` counts; a day at most.
        clear_storage: Whether a sign-out also tells the browser to clear the site's storage, such as IndexedDB
            (``Clear-Site-Data: "storage"``), that of all apps on the same origin.
        limiter: The app's own limiter: called with an :class:`Attempt`, returns whether it may go on.
        bound_links: Whether a magic link works only in the browser that it was requested in, with the state of
            ``client.flows.magic_link_state``.
        site_name: Name of the site, for the titles of the pages.
        home: Where "Back to the site" on the pages leads; a path of this site.
        translate: Translates the texts of the pages: called with an English text, returns it in the language of
            the reader, such as ``gettext``.
        language: Language of the translated texts (BCP 47), or a function that returns it.
        time_zone_cookie: Name of the app's own cookie with the reader's time zone, such as ``Europe/Berlin``.
            Times are shown in that zone then, else in UTC.

    Raises:
        ConfigurationError: A value is wrong.
    """

    methods: tuple[str, ...] = ("email",)
    sign_up: bool = True
    page: str | None = None
    step_up_page: str | None = None
    after_sign_in: str = "/"
    after_sign_out: str = "/"
    lifetime: timedelta = timedelta(days=7)
    remember_me: timedelta = timedelta(days=30)
    max_tries: int = 5
    max_sends: int = 5
    max_sends_per_client: int | None = 30
    max_tries_per_client: int | None = 100
    send_window: timedelta = timedelta(minutes=15)
    max_sms: int = 100
    sms_window: timedelta = timedelta(hours=1)
    clear_storage: bool = False
    limiter: Limiter | None = None
    bound_links: bool = False
    site_name: str = ""
    home: str = "/"
    translate: Callable[[str], str] | None = None
    language: str | Callable[[], str] = "en"
    time_zone_cookie: str | None = None

    def about_sign_in_steps(self) -> tuple[str, ...]:
        """Return the names of the values that are set and are about sign-in steps, and not about pages."""
        return tuple(
            field.name
            for field in dataclasses.fields(self)
            if field.name not in _OF_PAGES and getattr(self, field.name) != field.default
        )

    def __post_init__(self) -> None:
        """Check all values."""
        for name in ("page", "step_up_page", "after_sign_in", "after_sign_out", "home"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or safe_target(value) != value):
                raise _error(f"{name} must be a path of this site, such as /account.")
        object.__setattr__(self, "methods", _methods(self.methods))
        if not isinstance(self.sign_up, bool):
            raise _error("sign_up must be True or False.")
        for name in ("lifetime", "remember_me", "send_window", "sms_window"):
            value = getattr(self, name)
            if not isinstance(value, timedelta) or value <= timedelta(0):
                raise _error(f"{name} must be a timedelta above zero.")
        for name in ("send_window", "sms_window"):
            if getattr(self, name) > _WINDOW:
                raise _error(f"{name} must be a day at most.")
        for name in ("max_tries", "max_sends"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= 100:
                raise _error(f"{name} must be a whole number from 1 to 100.")
        for name, value in (
            ("max_sends_per_client", self.max_sends_per_client),
            ("max_tries_per_client", self.max_tries_per_client),
            ("max_sms", self.max_sms),
        ):
            is_off = value is None and name != "max_sms"
            if not is_off and (type(value) is not int or not 1 <= value <= _MOST):
                raise _error(f"{name} must be a whole number from 1 to {_MOST}.")
        if not isinstance(self.clear_storage, bool):
            raise _error("clear_storage must be True or False.")
        if self.limiter is not None and not callable(self.limiter):
            raise _error("limiter must be a function of an Attempt.")
        self._check_pages()

    def _check_pages(self) -> None:
        given: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        if not isinstance(given["bound_links"], bool):
            raise _error("bound_links must be True or False.")
        if not isinstance(given["site_name"], str) or len(self.site_name) > _LONGEST_NAME:
            raise _error(f"site_name must be a text of at most {_LONGEST_NAME} characters.")
        if given["translate"] is not None and not callable(given["translate"]):
            raise _error("translate must be a function that is given a text and returns its translation.")
        if not callable(self.language) and not _is_language(self.language):
            raise _error('language must be a language tag, such as "de", or a function that returns one.')
        cookie = given["time_zone_cookie"]
        if cookie is not None and (not isinstance(cookie, str) or not re.fullmatch(_COOKIE_NAME, cookie)):
            raise _error("time_zone_cookie must be the name of a cookie.")

    @property
    def page_language(self) -> str:
        """The language of a page that is made now; ``en`` where the app's function does not return one."""
        try:
            found = self.language() if callable(self.language) else self.language
        except Exception:
            found = "en"
        return found if _is_language(found) else "en"


def sign_in_settings(value: object) -> SignInSettings:
    """Parse the ``sign_in`` setting.

    Args:
        value: A ``SignInSettings``, a mapping of its arguments, or the path of the app's own sign-in page alone,
            as an environment variable can hold it.

    Raises:
        ValueError: The value is of another type.
        ConfigurationError: An argument is unknown or wrong.
    """
    if isinstance(value, SignInSettings):
        return value
    if isinstance(value, Mapping):
        return SignInSettings(**arguments(value, SignInSettings, "sign_in"))
    if isinstance(value, str):
        return SignInSettings(page=value.strip())
    raise ValueError("must be a SignInSettings, a dict of its arguments, or the path of the app's own page.")


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


def _methods(value: object) -> tuple[str, ...]:
    given = value.replace(",", " ").split() if isinstance(value, str) else value
    named = list(given) if isinstance(given, list | tuple | set | frozenset) else []
    if not named or any(one not in _METHODS for one in named):
        raise _error(f"methods must name one or both of {' and '.join(_METHODS)}.")
    return tuple(one for one in _METHODS if one in named)


def _is_language(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(_LANGUAGE, value) is not None


def _error(problem: str) -> ConfigurationError:
    return ConfigurationError(f"sign_in: {problem}")
