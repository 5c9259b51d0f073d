"""Entries of the feed: what was sealed opens as it was; what a stranger writes is never more than a ValueError."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonkey_core._crypto import Sealer
from moonkey_core.models import identifier
from moonkey_core.providers.moonkey.ids import bare_user_id
from moonkey_core.redis.entries import entry_key, open_entry, seal_entry, without_superseded
from moonkey_core.revocations import Revocation, Revocations
from support.any_json import JSON

quick = settings(deadline=None, derandomize=True, max_examples=100)
SEALER = Sealer("a secret of the fleet", "feed")


def is_identifier(text: str) -> bool:
    try:
        identifier(text)
    except ValueError:
        return False
    return True


IDS = st.text(min_size=1, max_size=256).filter(is_identifier)
TIMES = st.floats(allow_nan=False, allow_infinity=False)
ENTRIES = st.one_of(
    st.builds(Revocation, IDS, st.none(), st.none(), TIMES),
    st.builds(Revocation, st.none(), st.none() | IDS, TIMES, TIMES),
    st.builds(Revocation, st.none(), IDS, TIMES, TIMES, st.none() | IDS, st.none() | TIMES),
)


def opened(fields: object) -> Revocation | None:
    """What comes of the sealed JSON of these fields."""
    try:
        return open_entry(SEALER, "stream", SEALER.seal("stream", json.dumps(fields).encode()))
    except ValueError:
        return None


def test_what_an_entry_for_everybody_says_already_is_not_said_again() -> None:
    everybody = Revocation(None, None, 100.0, 90.0)
    weaker = Revocation(None, None, 50.0, 50.0)
    before = [
        Revocation("s1", None, None, 95.0),
        Revocation(None, "u1", 100.0, 80.0),
        Revocation(None, "u2", 9.0, 9.0),
    ]
    later = [Revocation("s2", None, None, 95.1), Revocation(None, "u3", 101.0, 80.0)]
    assert set(without_superseded([*before, weaker, everybody, *later], 5.0)) == {everybody, before[1], *later}
    assert without_superseded(before + later, 5.0) == (*before, *later)


@pytest.mark.long
@quick
@given(ENTRIES)
def test_there_and_back(entry: Revocation) -> None:
    sealed = seal_entry(SEALER, "stream", entry)
    assert open_entry(SEALER, "stream", sealed) == entry
    for name, sealer in (("other", SEALER), ("stream", Sealer("another", "feed"))):
        with pytest.raises(ValueError, match="not sealed"):
            open_entry(sealer, name, sealed)


def opened_by_the_version_before(sealed: bytes) -> Revocation:
    """What a process of the version before makes of an entry: four fields, and nothing else is looked at."""
    said = json.loads(SEALER.open("stream", sealed))
    session_id, user_id, issued_before, added_at = said["entry"]
    assert (session_id is None) == (issued_before is not None)
    return Revocation(session_id, user_id, issued_before, added_at)


@pytest.mark.long
@quick
@given(ENTRIES)
def test_the_version_before_refuses_no_less(entry: Revocation) -> None:
    """It knows of nothing that is kept, and of no doubt: it refuses what was issued until the entry was made."""
    found = opened_by_the_version_before(seal_entry(SEALER, "stream", entry))
    until = entry.issued_before
    if until is not None and entry.confirm_before is not None:
        until = max(until, min(entry.added_at, entry.confirm_before))
    assert found == Revocation(entry.session_id, entry.user_id, until, entry.added_at)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ('{"entry": ["sess_1", null, null, 1700000000.5]}', Revocation("sess_1", None, None, 1700000000.5)),
        ('{"entry": [null, "user_1", 5.0, 6.0]}', Revocation(None, "user_1", 5.0, 6.0)),
        ('{"entry": [null, null, 5.0, 6]}', Revocation(None, None, 5.0, 6.0)),
    ],
)
def test_entries_of_the_version_before(said: str, meant: Revocation) -> None:
    assert open_entry(SEALER, "stream", SEALER.seal("stream", said.encode())) == meant
    assert json.loads(SEALER.open("stream", seal_entry(SEALER, "stream", meant))) == json.loads(said)


@pytest.mark.long
@pytest.mark.rule("S37")
@quick
@given(st.one_of(JSON, st.lists(JSON, min_size=4, max_size=4)))
def test_any_content_is_an_entry_or_refused(content: Any) -> None:
    for fields in (content, {"entry": content}):
        entry = opened(fields)
        if entry is not None:
            assert (entry.session_id is None) == (entry.issued_before is not None)
            assert entry.session_id is None or entry.user_id is None
            assert math.isfinite(entry.added_at)


@pytest.mark.rule("S37")
@quick
@given(st.one_of(st.none(), st.integers(), st.text(), st.binary(max_size=6000)))
def test_anything_at_all(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        open_entry(SEALER, "stream", value)


@pytest.mark.rule("S37")
@pytest.mark.parametrize(
    "fields",
    [
        [None, None, None, 1.0],
        ["s", "u", None, 1.0],
        ["s", None, 1.0, 1.0],
        ["", None, None, 1.0],
        ["s\n", None, None, 1.0],
        ["s" * 257, None, None, 1.0],
        [5, None, None, 1.0],
        [None, True, 1.0, 1.0],
        [None, "u", "1", 1.0],
        [None, "u", 1.0, None],
        [None, "u", True, 1.0],
        [None, "u", 1.0, 10**400],
        ["s", None, None, 1.0, 1.0],
    ],
)
def test_nonsense_under_the_right_secret(fields: Any) -> None:
    assert opened({"entry": fields}) is None
    for beside in ({"kept": "s"}, {"doubt": [1.0, 2.0]}, {"kept": 5}, {"doubt": 1.0}):
        for entry in (["s", None, None, 1.0], [None, None, 1.0, 1.0]):
            assert opened({"entry": entry, **beside}) is None
    for wrong in ({"kept": 5}, {"kept": ""}, {"doubt": [1.0]}, {"doubt": [1.0, True]}, {"doubt": "12"}):
        assert opened({"entry": [None, "u", 1.0, 1.0], **wrong}) is None
    assert opened({"entry": ["s", None, None, 1]}) == Revocation("s", None, None, 1.0)


DIGESTS = st.text("0123456789abcdef", min_size=32, max_size=32)
REPORTS = st.one_of(
    st.builds(Revocation, IDS, st.none(), st.none(), TIMES, st.none(), TIMES),
    st.builds(
        lambda at, until, digest: Revocation(None, None, None, at, None, until, False, digest),
        TIMES,
        TIMES,
        DIGESTS,
    ),
)


@quick
@given(REPORTS)
def test_a_report_there_and_back(report: Revocation) -> None:
    assert report.is_report
    found = open_entry(SEALER, "stream", seal_entry(SEALER, "stream", report))
    assert (found, found.credential) == (report, report.credential)
    assert entry_key(found) == entry_key(report)


@quick
@given(REPORTS)
def test_a_report_to_the_version_before(report: Revocation) -> None:
    """It takes one on a session for its revocation, and one on a credential for that of no session at all."""
    found = opened_by_the_version_before(seal_entry(SEALER, "stream", report))
    assert found.session_id == (report.session_id or f"credential:{report.credential}")
    assert (found.user_id, found.issued_before, found.added_at) == (None, None, report.added_at)
    assert found.session_id is not None
    assert is_identifier(found.session_id)


@pytest.mark.rule("S37")
@pytest.mark.parametrize(
    "report",
    [
        [],
        "s",
        [None, None, 1.0],
        ["s", "0" * 32, 1.0],
        ["s", None, None],
        ["s", None, True],
        ["", None, 1.0],
        [5, None, 1.0],
        [None, "0" * 31, 1.0],
        [None, "G" * 32, 1.0],
        [None, 5, 1.0],
        ["s", None, 1.0, 1.0],
    ],
)
def test_nonsense_in_a_report(report: Any) -> None:
    assert opened({"entry": ["s", None, None, 1.0], "report": report}) is None
    assert opened({"entry": [None, "u", 1.0, 1.0], "report": ["s", None, 1.0]}) is None
    assert opened({"entry": ["s", None, None, 1.0], "report": ["s", None, 1.0]}) is not None


def test_the_table_gives_reports_out_again() -> None:
    now = 1_700_000_000.0
    table, other = (
        Revocations(retention=300, leeway=5, clock=lambda: now, key_of_user=bare_user_id) for _ in range(2)
    )
    table.add_report(session_id="sess_1", credentials=("a" * 32,))
    for entry in table.entries():
        other.receive(open_entry(SEALER, "stream", seal_entry(SEALER, "stream", entry)))
    assert set(other.entries()) == set(table.entries())
    assert other.reported_until("sess_1") == now + 5
    assert other.is_reported_dead(("a" * 32,), now)
    assert not other.is_reported_dead(("a" * 32,), now + 6)
    assert not other.refuses("sess_1", "user_1", now)
    assert other.needs_introspection("sess_1", "user_1", None, now)
    assert not other.needs_introspection("sess_1", "user_1", None, now + 6)
    assert len(other) == 0
