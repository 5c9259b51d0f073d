"""Streaming views of Django that live as long as the session."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, StreamingHttpResponse
from django.urls import path
from integrations.stream_items import silent, ticks

from moonkey_django import bound_stream


async def asynchronous(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(bound_stream(request, silent()), content_type="text/event-stream")


def plain(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(bound_stream(request, ticks()), content_type="text/event-stream")


urlpatterns: list[Any] = [path("asynchronous", asynchronous), path("plain", plain)]
