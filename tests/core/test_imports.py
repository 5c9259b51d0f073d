"""What each package imports and shows."""

from __future__ import annotations

import ast
import inspect
import pickle
import subprocess
import sys
from importlib import import_module
from types import ModuleType

import pytest

import moonkey_core
from moonkey_core import auth, client, errors, gate, models, settings
from moonkey_core.web import credentials, responses

FRAMEWORKS = {
    "flask",
    "werkzeug",
    "django",
    "asgiref",
    "starlette",
    "fastapi",
    "uvicorn",
    "anyio.pytest_plugin",
    "pydantic",
}
ALLOWED = {
    "moonkey_core": set[str](),
    "moonkey_flask": {"flask", "werkzeug", "asgiref"},
    "moonkey_django": {"django", "asgiref"},
    "moonkey_starlette": {"starlette"},
}


@pytest.mark.long
@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_no_framework_but_its_own(package: str) -> None:
    script = f"import sys, {package}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert package in loaded
    assert loaded & FRAMEWORKS <= ALLOWED[package]
    others = {name for name in loaded if name.startswith("moonkey_")}
    assert others <= {package, "moonkey_core"}
    assert "moonkey_core.emulator" not in done.stdout.split()


def lazy_names() -> tuple[dict[str, str], dict[str, str]]:
    """The names of ``moonkey_core`` and their modules: as type checkers read them, and as Python loads them."""
    tree = ast.parse(inspect.getsource(moonkey_core))
    typed = {
        alias.name: (node.module or "").removeprefix("moonkey_core.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("moonkey_core.")
        for alias in node.names
    }
    return typed, dict(vars(moonkey_core)["_MODULES"])


def test_all_that_is_public_is_named() -> None:
    typed, loaded = lazy_names()
    assert typed == loaded
    assert set(typed) == set(moonkey_core.__all__)
    for name, module in loaded.items():
        assert getattr(moonkey_core, name) is getattr(import_module(f"moonkey_core.{module}"), name)
    assert set(moonkey_core.__all__) <= set(dir(moonkey_core))
    assert all(
        value.__name__ in moonkey_core.__all__
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, errors.MoonKeyError)
    )
    assert set(models.__all__) <= set(moonkey_core.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    missing = "Moonkey"
    with pytest.raises(AttributeError, match="module 'moonkey_core' has no attribute 'Moonkey'"):
        getattr(moonkey_core, missing)


def test_a_class_is_pickled_by_its_own_module() -> None:
    for name in ("User", "MoonKey", "Requirements", "InvalidCredentials"):
        value = getattr(moonkey_core, name)
        assert pickle.loads(pickle.dumps(value)) is value


@pytest.mark.parametrize(
    "module", [auth, client, credentials, gate, models, responses, settings], ids=lambda m: m.__name__
)
def test_each_public_name_is_there_and_explained(module: ModuleType) -> None:
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, name
            assert value.__doc__[0] != " "


def test_every_error_has_a_reason_of_its_own_and_a_status() -> None:
    classes = [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, errors.MoonKeyError)
    ]
    assert len({one.default_reason for one in classes}) == len(classes) >= 16
    for one in classes:
        assert one.status in (400, 401, 403, 404, 413, 415, 429, 500, 501, 503)
        assert one.default_message.endswith(".")
