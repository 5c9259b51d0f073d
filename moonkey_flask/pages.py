"""The package's pages in the app's own Jinja environment.

The app's templates under ``moonkey/`` take precedence over the package's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from flask import Flask, Response, current_app
from jinja2 import Environment

from moonkey_core.errors import MoonKeyError
from moonkey_core.web.jinja import make_environment
from moonkey_core.web.pages import Page
from moonkey_flask.names import PAGES

logger: logging.Logger = logging.getLogger("moonkey")


def response_of(status: int, headers: Iterable[tuple[str, str]], body: bytes, page: Page | None) -> Response:
    """Make a Flask response from one of the core.

    Args:
        status: The HTTP status.
        headers: The header lines.
        body: The body, used where there is no page.
        page: The page to render as the body, with a content type of its own.

    Raises:
        MoonKeyError: A template of the app reads the user, and there is none.
    """
    if page is None:
        return Response(body, status, list(headers))
    kept = [pair for pair in headers if pair[0] != "content-type"]
    return Response(_rendered(page), status, kept, content_type="text/html; charset=utf-8")


def _rendered(page: Page) -> str:
    return _environment(current_app).get_template(page.template).render(_context(page))


def _context(page: Page) -> dict[str, Any]:
    """Return the values of the app's context processors and of the page; the page's take precedence."""
    found: dict[str, Any] = {}
    try:
        current_app.update_template_context(found)
    except MoonKeyError as error:
        # A context processor reads the user, and a missing user may be the very reason for this page.
        logger.info(
            "a page is shown without the app's context: %s", error.reason, extra={"reason": "page_incomplete"}
        )
    return {**found, **page.context}


def _environment(app: Flask) -> Environment:
    """Return the app's environment with the package's templates as the last resort, and escaping on."""
    found: Environment | None = app.extensions.get(PAGES)
    if found is None:
        found = app.extensions[PAGES] = make_environment(app.jinja_env)
    return found
