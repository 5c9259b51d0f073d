"""The rules of SECURITY.md and the tests that are marked as tests of them: ``make rules`` prints the table.

Both are read from the source, so that the answer is the same however few tests are run. A mark names rules, and
then the kinds of credential for which the test fails if they are broken: ``rule("S42", "token", "pair")``.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeGuard, TypeVar

from support.credential_kinds import CONCERNS, KINDS

_TESTS = Path(__file__).resolve().parents[1]
_RULE = re.compile(r"^- \*\*(S\d+)\*\* (.+?)(?=^- \*\*S|^#|\Z)", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"S\d+")
_END_OF_SENTENCE = re.compile(r"[.:;](?=\s|\Z)")
_TITLE_WIDTH = 60
_KINDS_WIDTH = len(", ".join(KINDS))

T = TypeVar("T")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class MarkedTest:
    """One test function and its marks, those of its class and module included.

    ``path`` is relative to the folder of the tests. ``name`` is that of a pytest node id, without parameters.
    ``cells`` are pairs of a rule and a kind of credential.
    """

    path: str
    name: str
    rules: frozenset[str]
    is_long: bool
    cells: frozenset[tuple[str, str]] = frozenset()


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


def gaps(
    rules: Iterable[str], tests: Iterable[MarkedTest], concerns: Mapping[str, Collection[str]] = CONCERNS
) -> list[str]:
    """Say what is missing: rules and cells without a test that ``make test`` runs, and marks of neither."""
    rules, tests = set(rules), list(tests)
    cells = {(number, kind) for number, kinds in concerns.items() for kind in kinds}
    quick = [test for test in tests if not test.is_long]
    return [
        *(
            f"{number} has no test in make test."
            for number in _in_order(rules - _union(one.rules for one in quick))
        ),
        *(
            f"{number} has no test in make test that is marked {kind}."
            for number, kind in sorted(cells - _union(one.cells for one in quick), key=_cell_order)
        ),
        *(
            f"{number} is not in CONCERNS, or is no rule of SECURITY.md."
            for number in _in_order(rules ^ concerns.keys())
        ),
        *(
            f"{test.path}: {test.name} is marked {number}, which is no rule of SECURITY.md."
            for test in tests
            for number in _in_order(test.rules - rules)
        ),
        *(
            f"{test.path}: {test.name} is marked {number} of {kind}, which CONCERNS does not have."
            for test in tests
            for number, kind in sorted(test.cells - cells, key=_cell_order)
            if number in concerns
        ),
    ]


def table(
    rules: Mapping[str, str], tests: Iterable[MarkedTest], concerns: Mapping[str, Collection[str]] = CONCERNS
) -> Iterator[str]:
    """Lay out the rules in lines: number, title, how many test functions, in which files; then kind by kind.

    Each kind of credential that a rule concerns has a line with its tests, the others share one with a dash.
    """
    tests = list(tests)
    bare = 0
    for number, title in rules.items():
        own = [test for test in tests if number in test.rules]
        files = ", ".join(sorted({_module(test) for test in own})) or "none"
        yield f"{number:<4} {title:<{_TITLE_WIDTH}} {len(own):>4}  {files}"
        concerned = concerns.get(number, ())
        for kind in (kind for kind in KINDS if kind in concerned):
            names = [f"{_module(test)}::{test.name}" for test in own if (number, kind) in test.cells]
            bare += not names
            yield f"     {kind:<{_KINDS_WIDTH}} {', '.join(names) or 'none'}"
        if others := ", ".join(kind for kind in KINDS if kind not in concerned):
            yield f"     {others:<{_KINDS_WIDTH}} -"
    untested = sum(not any(number in test.rules for test in tests) for number in rules)
    marked = sum(bool(test.rules) for test in tests)
    yield f"{len(rules)} rules, {untested} without a test; {marked} of {len(tests)} test functions are marked."
    applying = sum(len(concerns.get(number, ())) for number in rules)
    yield f"{len(rules) * len(KINDS)} pairs of a rule and a kind: {applying} apply, {bare} of them without a test."


def _module(test: MarkedTest) -> str:
    return test.path.removesuffix(".py")


def _union(sets: Iterable[Collection[T]]) -> set[T]:
    return {one for found in sets for one in found}


def _in_order(numbers: Iterable[str]) -> list[str]:
    return sorted(numbers, key=lambda number: (len(number), number))


def _cell_order(cell: tuple[str, str]) -> tuple[int, str, int]:
    number, kind = cell
    return len(number), number, KINDS.index(kind)


@dataclass(frozen=True)
class _Marks:
    """What some marks say together."""

    rules: frozenset[str] = frozenset()
    cells: frozenset[tuple[str, str]] = frozenset()
    is_long: bool = False


class _Module:
    """One test module: its tests, with the marks that pytest gives them."""

    def __init__(self, path: str, source: str) -> None:
        self.tests: list[MarkedTest] = []
        self.problems: list[str] = []
        self._path = path
        tree = ast.parse(source)
        self._unread = {id(node): node for node in ast.walk(tree) if _is_mark(node, "rule")}
        self._enter(tree, "", _Marks())
        for node in self._unread.values():
            self.problems.append(
                f"{path}:{node.lineno}: a mark of a rule belongs on a test, on its class or in pytestmark, with "
                f"numbers that are spelled out, and then perhaps kinds of credential ({', '.join(KINDS)})."
            )

    def _enter(self, scope: ast.Module | ast.ClassDef, prefix: str, marks: _Marks) -> None:
        own = [value for node in scope.body for name, value in _assigned(node) if name == "pytestmark"]
        marks = self._with(own, marks)
        for node in scope.body:
            if isinstance(node, _Function) and node.name.startswith("test"):
                self._add(prefix + node.name, self._with(node.decorator_list, marks))
            elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
                self._enter(node, f"{prefix}{node.name}::", self._with(node.decorator_list, marks))
            for name, value in _assigned(node):
                if name.startswith("Test") and isinstance(value, ast.Attribute) and value.attr == "TestCase":
                    self._add(f"{prefix}{name}::runTest", marks)  # a state machine of Hypothesis

    def _add(self, name: str, marks: _Marks) -> None:
        self.tests.append(MarkedTest(self._path, name, marks.rules, marks.is_long, marks.cells))

    def _with(self, expressions: list[ast.expr], marks: _Marks) -> _Marks:
        """Add what some expressions mark: decorators, or the value of ``pytestmark``."""
        for expression in expressions:
            for mark in expression.elts if isinstance(expression, ast.List | ast.Tuple) else [expression]:
                if _is_mark(mark, "long"):
                    marks = replace(marks, is_long=True)
                if isinstance(mark, ast.Call) and _is_mark(mark.func, "rule"):
                    words = [one.value for one in mark.args if isinstance(one, ast.Constant)]
                    if len(words) == len(mark.args) and not mark.keywords and (told := rules_and_cells(words)):
                        self._unread.pop(id(mark.func), None)
                        rules, cells = told
                        marks = replace(marks, rules=marks.rules | rules, cells=marks.cells | cells)
        return marks


def rules_and_cells(words: Sequence[object]) -> tuple[frozenset[str], frozenset[tuple[str, str]]] | None:
    """Read what stands in one mark: numbers, then kinds. Returns their rules and cells; ``None`` if it is odd."""
    numbers = [str(word) for word in words if word not in KINDS]
    kinds = [str(word) for word in words if word in KINDS]
    if not all(_NUMBER.fullmatch(number) for number in numbers) or not numbers or [*numbers, *kinds] != [*words]:
        return None
    return frozenset(numbers), frozenset((number, kind) for number in numbers for kind in kinds)


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
