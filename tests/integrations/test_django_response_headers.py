"""The headers of a response are read where Django keeps them, and written once for a gate and the middleware."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import ResponseHeaders
from django.test import RequestFactory
from django.utils.cache import patch_vary_headers

from moonkey_core.emulator import Emulator
from moonkey_django import MoonKeyMiddleware, require_auth, responses
from moonkey_django.responses import check_headers


@pytest.fixture(autouse=True)
def checked_again() -> Iterator[None]:
    check_headers.cache_clear()
    yield
    check_headers.cache_clear()


@pytest.fixture(autouse=True)
def configured(settings: Any, emulator: Emulator) -> None:
    settings.MOONKEY = {"SECRET_KEY": emulator.secret_key, "BASE_URL": emulator.base_url}


def made() -> Any:
    return MoonKeyMiddleware(lambda request: HttpResponse())


def test_they_are_where_they_are_read() -> None:
    made()


def test_another_place_is_refused_when_the_middleware_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "_HEADERS", "_where_they_were")
    with pytest.raises(ImproperlyConfigured, match=r"ResponseHeaders\._where_they_were"):
        made()


def test_another_form_too(monkeypatch: pytest.MonkeyPatch) -> None:
    make: Any = vars(ResponseHeaders)["__init__"]

    def turned(self: Any, data: Any) -> None:
        make(self, data)
        self._store = {name: [value] for name, (_, value) in self._store.items()}

    monkeypatch.setattr(ResponseHeaders, "__init__", turned)
    with pytest.raises(ImproperlyConfigured, match=r"HttpResponse\.headers\._store"):
        made()


def unchanged(response: HttpResponse) -> HttpResponse:
    return response


def varied(response: HttpResponse) -> HttpResponse:
    patch_vary_headers(response, ["Cookie"])
    return response


def opened(response: HttpResponse) -> HttpResponse:
    del response["Cache-Control"], response["Vary"]
    return response


def replaced(response: HttpResponse) -> HttpResponse:
    return JsonResponse({}, headers={"Vary": "Accept"})


@pytest.mark.parametrize(
    ("change", "vary"),
    [
        (unchanged, "Authorization, Session-Token"),
        (varied, "Authorization, Session-Token, Cookie"),
        (opened, "Authorization, Session-Token"),
        (replaced, "Accept, Authorization, Session-Token"),
    ],
)
def test_what_a_layer_between_does_to_them_is_seen(emulator: Emulator, change: Any, vary: str) -> None:
    @require_auth
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("me")

    token = emulator.sign_in().session_token
    request = RequestFactory(headers={"Authorization": f"Bearer {token}"}).get("/")
    response: Any = MoonKeyMiddleware(lambda request: change(view(request)))(request)
    assert (response["Vary"], response["Cache-Control"]) == (vary, "private")
