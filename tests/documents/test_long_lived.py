"""What docs/long-lived.md shows can be used, and what it names is there."""

from __future__ import annotations

import pytest
from django.http import StreamingHttpResponse
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from flask import Flask, Response

from moonkey_core import AsyncMoonKey, MoonKey, streams
from moonkey_flask import current_user
from moonkey_starlette.fastapi import CurrentUser
from support.documents import blocks, run, text

DOCUMENT = "docs/long-lived.md"
IN_FASTAPI = {
    "Request": Request,
    "WebSocket": WebSocket,
    "CurrentUser": CurrentUser,
    "StreamingResponse": StreamingResponse,
    "EventSourceResponse": StreamingResponse,  # stands for that of newer releases
}


@pytest.mark.parametrize(
    ("name", "paths"), [("Starlette and FastAPI", ["/chat"]), ("Starlette and FastAPI 2", ["/events", "/export"])]
)
def test_the_routes_for_fastapi(name: str, paths: list[str]) -> None:
    app = FastAPI(openapi_url=None)
    run(DOCUMENT, name, app=app, **IN_FASTAPI)
    assert [getattr(route, "path", None) for route in app.routes] == paths


def test_the_view_for_django() -> None:
    assert run(DOCUMENT, "Django", StreamingHttpResponse=StreamingHttpResponse)["events"]


def test_the_view_for_flask() -> None:
    app = Flask("shown")
    run(DOCUMENT, "Flask", app=app, Response=Response, current_user=current_user)
    assert "events" in app.view_functions


def test_there_is_one_for_each_framework() -> None:
    assert len(blocks(DOCUMENT)) >= 5
    for package in ("moonkey_starlette", "moonkey_django", "moonkey_flask"):
        assert any(f"from {package} import" in block.code for block in blocks(DOCUMENT))


def test_what_is_called_is_there() -> None:
    for owner, name in ((AsyncMoonKey, "session_end"), (MoonKey, "is_over"), (streams, "bound_items")):
        assert f"{name}(" in text(DOCUMENT)
        assert callable(getattr(owner, name))
