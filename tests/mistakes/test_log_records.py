"""What is logged of a mistake has the code of its reason."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import moonkey_django
import moonkey_flask
import moonkey_starlette
from moonkey_core.web.advice import log_no_app_user


@pytest.mark.parametrize("package", [moonkey_django, moonkey_flask, moonkey_starlette])
def test_a_gate_that_is_thrown_away(package: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "moonkey"):
        package.optional_auth()
    (record,) = caplog.records
    assert record.__dict__["reason"] == "gate_unused"
    assert record.getMessage().startswith("optional_auth(…) was called in line ")


@pytest.mark.parametrize("package", [moonkey_django, moonkey_flask, moonkey_starlette])
def test_a_gate_on_a_view_is_none(package: Any, caplog: pytest.LogCaptureFixture) -> None:
    def view(request: Any) -> str:
        return "open"

    with caplog.at_level(logging.ERROR, "moonkey"):
        package.require_auth()(view)
    assert caplog.records == []


def test_a_user_whom_the_app_does_not_know(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "moonkey"):
        log_no_app_user("there is none")
        log_no_app_user("there is none")
    assert [record.__dict__["reason"] for record in caplog.records] == ["no_app_user"]
