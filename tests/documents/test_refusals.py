"""What docs/refusals.md shows works, and its table names what is raised."""

from __future__ import annotations

import importlib
import re

import pytest
from flask import Flask

from moonkey_core.emulator import Emulator
from moonkey_flask import FlaskMoonKey, require_auth
from support.documents import rows, run

DOCUMENT = "docs/refusals.md"


def test_the_decorator(emulator: Emulator) -> None:
    guarded = run(DOCUMENT, "guarded")["guarded"]
    app = Flask("shown")
    FlaskMoonKey(app, secret_key=emulator.secret_key, base_url=emulator.base_url)

    def broken() -> str:
        raise RuntimeError

    app.add_url_rule("/me", "me", guarded(require_auth(lambda: "")))
    app.add_url_rule("/broken", "broken", guarded(broken))
    assert [app.test_client().get(path).status_code for path in ("/me", "/broken")] == [401, 500]


@pytest.mark.parametrize("row", rows(DOCUMENT, "framework"), ids=lambda row: row[0])
def test_the_classes_are_there(row: list[str]) -> None:
    for module, name in re.findall(r"`([a-z_.]+)\.([A-Z]\w+)`", row[1]):
        assert issubclass(getattr(importlib.import_module(module), name), Exception)
