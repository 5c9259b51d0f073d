"""The attribute by which a page is kept out of Django's page cache is Django's own, and may change its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.middleware.cache import FetchFromCacheMiddleware

from moonkey_django import MoonKeyMiddleware
from moonkey_django.page_cache import check_page_cache


@pytest.fixture(autouse=True)
def checked_again() -> Iterator[None]:
    check_page_cache.cache_clear()
    yield
    check_page_cache.cache_clear()


@pytest.fixture(autouse=True)
def configured(settings: Any) -> None:
    settings.MOONKEY = {"SECRET_KEY": "sk_test_" + "d" * 30}


def made() -> Any:
    return MoonKeyMiddleware(lambda request: HttpResponse())


def test_it_is_the_one_that_django_asks() -> None:
    made()


def test_another_name_is_refused_when_the_middleware_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def renamed(self: Any, request: HttpRequest) -> None:
        request._another_name = False  # type: ignore[attr-defined]

    monkeypatch.setattr(FetchFromCacheMiddleware, "process_request", renamed)
    with pytest.raises(ImproperlyConfigured, match=r"django \(\d.*HttpRequest\._cache_update_cache"):
        made()


def test_another_meaning_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def turned(self: Any, request: HttpRequest) -> None:
        request._cache_update_cache = "never"  # type: ignore[attr-defined]

    monkeypatch.setattr(FetchFromCacheMiddleware, "process_request", turned)
    with pytest.raises(ImproperlyConfigured, match="_cache_update_cache"):
        made()
