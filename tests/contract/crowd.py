"""A crowd on few kept-alive connections, and a count of everybody who was taken for somebody else."""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx

from moonkey_core.emulator import SignedIn
from support import quick
from support.patience import PATIENCE
from support.visitors import SESSION, pair

IN_HEADERS = ("token", "token", "jwt", "anonymous", "dead", "upload", "hang up")
WITH_COOKIES = ("pair", "pair", "cookie", "cookie", "token", "jwt", "anonymous", "hang up")
_WORKERS = 6
_REQUESTS = 25  # of each worker


def wrong_answers(url: str, people: Sequence[SignedIn], seed: int = 1, *, with_cookies: bool = False) -> list[str]:
    """Send a mix of requests and return a line for each whose answer is not the right one.

    ``with_cookies`` is for a site that has them: most requests present a pair, or a token in a cookie.
    """
    kinds = WITH_COOKIES if with_cookies else IN_HEADERS
    with ThreadPoolExecutor(_WORKERS) as pool:
        found = pool.map(
            lambda worker: _one_connection(url, people, random.Random(seed + worker), kinds), range(_WORKERS)
        )
        return [line for lines in found for line in lines]


def _one_connection(url: str, people: Sequence[SignedIn], dice: random.Random, kinds: Sequence[str]) -> list[str]:
    wrong = []
    with quick.Client() as client:
        for _ in range(_REQUESTS):
            person = dice.choice(people)
            kind = dice.choice(kinds)
            if kind == "hang up":
                _hang_up(url, person)
            elif (problem := _ask(client, url, person, kind)) is not None:
                wrong.append(f"{kind}: {problem}")
    return wrong


def _ask(client: httpx.Client, url: str, person: SignedIn, kind: str) -> str | None:
    if kind in ("anonymous", "dead"):
        headers = {} if kind == "anonymous" else {"session-token": "x" * 64}
        state = client.get(f"{url}/optional", headers=headers).json()
        expected = "anonymous" if kind == "anonymous" else "rejected"
        return None if (state["state"], state["user"]) == (expected, None) else f"got {state}"
    credential = person.session_jwt if kind == "jwt" else person.session_token
    headers = {"authorization": f"Bearer {credential}"}
    if kind in ("pair", "cookie"):
        headers = pair(person) if kind == "pair" else {"Cookie": f"{SESSION}={credential}"}
    if kind == "upload":
        response = client.post(f"{url}/upload", headers=headers, files={"file": b"x" * (len(credential) * 3)})
        names = {"user", "again"}
    else:
        response = client.get(f"{url}/protected", headers=headers)
        names = {"user"}
    if response.status_code != 200:
        return f"status {response.status_code}"
    body = response.json()
    same = body["session"] == person.session_id and all(body[name] == person.user_id for name in names)
    return None if same else "another identity"


def _hang_up(url: str, person: SignedIn) -> None:
    """Send a whole request and go away without reading the answer."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    with socket.create_connection((host, port), timeout=PATIENCE) as connection:
        head = f"GET /optional HTTP/1.1\r\nHost: {host}\r\nsession-token: {person.session_token}\r\n\r\n"
        connection.sendall(head.encode())
