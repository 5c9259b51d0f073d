"""The kinds of response that a route gives: a page, JSON, a redirect, an error, the style sheet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import urlencode

from moonkey_core._operations.core import Core
from moonkey_core.errors import MoonKeyError
from moonkey_core.flows.routes import ROUTES, FlowPlan, FlowRequest, FlowResponse
from moonkey_core.settings import Settings
from moonkey_core.settings.sign_in_settings import safe_target
from moonkey_core.web.pages import (
    PAGE_HEADERS,
    TEMPLATES,
    Page,
    Visit,
    complete_page,
    refuse_visit,
    urls,
    wants_page,
)

_PRIVATE = (
    ("cache-control", "no-store"),
    ("vary", "Accept, Cookie, Authorization"),
    ("x-content-type-options", "nosniff"),
)
_STATIC = (("cache-control", "public, max-age=3600"), ("x-content-type-options", "nosniff"))
_ROUTES = {route.name: route for route in ROUTES}


def is_browser(request: FlowRequest, settings: Settings) -> bool:
    """Return whether to answer with a page: the client prefers HTML, and no header presents a credential."""
    return wants_page(request.headers) and not any(request.headers(name) for name in settings.credential_headers)


def make_page(request: FlowRequest, template: str, context: Mapping[str, Any]) -> Page:
    """Make a page from the bare name of its template. Its context also gets ``urls``."""
    return Page(f"moonkey/{template}.html", {**context, "urls": urls(request.routes)})


def make_error_page(
    request: FlowRequest, reason: str, target: str | None = "", *, begin: Literal["sign_in", "step_up"] = "sign_in"
) -> Page:
    """Make the page for an error that has a title and a text of its own by its ``reason``.

    Args:
        request: The request that is refused.
        reason: The reason.
        target: The path to return to after another try, as the client has sent it.
        begin: The page where another try begins.
    """
    target = safe_target(target)
    page = urls(request.routes)[begin] + (f"?{urlencode({'next': target})}" if target else "")
    ways: dict[str, str | None] = {"sign_in_url": None, "form_url": None, "retry_url": None}
    ways["sign_in_url" if begin == "sign_in" else "form_url"] = page
    context = {"status": 400, "reason": reason, "was_sent": False, "comes_back": False, **ways}
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
    # The address of a callback holds a token, and works once: there is no way back to it.
    target = "" if request.route == "oauth" else _request_target(request)
    visit = Visit(method, target, request.routes, form_address(request), request.info)
    refusal = refuse_visit(error, settings, request.headers, visit)
    shown = refusal.page and (page or refusal.page)
    page_headers = () if shown is None else PAGE_HEADERS
    shown = None if shown is None else complete_page(shown, settings)
    body = refusal.body
    if members and body:
        body = json.dumps({**json.loads(body), **members}).encode()
    headers = (*refusal.headers, *page_headers, *_set_cookie_headers(cookies))
    return FlowResponse(refusal.status, headers, body, shown)


def style(core: Core, request: FlowRequest) -> FlowPlan:
    """Answer with the style sheet of the pages, which is the same for every user and may be cached."""
    yield from ()
    return FlowResponse(200, (("content-type", "text/css; charset=utf-8"), *_STATIC), _file("style.css"))


def icon(core: Core, request: FlowRequest) -> FlowPlan:
    """Answer with the icon of the pages. Without one, browsers request ``/favicon.ico`` of the app."""
    yield from ()
    return FlowResponse(200, (("content-type", "image/svg+xml"), *_STATIC), _file("icon.svg"))


@lru_cache(2)
def _file(name: str) -> bytes:
    return (TEMPLATES / "moonkey" / name).read_bytes()


def form_address(request: FlowRequest) -> str | None:
    """Return the address of the page with the form that posts to a route, with the query of the request.

    ``None`` where the route has no such page.
    """
    path = _ROUTES[request.route].form
    if path is None:
        return None
    form = f"{request.routes}{path}"
    return safe_target(f"{form}?{request.query}", form) if request.query else form


def _request_target(request: FlowRequest) -> str:
    """Return the path and query of the request, as the browser sees them."""
    path = _ROUTES[request.route].path.replace("{session_id}", request.session_id or "")
    return f"{request.routes}{path}" + (f"?{request.query}" if request.query else "")


def _set_cookie_headers(cookies: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple(("set-cookie", cookie) for cookie in cookies)
