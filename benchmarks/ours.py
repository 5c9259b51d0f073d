"""This project as a contender: the settings of a user who has followed the README, every rule on."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

from tokens import AUDIENCE, ISSUER, opaque

from moonkey_core import AsyncMoonKey, Auth, CookieSettings, MoonKey
from moonkey_core.settings import Options, Settings
from moonkey_core.web.binding import make_binding
from moonkey_core.web.credentials import pair_text
from moonkey_core.web.request import asgi_headers, wsgi_headers

SECRET = "sk_test_" + "b" * 40
COOKIES: dict[str, Any] = {"cookies": True, "load_user": False}  # settings of an app with browser sessions


def options(base_url: str, **more: Any) -> dict[str, Any]:
    """Settings: local verification with issuer and audience; all else by default."""
    return {"secret_key": SECRET, "base_url": base_url, "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, **more}


def blocking(base_url: str, **more: Any) -> MoonKey:
    """A blocking client."""
    return MoonKey(**options(base_url, **more))


def asynchronous(base_url: str, **more: Any) -> AsyncMoonKey:
    """An asynchronous client."""
    return AsyncMoonKey(**options(base_url, **more))


def has_setting(name: str) -> bool:
    """Whether this version knows a setting."""
    return name in Options.__annotations__ and name in Settings.__dataclass_fields__


def takes_http_client() -> bool:
    """Whether this version accepts an HTTP client from outside."""
    return "http_client" in inspect.signature(MoonKey.__init__).parameters


def cookie_line(jwt: str, base_url: str) -> str:
    """The cookies of a browser: a session token, this JWT, what binds the two, and one of the app's own."""
    settings = Settings.load(options(base_url, **COOKIES), {})
    token, names = opaque(int(hashlib.sha256(jwt.encode()).hexdigest()[:8], 16)), CookieSettings()
    pairs = {
        "theme": "dark",
        names.names[0]: token,
        names.names[1]: jwt,
        names.binding_name: make_binding(pair_text(token, jwt, settings), settings),
    }
    return "; ".join(f"{name}={value}" for name, value in pairs.items())


def pair_environ(line: str) -> dict[str, Any]:
    """The WSGI environ of a request with such cookies in the place of a header."""
    found = environ("")
    del found["HTTP_AUTHORIZATION"]
    return {**found, "HTTP_COOKIE": "".join(line)}


def pair_scope_headers(line: str) -> list[tuple[bytes, bytes]]:
    """The header lines of the same request in an ASGI scope."""
    return [*scope_headers("")[:-1], (b"cookie", line.encode())]


def environ(token: str) -> dict[str, Any]:
    """The WSGI environ of a usual request; the credential is a new string, as it is in every request."""
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/me",
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.1",
        "wsgi.url_scheme": "http",
        "HTTP_HOST": "app.example",
        "HTTP_ACCEPT": "application/json",
        "HTTP_ACCEPT_LANGUAGE": "en",
        "HTTP_ACCEPT_ENCODING": "gzip, br",
        "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
        "HTTP_AUTHORIZATION": f"Bearer {token}",
    }


def scope_headers(token: str) -> list[tuple[bytes, bytes]]:
    """The header lines of an ASGI scope of the same request."""
    return [
        (b"host", b"app.example"),
        (b"accept", b"application/json"),
        (b"accept-language", b"en"),
        (b"accept-encoding", b"gzip, br"),
        (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
        (b"authorization", b"Bearer " + token.encode()),
    ]


def mapping(token: str) -> dict[str, str]:
    """The same request's headers as a plain mapping."""
    return {name.decode(): value.decode() for name, value in scope_headers(token)}


def is_good(auth: Auth | None) -> bool:
    """Whether a request may pass."""
    return auth is not None and auth.is_authenticated


def is_refused(auth: Auth | None) -> bool:
    """Whether its credential is refused, and not for the provider's trouble."""
    return auth is not None and auth.is_rejected


def read(auth: Any) -> bool:
    """Read what a view reads: the user and the session. What is not verified yet has neither."""
    user, session = auth.user, auth.session
    assert user is not None
    assert session is not None
    return bool(user.id and session.id and session.expires_at)


def from_environ(client: MoonKey) -> Callable[[dict[str, Any]], Auth]:
    """From a WSGI environ to an ``Auth``."""
    authenticate = client.authenticate
    return lambda environ: authenticate(wsgi_headers(environ))


def from_scope(client: AsyncMoonKey) -> Callable[[list[tuple[bytes, bytes]]], Any]:
    """From an ASGI scope's headers to an ``Auth``."""
    authenticate = client.authenticate
    return lambda lines: authenticate(asgi_headers(lines))
