"""Each mistake of the table is answered in each framework: with that sentence, at that moment, with a mend."""

from __future__ import annotations

import re
from typing import Any

import pytest
from mistakes.lab import Heard, Lab, Row
from mistakes.table import AREAS

from moonkey_core.emulator import Emulator
from moonkey_core.settings import effects

ROWS = [row for rows in AREAS.values() for row in rows]
MEND = re.compile(
    r"\b(write|set|ask for|add|use|leave|put|did you mean|call|take|give|make|must|choose|correct|swap|name|install|pass|read"
    r"|remove|move|needs|keep|start|grant|run|return|send|register|mount|import|check|it is what|it is a number|known are|it belongs inside|import)\b",
    re.IGNORECASE,
)


def pattern(sentence: str) -> re.Pattern[str]:
    return re.compile(".*?".join(map(re.escape, sentence.split("{}"))), re.DOTALL)


@pytest.fixture
def lab(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(effects, "_warned", set())
    return Lab(emulator, monkeypatch)


@pytest.mark.parametrize(
    ("row", "framework"),
    [pytest.param(row, one, id=f"{one}: {row.mistake}") for row in ROWS for one in row.frameworks],
)
def test_it_is_answered(row: Row, framework: str, lab: Lab) -> None:
    with pytest.raises(Heard) as caught:
        row.provoke(lab, framework)
    heard: Any = caught.value
    assert pattern(row.sentence_in(framework)).search(heard.text), heard.text
    assert heard.moment == row.moment_in(framework)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.mistake)
def test_the_sentence_names_a_mend(row: Row) -> None:
    for framework in row.frameworks:
        sentence = row.sentence_in(framework)
        assert MEND.search(sentence), sentence


def test_there_are_at_least_40_mistakes() -> None:
    assert len({row.mistake for row in ROWS}) == len(ROWS) >= 40
