"""The cookies that a response sets: the session token, and the session JWT as its cache (RFC 6265).

Beside each JWT stands its binding to the session token, see :mod:`moonkey_core.web.binding`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from moonkey_core import _clock
from moonkey_core.auth import (
    Auth,
    fresh_binding,
    fresh_jwt,
    from_cookies,
    peek_error,
    provider_name,
    scope_of,
    session_facts,
)
from moonkey_core.errors import (
    InvalidCredentials,
    MalformedCredentials,
    MoonKeyError,
    NotSupported,
    ProviderUnavailable,
)
from moonkey_core.models import Login, Session, VerifiedSession
from moonkey_core.settings import Settings
from moonkey_core.settings.cookie_settings import CookieSettings
from moonkey_core.settings.fields import is_on_loopback
from moonkey_core.web.binding import make_binding
from moonkey_core.web.credentials import pair_text
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

    Where there are several providers, those of the others are removed: a browser has one session.

    Args:
        login: The new session.
        settings: The settings of the client, or of the provider that signs in.
        remember_me: Whether the cookies outlive the browser. They also do where the settings give them a lifetime.

    Raises:
        ValueError: The login has no session, or no session token.
        NotSupported: The cookies are set by the provider's script in the browser alone.
    """
    names = _names(settings)
    check_settable(settings, "sign a browser in by cookies")
    if login.session is None or login.session_token is None:
        raise ValueError("This login has no session. Ask for one with session_expires_in.")
    seconds = _seconds_left(login.session, settings)
    keep = seconds if remember_me or names.lifetime is not None else None
    token, jwt = login.session_token, login.session_jwt
    binding = None if jwt is None else make_binding(pair_text(token, jwt, settings), settings)
    beside = () if jwt is None else _jwt_cookies(jwt, binding, keep, settings)
    # Where there is no new JWT, one of another session must not stay beside the new token.
    own = (set_cookie(settings, names.session_name, token, keep), *(beside or _cleared_jwt(settings)))
    return (*own, *_cleared_of(one for one in _every(settings) if one.own_name != settings.own_name))


def cleared_handles(settings: Settings) -> tuple[str, ...]:
    """Return the ``Set-Cookie`` values that remove what was recorded for the client, if there may be any."""
    return tuple(_cleared(name, settings) for name in settings.handle_cookies)


def check_settable(settings: Settings, operation: str) -> None:
    """Check that the session cookies are set here.

    Args:
        settings: The settings.
        operation: What is to be done, for the error.

    Raises:
        NotSupported: They are set by the provider's script in the browser alone.
    """
    if settings.cookies is not None and settings.cookies.is_read_only:
        assert settings.provider is not None  # MoonKey's are always set here
        raise NotSupported(
            provider=settings.provider.name,
            operation=operation,
            why="Its session cookies are set by the provider's own script in the browser, and are only read here. "
            'Do this step with that script, or let the cookies be set here: cookies_by="server".',
        )


def cleared_cookies(settings: Settings) -> tuple[str, ...]:
    """Return the ``Set-Cookie`` values that remove all cookies of a session, of each provider that has some."""
    with_cookies = [one for one in settings.members.values() if one.cookies is not None]
    if with_cookies:
        return _cleared_of(with_cookies)
    return tuple(_cleared(name, settings) for name in (*_names(settings).all_names, *settings.handle_cookies))


def signed_out_cookies(settings: Settings) -> tuple[str, ...]:
    """Return the ``Set-Cookie`` values that sign a browser out: of each provider, as a session of one lies below.

    Args:
        settings: The settings of the client, or of one of its providers.
    """
    return _cleared_of(_every(settings))


def _every(settings: Settings) -> tuple[Settings, ...]:
    return (settings,) if settings.routes is None else tuple(settings.routes.members.values())


def _cleared_of(members: Iterable[Settings]) -> tuple[str, ...]:
    return tuple(cookie for one in members if one.cookies is not None for cookie in cleared_cookies(one))


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
    if settings.routes is not None:
        settings = settings.of_provider(provider_name(auth))
    if not from_cookies(auth) or settings.cookies is None:
        return ()
    if sets_session_cookie(already, settings):
        return ()
    error = peek_error(auth)
    if error is not None:
        return _after_refusal(error, settings)
    fresh = fresh_jwt(auth)
    if fresh is None or settings.cookies.is_read_only or has_ended(auth, revocations):
        return ()  # where it has ended, the browser may hold the cookies of another session by now
    # Whether the user chose to be remembered is not known here. The JWT is only a cache of the token.
    lifetime = settings.cookies.lifetime
    keep = None if lifetime is None else _whole_seconds(lifetime)
    return _jwt_cookies(fresh, fresh_binding(auth), keep, settings)


def has_ended(auth: Auth, revocations: Revocations) -> bool:
    """Return whether the session of a verified identity was revoked while its request was handled."""
    session = session_facts(auth)
    return session is not None and revocations.refuses(*session[:3], scope_of(auth))


def sets_session_cookie(cookies: Iterable[str], settings: Settings) -> bool:
    """Return whether one of these ``Set-Cookie`` values sets or removes a session cookie."""
    names = [name for one in settings.all_cookies for name in one.all_names]
    return any(value.split("=", 1)[0].strip() in names for value in cookies)


def set_cookie(settings: Settings, name: str, value: str, max_age: int | None, *, same_site: str = "") -> str:
    """Return a ``Set-Cookie`` value with the attributes of the settings. ``max_age`` is in seconds.

    Only the cookies of the session have a path; those that scripts in the browser read are not HttpOnly.
    """
    cookies = _names(settings)
    is_of_session = name in cookies.all_names
    parts = [f"{name}={value}", f"Path={cookies.path if is_of_session else '/'}"]
    if max_age is not None:
        parts.append(f"Max-Age={max_age}")
    if cookies.domain is not None and not name.startswith("__Host-"):
        parts.append(f"Domain={cookies.domain}")
    if not cookies.insecure_development:
        parts.append("Secure")
    if not (is_of_session and cookies.is_read_only):
        parts.append("HttpOnly")
    return "; ".join([*parts, f"SameSite={same_site or cookies.same_site}"])


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
    is_mismatch = isinstance(error, ProviderUnavailable) and error.reason == "api_mismatch"
    if is_mismatch and not _names(settings).is_read_only:
        return _cleared_jwt(settings)  # the next request is verified by its token alone
    return ()


def _names(settings: Settings) -> CookieSettings:
    if settings.cookies is None:
        raise ValueError("Cookies are not configured. Set cookies=CookieSettings().")
    return settings.cookies


def _cleared(name: str, settings: Settings) -> str:
    return set_cookie(settings, name, "", 0)


def _cleared_jwt(settings: Settings) -> tuple[str, str]:
    names = _names(settings)
    return _cleared(names.jwt_name, settings), _cleared(names.binding_name, settings)


def _jwt_cookies(jwt: str, binding: str | None, max_age: int | None, settings: Settings) -> tuple[str, ...]:
    """Return the cookies with a JWT and its binding.

    There are none, with a warning the first time, where no browser would keep the JWT.
    """
    names = _names(settings)
    cookie = set_cookie(settings, names.jwt_name, jwt, max_age)
    if len(cookie) <= MAX_COOKIE_BYTES:
        bound = () if binding is None else (set_cookie(settings, names.binding_name, binding, max_age),)
        return (cookie, *bound)
    if "too_long" not in _warned:
        _warned.add("too_long")
        logger.warning(
            "a session JWT is too long for a cookie (%d bytes); the session token is verified each time instead",
            len(cookie),
            extra={"reason": "jwt_cookie_too_long"},
        )
    return ()


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
