"""How a page is kept out of Django's page cache from inside the view that makes it."""

from __future__ import annotations

from functools import cache

from django.http import HttpRequest, HttpResponse
from django.middleware.cache import FetchFromCacheMiddleware

from moonkey_core.privates import changed, private

_ATTRIBUTE = "_cache_update_cache"


def keep_out(request: HttpRequest) -> None:
    """See to it that what answers this request is not stored.

    A ``cache_page`` around a view stores its page before any middleware outside can mark it private. The attribute
    is the one that ``UpdateCacheMiddleware`` asks.
    """
    setattr(request, _ATTRIBUTE, False)


@cache
def check_page_cache() -> None:
    """Raise :class:`~moonkey_core.errors.ConfigurationError` where Django's page cache goes by something else."""
    request = HttpRequest()
    request.method = "POST"  # which is never cached, so that no cache is asked
    FetchFromCacheMiddleware(lambda _: HttpResponse()).process_request(request)
    if private(request, _ATTRIBUTE) is not False:
        raise changed("django", f"HttpRequest.{_ATTRIBUTE}")
