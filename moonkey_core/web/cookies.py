"""The cookies that a response sets: the session token, and the session JWT as its cache (RFC 6265)."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from moonkey_core import _clock
from moonkey_core.auth import Auth, fresh_jwt, from_cookies, peek_error, peek_identity
from moonkey_core.errors import InvalidCredentials, MalformedCredentials, MoonKeyError, ProviderUnavailable
from moonkey_core.models import Login, Session, VerifiedSession
from moonkey_core.settings import Settings
from moonkey_core.settings.cookie_settings import CookieSettings
from moonkey_core.settings.fields import is_on_loopback
from moonkey_core.web.origin import own_origin, own_scheme
from moonkey_core.web.request import HeaderView, RequestInfo

if TYPE_CHECKING:
    from moonkey_core.revocations import Revocations

logger: logging.Logger = logging.getLogger("moonkey")

MAX_COOKIE_BYTES = 4096  # the least that every browser keeps (RFC 6265 section 6.1)
_LONGEST = timedelta(days=400)

_warned: set[str] = set()


def session_cookies(
    login: Login | VerifiedSession, settings: Settings, *, remember_me: bool = False
) -> tuple[str, ...]:
    """Return the ``Set-Cookie`` values that sign a browser in. Never log them.

    Args:
        login: The new session.
        settings: The settings.
        remember_me: Whether the cookies outlive the browser. They also do where the settings give them a lifetime.

    Raises:
        ValueError: The login has no session, or no session token.
    """
    names = _names(settings)
    if login.session is None or login.session_token is None:
        raise ValueError("This login has no session. Ask for one with session_expires_in.")
    seconds = _seconds_left(login.session, settings)
    keep = seconds if remember_me or names.lifetime is not None else None
    jwt = None if login.session_jwt is None else _jwt_cookie(login.session_jwt, keep, settings)
    # Where there is no new JWT, one of another session must not stay beside the new token.
    return (
        set_cookie(settings, names.session_name, login.session_token, keep),
        jwt or _cleared(names.jwt_name, settings),
    )


def cleared_cookies(settings: Settings) -> tuple[str, ...]:
    """Return the ``Set-Cookie`` values that remove both cookies."""
    return tuple(_cleared(name, settings) for name in _names(settings).names)


def response_cookies(
    auth: Auth, settings: Settings, revocations: Revocations, already: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return the ``Set-Cookie`` values for the response to a request with this identity. Never log them.

    A refreshed JWT is set, unless its session was revoked meanwhile. Where the session is certainly over, its
    cookies are removed.

    Args:
        auth: The identity of the request.
        settings: The settings.
        revocations: The revocations of this process.
        already: The ``Set-Cookie`` values of the response. Where one of them sets a session cookie, it stays.
    """
    if not from_cookies(auth) or settings.cookies is None:
        return ()
    names = settings.cookies.names
    if any(value.split("=", 1)[0].strip() in names for value in already):
        return ()
    error = peek_error(auth)
    if error is not None:
        return _after_refusal(error, settings)
    fresh = fresh_jwt(auth)
    verified = peek_identity(auth) if fresh is not None else None
    if fresh is None or verified is None:
        return ()
    user, session = verified
    started = None if session.started_at is None else session.started_at.timestamp()
    if revocations.refuses(session.id, user.id, started):
        return ()  # the browser may hold the cookies of another session by now
    # Whether the user chose to be remembered is not known here. The JWT is only a cache of the token.
    lifetime = settings.cookies.lifetime
    cookie = _jwt_cookie(fresh, None if lifetime is None else _whole_seconds(lifetime), settings)
    return () if cookie is None else (cookie,)


def set_cookie(settings: Settings, name: str, value: str, max_age: int | None, *, same_site: str = "") -> str:
    """Return a ``Set-Cookie`` value with the attributes of the settings. ``max_age`` is in seconds."""
    cookies = _names(settings)
    parts = [f"{name}={value}", "Path=/"]
    if max_age is not None:
        parts.append(f"Max-Age={max_age}")
    if cookies.domain is not None and not name.startswith("__Host-"):
        parts.append(f"Domain={cookies.domain}")
    if not cookies.insecure_development:
        parts.append("Secure")
    return "; ".join([*parts, "HttpOnly", f"SameSite={same_site or cookies.same_site}"])


def warn_about_plain_http(
    cookies: Iterable[str], info: RequestInfo, headers: HeaderView, settings: Settings
) -> None:
    """Log a warning, once, where Secure cookies are set on plain http: most browsers would not keep them.

    Settings, a trusted proxy or the ``Origin`` header may prove that the request came by https.
    """
    if "plain_http" in _warned or not any("; Secure" in one and "; Max-Age=0;" not in one for one in cookies):
        return
    origin = own_origin(info, headers, settings)
    if own_scheme(info, headers, settings) != "http" or any(one.startswith("https:") for one in headers("origin")):
        return
    _warned.add("plain_http")
    # Chrome and Firefox treat loopback as secure; Safari does not.
    dropped_by = "some" if origin is not None and is_on_loopback(origin) else "most"
    logger.warning(
        "a Secure cookie was set on plain http (this site is %s): %s browsers will not keep it. In development "
        "set insecure_development=True in the cookie settings; behind a proxy that ends TLS, set trusted_proxies, "
        "or origin in the cookie settings",
        origin or "not known by its Host header",
        dropped_by,
        extra={"reason": "secure_cookie_on_http"},
    )


def _after_refusal(error: MoonKeyError, settings: Settings) -> tuple[str, ...]:
    if isinstance(error, InvalidCredentials) and error.session_is_over:
        return cleared_cookies(settings)  # only then: a removed cookie does not come back
    if isinstance(error, MalformedCredentials) and error.reason == "malformed_cookie":
        return cleared_cookies(settings)
    if isinstance(error, ProviderUnavailable) and error.reason == "api_mismatch":
        return (_cleared(_names(settings).jwt_name, settings),)  # the next request is verified by its token alone
    return ()


def _names(settings: Settings) -> CookieSettings:
    if settings.cookies is None:
        raise ValueError("Cookies are not configured. Set cookies=CookieSettings().")
    return settings.cookies


def _cleared(name: str, settings: Settings) -> str:
    return set_cookie(settings, name, "", 0)


def _jwt_cookie(jwt: str, max_age: int | None, settings: Settings) -> str | None:
    """Return the cookie with a JWT; ``None``, with a warning the first time, where no browser would keep it."""
    cookie = set_cookie(settings, _names(settings).jwt_name, jwt, max_age)
    if len(cookie) <= MAX_COOKIE_BYTES:
        return cookie
    if "too_long" not in _warned:
        _warned.add("too_long")
        logger.warning(
            "a session JWT is too long for a cookie (%d bytes); the session token is verified each time instead",
            len(cookie),
            extra={"reason": "jwt_cookie_too_long"},
        )
    return None


def _seconds_left(session: Session, settings: Settings) -> int:
    """Return how long the browser is to keep the cookies, in seconds."""
    cookies = _names(settings)
    if cookies.lifetime is not None:
        left = cookies.lifetime
    else:
        now = _clock.now()
        ends = session.expires_at
        if settings.extend_on_activity is not None:
            ends = max(ends, (session.started_at or now) + settings.session_max_lifetime)
        left = ends - now
    return _whole_seconds(min(left, _LONGEST))


def _whole_seconds(duration: timedelta) -> int:
    return max(math.ceil(duration.total_seconds()), 0)
