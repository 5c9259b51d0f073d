"""A small authorization server: introspection and revocation for clients that prove who they are.

It reads what is sent by itself, and is strict: each assertion is taken once, and a secret must stand in the one
place that its client has registered.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import jwt

from support.scripted import Received, Scripted, reply, scripted

ISSUER = "https://id.example"
API = "https://api.example"
CLIENT = "api server: 1"
SECRET = "s3cret+/ä %&="
BEARER_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def about(user: str = "ada", **changes: Any) -> dict[str, Any]:
    """What the server says of an active token; a member that is ``...`` is left out."""
    now = int(time.time())
    found = {
        "active": True,
        "iss": ISSUER,
        "aud": API,
        "sub": user,
        "client_id": "web",
        "token_type": "Bearer",
        "scope": "read write",
        "iat": now - 10,
        "exp": now + 600,
        "sid": f"session-of-{user}",
        **changes,
    }
    return {name: value for name, value in found.items() if value is not ...}


@dataclass
class AuthorizationServer:
    """Tokens by their text, with what is said of them, and how its one client authenticates."""

    method: str = "client_secret_basic"
    public_key: str = ""
    algorithms: tuple[str, ...] = ("RS256",)
    audience: str = ISSUER
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    seen_ids: set[str] = field(default_factory=set)
    fault: bytes | None = None
    server: Scripted | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"{self.server.url}/introspect"

    @property
    def revocation_url(self) -> str:
        assert self.server is not None
        return f"{self.server.url}/revoke"

    def asked(self, token: str | None = None) -> int:
        """How often it was asked, about one token or any."""
        return sum(path == "/introspect" and token in (None, form.get("token")) for path, form in list(self.calls))

    def __call__(self, request: Received) -> bytes:
        if request.method != "POST" or request.headers.get("content-type") != "application/x-www-form-urlencoded":
            return reply(415, {"error": "invalid_request"})
        parsed = parse_qs(request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
        if any(len(values) > 1 for values in parsed.values()):
            return reply(400, {"error": "invalid_request"})
        form = {name: values[0] for name, values in parsed.items()}
        self.calls.append((request.path, form))
        if self.fault is not None:
            return self.fault
        if not self._is_our_client(request.headers, form):
            return reply(401, {"error": "invalid_client"}, {"www-authenticate": 'Basic realm="id"'})
        if request.path == "/revoke":
            self.tokens.pop(form["token"], None)
            return reply(200)
        return reply(200, self.tokens.get(form["token"], {"active": False}))

    def _is_our_client(self, headers: Mapping[str, str], form: Mapping[str, str]) -> bool:
        in_header, in_form = "authorization" in headers, "client_secret" in form
        signed = "client_assertion" in form
        if [in_header, in_form, signed].count(True) != 1:
            return False
        if in_header:
            scheme, _, rest = headers["authorization"].partition(" ")
            name, _, secret = base64.b64decode(rest, validate=True).decode("ascii").partition(":")
            found = (scheme, unquote_plus(name), unquote_plus(secret))
            return self.method == "client_secret_basic" and found == ("Basic", CLIENT, SECRET)
        if in_form:
            found_here = (form.get("client_id"), form["client_secret"])
            return self.method == "client_secret_post" and found_here == (CLIENT, SECRET)
        return self.method == "private_key_jwt" and self._is_signed(form)

    def _is_signed(self, form: Mapping[str, str]) -> bool:
        if form.get("client_assertion_type") != BEARER_ASSERTION:
            return False
        try:
            claims = jwt.decode(
                form["client_assertion"],
                self.public_key,
                algorithms=list(self.algorithms),
                audience=self.audience,
                issuer=CLIENT,
                subject=CLIENT,
                options={"require": ["exp", "iat", "jti", "sub", "iss", "aud"]},
            )
        except jwt.PyJWTError:
            return False
        is_new = claims["jti"] not in self.seen_ids
        self.seen_ids.add(claims["jti"])
        return is_new and isinstance(claims["aud"], str) and claims["exp"] - claims["iat"] <= 300


@contextmanager
def authorization_server(**options: Any) -> Iterator[AuthorizationServer]:
    """Serve one on a free port."""
    found = AuthorizationServer(**options)
    with scripted(found) as server:
        found.server = server
        yield found


def json_reply(status: int, body: object, content_type: str = "application/json") -> bytes:
    """A whole reply of it."""
    return reply(status, json.dumps(body), content_type=content_type)
