"""S35, S45. What stands for entries that there was no room for says so, in the table and in the feed."""

from __future__ import annotations

import json

import pytest

from moonkey_core._crypto import Sealer
from moonkey_core.redis.entries import open_entry, seal_entry
from moonkey_core.revocations import Revocation, Revocations

pytestmark = pytest.mark.rule("S35", "S45")

SEALER = Sealer("secret", "test")
STREAM = "stream"


def full() -> Revocations:
    revocations = Revocations(retention=300, maxsize=2, clock=lambda: 1000.0)
    for number in range(3):
        revocations.add(session_id=f"sess_{number}")
    return revocations


def test_a_full_table_refuses_without_certainty() -> None:
    revocations = full()
    assert revocations.refuses("another", "user_1", 900.0)
    assert revocations.is_precautionary("another", "user_1", 900.0)
    assert not revocations.refuses("another", "user_1", 1001.0)
    for certain in ({"session_id": "another"}, {"user_id": "user_1"}, {"issued_before": 950.0}):
        table = full()
        table.add(**certain)
        assert table.refuses("another", "user_1", 900.0)
        assert not table.is_precautionary("another", "user_1", 900.0)
        assert table.is_precautionary("third", "user_3", 960.0)


def test_nothing_is_precautionary_before() -> None:
    revocations = Revocations(retention=300, clock=lambda: 1000.0)
    assert not revocations.is_precautionary("another", "user_1", 900.0)
    revocations.add(issued_before=990.0)
    assert not revocations.is_precautionary("another", "user_1", 900.0)


def test_it_reaches_another_process_as_what_it_is() -> None:
    other = Revocations(retention=300, clock=lambda: 1000.0)
    for entry in full().entries():
        other.receive(open_entry(SEALER, STREAM, seal_entry(SEALER, STREAM, entry)))
    assert other.refuses("another", "user_1", 900.0)
    assert other.is_precautionary("another", "user_1", 900.0)
    assert other.entries() == full().entries()
    assert [one.is_precaution for one in other.entries()] == [True]


def test_what_an_earlier_version_reads_of_it() -> None:
    """The member that it has always read is complete; it refuses the same, and clears cookies as before."""
    entry = Revocation(None, None, 900.0, 1000.0, is_precaution=True)
    content = json.loads(SEALER.open(STREAM, seal_entry(SEALER, STREAM, entry)))
    assert content == {"entry": [None, None, 900.0, 1000.0], "precaution": True}
    plain = SEALER.seal(STREAM, json.dumps({"entry": [None, None, 900.0, 1000.0]}).encode())
    assert not open_entry(SEALER, STREAM, plain).is_precaution


@pytest.mark.parametrize(
    "content",
    [
        {"entry": [None, None, 900.0, 1000.0], "precaution": 1},
        {"entry": [None, None, 900.0, 1000.0], "precaution": "yes"},
        {"entry": ["sess_1", None, None, 1000.0], "precaution": True},
        {"entry": [None, "user_1", 900.0, 1000.0], "precaution": True},
    ],
)
def test_what_is_no_precaution(content: object) -> None:
    with pytest.raises(ValueError, match="not an entry"):
        open_entry(SEALER, STREAM, SEALER.seal(STREAM, json.dumps(content).encode()))


def test_it_lapses_like_any_entry() -> None:
    now = [1000.0]
    revocations = Revocations(retention=300, maxsize=2, clock=lambda: now[0])
    for number in range(3):
        revocations.add(session_id=f"sess_{number}")
    now[0] += 301
    assert not revocations.refuses("another", "user_1", 900.0)
    assert not revocations.is_precautionary("another", "user_1", 900.0)
    assert len(revocations) == 0
