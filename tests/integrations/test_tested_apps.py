"""The apps in examples/tested, whose suites use nothing but the kit: each as its developer would run it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.kit_suites import TESTED, copied, run_suite, written

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
@pytest.mark.parametrize("name", APPS)
def test_a_suite_in_several_processes(name: str, tmp_path: Path) -> None:
    assert " passed" in run_suite(copied(name, tmp_path), "-n", "2")


KEYED = """
import os
from flask import Flask
from moonkey_flask import FlaskMoonKey, require_auth

app = Flask(__name__)
FlaskMoonKey(app, secret_key=os.environ["MOONKEY_SECRET_KEY"])
app.get("/")(require_auth(lambda: "in"))
"""
TESTS = """
def test_in(signed_in):
    assert signed_in().get("/").text == "in"
"""
FIXTURE = "from keyed import app as keyed\nimport pytest\n\n@pytest.fixture\ndef app():\n    return keyed\n"


@pytest.mark.long
@pytest.mark.parametrize(
    ("files", "says_so"),
    [
        pytest.param({"conftest": FIXTURE, "test_it": TESTS}, True, id="in conftest.py"),
        pytest.param({"test_it": FIXTURE + TESTS}, False, id="in a test module, after the header"),
    ],
)
def test_an_app_that_reads_its_key_where_it_is_imported(
    files: dict[str, str], says_so: bool, tmp_path: Path
) -> None:
    output = run_suite(written(tmp_path, keyed=KEYED, **files), "-v")
    assert "1 passed" in output
    assert ("MOONKEY_SECRET_KEY was missed, and set to a made-up key" in output) == says_so


@pytest.mark.long
def test_no_key_is_made_up_for_another_reason(tmp_path: Path) -> None:
    """Nor for a suite that can do without one."""
    tests = "import os\n\ndef test_it():\n    assert 'MOONKEY_SECRET_KEY' not in os.environ\n"
    assert "made-up" not in run_suite(written(tmp_path, test_it=tests), "-v")
    written(tmp_path, conftest="import no_such_module\n")
    with pytest.raises(AssertionError, match="No module named 'no_such_module'") as seen:
        run_suite(tmp_path, "-v")
    assert "made-up" not in str(seen.value)
