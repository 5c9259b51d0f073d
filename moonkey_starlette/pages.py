"""Pages for browsers, chosen by the core and rendered with Jinja2; the app's own templates take precedence."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from starlette.requests import Request

from moonkey_core.errors import ConfigurationError, MoonKeyError
from moonkey_core.web.pages import PAGE_HEADERS, Page
from moonkey_core.web.responses import Refusal

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.templating import Jinja2Templates

Templates: TypeAlias = "Jinja2Templates | str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"
"""The app's own templates: a ``Jinja2Templates``, or one or several directories."""

HTML = ("content-type", "text/html; charset=utf-8")


class Pages:
    """A renderer of pages. It renders none if Jinja2 is not installed.

    Every value in a page is escaped.

    Args:
        templates: A ``Jinja2Templates``, whose filters, globals and context processors then serve the built-in
            pages too, or one or several directories. The built-in templates fill in for those not found there.

    Raises:
        ConfigurationError: A directory does not exist, or Jinja2 is not installed.
        TypeError: ``templates`` is of another type.
    """

    def __init__(self, templates: Templates | None = None) -> None:
        self._given = _checked(templates)

    @property
    def can_render(self) -> bool:
        """Whether Jinja2 is installed."""
        return self._engine is not None

    def body(self, page: Page, request: Request) -> bytes | None:
        """Return the page as UTF-8, or ``None`` if Jinja2 is not installed."""
        engine = self._engine
        if engine is None:
            return None
        try:
            context = {**self._context(request), **page.context}
            return engine.get_template(page.template).render(context).encode()
        except MoonKeyError:
            # The app's own layout reads the user, and the lack of a user may be the reason for this page.
            return _OURS.body(page, request)

    def rendered(self, refusal: Refusal, request: Request) -> Refusal:
        """Return a refusal with its page as the body, if it has a page and that can be rendered."""
        body = None if refusal.page is None else self.body(refusal.page, request)
        if body is None:
            return refusal
        kept = [pair for pair in refusal.headers if pair[0] != "content-type"]
        return replace(refusal, headers=(*kept, HTML, *PAGE_HEADERS), body=body, page=None)

    def _context(self, request: Request) -> dict[str, Any]:
        """Return the context that the app's own templates have in all its pages."""
        found: dict[str, Any] = {}
        if self._given is not None:
            found["request"] = request
            for processor in self._given.context_processors:
                found.update(processor(request))
        return found

    @cached_property
    def _engine(self) -> Environment | None:
        try:
            from moonkey_core.web.jinja import make_environment
        except ImportError:
            return None
        return make_environment(None if self._given is None else self._given.env)


def _checked(given: Any) -> Jinja2Templates | None:
    if given is None:
        return None
    if hasattr(given, "env"):
        found: Jinja2Templates = given
        return found
    directories = [given] if isinstance(given, str | os.PathLike) else given
    if not isinstance(directories, Sequence) or not all(isinstance(one, str | os.PathLike) for one in directories):
        raise TypeError("templates must be a Jinja2Templates, or one or several directories.")
    missing = [os.fspath(one) for one in directories if not Path(one).is_dir()]
    if missing or not directories:
        raise ConfigurationError(f"templates: there is no directory {', '.join(missing) or 'named'}.")
    try:
        from starlette.templating import Jinja2Templates
    except ImportError:
        raise ConfigurationError(
            "templates needs Jinja2: pip install 'moonkey[pages]', or leave templates out."
        ) from None
    return Jinja2Templates(directory=list(directories))


_OURS = Pages()
