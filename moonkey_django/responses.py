"""The core's answers as Django's responses: refusals, and those of the session routes."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.log import log_response

from moonkey_core.errors import MoonKeyError
from moonkey_core.flows import ROUTES, FlowResponse
from moonkey_core.web.pages import PAGE_HEADERS, Visit, refuse_visit, tell_of_no_page
from moonkey_core.web.responses import Refusal
from moonkey_django.conf import configuration
from moonkey_django.headers import set_cookies
from moonkey_django.identity import header_view, identity_of
from moonkey_django.pages import rendered

_SIGN_IN = next(route.path for route in ROUTES if route.name == "sign_in")


def refused(request: HttpRequest, error: MoonKeyError) -> HttpResponse:
    """The response for an error; it is logged, too."""
    return _shown(request, _refusal(request, error))


async def arefused(request: HttpRequest, error: MoonKeyError) -> HttpResponse:
    """The same, in asynchronous code: a page's context processors may ask the database."""
    refusal = _refusal(request, error)
    if refusal.page is None:
        return response_of(refusal, None)
    return await sync_to_async(_shown)(request, refusal)


def response_of(answer: Refusal | FlowResponse, page: str | None) -> HttpResponse:
    """What the core answers; ``page`` is the HTML where it is to be one."""
    response = HttpResponse(answer.body if page is None else page, status=answer.status)
    set_cookies(response, (value for name, value in answer.headers if name == "set-cookie"))
    for name, value in answer.headers:
        if name != "set-cookie" and (page is None or name != "content-type"):
            response.headers[name] = value
    return response


def _refusal(request: HttpRequest, error: MoonKeyError) -> Refusal:
    settings = configuration().settings
    routes = None if settings.cookies is None else _mounted_at()
    visit = Visit(request.method or "", request.get_full_path(), routes)
    refusal = refuse_visit(error, settings, header_view(request), visit)
    identity_of(request).refused_with = refusal.status
    return refusal


def _mounted_at() -> str | None:
    """The path under which the session routes are mounted, if they are."""
    try:
        return reverse("moonkey:sign_in").removesuffix(_SIGN_IN)
    except NoReverseMatch:
        return None


def _shown(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    if refusal.page is None:
        return response_of(refusal, None)
    try:
        response = response_of(refusal, rendered(request, refusal.page))
    except MoonKeyError as nobody:  # a template or a context processor of the project's asks for the user
        tell_of_no_page(nobody)
        return response_of(refusal, None)
    except Exception as error:
        response = response_of(refusal, None)
        log_response("MoonKey: no page for a refusal", response=response, request=request, exception=error)
        return response
    for name, value in PAGE_HEADERS:
        response.headers[name] = value
    return response
