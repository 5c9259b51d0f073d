"""Each mistake of the table is answered in each framework: with that sentence, at that moment, with a mend."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from mistakes.lab import Heard, Lab, Row
from mistakes.table import AREAS

from moonkey_core.emulator import Emulator
from moonkey_core.settings import effects
from support.documents import between

ROWS = [row for rows in AREAS.values() for row in rows]
MEND = re.compile(
    r"\b(write|set|add|use|leave|put|did you mean|call|take|give|make|must|choose|correct|swap|name|install|pass"
    r"|read|ask for|remove|move|needs|keep|start|grant|run|return|send|register|mount|import|check|it is what"
    r"|it is a number|it belongs inside|known are)\b",
    re.IGNORECASE,
)
"""What a sentence says that tells what to do."""


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


@pytest.mark.long
@pytest.mark.parametrize("row", [row for row in ROWS if "django" in row.frameworks], ids=lambda row: row.mistake)
def test_it_is_answered_over_asgi(row: Row, lab: Lab) -> None:
    lab.over_asgi = True
    test_it_is_answered(row, "django", lab)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.mistake)
def test_the_sentence_names_a_mend(row: Row) -> None:
    for framework in row.frameworks:
        sentence = row.sentence_in(framework)
        assert MEND.search(sentence), sentence


@pytest.mark.parametrize("area", AREAS)
def test_the_document_has_the_same_table(area: str) -> None:
    shown = between("docs/mistakes.md", area)
    assert shown.strip() == "\n".join(written(AREAS[area]))


def written(rows: Iterable[Row]) -> Iterator[str]:
    """The rows as they stand in the document."""
    yield "| what is said | cause | mend |"
    yield "|---|---|---|"
    for row in rows:
        sentences = [row.sentence] if isinstance(row.sentence, str) else dict.fromkeys(row.sentence.values())
        said = " / ".join(map(_code, sentences))
        yield f"| {said} | {_cell(row.mistake)} | {_cell(row.mend)} |"


def _code(text: str) -> str:
    return f"`` {_cell(text)} ``" if "`" in text else f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("{}", "…").replace("\n", " ").replace("|", "\\|").strip()


def test_there_are_at_least_40_mistakes() -> None:
    assert len({row.mistake for row in ROWS}) == len(ROWS) >= 40
