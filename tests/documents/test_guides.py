"""The tables about the services' guides name tests that exist."""

from __future__ import annotations

import re

import pytest

from support.documents import files_with, named_tests, text

DOCUMENT = "docs/guides.md"
ROWS = [row.strip("| \n").split(" | ") for row in re.findall(r"^\| .+ \|$", text(DOCUMENT), re.MULTILINE)]
SECTIONS = [cells for cells in ROWS if cells != ["the guide", "here", "shown by"]]


@pytest.mark.parametrize("cells", SECTIONS, ids=lambda cells: str(cells[0])[:60])
def test_each_section_is_shown_by_a_test(cells: list[str]) -> None:
    assert len(cells) == 3
    found = named_tests(cells[2])
    assert found
    assert [function for file, function, _ in found if len(files_with(function, file)) != 1] == []
