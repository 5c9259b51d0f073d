"""Sliding sessions: when one is due, by how much, and that nobody waits for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import Auth
from moonkey_core._session_life.sliding import SlidingExpiration
from moonkey_core._verified import CacheEntry
from moonkey_core.errors import RequestRefused
from moonkey_core.events import Event, Extended
from moonkey_core.web.request import RequestInfo
from support.decisions import NOW, replied
from support.odd_jwts import good
from support.scripted_api import KnownToTheApi

TOKEN = "session_" + "t" * 40
HOUR, DAY = 3600, 86_400
WEEK = timedelta(days=7)
ENDS_SOON = {"session": {"started_at": int(NOW) - HOUR, "expires_at": int(NOW) + DAY}}
ENDS_LATE = {"session": {"started_at": int(NOW) - HOUR, "expires_at": int(NOW) + 7 * DAY - HOUR}}


def made(about: dict[str, Any] = ENDS_SOON, **options: Any) -> KnownToTheApi:
    decisions = KnownToTheApi([TOKEN], **{"extend_on_activity": WEEK, "cookies": True, **options})
    decisions.good[TOKEN] = about
    by_heart = decisions.answer

    def answer(fetch: Any) -> Any:
        minutes = (fetch.json or {}).get("session_expires_in")
        if minutes is not None:
            session = {**about["session"], "expires_at": int(decisions.now) + minutes * 60}
            decisions.good[TOKEN] = {**about, "session": session}
        return by_heart(fetch)

    decisions.answer = answer
    return decisions


def wanted(decisions: KnownToTheApi) -> list[int | None]:
    """What each call to verify asked for, in minutes."""
    return [(fetch.json or {}).get("session_expires_in") for fetch in decisions.fetches if "verify" in fetch.url]


def visit(decisions: KnownToTheApi, jwt: str = "") -> Auth:
    value = f"__Host-moonkey_session={TOKEN}" + (f"; __Host-moonkey_jwt={jwt}" if jwt else "")
    return decisions.read({"cookie": [value]}, None, RequestInfo("GET", "https"))


def test_off_by_default() -> None:
    decisions = made(extend_on_activity=None)
    assert decisions.authenticate(TOKEN).is_authenticated
    assert wanted(decisions) == [None]


def test_a_token_is_verified_plainly_and_extended_afterwards() -> None:
    decisions = made()
    events: list[Event] = []
    decisions.core.hooks.add(events.append)
    assert decisions.authenticate(TOKEN).is_authenticated
    assert wanted(decisions) == [None, 7 * 24 * 60]
    assert [event for event in events if isinstance(event, Extended)] == [Extended("user_1", "sess_1")]
    assert decisions.authenticate(TOKEN).is_authenticated  # its remaining life says that it was just done
    assert wanted(decisions) == [None, 7 * 24 * 60, None]


def test_one_that_has_long_to_go_is_left_alone() -> None:
    decisions = made(ENDS_LATE)
    decisions.authenticate(TOKEN)
    assert wanted(decisions) == [None]
    decisions.now += 8 * HOUR  # a twentieth of a week is 8.4 hours; an hour had passed
    decisions.authenticate(TOKEN)
    assert wanted(decisions) == [None, None, 7 * 24 * 60]


def test_every_can_be_chosen() -> None:
    decisions = made(ENDS_LATE, extend_every=timedelta(minutes=30))
    decisions.authenticate(TOKEN)
    assert wanted(decisions) == [None, 7 * 24 * 60]


def test_a_local_jwt_is_extended_by_its_session_s_life_once() -> None:
    decisions = made()
    jwt = good(NOW, **ENDS_SOON)
    decisions.down = True
    for _ in range(5):
        assert decisions.authenticate(jwt).is_authenticated
    assert wanted(decisions) == [7 * 24 * 60]  # the API cannot be reached, and is left alone for a minute
    decisions.good[jwt], decisions.down = decisions.good[TOKEN], False
    decisions.now += 61
    assert [decisions.authenticate(jwt).source for _ in range(5)] == ["cache"] * 5
    assert wanted(decisions) == [7 * 24 * 60] * 2


def test_the_pair_is_extended_by_its_token() -> None:
    decisions = made()
    for _ in range(3):
        assert visit(decisions, good(NOW, **ENDS_SOON)).is_authenticated
    assert wanted(decisions) == [7 * 24 * 60]
    assert decisions.fetches[-1].json is not None
    assert decisions.fetches[-1].json["session_token"] == TOKEN


def test_it_rides_on_a_refresh_that_is_due() -> None:
    decisions = made()
    old = good(NOW - 400, **ENDS_SOON)
    auth = visit(decisions, old)
    assert auth.is_authenticated
    assert wanted(decisions) == [7 * 24 * 60]
    assert auth.session is not None
    assert auth.session.expires_in > timedelta(days=1)


def test_a_length_that_is_refused_stops_nobody() -> None:
    decisions = made()
    plain = decisions.answer
    refusal = replied(400, {"error_type": "invalid_parameter"})
    decisions.answer = lambda fetch: refusal if "session_expires_in" in (fetch.json or {}) else plain(fetch)
    assert visit(decisions, good(NOW - 400, **ENDS_SOON)).is_authenticated
    assert decisions.authenticate(TOKEN).is_authenticated
    assert decisions.authenticate(TOKEN).is_authenticated


def test_an_api_that_is_down_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    decisions = made()
    decisions.down = True
    assert visit(decisions, good(NOW, **ENDS_SOON)).is_authenticated
    reasons = [record.reason for record in caplog.records]  # type: ignore[attr-defined]
    assert [one for one in reasons if one != "user_incomplete"] == ["extension_failed"]
    assert TOKEN not in caplog.text


class TestTheLongestLife:
    def test_the_end_never_moves_beyond_it(self) -> None:
        about = {"session": {"started_at": int(NOW) - 85 * DAY, "expires_at": int(NOW) + DAY}}
        decisions = made(about)
        decisions.authenticate(TOKEN)
        assert wanted(decisions) == [None, 5 * 24 * 60]

    def test_near_it_nothing_is_done_any_more(self) -> None:
        about = {"session": {"started_at": int(NOW) - 90 * DAY + HOUR, "expires_at": int(NOW) + HOUR}}
        decisions = made(about)
        decisions.authenticate(TOKEN)
        assert wanted(decisions) == [None]

    def test_without_a_known_start_there_is_none(self) -> None:
        decisions = made({"session": {"expires_at": int(NOW) + DAY}})
        decisions.authenticate(TOKEN)
        assert wanted(decisions) == [None]


@pytest.mark.parametrize(("reason", "pauses_all"), [("duration_refused", True), ("request_refused", False)])
def test_a_refusal_of_one_session_pauses_no_other(reason: str, pauses_all: bool) -> None:
    """A refused length concerns every session; any other refusal, for a minute, the one that was asked about."""
    now = NOW
    decisions = KnownToTheApi(extend_on_activity=HOUR)
    sliding_expiration = SlidingExpiration(decisions.settings, lambda: now)
    one, other = (
        CacheEntry(
            body=b"", reader=decisions.core.provider, session_id=session_id, user_id="u", issued_at=NOW,
            starts_at=NOW, reusable_until=NOW, vouched_at=NOW, ends_at=NOW + 600, last_accepted_at=NOW,
            started_at=NOW - 600,
        )
        for session_id in ("one", "other")
    )  # fmt: skip
    assert sliding_expiration.minutes_due(one) == 60
    sliding_expiration.on_refused(RequestRefused(reason=reason), one)
    assert sliding_expiration.minutes_due(one) is None
    assert sliding_expiration.minutes_due(other) == (None if pauses_all else 60)
    now += 61
    assert sliding_expiration.minutes_due(one) == 60


@given(
    started=st.floats(NOW - 200 * DAY, NOW),
    left=st.floats(1, 400 * DAY),
    wish=st.integers(300, 100 * DAY),
    longest=st.integers(300, 300 * DAY),
)
def test_the_end_moves_forward_and_never_too_far(started: float, left: float, wish: int, longest: int) -> None:
    decisions = KnownToTheApi(extend_on_activity=wish, session_max_lifetime=longest)
    sliding_expiration = SlidingExpiration(decisions.settings, lambda: NOW)
    known = CacheEntry(
        body=b"", reader=decisions.core.provider, session_id="s", user_id="u", issued_at=started, starts_at=NOW,
        reusable_until=NOW, vouched_at=NOW, ends_at=NOW + left, last_accepted_at=NOW, started_at=started,
    )  # fmt: skip
    minutes = sliding_expiration.minutes_due(known)
    if minutes is None:
        return
    end = NOW + minutes * 60
    assert end <= started + longest
    assert end <= NOW + wish
    assert end > known.ends_at - 60
    assert sliding_expiration.claim(known) == minutes
    assert sliding_expiration.claim(known) is None
