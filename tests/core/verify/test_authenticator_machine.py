"""Any sequence of requests, revocations, outages and losses of the feed: no wrong verdict, come what may."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from moonkey_core import Auth
from moonkey_core.gate import Requirements
from moonkey_core.lag import lag_of
from moonkey_core.revocations import Revocation
from moonkey_core.settings import Secret
from support.decisions import NOW
from support.odd_jwts import good
from support.scripted_api import KnownToTheApi

pytestmark = [pytest.mark.long, pytest.mark.rule("S19", "S35", "S36")]

PEOPLE = ("1", "2")
OPTIONS = st.fixed_dictionaries(
    {
        "session_cache_ttl": st.sampled_from([0, 20]),
        "grace_seconds": st.sampled_from([0, 30]),
        "leeway": st.sampled_from([0, 5]),
        "max_revocation_lag": st.sampled_from([2, 15]),
        "max_cached_sessions": st.sampled_from([2, 100]),
    },
)
BOUNDED = {"on_feed_lost": "bounded", "feed_lost_bound": 20}
KINDS = st.sampled_from(
    [{}, {}, {}, {"jwt_issuer": ""}, {"on_feed_lost": "local"}, BOUNDED, BOUNDED, {"load_user": True}]
)
WISHES = st.sampled_from(
    [{}, {}, {"max_staleness": 0}, {"max_staleness": 10}, {"grace_seconds": 10}, {"grace_seconds": 0}]
)


class Feed:
    """A feed; what was revoked until ``known_at`` has been heard of."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.is_live = True
        self.known_at = NOW

    def known_for(self) -> float:
        return 0.0 if self.is_live else self._clock() - self.known_at


class Verdicts(RuleBasedStateMachine):
    """One process of a fleet, what the API knows, and who has ended which session when."""

    it: KnownToTheApi

    @initialize(options=OPTIONS, kind=KINDS, has_feed=st.booleans())
    def start(self, options: dict[str, Any], kind: dict[str, Any], has_feed: bool) -> None:
        self.feed = Feed(lambda: self.it.now) if has_feed else None
        if not has_feed and "on_feed_lost" in kind:
            kind = {}
        self.it = KnownToTheApi(feed=self.feed, jwt_max_age=60, **options, **kind)
        redis = Secret("redis://127.0.0.1:1/0") if has_feed else None
        self.lag = lag_of(replace(self.it.settings, redis_url=redis))
        self.credentials = {f"session_{who * 40}": who for who in PEOPLE}
        self.ended: dict[str, tuple[str, float]] = {}
        self.unheard: list[str] = []
        for credential in self.credentials:
            self.make_known(credential)
        for who in PEOPLE:
            self.new_jwt(who, 0)

    def make_known(self, credential: str) -> None:
        who = self.credentials[credential]
        session = {"id": f"sess_{who}", "user_id": f"user_{who}", "started_at": NOW - 1000}
        if who not in self.ended:
            self.it.good[credential] = {"session": session}

    def end(self, who: str, by: str) -> None:
        for credential, other in self.credentials.items():
            if other == who:
                self.it.good.pop(credential, None)
        self.ended.setdefault(who, (by, self.it.now))
        if by == "here":
            self.ended[who] = (by, self.it.now)

    @rule(who=st.sampled_from(PEOPLE), ahead=st.sampled_from([0, 0, 1]))
    def new_jwt(self, who: str, ahead: int) -> None:
        if who in self.ended:
            return
        issued = int(self.it.now + ahead * self.it.settings.leeway)
        about = {"id": f"sess_{who}", "user_id": f"user_{who}", "started_at": NOW - 1000}
        token = good(issued, sub=f"user_{who}", jti=f"sess_{who}", session=about)
        self.credentials[token] = who
        self.make_known(token)

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.9, 3.0, 12.0, 31.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.it.now += seconds

    @rule(down=st.booleans())
    def outage(self, down: bool) -> None:
        self.it.down = down

    @rule(who=st.sampled_from(PEOPLE), by=st.sampled_from(["elsewhere", "here"]))
    def revoke(self, who: str, by: str) -> None:
        self.end(who, by)
        if by == "here":
            self.it.core.revocations.add(session_id=f"sess_{who}")

    @precondition(lambda self: self.feed is not None)
    @rule(who=st.sampled_from(PEOPLE))
    def revoke_in_the_fleet(self, who: str) -> None:
        if who not in self.ended:
            self.end(who, "fleet")
            self.unheard.append(f"sess_{who}")
            self.hear()

    @precondition(lambda self: self.feed is not None)
    @rule(who=st.sampled_from(PEOPLE), seconds=st.sampled_from([3.0, 16.0]), wishes=WISHES)
    def miss_a_revocation(self, who: str, seconds: float, wishes: dict[str, float]) -> None:
        """Everybody was here just before; the feed is cut, somebody is revoked, and everybody comes again."""
        self.ask_all(wishes)
        self.feed_changes(False)
        self.revoke_in_the_fleet(who)
        self.wait(seconds)
        self.ask_all(wishes)

    @precondition(lambda self: self.it.settings.grace_seconds)
    @rule(seconds=st.sampled_from([0.5, 12.0, 31.0]), wishes=WISHES)
    def everybody_in_an_outage(self, seconds: float, wishes: dict[str, float]) -> None:
        self.ask_all({})
        self.outage(True)
        self.wait(seconds)
        self.ask_all(wishes)

    @precondition(lambda self: self.feed is not None)
    @rule(live=st.booleans())
    def feed_changes(self, live: bool) -> None:
        if live:
            self.hear(catching_up=True)
        assert self.feed is not None
        if self.feed.is_live:
            self.feed.known_at = self.it.now
        self.feed.is_live = live

    def hear(self, catching_up: bool = False) -> None:
        assert self.feed is not None
        while self.unheard and (catching_up or self.feed.is_live):
            entry = Revocation(self.unheard.pop(), None, None, self.it.now)
            self.it.core.revocations.receive(entry)

    @rule(data=st.data(), wishes=WISHES)
    def request(self, data: st.DataObject, wishes: dict[str, float]) -> None:
        self.ask(data.draw(st.sampled_from(list(self.credentials))), wishes)

    def ask_all(self, wishes: dict[str, float]) -> None:
        for credential in self.credentials:
            self.ask(credential, wishes)

    def ask(self, credential: str, wishes: dict[str, float]) -> None:
        headers = {"authorization": [f"Bearer {credential}"]}
        requirements = Requirements(
            max_staleness=wishes.get("max_staleness"), grace_seconds=wishes.get("grace_seconds")
        )
        known = self.it.known(headers, requirements)
        if known is not None:
            self.check(known, credential, requirements)
        self.check(self.it.read(headers, requirements), credential, requirements)
        # What was refused is remembered for a few real seconds, in which years pass here.
        self.it.core.cache._denied_briefly.clear()

    def check(self, auth: Auth, credential: str, requirements: Requirements) -> None:
        who = self.credentials[credential]
        if auth.is_unavailable:
            assert self.it.down
            return
        if auth.is_rejected:
            assert who in self.ended, auth
            return
        assert auth.user is not None
        assert (auth.user.id, auth.session.id) == (f"user_{who}", f"sess_{who}")
        self.check_age(auth, requirements)
        if who in self.ended:
            self.check_lag(auth, credential, *self.ended[who])

    def check_age(self, auth: Auth, requirements: Requirements) -> None:
        assert auth.as_of is not None
        age = self.it.now - auth.as_of
        most = requirements.max_staleness
        if most is not None:
            assert auth.source == "remote" if most == 0 else age <= most
        if auth.source == "grace":
            assert self.it.down
            assert self.it.settings.grace_seconds > 0
            assert requirements.grace_seconds != 0
            assert most != 0

    def check_lag(self, auth: Auth, credential: str, by: str, ended_at: float) -> None:
        kind = "session_jwt" if "." in credential else "session_token"
        promised = getattr(self.lag, kind)
        # Grace is for what this process has not heard of; what was ended here, it has.
        most = getattr(promised, by) if by == "here" or auth.source != "grace" else promised.in_grace
        assert by != "here", "accepted after it was revoked here"
        assert self.it.now - ended_at <= most, (auth.source, by)


Verdicts.TestCase.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
TestVerdicts = Verdicts.TestCase
