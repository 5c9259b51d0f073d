"""Do over plain HTTP what a user does in a browser: sign in with a code, open a protected page, sign out."""

from __future__ import annotations

import httpx

from moonkey_core.emulator import Emulator, StytchEmulator

EMAIL = "visitor@example.com"
EXPECTED = {"before": 303, "signed in": 200, "signed out": 303}


def visit(url: str, emulator: Emulator | StytchEmulator) -> dict[str, int]:
    """Return the status of ``/account`` before, during and after a session; 303 redirects to the sign-in page."""
    with httpx.Client(base_url=url, timeout=10) as http:
        browser = _Browser(http)
        statuses = {"before": browser.get("/account")}
        browser.post("/auth/sign-in/otp", address=EMAIL)
        code = next(sent.code for sent in emulator.outbox() if sent.to == EMAIL)
        browser.post("/auth/sign-in/otp/verify", code=code)
        statuses["signed in"] = browser.get("/account")
        browser.post("/auth/sign-out")
        statuses["signed out"] = browser.get("/account")
    return statuses


class _Browser:
    """A client that keeps cookies, and says in ``Sec-Fetch-Site`` that its forms come from the app's own pages."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._cookies: dict[str, str] = {}

    def get(self, path: str) -> int:
        return self._visit("GET", path, None)

    def post(self, path: str, **fields: str) -> int:
        return self._visit("POST", path, fields)

    def _visit(self, method: str, path: str, fields: dict[str, str] | None) -> int:
        headers = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
        if (
            self._cookies
        ):  # not httpx's own cookies: unlike browsers, it sends no Secure cookie to http://127.0.0.1
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        response = self._http.request(method, path, headers=headers, data=fields)
        for line in response.headers.get_list("set-cookie"):
            name, _, rest = line.partition("=")
            self._cookies[name] = rest.partition(";")[0]
        self._cookies = {name: value for name, value in self._cookies.items() if value}
        return response.status_code
