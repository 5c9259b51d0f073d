"""docs/testing.md: its tests run in the apps of examples/tested, and its tables are those of the kit."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

from moonkey_core.emulator.factors import FACTOR_NAMES
from moonkey_core.testing import Faults, Kit, SignedInUser, plugin
from support.documents import between, block, run
from support.kit_suites import copied, run_suite

DOCUMENT = "docs/testing.md"
IN_APPS = {
    "flask_shop": ("flask conftest", "flask test", "the test kit", "a wider scope", "an outage", "a session ends"),
    "django_desk": ("django test", "a mixin"),
    "fastapi_notes": ("fastapi test", "override"),
}
"""The blocks that are put into an app, in the place of its own tests."""


@pytest.mark.long
@pytest.mark.parametrize("app", IN_APPS)
def test_the_tests_that_it_shows(app: str, tmp_path: Path) -> None:
    folder = copied(app, tmp_path)
    for path in folder.glob("test_*.py"):
        path.unlink()
    shown = 0
    for place, name in enumerate(IN_APPS[app]):
        code = block("README.md" if name == "the test kit" else DOCUMENT, name).code
        if name == "flask conftest":
            (folder / "conftest.py").write_text(f"from shop import create_app\n{code}")
            continue
        is_override = name == "override"
        importing = "from shop import create_app\n" if name == "a wider scope" else ""
        (folder / f"test_{place}.py").write_text(importing + code)
        if is_override:
            conftest = (folder / "conftest.py").read_text()
            (folder / "conftest.py").write_text(conftest.replace("def app(", "def moonkey_app("))
        shown += len(re.findall(r"^ *(?:async )?def test_", code, re.MULTILINE))
    assert f"{shown} passed" in run_suite(folder)


def test_the_kit_without_pytest() -> None:
    assert run(DOCUMENT, "without pytest")["ada"].user_id


def members(of: type) -> set[str]:
    if dataclasses.is_dataclass(of):
        own = {field.name for field in dataclasses.fields(of)}
    else:
        own = set(re.findall(r"self\.(\w+)(?:: \w[^=]*)? = ", inspect.getsource(of)))
    return {name for name in {*dir(of), *own} if not name.startswith("_")}


def first_cells(table: str) -> set[str]:
    cells = [line.split("|")[1] for line in between(DOCUMENT, table).splitlines()[2:]]
    return set(re.findall(r"`(\w+)(?:\([^`]*\))?`", "".join(cells)))


def test_every_argument_of_signed_in() -> None:
    arguments = set(inspect.signature(Kit.signed_in).parameters) - {"self"}
    assert first_cells("signed_in") == arguments
    beside = set(inspect.signature(Kit.signed_out).parameters) - {"self"}
    assert beside == {"client", "base_url", "app"}


@pytest.mark.parametrize(("table", "of"), [("user", SignedInUser), ("kit", Kit), ("faults", Faults)])
def test_every_member(table: str, of: type) -> None:
    assert first_cells(table) == members(of)


def test_every_fixture() -> None:
    fixtures = {
        name for name, value in vars(plugin).items() if type(value).__name__ == "FixtureFunctionDefinition"
    }
    assert len(fixtures) > 5
    assert first_cells("fixtures") == fixtures


def test_every_factor() -> None:
    assert set(re.findall(r"`(\w+)`", between(DOCUMENT, "factors"))) == set(FACTOR_NAMES)
