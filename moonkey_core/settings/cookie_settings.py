"""Settings of a browser's session cookies: their names, attributes, and the origins that may use them."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import field, fields
from datetime import timedelta
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import urlsplit

from moonkey_core._dataclass import dataclass
from moonkey_core._provider import CookieDefaults
from moonkey_core._spelling import KnownArguments, did_you_mean
from moonkey_core.errors import ConfigurationError

_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}"  # RFC 6265 section 4.1.1
_PATH = r"/[!-:<-~]{0,255}"  # RFC 6265 section 4.1.1: no control character, no semicolon
_DOMAIN = r"(?=.{1,253}\Z)(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9\-]{1,63}"
_ATTRIBUTES = frozenset(
    ["path", "domain", "expires", "max-age", "secure", "httponly", "samesite", "partitioned", "version", "comment"]
)
_LONGEST = timedelta(days=400)  # no browser keeps a cookie longer (RFC 6265bis section 5.5)
_SAME_SITE = {"lax": "Lax", "strict": "Strict", "none": "None"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieSettings(KnownArguments):
    """The cookies of a browser session: the session token, and beside it the session JWT as its cache.

    A third one, :attr:`binding_name`, proves that the other two belong together. By default all are Secure,
    HttpOnly, SameSite=Lax, Path=/ and without a Domain, and their names begin with ``__Host-``, which no other
    site, subdomain or plain http page can set (RFC 6265bis section 4.1.3). A provider may have other names.

    Args:
        session_name: Name of the cookie with the session token.
        jwt_name: Name of the cookie with the session JWT.
        same_site: ``"Lax"``, ``"Strict"`` or ``"None"``.
        domain: Share the cookies with all hosts below this one; their names then begin with ``__Secure-``.
        path: The part of the site that gets the cookies. Below another one than ``/`` the names also begin with
            ``__Secure-``.
        lifetime: How long the browser keeps them. If not given, as long as the session may last.
        origin: The app's own public origin, such as ``https://app.example.com``, where its server cannot know it.
        trusted_origins: Other origins whose pages may send requests with these cookies.
        insecure_development: Plain names without Secure, for http on a developer's machine; refused while the
            settings name a public https API.

    Attributes:
        set_by: Who sets the cookies. Those of ``"browser"``, which a provider's own script there sets and renews,
            are only read, and removed with the session: they are not HttpOnly, and nothing binds them together.

    Raises:
        ConfigurationError: A value is wrong, or the combination is insecure.
    """

    session_name: str = ""
    jwt_name: str = ""
    same_site: Literal["Lax", "Strict", "None"] = "Lax"
    domain: str | None = None
    path: str = "/"
    lifetime: timedelta | None = None
    origin: str | None = None
    trusted_origins: tuple[str, ...] = ()
    insecure_development: bool = False
    set_by: Literal["server", "browser"] = field(default="server", init=False)
    _named: tuple[str, ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check and normalize all values."""
        if not isinstance(self.insecure_development, bool):
            raise _error("insecure_development must be True or False.")
        self._set("_named", tuple(name for name in ("session_name", "jwt_name") if getattr(self, name)))
        self._set("path", _path(self.path))
        is_shared = bool(self.domain) or self.path != "/"
        prefix = "" if self.insecure_development else "__Secure-" if is_shared else "__Host-"
        self._set("session_name", _name("session_name", self.session_name or f"{prefix}moonkey_session"))
        self._set("jwt_name", _name("jwt_name", self.jwt_name or f"{prefix}moonkey_jwt"))
        self._set("same_site", _same_site(self.same_site))
        self._set("domain", _domain(self.domain))
        if self.origin is not None:
            self._set("origin", normalize_origin(self.origin, "origin"))
        self._set("trusted_origins", _origins(self.trusted_origins))
        lifetime = self.lifetime
        if lifetime is not None and not _is_lifetime(lifetime):
            raise _error("lifetime must be a timedelta of a minute to 400 days.")
        self._check_together()

    def _check_together(self) -> None:
        if self.session_name == self.jwt_name:
            raise _error("session_name and jwt_name must differ.")
        if self.session_name == self.binding_name:
            raise _error(f"session_name must not be {self.binding_name}, which is set beside jwt_name.")
        for name in (self.session_name, self.jwt_name):
            lower = name.lower()  # browsers compare the prefixes without regard to case
            if lower.startswith("__host-") and self.domain is not None:
                raise _error(f"{name} may have no domain. Leave the names out, or use __Secure- ones.")
            if lower.startswith("__host-") and self.path != "/":
                raise _error(f"browsers refuse {name} with another path than /. Give the cookies other names.")
            if lower.startswith(("__host-", "__secure-")) and self.insecure_development:
                raise _error(f"browsers refuse {name} without Secure. Leave the names out in development.")
        if self.same_site == "None" and self.insecure_development:
            raise _error("browsers refuse SameSite=None without Secure.")

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def of_provider(self, defaults: CookieDefaults) -> CookieSettings:
        """Return the settings of a provider's cookies: with its names, unless others were given.

        Raises:
            ConfigurationError: One of the names is that of a cookie that holds no session, or a setting has no
                effect on cookies that the browser's script sets.
        """
        found = copy.copy(self)
        for name in ("session_name", "jwt_name"):
            if name not in self._named:
                found._set(name, getattr(defaults, name))
        found._set("set_by", defaults.set_by)
        if found.is_read_only and found.lifetime is not None:
            raise _error("lifetime has no effect: a script in the browser sets these cookies. Leave it out.")
        for name in found.names:
            if name in defaults.no_sessions:
                raise _error(f"{name} holds no session. Leave the names out, or name the cookies of the session.")
        found._check_together()
        return found

    @property
    def is_read_only(self) -> bool:
        """Whether the cookies belong to a script in the browser, and are set by that alone."""
        return self.set_by == "browser"

    @property
    def names(self) -> tuple[str, str]:
        """The names of both credentials: that of the session token, that of the JWT."""
        return self.session_name, self.jwt_name

    @property
    def binding_name(self) -> str:
        """The name of the cookie that binds the JWT to the session token: it begins with that of the JWT."""
        return f"{self.jwt_name}_binding"

    @property
    def mfa_name(self) -> str:
        """The name of the cookie with the handle of a second factor.

        ``__Host-`` keeps other hosts of the domain from setting one. Source: RFC 6265bis section 4.1.3.2.
        """
        return f"{'' if self.insecure_development else '__Host-'}moonkey_mfa"

    @property
    def start_name(self) -> str:
        """The name of the cookie with the handle of a start of a session."""
        return f"{'' if self.insecure_development else '__Host-'}moonkey_start"

    @property
    def all_names(self) -> tuple[str, ...]:
        """The names of all cookies that are set and removed together."""
        return self.names if self.is_read_only else (*self.names, self.binding_name)


def cookie_settings(value: object) -> CookieSettings | None:
    """Parse the ``cookies`` setting.

    Args:
        value: A ``CookieSettings``, a mapping of its arguments, or whether to have cookies at all.

    Raises:
        ValueError: The value is of another type.
        ConfigurationError: An argument is unknown or wrong.
    """
    if isinstance(value, CookieSettings) or value is None:
        return value
    if isinstance(value, Mapping):
        return CookieSettings(**arguments(value, CookieSettings, "cookies"))
    word = value.strip().lower() if isinstance(value, str) else value
    if word in (True, "1", "true", "yes", "on"):
        return CookieSettings()
    if word in (False, "0", "false", "no", "off"):
        return None
    raise ValueError("must be a CookieSettings, a dict of its arguments, or true or false.")


def arguments(given: Mapping[Any, Any], kind: Any, setting: str) -> dict[str, Any]:
    """Turn a mapping into keyword arguments of a dataclass; its keys may be in upper case.

    Raises:
        ConfigurationError: A key is unknown, or there twice.
    """
    known = {one.name for one in fields(kind) if one.init}
    found: dict[str, Any] = {}
    for name, value in given.items():
        lower = str(name).lower()
        if lower not in known or lower in found:
            advice = did_you_mean(lower, known - found.keys())
            raise ConfigurationError(
                f"{setting}: {str(name)[:60]!r} is unknown or there twice. {advice}{' ' if advice else ''}"
                f"Known are: {', '.join(sorted(known))}."
            )
        found[lower] = value
    return found


def normalize_origin(value: object, name: str = "trusted_origins") -> str:
    """Return an origin in the one spelling that browsers send (RFC 6454 section 6.2).

    Raises:
        ConfigurationError: The value is no origin.
    """
    found = parse_origin(value) if isinstance(value, str) else None
    if found is None:
        raise _error(f"{name} must hold origins such as https://app.example.com: scheme, host, port if any.")
    return found


def parse_origin(value: str) -> str | None:
    """Return the origin that a text spells, in its normal form; ``None`` where the text is no origin."""
    return _parsed_origin(value) if 8 <= len(value) <= 300 else None


@lru_cache(256)  # requests name the same few again and again; a stranger can put others there, none of them longer
def _parsed_origin(value: str) -> str | None:
    if not value.isascii() or not value.isprintable() or " " in value:
        return None
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or "\\" in value or "," in value:
        return None
    if parts.path not in ("", "/") or "?" in value or "#" in value or "*" in host:
        return None
    if ":" in host:
        host = f"[{host}]"
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + ("" if port in (None, usual) else f":{port}")


def _origins(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset):
        raise _error("trusted_origins must be a list of origins such as https://app.example.com.")
    return tuple(normalize_origin(one) for one in value)


def _is_lifetime(value: object) -> bool:
    return isinstance(value, timedelta) and timedelta(minutes=1) <= value <= _LONGEST


def _name(which: str, value: object) -> str:
    if (
        not isinstance(value, str)
        or not re.fullmatch(_NAME, value)
        or value.lower() in _ATTRIBUTES
        or value[0] == "$"
    ):
        raise _error(f"{which} must be a cookie name (letters, digits, - and _), and no attribute's.")
    return value


def _same_site(value: object) -> str:
    found = _SAME_SITE.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise _error('same_site must be "Lax", "Strict" or "None".')
    return found


def _path(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(_PATH, value):
        raise _error("path must be a path of this site, such as /app.")
    return value


def _domain(value: object) -> str | None:
    if value is None:
        return None
    text = value.removeprefix(".") if isinstance(value, str) else ""
    if not re.fullmatch(_DOMAIN, text):
        raise _error("domain must be a host name such as example.com.")
    return text.lower()


def _error(problem: str) -> ConfigurationError:
    return ConfigurationError(f"cookies: {problem}")
