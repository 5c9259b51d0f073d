"""A way to keep a page out of Django's page cache from inside the view that makes it."""

from __future__ import annotations

from functools import cache

from django.http import HttpRequest, HttpResponse
from django.middleware.cache import FetchFromCacheMiddleware

from moonkey_core.privates import changed, private

_ATTRIBUTE = "_cache_update_cache"


def keep_out(request: HttpRequest) -> None:
    """Keep the response to this request out of Django's page cache.

    A ``cache_page`` around a view stores the page before any middleware outside can mark it private. The attribute
    is the one that ``UpdateCacheMiddleware`` reads. ``Identity.read`` sets it by itself.
    """
    setattr(request, _ATTRIBUTE, False)


@cache
def check_page_cache() -> None:
    """Check that Django's page cache still uses the attribute that :func:`keep_out` sets.

    Raises:
        ConfigurationError: It does not.
    """
    request = HttpRequest()
    request.method = "POST"  # is never cached, so the check makes no call to the cache
    FetchFromCacheMiddleware(lambda _: HttpResponse()).process_request(request)
    if private(request, _ATTRIBUTE) is not False:
        raise changed("django", f"HttpRequest.{_ATTRIBUTE}")
