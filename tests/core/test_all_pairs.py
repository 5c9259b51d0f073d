"""What the README promises of a request, in combinations in which each two settings meet.

Settings that work singly may not work together. A promise that a combination breaks shows up here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import combinations, product
from typing import Any

import pytest
import time_machine

from moonkey_core import AsyncMoonKey, Auth, MoonKey, Session, User, VerifiedSession
from moonkey_core.auth import fresh_jwt
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.events import Event, Extended, GraceUsed, Refreshed, Revoked, SignedOut, Verified
from moonkey_core.flows import FlowRequest
from moonkey_core.gate import Requirements, check
from moonkey_core.web.request import RequestInfo
from moonkey_core.web.responses import ResponseFacts, refuse, response_effects
from support.combinations import (
    BUDGET,
    FRESH,
    GRACE,
    SETTINGS,
    TTL,
    WEEK,
    Combination,
    all_pairs,
    calls_for,
    product_of,
)
from support.feeds import Process
from support.patience import PATIENT
from support.pauses import no_pauses, patient_with_redis
from support.redis_server import RedisServer, need_redis
from support.scripted import wait_until
from support.together import together
from support.visitors import JWT, SESSION, signed_in_long_ago, verifications

ROWS = all_pairs("lazy", "required")
WEIGHTIEST = ("load_user", "extend_on_activity", "jwt_issuer", "session_cache_ttl", "grace_seconds")
OTHERS = {"cookies": True, "feed": False, "hooks": True, "fresh_jwt_header": FRESH, "expires_in_header": True}
OTHERS |= {"on_feed_lost": None, "call_budget": BUDGET}
ALL_OF_THEM = [
    Combination((*row.values, ("how", "httpx" if sum(bool(value) for _, value in row.values) % 2 else "sync")))
    for row in product_of(WEIGHTIEST, OTHERS)
]


def cases(*needed: str) -> Iterator[Any]:
    """Each combination that has what is needed, with each kind of credential; those beyond the pairs are long."""
    for row in [*ROWS, *ALL_OF_THEM]:
        if not all(getattr(row, name) for name in needed):
            continue
        for kind in ("token", "jwt", "pair"):
            if kind != "pair" or row.cookies:
                marks = () if row in ROWS else pytest.mark.long
                yield pytest.param(row, kind, marks=marks, id=f"{kind}-{row!r}")


GET, POST = RequestInfo("GET", "https", "127.0.0.1"), RequestInfo("POST", "https", "127.0.0.1")
MINUTE = 60


def each_case(*needed: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("row", "kind"), list(cases(*needed)))


every_case = each_case()
however_fresh = pytest.mark.parametrize("most", [None, 0.0], ids=["", "asking"])


@dataclass
class Answer:
    """What a framework package would send: the identity, and the response of a protected route."""

    auth: Auth
    status: int
    headers: dict[str, str]
    cookies: dict[str, str]

    @property
    def fresh(self) -> str | None:
        return self.headers.get(FRESH)


class Site:
    """A client with the settings of one combination, and what an app does with it."""

    def __init__(self, row: Combination, emulator: Emulator, redis_url: str | None) -> None:
        self.row = row
        self.emulator = emulator
        self.events: list[Event] = []
        self._runner = None if row.how == "sync" else asyncio.Runner()
        usual = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, **PATIENT}
        options: dict[str, Any] = {**usual, **row.options(emulator.issuer, redis_url)}
        if self._runner is not None:
            options["transport"] = row.how
        self.client: Any = MoonKey(**options) if self._runner is None else AsyncMoonKey(**options)
        if row.hooks:
            self.client.hooks.add(self.events.append)

    def close(self) -> None:
        if self._runner is None:
            self.client.close()
        else:
            self._runner.run(self.client.aclose())
            self._runner.close()

    def run(self, found: Any) -> Any:
        return found if self._runner is None else self._runner.run(found)

    def becomes(self, condition: Callable[[], bool]) -> bool:
        """Wait until something done beside the requests has been done."""

        def looked_at() -> bool:
            if self._runner is not None:
                self._runner.run(asyncio.sleep(0.002))
            return condition()

        return wait_until(looked_at)

    def is_ready(self) -> bool:
        """Whether revocations arrive, where there is a feed."""
        feed = self.client._core.feed
        return feed is None or feed.is_live

    def answer(
        self, headers: dict[str, str], info: RequestInfo = GET, requirements: Requirements | None = None
    ) -> Answer:
        def lines(name: str) -> list[str]:
            return [headers[name]] if name in headers else []

        client = self.client
        auth: Auth = self.run(client.authenticate(lines, requirements, info))
        error = check(auth, requirements)
        own: dict[str, str] = {}
        status = 200
        if error is not None:
            refusal = refuse(error, client.settings, lines)
            status, own = refusal.status, dict(refusal.headers)
        facts = ResponseFacts(status, False, own.get("vary", ""), own.get("cache-control", ""))
        added = response_effects(auth, facts, lines, client.settings, client.revocations, is_asked_for=True)
        cookies = {name: value.split(";")[0] for name, _, value in (one.partition("=") for one in added.cookies)}
        return Answer(auth, status, {**own, **{name.lower(): value for name, value in added.headers}}, cookies)

    def made(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@dataclass
class Visitor:
    """Somebody who presents a credential of one kind, and takes over what the site hands out."""

    site: Site
    kind: str
    person: SignedIn
    cookies: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.jwt = self.person.session_jwt
        if self.kind == "pair":
            end = datetime.now(UTC) + timedelta(days=7)
            session = Session(self.person.session_id, self.person.user_id, end)
            token, jwt = self.person.session_token, self.person.session_jwt
            signed_in = VerifiedSession(User(self.person.user_id), session, token, jwt)
            for one in self.site.client.sign_in_cookies(signed_in):
                self._take(one.split(";")[0])

    def _take(self, cookie: str) -> None:
        name, _, value = cookie.partition("=")
        self.cookies[name] = value
        if not value:
            del self.cookies[name]

    @property
    def headers(self) -> dict[str, str]:
        if self.kind == "pair":
            return {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if self.kind == "jwt":
            return {"authorization": f"Bearer {self.jwt}"}
        return {"session-token": self.person.session_token}

    @property
    def is_local(self) -> bool:
        """Whether the credential is verified without the API."""
        return bool(self.site.row.jwt_issuer) and self.kind != "token"

    def visit(self, **demand: Any) -> Answer:
        """A visit to a route with these requirements."""
        wanted = Requirements(**demand)
        answer = self.site.answer(self.headers, requirements=None if wanted == Requirements() else wanted)
        for name, value in answer.cookies.items():
            self._take(f"{name}={value}")
        self.jwt = answer.fresh or self.jwt
        return answer

    def assert_served(self, answer: Answer) -> None:
        """It is this person's own page, and no cache keeps it for others."""
        auth, row = answer.auth, self.site.row
        assert (answer.status, auth.state) == (200, "authenticated"), auth
        assert auth.user is not None
        assert auth.session is not None
        assert (auth.user.id, auth.session.id) == (self.person.user_id, self.person.session_id)
        assert auth.session.user_id == auth.user.id
        assert auth.user.complete or not row.load_user
        cookie = ["cookie"] if row.cookies else []
        assert answer.headers["vary"].lower().split(", ") == ["authorization", "session-token", *cookie]
        hands_out = JWT in answer.cookies or answer.fresh is not None
        assert answer.headers["cache-control"] == ("no-store" if hands_out else "private")
        assert SESSION not in answer.cookies
        assert ("session-expires-in" in answer.headers) is row.expires_in_header

    def assert_refused(self, answer: Answer, *, is_over: bool = True) -> None:
        assert (answer.status, answer.auth.state) == (401, "rejected"), answer.auth
        assert answer.auth.user is None
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert answer.headers["cache-control"] == "no-store"
        assert not answer.headers.keys() & {"session-expires-in", FRESH}
        if self.kind == "pair":
            gone = {SESSION: "", JWT: ""}
            assert (gone.items() <= answer.cookies.items()) is is_over

    def assert_unavailable(self, answer: Answer) -> None:
        assert (answer.status, answer.auth.state) == (503, "unavailable"), answer.auth
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["cache-control"] == "no-store"
        assert "www-authenticate" not in answer.headers
        assert (answer.cookies, answer.fresh) == ({}, None)


Visit = Callable[..., Visitor]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    need_redis()
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def sites(shared_emulator: Emulator, request: pytest.FixtureRequest) -> Iterator[Callable[[Combination], Site]]:
    """The site of a combination; each is made once."""
    made: dict[Combination, Site] = {}
    with ExitStack() as stack:
        stack.enter_context(no_pauses())
        stack.enter_context(patient_with_redis())

        def site_of(row: Combination) -> Site:
            if row not in made:
                redis_url = request.getfixturevalue("redis").url if row.feed else None
                made[row] = stack.enter_context(closing(Site(row, shared_emulator, redis_url)))
                assert made[row].becomes(made[row].is_ready)
            return made[row]

        yield site_of


@pytest.fixture
def site(row: Combination, sites: Callable[[Combination], Site], emulator: Emulator) -> Site:
    found = sites(row)
    found.events.clear()
    assert found.becomes(found.is_ready)  # a busy machine may have held the feed up
    return found


@pytest.fixture
def arrive(site: Site, kind: str, emulator: Emulator) -> Visit:
    """Sign somebody in, in a session that is not due to be extended."""

    def arrive(email: str = "ada@example.com", minutes: float = WEEK / 60) -> Visitor:
        visitor = Visitor(site, kind, emulator.sign_in(email=email, minutes=minutes))
        emulator.clear_requests()
        return visitor

    return arrive


def test_each_two_settings_meet() -> None:
    rows = all_pairs()
    for (one, ours), (other, theirs) in combinations(SETTINGS.items(), 2):
        met = {(getattr(row, one), getattr(row, other)) for row in rows}
        assert met == set(product(ours, theirs)), (one, other)


@pytest.mark.rule("S28", "token", "jwt", "pair")
@every_case
@however_fresh
def test_each_is_served_as_themselves(
    site: Site, row: Combination, kind: str, arrive: Visit, most: float | None
) -> None:
    ada, ben = arrive(), arrive("ben@example.com")
    for _ in range(3):
        for visitor in (ada, ben):
            visitor.assert_served(visitor.visit(max_staleness=most))
    assert verifications(site.emulator) == 2 * calls_for(3, row, kind, most)
    if row.hooks:
        assert [event.outcome for event in site.made(Verified)] == ["authenticated"] * 6
        assert len({type(event) for event in site.events} & {Extended, Refreshed, GraceUsed, Revoked}) == 0


@every_case
def test_where_an_identity_comes_from(row: Combination, kind: str, arrive: Visit) -> None:
    ada = arrive()
    assert ada.visit(max_staleness=0).auth.source == "remote"
    ada = arrive()
    sources = [ada.visit().auth.source for _ in range(3)]
    if ada.is_local:
        assert sources == ["local", "cache", "cache"]
    else:
        assert sources == ["remote", *(["cache"] if row.session_cache_ttl else ["remote"]) * 2]


@every_case
def test_nobody_else_is_let_in(site: Site, row: Combination, kind: str, arrive: Visit) -> None:
    ada = arrive()
    ada.visit()
    answer = site.answer({})
    assert (answer.status, answer.auth.state) == (401, "anonymous")
    assert "error=" not in answer.headers["www-authenticate"]
    both = site.answer({**ada.headers, "session-token": ada.person.session_token, "authorization": "Bearer a"})
    assert (both.status, both.auth.state) == (400, "rejected")
    stranger = arrive("eve@example.com")
    if kind == "pair":
        stranger.cookies[SESSION] = "session_" + "0" * 40
    stranger.person = SignedIn(stranger.person.user_id, "", "session_" + "0" * 40, "")
    stranger.jwt = stranger.jwt[:-8] + "AAAAAAAA"
    if kind != "pair":  # what the JWT beside an unknown token is worth, other tests say
        stranger.assert_refused(stranger.visit())
        ada.assert_served(ada.visit())


@pytest.mark.rule("S1", "S43", "pair")
@every_case
def test_cookies_count_only_where_they_are_configured(site: Site, row: Combination, kind: str) -> None:
    ada = site.emulator.sign_in()
    cookie = {"cookie": f"{SESSION}={ada.session_token}; {JWT}={ada.session_jwt}"}
    assert site.answer(cookie).status == (200 if row.cookies else 401)
    from_elsewhere = site.answer({**cookie, "sec-fetch-site": "cross-site"}, POST)
    assert (from_elsewhere.status, from_elsewhere.cookies) == (403 if row.cookies else 401, {})


@pytest.mark.long
@pytest.mark.rule("S35", "token", "jwt", "pair")
@every_case
def test_revoked_here_is_refused_at_once(site: Site, row: Combination, kind: str, arrive: Visit) -> None:
    for how in ("session", "token", "all", "here alone"):
        ada, ben = arrive(f"{how.split()[0]}@example.com"), arrive("ben@example.com")
        ada.assert_served(ada.visit())
        client, person = site.client, ada.person
        if how == "session":
            site.run(client.sessions.revoke(session_id=person.session_id))
        elif how == "token":
            site.run(client.sessions.revoke(session_token=person.session_token))
        elif how == "all":
            site.run(client.sessions.revoke_all(person.user_id))
        else:
            client.revocations.add(session_id=person.session_id)
        if row.hooks:
            told = [event.session_id for event in site.made(Revoked)]
            assert (person.session_id in told) is (how != "here alone"), how
        for _ in range(2):
            ada.assert_refused(ada.visit())
            if kind == "pair":
                ada = Visitor(site, kind, person)  # a browser that did not take the answer over
        ben.assert_served(ben.visit())


@pytest.mark.rule("S35", "token", "jwt", "pair")
@pytest.mark.rule("S36")
@each_case("feed")
def test_what_another_process_revokes_is_refused(site: Site, row: Combination, kind: str, arrive: Visit) -> None:
    ada, ben = arrive(), arrive("ben@example.com")
    ada.assert_served(ada.visit())
    there = Process(site.client.settings)
    with closing(there.feed):
        there.known.add(session_id=ada.person.session_id)
        assert site.becomes(lambda: site.client.revocations.refuses(ada.person.session_id, "", None))
    ada.assert_refused(ada.visit())
    ben.assert_served(ben.visit())


@pytest.mark.rule("S34", "token", "jwt", "pair")
@every_case
@however_fresh
def test_revoked_elsewhere_is_refused_in_the_time_of_the_table(
    site: Site, row: Combination, kind: str, arrive: Visit, most: float | None
) -> None:
    ada = arrive()
    ada.assert_served(ada.visit())
    site.emulator.revoke(ada.person.session_id)
    lag = site.client.revocation_lag()
    seconds = (lag.session_token if kind == "token" else lag.session_jwt).elsewhere
    with time_machine.travel(time.time() + (0 if most == 0 else seconds), tick=True):
        ada.assert_refused(ada.visit(max_staleness=most))


@pytest.mark.rule("S34", "token", "jwt", "pair")
@every_case
def test_a_route_that_trusts_nothing_remembered(site: Site, row: Combination, kind: str, arrive: Visit) -> None:
    ada = arrive()
    ada.visit()
    before = verifications(site.emulator)
    for count in range(1, 4):
        ada.assert_served(ada.visit(max_staleness=0))
        assert verifications(site.emulator) == before + count
    site.emulator.revoke(ada.person.session_id)
    ada.assert_refused(ada.visit(max_staleness=0))
    for _ in range(2):  # and then by every route, in an outage too
        again = Visitor(site, kind, ada.person).visit()
        ada.assert_refused(again)
        site.emulator.fault(status=503)


@pytest.mark.rule("S34", "token", "jwt", "pair")
@every_case
def test_a_route_that_bounds_the_age(site: Site, row: Combination, kind: str, arrive: Visit) -> None:
    ada = arrive()
    ada.assert_served(ada.visit(max_staleness=MINUTE))
    assert verifications(site.emulator) == calls_for(1, row, kind)
    site.emulator.clear_requests()
    with time_machine.travel(time.time() + MINUTE + 1, tick=True):
        for _ in range(2):
            answer = ada.visit(max_staleness=MINUTE)
            ada.assert_served(answer)
            assert answer.auth.staleness < MINUTE
        assert verifications(site.emulator) == (1 if ada.is_local or row.session_cache_ttl else 2)
        site.emulator.revoke(ada.person.session_id)
    with time_machine.travel(time.time() + 2 * (MINUTE + 1), tick=True):
        ada.assert_refused(ada.visit(max_staleness=MINUTE))


@pytest.mark.long
@every_case
@however_fresh
def test_a_session_in_use_is_extended_once(
    site: Site, row: Combination, kind: str, arrive: Visit, most: float | None
) -> None:
    ada = arrive(minutes=10)
    ada.assert_served(ada.visit(max_staleness=most))

    def left() -> float:
        (session,) = site.run(site.client.sessions.list(ada.person.user_id))
        seconds: float = session.expires_in.total_seconds()
        return seconds

    if row.extend_on_activity:
        assert site.becomes(lambda: left() > WEEK - MINUTE)
        assert site.becomes(lambda: not row.hooks or bool(site.made(Extended)))
    seconds = WEEK if row.extend_on_activity else 10 * MINUTE

    def knows() -> bool:
        """The extension is noted a moment after the API has made it."""
        answer = ada.visit(max_staleness=most)
        ada.assert_served(answer)
        assert answer.auth.session is not None
        told = answer.headers.get("session-expires-in", str(answer.auth.session.expires_in.total_seconds()))
        return seconds - MINUTE < float(told) <= seconds and _seconds(answer) > seconds - MINUTE

    assert site.becomes(knows)
    visits, before = 3, verifications(site.emulator)
    assert all(knows() for _ in range(visits))
    plain = visits if calls_for(2, row, kind, most) == 2 else 0
    assert verifications(site.emulator) == before + plain
    assert seconds - MINUTE < left() <= seconds
    if row.hooks:
        person = ada.person
        extended = [Extended(person.user_id, person.session_id)] if row.extend_on_activity else []
        assert site.made(Extended) == extended


@every_case
def test_an_extension_rides_on_a_renewal(site: Site, row: Combination, kind: str, emulator: Emulator) -> None:
    emulator.set_clock(-400)
    person = emulator.sign_in(minutes=17)
    emulator.set_clock(0)
    emulator.clear_requests()
    ada = Visitor(site, kind, person)
    first = ada.visit()
    ada.assert_served(first)
    is_local = row.jwt_issuer and kind != "token"
    seconds = WEEK if row.extend_on_activity else 11 * MINUTE
    if is_local:
        assert seconds - MINUTE < _seconds(first) <= seconds
        assert verifications(emulator) == 1
    assert site.becomes(lambda: seconds - MINUTE < _seconds(ada.visit()) <= seconds)
    if row.hooks:
        assert site.becomes(lambda: len(site.made(Extended)) == bool(row.extend_on_activity))


@every_case
def test_an_extension_that_is_refused_harms_nobody(
    site: Site, row: Combination, kind: str, arrive: Visit, emulator: Emulator
) -> None:
    ada = arrive(minutes=10)
    emulator.max_session_minutes(60)
    for _ in range(3):
        answer = ada.visit()
        ada.assert_served(answer)
        assert 9 * MINUTE < _seconds(answer) <= 10 * MINUTE
    sliding = site.client._core.sliding_expiration
    assert site.becomes(lambda: not row.extend_on_activity or sliding._resumes_at > 0)
    sliding._resumes_at = 0.0  # the pause is over for the tests that follow
    assert site.made(Extended) == []


@every_case
def test_many_requests_at_once_extend_it_once(site: Site, row: Combination, kind: str, arrive: Visit) -> None:
    ada = arrive(minutes=10)
    lines = _lines(ada.headers)
    if row.how == "sync":
        found = together(8, lambda _: site.client.authenticate(lines, None, GET))
    else:

        async def visits() -> list[Auth]:
            return list(await asyncio.gather(*(site.client.authenticate(lines, None, GET) for _ in range(8))))

        found = site.run(visits())
    assert all(auth.is_authenticated and auth.user.id == ada.person.user_id for auth in found)
    if row.hooks and row.extend_on_activity:
        assert site.becomes(lambda: bool(site.made(Extended)))
        ada.assert_served(ada.visit())
        assert len(site.made(Extended)) == 1


def _seconds(answer: Answer) -> float:
    assert answer.auth.session is not None
    return answer.auth.session.expires_in.total_seconds()


@every_case
def test_a_renewed_jwt_is_handed_over(site: Site, row: Combination, kind: str) -> None:
    emulator = site.emulator
    ada = Visitor(site, kind, signed_in_long_ago(emulator))
    first = ada.visit()
    ada.assert_served(first)
    assert verifications(emulator) == 1
    is_due = kind == "jwt" or (kind == "pair" and row.jwt_issuer)
    assert (fresh_jwt(first.auth) is not None) is is_due
    assert (first.fresh is not None) is (is_due and kind == "jwt" and row.fresh_jwt_header is not None)
    assert bool(first.cookies.get(JWT)) is (is_due and kind == "pair")
    if row.hooks:
        person = ada.person
        assert site.made(Refreshed) == ([Refreshed(person.user_id, person.session_id)] if is_due else [])
    emulator.clear_requests()
    if first.fresh or first.cookies.get(JWT):
        for _ in range(2):
            answer = ada.visit()
            ada.assert_served(answer)
            assert (answer.fresh, answer.cookies) == (None, {})
        assert verifications(emulator) == calls_for(2, row, kind)


@pytest.mark.rule("S19", "S34", "token", "jwt", "pair")
@pytest.mark.rule("S45", "pair")
@every_case
@however_fresh
def test_an_outage_signs_no_user_out(
    site: Site, row: Combination, kind: str, arrive: Visit, most: float | None
) -> None:
    ada, ben, eve = (arrive(f"{name}@example.com") for name in ("ada", "ben", "eve"))
    for visitor in (ada, ben, eve):
        visitor.assert_served(visitor.visit())
    site.emulator.fault(status=503)
    started = time.time()
    needs_user = row.load_user and ada.is_local  # the API says it with each answer
    knows_enough = ada.is_local and not needs_user
    in_grace = most is None and bool(row.grace_seconds)
    is_remembered = most is None and (knows_enough or (row.session_cache_ttl and not ada.is_local))
    _assert_answer(ada, ada.visit(max_staleness=most), is_served=in_grace or bool(is_remembered))
    if row.hooks:
        assert bool(site.made(GraceUsed)) is (in_grace and not is_remembered)
    with time_machine.travel(started + TTL + 5, tick=True):
        answer = ada.visit(max_staleness=most)
        _assert_answer(ada, answer, is_served=in_grace or (most is None and knows_enough))
        assert answer.auth.source != "remote"
        _assert_answer(ben, ben.visit(grace_seconds=0), is_served=knows_enough)
    site.client.revocations.add(session_id=eve.person.session_id)
    answer = eve.visit()
    assert answer.status in (401, 503)
    assert answer.auth.user is None
    with time_machine.travel(started + 300 + 2 * GRACE, tick=True):
        ada.assert_unavailable(ada.visit(max_staleness=most))
    site.emulator.clear_faults()
    for visitor in (ada, ben):
        visitor.assert_served(visitor.visit())


def _assert_answer(visitor: Visitor, answer: Answer, *, is_served: bool) -> None:
    if is_served:
        visitor.assert_served(answer)
    else:
        visitor.assert_unavailable(answer)


@pytest.mark.rule("S20", "token", "jwt", "pair")
@every_case
def test_a_wrong_key_of_ours_is_nobody_s_fault(site: Site, row: Combination, kind: str, arrive: Visit) -> None:
    ada = arrive()
    ada.assert_served(ada.visit())
    site.emulator.fault(status=401)
    answer = ada.visit(max_staleness=0)
    assert (answer.status, answer.auth.state, answer.cookies) == (500, "unavailable", {})
    site.emulator.clear_faults()
    assert site.becomes(lambda: ada.visit(max_staleness=0).status == 200)  # what the key is worth is remembered


@pytest.mark.rule("S35", "token", "jwt", "pair")
@pytest.mark.rule("S46", "pair")
@each_case("cookies")  # the ready-made routes need them
@pytest.mark.parametrize("is_down", [False, True], ids=["up", "down"])
def test_a_sign_out_takes_effect(
    site: Site, row: Combination, kind: str, arrive: Visit, emulator: Emulator, is_down: bool
) -> None:
    ada = arrive()
    ada.assert_served(ada.visit())
    if is_down:
        emulator.fault("/v1/auth/sessions/delete", status=503)
    auth = ada.visit().auth
    headers = {**ada.headers, "sec-fetch-site": "same-origin", "accept": "application/json"}

    def lines(name: str) -> list[str]:
        return [headers[name]] if name in headers else []

    request = FlowRequest(route="sign_out", routes="/auth", info=POST, headers=lines, auth=auth)
    response = site.run(site.client.flows.answer(request))
    cookies = [value for name, value in response.headers if name == "set-cookie"]
    assert {SESSION, JWT} <= {value.split("=")[0] for value in cookies if "Max-Age=0" in value}
    facts = ResponseFacts(response.status, False, "", "no-store", cookies if kind == "pair" else ())
    client = site.client
    added = response_effects(auth, facts, lines, client.settings, client.revocations, is_asked_for=True)
    assert not {name.lower() for name, _ in added.headers} & {"session-expires-in", FRESH}
    assert added.cookies == ()
    for _ in range(2):
        ada.assert_refused(Visitor(site, kind, ada.person).visit())
    if row.hooks:
        person = ada.person
        assert site.made(SignedOut) == [SignedOut(person.user_id, person.session_id, not is_down)]


@pytest.mark.rule("S35", "S52", "connection")
@every_case
def test_a_connection_ends_with_its_session(site: Site, row: Combination, kind: str, arrive: Visit) -> None:
    ada, ben = arrive(), arrive("ben@example.com")
    auths = [visitor.visit().auth for visitor in (ada, ben)]
    client, person = site.client, ada.person
    if row.how == "sync":
        assert not client.is_over(auths[0])
        client.sessions.revoke(session_id=person.session_id)
        assert [client.is_over(auth) for auth in auths] == [True, False]
        return

    async def connections() -> list[str | None]:
        async with asyncio.TaskGroup() as group:
            views = [_lines(visitor.headers) for visitor in (ada, ben)]
            ends: list[Coroutine[Any, Any, str]] = [
                client.session_end(auth, view, GET) for auth, view in zip(auths, views, strict=True)
            ]
            tasks = [group.create_task(end) for end in ends]
            await asyncio.sleep(0)
            await client.sessions.revoke(session_id=person.session_id)
            first = await tasks[0]
            is_open = not tasks[1].done()
            tasks[1].cancel()
        return [first, None if is_open else "over"]

    assert site.run(connections()) == ["revoked", None]


def _lines(headers: dict[str, str]) -> Callable[[str], list[str]]:
    return lambda name: [headers[name]] if name in headers else []
