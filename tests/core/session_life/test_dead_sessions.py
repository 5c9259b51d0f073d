"""A session that is certainly over ends what is bound to it, whoever has found that out, here and elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from moonkey_core import Auth, MoonKeyError
from moonkey_core._crypto import Sealer
from moonkey_core._operations import logins
from moonkey_core._operations import sessions as operations
from moonkey_core._plan import Fetch, Outcome, run
from moonkey_core._session_life.watch_policy import WatchedSession
from moonkey_core._session_life.watchers import SessionWatcher
from moonkey_core.client import Pending
from moonkey_core.gate import Requirements
from moonkey_core.redis.entries import open_entry, seal_entry
from moonkey_core.revocations import Revocation
from support.cookie_visits import GET, JWT, SESSION, set_after
from support.decisions import NOW, replied, verified_body
from support.odd_jwts import good
from support.scripted_api import DEAD, KnownToTheApi

TOKEN, NEXT = "session_" + "t" * 40, "session_" + "n" * 40
FRESH, LATER, OLD = good(NOW - 20), good(NOW - 10), good(NOW - 400)
ASKS = Requirements(max_staleness=0)
SEALER = Sealer("a secret of the fleet", "feed")
Lines = dict[str, list[str]]

KINDS: dict[str, Lines] = {
    "token": {"session-token": [TOKEN]},
    "bare token": {"authorization": [f"Bearer {TOKEN.removeprefix('session_')}"]},
    "jwt": {"authorization": [f"Bearer {FRESH}"]},
    "another jwt": {"session-token": [LATER]},
    "cookie": {"cookie": [f"{SESSION}={TOKEN}"]},
    "pair": {"cookie": [f"{SESSION}={TOKEN}; {JWT}={FRESH}"]},
    "old pair": {"cookie": [f"{SESSION}={TOKEN}; {JWT}={OLD}"]},
}
WITH_THE_TOKEN = ("token", "bare token", "cookie", "pair", "old pair")
WITH_A_GOOD_JWT = ("jwt", "another jwt", "pair")


class App(KnownToTheApi):
    """One process of an app, and the connections that it holds."""

    def __init__(self, **options: Any) -> None:
        usual = {"cookies": True, "grace_seconds": 60}
        super().__init__([TOKEN, TOKEN.removeprefix("session_"), FRESH, LATER, OLD], **{**usual, **options})
        for changes in self.good.values():
            changes["session"] = {"started_at": int(NOW) - 3600}
        revocations = self.core.revocations
        self.watcher = SessionWatcher(revocations, clock=lambda: self.now)

    def visit(self, kind: str, requirements: Requirements | None = None) -> Auth:
        return self.read(KINDS[kind], requirements, GET)

    @contextmanager
    def connection(self, kind: str, *, verifies: bool = True) -> Iterator[Callable[[], bool]]:
        """A connection with this credential; whether it is over."""
        auth = self.visit(kind)
        assert auth.is_authenticated
        headers = self.lines(KINDS[kind])
        credentials = self.core.credential_digests(headers, GET) if verifies else ()
        verify = partial(self.visit, kind, ASKS) if verifies else None
        with self.watcher.watching(auth, can_verify=verifies, credentials=credentials) as watched:
            yield partial(self.watcher.is_over, watched, verify)

    def end_the_session(self) -> None:
        self.good = {}


def verify(app: App, **arguments: Any) -> None:
    with suppress(MoonKeyError):
        run(operations.verify(app.core, **arguments), app.exchange)


def log_in(app: App, **credential: Any) -> None:
    with suppress(MoonKeyError):
        run(logins.verify_otp(app.core, "123456", method_id="em_1", **credential), app.exchange)


LEARNERS: dict[str, Callable[[App], object]] = {
    "a token": lambda app: app.visit("token", ASKS),
    "a bare token": lambda app: app.visit("bare token", ASKS),
    "a cookie": lambda app: app.visit("cookie", ASKS),
    "a pair": lambda app: app.visit("pair", ASKS),
    "an old pair": lambda app: app.visit("old pair"),
    "a JWT": lambda app: app.visit("jwt", ASKS),
    "an old JWT": lambda app: app.authenticate(OLD),
    "sessions.verify": lambda app: verify(app, session_token=TOKEN),
    "sessions.verify, extending": lambda app: verify(app, session_token=TOKEN, extend=60),
    "sessions.verify, an old JWT": lambda app: verify(app, session_jwt=OLD),
    "sessions.verify, extending a JWT": lambda app: verify(app, session_jwt=FRESH, extend=60),
    "otps.verify": lambda app: log_in(app, session_token=TOKEN),
    "otps.verify, a JWT": lambda app: log_in(app, session_jwt=FRESH),
    "otps.verify, an old JWT": lambda app: log_in(app, session_jwt=OLD),
}


def met(app: App) -> App:
    """An app that has had requests with each credential of the session before."""
    for kind in KINDS:
        assert app.visit(kind).is_authenticated
    assert app.visit("token", ASKS).is_authenticated
    assert app.authenticate(OLD).is_authenticated
    return app


@pytest.mark.rule("S52", "connection")
class TestConnections:
    @pytest.mark.rule("S52", "connection")
    @pytest.mark.parametrize("learner", LEARNERS)
    @pytest.mark.parametrize("verifies", [True, False])
    def test_each_of_the_session_ends(self, learner: str, verifies: bool) -> None:
        app = met(App())
        with ExitStack() as stack:
            all_over = [stack.enter_context(app.connection(kind, verifies=verifies)) for kind in KINDS]
            assert not any(is_over() for is_over in all_over)
            app.end_the_session()
            assert not any(is_over() for is_over in all_over)  # nobody has found out
            LEARNERS[learner](app)
            assert all(is_over() for is_over in all_over)

    @pytest.mark.parametrize("learner", LEARNERS)
    def test_even_while_the_api_cannot_be_reached(self, learner: str) -> None:
        app = met(App())
        with ExitStack() as stack:
            all_over = [stack.enter_context(app.connection(kind)) for kind in KINDS]
            app.end_the_session()
            LEARNERS[learner](app)
            app.down = True
            assert all(is_over() for is_over in all_over)

    @pytest.mark.parametrize("kind", KINDS)
    def test_another_session_goes_on(self, kind: str) -> None:
        app = met(App())
        hers = good(NOW - 5, sub="user_2", session={"id": "sess_2", "user_id": "user_2"})
        auth = app.authenticate(hers)
        with app.watcher.watching(auth, can_verify=False) as watched, app.connection(kind) as is_over:
            app.end_the_session()
            app.visit("token", ASKS)
            assert is_over()
            assert not app.watcher.is_over(watched, None)

    def test_one_that_the_background_learns(self) -> None:
        soon = good(NOW - 20, session={"started_at": int(NOW) - 3600, "expires_at": int(NOW) + 600})
        for lines in (Lines({"cookie": [f"{SESSION}={TOKEN}; {JWT}={soon}"]}), Lines({"session-token": [soon]})):
            app = App(extend_on_activity=timedelta(days=7))
            app.end_the_session()
            auth = app.read(lines, None, GET)
            assert (auth.source, app.asked) == ("local", 1)  # verified here, and to be extended beside it
            assert app.read(lines, None, GET).is_rejected
            assert app.authenticate(soon).is_rejected
            with app.watcher.watching(auth, can_verify=False) as watched:
                assert app.watcher.is_over(watched, None)

    @pytest.mark.parametrize("kind", WITH_THE_TOKEN)
    def test_a_token_that_nobody_has_presented_alone(self, kind: str) -> None:
        """Which session it is of is not known; what is bound to that very token is."""
        app = App()
        with app.connection(kind) as is_over:
            app.core.cache._seen.clear()
            app.end_the_session()
            verify(app, session_token=TOKEN)
            assert is_over()


@pytest.mark.rule("S19", "S40")
class TestItsJwts:
    @pytest.mark.parametrize("learner", LEARNERS)
    @pytest.mark.parametrize("kind", WITH_A_GOOD_JWT)
    def test_none_is_accepted_again(self, learner: str, kind: str) -> None:
        app = met(App())
        app.end_the_session()
        LEARNERS[learner](app)
        for _ in range(2):
            assert app.visit(kind).is_rejected

    @pytest.mark.parametrize("learner", LEARNERS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_nor_in_grace(self, learner: str, kind: str) -> None:
        app = met(App())
        app.end_the_session()
        LEARNERS[learner](app)
        app.core.cache._denied_briefly.clear()
        app.down = True
        assert not app.visit(kind).is_authenticated

    def test_the_one_beside_a_token_that_was_never_asked_about(self) -> None:
        app = App()
        assert app.visit("pair").source == "local"
        app.end_the_session()
        verify(app, session_token=TOKEN)
        asked = app.asked
        assert app.visit("pair").is_rejected
        assert app.visit("jwt").is_rejected  # its session is known now
        assert app.asked <= asked + 1
        app.core.cache._denied_briefly.clear()
        app.down = True
        assert app.visit("pair").is_unavailable

    def test_what_is_found_good_later_counts_again(self) -> None:
        app = met(App())
        known, app.good = app.good, {}
        assert app.visit("pair", ASKS).is_rejected
        app.good = known
        assert app.visit("pair", ASKS).is_authenticated
        app.now += 20
        for kind in WITH_A_GOOD_JWT:
            app.visit(kind)
            assert app.visit(kind).is_authenticated
        asked = app.asked
        assert app.visit("jwt").source == "cache"
        assert app.asked == asked


NOT_AN_END: dict[str, Callable[[Fetch], Outcome]] = {
    "an outage": lambda _: replied(503),
    "another code": lambda _: replied(404, {"error_type": "maintenance"}),
    "a 401 without a code": lambda _: replied(401),
    "another user": lambda _: replied(200, verified_body(user={"id": "user_2"})),
    "another session": lambda _: replied(200, verified_body(session={"id": "sess_2", "deleted": True})),
    "a length that is refused": lambda fetch: (
        replied(400, {"error_type": "invalid_duration"})
        if "session_expires_in" in (fetch.json or {})
        else replied(200, verified_body())
    ),
}


@pytest.mark.rule("S19", "S52")
class TestNoCertainEnd:
    @pytest.mark.rule("S19", "S20", "S23", "connection")
    @pytest.mark.parametrize("answer", NOT_AN_END.values(), ids=NOT_AN_END.keys())
    @pytest.mark.parametrize("learner", [name for name in LEARNERS if name not in ("a token", "a bare token")])
    def test_nothing_ends(self, learner: str, answer: Callable[[Fetch], Outcome]) -> None:
        app = met(App())
        if answer is NOT_AN_END["another session"] and "otps" in learner:
            return  # a login may well be another session's
        with ExitStack() as stack:
            all_over = [stack.enter_context(app.connection(kind)) for kind in KINDS]

            def say(fetch: Fetch) -> Outcome:
                return (
                    replied(404, {"error_type": "user_not_found"})
                    if fetch.operation == "key-probe"
                    else answer(fetch)
                )

            app.answer = say
            LEARNERS[learner](app)
            app.answer = app.by_heart
            assert not any(is_over() for is_over in all_over)
            assert app.core.revocations.entries() == ()

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_token_that_was_replaced_here(self, kind: str) -> None:
        app = met(App())
        with app.connection(kind) as is_over:
            app.core.cache.mark_superseded(app.core.cache.digest(TOKEN))
            del app.good[TOKEN]
            for learner in ("a token", "a pair", "an old pair", "sessions.verify"):
                LEARNERS[learner](app)
            assert not is_over()
            assert app.core.revocations.entries() == ()

    def test_a_token_that_was_replaced_in_another_process(self) -> None:
        """Nobody here knows; the session goes on with what the API still accepts."""
        app = met(App())
        with app.connection("jwt") as is_over, app.connection("token") as has_old_token:
            for token in (TOKEN, TOKEN.removeprefix("session_")):
                del app.good[token]
            app.good[NEXT] = {"session": {"started_at": int(NOW) - 3600}}
            assert app.visit("old pair").is_rejected
            assert not is_over()
            assert has_old_token()  # it would not be accepted again either
            assert app.visit("jwt").is_authenticated
            assert app.authenticate(NEXT).is_authenticated
            assert app.read({"cookie": [f"{SESSION}={NEXT}; {JWT}={LATER}"]}, None, GET).is_authenticated
            app.now += 20
            with app.connection("another jwt") as begun_later:
                assert not begun_later()

    def test_a_stranger_s_token_ends_nothing(self) -> None:
        app = met(App())
        with app.connection("pair") as is_over:
            junk = {"cookie": [f"{SESSION}=session_junk; {JWT}={FRESH}"]}
            assert not app.read(junk, ASKS, GET).is_authenticated
            assert not is_over()


class Fleet:
    """Two processes of one app; what one of them publishes the other receives, as an entry of the feed."""

    def __init__(self, **options: Any) -> None:
        self.one, self.other = App(**options), App()
        self.sent: list[Revocation] = []
        self._connect(self.one, self.other)
        self._connect(self.other, self.one)

    def _connect(self, sender: App, receiver: App) -> None:
        def send(entry: Revocation) -> None:
            self.sent.append(entry)
            receiver.core.revocations.receive(open_entry(SEALER, "feed", seal_entry(SEALER, "feed", entry)))

        sender.core.revocations.listeners = (send,)

    def end_the_session(self) -> None:
        for app in (self.one, self.other):
            app.end_the_session()


@pytest.mark.rule("S52", "connection")
class TestElsewhere:
    @pytest.mark.parametrize("learner", LEARNERS)
    def test_who_knows_the_session_tells_the_others(self, learner: str) -> None:
        fleet = Fleet()
        met(fleet.one)
        with ExitStack() as stack:
            all_over = [stack.enter_context(fleet.other.connection(kind)) for kind in KINDS]
            fleet.end_the_session()
            assert not any(is_over() for is_over in all_over)
            LEARNERS[learner](fleet.one)
            assert all(is_over() for is_over in all_over)
        for kind in WITH_A_GOOD_JWT:
            assert fleet.other.visit(kind).is_rejected

    @pytest.mark.parametrize("kind", WITH_THE_TOKEN)
    def test_who_does_not_know_it_tells_the_credential(self, kind: str) -> None:
        """The process that holds a connection with it knows the session, and tells that."""
        fleet = Fleet()
        with ExitStack() as stack:
            is_over = stack.enter_context(fleet.other.connection(kind))
            others = [stack.enter_context(fleet.other.connection(name)) for name in WITH_A_GOOD_JWT]
            fleet.end_the_session()
            assert fleet.one.visit("cookie").is_rejected
            assert is_over()
            assert all(other() for other in others)
        assert fleet.one.visit("jwt").is_rejected
        assert any(entry.credential for entry in fleet.sent)

    @pytest.mark.parametrize("finds_out", ["one", "other"])
    def test_while_the_secret_key_is_being_changed(self, finds_out: str) -> None:
        old = App().settings.api_key.reveal()
        fleet = Fleet(secret_key="sk_test_the_next", previous_secret_key=old)
        finder, holder = (fleet.one, fleet.other) if finds_out == "one" else (fleet.other, fleet.one)
        with holder.connection("token") as is_over:
            fleet.end_the_session()
            assert finder.visit("cookie").is_rejected
            assert is_over()

    def test_no_credential_is_told(self) -> None:
        fleet = Fleet()
        fleet.end_the_session()
        fleet.one.visit("token")
        (entry,) = fleet.sent
        assert entry.credential is not None
        assert TOKEN.removeprefix("session_") not in repr([entry, entry.credential])
        assert entry.credential not in repr(entry)

    @pytest.mark.long
    def test_strangers_cannot_fill_the_feed(self, caplog: pytest.LogCaptureFixture) -> None:
        fleet = Fleet()
        for count in range(1200):
            fleet.one.authenticate(f"session_{count:040}")
        assert len(fleet.sent) == 1000
        assert fleet.one.core.revocations.refuses("sess_1", "user_1", NOW) is False
        assert {record.__dict__["reason"] for record in caplog.records} == {"reports_limited"}
        assert len(fleet.one.core.revocations.entries()) <= 1200

    def test_many_requests_that_share_a_call_tell_it_once(self) -> None:
        fleet = Fleet()
        for kind in ("token", "cookie", "old pair"):  # the last one names the session
            lines = KINDS[kind]
            plans = []
            for _ in range(5):
                found = fleet.one.core.begin(fleet.one.lines(lines), None, GET)
                assert isinstance(found, Pending)
                plans.append(fleet.one.core.finish(found))
            fleet.end_the_session()
            fleet.one.core.cache._denied_briefly.clear()
            for plan in plans:
                next(plan)
            for plan in plans:
                with pytest.raises(StopIteration) as done:
                    plan.send(DEAD)
                assert done.value.value.is_rejected
        assert [entry.session_id for entry in fleet.sent] == [None, "sess_1"]

    @pytest.mark.long
    def test_one_that_was_valid_here_is_told_nevertheless(self) -> None:
        fleet = Fleet()
        met(fleet.one)
        with fleet.other.connection("token") as is_over:
            for count in range(1200):
                fleet.one.authenticate(f"session_{count:040}")
            fleet.end_the_session()
            fleet.one.visit("token", ASKS)
            assert is_over()


@pytest.mark.rule("S30", "S31", "connection")
@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_keeps_no_credential(kind: str) -> None:
    app = met(App())
    with app.connection(kind):
        (watched,) = app.watcher._sessions
        kept = repr({name: getattr(watched, name) for name in WatchedSession.__slots__}) + repr(watched)
        assert watched._credentials
        for secret in (TOKEN.removeprefix("session_"), FRESH, LATER, OLD):
            assert secret not in kept
            assert secret.rpartition(".")[2] not in kept
        for another in (App(secret_key="sk_test_another"), App(cache_secret="a secret of another app")):
            digests = another.core.credential_digests(another.lines(KINDS[kind]), GET)
            assert not {*digests} & {*watched._credentials}


def test_the_end_of_a_user_ends_the_session() -> None:
    app = App(load_user=True)
    with app.connection("token") as is_over, app.connection("jwt") as is_over_too:
        gone = replied(404, {"error_type": "user_not_found"})
        app.answer = lambda fetch: gone if "/users/" in fetch.url else app.by_heart(fetch)
        auth = app.read({"session-token": [LATER]}, ASKS, GET)
        assert auth.is_rejected
        assert is_over()
        assert is_over_too()


def test_the_cookies_of_a_dead_session_go() -> None:
    app = met(App())
    app.end_the_session()
    for kind in ("pair", "old pair", "cookie"):
        assert set_after(app, app.visit(kind, ASKS)) == {SESSION: "", JWT: ""}


def test_a_binding_without_a_report_makes_no_call() -> None:
    app = met(App())
    with app.connection("pair") as is_over:
        asked = app.asked
        app.core.revocations.add(session_id="sess_9")
        assert not is_over()
        assert app.asked == asked


def test_a_report_that_comes_during_a_verification_counts() -> None:
    app = met(App())
    auth = app.visit("jwt")
    watched = WatchedSession(auth, app.now, can_verify=True)
    app.core.revocations.add_report(session_id="sess_1")
    watched.refresh(app.core.revocations)
    assert watched.verdict(app.now, app.now, 60) == "verify"
    app.now += 1
    app.core.revocations.add_report(session_id="sess_1")
    watched.refresh(app.core.revocations)
    watched.record(auth, app.now)
    assert watched.verdict(app.now, app.now, 60) == "verify"
    watched.record(auth, app.now)
    assert watched.verdict(app.now, app.now, 60) is None
