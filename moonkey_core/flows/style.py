"""The style sheet of the pages."""

from __future__ import annotations

from functools import lru_cache

from moonkey_core._operations.core import Core
from moonkey_core.flows.routes import FlowPlan, FlowRequest, FlowResponse
from moonkey_core.flows.templates import TEMPLATES

_HEADERS = (
    ("content-type", "text/css; charset=utf-8"),
    ("cache-control", "public, max-age=3600"),
    ("x-content-type-options", "nosniff"),
)


def style(core: Core, request: FlowRequest) -> FlowPlan:
    """The same for everybody, and free to be stored."""
    yield from ()
    return FlowResponse(200, _HEADERS, _sheet())


@lru_cache(1)
def _sheet() -> bytes:
    return (TEMPLATES / "moonkey" / "style.css").read_bytes()
