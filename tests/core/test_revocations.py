"""Who may no longer pass: what an entry refuses, how long, and that nothing is ever forgotten."""

from __future__ import annotations

import logging
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from moonkey_core import Settings
from moonkey_core.providers.moonkey.ids import bare_user_id
from moonkey_core.revocations import Revocation, Revocations, retention
from support.together import together

NOW = 1_800_000_000.0
KEPT = 310.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def made(**options: Any) -> tuple[Revocations, Clock]:
    clock = Clock()
    return Revocations(**{"retention": KEPT, "clock": clock, "key_of_user": bare_user_id, **options}), clock


class TestACredentialOfAnUnknownSession:
    """It is revoked by its digest; a process that has accepted it revokes its session."""

    def test_it_is_refused_by_itself(self) -> None:
        revocations, clock = made()
        assert not revocations.revokes_credentials
        assert revocations.add_credential(["aa", "bb"])
        assert revocations.revokes_credentials
        assert revocations.refuses_credential(["aa"])
        assert revocations.refuses_credential(["zz", "bb"])
        assert not revocations.refuses_credential(["zz"])
        assert not revocations.refuses("aa", "user_1", None)
        clock.now += KEPT + 1
        assert not revocations.refuses_credential(["aa", "bb"])

    @pytest.mark.parametrize("order", ["known before", "known after", "unknown"])
    def test_its_session_is_revoked_where_it_is_known(self, order: str) -> None:
        one, _ = made(provider="cdp", scopes={"i": "cdp:p"})
        other, _ = made(provider="cdp", scopes={"i": "cdp:p"})
        one.listeners += (other.receive,)
        said: list[Revocation] = []
        other.listeners += (said.append,)
        if order == "known before":
            other.note_session(["aa"], "jti_1", "cdp:p")
        assert one.add_credential(["aa"])
        if order == "known after":
            other.note_session(["aa"], "jti_1", "cdp:p")
        assert other.refuses_credential(["aa"])
        assert other.refuses("jti_1", "user_1", None, "cdp:p") is (order == "known before")
        assert [(entry.session_id, entry.scope) for entry in said] == (
            [("jti_1", "cdp:p")] if order == "known before" else []
        )
        (entry,) = one.entries()
        assert entry.session_id == "credential_aa"  # as any session, which an earlier version reads as well

    def test_strangers_cannot_fill_the_table(self) -> None:
        revocations, _ = made(maxsize=1000)
        taken = [revocations.add_credential([f"d{one}"]) for one in range(50)]
        assert sum(one is not None for one in taken) == 10
        assert len(revocations) == 10
        assert revocations.add_credential(["d0"]) is not None  # which is there already


@pytest.mark.rule("S35")
class TestWhatAnEntryRefuses:
    def test_nothing_at_first(self) -> None:
        revocations, _ = made()
        assert not revocations.refuses("sess_1", "user_1", None)
        assert len(revocations) == 0

    def test_a_session_whatever_its_credential(self) -> None:
        revocations, _ = made()
        revocations.add(session_id="sess_1")
        for issued_at in (None, 0.0, NOW, NOW + 1000):
            assert revocations.refuses("sess_1", "user_1", issued_at)
            assert not revocations.refuses("sess_2", "user_1", issued_at)

    def test_a_user_until_now(self) -> None:
        revocations, _ = made()
        revocations.add(user_id="user_1")
        assert revocations.refuses("sess_1", "user_1", NOW)
        assert not revocations.refuses("sess_1", "user_1", NOW + 0.001)
        assert not revocations.refuses("sess_1", "user_2", NOW)

    @pytest.mark.parametrize(("ahead", "counts"), [(-3.0, 0.0), (0.0, 0.0), (3.0, 3.0), (60.0, 5.0)])
    @pytest.mark.parametrize("common", [None, -400.0, 400.0])
    def test_a_user_until_now_by_the_clock_that_dates(
        self, ahead: float, counts: float, common: float | None
    ) -> None:
        """Where the clock of the issuer is ahead, what was issued before has a later date: up to the leeway."""
        revocations, _ = made(leeway=5.0)
        if common is not None:
            revocations.set_clock_offset(common)
        now = NOW + (common or 0.0)
        revocations.set_issuer_offset(ahead + (common or 0.0))
        revocations.add(user_id="user_1")
        revocations.add(user_id="user_2", issued_before=now)
        assert revocations.refuses("sess_1", "user_1", now + counts - 0.1)
        assert not revocations.refuses("sess_1", "user_1", now + counts + 0.1)
        assert not revocations.refuses("sess_1", "user_2", now + 0.1)
        if common is None:  # it is known later
            revocations.set_clock_offset(-20.0)
            assert revocations.refuses("sess_1", "user_1", NOW - 20 + counts - 0.1)
            assert not revocations.refuses("sess_1", "user_1", NOW - 20 + counts + 0.1)

    @pytest.mark.parametrize("common", [-400.0, -10.0, 10.0, 400.0])
    @pytest.mark.parametrize("was_proven", [False, True])
    def test_a_clock_of_this_machine_that_is_wrong_says_nothing_of_the_issuers(
        self, common: float, was_proven: bool
    ) -> None:
        revocations, _ = made(leeway=5.0)
        if was_proven:  # before the clock of this machine was set
            revocations.set_clock_offset(0.0)
            revocations.set_issuer_offset(0.0)
        revocations.set_clock_offset(common)
        revocations.add(user_id="user_1")
        assert revocations.refuses("sess_1", "user_1", NOW + common)
        assert not revocations.refuses("sess_1", "user_1", NOW + max(common, 0.0) + 0.1)

    @pytest.mark.parametrize("moment", [NOW - 100, datetime.fromtimestamp(NOW - 100, UTC)])
    def test_a_user_until_a_moment(self, moment: Any) -> None:
        revocations, _ = made()
        revocations.add(user_id="user_1", issued_before=moment)
        assert revocations.refuses("sess_1", "user_1", NOW - 100)
        assert not revocations.refuses("sess_1", "user_1", NOW - 99)

    def test_everybody_until_a_moment(self) -> None:
        revocations, _ = made()
        revocations.add(issued_before=NOW - 100)
        assert revocations.refuses("sess_1", "user_1", NOW - 100)
        assert not revocations.refuses("sess_1", "user_1", NOW - 99)

    @pytest.mark.parametrize("entry", [{"user_id": "user_1"}, {"issued_before": NOW - 100}])
    @pytest.mark.parametrize("issued_at", [None, math.nan, -math.inf])
    def test_an_unknown_age_counts_as_old(self, entry: Any, issued_at: float | None) -> None:
        revocations, _ = made()
        revocations.add(**entry)
        assert revocations.refuses("sess_1", "user_1", issued_at)

    @pytest.mark.parametrize("added", ["user_1", "1"])
    @pytest.mark.parametrize("asked", ["user_1", "1"])
    def test_both_spellings_of_a_user(self, added: str, asked: str) -> None:
        revocations, _ = made()
        revocations.add(user_id=added)
        assert revocations.refuses("sess_1", asked, NOW)

    def test_a_later_moment_adds_and_an_earlier_takes_nothing_away(self) -> None:
        revocations, _ = made()
        for back in (50, 10, 100):
            revocations.add(user_id="user_1", issued_before=NOW - back)
            revocations.add(issued_before=NOW - 100 - back)
        assert revocations.refuses("sess_1", "user_1", NOW - 10)
        assert revocations.refuses("sess_1", "user_2", NOW - 110)
        assert len(revocations) == 2


class TestOneThatIsKept:
    def test_it_alone_passes(self) -> None:
        revocations, _ = made()
        revocations.add(user_id="user_1", keep="sess_1")
        for issued_at in (None, 0.0, NOW):
            assert not revocations.refuses("sess_1", "1", issued_at)
            assert revocations.refuses("sess_2", "1", issued_at)

    def test_until_it_is_revoked_itself(self) -> None:
        revocations, _ = made()
        revocations.add(user_id="user_1", keep="sess_1")
        version = revocations.version
        revocations.add(session_id="sess_1")
        assert revocations.refuses("sess_1", "user_1", NOW)
        assert revocations.version > version

    @pytest.mark.parametrize(
        "later", [{"user_id": "1"}, {"user_id": "1", "keep": "sess_2"}, {"issued_before": NOW}]
    )
    def test_until_an_entry_that_does_not_keep_it(self, later: dict[str, Any]) -> None:
        revocations, _ = made()
        revocations.add(user_id="user_1", keep="sess_1")
        version = revocations.version
        revocations.add(**later)
        assert revocations.refuses("sess_1", "user_1", NOW)
        assert revocations.version > version

    @pytest.mark.parametrize("wrong", [{"session_id": "s"}, {"issued_before": NOW}, {}])
    def test_it_is_kept_of_a_user(self, wrong: dict[str, Any]) -> None:
        revocations, _ = made()
        with pytest.raises(ValueError, match=r"."):
            revocations.add(keep="sess_1", **wrong)
        for keep in ("", 5, "s" * 257):
            with pytest.raises(ValueError, match=r"."):
                revocations.add(user_id="user_1", keep=keep)  # type: ignore[arg-type]
        assert len(revocations) == 0


class TestCuttingOff:
    @pytest.mark.parametrize("leeway", [0.0, 5.0])
    def test_what_is_certain_and_what_is_doubted(self, leeway: float) -> None:
        revocations, clock = made(leeway=leeway)
        clock.now += 0.7
        revocations.add_cutoff("user_1", keep="sess_1")
        for issued_at, refused, doubted in (
            (None, True, True),
            (NOW - leeway - 1, True, True),
            (NOW - leeway, False, True),
            (NOW, False, True),
            (NOW + leeway, False, True),
            (NOW + leeway + 1, False, False),
        ):
            assert revocations.refuses("sess_2", "1", issued_at) is refused
            assert revocations.needs_introspection("sess_2", "1", issued_at) is doubted
            assert not revocations.refuses("sess_1", "1", issued_at)
            assert not revocations.needs_introspection("sess_1", "1", issued_at)
            assert not revocations.needs_introspection("sess_2", "2", issued_at)

    def test_it_is_one_entry_for_the_fleet(self) -> None:
        revocations, clock = made(leeway=5.0)
        heard: list[Revocation] = []
        revocations.listeners = (heard.append,)
        revocations.add_cutoff("user_1")
        assert len(revocations) == len(heard) == len(revocations.entries()) == 1
        clock.now += KEPT + 5
        assert len(revocations) == 0
        assert not revocations.needs_introspection("sess_1", "user_1", NOW)

    def test_no_doubt_makes_room_for_another(self) -> None:
        """Doubts last longer than what came with them, so there may be more of them."""
        revocations, clock = made(maxsize=2, leeway=5.0)
        for user in ("user_1", "user_2"):
            revocations.add_cutoff(user)
        clock.now += KEPT + 1
        for user in ("user_3", "user_4"):
            revocations.add_cutoff(user)
            assert not revocations.needs_introspection("sess_1", "user_1", clock.now)
            assert not revocations.needs_introspection("sess_1", "user_2", clock.now)
        for user in ("user_3", "user_4"):
            found = (
                revocations.refuses("sess_1", user, clock.now),
                revocations.needs_introspection("sess_1", user, clock.now),
            )
            assert any(found)

    def test_where_there_is_no_room_nothing_is_left_in_doubt(self) -> None:
        revocations, _ = made(maxsize=2, leeway=5.0)
        for user in ("1", "2", "3"):
            revocations.add_cutoff(user)
        assert revocations.refuses("sess_1", "user_9", NOW + 5)
        assert not revocations.needs_introspection("sess_1", "user_1", NOW)


MOMENTS = st.sampled_from([NOW - 20, NOW - 10, NOW, NOW + 10])
KEPT_SESSIONS = st.sampled_from([None, "s1", "s2"])
USER_ENTRIES = st.builds(
    lambda moment, kept, later: Revocation(
        None, "user_1", moment, NOW, kept, None if later is None else moment + later
    ),
    MOMENTS,
    KEPT_SESSIONS,
    st.sampled_from([None, 5.0, 15.0]),
)


@pytest.mark.long
@settings(max_examples=300, deadline=None)
@given(st.lists(USER_ENTRIES, max_size=5), st.permutations(range(5)))
def test_any_order_of_entries_refuses_and_doubts_what_one_of_them_does(
    entries: list[Revocation], order: list[int]
) -> None:
    """Also after a fork or a lost feed, when all of it is said again."""
    one, other, again = made()[0], made()[0], made()[0]
    version = one.version
    for entry in entries:
        before = [one.refuses(s, "user_1", t) for s in ("s1", "s2", "s3") for t in (None, NOW - 15, NOW, NOW + 8)]
        one.receive(entry)
        after = [one.refuses(s, "user_1", t) for s in ("s1", "s2", "s3") for t in (None, NOW - 15, NOW, NOW + 8)]
        assert all(now or not then for then, now in zip(before, after, strict=True))
        assert (before == after) or one.version > version
        version = one.version
    for place in order:
        if place < len(entries):
            other.receive(entries[place])
    for entry in one.entries():
        again.receive(entry)
    for table in (one, other, again):
        for session in ("s1", "s2", "s3"):
            for issued_at in (NOW - 25, NOW - 20, NOW - 12, NOW - 5, NOW, NOW + 9, NOW + 25, NOW + 40):
                covering = [entry for entry in entries if entry.exempt_session_id != session]
                refused = any(issued_at <= (entry.issued_before or 0) for entry in covering)
                doubted = any(issued_at <= (entry.confirm_before or 0) for entry in covering)
                assert table.refuses(session, "1", issued_at) == refused
                assert refused or table.needs_introspection(session, "1", issued_at) == doubted


ENDS: dict[str, Any] = {
    "ended": lambda table, one: table.add_session(f"sess_{one}", "user_1", is_ended=True),
    "revoked": lambda table, one: table.add(session_id=f"sess_{one}"),
    "the user": lambda table, one: table.add(user_id=f"user_{one}"),
    "the user, by now": lambda table, one: table.add_cutoff(f"user_{one}", is_ended=True),
    "all": lambda table, _: table.add(issued_before=NOW - 5),
    "reported": lambda table, one: table.add_report(session_id=f"sess_{one}"),
    "reported by another": lambda table, one: table.receive(
        Revocation(f"sess_{one}", None, None, NOW, confirm_before=NOW)
    ),
    "a credential": lambda table, one: table.add_report(credentials=[f"d{one}"]),
    "later": lambda table, one: setattr(table.clock, "now", table.clock.now + 90.0 * one),
}


@given(
    st.lists(st.tuples(st.sampled_from(sorted(ENDS)), st.integers(0, 4)), max_size=8), st.sampled_from([2, 3, 9])
)
def test_a_session_that_no_entry_is_about(steps: list[tuple[str, int]], maxsize: int) -> None:
    """Of such a one nothing is refused or doubted, also where the table was full and forgets."""
    revocations, _ = made(maxsize=maxsize)
    for name, number in steps:
        ENDS[name](revocations, number)
        for one in range(5):
            asked = f"sess_{one}", f"user_{one}"
            if revocations.concerns_none_of(asked[0], "moonkey"):
                for date in (None, 0.0, NOW - 5, NOW, NOW + 5):
                    assert not revocations.refuses(*asked, date)
                    assert not revocations.needs_introspection(*asked, date, date)


def test_most_sessions_are_such_ones() -> None:
    revocations, _ = made()
    assert revocations.concerns_none_of("sess_1", "moonkey")
    revocations.add_report(session_id="sess_2")
    assert revocations.concerns_none_of("sess_1", "moonkey")
    assert not revocations.concerns_none_of("sess_2", "moonkey")
    assert revocations.concerns_none_of("sess_2", "https://other.example")
    revocations.add(session_id="sess_3")
    assert not revocations.concerns_none_of("sess_1", "moonkey")  # it has to be looked for


SAID = st.one_of(
    st.fixed_dictionaries({"user_id": st.just("user_1"), "keep": st.sampled_from([None, "sess_1", "sess_2"])}),
    st.fixed_dictionaries(
        {"user_id": st.just("user_1"), "issued_before": st.integers(-30, 30).map(lambda seconds: NOW + seconds)}
    ),
    st.fixed_dictionaries({"issued_before": st.integers(-30, 30).map(lambda seconds: NOW + seconds)}),
)


@pytest.mark.long
@given(
    said=st.lists(st.tuples(st.booleans(), SAID), max_size=5), offset=st.sampled_from([-400, -10, -1, 1, 10, 400])
)
def test_what_was_dated_by_our_own_clock_is_put_right(said: list[tuple[bool, Any]], offset: int) -> None:
    """Whatever it has become one with before the common clock was known."""
    revocations, _ = made(leeway=5.0)
    told: list[Revocation] = []
    revocations.listeners = (told.append,)
    for is_cut_off, entry in said:
        if is_cut_off and "issued_before" not in entry:
            revocations.add_cutoff(entry["user_id"], keep=entry["keep"])
        else:
            revocations.add(**entry)
    revocations.set_clock_offset(offset)
    own_only = all(one.by_local_clock for one in told)
    for session in ("sess_1", "sess_2", "sess_3"):
        dates = [
            one.issued_before + offset * one.by_local_clock
            for one in told
            if one.issued_before is not None and one.exempt_session_id != session
        ]
        if dates:
            assert revocations.refuses(session, "user_1", max(dates))
            assert not own_only or not revocations.refuses(session, "user_1", max(dates) + 1.0)


def test_an_entry_that_is_made_while_the_common_clock_becomes_known() -> None:
    revocations, _ = made()
    revocations.set_clock_offset(-400)
    revocations.record(Revocation(None, "user_1", NOW, NOW, by_local_clock=True))
    assert revocations.refuses("sess_1", "user_1", NOW - 400)
    assert not revocations.refuses("sess_1", "user_1", NOW - 399)


class TestWrongEntries:
    @pytest.mark.parametrize(
        "wrong",
        [
            {},
            {"session_id": "sess_1", "user_id": "user_1"},
            {"session_id": "sess_1", "issued_before": NOW},
            {"session_id": ""},
            {"session_id": 5},
            {"session_id": "s" * 257},
            {"session_id": "line\nbreak"},
            {"user_id": ""},
            {"issued_before": datetime(2026, 1, 1)},  # noqa: DTZ001 - that is what is wrong with it
            {"issued_before": True},
            {"issued_before": math.nan},
            {"issued_before": math.inf},
            {"issued_before": 10**400},
            {"issued_before": "1800000000"},
            {"issued_before": NOW * 1000},
            {"issued_before": NOW + 61},
        ],
    )
    def test_are_refused_and_change_nothing(self, wrong: Any) -> None:
        revocations, _ = made()
        heard: list[Revocation] = []
        revocations.listeners = (heard.append,)
        with pytest.raises(ValueError, match=r"."):
            revocations.add(**wrong)
        assert len(revocations) == revocations.version == len(heard) == 0


@pytest.mark.rule("S35")
class TestTime:
    @pytest.mark.parametrize("entry", [{"session_id": "sess_1"}, {"user_id": "user_1"}, {"issued_before": NOW}])
    def test_kept_for_the_retention_and_no_longer(self, entry: Any) -> None:
        revocations, clock = made()
        revocations.add(**entry)
        version = revocations.version
        clock.now += KEPT - 0.001
        assert revocations.refuses("sess_1", "user_1", NOW)
        assert len(revocations) == len(revocations.entries()) == 1
        clock.now += 0.001
        assert not revocations.refuses("sess_1", "user_1", NOW)
        assert len(revocations) == len(revocations.entries()) == 0
        assert revocations.version == version

    def test_longest_life_of_anything_verified(self) -> None:
        def kept(**options: Any) -> float:
            return retention(Settings.load({"secret_key": "sk_test_x", **options}, {}))

        assert kept() == 310
        assert kept(jwt_max_age=10, session_cache_ttl=60, leeway=0) == 60
        assert kept(jwt_max_age=100, grace_seconds=300, leeway=1) == 402

    def test_a_foreign_clock_that_is_ahead_prolongs_nothing(self) -> None:
        revocations, clock = made()
        revocations.receive(Revocation("sess_1", None, None, NOW + 10_000))
        revocations.receive(Revocation(None, "user_1", NOW + 10_000, NOW + 10_000))
        assert not revocations.refuses("sess_2", "user_1", NOW + 61)
        assert revocations.refuses("sess_2", "user_1", NOW + 60)
        clock.now += KEPT + 60
        assert len(revocations) == 0

    def test_an_entry_that_comes_too_late_is_nothing(self) -> None:
        revocations, _ = made()
        for entry in (
            Revocation("sess_1", None, None, NOW - KEPT),
            Revocation(None, "user_1", NOW - KEPT, NOW - KEPT),
            Revocation(None, None, NOW - KEPT, NOW - KEPT),
        ):
            revocations.receive(entry)
        assert len(revocations) == revocations.version == 0


@pytest.mark.rule("S35")
class TestFull:
    def test_it_refuses_everything_older_instead(self, caplog: pytest.LogCaptureFixture) -> None:
        revocations, clock = made(maxsize=3, leeway=5.0)
        for place in range(2):
            revocations.add(session_id=f"sess_{place}")
        revocations.add(user_id="user_1")
        assert not caplog.records
        version = revocations.version
        with caplog.at_level(logging.ERROR, "moonkey"):
            revocations.add(session_id="sess_9")
        assert [record.__dict__["reason"] for record in caplog.records] == ["revocations_full"]
        assert "sess_" not in caplog.text
        assert revocations.version != version
        assert len(revocations) == 1
        for session in ("sess_0", "sess_9", "other"):
            assert revocations.refuses(session, "user_2", NOW)
            assert revocations.refuses(session, "user_2", NOW + 5)  # by a clock that is ahead
            assert not revocations.refuses(session, "user_2", NOW + 6)
        clock.now += KEPT
        assert revocations.refuses("sess_0", "user_1", NOW)
        clock.now += 5
        assert not revocations.refuses("sess_0", "user_1", NOW)

    def test_a_known_entry_needs_no_room(self) -> None:
        revocations, _ = made(maxsize=2)
        for _ in range(3):
            revocations.add(session_id="sess_1")
            revocations.add(user_id="user_1")
            revocations.add(issued_before=NOW - 200)
        assert not revocations.refuses("sess_2", "user_2", NOW)

    def test_what_is_past_its_time_makes_room(self) -> None:
        revocations, clock = made(maxsize=2)
        for _ in range(5):
            revocations.add(session_id=f"sess_{clock.now}")
            clock.now += KEPT / 2
        assert not revocations.refuses("other", "user_2", NOW)


class TestVersion:
    def test_changes_where_more_is_refused(self) -> None:
        revocations, clock = made()
        entries: list[Any] = [
            {"session_id": "sess_1"},
            {"user_id": "user_1", "issued_before": NOW - 5},
            {"user_id": "user_1", "issued_before": NOW - 4},
            {"issued_before": NOW - 5},
            {"issued_before": NOW - 4},
        ]
        seen = [revocations.version]
        for entry in entries:
            revocations.add(**entry)
            seen.append(revocations.version)
        assert len(set(seen)) == len(seen)
        clock.now += 1
        for entry in entries:
            revocations.add(**entry)
        assert revocations.version == seen[-1]

    def test_an_answer_read_before_an_entry_is_seen_to_be_old(self) -> None:
        revocations, _ = made()

        def reader(place: int) -> bool:
            if place == 0:
                revocations.add(session_id="sess_1")
                return True
            version = revocations.version
            refused = revocations.refuses("sess_1", "user_1", NOW)
            while version != revocations.version:
                version = revocations.version
                refused = revocations.refuses("sess_1", "user_1", NOW)
            return refused or version == 0

        for _ in range(20):
            revocations, _ = made()
            assert all(together(6, reader))


class TestListeners:
    def test_hear_what_was_added_here_and_nothing_else(self) -> None:
        revocations, _ = made()
        heard: list[Revocation] = []
        revocations.listeners = (heard.append,)
        revocations.receive(Revocation("sess_0", None, None, NOW))
        revocations.add(session_id="sess_1")
        revocations.add(user_id="user_1")
        revocations.add(issued_before=5)
        revocations.add(session_id="sess_1")  # said again: it may not have been heard
        first = Revocation("sess_1", None, None, NOW)
        assert heard == [
            first,
            Revocation(None, "user_1", NOW, NOW),
            Revocation(None, None, 5.0, NOW),
            first,
        ]

    def test_trouble_in_one_is_logged_and_goes_no_further(self, caplog: pytest.LogCaptureFixture) -> None:
        revocations, _ = made()
        heard: list[Revocation] = []

        def broken(_: Revocation) -> None:
            raise OSError

        revocations.listeners = (broken, heard.append)
        revocations.add(session_id="sess_1")
        assert len(heard) == 1
        assert [record.__dict__["reason"] for record in caplog.records] == ["listener_failed"]


class TestThreadsAndForks:
    def test_many_threads(self) -> None:
        revocations, clock = made(maxsize=10_000)

        def work(place: int) -> bool:
            for turn in range(100):
                clock.now += 0.001
                revocations.add(session_id=f"sess_{place}_{turn}")
                assert revocations.refuses(f"sess_{place}_{turn}", "user_1", NOW)
                len(revocations)
            return True

        assert all(together(8, work))
        assert len(revocations) == 800

    def test_a_lock_held_in_the_parent(self) -> None:
        revocations, clock = made()
        revocations.add(session_id="sess_1")
        revocations.add(user_id="user_1", issued_before=NOW - 1)
        revocations.add(issued_before=NOW - 2)
        before = revocations.entries()
        revocations._lock.acquire()
        revocations._revoked._users._cutoffs.timer.__enter__()  # as where the fork came in the middle of a change
        revocations.reset_lock()
        assert revocations.entries() == before
        revocations.add(session_id="sess_2")
        clock.now += KEPT
        assert len(revocations) == 0

    def test_a_free_lock(self) -> None:
        revocations, _ = made()
        revocations.add(session_id="sess_1")
        revocations.reset_lock()
        assert revocations.refuses("sess_1", "user_1", NOW)

    def test_repr_tells_no_names(self) -> None:
        revocations, _ = made()
        revocations.add(session_id="sess_1")
        revocations.add(user_id="user_1")
        assert repr(revocations) == "Revocations(sessions=1, users=1, all_users=0)"


@given(st.integers(0, 400), st.integers(-500, 100), st.one_of(st.none(), st.integers(-500, 500)))
def test_everything_taken_over_from_another_refuses_the_same(age: int, moment: int, issued: int | None) -> None:
    one, _ = made()
    other, _ = made()
    entries = [
        Revocation("sess_1", None, None, NOW - age),
        Revocation(None, "user_1", NOW + moment, NOW - age),
        Revocation(None, None, NOW + moment - 50, NOW - age),
    ]
    for entry in entries:
        one.receive(entry)
    for entry in one.entries() * 2:
        other.receive(entry)
    issued_at = None if issued is None else NOW + issued
    for session, user in (("sess_1", "user_2"), ("sess_2", "1"), ("sess_2", "user_2")):
        assert one.refuses(session, user, issued_at) == other.refuses(session, user, issued_at)


SESSIONS = st.sampled_from(["sess_1", "sess_2", "sess_3", "sess_4"])
USERS = st.sampled_from(["user_1", "1", "user_2", "2", "user_3"])
BACK = st.sampled_from([0.0, 0.5, 10.0, 100.0, 400.0])


class RevocationsMachine(RuleBasedStateMachine):
    """Against a list of all that was ever added, never cleaned up."""

    @initialize(maxsize=st.sampled_from([2, 4, 100]))
    def start(self, maxsize: int) -> None:
        self.revocations, self.clock = made(maxsize=maxsize)
        self.maxsize = maxsize
        self.added: list[Revocation] = []
        self.revocations.listeners = (self.added.append,)
        self.sound: dict[tuple[str, str, float | None], int] = {}

    @rule(session=SESSIONS)
    def revoke_session(self, session: str) -> None:
        self.revocations.add(session_id=session)

    @rule(user=USERS, back=st.one_of(st.none(), BACK))
    def revoke_user(self, user: str, back: float | None) -> None:
        self.revocations.add(user_id=user, issued_before=None if back is None else self.clock.now - back)

    @rule(back=BACK)
    def revoke_everybody(self, back: float) -> None:
        self.revocations.add(issued_before=self.clock.now - back)

    @rule(session=SESSIONS, age=BACK)
    def hear_of_session(self, session: str, age: float) -> None:
        entry = Revocation(session, None, None, self.clock.now - age)
        self.revocations.receive(entry)
        self.added.append(entry)

    @rule(seconds=st.sampled_from([0.1, 5.0, 100.0, 305.0, 311.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def fork(self) -> None:
        self.revocations._lock.acquire()
        self.revocations.reset_lock()

    @rule(session=SESSIONS, user=USERS, back=st.one_of(st.none(), BACK))
    def ask(self, session: str, user: str, back: float | None) -> None:
        issued_at = None if back is None else self.clock.now - back
        version = self.revocations.version
        refused = self.revocations.refuses(session, user, issued_at)
        live = [entry for entry in self.added if self.clock.now < entry.added_at + KEPT]
        # What a session's entry says of a JWT that is newer than the entry is lost when all become one.
        if any(self.covers(entry, session, user, issued_at, exact=False) for entry in live):
            assert refused
        if refused and self.maxsize == 100:
            assert any(self.covers(entry, session, user, issued_at, exact=True) for entry in self.added)
        if not refused:
            self.sound[(session, user, issued_at)] = version

    def covers(self, entry: Revocation, session: str, user: str, issued_at: float | None, *, exact: bool) -> bool:
        if entry.session_id is not None:
            newer = issued_at is not None and issued_at > entry.added_at
            return entry.session_id == session and (exact or self.maxsize == 100 or not newer)
        if entry.user_id is not None and entry.user_id.removeprefix("user_") != user.removeprefix("user_"):
            return False
        assert entry.issued_before is not None
        return issued_at is None or issued_at <= entry.issued_before

    @invariant()
    def bounded(self) -> None:
        if hasattr(self, "revocations"):
            assert len(self.revocations) <= self.maxsize + 1

    @invariant()
    def an_answer_holds_while_the_version_stands(self) -> None:
        for (session, user, issued_at), version in getattr(self, "sound", {}).items():
            if version == self.revocations.version:
                assert not self.revocations.refuses(session, user, issued_at)


TestRevocationsMachine = RevocationsMachine.TestCase
TestRevocationsMachine.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, derandomize=True
)
