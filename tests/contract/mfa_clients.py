"""A client that keeps the handles of an app's records, and what it is asked for without one."""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx

from moonkey_core import CookieSettings
from support.visitors import all_set_by

MFA, START = CookieSettings().mfa_name, CookieSettings().start_name
SAME = {"Sec-Fetch-Site": "same-origin"}


@dataclass
class Client:
    """A tab or a browser: it presents a credential, and keeps the handles that it is given."""

    http: httpx.Client
    credential: dict[str, str]
    cookies: dict[str, str] = field(default_factory=dict)
    handles: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self._ask("GET", path, headers)

    def post(self, path: str, **headers: str) -> httpx.Response:
        return self._ask("POST", path, headers)

    def like(self, credential: dict[str, str]) -> Client:
        """The same client with another credential."""
        return Client(self.http, credential, dict(self.cookies), dict(self.handles))

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
        line = "; ".join(
            [
                *filter(None, [self.credential.get("Cookie")]),
                *(f"{one}={value}" for one, value in self.cookies.items()),
            ]
        )
        sent = {**SAME, **self.credential, **self.handles, **headers, **({"Cookie": line} if line else {})}
        found = self.http.request(method, path, headers=sent)
        for name in ("mfa-handle", "session-start"):
            if name in found.headers:
                self.handles[name] = found.headers[name]
        self.cookies.update({one: value for one, value in all_set_by(found).items() if one in (MFA, START)})
        self.cookies = {one: value for one, value in self.cookies.items() if value}
        return found


def assert_asked(response: httpx.Response) -> None:
    """Refused as RFC 9470 says."""
    assert response.status_code == 401, response.text
    body = response.json()
    assert (body["error"], body["max_age"], body["mfa"]) == ("insufficient_user_authentication", 600, True)
    challenge = response.headers["www-authenticate"]
    assert 'error="insufficient_user_authentication"' in challenge
    assert 'max_age="600"' in challenge
    assert response.headers["cache-control"] == "no-store"
