"""The kinds of response that a route gives: a page, JSON, a redirect, an error, the style sheet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from moonkey_core._operations.core import Core
from moonkey_core.errors import MoonKeyError
from moonkey_core.flows.routes import ROUTES, FlowPlan, FlowRequest, FlowResponse
from moonkey_core.settings import Settings
from moonkey_core.web.pages import PAGE_HEADERS, TEMPLATES, Page, Visit, refuse_visit, urls, wants_page

_PRIVATE = (("cache-control", "no-store"), ("vary", "Accept, Cookie, Authorization"))
_STYLE_HEADERS = (
    ("content-type", "text/css; charset=utf-8"),
    ("cache-control", "public, max-age=3600"),
    ("x-content-type-options", "nosniff"),
)
_PATHS = {route.name: route.path for route in ROUTES}


def is_browser(request: FlowRequest, settings: Settings) -> bool:
    """Return whether to answer with a page: the client prefers HTML, and no header presents a credential."""
    return wants_page(request.headers) and not any(request.headers(name) for name in settings.credential_headers)


def make_page(request: FlowRequest, template: str, context: Mapping[str, Any]) -> Page:
    """Make a page from the bare name of its template. Its context also gets ``urls``."""
    return Page(f"moonkey/{template}.html", {**context, "urls": urls(request.routes)})


def make_error_page(request: FlowRequest, reason: str, title: str) -> Page:
    """Make the page for an error with a text of its own, which ``reason`` selects in ``error.html``."""
    context = {"title": title, "status": 400, "reason": reason, "sign_in_url": urls(request.routes)["sign_in"]}
    return make_page(request, "error", context)


def page_response(
    request: FlowRequest,
    template: str,
    context: Mapping[str, Any],
    *,
    cookies: Iterable[str] = (),
) -> FlowResponse:
    """Answer with a page, as :func:`make_page` makes it."""
    headers = (*_PRIVATE, *PAGE_HEADERS, *_set_cookie_headers(cookies))
    return FlowResponse(200, headers, page=make_page(request, template, context))


def json_response(content: Mapping[str, Any], *, cookies: Iterable[str] = ()) -> FlowResponse:
    """Answer with a JSON object."""
    headers = (("content-type", "application/json"), *_PRIVATE, *_set_cookie_headers(cookies))
    return FlowResponse(200, headers, json.dumps(content).encode())


def see_other(target: str, *, cookies: Iterable[str] = ()) -> FlowResponse:
    """Redirect after a POST (RFC 9110 section 15.4.4). ``target`` is a path of this site."""
    return FlowResponse(303, (("location", target), *_PRIVATE, *_set_cookie_headers(cookies)))


def method_not_allowed(methods: Iterable[str]) -> FlowResponse:
    """Refuse a method that the route does not have (RFC 9110 section 15.5.6)."""
    return FlowResponse(405, (("allow", ", ".join(methods)), *_PRIVATE))


def error_response(
    error: MoonKeyError,
    settings: Settings,
    request: FlowRequest,
    *,
    cookies: Iterable[str] = (),
    page: Page | None = None,
    members: Mapping[str, object] | None = None,
) -> FlowResponse:
    """Answer with an error, and log it.

    After a GET a browser is redirected to sign in where that helps; after a POST it gets a page.

    Args:
        error: The error.
        settings: The settings of the client.
        request: The request that is refused.
        cookies: ``Set-Cookie`` values.
        page: The page for a browser, instead of the usual one. There is no redirect then.
        members: Further members of the JSON body.
    """
    method = request.info.method if page is None else "POST"
    visit = Visit(method, _request_target(request), request.routes)
    refusal = refuse_visit(error, settings, request.headers, visit)
    shown = refusal.page and (page or refusal.page)
    page_headers = () if shown is None else PAGE_HEADERS
    body = refusal.body
    if members and body:
        body = json.dumps({**json.loads(body), **members}).encode()
    headers = (*refusal.headers, *page_headers, *_set_cookie_headers(cookies))
    return FlowResponse(refusal.status, headers, body, shown)


def style(core: Core, request: FlowRequest) -> FlowPlan:
    """Answer with the style sheet of the pages, which is the same for every user and may be cached."""
    yield from ()
    return FlowResponse(200, _STYLE_HEADERS, _style_sheet())


@lru_cache(1)
def _style_sheet() -> bytes:
    return (TEMPLATES / "moonkey" / "style.css").read_bytes()


def _request_target(request: FlowRequest) -> str:
    """Return the path and query of the request, as the browser sees them."""
    path = _PATHS[request.route].replace("{session_id}", request.session_id or "")
    return f"{request.routes}{path}" + (f"?{request.query}" if request.query else "")


def _set_cookie_headers(cookies: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple(("set-cookie", cookie) for cookie in cookies)
