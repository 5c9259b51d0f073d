"""Every rule of SECURITY.md has a test, and every test that is marked with a rule names one that is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.rules import MarkedTest, gaps, marked_tests, rules_in, security_rules, table

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


def test_pytest_reads_the_same_marks(request: pytest.FixtureRequest) -> None:
    """For the tests that this run has collected, this one at least."""
    read = {f"{test.path}::{test.name}": test.rules for test in marked_tests().tests}
    seen = 0
    for item in request.session.items:
        path, _, name = item.nodeid.partition("[")[0].partition("::")
        expected = read[f"{item.path.relative_to(TESTS).as_posix()}::{name}"]
        given = {number for mark in item.iter_markers("rule") for number in mark.args}
        assert given == expected, path
        seen += 1
    assert seen


SAMPLE = """
import pytest

pytestmark = [pytest.mark.rule("S1"), pytest.mark.long]

@pytest.mark.rule("S2", "S3")
def test_one(): ...

@pytest.mark.rule("S4")
class TestMany:
    pytestmark = pytest.mark.rule("S5")

    @pytest.mark.parametrize("x", [1])
    @pytest.mark.rule("S6")
    async def test_two(self, x): ...

TestMachine = Machine.TestCase
"""


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
    assert all(test.is_long for test in marked_tests(tmp_path).tests)


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


def test_what_is_missing_is_told() -> None:
    tests = [
        MarkedTest("test_a.py", "test_quick", frozenset({"S1", "S999"}), is_long=False),
        MarkedTest("test_a.py", "test_slow", frozenset({"S2"}), is_long=True),
    ]
    assert gaps(["S1", "S2", "S3"], tests) == [
        "S2 has no test in make test.",
        "S3 has no test in make test.",
        "test_a.py: test_quick is marked S999, which is no rule of SECURITY.md.",
    ]


def test_the_table() -> None:
    rules = rules_in(
        "## The rules\n\n- **S10** Ten, of RFC 1 section 2.1. More.\n- **S2** Two:\n  three.\n\n## End\n"
    )
    assert rules == {"S2": "Two", "S10": "Ten, of RFC 1 section 2.1"}
    lines = list(table(rules, [MarkedTest("core/test_a.py", "test_x", frozenset({"S2"}), is_long=False)]))
    assert lines[0].split() == ["S2", "Two", "1", "core/test_a"]
    assert lines[1].split()[-2:] == ["0", "none"]
    assert lines[-1] == "2 rules, 1 without a test; 1 of 1 test functions are marked."


def test_the_command_prints_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "support.rules"], cwd=TESTS, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == list(table(security_rules(), marked_tests().tests))
