"""Browsers that send what they are told to, and what to look for in the answers they get. For any framework."""

from __future__ import annotations

from typing import Any

import httpx

from moonkey_core import CookieSettings
from moonkey_core.emulator import Emulator, SignedIn
from support import quick
from support.bindings import bound, bound_line, without_binding

SESSION, JWT = CookieSettings().names
PAGE = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
OURS = {"Sec-Fetch-Site": "same-origin"}
FOREIGN = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
GONE = {SESSION: "", JWT: ""}


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

    def sign_in(self, emulator: Emulator, email: str = "ada@example.com", **fields: str) -> httpx.Response:
        """By a code from the mail; the response to its verification."""
        self.post("/sign-in/otp", {"address": email, **fields})
        return self.post("/sign-in/otp/verify", {"code": emulator.outbox()[0].code})

    def _visit(
        self, method: str, path: str, headers: dict[str, str], data: dict[str, str] | None = None
    ) -> httpx.Response:
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in bound(self.cookies).items())
        response = self._browser.request(method, path, headers={**self._headers, **headers}, data=data)
        self.cookies.update(all_set_by(response))
        self.cookies = {name: value for name, value in self.cookies.items() if value}
        return response


def pair(person: SignedIn, *, jwt: str | None = None) -> dict[str, str]:
    """The header with a person's cookies, the binding among them, beside one of the app's own."""
    line = f"theme=dark; {SESSION}={person.session_token}; {JWT}={jwt or person.session_jwt}"
    return {"Cookie": bound_line(line)}


def signed_in_long_ago(emulator: Emulator, email: str = "ada@example.com") -> SignedIn:
    """Somebody whose JWT is too old, while the session goes on."""
    emulator.set_clock(-400)
    person = emulator.sign_in(email=email)
    emulator.set_clock(0)
    emulator.clear_requests()
    return person


def with_app(emulator: Emulator, user_id: str) -> str:
    """The secret of a new authenticator app, verified with a code that no test needs."""
    emulator.set_clock(-90)
    headers = {"authorization": f"Bearer {emulator.secret_key}"}
    url = f"{emulator.base_url}/v1/auth/totps"
    secret = str(quick.post(f"{url}/create", json={"user_id": user_id}, headers=headers).json()["secret"])
    body = {"user_id": user_id, "totp": emulator.totp_code(secret)}
    quick.post(f"{url}/verify", json=body, headers=headers).raise_for_status()
    emulator.set_clock(0)
    return secret


def verifications(emulator: Emulator) -> int:
    """How often the API was asked to verify a session."""
    return emulator.requests()["POST /v1/auth/sessions/verify"]


def set_by(response: httpx.Response) -> dict[str, str]:
    """The values of the cookies that a response sets; empty where it removes one. Each is set once.

    The binding, which goes with the JWT, is left out.
    """
    return without_binding(all_set_by(response))


def all_set_by(response: httpx.Response) -> dict[str, str]:
    """The same with the binding."""
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
    """The request headers that a response depends on, in lower case."""
    return {name.strip().lower() for name in ",".join(response.headers.get_list("vary")).split(",")}
