"""Every rule of SECURITY.md has tests, for each kind of credential that it concerns; every mark names a rule."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.rules import MarkedTest, gaps, marked_tests, rules_and_cells, rules_in, security_rules, table

TESTS = Path(__file__).parent
SECURITY = (TESTS.parent / "SECURITY.md").read_text()


def test_each_rule_has_a_test_and_each_mark_a_rule() -> None:
    found = marked_tests()
    assert found.problems == ()
    assert gaps(security_rules(), found.tests) == []


def test_each_rule_is_read_once() -> None:
    numbers = re.findall(r"\*\*(S\d+)\*\*", SECURITY)
    assert len(numbers) == len(set(numbers)) >= 52
    assert set(security_rules()) == set(numbers)


def test_each_promise_names_its_rules() -> None:
    _, _, promises = SECURITY.partition("## What we promise\n")
    found = re.findall(r"^(\d)\. (.+?)(?=^\d\. |^#)", promises, re.MULTILINE | re.DOTALL)
    assert len(found) == 8
    for place, promise in found:
        named = re.search(r"\. \(([^()]+)\)\s*\Z", " ".join(promise.split()))
        assert named, place
        for part in named[1].split(", "):
            numbers = part.split(" to ")
            assert {*numbers} <= security_rules().keys(), place
            assert sorted(numbers, key=lambda number: int(number[1:])) == numbers, place


def test_pytest_reads_the_same_marks(request: pytest.FixtureRequest) -> None:
    """For the tests that this run has collected, this one at least."""
    read = {f"{test.path}::{test.name}": (test.rules, test.cells) for test in marked_tests().tests}
    seen = 0
    for item in request.session.items:
        path, _, name = item.nodeid.partition("[")[0].partition("::")
        expected = read[f"{item.path.relative_to(TESTS).as_posix()}::{name}"]
        told = [rules_and_cells(mark.args) or pytest.fail(path) for mark in item.iter_markers("rule")]
        given = tuple(frozenset().union(*parts) for parts in zip(*told, strict=True)) or (frozenset(), frozenset())
        assert given == expected, path
        seen += 1
    assert seen


SAMPLE = """
import pytest

pytestmark = [pytest.mark.rule("S1"), pytest.mark.long]

@pytest.mark.rule("S2", "S3", "token", "pair")
@pytest.mark.rule("S3", "connection")
def test_one(): ...

@pytest.mark.rule("S4", "jwt")
class TestMany:
    pytestmark = pytest.mark.rule("S5")

    @pytest.mark.parametrize("x", [1])
    @pytest.mark.rule("S6")
    async def test_two(self, x): ...

TestMachine = Machine.TestCase
"""


CELLS = {
    "test_one": {("S2", "token"), ("S2", "pair"), ("S3", "token"), ("S3", "pair"), ("S3", "connection")},
    "TestMany::test_two": {("S4", "jwt")},
    "TestMachine::runTest": set(),
}


def read(tmp_path: Path, source: str) -> tuple[dict[str, set[str]], tuple[str, ...]]:
    (tmp_path / "test_sample.py").write_text(source)
    found = marked_tests(tmp_path)
    return {test.name: set(test.rules) for test in found.tests}, found.problems


def test_marks_of_functions_classes_and_modules(tmp_path: Path) -> None:
    marked, problems = read(tmp_path, SAMPLE)
    assert marked == {
        "test_one": {"S1", "S2", "S3"},
        "TestMany::test_two": {"S1", "S4", "S5", "S6"},
        "TestMachine::runTest": {"S1"},
    }
    assert problems == ()
    found = marked_tests(tmp_path).tests
    assert all(test.is_long for test in found)
    assert {test.name: set(test.cells) for test in found} == CELLS


@pytest.mark.parametrize(
    "source",
    [
        '@pytest.mark.rule("S1")\ndef helper(): ...',
        "@pytest.mark.rule(NUMBER)\ndef test_one(): ...",
        "@pytest.mark.rule()\ndef test_one(): ...",
        "@pytest.mark.rule\ndef test_one(): ...",
        'marked = pytest.mark.rule("S1")\n\n@marked\ndef test_one(): ...',
        '@pytest.mark.rule("S1")\nclass Machine: ...',
    ],
)
def test_a_mark_that_marks_no_test_is_told(tmp_path: Path, source: str) -> None:
    marked, problems = read(tmp_path, source)
    assert not any(marked.values())
    assert len(problems) == 1


def marked(name: str, *cells: tuple[str, str], rules: str = "", is_long: bool = False) -> MarkedTest:
    numbers = frozenset({*rules.split(), *(number for number, _ in cells)})
    return MarkedTest("core/test_a.py", name, numbers, is_long, frozenset(cells))


def test_what_is_missing_is_told() -> None:
    concerns = {"S1": ("token", "jwt"), "S2": ("pair",), "S3": (), "S10": ("jwt",), "S11": ()}
    tests = [
        marked("test_quick", ("S1", "token"), ("S1", "pair"), rules="S999"),
        marked("test_slow", ("S2", "pair"), is_long=True),
        marked("test_all", rules="S10"),
    ]
    assert gaps(["S1", "S2", "S3", "S10", "S12"], tests, concerns) == [
        "S2 has no test in make test.",
        "S3 has no test in make test.",
        "S12 has no test in make test.",
        "S1 has no test in make test that is marked jwt.",
        "S2 has no test in make test that is marked pair.",
        "S10 has no test in make test that is marked jwt.",
        "S11 is not in CONCERNS, or is no rule of SECURITY.md.",
        "S12 is not in CONCERNS, or is no rule of SECURITY.md.",
        "core/test_a.py: test_quick is marked S999, which is no rule of SECURITY.md.",
        "core/test_a.py: test_quick is marked S1 of pair, which CONCERNS does not have.",
    ]


def test_the_table() -> None:
    rules = rules_in(
        "## The rules\n\n- **S10** Ten, of RFC 1 section 2.1. More.\n- **S2** Two:\n  three.\n\n## End\n"
    )
    assert rules == {"S2": "Two", "S10": "Ten, of RFC 1 section 2.1"}
    concerns = {"S2": ("token", "pair"), "S10": ()}
    lines = list(table(rules, [marked("test_x", ("S2", "pair")), marked("test_y", rules="S2")], concerns))
    assert [line.split() for line in lines[:6]] == [
        ["S2", "Two", "2", "core/test_a"],
        ["token", "none"],
        ["pair", "core/test_a::test_x"],
        ["jwt,", "connection", "-"],
        ["S10", "Ten,", "of", "RFC", "1", "section", "2.1", "0", "none"],
        ["token,", "jwt,", "pair,", "connection", "-"],
    ]
    assert lines[6:] == [
        "2 rules, 1 without a test; 2 of 2 test functions are marked.",
        "8 pairs of a rule and a kind: 2 apply, 1 of them without a test.",
    ]


@pytest.mark.long
def test_the_command_prints_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "support.rules"], cwd=TESTS, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == list(table(security_rules(), marked_tests().tests))
