"""How a browser's cookies are called and set, and which origins may use them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from moonkey_core._spelling import KnownArguments, did_you_mean
from moonkey_core.errors import ConfigurationError

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")  # RFC 6265 section 4.1.1
_DOMAIN = re.compile(r"(?=.{1,253}\Z)(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9\-]{1,63}")
_ATTRIBUTES = frozenset(
    ["path", "domain", "expires", "max-age", "secure", "httponly", "samesite", "partitioned", "version", "comment"]
)
_LONGEST = timedelta(days=400)  # no browser keeps a cookie longer (RFC 6265bis section 5.5)
_SAME_SITE = {"lax": "Lax", "strict": "Strict", "none": "None"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieSettings(KnownArguments):
    """The two cookies of a browser session: the session token, and beside it the session JWT as its cache.

    As they stand, both are Secure, HttpOnly, SameSite=Lax, Path=/ and without a Domain, and their names begin with
    ``__Host-``, which no other site, subdomain or plain http page can set (RFC 6265bis section 4.1.3).

    Arguments:
        session_name: of the cookie with the session token.
        jwt_name: of the cookie with the session JWT.
        same_site: ``"Lax"``, ``"Strict"`` or ``"None"``.
        domain: share the cookies with all hosts below this one; their names then begin with ``__Secure-``.
        lifetime: how long the browser keeps them. Not given: as long as the session may last.
        origin: the app's own public origin, such as ``https://app.example.com``, where its server cannot know it.
        trusted_origins: other origins whose pages may send requests with these cookies.
        insecure_development: plain names without Secure, for http on a developer's machine; refused while the
            settings name a public https API.

    Raises :class:`~moonkey_core.errors.ConfigurationError` for a wrong value or an insecure combination.
    """

    session_name: str = ""
    jwt_name: str = ""
    same_site: Literal["Lax", "Strict", "None"] = "Lax"
    domain: str | None = None
    lifetime: timedelta | None = None
    origin: str | None = None
    trusted_origins: tuple[str, ...] = ()
    insecure_development: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.insecure_development, bool):
            raise _wrong("insecure_development must be True or False.")
        prefix = "" if self.insecure_development else "__Secure-" if self.domain else "__Host-"
        self._set("session_name", _name("session_name", self.session_name or f"{prefix}moonkey_session"))
        self._set("jwt_name", _name("jwt_name", self.jwt_name or f"{prefix}moonkey_jwt"))
        self._set("same_site", _same_site(self.same_site))
        self._set("domain", _domain(self.domain))
        if self.origin is not None:
            self._set("origin", normal_origin(self.origin, "origin"))
        self._set("trusted_origins", _origins(self.trusted_origins))
        lifetime = self.lifetime
        if lifetime is not None and not _is_lifetime(lifetime):
            raise _wrong("lifetime must be a timedelta of a minute to 400 days.")
        self._check_together()

    def _check_together(self) -> None:
        if self.session_name == self.jwt_name:
            raise _wrong("session_name and jwt_name must differ.")
        for name in (self.session_name, self.jwt_name):
            lower = name.lower()  # browsers compare the prefixes without regard to case
            if lower.startswith("__host-") and self.domain is not None:
                raise _wrong(f"{name} may have no domain. Leave the names out, or use __Secure- ones.")
            if lower.startswith(("__host-", "__secure-")) and self.insecure_development:
                raise _wrong(f"browsers refuse {name} without Secure. Leave the names out in development.")
        if self.same_site == "None" and self.insecure_development:
            raise _wrong("browsers refuse SameSite=None without Secure.")

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def names(self) -> tuple[str, str]:
        """Both names: that of the session token, that of the JWT."""
        return self.session_name, self.jwt_name


def cookie_settings(value: object) -> CookieSettings | None:
    """The ``cookies`` setting: a ``CookieSettings``, a mapping of its arguments, or whether to have any."""
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
    """A mapping's entries as arguments, in either case. Raises ``ConfigurationError`` for an unknown one."""
    known = {field.name for field in fields(kind)}
    found: dict[str, Any] = {}
    for name, value in given.items():
        lower = str(name).lower()
        if lower not in known or lower in found:
            mend = did_you_mean(lower, known - found.keys())
            raise ConfigurationError(
                f"{setting}: {str(name)[:60]!r} is unknown or there twice. {mend}{' ' if mend else ''}"
                f"Known are: {', '.join(sorted(known))}."
            )
        found[lower] = value
    return found


def normal_origin(value: object, name: str = "trusted_origins") -> str:
    """An origin in the one spelling that browsers send (RFC 6454 section 6.2). Raises ``ConfigurationError``."""
    found = origin_of(value) if isinstance(value, str) else None
    if found is None:
        raise _wrong(f"{name} must hold origins such as https://app.example.com: scheme, host, port if any.")
    return found


def origin_of(value: str) -> str | None:
    """The origin that a text spells, in its usual form; ``None`` where it spells none."""
    if not 8 <= len(value) <= 300 or not value.isascii() or not value.isprintable() or " " in value:
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
        raise _wrong("trusted_origins must be a list of origins such as https://app.example.com.")
    return tuple(normal_origin(one) for one in value)


def _is_lifetime(value: object) -> bool:
    return isinstance(value, timedelta) and timedelta(minutes=1) <= value <= _LONGEST


def _name(which: str, value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value) or value.lower() in _ATTRIBUTES or value[0] == "$":
        raise _wrong(f"{which} must be a cookie name (letters, digits, - and _), and no attribute's.")
    return value


def _same_site(value: object) -> str:
    found = _SAME_SITE.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise _wrong('same_site must be "Lax", "Strict" or "None".')
    return found


def _domain(value: object) -> str | None:
    if value is None:
        return None
    text = value.removeprefix(".") if isinstance(value, str) else ""
    if not _DOMAIN.fullmatch(text):
        raise _wrong("domain must be a host name such as example.com.")
    return text.lower()


def _wrong(problem: str) -> ConfigurationError:
    return ConfigurationError(f"cookies: {problem}")
