"""S35. More revocations than are remembered singly: the API is asked about what it has ended, and nothing else."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonkey_core import RevocationsFull
from moonkey_core._crypto import Sealer
from moonkey_core._repeated_log import reset
from moonkey_core._revocations.sessions import RevokedSession, SessionTable
from moonkey_core._verified import Key
from moonkey_core.providers.moonkey.ids import bare_user_id
from moonkey_core.redis.entries import entry_key, open_entry, seal_entry, without_superseded
from moonkey_core.redis.room import ended_of, replacements
from moonkey_core.revocations import Revocation, Revocations

pytestmark = pytest.mark.rule("S35")

NOW = 1_800_000_000.0
KEPT = 310.0
LEEWAY = 5.0
SEALER = Sealer("secret", "test")


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def made(**options: Any) -> tuple[Revocations, Clock]:
    clock = Clock()
    usual = {"retention": KEPT, "leeway": LEEWAY, "clock": clock, "key_of_user": bare_user_id}
    return Revocations(**{**usual, **options}), clock


def sign_outs(table: Revocations, clock: Clock, user: str, number: int, *, is_ended: bool = True) -> None:
    for place in range(number):
        table.add_session(f"{user}_sess_{place}", user)
        if is_ended:
            table.add_session(f"{user}_sess_{place}", user, is_ended=True)
        clock.now += 0.01


def judged(table: Revocations, session: str, user: str, issued_at: float, vouched_at: float | None = None) -> str:
    """What becomes of a credential that was issued then: it is accepted, asked about or refused."""
    if table.refuses(session, user, issued_at):
        return "refused"
    vouched_at = issued_at if vouched_at is None else vouched_at
    return "asked" if table.needs_introspection(session, user, issued_at, vouched_at) else "accepted"


class TestOneUser:
    @pytest.mark.parametrize("number", [50, 500])
    def test_who_signs_in_and_out_again_and_again_concerns_no_other(self, number: int) -> None:
        table, clock = made(maxsize=50)
        table.add_session("other_sess", "user_2", is_ended=True)
        clock.now += 1
        sign_outs(table, clock, "user_1", number)
        assert judged(table, "sess_9", "user_3", NOW - 60) == "accepted"
        assert judged(table, "other_sess", "user_2", NOW - 60) == "refused"
        assert {judged(table, f"user_1_sess_{place}", "user_1", NOW) for place in range(number)} == {"asked"}
        assert judged(table, "new", "user_1", clock.now + LEEWAY + 1) == "accepted"
        assert len(table) <= 8

    def test_a_few_are_refused_without_a_question(self) -> None:
        table, clock = made(maxsize=1000)
        sign_outs(table, clock, "user_1", 16)
        assert {judged(table, f"user_1_sess_{place}", "user_1", NOW) for place in range(16)} == {"refused"}
        assert judged(table, "new", "user_1", NOW - 60) == "accepted"
        sign_outs(table, clock, "user_1", 17)
        assert {judged(table, f"user_1_sess_{place}", "user_1", NOW) for place in range(17)} == {"asked"}
        assert judged(table, "new", "user_1", NOW - 60) == "asked"

    def test_both_spellings_are_one_user(self) -> None:
        table, _ = made(maxsize=8)
        table.add_session("sess_1", "user_1", is_ended=True)
        table.add_session("sess_2", "1", is_ended=True)
        assert judged(table, "sess_1", "user_1", NOW) == judged(table, "sess_2", "1", NOW) == "asked"

    def test_an_id_that_cannot_be_named_again_is_not_folded(self) -> None:
        table, _ = made(maxsize=8)
        for place in range(8):
            table.add_session(f"sess_{place}", "user_user_1", is_ended=True)
        assert all(judged(table, f"sess_{place}", "user_user_1", NOW) == "refused" for place in range(8))
        assert judged(table, "sess_9", "1", NOW - 60) == judged(table, "sess_9", "user_1", NOW - 60) == "accepted"

    def test_what_the_api_confirms_then_is_accepted_again(self) -> None:
        table, clock = made(maxsize=50)
        sign_outs(table, clock, "user_1", 50)
        clock.now += 10
        assert judged(table, "sess_9", "user_1", NOW - 60, clock.now) == "accepted"
        table.add_session("one_more", "user_1", is_ended=True)
        assert judged(table, "sess_9", "user_1", NOW - 60, clock.now) == "asked"

    def test_it_lapses(self) -> None:
        table, clock = made(maxsize=50)
        sign_outs(table, clock, "user_1", 50)
        clock.now += KEPT + LEEWAY + 1
        assert judged(table, "sess_9", "user_1", NOW - 60) == "accepted"
        assert len(table) == 0


class TestManyUsers:
    def test_the_oldest_are_asked_about(self, caplog: pytest.LogCaptureFixture) -> None:
        reset()
        table, clock = made(maxsize=50)
        for place in range(60):
            table.add_session(f"sess_{place}", f"user_{place}", is_ended=True)
            clock.now += 1
        assert [one.__dict__["reason"] for one in caplog.records if one.levelno >= logging.WARNING] == [
            "revocations_overflow"
        ]
        assert {judged(table, f"sess_{place}", f"user_{place}", NOW) for place in range(10)} == {"asked"}
        assert {judged(table, f"sess_{place}", f"user_{place}", NOW) for place in range(10, 60)} == {"refused"}
        assert judged(table, "another", "another", NOW - 60) == "asked"
        assert judged(table, "another", "another", NOW + 9 + LEEWAY) == "asked"
        assert judged(table, "another", "another", NOW + 9 + LEEWAY + 1) == "accepted"
        assert not table.is_precautionary("another", "another", NOW - 60)
        assert len(table) == 50

    def test_sessions_whose_user_is_unknown(self) -> None:
        table, _ = made(maxsize=5)
        for place in range(9):
            table.add_session(f"sess_{place}", is_ended=True)
        assert {judged(table, f"sess_{place}", "any", NOW) for place in range(9)} == {"asked", "refused"}

    def test_all_sessions_of_each_of_60(self) -> None:
        """As when a tenant logs everybody out: one by one, and the API ends the sessions of each."""
        table, clock = made(maxsize=50)
        for place in range(60):
            at = table.now()
            table.add_cutoff(f"user_{place}", at=at)
            clock.now += 0.5
            table.add_session(f"sess_{place}", f"user_{place}", is_ended=True)
            table.add_cutoff(f"user_{place}", at=at, is_ended=True)
        assert judged(table, "another", "another", NOW - 60) == "asked"
        assert all(judged(table, f"sess_{place}", f"user_{place}", NOW - 60) != "accepted" for place in range(60))
        assert not table.is_precautionary("another", "another", NOW - 60)
        assert all(not one.is_precaution for one in table.entries())

    def test_what_was_recorded_of_a_user_does_not_outlast_the_end_of_all_sessions(self) -> None:
        table, clock = made(maxsize=4)
        for place in range(6):
            table.add_cutoff(f"user_{place}", is_ended=True)
            clock.now += 1
        for place in range(6):
            assert table.ends_record(("note", "", f"all_{place}"), "new", f"user_{place}", NOW - 30)
        assert table.ends_record(("note", "", "all_9"), "new", "user_9", NOW - 30)  # its user may be one of these
        assert not table.ends_record(("note", "", "all_9"), "new", "user_9", clock.now)

    def test_sessions_end_the_records_that_were_made_in_them(self) -> None:
        table, clock = made(maxsize=4)
        for place in range(30):
            table.add_session(f"sess_{place}", f"user_{place}", is_ended=True)
        sign_outs(table, clock, "user_9", 30)
        for session in ("sess_0", "sess_29", "user_9_sess_3"):
            assert table.ends_record(("note", session, "all_9"), "new", "user_9", NOW - 30)
        assert not table.ends_record(("note", "", "all_9"), "new", "user_9", NOW - 30)
        assert not table.ends_record(("note", "new", "all_9"), "new", "user_9", NOW - 30)  # which is vouched for
        assert not table.ends_record(("note", "another", "all_9"), "new", "user_9", clock.now + 1)


class TestNotTold:
    """What the API does not know of is refused here or nowhere."""

    def test_it_has_a_bound_of_its_own(self) -> None:
        table, clock = made(maxsize=50, max_untold=1000)
        table.add_session("mine", "user_1")
        table.add(user_id="user_2")
        table.add(issued_before=NOW - 200)
        for place in range(500):
            table.add_session(f"sess_{place}", f"user_x{place}", is_ended=True)
        sign_outs(table, clock, "user_1", 60)
        assert judged(table, "mine", "user_1", NOW - 60) == "refused"
        assert judged(table, "any", "user_2", NOW - 60) == "refused"
        assert judged(table, "any", "any", NOW - 200) == "refused"
        assert judged(table, "any", "any", NOW - 199) == "asked"

    def test_60_users_of_50(self) -> None:
        table, _ = made(maxsize=50, max_untold=1000)
        for place in range(60):
            table.add(user_id=f"user_{place}")
        assert all(judged(table, "any", f"user_{place}", NOW - 60) == "refused" for place in range(60))
        assert judged(table, "any", "another", NOW - 60) == "accepted"

    def test_an_end_that_is_confirmed_later(self) -> None:
        table, _ = made(maxsize=2, max_untold=2)
        for place in range(10):
            table.add_session(f"sess_{place}", f"user_{place}")
            table.add_session(f"sess_{place}", f"user_{place}", is_ended=True)
        assert judged(table, "any", "another", NOW - 60) == "asked"

    def test_an_end_stays_confirmed(self) -> None:
        table, _ = made(maxsize=1)
        table.add_session("sess_1", "user_1", is_ended=True)
        table.add_session("sess_1", "user_1")
        table.add(session_id="sess_1")
        assert [one.is_ended for one in table.entries()] == [True]

    def test_one_user_does_not_fill_it(self, caplog: pytest.LogCaptureFixture) -> None:
        reset()
        table, clock = made(maxsize=50, max_untold=40)
        table.add_session("other", "user_2")
        sign_outs(table, clock, "user_1", 200, is_ended=False)
        assert "revocations_folded" in [one.__dict__["reason"] for one in caplog.records]
        assert {judged(table, f"user_1_sess_{place}", "user_1", NOW - 60) for place in range(200)} == {"refused"}
        assert judged(table, "other", "user_2", NOW - 60) == "refused"
        assert judged(table, "sess_9", "user_3", NOW - 60) == "accepted"
        assert judged(table, "new", "user_1", clock.now + LEEWAY + 1) == "accepted"

    def test_the_session_that_was_kept_is_kept(self) -> None:
        table, clock = made(max_untold=16)
        table.add_cutoff("user_1", keep="kept")
        sign_outs(table, clock, "user_1", 40, is_ended=False)
        assert judged(table, "kept", "user_1", NOW - 60) != "refused"

    def test_records_of_a_user_are_folded_into_one_of_records(self) -> None:
        table, clock = made(max_untold=16)
        for place in range(40):
            table.add_record(f"note_{place}", "all_of_1", scope="moonkey")
            clock.now += 0.01
        assert all(
            table.ends_record((f"note_{place}", "", "all_of_1"), "sess", "user_1", NOW - 30) for place in range(40)
        )
        assert not table.ends_record(("note_9", "", "all_of_2"), "sess", "user_2", NOW - 30)
        assert not table.ends_record(("new", "", "all_of_1"), "sess", "user_1", clock.now + 1)
        assert judged(table, "sess", "user_1", NOW - 60) == "accepted"

    def test_too_many_users_are_a_precaution_as_ever(self, caplog: pytest.LogCaptureFixture) -> None:
        table, _ = made(max_untold=5)
        table.add_session("ended", "user_9", is_ended=True)
        for place in range(6):
            table.add_session(f"sess_{place}", f"user_{place}")
        assert [one.__dict__["reason"] for one in caplog.records] == ["revocations_full"]
        assert judged(table, "any", "another", NOW + LEEWAY) == "refused"
        assert table.is_precautionary("any", "another", NOW)
        assert not table.is_precautionary("ended", "user_9", NOW)  # which is known singly
        assert judged(table, "any", "another", NOW + LEEWAY + 1) == "accepted"


class TestWhereNothingCanBeAsked:
    def test_an_end_counts_as_any_other(self) -> None:
        table, _ = made(maxsize=20, raises_when_full=True)
        for place in range(20):
            table.add_session(f"sess_{place}", f"user_{place}", is_ended=True)
        with pytest.raises(RevocationsFull):
            table.add_session("one_more", "user_x", is_ended=True)
        assert {judged(table, f"sess_{place}", f"user_{place}", NOW) for place in range(20)} == {"refused"}
        assert judged(table, "any", "another", NOW - 60) == "accepted"

    def test_one_user_does_not_fill_it(self) -> None:
        table, clock = made(maxsize=40, raises_when_full=True)
        sign_outs(table, clock, "user_1", 500)
        table.add_session("other", "user_2")
        assert judged(table, "other", "user_2", NOW) == "refused"
        assert judged(table, "sess_9", "user_3", NOW - 60) == "accepted"
        assert {judged(table, f"user_1_sess_{place}", "user_1", NOW) for place in range(500)} == {"refused"}

    def test_a_full_table_is_not_searched_at_each_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        table, _ = made(maxsize=20, raises_when_full=True)
        for place in range(20):
            table.add_session(f"sess_{place}", f"user_{place}")
        searched: list[object] = []
        items = SessionTable.items

        def counted(self: SessionTable) -> Iterator[tuple[Key, RevokedSession]]:
            searched.append(self)
            return items(self)

        monkeypatch.setattr(SessionTable, "items", counted)
        for _ in range(5):
            with pytest.raises(RevocationsFull):
                table.add_session("one_more", "user_x")
        assert len(searched) == 1


def test_too_many_reports_are_asked_about() -> None:
    table, clock = made(maxsize=5)
    for place in range(20):
        table.add_report(session_id=f"sess_{place}")
        clock.now += 1
    clock.now += LEEWAY
    assert {judged(table, f"sess_{place}", "any", NOW) for place in range(20)} == {"asked"}


class TestClocks:
    @pytest.mark.parametrize("offset", [-20.0, 0.0, 20.0])
    def test_the_common_clock_becomes_known_afterwards(self, offset: float) -> None:
        table, clock = made(maxsize=2)
        for place in range(4):
            table.add_session(f"sess_{place}", f"user_{place}", is_ended=True)
        table.set_clock_offset(offset)
        assert table.asked_until("user_9") == pytest.approx(NOW + LEEWAY)  # by the clock of this machine
        assert judged(table, "sess_0", "user_0", clock.now) == "asked"

    def test_another_scope_is_not_concerned(self) -> None:
        one, two = "https://one.example", "https://two.example"
        table = Revocations(retention=KEPT, maxsize=2, clock=lambda: NOW, scopes={one: one, two: two})
        for place in range(40):
            table.add_session(f"sess_{place}", "user_1", scope=one, is_ended=True)
            table.add_session(f"sess_{place}", scope=one, is_ended=True)
        assert table.needs_introspection("any", "any", NOW - 60, NOW - 60, one)
        assert not table.needs_introspection("any", "any", NOW - 60, NOW - 60, two)


SENT = [
    Revocation("sess_1", None, None, NOW, is_ended=True, owner="user_1"),
    Revocation("sess_1", None, None, NOW, owner="é" * 256),
    Revocation("note_1", None, None, NOW, owner="mfa_of_1", is_record=True),
    Revocation(None, "user_1", NOW - 5, NOW, "sess_1", NOW + 5, is_ended=True),
    Revocation(None, "user_1", None, NOW, confirm_before=NOW + 5),
    Revocation(None, None, None, NOW, confirm_before=NOW + 5, scope="https://one.example"),
    Revocation(None, None, None, NOW, confirm_before=NOW + 5, ends_records=True),
]


class TestOnTheWire:
    @pytest.mark.parametrize("entry", SENT)
    def test_another_process_reads_what_was_sent(self, entry: Revocation) -> None:
        read = open_entry(SEALER, "stream", seal_entry(SEALER, "stream", entry))
        assert read == entry
        more = [(one.is_ended, one.owner, one.is_record, one.ends_records) for one in (read, entry)]
        assert more[0] == more[1]
        assert entry_key(read) == entry_key(entry)

    def test_an_end_is_more_than_a_revocation(self) -> None:
        plain, ended = (Revocation("sess_1", None, None, NOW, is_ended=one) for one in (False, True))
        assert entry_key(plain) != entry_key(ended)

    def test_a_table_tells_another_all_it_knows(self) -> None:
        one, clock = made(maxsize=5, max_untold=100)
        sign_outs(one, clock, "user_1", 9)
        for place in range(9):
            one.add_session(f"sess_{place}", f"user_x{place}", is_ended=True)
            one.add_cutoff(f"user_y{place}", is_ended=True)
        one.add_record("note", "all_of_1", scope="moonkey")
        one.add(user_id="user_z")
        other, other_clock = made(maxsize=5, max_untold=100)
        other_clock.now = clock.now
        for entry in one.entries():
            other.receive(open_entry(SEALER, "stream", seal_entry(SEALER, "stream", entry)))
        assert sorted(map(repr, other.entries())) == sorted(map(repr, one.entries()))

    @pytest.mark.parametrize(
        "content",
        [
            {"ended": 1},
            {"of": 1},
            {"of": ""},
            {"of": "a", "records": "b"},
            {"entry": [None, "user_1", NOW, NOW], "of": "user_1"},
            {"entry": [None, None, NOW, NOW], "ended": True},
            {"ask": True},
            {"entry": [None, None, NOW, NOW], "ask": "yes"},
            {"entry": [None, "user_1", NOW, NOW], "ask": True, "ends_records": True},
            {"entry": [None, None, NOW, NOW], "ask": True, "ends_records": 1},
        ],
    )
    def test_what_is_no_entry(self, content: dict[str, Any]) -> None:
        sealed = SEALER.seal("stream", json.dumps({"entry": ["sess_1", None, None, NOW], **content}).encode())
        with pytest.raises(ValueError, match="not a"):
            open_entry(SEALER, "stream", sealed)


class TestInTheStream:
    def test_what_makes_way(self) -> None:
        rows = [(f"{1000 * place}-0".encode(), f"sess_{place}", "user_9") for place in range(20)]
        rows += [(f"{1000 * place}-1".encode(), f"other_{place}", f"user_x{place}") for place in range(5)]
        sessions = [
            ended_of(entry_id, Revocation(name, None, None, NOW, is_ended=True, owner=user), LEEWAY, bare_user_id)
            for entry_id, name, user in rows
        ]
        all_of_one = Revocation(None, "user_a", 7.0, NOW, confirm_before=9.0, is_ended=True)
        user = ended_of(b"1-9", all_of_one, LEEWAY, bare_user_id)
        found = [one for one in (user, *sessions) if one is not None]
        ids, entries = replacements(found, 21, NOW)
        assert len(ids) == 21
        assert rows[20][0] in ids
        assert [(one.user_id, one.confirm_before) for one in entries] == [("9", 19.0 + LEEWAY), (None, LEEWAY)]
        assert all(one.is_overflow and not one.ends_records for one in entries)
        ids, entries = replacements(found, 1000, NOW)
        assert len(ids) == 26
        assert [one.ends_records for one in entries] == [False, False, True]
        assert replacements([], 10, NOW) == ([], ())

    @pytest.mark.parametrize(
        "entry",
        [
            Revocation("sess_1", None, None, NOW, owner="user_1"),
            Revocation(None, "user_1", NOW, NOW),
            Revocation(None, None, NOW, NOW, is_precaution=True),
            Revocation("sess_1", None, None, NOW, confirm_before=NOW),
            Revocation(None, None, None, NOW, confirm_before=NOW),
        ],
    )
    def test_what_stays(self, entry: Revocation) -> None:
        assert ended_of(b"1-0", entry, LEEWAY, bare_user_id) is None

    def test_what_is_asked_about_is_not_published_again(self) -> None:
        ended = [
            Revocation(f"sess_{place}", None, None, NOW + place, is_ended=True, owner="1") for place in (0, 9)
        ]
        untold = Revocation("sess_1", None, None, NOW, owner="1")
        for user in ("1", None):
            asked = Revocation(None, user, None, NOW, confirm_before=NOW + LEEWAY)
            assert without_superseded([*ended, untold, asked], LEEWAY) == (ended[1], untold, asked)
        another = Revocation(None, "2", None, NOW, confirm_before=NOW + LEEWAY)
        assert without_superseded([*ended, another], LEEWAY) == (*ended, another)

    def test_a_clock_that_is_behind_drops_nothing(self) -> None:
        late, cut = Revocation("sess_1", None, None, NOW - 20), Revocation(None, None, NOW, NOW - 25)
        assert without_superseded([late, cut], LEEWAY, offset=20.0) == (late, cut)
        assert without_superseded([late, cut], LEEWAY, offset=10.0) == (cut,)


USERS = [f"user_{number}" for number in range(4)]
KINDS = ["visit", "end", "refuse", "end all", "refuse all", "flood", "confirm", "long wait"]
WHICH = st.integers(0, 15)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("sign in"), st.sampled_from(USERS)),
        st.tuples(st.just("visit"), st.sampled_from(USERS)),
        st.tuples(st.just("end"), WHICH),
        st.tuples(st.just("refuse"), WHICH),
        st.tuples(st.just("end all"), st.sampled_from(USERS)),
        st.tuples(st.just("refuse all"), st.sampled_from(USERS)),
        st.tuples(st.just("flood"), st.integers(1, 12)),
        st.tuples(st.just("confirm"), WHICH),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 3.0, 7.0])),
        st.tuples(st.just("long wait"), st.sampled_from([60.0, 200.0])),
    ),
    min_size=30,
    max_size=80,
)
WORLDS = (
    STEPS,
    st.sets(st.sampled_from(KINDS), min_size=1, max_size=4),
    st.sampled_from([1, 3, 16]),
    st.sampled_from([4, 1000]),
)


@dataclass
class Credential:
    """A JWT, and what is true of it."""

    session: str
    user: str
    issued_at: float
    vouched_at: float
    is_dead: bool = False  # for the API
    refused: list[float] = field(default_factory=list)  # when only this app has refused it


class World:
    """Two processes, an API, and what each credential deserves."""

    def __init__(self, maxsize: int, max_untold: int) -> None:
        self.one, self.clock = made(maxsize=maxsize, max_untold=max_untold)
        self.other = Revocations(
            retention=KEPT,
            leeway=LEEWAY,
            clock=self.clock,
            key_of_user=bare_user_id,
            maxsize=maxsize,
            max_untold=max_untold,
        )
        self.one.listeners = (self._pass_on,)
        self.credentials: list[Credential] = []
        self.cutoffs: list[tuple[str, float]] = []
        self.untold = 0
        self.number = 0

    def _pass_on(self, entry: Revocation) -> None:
        self.other.receive(open_entry(SEALER, "stream", seal_entry(SEALER, "stream", entry)))

    def take(self, step: str, value: Any) -> None:
        now = self.clock.now
        if step in {"wait", "long wait"}:
            self.clock.now += value
        elif step == "sign in":
            self.number += 1
            self.credentials.append(Credential(f"sess_{self.number}", value, now, now))
        elif step == "flood":  # other users, of whom only the number matters
            for _ in range(value):
                self.number += 1
                self.one.add_session(f"sess_{self.number}", f"user_x{self.number}", is_ended=True)
        elif step == "end all":
            self.one.add_cutoff(value, at=now)
            for one in self._of(value):
                one.is_dead = True
            self.one.add_cutoff(value, at=now, is_ended=True)
        elif step == "refuse all":
            self.one.add(user_id=value)
            for one in self._of(value):
                one.refused.append(now)
            self.untold += 1
        elif step == "visit":
            self.number += 1
            self.credentials.append(Credential(f"sess_{self.number}", value, now, now))
            self._take_one("end", self.credentials[-1], now)
        elif self.credentials:
            self._take_one(step, self.credentials[-1 - value % min(len(self.credentials), 8)], now)
        self.clock.now += 0.01

    def _of(self, user: str) -> Iterable[Credential]:
        return (one for one in self.credentials if one.user == user)

    def _take_one(self, step: str, one: Credential, now: float) -> None:
        if step == "end":
            self.one.add_session(one.session, one.user)
            one.is_dead = True
            self.one.add_session(one.session, one.user, is_ended=True)
        elif step == "refuse":
            self.one.add_session(one.session, one.user)
            one.refused.append(now)
            self.untold += 1
        elif not one.is_dead:
            one.vouched_at = now

    def check(self, table: Revocations) -> None:
        can_be_full = self.untold >= table.max_untold
        for one in self.credentials:
            if self.clock.now >= one.issued_at + 300 + LEEWAY:
                continue  # over, whatever is revoked
            verdict = judged(table, one.session, one.user, one.issued_at, one.vouched_at)
            if one.refused and not one.is_dead:
                assert verdict == "refused", one  # the API would accept it
            if one.is_dead or one.refused:
                assert verdict != "accepted", one
            elif not can_be_full:
                assert verdict != "refused", one


def play(steps: list[tuple[str, Any]], kinds: set[str], maxsize: int, max_untold: int) -> None:
    """Take some kinds of steps only, as one kind hides what another has done."""
    world = World(maxsize, max_untold)
    for step, value in steps:
        if step in KINDS and step not in kinds:
            continue
        world.take(step, value)
        for table in (world.one, world.other):
            world.check(table)
    late = Revocations(
        retention=KEPT,
        leeway=LEEWAY,
        clock=world.clock,
        key_of_user=bare_user_id,
        maxsize=maxsize,
        max_untold=max_untold,
    )
    for entry in world.one.entries():  # as a process reads it that starts now
        late.receive(entry)
    world.check(late)


@given(*WORLDS)
@settings(max_examples=60, deadline=None)
def test_nothing_revoked_is_accepted_and_none_else_is_refused(
    steps: list[tuple[str, Any]], kinds: set[str], maxsize: int, max_untold: int
) -> None:
    play(steps, kinds, maxsize, max_untold)


@pytest.mark.long
@given(*WORLDS)
@settings(max_examples=600, deadline=None)
def test_nor_in_many_more_cases(
    steps: list[tuple[str, Any]], kinds: set[str], maxsize: int, max_untold: int
) -> None:
    play(steps, kinds, maxsize, max_untold)
