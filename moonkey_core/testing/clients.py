"""Test clients of each framework, which carry a credential as a browser or a program does.

A framework is imported where its app is given, and never before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Literal
from urllib.parse import urlsplit

from moonkey_core.testing.apps import framework_of

Begin = Callable[[], None]
Kind = Literal["flask", "django", "django-async", "drf", "starlette", "httpx"]
"""``starlette`` is its ``TestClient``, which has WebSockets too; ``httpx`` is an ``httpx.AsyncClient``."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_WEB = {"ws": "http", "wss": "https"}
KINDS: Mapping[str, tuple[Kind, ...]] = {
    "flask": ("flask",),
    "django": ("django", "django-async", "drf"),
    "asgi": ("starlette", "httpx"),
}
_OTHER_WORDS = {
    "async": {"django": "django-async", "asgi": "httpx"},
    "sync": {"django": "django", "asgi": "starlette"},
}


def kind_for(app: Any, word: str | None) -> Kind:
    """Return the kind of client for an app.

    Args:
        app: The app; ``None`` is the Django project of this process.
        word: A kind, or ``"sync"`` or ``"async"``; by default the first one of the framework.

    Raises:
        ValueError: The framework has no such client.
    """
    framework = framework_of(app)
    wanted = KINDS[framework][0] if word is None else _OTHER_WORDS.get(word, {}).get(framework, word)
    for kind in KINDS[framework]:
        if kind == wanted:
            return kind
    known = ", ".join(map(repr, KINDS[framework]))
    raise ValueError(f"client={word!r} is none for an app of this framework. It has: {known}")


def new_client(
    kind: Kind, app: Any, base_url: str, headers: Mapping[str, str], cookies: Mapping[str, str], begin: Begin
) -> Any:
    """Return a client of an app.

    Args:
        kind: The kind of client.
        app: The app; ``None`` is the Django project of this process.
        base_url: The origin of the app, such as ``https://testserver``.
        headers: Headers of every request.
        cookies: The cookies that the browser holds.
        begin: What is called before each request. It raises where the client's test is over.
    """
    return _MAKERS[kind](app, base_url, headers, cookies, begin)


def checked_origin(url: str) -> str:
    """Return an origin as it was given.

    Raises:
        ValueError: It is none: it has to be a scheme, a host and perhaps a port (RFC 6454 section 6.1).
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or url != _origin(url):
        raise ValueError(f"base_url={url!r} is no origin. Write it like https://app.example.com, without a path.")
    return url


def browser_headers(method: str, url: str, origin: str) -> dict[str, str]:
    """Return what a browser adds to a request of a page of the app itself (Fetch Metadata, RFC 6454 section 7).

    Args:
        method: The method.
        url: The address, from which a WebSocket is told.
        origin: The origin of the page.
    """
    scheme = urlsplit(url).scheme
    if scheme in _WEB:
        return {"Origin": origin}
    found = {"Sec-Fetch-Site": "same-origin"}
    return found if method.upper() in _SAFE else {**found, "Origin": origin}


def _flask(app: Any, base_url: str, headers: Mapping[str, str], cookies: Mapping[str, str], begin: Begin) -> Any:
    plain = app.test_client_class or import_module("flask.testing").FlaskClient

    class Visitor(plain):  # type: ignore[misc, valid-type]
        def open(self, *args: Any, **kwargs: Any) -> Any:
            begin()
            if args and not isinstance(args[0], str):  # a builder, as where a redirect is followed
                return super().open(*args, **kwargs)
            kwargs.setdefault("base_url", base_url)
            given = import_module("werkzeug.datastructures").Headers(kwargs.pop("headers", None) or {})
            method = str(kwargs.get("method", "GET"))
            browser = browser_headers(method, base_url, _origin(base_url)) if cookies else {}
            for name, value in {**headers, **browser}.items():
                if name not in given:
                    given.set(name, value)
            return super().open(*args, headers=given, **kwargs)

    client = Visitor(app, app.response_class, use_cookies=True)
    for name, value in cookies.items():
        client.set_cookie(name, value, domain=urlsplit(base_url).hostname or "localhost")
    return client


def _django(kind: str) -> Any:
    def make(app: Any, base_url: str, headers: Mapping[str, str], cookies: Mapping[str, str], begin: Begin) -> Any:
        module = import_module("rest_framework.test" if kind == "APIClient" else "django.test")
        plain = getattr(module, kind)
        to_names = import_module("django.http.request").HttpHeaders
        named = to_names.to_asgi_names if kind == "AsyncClient" else to_names.to_wsgi_names
        is_secure = base_url.startswith("https:")
        parts = urlsplit(base_url)
        allowed = import_module("django.conf").settings.ALLOWED_HOSTS
        is_named = import_module("django.http.request").validate_host(parts.hostname, allowed)
        host = {"Host": parts.netloc} if is_named and parts.hostname != "testserver" else {}

        class Visitor(plain):  # type: ignore[misc, valid-type]
            def generic(self, method: str, path: Any, *args: Any, **kwargs: Any) -> Any:
                begin()
                if len(args) < 3:
                    kwargs["secure"] = kwargs.get("secure", False) or is_secure
                given = {name.lower() for name in kwargs.get("headers") or {}}
                browser = browser_headers(method, base_url, _origin(base_url)) if cookies else {}
                own = {
                    name: value
                    for name, value in {**headers, **host, **browser}.items()
                    if name.lower() not in given
                }
                for name, value in named(own).items():
                    kwargs.setdefault(name, value)
                return super().generic(method, path, *args, **kwargs)

            def request(self, **request: Any) -> Any:
                given = request.get("headers", ())  # of ASGI: Django has put its own `Host` before others
                hosts = [one for one in given if one[0] == b"host"]
                if len(hosts) > 1:
                    request["headers"] = [*(one for one in given if one[0] != b"host"), hosts[-1]]
                return super().request(**request)

        client = Visitor()
        for name, value in cookies.items():
            client.cookies[name] = value
        return client

    return make


def _starlette(
    app: Any, base_url: str, headers: Mapping[str, str], cookies: Mapping[str, str], begin: Begin
) -> Any:
    client = import_module("starlette.testclient").TestClient(app, base_url=base_url, headers=dict(headers))

    def hook(request: Any) -> None:
        begin()
        if cookies:
            _add_browser_headers(request, base_url)

    client.event_hooks = {"request": [hook]}
    _put_cookies(client, base_url, cookies)
    return client


def _httpx(app: Any, base_url: str, headers: Mapping[str, str], cookies: Mapping[str, str], begin: Begin) -> Any:
    import httpx

    async def hook(request: Any) -> None:
        begin()
        if cookies:
            _add_browser_headers(request, base_url)

    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app),
        base_url=base_url,
        headers=dict(headers),
        event_hooks={"request": [hook]},
    )
    _put_cookies(client, base_url, cookies)
    return client


def _put_cookies(client: Any, base_url: str, cookies: Mapping[str, str]) -> None:
    """Put cookies where those of a response go, so that the app can replace and delete them.

    Without a domain, a jar of ``http.cookiejar`` would keep both, and send both. It calls a host without a dot
    ``….local``.
    """
    host = urlsplit(base_url).hostname or ""
    for name, value in cookies.items():
        client.cookies.set(name, value, domain=host if "." in host or ":" in host else f"{host}.local", path="/")


def _add_browser_headers(request: Any, base_url: str) -> None:
    url = str(request.url)
    parts = urlsplit(url)
    origin = f"{_WEB[parts.scheme]}://{parts.netloc}" if parts.scheme in _WEB else _origin(base_url)
    for name, value in browser_headers(request.method, url, origin).items():
        request.headers.setdefault(name, value)


def _origin(base_url: str) -> str:
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc}"


_MAKERS: dict[str, Any] = {
    "flask": _flask,
    "django": _django("Client"),
    "django-async": _django("AsyncClient"),
    "drf": _django("APIClient"),
    "starlette": _starlette,
    "httpx": _httpx,
}
