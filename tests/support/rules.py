"""The rules of SECURITY.md and the tests that are marked as tests of them: ``make rules`` prints the table.

Both are read from the source, so that the answer is the same however few tests are run.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeGuard

_TESTS = Path(__file__).resolve().parents[1]
_RULE = re.compile(r"^- \*\*(S\d+)\*\* (.+?)(?=^- \*\*S|^#|\Z)", re.MULTILINE | re.DOTALL)
_END_OF_SENTENCE = re.compile(r"[.:;](?=\s|\Z)")
_TITLE_WIDTH = 60

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class MarkedTest:
    """One test function and its marks, those of its class and module included.

    ``path`` is relative to the folder of the tests. ``name`` is that of a pytest node id, without parameters.
    """

    path: str
    name: str
    rules: frozenset[str]
    is_long: bool


@dataclass(frozen=True)
class Findings:
    """The tests of some files, and what is wrong with their marks, in one sentence each."""

    tests: tuple[MarkedTest, ...]
    problems: tuple[str, ...]


def rules_in(text: str) -> dict[str, str]:
    """Return the rules in the text of SECURITY.md: number and short title, by number."""
    found = {number: _title(" ".join(body.split())) for number, body in _RULE.findall(text)}
    return dict(sorted(found.items(), key=lambda rule: int(rule[0][1:])))


def security_rules() -> dict[str, str]:
    """Return the rules of this project."""
    return rules_in((_TESTS.parent / "SECURITY.md").read_text(encoding="utf-8"))


@cache
def marked_tests(folder: Path = _TESTS) -> Findings:
    """Read the marks of all test modules below a folder."""
    tests: list[MarkedTest] = []
    problems: list[str] = []
    for path in sorted(folder.rglob("test_*.py")):
        module = _Module(path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8"))
        tests += module.tests
        problems += module.problems
    return Findings(tuple(tests), tuple(problems))


def gaps(rules: Iterable[str], tests: Iterable[MarkedTest]) -> list[str]:
    """Say what is missing: rules without a test that ``make test`` runs, and marks of no rule."""
    rules, tests = set(rules), list(tests)
    quick = {number for test in tests if not test.is_long for number in test.rules}
    marked = {number: test for test in tests for number in test.rules}
    missing = [f"{number} has no test in make test." for number in sorted(rules - quick)]
    unknown = [
        f"{marked[number].path}: {marked[number].name} is marked {number}, which is no rule of SECURITY.md."
        for number in sorted(marked.keys() - rules)
    ]
    return missing + unknown


def table(rules: Mapping[str, str], tests: Iterable[MarkedTest]) -> Iterator[str]:
    """Lay out the rules in lines: number, title, how many test functions, in which files."""
    tests = list(tests)
    for number, title in rules.items():
        own = [test for test in tests if number in test.rules]
        files = ", ".join(sorted({test.path.removesuffix(".py") for test in own})) or "none"
        yield f"{number:<4} {title:<{_TITLE_WIDTH}} {len(own):>4}  {files}"
    bare = sum(not any(number in test.rules for test in tests) for number in rules)
    marked = sum(bool(test.rules) for test in tests)
    yield f"{len(rules)} rules, {bare} without a test; {marked} of {len(tests)} test functions are marked."


class _Module:
    """One test module: its tests, with the marks that pytest gives them."""

    def __init__(self, path: str, source: str) -> None:
        self.tests: list[MarkedTest] = []
        self.problems: list[str] = []
        self._path = path
        tree = ast.parse(source)
        self._unread = {id(node): node for node in ast.walk(tree) if _is_mark(node, "rule")}
        self._enter(tree, "", frozenset(), is_long=False)
        for node in self._unread.values():
            self.problems.append(
                f"{path}:{node.lineno}: a mark of a rule belongs on a test, on its class or in pytestmark, with "
                "numbers that are spelled out."
            )

    def _enter(
        self, scope: ast.Module | ast.ClassDef, prefix: str, rules: frozenset[str], *, is_long: bool
    ) -> None:
        own = [value for node in scope.body for name, value in _assigned(node) if name == "pytestmark"]
        rules, is_long = self._with(own, rules, is_long)
        for node in scope.body:
            if isinstance(node, _Function) and node.name.startswith("test"):
                self._add(prefix + node.name, *self._with(node.decorator_list, rules, is_long))
            elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
                of_class, long_class = self._with(node.decorator_list, rules, is_long)
                self._enter(node, f"{prefix}{node.name}::", of_class, is_long=long_class)
            for name, value in _assigned(node):
                if name.startswith("Test") and isinstance(value, ast.Attribute) and value.attr == "TestCase":
                    self._add(f"{prefix}{name}::runTest", rules, is_long)  # a state machine of Hypothesis

    def _add(self, name: str, rules: frozenset[str], is_long: bool) -> None:
        self.tests.append(MarkedTest(self._path, name, rules, is_long))

    def _with(self, marks: list[ast.expr], rules: frozenset[str], is_long: bool) -> tuple[frozenset[str], bool]:
        """Add what some expressions mark: decorators, or the value of ``pytestmark``."""
        for expression in marks:
            for mark in expression.elts if isinstance(expression, ast.List | ast.Tuple) else [expression]:
                if _is_mark(mark, "long"):
                    is_long = True
                if isinstance(mark, ast.Call) and _is_mark(mark.func, "rule"):
                    numbers = [one.value for one in mark.args if isinstance(one, ast.Constant)]
                    if numbers and len(numbers) == len(mark.args) and not mark.keywords:
                        self._unread.pop(id(mark.func), None)
                        rules = rules.union(map(str, numbers))
        return rules, is_long


def _is_mark(node: ast.AST, name: str) -> TypeGuard[ast.Attribute]:
    """Whether an expression is ``pytest.mark.<name>``."""
    if not isinstance(node, ast.Attribute) or node.attr != name:
        return False
    owner = node.value
    return (isinstance(owner, ast.Attribute) and owner.attr == "mark") or (
        isinstance(owner, ast.Name) and owner.id == "mark"
    )


def _assigned(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, node.value


def _title(text: str) -> str:
    end = _END_OF_SENTENCE.search(text)
    sentence = text[: end.start()] if end else text
    return textwrap.shorten(sentence, _TITLE_WIDTH, placeholder=" …", break_on_hyphens=False)


def main() -> None:
    """Print the table."""
    for line in table(security_rules(), marked_tests().tests):
        print(line)


if __name__ == "__main__":
    main()
