"""The apps in examples/tested, whose suites use nothing but the kit: each as its developer would run it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.kit_suites import TESTED, copied, run_suite

APPS = ("flask_shop", "django_desk", "fastapi_notes", "starlette_portal")


def test_all_are_run() -> None:
    assert {one.name for one in TESTED.iterdir() if one.is_dir() and one.name != "__pycache__"} == set(APPS)


@pytest.mark.long
@pytest.mark.parametrize("name", APPS)
def test_a_suite(name: str, tmp_path: Path) -> None:
    assert " passed" in run_suite(copied(name, tmp_path))


@pytest.mark.long
@pytest.mark.parametrize("name", APPS)
def test_a_suite_without_sockets(name: str, tmp_path: Path) -> None:
    folder = copied(name, tmp_path)
    ini = folder / "pytest.ini"
    text = ini.read_text().replace("moonkey_offline = true\n", "")
    ini.write_text(f"{text}moonkey_offline = true\n")
    assert " passed" in run_suite(folder)


@pytest.mark.long
@pytest.mark.parametrize("name", ["flask_shop", "django_desk"])
def test_a_suite_in_several_processes(name: str, tmp_path: Path) -> None:
    assert " passed" in run_suite(copied(name, tmp_path), "-n", "4")
