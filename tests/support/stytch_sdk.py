"""A browser's cookie jar, and a script that plays Stytch's SDK in it: it sets, renews and deletes its cookies.

The jar keeps the rules that matter here (RFC 6265bis section 5): what a script may read and write, and which
cookie a ``Set-Cookie`` replaces. The clock of cookies does not run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from moonkey_core.emulator import StytchEmulator
from support import quick

HOST = "app.example.com"
OPAQUE, JWT = "stytch_session", "stytch_session_jwt"


@dataclass(frozen=True)
class Cookie:
    """A cookie that a browser keeps."""

    value: str
    secure: bool
    http_only: bool


class Jar:
    """The cookies of one browser, for the pages of ``HOST`` by https."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, str], Cookie] = {}  # by name, domain ("" for the host alone) and path

    def write(self, line: str, *, by_script: bool = False) -> None:
        """Take a ``Set-Cookie`` line, or what a script assigns to ``document.cookie``."""
        pair, *rest = (part.strip() for part in line.split(";"))
        name, _, value = pair.partition("=")
        attributes = {key.lower(): text for key, _, text in (part.partition("=") for part in rest)}
        domain, http_only = attributes.get("domain", "").lstrip("."), "httponly" in attributes
        assert not domain or domain == HOST or HOST.endswith(f".{domain}")
        key = (name, domain, attributes.get("path", "/"))
        if by_script and (http_only or (key in self._kept and self._kept[key].http_only)):
            return
        if name.startswith("__Host-") and (domain or key[2] != "/" or "secure" not in attributes):
            return
        if attributes.get("max-age") == "0":
            self._kept.pop(key, None)
        else:
            self._kept[key] = Cookie(value, "secure" in attributes, http_only)

    def header(self, path: str) -> str:
        """The ``Cookie`` header of a request for a path."""
        return "; ".join(f"{name}={one.value}" for (name, _, _), one in self._at(path))

    def seen_by_scripts(self, path: str) -> dict[str, str]:
        """What scripts of a page at this path read."""
        return {name: one.value for (name, _, _), one in self._at(path) if not one.http_only}

    def names(self) -> set[str]:
        """The names of all cookies."""
        return {name for name, _, _ in self._kept}

    def hidden(self) -> set[str]:
        """The names of those that scripts do not see."""
        return {name for (name, _, _), one in self._kept.items() if one.http_only}

    def value(self, name: str) -> str:
        """The value of a cookie of which there is one."""
        (found,) = (one.value for (each, _, _), one in self._kept.items() if each == name)
        return found

    def _at(self, path: str) -> list[tuple[tuple[str, str, str], Cookie]]:
        def covers(of: str) -> bool:
            return path == of or path.startswith(of.rstrip("/") + "/")

        return [(key, one) for key, one in self._kept.items() if covers(key[2])]


class StytchSdk:
    """Stytch's SDK on a page of the app: cookies that any script reads, as long as the session lasts.

    Its calls are made with the project's secret, as the emulator has none of the SDK's own endpoints.
    """

    def __init__(
        self, jar: Jar, stytch: StytchEmulator, names: tuple[str, str] = (OPAQUE, JWT), more: str = "; Path=/"
    ) -> None:
        self.jar = jar
        self.names = names
        self._stytch = stytch
        self._more = more

    @property
    def tokens(self) -> tuple[str | None, str | None]:
        """The session that the script finds in its cookies."""
        path = "/" if "Path=/" not in self._more else self._more.partition("Path=")[2].partition(";")[0]
        found = self.jar.seen_by_scripts(path)
        return found.get(self.names[0]), found.get(self.names[1])

    def keep(self, token: str | None, jwt: str | None) -> None:
        """Set the cookies; ``None`` deletes one."""
        for name, value in zip(self.names, (token, jwt), strict=True):
            life = "Max-Age=604800" if value else "Max-Age=0"
            self.jar.write(f"{name}={value or ''}; {life}{self._more}; Secure; SameSite=Lax", by_script=True)

    def sign_in(self, email: str = "ada@example.com") -> str:
        """Begin a session, and return its id."""
        person = self._stytch.sign_in(email)
        self.keep(person.session_token, person.session_jwt)
        return person.session_id

    def renew(self) -> bool:
        """Get a new JWT, as the SDK does every few minutes; without a session, both cookies go."""
        answer = self._call("authenticate")
        if answer.status_code == 200:
            self.keep(answer.json()["session_token"], answer.json()["session_jwt"])
            return True
        assert answer.json()["error_type"] == "session_not_found"
        self.keep(None, None)
        return False

    def sign_out(self) -> None:
        """End the session, and delete the cookies."""
        assert self._call("revoke").status_code == 200
        self.keep(None, None)

    def _call(self, action: str) -> httpx.Response:
        return quick.post(
            f"{self._stytch.base_url}/v1/sessions/{action}",
            json={"session_token": self.tokens[0]},
            auth=(self._stytch.project_id, self._stytch.secret),
        )


class StytchVisitor:
    """A browser on the app's site, which may run the SDK."""

    def __init__(self, http: httpx.Client, **headers: str) -> None:
        self.jar = Jar()
        self._http = http
        self._headers = {"Host": HOST, "Sec-Fetch-Site": "same-origin", "Accept": "application/json", **headers}

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self._visit("GET", path, None, headers)

    def post(self, path: str, data: dict[str, str] | None = None, **headers: Any) -> httpx.Response:
        return self._visit("POST", path, data or {}, headers)

    def _visit(self, method: str, path: str, data: dict[str, str] | None, more: dict[str, str]) -> httpx.Response:
        cookies = self.jar.header(path.partition("?")[0])
        headers = {**self._headers, **({"Cookie": cookies} if cookies else {}), **more}
        response = self._http.request(method, path, headers=headers, data=data, follow_redirects=False)
        for line in response.headers.get_list("set-cookie"):
            self.jar.write(line)
        return response
