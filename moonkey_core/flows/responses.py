"""The four kinds of answer that a route gives: a page, JSON, a redirect, a problem."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from moonkey_core._operations.core import Core
from moonkey_core.errors import MoonKeyError
from moonkey_core.flows.routes import ROUTES, FlowPlan, FlowRequest, FlowResponse
from moonkey_core.settings import Settings
from moonkey_core.web.pages import PAGE_HEADERS, Page, Visit, refuse_visit, urls, wants_page

_PRIVATE = (("cache-control", "no-store"), ("vary", "Accept, Cookie, Authorization"))
_PATHS = {route.name: route.path for route in ROUTES}


def for_browser(request: FlowRequest, settings: Settings) -> bool:
    """Whether the answer is for a person: HTML is asked for, and no header presents a credential."""
    return wants_page(request.headers) and not any(request.headers(name) for name in settings.credential_headers)


def shown(request: FlowRequest, template: str, context: Mapping[str, Any]) -> Page:
    """A page by the bare name of its template. Its context also holds ``urls``."""
    return Page(f"moonkey/{template}.html", {**context, "urls": urls(request.routes)})


def page(
    request: FlowRequest,
    template: str,
    context: Mapping[str, Any],
    *,
    status: int = 200,
    cookies: Iterable[str] = (),
) -> FlowResponse:
    """A page; ``template`` is its bare name. Its context also holds ``urls``."""
    headers = (*_PRIVATE, *PAGE_HEADERS, *_set(cookies))
    return FlowResponse(status, headers, page=shown(request, template, context))


def error_page(request: FlowRequest, told: str, title: str, *, status: int = 400) -> Page:
    """The page for an error in words of its own; ``told`` chooses them in ``error.html``."""
    context = {"title": title, "status": status, "reason": told, "sign_in_url": urls(request.routes)["sign_in"]}
    return shown(request, "error", context)


def as_json(content: Mapping[str, Any], *, status: int = 200, cookies: Iterable[str] = ()) -> FlowResponse:
    """A JSON object."""
    headers = (("content-type", "application/json"), *_PRIVATE, *_set(cookies))
    return FlowResponse(status, headers, json.dumps(content).encode())


def see_other(target: str, *, cookies: Iterable[str] = ()) -> FlowResponse:
    """A redirect after a POST (RFC 9110 section 15.4.4). ``target`` is a path of this site."""
    return FlowResponse(303, (("location", target), *_PRIVATE, *_set(cookies)))


def not_allowed(methods: Iterable[str]) -> FlowResponse:
    """The answer to another method (RFC 9110 section 15.5.6)."""
    return FlowResponse(405, (("allow", ", ".join(methods)), *_PRIVATE))


def problem(
    error: MoonKeyError,
    settings: Settings,
    request: FlowRequest,
    *,
    cookies: Iterable[str] = (),
    instead: Page | None = None,
    members: Mapping[str, object] | None = None,
) -> FlowResponse:
    """The response for an error, which is logged.

    A browser that came to read is sent to sign in where that mends it; after a POST it gets a page. Where there
    is a page to show ``instead``, it gets that one, and is sent nowhere. ``members`` are more members of the JSON
    body.
    """
    method = request.info.method if instead is None else "POST"
    refusal = refuse_visit(error, settings, request.headers, Visit(method, _target(request), request.routes))
    found = refusal.page and (instead or refusal.page)
    extra = () if found is None else PAGE_HEADERS
    body = refusal.body
    if members and body:
        body = json.dumps({**json.loads(body), **members}).encode()
    return FlowResponse(refusal.status, (*refusal.headers, *extra, *_set(cookies)), body, found)


def _target(request: FlowRequest) -> str:
    """The path and query that were asked for, as the browser sees them."""
    path = _PATHS[request.route].replace("{session_id}", request.session_id or "")
    return f"{request.routes}{path}" + (f"?{request.query}" if request.query else "")


def _set(cookies: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple(("set-cookie", cookie) for cookie in cookies)


TEMPLATES = Path(__file__).parent.parent / "templates"
"""The folder for a template engine; the pages are in ``moonkey/`` below it. Escaping must be on."""


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
