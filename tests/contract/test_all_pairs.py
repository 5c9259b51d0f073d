"""What the README promises of a request, through a whole stack, in combinations in which each two settings meet.

The core's own part, with each promise for itself, is in ``tests/core/test_all_pairs.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import httpx
import pytest
from contract.behaviour import ORIGIN
from contract.requests import bearer, closed
from contract.stacks import STACKS, Site
from websockets.sync.client import ClientConnection, connect

from moonkey_core.emulator import Emulator, SignedIn
from support.combinations import FRESH, WEEK, Combination, all_pairs, calls_for
from support.pauses import patient_with_redis
from support.redis_server import RedisServer, need_redis
from support.scripted import wait_until
from support.visitors import JWT, OURS, SESSION, pair, set_by, signed_in_long_ago, vary, verifications

ROWS = all_pairs("how", "hooks")
ASYNC_ONLY = ("starlette", "fastapi")
"""The stacks that have ``required=True``, and WebSockets."""
MINUTE = 60


def each_row(*needed: str, stacks: Iterable[str] = STACKS) -> Callable[[Any], Any]:
    """Each combination that has what is needed, on these stacks; those beyond one stack are long."""
    rows = [row for row in ROWS if all(getattr(row, name) for name in needed)]
    serving = [pytest.param(name, marks=() if name == "starlette" else pytest.mark.long) for name in stacks]

    def mark(test: Any) -> Any:
        by_row = pytest.mark.parametrize("row", rows, ids=repr)(test)
        return pytest.mark.parametrize("serving", serving, indirect=True, scope="session")(by_row)

    return mark


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    need_redis()
    with patient_with_redis(), RedisServer() as server:
        yield server


@dataclass
class Visitor:
    """Somebody who presents a credential of one kind, and takes over what the site hands out."""

    site: Site
    row: Combination
    browser: httpx.Client
    kind: str
    person: SignedIn
    cookies: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.jwt = self.person.session_jwt
        if self.kind == "pair":
            parts = [one.partition("=") for one in pair(self.person)["Cookie"].split("; ")]
            self.cookies = {name: value for name, _, value in parts}

    @property
    def headers(self) -> dict[str, str]:
        if self.kind == "pair":
            return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        return bearer(self.jwt) if self.kind == "jwt" else {"Session-Token": self.person.session_token}

    def get(self, path: str) -> httpx.Response:
        return self._take(self.browser.get(self.site.url + path, headers=self.headers))

    def post(self, path: str) -> httpx.Response:
        headers = {**self.headers, **OURS, "Accept": "application/json"}
        return self._take(self.browser.post(self.site.url + path, headers=headers))

    def _take(self, response: httpx.Response) -> httpx.Response:
        if self.kind == "pair":
            changed = {**self.cookies, **set_by(response)}
            self.cookies = {name: value for name, value in changed.items() if value}
        self.jwt = response.headers.get(FRESH, self.jwt)
        return response

    def served(self, path: str = "/protected") -> httpx.Response:
        """A visit that succeeds: it is this person's own page, and no cache keeps it for others."""
        response = self.get(path)
        assert response.status_code == 200, (self.kind, response.text)
        person = self.person
        found = response.json()
        assert (found["user"], found.get("session", person.session_id)) == (person.user_id, person.session_id)
        assert {"authorization", "session-token"} <= vary(response)
        assert ("cookie" in vary(response)) is self.row.cookies
        hands_out = FRESH in response.headers or bool(set_by(response))
        assert response.headers["cache-control"] == ("no-store" if hands_out else "private")
        assert ("session-expires-in" in response.headers) is self.row.expires_in_header
        return response

    def refused(self, status: int = 401, path: str = "/protected") -> httpx.Response:
        response = self.get(path)
        assert response.status_code == status, (self.kind, response.text)
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["cache-control"] == "no-store"
        assert not response.headers.keys() & {FRESH, "session-expires-in"}
        assert ("www-authenticate" in response.headers) is (status == 401)
        assert ("retry-after" in response.headers) is (status == 503)
        return response


Visit = Callable[..., Visitor]


@pytest.fixture
def kinds(row: Combination) -> list[str]:
    return ["token", "jwt", *(["pair"] if row.cookies else [])]


@pytest.fixture
def visit(
    serving: Any,
    row: Combination,
    open_site: Callable[..., Site],
    browser: httpx.Client,
    emulator: Emulator,
    request: pytest.FixtureRequest,
) -> Visit:
    """Sign somebody in to the site of the combination."""
    redis_url = request.getfixturevalue("redis").url if row.feed else None
    options = row.options(emulator.issuer, redis_url)
    if not row.jwt_issuer:
        options["jwt_issuer"] = ()
    options["lazy"] = row.lazy
    if row.required and request.node.callspec.params["serving"] in ASYNC_ONLY:
        options |= {"required": True, "public_paths": ["/public"]}
    site = open_site(**options)

    def signed_in(kind: str, person: SignedIn | None = None, email: str = "ada@example.com") -> Visitor:
        visitor = Visitor(site, row, browser, kind, person or emulator.sign_in(email=email))
        if person is None and row.feed:  # until revocations arrive, each JWT is shown to the API
            assert wait_until(
                lambda: _costs_nothing_more(visitor, emulator) or kind == "token" or not row.jwt_issuer
            )
        emulator.clear_requests()
        return visitor

    return signed_in


def _costs_nothing_more(visitor: Visitor, emulator: Emulator) -> bool:
    visitor.served()
    emulator.clear_requests()
    visitor.served()
    return verifications(emulator) == 0


@each_row()
def test_each_is_served_as_themselves(
    visit: Visit, row: Combination, kinds: list[str], browser: httpx.Client, emulator: Emulator
) -> None:
    for kind in kinds:
        ada, ben = visit(kind), visit(kind, email="ben@example.com")
        for visitor in (ada, ben):
            visitor.served()  # a pair that this site has not made may cost a call
        emulator.clear_requests()
        for _ in range(3):
            for visitor in (ada, ben):
                visitor.served()
                visitor.served("/optional")
        first = 1 if row.session_cache_ttl and calls_for(1, row, kind) else 0
        assert verifications(emulator) == 2 * (calls_for(6, row, kind) - first), kind
        for count in range(1, 4):
            emulator.clear_requests()
            ada.served("/strict")
            assert verifications(emulator) == 1, (kind, count)
        nobody = browser.get(ada.site.url + "/protected")
        assert nobody.status_code == 401
        forged = Visitor(ada.site, row, browser, "jwt", ada.person)
        forged.jwt = forged.jwt[:-8] + "AAAAAAAA"
        forged.refused()


@pytest.mark.long
@each_row()
def test_a_renewed_jwt_is_handed_over(
    visit: Visit, row: Combination, kinds: list[str], emulator: Emulator
) -> None:
    for kind in kinds:
        visit(kind).served()
        for path in ("/protected", "/strict", "/optional"):
            ada = visit(kind, signed_in_long_ago(emulator))
            old = (ada.jwt, ada.cookies.get(JWT))
            ada.served(path)
            is_due = (kind == "pair" and row.jwt_issuer) or (kind == "jwt" and row.fresh_jwt_header)
            assert ((ada.jwt, ada.cookies.get(JWT)) != old) is bool(is_due), (kind, path)
            for _ in range(2):
                ada.served(path)


@pytest.mark.long
@each_row()
def test_a_session_in_use_is_extended(
    visit: Visit, row: Combination, kinds: list[str], emulator: Emulator
) -> None:
    seconds = WEEK if row.extend_on_activity else 10 * MINUTE
    for kind in kinds:
        visit(kind).served()
        ada = visit(kind, emulator.sign_in(minutes=10))
        ada.served()
        assert wait_until(partial(_is_told, ada, seconds)), kind
        assert all(_is_told(ada, seconds) for _ in range(3)), kind


def _is_told(visitor: Visitor, seconds: int) -> bool:
    """Whether the app, and a front end where it is to be told, are told that so many seconds are left."""
    session = visitor.get("/models").json()["session"]
    left = datetime.fromisoformat(session["expires_at"]).timestamp() - time.time()
    told = int(visitor.served().headers.get("session-expires-in", left))
    return all(seconds - MINUTE < found <= seconds for found in (left, told))


@each_row()
def test_what_is_over_is_refused(
    visit: Visit, row: Combination, kinds: list[str], emulator: Emulator, request: pytest.FixtureRequest
) -> None:
    # Under ASGI, Django's blocking views have a client of their own. What the other one remembers of the API's
    # answers counts for the seconds of `session_cache_ttl`.
    has_two_clients = request.node.callspec.params["serving"] == "django-asgi"
    for kind in kinds:
        ada, ben = visit(kind), visit(kind, email="ben@example.com")
        for visitor in (ada, ben):
            visitor.served()
        emulator.revoke(ada.person.session_id)
        ada.refused(path="/strict")
        assert not ada.cookies.keys() & {SESSION, JWT}
        is_local = row.jwt_issuer and kind != "token"
        if is_local or not row.session_cache_ttl or not has_two_clients:
            Visitor(ada.site, row, ada.browser, kind, ada.person).refused()
        ben.served()


@each_row("cookies")  # the ready-made routes need them
def test_a_sign_out_takes_effect(visit: Visit, row: Combination, kinds: list[str], emulator: Emulator) -> None:
    for kind in kinds:
        ada = visit(kind)
        ada.served()
        response = ada.post("/auth/sign-out")
        assert (response.status_code, response.json()["complete"]) == (200, True)
        assert set_by(response).items() >= {SESSION: "", JWT: ""}.items()
        assert not response.headers.keys() & {FRESH, "session-expires-in"}, kind
        for _ in range(2):
            Visitor(ada.site, row, ada.browser, kind, ada.person).refused()


@each_row()
def test_an_outage_signs_no_user_out(visit: Visit, row: Combination, kinds: list[str], emulator: Emulator) -> None:
    for kind in kinds:
        ada = visit(kind)
        ada.served()
        ada.served()
        before = dict(ada.cookies)
        emulator.fault(status=503)
        is_local = row.jwt_issuer and kind != "token"
        knows_enough = not row.load_user if is_local else row.session_cache_ttl
        if knows_enough or row.grace_seconds:
            ada.served()
        else:
            ada.refused(503)
        ada.refused(503, "/strict")
        if not is_local or row.load_user:
            ada.refused(503, "/without-grace") if not knows_enough else ada.served("/without-grace")
        emulator.clear_faults()
        # A client that had no keys yet, such as Django's for a blocking view under ASGI, waits a moment.
        assert wait_until(partial(_is_served, ada, "/strict")), kind
        assert ada.cookies == before


def _is_served(visitor: Visitor, path: str) -> bool:
    return visitor.get(path).status_code == 200


@each_row(stacks=ASYNC_ONLY)
def test_a_websocket_is_bound_to_its_session(
    visit: Visit, row: Combination, kinds: list[str], request: pytest.FixtureRequest
) -> None:

    def socket(visitor: Visitor) -> ClientConnection:
        url = visitor.site.url
        origin = url if visitor.kind == "pair" else ORIGIN
        return connect(
            url.replace("http", "ws") + "/socket", additional_headers={**visitor.headers, "Origin": origin}
        )

    for kind in kinds:
        ada, ben = visit(kind), visit(kind, email="ben@example.com")
        with socket(ada) as hers, socket(ben) as his:
            assert (hers.recv(10), his.recv(10)) == ("hello", "hello")
            if row.cookies:
                assert ada.post("/auth/sign-out").status_code == 200
                assert closed(hers) == (4401, "Unauthorized"), kind
            his.send("still here")
            assert his.recv(10) == "still here"
