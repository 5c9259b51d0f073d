"""The model itself: what it finds wrong, and what it must not find wrong."""

from __future__ import annotations

import base64
import json
import math
import time
from typing import Any

import pytest
from chaos.model import ALLOWANCE, Asked, Ending, Judge, Session
from chaos.spans import HEALING, Metronome, Span, Spans

from support.fleets import Answer

_LAGS = {
    "session_token": {"here": 0.0, "fleet": 1.0, "elsewhere": 8.0},
    "session_jwt": {"here": 0.0, "fleet": 1.0, "elsewhere": 13.0},
}
_REVOKER, _OTHER = 11, 12
_NOW = time.monotonic()


def judge() -> Judge:
    return Judge(_LAGS, 12.0, 1.0, 14.0, Spans(), Metronome())


def session(ending: Ending | None = None, seconds: float = 3600.0) -> Session:
    now = unix(ago=0)  # whenever the test runs after its module was read
    return Session("user_1", "sess_1", "token", unix(ago=60), now + seconds, (("a.b.c", now),), ending=ending)


def asked(of: Session | None, **more: Any) -> Asked:
    return Asked("jwt", {}, of, **{"credential": "jwt", "issued_at": unix(ago=0), **more})


def answer(status: int, sent_at: float = _NOW, worker: int = _OTHER, **more: Any) -> Answer:
    body = {"user": "user_1", "session": "sess_1"} if status == 200 else {}
    return Answer(status, worker, more.pop("body", body), more.pop("headers", {}), sent_at, sent_at + 0.01, **more)


def unix(*, ago: float) -> float:
    """Unix seconds so long before ``_NOW``."""
    return time.time() - time.monotonic() + _NOW - ago


def revoked(*, ago: float, **more: Any) -> Session:
    return session(Ending("fleet", _NOW - ago - 0.1, _NOW - ago, _REVOKER, **more))


def sort(judge: Judge, asked: Asked, answer: Answer) -> str | None:
    fault = judge.fault(asked, answer)
    return None if fault is None else fault.partition(":")[0]


def disturb(judge: Judge, part: Any, begun: float, ended: float | None, **more: Any) -> None:
    judge.spans._all = (*judge.spans._all, Span(part, frozenset({0}), begun, ended, **more))


class TestTheInnocent:
    def test_are_let_in(self) -> None:
        assert sort(judge(), asked(session()), answer(200)) is None

    def test_are_not_refused(self) -> None:
        assert sort(judge(), asked(session()), answer(401)) == "innocent refused"

    @pytest.mark.parametrize("part", ["redis", "api", "worker"])
    def test_are_not_refused_whatever_is_disturbed(self, part: str) -> None:
        one = judge()
        disturb(one, part, _NOW - 1, None)
        assert sort(one, asked(session()), answer(401)) == "innocent refused"

    def test_that_their_cookies_are_cleared_is_said(self) -> None:
        cleared = answer(401, set_cookies=("session=; Max-Age=0", "jwt=; Max-Age=0"))
        fault = judge().fault(asked(session(), cookies=("session", "jwt")), cleared)
        assert fault is not None
        assert fault.endswith("cookies cleared")

    def test_are_refused_from_the_end_of_their_session_on(self) -> None:
        assert sort(judge(), asked(session(seconds=-0.1)), answer(401, time.monotonic())) is None

    @pytest.mark.parametrize(
        ("seconds", "ended", "wrong"), [(9.0, 5.0, None), (9.0, 7.0, "x"), (3000.0, 4.0, "x")]
    )
    def test_are_refused_where_a_clock_that_was_wrong_has_ended_their_session(
        self, seconds: float, ended: float, wrong: str | None
    ) -> None:
        """That is remembered for a moment. Seed 304: a session of 6 s, 1 s before its end."""
        one = judge()
        disturb(one, "clock", _NOW - 9, _NOW - ended)
        short = session(seconds=seconds)
        found = sort(one, asked(short, credential="token"), answer(401))
        assert (found is None) == (wrong is None)

    def test_get_a_503_only_where_the_api_had_to_be_asked(self) -> None:
        one = judge()
        assert sort(one, asked(session()), answer(503)) == "503 for nothing"
        disturb(one, "api", _NOW - 1, None)
        assert sort(one, asked(session()), answer(503)) == "503 for nothing"
        disturb(one, "redis", _NOW - 1, None)
        assert sort(one, asked(session()), answer(503)) is None

    @pytest.mark.parametrize("status", [500, 502, 504])
    def test_get_no_other_error(self, status: int) -> None:
        one = judge()
        disturb(one, "api", _NOW - 1, None)
        assert sort(one, asked(session()), answer(status)) == f"a status of {status}"

    @pytest.mark.parametrize("who", ["elsewhere", "fleet"])
    def test_get_a_503_where_another_credential_of_their_session_was_called_dead(self, who: Any) -> None:
        """Seed 101: their session had ended at the API, which was away when it had to confirm that."""
        one, ended = judge(), session(Ending(who, _NOW - 5, _NOW - 5))
        assert sort(one, asked(ended), answer(503)) == "503 for nothing"
        disturb(one, "api", _NOW - 1, None)
        assert sort(one, asked(ended), answer(503)) is None
        not_told = session(Ending("fleet", _NOW - 5, _NOW - 5, at_api=False))
        assert sort(one, asked(not_told), answer(503)) == "503 for nothing"


class TestIdentities:
    @pytest.mark.parametrize("body", [{"user": "user_2", "session": "sess_1"}, {"user": "user_1"}])
    def test_must_be_their_own(self, body: dict[str, str]) -> None:
        assert sort(judge(), asked(session()), answer(200, body=body)) == "identity mixed up"

    def test_so_must_a_new_jwt(self) -> None:
        claims = base64.urlsafe_b64encode(json.dumps({"sub": "user_2", "jti": "sess_2"}).encode()).decode()
        found = answer(200, headers={"x-fresh-jwt": f"a.{claims}.c"})
        assert sort(judge(), asked(session()), found) == "identity mixed up"

    def test_what_is_no_credential_is_not_let_in(self) -> None:
        assert sort(judge(), asked(None), answer(200)) == "let in what is no credential"
        assert sort(judge(), asked(None), answer(401)) is None
        assert sort(judge(), asked(None), answer(403)) == "not an answer to this"


class TestTheRevoked:
    def test_are_refused(self) -> None:
        assert sort(judge(), asked(revoked(ago=9)), answer(401)) is None

    @pytest.mark.parametrize("published", [True, False])
    def test_are_let_in_until_the_bound(self, *, published: bool) -> None:
        within, after = 1 + ALLOWANCE - 0.1, 1 + ALLOWANCE + 0.1
        assert sort(judge(), asked(revoked(ago=within, is_published=published)), answer(200)) is None
        assert sort(judge(), asked(revoked(ago=after, is_published=published)), answer(200)) == "revoked accepted"

    def test_are_refused_at_once_by_the_one_that_did_it(self) -> None:
        one = revoked(ago=0.01)
        assert sort(judge(), asked(one), answer(200, worker=_REVOKER)) == "revoked accepted"

    def test_one_that_is_under_way_may_be_answered_either_way(self) -> None:
        one = session(Ending("fleet", _NOW - 0.1))
        for status in (200, 401):
            assert sort(judge(), asked(one), answer(status)) is None

    def test_elsewhere_the_age_of_a_jwt_is_the_bound(self) -> None:
        for ago, wrong in ((12.0, None), (15.0, "revoked accepted")):
            one = session(Ending("elsewhere", _NOW - ago, _NOW - ago))
            assert sort(judge(), asked(one), answer(200)) == wrong

    def test_the_lateness_of_the_machine_is_allowed_for(self) -> None:
        one = judge()
        one.metronome._late.append((_NOW, 0.5))
        assert sort(one, asked(revoked(ago=3)), answer(200)) is None
        assert sort(one, asked(revoked(ago=5)), answer(200)) == "revoked accepted"

    @pytest.mark.parametrize(("ago", "wrong"), [(0.1, None), (3.9, None), (4.1, "revoked accepted")])
    @pytest.mark.parametrize("is_over", [True, False])
    def test_may_be_forgotten_for_a_moment_where_a_clock_is_set(
        self, ago: float, wrong: str | None, *, is_over: bool
    ) -> None:
        """Seed 406: right after a clock was put right, an entry of before seemed too old to matter."""
        one = judge()
        disturb(one, "clock", _NOW - 8, None)
        disturb(one, "clock", _NOW - ago, _NOW - ago + 0.01 if is_over else None)
        assert sort(one, asked(revoked(ago=6)), answer(200, worker=_REVOKER)) == wrong


class TestWhatRedisHasNotConfirmed:
    """It goes on being sent: others know of it once the one that revoked reaches Redis again."""

    @pytest.mark.parametrize(("published", "wrong"), [(True, "revoked accepted"), (False, None)])
    def test_may_wait_while_one_side_is_cut_off(self, *, published: bool, wrong: str | None) -> None:
        one = judge()
        disturb(one, "redis", _NOW - 9, None, delays_pending=True)
        assert sort(one, asked(revoked(ago=9, is_published=published)), answer(200)) == wrong

    def test_does_not_wait_where_all_have_lost_redis(self) -> None:
        one = judge()
        disturb(one, "redis", _NOW - 9, None)
        assert sort(one, asked(revoked(ago=9)), answer(200)) == "revoked accepted"

    @pytest.mark.parametrize(("after", "wrong"), [(-0.1, None), (0.1, "revoked accepted")])
    def test_is_known_some_time_after_that(self, after: float, wrong: str | None) -> None:
        one = judge()
        healed = _NOW - (HEALING + 1 + ALLOWANCE + after)
        disturb(one, "redis", healed - 1, healed, delays_pending=True)
        assert sort(one, asked(revoked(ago=_NOW - healed + 0.5)), answer(200)) == wrong

    @pytest.mark.parametrize(("published", "wrong"), [(True, "revoked accepted"), (False, None)])
    def test_may_be_lost_with_the_process(self, *, published: bool, wrong: str | None) -> None:
        one = judge()
        one.died[_REVOKER] = _NOW - 4.9
        assert sort(one, asked(revoked(ago=5, is_published=published)), answer(200)) == wrong

    def test_is_not_lost_where_the_process_lived_long_enough(self) -> None:
        one = judge()
        one.died[_REVOKER] = _NOW - 1
        assert sort(one, asked(revoked(ago=5)), answer(200)) == "revoked accepted"

    def test_no_longer_than_a_revocation_elsewhere(self) -> None:
        one = judge()
        disturb(one, "redis", _NOW - 20, None, delays_pending=True)
        assert sort(one, asked(revoked(ago=15)), answer(200)) == "revoked accepted"


class TestWhatTheApiWasNotTold:
    def test_is_let_in_by_one_that_has_to_ask_it(self) -> None:
        one, ending = judge(), revoked(ago=5, at_api=False, is_published=True)
        assert sort(one, asked(ending), answer(200)) == "revoked accepted"
        disturb(one, "redis", _NOW - 5, None)
        assert sort(one, asked(ending), answer(200)) is None

    def test_is_let_in_by_one_that_has_just_begun(self) -> None:
        one, ending = judge(), revoked(ago=9, at_api=False, is_published=True)
        disturb(one, "worker", _NOW - 1, None)
        assert sort(one, asked(ending), answer(200)) is None

    def test_is_remembered_for_so_long_as_it_matters_only(self) -> None:
        for worker in (_REVOKER, _OTHER):
            assert sort(judge(), asked(revoked(ago=15, at_api=False)), answer(200, worker=worker)) is None

    @pytest.mark.parametrize("worker", [_REVOKER, _OTHER])
    def test_is_let_in_where_the_api_has_dated_its_beginning_later(self, worker: int) -> None:
        """Seed 101: a session began 0.1 s before its revocation, by an API whose clock was 0.5 s ahead."""
        for ahead, wrong in ((-0.5, "revoked accepted"), (0.5, None)):
            one, found = revoked(ago=5, at_api=False, is_published=True), answer(200, worker=worker)
            one.began_at = unix(ago=5.2) + ahead
            assert sort(judge(), asked(one), found) == wrong
            assert (judge().seconds_after(asked(one), found) is None) == (wrong is None)
            one = revoked(ago=5, is_published=True)  # the API was told
            one.began_at = unix(ago=5.2) + ahead
            assert sort(judge(), asked(one), found) == "revoked accepted"


def test_a_span_lasts_from_its_beginning_to_its_end() -> None:
    spans = Spans()
    with spans.during("redis", [0]) as span:
        assert span.ended is None
        assert spans.felt("redis", 0, time.monotonic(), time.monotonic())
        assert not spans.felt("redis", 1, time.monotonic(), time.monotonic())
        assert spans.calm_at(span.begun, 1.0, spans.of("redis")) == math.inf
    assert span.ended is not None
    assert not spans.felt("redis", 0, span.ended + 1, span.ended + 2, recovery=0.5)
    assert spans.of("redis", delaying=True) == []
