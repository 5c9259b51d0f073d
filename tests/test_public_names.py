"""What is public stands in a document, under its name, and is there."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from functools import cache
from inspect import Parameter
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

import moonkey_core
import moonkey_django
import moonkey_flask
import moonkey_starlette
import moonkey_starlette.fastapi
from moonkey_core import AsyncMoonKey
from moonkey_core.emulator import Emulator
from moonkey_core.models import MODELS
from moonkey_starlette import MoonKeyMiddleware
from support.documents import run, text

REFERENCE = text("docs/reference.md")
FIELDS = text("docs/models.md")
PACKAGES = (moonkey_core, moonkey_flask, moonkey_django, moonkey_starlette)
TOP = ["Requirements", "Revocations", "Health", "RevocationLag"]


@cache
def public_modules() -> dict[str, ModuleType]:
    """All modules with an ``__all__``, but for private ones."""
    names = [package.__name__ for package in PACKAGES]
    for package in PACKAGES:
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            private = any(part.startswith("_") for part in found.name.split("."))
            if not private and "__all__" in source_of(package, found.name):
                names.append(found.name)
    return {name: module for name in names if hasattr(module := importlib.import_module(name), "__all__")}


def source_of(package: ModuleType, name: str) -> str:
    """The text of a module, which is not imported: some do things when they are."""
    place = Path(package.__path__[0]).joinpath(*name.split(".")[1:])
    return (place / "__init__.py" if place.is_dir() else place.with_suffix(".py")).read_text()


def sections(document: str, level: str) -> dict[str, str]:
    """What stands under each heading of a level, by the heading."""
    parts = re.split(rf"^{level} (.+)$", document, flags=re.MULTILINE)
    return dict(zip((title.strip("`") for title in parts[1::2]), parts[2::2], strict=True))


def first_cells(section: str) -> list[str]:
    """The names in the first column of a section's table."""
    rows = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def test_every_public_module_has_a_section_and_no_other_has() -> None:
    named = {title for title in sections(REFERENCE, "##") if title.startswith("moonkey_")}
    assert named == {*public_modules()}


@pytest.mark.parametrize("name", public_modules())
def test_every_public_name_is_there_and_documented(name: str) -> None:
    module = public_modules()[name]
    documented = first_cells(sections(REFERENCE, "##")[name])
    assert sorted(documented) == sorted(module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)
    for one in module.__all__:
        assert not one.startswith("_")
        assert hasattr(module, one)


def test_what_clients_hand_out_is_importable_from_the_top() -> None:
    for name in TOP:
        assert name in moonkey_core.__all__
    with moonkey_core.MoonKey("sk_test_x", base_url="http://127.0.0.1:1") as client:
        assert isinstance(client.revocations, moonkey_core.Revocations)
        assert isinstance(client.health(), moonkey_core.Health)
        assert isinstance(client.revocation_lag(), moonkey_core.RevocationLag)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_the_tables_of_fields(model: Any) -> None:
    """All fields in their order, each with what it is called elsewhere, its type, and when it is ``None``."""
    section = sections(FIELDS, "###")[model.__name__]
    rows = [row.strip("| ").split(" | ") for row in re.findall(r"^\| `.+$", section, re.MULTILINE)]
    fields = [*inspect.signature(model).parameters.values()]
    assert [row[0].strip("`") for row in rows] == [field.name for field in fields]
    for field, (_, guide, kind, none) in zip(fields, rows, strict=True):
        optional = "None" in str(field.annotation)
        assert guide
        assert none.startswith("never") is not optional, field.name
        assert ("not in `to_dict()`" in none) is (
            field.name not in (*model.shown_fields, *model.optional_fields)
        ), field.name
        declared = str(field.annotation).removesuffix(" | None")
        models = re.fullmatch(r"tuple\[([A-Z]\w+), \.\.\.\]", declared)
        expected = "mapping" if declared == "Mapping[str, Any]" else f"`{declared}`"
        assert kind == (expected if models is None else f"tuple of `{models[1]}`")


def test_the_tables_are_of_all_models() -> None:
    assert {*sections(FIELDS, "###")} == {model.__name__ for model in MODELS}


def test_the_examples_of_the_shape_hold() -> None:
    assert run("docs/models.md", "In JSON")["session"].id == "sess_1"


class TestSameNames:
    @pytest.mark.parametrize("package", [moonkey_flask, moonkey_starlette, moonkey_starlette.fastapi])
    def test_session_routes(self, package: ModuleType) -> None:
        parameters = inspect.signature(package.session_routes).parameters
        assert next(iter(parameters)) == "url_prefix"
        assert all(one.kind is Parameter.KEYWORD_ONLY for one in parameters.values())
        assert parameters["url_prefix"].default == "/auth"
        for one in (package, moonkey_django):
            assert inspect.signature(one.session_routes).parameters["mode"].default == "cookies"

    @pytest.mark.parametrize("name", ["get_client", "bound_stream"])
    def test_the_others(self, name: str) -> None:
        packages = (moonkey_flask, moonkey_django, moonkey_starlette, moonkey_starlette.fastapi)
        for package in packages:
            assert name in package.__all__
        takes = [[*inspect.signature(getattr(package, name)).parameters] for package in packages]
        request = [] if name == "get_client" else ["items", "renewal"]
        in_django = request if name == "get_client" else ["request", *request]
        assert takes == [request, in_django, ["request", *request], ["request", *request]]

    def test_the_client_as_a_dependency(self, emulator: Emulator) -> None:
        app = FastAPI()
        app.add_middleware(MoonKeyMiddleware, secret_key=emulator.secret_key, base_url=emulator.base_url)

        @app.get("/listed")
        async def listed(
            client: Annotated[AsyncMoonKey, Depends(moonkey_starlette.fastapi.get_client)], user_id: str
        ) -> int:
            return len(await client.sessions.list(user_id))

        with TestClient(app) as browser:
            assert browser.get("/listed", params={"user_id": emulator.sign_in().user_id}).json() == 1
