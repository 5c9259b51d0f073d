"""``moonkey routes`` on each example: as its reader would run it, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.examples import EXAMPLES, all_targets

QUICK = {"pages_flask:app", "pages_django:application", "pages_fastapi:app"}
SETTINGS = {
    "MOONKEY_SECRET_KEY": "sk_test_of_nobody",
    "MOONKEY_CACHE_SECRET": "a secret of at least 32 characters",
    "ISSUER": "http://127.0.0.1:9",
    "CLIENT_SECRET": "hushhush",
}


def audited(*target: str, folder: Path = EXAMPLES) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit status of the command, and the rows of its JSON by methods and path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MOONKEY_", "DJANGO_"))}
    done = subprocess.run(
        [sys.executable, "-m", "moonkey_core", "routes", *target, "--json"],
        cwd=folder,
        env={**kept, **SETTINGS, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout, done.stderr
    rows = json.loads(done.stdout)["endpoints"]
    return done.returncode, {f"{one['methods']} {one['path']}": one for one in rows}


@pytest.mark.parametrize(
    "target",
    [one if one in QUICK else pytest.param(one, marks=pytest.mark.long) for one in all_targets()],
)
def test_no_route_is_open_by_mistake(target: str) -> None:
    status, rows = audited(target)
    assert status == 0
    assert {one["verdict"] for one in rows.values()} <= {"protected", "public"}
    protected = [where for where, one in rows.items() if one["verdict"] == "protected"]
    assert any(where.partition(" ")[2] in ("/me", "/account") for where in protected)


PROJECT = {
    "mysite_settings.py": """
SECRET_KEY, ROOT_URLCONF = "x", "mysite_urls"
MIDDLEWARE, INSTALLED_APPS = ["moonkey_django.MoonKeyMiddleware"], ["moonkey_django"]
""",
    "mysite_urls.py": """
from django.urls import path
from moonkey_django import require_auth

def hole(request): ...

urlpatterns = [path("hole", hole), path("me", require_auth(lambda request: None))]
""",
}


@pytest.mark.long
def test_a_django_project_by_its_settings(tmp_path: Path) -> None:
    for name, text in PROJECT.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    status, rows = audited("--django", "mysite_settings", folder=tmp_path)
    assert status == 1
    verdicts = {where: one["verdict"] for where, one in rows.items()}
    assert verdicts == {"ANY /hole": "unprotected", "ANY /me": "protected"}
