"""A Flask app with cookies behind a real server, and browsers that send what they are told to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from flask import Flask, Response, abort, redirect, stream_with_context

from moonkey_core import CookieSettings
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_flask import FlaskMoonKey, current_auth, current_session, get_client, optional_auth, require_auth
from support.servers import serve_wsgi

SESSION, JWT = CookieSettings().names
PAGE = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
OURS = {"Sec-Fetch-Site": "same-origin"}
FOREIGN = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}


def make_app(emulator: Emulator, **options: Any) -> Flask:
    app = Flask("flask_visits", template_folder=None)
    usual = {"base_url": emulator.base_url, "jwt_issuer": emulator.issuer, "timeout": 2.0, "cookies": True}
    FlaskMoonKey(app, **{"secret_key": emulator.secret_key, **usual, **options})
    _views(app)
    _streams(app)
    return app


def _views(app: Flask) -> None:
    @app.route("/me", methods=["GET", "POST"])
    @require_auth
    def me() -> Any:
        assert current_auth.user is not None
        return {"user": current_auth.user.id, "source": current_auth.source}

    @app.get("/strict")
    @require_auth(max_staleness=0)
    def strict() -> str:
        return "strict"

    @app.get("/public")
    @optional_auth
    def public() -> Any:
        return current_auth.state, {"Cache-Control": "public, max-age=60"}

    @app.get("/unread")
    def unread() -> str:
        return "unread"

    @app.get("/redirect")
    @optional_auth
    def redirects() -> Any:
        return redirect("/elsewhere")

    @app.get("/no-such-thing")
    @optional_auth
    def no_such_thing() -> Any:
        abort(404)

    @app.get("/forbidden")
    @optional_auth
    def forbidden() -> Any:
        return {"error": "of the app's own"}, 401

    @app.get("/broken")
    @optional_auth
    def broken() -> Any:
        raise RuntimeError("broken")

    @app.get("/own-cookie")
    @optional_auth
    def own_cookie() -> Any:
        return "", {"Set-Cookie": f"{JWT}=; Max-Age=0; Path=/; Secure"}

    @app.get("/ends")
    @require_auth
    def ends() -> str:
        get_client().revocations.add(session_id=current_session.id)  # as if somebody signed out meanwhile
        return "over"


def _streams(app: Flask) -> None:
    @app.get("/stream")
    @require_auth
    def stream() -> Any:
        auth = current_auth._get_current_object()  # type: ignore[attr-defined]

        def parts() -> Iterator[str]:
            yield auth.state

        return Response(parts())

    @app.get("/lazy-stream")
    def lazy_stream() -> Any:
        def parts() -> Iterator[str]:
            yield current_auth.state

        return Response(stream_with_context(parts()))


@contextmanager
def visiting(app: Flask) -> Iterator[httpx.Client]:
    """A browser in front of the app: it follows no redirects and keeps no cookies."""
    with serve_wsgi(app, threads=12) as url, httpx.Client(base_url=url, timeout=20) as browser:
        yield browser


def cookies(person: SignedIn, *, jwt: str | None = None) -> dict[str, str]:
    """The header with the pair of cookies."""
    return {"Cookie": f"theme=dark; {SESSION}={person.session_token}; {JWT}={jwt or person.session_jwt}"}


class Visitor:
    """A person's browser: it keeps cookies, and says what a browser says of a page of this site."""

    def __init__(self, browser: httpx.Client, prefix: str = "/auth", **headers: str) -> None:
        self.cookies: dict[str, str] = {}
        self._browser = browser
        self._prefix = prefix
        self._headers = {**PAGE, **OURS, **headers}

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self._visit("GET", path, headers)

    def post(self, path: str, data: dict[str, str] | None = None, **headers: Any) -> httpx.Response:
        """``path`` is that of a route."""
        return self._visit("POST", self._prefix + path, headers, data or {})

    def _visit(
        self, method: str, path: str, headers: dict[str, str], data: dict[str, str] | None = None
    ) -> httpx.Response:
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        response = self._browser.request(method, path, headers={**self._headers, **headers}, data=data)
        self.cookies.update(set_by(response))
        self.cookies = {name: value for name, value in self.cookies.items() if value}
        return response

    def sign_in(self, emulator: Emulator, email: str = "ada@example.com", **fields: str) -> httpx.Response:
        """By a code from the mail; the response to its verification."""
        self.post("/sign-in/otp", {"address": email, **fields})
        return self.post("/sign-in/otp/verify", {"code": emulator.outbox()[0].code})


def signed_in_long_ago(emulator: Emulator, email: str = "ada@example.com") -> SignedIn:
    """Somebody whose JWT is too old, while the session goes on."""
    emulator.set_clock(-400)
    person = emulator.sign_in(email=email)
    emulator.set_clock(0)
    emulator.clear_requests()
    return person


def verifications(emulator: Emulator) -> int:
    return emulator.requests()["POST /v1/auth/sessions/verify"]


def set_by(response: httpx.Response) -> dict[str, str]:
    """The values of the cookies that a response sets; empty where it removes one. Each is set once."""
    found: dict[str, str] = {}
    for line in response.headers.get_list("set-cookie"):
        name, _, rest = line.partition("=")
        value, *attributes = rest.split("; ")
        assert name not in found
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(attributes)
        assert value or "Max-Age=0" in attributes
        found[name] = value
    if found:
        assert response.headers["cache-control"] == "no-store"
    return found


def vary(response: httpx.Response) -> set[str]:
    return {name.strip().lower() for name in ",".join(response.headers.get_list("vary")).split(",")}
