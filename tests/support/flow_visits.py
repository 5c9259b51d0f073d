"""A browser (or a program) that visits the ready-made routes, with either client and no framework between."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

from moonkey_core import Auth, CookieSettings
from moonkey_core.emulator import Emulator
from moonkey_core.events import Event
from moonkey_core.flows import FlowRequest, FlowResponse, Mode
from moonkey_core.web.request import HeaderView, RequestInfo, asgi_headers
from support.bindings import bound
from support.clients import Both
from support.pages import Read, read_page
from support.patience import PATIENT

SESSION, JWT, OTP = "__Host-moonkey_session", "__Host-moonkey_jwt", "__Host-moonkey_otp"


@contextmanager
def flow_client(kind: str, emulator: Emulator, **options: Any) -> Iterator[Both]:
    """A client of the emulator (``"sync"`` or ``"async"``) in cookie mode, verifying JWTs by itself."""
    usual = {
        "secret_key": emulator.secret_key,
        "base_url": emulator.base_url,
        **PATIENT,
        "jwt_issuer": emulator.issuer,
    }
    call = Both(kind, {**usual, "cookies": CookieSettings(), **options})
    try:
        yield call
    finally:
        call.close()


class Visitor:
    """Sends requests to the routes and keeps the cookies that come back.

    ``html`` says whether it is a browser; every request of one comes from a page of this origin, as long as
    ``headers`` do not say otherwise (``None`` leaves a header out).
    """

    def __init__(
        self,
        call: Both,
        *,
        html: bool = True,
        routes: str = "/auth",
        peer: str = "127.0.0.1",
        mode: Mode = "cookies",
    ) -> None:
        self.call = call
        self.mode: Mode = mode
        self.routes = routes
        self.peer = peer
        self.cookies: dict[str, str] = {}
        self.usual: dict[str, str | None] = {
            "accept": "text/html,application/xhtml+xml,*/*;q=0.8" if html else "application/json",
            "sec-fetch-site": "same-origin",
            "host": "app.example.com",
        }

    def get(self, route: str, query: str | dict[str, str] = "", **headers: str | None) -> FlowResponse:
        return self.send("GET", route, headers, query=query)

    def post(self, route: str, fields: dict[str, Any] | None = None, **headers: str | None) -> FlowResponse:
        """Posts a form."""
        body = urlencode(fields or {}).encode()
        kind = "application/x-www-form-urlencoded"
        return self.send("POST", route, {"content-type": kind, **headers}, body=body)

    def post_json(self, route: str, content: object, **headers: str | None) -> FlowResponse:
        body = json.dumps(content).encode()
        return self.send("POST", route, {"content-type": "application/json", **headers}, body=body)

    def send(
        self,
        method: str,
        route: str,
        headers: Mapping[str, str | None] | None = None,
        *,
        query: str | dict[str, str] = "",
        body: bytes = b"",
        session_id: str | None = None,
        **more: str | None,
    ) -> FlowResponse:
        """One request; ``more`` are further headers, whose names may be spelled with underscores."""
        info = RequestInfo(method, "https", self.peer)
        view = self._headers({**(headers or {}), **more})
        auth: Auth = self.call("authenticate", view, None, info)
        request = FlowRequest(
            route=route,
            routes=self.routes,
            info=info,
            headers=view,
            auth=auth,
            query=query if isinstance(query, str) else urlencode(query),
            body=body,
            session_id=session_id,
            mode=self.mode,
        )
        response: FlowResponse = self.call("flows.answer", request)
        set_cookies = [value for name, value in response.headers if name == "set-cookie"]
        self.keep([*set_cookies, *self.call.client.cookies_after(auth, set_cookies)])
        return response

    def keep(self, set_cookies: list[str]) -> None:
        for value in set_cookies:
            pair, *attributes = value.split("; ")
            name, _, content = pair.partition("=")
            if "Max-Age=0" in attributes:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = content

    def _headers(self, headers: Mapping[str, str | None]) -> HeaderView:
        changes = {name.replace("_", "-"): value for name, value in headers.items()}
        found = {**self.usual, **changes}
        if self.cookies and "cookie" not in changes:
            found["cookie"] = "; ".join(f"{name}={value}" for name, value in bound(self.cookies).items())
        return asgi_headers(
            [(name.encode(), value.encode("utf-8")) for name, value in found.items() if value is not None]
        )


def header(response: FlowResponse, name: str) -> str:
    """The one value of a response header."""
    (value,) = [value for key, value in response.headers if key == name]
    return value


def cookies_of(response: FlowResponse) -> dict[str, str]:
    """The ``Set-Cookie`` values by the names of the cookies."""
    return {value.partition("=")[0]: value for name, value in response.headers if name == "set-cookie"}


def shown(response: FlowResponse) -> Read:
    """The page in a response, rendered by both engines."""
    assert response.page is not None
    return read_page(response.page)


def json_of(response: FlowResponse) -> dict[str, Any]:
    """The JSON in a response without a page."""
    assert response.page is None
    found = json.loads(response.body)
    assert isinstance(found, dict)
    return found


def path_of(response: FlowResponse) -> str:
    """Where a redirect leads: a path of the same site."""
    assert response.status == 303
    parts = urlsplit(header(response, "location"))
    assert not parts.scheme
    assert not parts.netloc
    return header(response, "location")


def code_of(emulator: Emulator) -> str:
    """The code, or the token of the link, that was sent last."""
    return emulator.outbox()[0].code


def wrong(code: str) -> str:
    """Another code."""
    return f"{(int(code) + 1) % 1_000_000:06d}"


def events_of(call: Both) -> list[Event]:
    """The events from now on."""
    found: list[Event] = []
    call.client.hooks.add(found.append)
    return found


def who(browser: Visitor) -> str | None:
    """The e-mail address of the session that the browser's cookies hold, by the API."""
    if SESSION not in browser.cookies:
        return None
    verified = browser.call("sessions.verify", session_token=browser.cookies[SESSION])
    email: str | None = verified.user.email
    return email
