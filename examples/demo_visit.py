"""What somebody does in a browser, by plain HTTP: sign in with a code, look at a protected page, sign out."""

from __future__ import annotations

import httpx

from moonkey_core.emulator import Emulator

EMAIL = "visitor@example.com"
EXPECTED = {"before": 303, "signed in": 200, "signed out": 303}


def visit(url: str, emulator: Emulator) -> dict[str, int]:
    """What ``/account`` of an app with pages answered each time; 303 is the way to the sign-in page."""
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
    """Keeps cookies, and says where its forms come from."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._cookies: dict[str, str] = {}

    def get(self, path: str) -> int:
        return self._visit("GET", path, None)

    def post(self, path: str, **fields: str) -> int:
        return self._visit("POST", path, fields)

    def _visit(self, method: str, path: str, fields: dict[str, str] | None) -> int:
        headers = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
        if self._cookies:  # by hand: to httpx, unlike to browsers, 127.0.0.1 is no secure place
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        response = self._http.request(method, path, headers=headers, data=fields)
        for line in response.headers.get_list("set-cookie"):
            name, _, rest = line.partition("=")
            self._cookies[name] = rest.partition(";")[0]
        self._cookies = {name: value for name, value in self._cookies.items() if value}
        return response.status_code
