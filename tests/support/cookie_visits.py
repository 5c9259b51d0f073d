"""Requests of a browser that holds the pair of cookies, decided by a scripted API."""

from __future__ import annotations

from moonkey_core import Auth, CookieSettings
from moonkey_core.gate import Requirements
from moonkey_core.web.cookies import response_cookies
from moonkey_core.web.request import RequestInfo
from support.bindings import without_binding
from support.decisions import NOW
from support.odd_jwts import good
from support.scripted_api import KnownToTheApi

TOKEN, OTHER, UNKNOWN = ("session_" + letter * 40 for letter in "tou")
SESSION, JWT = CookieSettings().names
GET, POST = RequestInfo("GET", "https"), RequestInfo("POST", "https")
FRESH, OLD = good(NOW), good(NOW - 400)
NEW = good(NOW - 1)


def visit(
    decisions: KnownToTheApi,
    token: str | None = TOKEN,
    jwt: str | None = None,
    requirements: Requirements | None = None,
    info: RequestInfo = GET,
    **headers: str,
) -> Auth:
    cookies = [f"{name}={value}" for name, value in ((SESSION, token), (JWT, jwt)) if value is not None]
    lines = {name.replace("_", "-"): [value] for name, value in headers.items()}
    return decisions.read({"cookie": ["; ".join(["a=b", *cookies])], **lines}, requirements, info)


def set_after(decisions: KnownToTheApi, auth: Auth, *already: str) -> dict[str, str]:
    """The cookies that go out, by name; an empty value clears one. The binding of a JWT goes with it."""
    found = response_cookies(auth, decisions.settings, decisions.core.revocations, already)
    for cookie in found:
        assert "; Path=/; " in cookie
        assert cookie.endswith("; Secure; HttpOnly; SameSite=Lax")
        assert "Domain" not in cookie
        assert ("Max-Age=0" in cookie) == (not cookie.split(";")[0].partition("=")[2])
    pairs = [cookie.split(";")[0].partition("=") for cookie in found]
    return without_binding({name: value for name, _, value in pairs})
