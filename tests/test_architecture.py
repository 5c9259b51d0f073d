"""docs/architecture.md, the import contracts and the source say the same."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PACKAGES = ("moonkey_core", "moonkey_flask", "moonkey_django", "moonkey_starlette")

STABLE_PATHS = {
    "moonkey_core": (
        "", "errors", "events", "gate", "models", "streams", "otel", "settings", "revocations", "redis",
        "emulator",
    ),
    "moonkey_flask": ("", "signals"),
    "moonkey_django": (
        "", "rest_framework", "backend", "users", "urls", "signals", "context_processors", "login_required",
        "mixins", "decorators",
    ),
    "moonkey_starlette": ("", "fastapi"),
}  # fmt: skip
"""What documents, examples and settings of apps import: these paths never change."""

MIGRATIONS = "moonkey_django/users/migrations/"


@cache
def modules() -> dict[str, ast.Module]:
    """The syntax trees of all modules, by their paths relative to the root."""
    found = {path.relative_to(ROOT).as_posix(): path for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in sorted(found.items())}


@cache
def contracts() -> dict[str, dict[str, object]]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        listed = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return {contract["name"]: contract for contract in listed}


def section(heading: str, level: str = "##") -> str:
    """The text below a heading, up to the next one of the same level or a higher one."""
    (found,) = re.findall(
        rf"^{level} {re.escape(heading)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", DOCUMENT, re.M | re.S
    )
    return str(found)


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each row of the tables in a text, without headings."""
    for table in re.findall(r"^\|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE):
        for line in table.splitlines():
            yield [cell.strip() for cell in line.strip("|").split("|")]


def named(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def defined_in(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """The names that statements define, those in branches included."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.Assign):
            yield from ((target.id, node) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node
        elif isinstance(node, ast.If):
            yield from defined_in((*node.body, *node.orelse))


def is_defined(path: str, name: str) -> bool:
    tree = modules().get(path)
    body: Iterable[ast.stmt] = () if tree is None else tree.body
    for part in name.split("."):
        node = dict(defined_in(body)).get(part)
        if node is None:
            return False
        body = node.body if isinstance(node, ast.ClassDef) else ()
    return True


class TestDocument:
    def test_every_place_that_it_names_is_there(self) -> None:
        places = re.findall(r"`([\w/]+\.py):([\w.]+)`", DOCUMENT)
        assert len(places) > 80
        assert [place for place in places if not is_defined(*place)] == []

    def test_every_file_that_it_names_is_there(self) -> None:
        files = {name.partition(":")[0] for name in named(DOCUMENT) if re.match(r"(moonkey_\w+|tests)/", name)}
        assert [name for name in files if not (ROOT / name).exists()] == []
        links = re.findall(r"\]\(([^)]+)\)", DOCUMENT)
        assert [link for link in links if not (ROOT / "docs" / link).exists()] == []

    def test_the_steps_are_eight_and_each_has_its_place(self) -> None:
        steps = [row for row in rows(section("The eight steps of a request")) if row[0].isdigit()]
        assert [row[0] for row in steps] == [str(number) for number in range(1, 9)]
        for _, _, places, _ in steps:
            assert re.search(r"\.py:\w", places)

    def test_every_framework_takes_them(self) -> None:
        table = section("Where the frameworks take these steps", "###")
        for package in PACKAGES[1:]:
            for step in ("identity", "decorators"):
                assert f"`{package}/{step}.py" in DOCUMENT
            assert f"`{package}/" in table

    def test_every_rule_has_its_place(self) -> None:
        answers = dict(rows(section("Where each rule stands")))
        assert len(answers) > 30
        assert [question for question, answer in answers.items() if not re.search(r"\.py:\w", answer)] == []

    def test_what_a_fork_resets_is_complete(self) -> None:
        (answer,) = (
            row[1] for row in rows(section("Where each rule stands")) if row[0].startswith("What does a fork")
        )
        told = {f"moonkey_core/{name}" for name in named(answer) if ":" not in name}
        resetting = {
            path
            for path, tree in modules().items()
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "reset_after_fork"
        }
        assert told == resetting

    def test_the_rooms_are_those_of_the_tree(self) -> None:
        described: list[str] = []
        for room in re.findall(r"^### `(\w[\w/]*/)`$", section("Rooms"), re.MULTILINE):
            described.append(f"{room}__init__.py")
            for files, job in rows(section(f"`{room}`", "###")):
                assert job
                described += [room + name for name in named(files)]
        assert len(described) == len(set(described))
        assert set(described) == {name for name in modules() if not name.startswith(MIGRATIONS)}

    def test_the_classes_among_its_words_are_there(self) -> None:
        classes = {name for tree in modules().values() for name, _ in defined_in(tree.body)}
        for word, meaning in rows(section("Words")):
            assert meaning
            assert set(named(word)) <= classes

    def test_the_layers_are_those_of_the_contract(self) -> None:
        described = [" | ".join(named(layer)) for layer, _ in rows(section("Layers"))]
        assert described == contracts()["Inside the core, imports point down only"]["layers"]

    def test_the_paths_that_stay_are_those_below(self) -> None:
        assert set(named(section("Import paths that stay"))) == set(stable_paths())


def stable_paths() -> list[str]:
    return [f"{package}.{name}".rstrip(".") for package, names in STABLE_PATHS.items() for name in names]


@pytest.mark.parametrize("path", stable_paths())
def test_each_path_that_stays_can_be_imported(path: str) -> None:
    importlib.import_module(path)


class TestContributing:
    def test_it_knows_all_targets(self) -> None:
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        (listed, *_) = re.findall(r"^\| target \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", CONTRIBUTING, re.MULTILINE)
        assert {f"make {target}" for target in targets} == {
            name for name in named(listed) if name.startswith("make ")
        }

    def test_the_folders_and_links_that_it_names_are_there(self) -> None:
        paths = {name for name in named(CONTRIBUTING) if re.match(r"(tests|moonkey_core)/", name)}
        links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", CONTRIBUTING)}
        assert {path for path in paths | links if not (ROOT / path).exists()} == set()

    def test_it_names_all_folders_of_tests(self) -> None:
        folders = {f"tests/{path.parent.name}/" for path in (ROOT / "tests").glob("*/*.py")}
        assert folders <= set(named(CONTRIBUTING))


class TestContracts:
    def test_none_of_them_forgives_type_checking_imports(self) -> None:
        text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        assert "exclude_type_checking_imports" not in text

    def test_framework_packages_are_kept_from_all_that_is_private(self) -> None:
        contract = contracts()["The framework packages use the core's public modules, web and flows only"]
        top = {name.split("/")[1].removesuffix(".py") for name in modules() if name.startswith("moonkey_core/")}
        private = {name for name in top if name.startswith("_") and name != "__init__"}
        expected = {
            f"moonkey_core.{name}"
            for name in private | {"cli", "emulator", "otel", "providers", "redis", "flows.*"}
        }
        forbidden = contract["forbidden_modules"]
        assert isinstance(forbidden, list)
        assert set(forbidden) == expected
        assert contract["source_modules"] == list(PACKAGES[1:])

    def test_only_the_wiring_chooses_a_provider(self) -> None:
        importers = {
            name
            for name, found in imports().items()
            if any(one.startswith("moonkey_core.providers.") for one in found)
            and not name.startswith("moonkey_core.providers.")
        }
        assert importers == {"moonkey_core._operations.core", "moonkey_core.provider"}


@cache
def imports() -> Mapping[str, frozenset[str]]:
    """What each module imports of the four packages, wherever the statement stands in it."""
    known = {dotted(path) for path in modules()}
    return {dotted(path): frozenset(imported_by(path, tree, known)) for path, tree in modules().items()}


def dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imported_by(path: str, tree: ast.Module, known: set[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            for alias in node.names:
                whole = f"{module}.{alias.name}"
                if whole in known:
                    yield whole
                elif module in known:
                    yield module


def circle_in(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """The first circle that is found, from a module back to it; an empty list where there is none."""
    done: set[str] = set()
    way: dict[str, None] = {}

    def follow(name: str) -> list[str]:
        if name in way:
            return [*list(way)[list(way).index(name) :], name]
        if name in done:
            return []
        way[name] = None
        for other in sorted(graph.get(name, ())):
            if found := follow(other):
                return found
        del way[name]
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := follow(name))), [])


class TestCircles:
    def test_no_module_imports_itself_in_a_circle(self) -> None:
        """Imports for type checkers and inside of functions included."""
        assert sum(map(len, imports().values())) > 500
        assert circle_in(imports()) == []

    def test_a_circle_is_found(self) -> None:
        assert circle_in({"a": ["b"], "b": ["c"], "c": ["b"], "d": []}) == ["b", "c", "b"]
        assert circle_in({"a": ["b", "c"], "b": ["c"], "c": []}) == []

    def test_all_kinds_of_import_are_read(self) -> None:
        source = "import x.a\nif TYPE_CHECKING:\n    from x import b, Thing\ndef f():\n    from x.c import d\n"
        found = imported_by("x/e.py", ast.parse(source), {"x", "x.a", "x.b", "x.c"})
        assert sorted(found) == ["x", "x.a", "x.b", "x.c"]


class TestProviderWords:
    """What is MoonKey's own stands at MoonKey's provider, and in the emulator of its service."""

    EXEMPT = (
        *("moonkey_core/providers/", "moonkey_core/emulator/", "moonkey_core/settings/"),
        "moonkey_core/testing/services.py",
    )
    """Other providers have words of their own, the texts of settings tell what is left out, and an emulator that
    stands in for a service is reached by its paths."""
    WORDS = re.compile(
        r"user_|sess_|invalid_session|user_not_found|error_type|error_message|/v1/.*|.*/v1/auth.*", re.S
    )

    @staticmethod
    def texts(tree: ast.Module) -> Iterator[str]:
        """The strings of a module that are no docstrings; of an f-string, its constant parts."""
        documents = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
                yield node.value

    def test_nothing_else_knows_them(self) -> None:
        found = {
            path
            for path, tree in modules().items()
            if not path.startswith(self.EXEMPT) and any(map(self.WORDS.fullmatch, self.texts(tree)))
        }
        assert not found

    def test_moonkey_has_them(self) -> None:
        texts = {
            text for path, tree in modules().items() if "providers/moonkey/" in path for text in self.texts(tree)
        }
        assert {"user_", "user_not_found", "error_type"} <= texts
