"""The check of ``CORSMiddleware``: does it list the headers that pages of other origins need?"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Scope

from moonkey_core.settings import Settings
from moonkey_core.web.cors import UnlistedHeaders, unlisted_headers
from moonkey_core.web.placement import attribute
from moonkey_starlette.mounted import layers

logger: logging.Logger = logging.getLogger("moonkey")


def check_cors(app: ASGIApp, scope: Scope, settings: Settings) -> None:
    """Log a warning for each ``CORSMiddleware`` of an app that lacks headers in its lists.

    By default it refuses every credential in a header, and lets no page of another origin read ``Retry-After``.

    Args:
        app: The app that the middleware calls.
        scope: The scope of the start, or of the first request.
        settings: The settings.
    """
    inner = [*layers(app)]
    for missing in cors_gaps([*inner, scope.get("app")], settings):
        logger.warning(
            "a CORSMiddleware does not list what pages of other origins need: allow_headers lacks %s, "
            "expose_headers lacks %s",
            ", ".join(missing.allow) or "nothing",
            ", ".join(missing.expose) or "nothing",
            extra={"reason": "cors_unlisted"},
        )


def cors_gaps(parts: Iterable[Any], settings: Settings) -> Iterator[UnlistedHeaders]:
    """Yield what each ``CORSMiddleware`` lacks in its lists.

    Args:
        parts: Layers and apps that may have one, or be one.
        settings: The settings.
    """
    parts = [*parts]
    for one in _found(parts, [part for part in parts if isinstance(part, Starlette)]):
        missing = unlisted_headers(
            settings,
            settings.credential_headers if one.allow_all_headers else one.allow_headers,
            one.simple_headers.get("Access-Control-Expose-Headers", "").split(","),
            with_cookies=_allows_credentials(one),
        )
        if any(missing):
            yield missing


def _found(inner: Iterable[Any], apps: Iterable[Any]) -> Iterator[CORSMiddleware]:
    """Yield those that allow any origin: among the layers inside of ours, and in the lists of the apps."""
    made = [one for one in inner if type(one) is CORSMiddleware]
    for listed in (attribute(app, "user_middleware") for app in apps):
        for kind, arguments, named in listed if isinstance(listed, list) else ():
            if kind is CORSMiddleware:
                made.append(CORSMiddleware(_nothing, *arguments, **named))
    seen: list[object] = []
    for one in made:
        has_origins = bool(one.allow_origins or one.allow_origin_regex)
        lists = (one.allow_headers, one.simple_headers)
        if has_origins and lists not in seen:  # one that stands inside of ours is in the list of the app, too
            seen.append(lists)
            yield one


def _allows_credentials(one: CORSMiddleware) -> bool:
    return "Access-Control-Allow-Credentials" in one.simple_headers  # the oldest releases keep no other trace


async def _nothing(*_: object) -> None:
    """Stand for the app of a middleware that is only looked at."""
