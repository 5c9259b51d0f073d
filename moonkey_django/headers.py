"""What is added to a response that somebody else has made: cookies, and what caches have to know."""

from __future__ import annotations

from collections.abc import Iterable

from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.log import log_response

from moonkey_core.auth import Auth
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import presents_any, presents_cookies
from moonkey_core.web.responses import success_headers
from moonkey_django.conf import configuration
from moonkey_django.identity import Identity, identity_of

_TROUBLE = 500  # from here on it is a server's: ours, or the API's


def set_cookies(response: HttpResponseBase, cookies: Iterable[str]) -> None:
    """Add ``Set-Cookie`` values to a response, such as those of ``get_client().sign_in_cookies(login)``.

    Nobody may store the response then.
    """
    for cookie in cookies:
        response.cookies.load(cookie)  # headers have one line of each name in Django
        response.headers["Cache-Control"] = "no-store"


def finished(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """``response`` as it leaves the middleware: with the cookies that the request's identity asks for."""
    identity = identity_of(request)
    if isinstance(response, HttpResponse) and identity.refused_with == response.status_code >= _TROUBLE:
        # Django would log it as an error, and mail it to ADMINS, for each request of an outage.
        name = response.reason_phrase
        log_response("%s: %s", name, request.path, response=response, request=request, level="debug")
    auth, cookies = identity.auth, tuple[str, ...]()
    if auth is not None and auth.from_cookies:
        already = [cookie.OutputString() for cookie in response.cookies.values()]
        cookies = identity.client.cookies_after(auth, already)
        set_cookies(response, cookies)
    return with_cache_headers(request, response, sets_cookies=bool(cookies))


def with_cache_headers(
    request: HttpRequest, response: HttpResponseBase, *, sets_cookies: bool = False
) -> HttpResponseBase:
    """``response``, which tells caches so if it depends on identity. Doing it again changes nothing."""
    identity = identity_of(request)
    settings = configuration().settings
    if sets_cookies or _depends_on_identity(identity, response, settings):
        headers = response.headers
        vary = headers.get("Vary")
        found = success_headers(
            Auth() if identity.auth is None else identity.auth,
            settings,
            vary=vary,
            cache_control=headers.get("Cache-Control"),
        )
        for name, value in found.items():
            if name != "vary" or value != vary:
                headers[name] = value
        if headers["Cache-Control"] == "no-store":
            identity.keep_out_of_caches()  # Django's page cache has not always known these words
    return response


def is_due(identity: Identity, response: HttpResponseBase) -> bool:
    """Whether the identity has to be worked out before the headers go out.

    That is so where the body of a stream may look at it later, and it may bring a cookie.
    """
    if identity.auth is not None or not _may_look_later(response):
        return False
    return presents_cookies(identity.headers, configuration().settings)


def _depends_on_identity(identity: Identity, response: HttpResponseBase, settings: Settings) -> bool:
    if identity.is_looked_at:
        return True
    auth = identity.auth
    if auth is not None and auth.fresh is not None and settings.fresh_jwt_header is not None:
        return True
    return _may_look_later(response) and presents_any(identity.headers, settings)


def _may_look_later(response: HttpResponseBase) -> bool:
    """A stream may, when its headers have long been sent; a file will not."""
    return response.streaming and not isinstance(response, FileResponse)
