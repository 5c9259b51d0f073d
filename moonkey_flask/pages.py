"""Our pages in the app's own Jinja: its templates under ``moonkey/`` win over those that come along."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response, current_app
from jinja2 import BaseLoader, ChoiceLoader, Environment, FileSystemLoader

from moonkey_core import flows
from moonkey_core.errors import MoonKeyError
from moonkey_core.web.pages import Page
from moonkey_flask.names import PAGES

logger = logging.getLogger("moonkey")

_DELIMITERS = {
    "{{": "variable_start_string",
    "}}": "variable_end_string",
    "{%": "block_start_string",
    "%}": "block_end_string",
}


def response_of(status: int, headers: Iterable[tuple[str, str]], body: bytes, page: Page | None) -> Response:
    """A response of the core as one of Flask, its page rendered."""
    if page is None:
        return Response(body, status, list(headers))
    kept = [pair for pair in headers if pair[0] != "content-type"]
    return Response(_rendered(page), status, kept, content_type="text/html; charset=utf-8")


def _rendered(page: Page) -> str:
    return _environment(current_app).get_template(page.template).render(_context(page))


def _context(page: Page) -> dict[str, Any]:
    """What the app's context processors add, and the page's own, which wins."""
    found: dict[str, Any] = {}
    try:
        current_app.update_template_context(found)
    except MoonKeyError as error:
        # One of them asks for the user, and that there is none may be the very reason for this page.
        logger.info(
            "a page is shown without the app's context: %s", error.reason, extra={"reason": "page_incomplete"}
        )
    return {**found, **page.context}


def _environment(app: Flask) -> Environment:
    """The app's own, with our folder as the last resort, and escaping on, whatever the app does for itself."""
    found: Environment | None = app.extensions.get(PAGES)
    if found is None:
        loaders: list[BaseLoader | None] = [app.jinja_env.loader, _OwnTemplates(flows.TEMPLATES)]
        found = app.extensions[PAGES] = app.jinja_env.overlay(
            loader=ChoiceLoader([loader for loader in loaders if loader is not None]),
            autoescape=True,
            bytecode_cache=None,  # there, a template may lie that was compiled without escaping
        )
    return found


class _OwnTemplates(FileSystemLoader):
    """Our templates in the app's dialect: it may have chosen other delimiters, as ``{{`` is something to Vue."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        source, name, is_current = super().get_source(environment, template)
        for ours, attribute in _DELIMITERS.items():
            source = source.replace(ours, getattr(environment, attribute))
        return source, name, is_current
