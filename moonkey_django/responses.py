"""The core's results as Django responses, and the headers and cookies that are added to any other response."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from asgiref.sync import sync_to_async
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import NoReverseMatch, reverse
from django.utils.log import log_response

from moonkey_core.errors import MoonKeyError
from moonkey_core.flows import ROUTES, FlowResponse
from moonkey_core.privates import changed, private
from moonkey_core.web.pages import PAGE_HEADERS, Visit, log_missing_page, refuse_visit
from moonkey_core.web.responses import (
    DESCRIBED_HEADERS,
    Refusal,
    ResponseFacts,
    has_usual_effects,
    must_resolve_first,
    response_effects,
    usual_facts,
)
from moonkey_django.conf import configuration
from moonkey_django.identity import Identity, header_view, identity_of, request_info
from moonkey_django.pages import rendered

_SIGN_IN = next(route.path for route in ROUTES if route.name == "sign_in")
_OF_REFUSALS = (("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store"))
_HEADERS = "_store"
_NO_HEADER = ("", "")
_TROUBLE = 500  # from here on the error is the server's or the API's, not the client's


def reject(request: HttpRequest, error: MoonKeyError) -> HttpResponse:
    """Return the response for an error, and log it."""
    return _shown(request, _refusal(request, error))


async def areject(request: HttpRequest, error: MoonKeyError) -> HttpResponse:
    """Do the same as :func:`reject`, in asynchronous code.

    A page is rendered in a thread, as its context processors may query the database.
    """
    refusal = _refusal(request, error)
    if refusal.page is None:
        return response_of(refusal, None)
    return await sync_to_async(_shown)(request, refusal)


def response_of(answer: Refusal | FlowResponse, page: str | None) -> HttpResponse:
    """Make a Django response from one of the core.

    Args:
        answer: The core's response.
        page: The HTML, where the body is to be a page.
    """
    response = HttpResponse(answer.body if page is None else page, status=answer.status)
    set_cookies(response, (value for name, value in answer.headers if name == "set-cookie"))
    for name, value in answer.headers:
        if name != "set-cookie" and (page is None or name != "content-type"):
            response.headers[name] = value
    return response


def _refusal(request: HttpRequest, error: MoonKeyError) -> Refusal:
    settings = configuration().settings
    routes = None if settings.cookies is None else _mounted_at()
    info = request_info(request) if settings.needs_request_info else None
    visit = Visit(request.method or "", request.get_full_path(), routes, info=info)
    refusal = refuse_visit(error, settings, header_view(request), visit)
    identity_of(request).refused_with = refusal.status
    return refusal


def _mounted_at() -> str | None:
    """Return the path under which the session routes are mounted, if they are."""
    try:
        return reverse("moonkey:sign_in").removesuffix(_SIGN_IN)
    except NoReverseMatch:
        return None


def _shown(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    if refusal.page is None:
        return response_of(refusal, None)
    try:
        response = response_of(refusal, rendered(request, refusal.page))
    except MoonKeyError as trouble:  # a template or a context processor of the project reads the user
        log_missing_page(trouble)
        return response_of(refusal, None)
    except Exception as error:
        response = response_of(refusal, None)
        log_response("MoonKey: no page for a refusal", response=response, request=request, exception=error)
        return response
    for name, value in PAGE_HEADERS:
        response.headers[name] = value
    return response


def set_cookies(response: HttpResponseBase, cookies: Iterable[str]) -> None:
    """Add ``Set-Cookie`` values to a response, and mark it ``no-store``.

    Args:
        response: The response.
        cookies: The values, such as those of ``get_client().sign_in_cookies(login)``.
    """
    for cookie in cookies:
        response.cookies.load(cookie)  # Django's headers hold only one line of each name
        response.headers["Cache-Control"] = "no-store"


def must_resolve(identity: Identity, response: HttpResponseBase) -> bool:
    """Return whether the identity has to be determined before the response is sent.

    That is the decision of :func:`~moonkey_core.web.responses.must_resolve_first`.

    Args:
        identity: The identity of the request.
        response: The response.
    """
    if identity.auth is not None or not response.streaming:
        return False
    settings = configuration().settings
    return must_resolve_first(None, _facts(response), identity.headers, identity.info, settings)


def complete_refusal(request: HttpRequest, identity: Identity, response: HttpResponseBase) -> None:
    """Add what belongs to a refusal to its response, which REST framework or Django may have made.

    Args:
        request: The request.
        identity: The identity of the request.
        response: The response; one with another status than the refusal's stays as it is.
    """
    if identity.refused_with != response.status_code:
        return
    for name, value in _OF_REFUSALS:  # REST framework makes some of them
        response.headers.setdefault(name, value)
    if isinstance(response, HttpResponse) and response.status_code >= _TROUBLE:
        # Else Django would log an error, and mail it to ADMINS, for each request during an outage.
        name = response.reason_phrase
        log_response("%s: %s", name, request.path, response=response, request=request, level="debug")


def with_effects(identity: Identity, response: HttpResponseBase, *, sets_cookies: bool = True) -> HttpResponseBase:
    """Add the headers and cookies of :func:`~moonkey_core.web.responses.response_effects` to a response.

    Args:
        identity: The identity of the request.
        response: The response.
        sets_cookies: Whether the cookies are added, too. A gate leaves them to the middleware: a ``cache_page``
            around it must see that the page is private, and no more.

    Returns:
        The same response.
    """
    auth = identity.auth
    if auth is None and not response.streaming:
        return response  # it does not depend on the identity, and no later code can make it do so
    own: dict[str, tuple[str, str]] = response.headers.__dict__[_HEADERS]
    if auth is not None and not response.cookies:
        written, config = identity.written, identity.config
        if (
            written is not None
            and written[0] is auth
            and written[1] is own.get("vary")
            and written[2] is own.get("cache-control")
        ):
            return response  # a gate has applied them before
        if DESCRIBED_HEADERS.isdisjoint(own) and has_usual_effects(auth, config.settings, not identity.is_eager):
            # Each response comes here. Django itself would check the texts, which are the same every time.
            own["vary"], own["cache-control"] = vary, cache_control = config.usual_headers
            identity.written = auth, vary, cache_control
            return response
    client = identity.client
    effects = response_effects(
        auth,
        _facts(response),
        identity.headers,
        client.settings,
        client.revocations,
        is_asked_for=not identity.is_eager,
    )
    if effects.is_secret:
        effects = effects.against(response.headers)
    for name, value in effects.headers:
        response.headers[name] = value
    if sets_cookies and effects.cookies:
        set_cookies(response, effects.cookies)
    if effects.headers and response.headers.get("Cache-Control") == "no-store":
        identity.keep_out_of_caches()  # older versions of Django's page cache ignore `no-store`
    return response


def _facts(response: HttpResponseBase) -> ResponseFacts:
    headers = _store_of(response)
    streaming = response.streaming
    is_file = streaming and isinstance(response, FileResponse) and response.file_to_stream is not None
    cookies = response.cookies
    if not cookies and DESCRIBED_HEADERS.isdisjoint(headers):
        return usual_facts(response.status_code, streaming and not is_file)
    return ResponseFacts(
        response.status_code,
        streaming and not is_file,
        headers.get("vary", _NO_HEADER)[1],
        headers.get("cache-control", _NO_HEADER)[1],
        [cookie.OutputString() for cookie in cookies.values()] if cookies else (),
    )


def _store_of(response: HttpResponseBase) -> dict[str, tuple[str, str]]:
    """Return the headers of a response by their names in lower case, each with its name and value."""
    found: dict[str, tuple[str, str]] = response.headers.__dict__[_HEADERS]
    return found


@cache
def check_headers() -> None:
    """Check that Django still keeps the headers of a response by their names in lower case.

    To look for one that is not there, or to write one, takes Django several times as long, and each response needs
    that.

    Raises:
        ConfigurationError: It does not.
    """
    headers = HttpResponse(headers={"X-Test": "1"}).headers
    found = private(headers, _HEADERS)
    if found.get("x-test") == ("X-Test", "1"):
        found["x-other"] = "x-other", "2"
    if headers.get("X-Other") != "2" or ("x-other", "2") not in headers.items():
        raise changed("django", f"HttpResponse.headers.{_HEADERS}")
