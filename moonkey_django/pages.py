"""The package's pages, rendered by Django's template engine; a project's own templates take precedence.

The package has an engine of its own, whatever ``TEMPLATES`` contains. It searches where the project's first Django
engine does, then in the apps, then in the package's folder, so that a project's template can replace one of the
package's and still begin with ``{% extends "moonkey/base.html" %}``. The project's context processors, tags and
filters are available. Values are always escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.http import HttpRequest
from django.template import engines
from django.template.backends.django import DjangoTemplates

from moonkey_core.flows import TEMPLATES
from moonkey_core.web.responses import Page

_LOADERS = "django.template.loaders"
_CACHED = f"{_LOADERS}.cached.Loader"
_OURS = (_CACHED, [f"{_LOADERS}.app_directories.Loader", (f"{_LOADERS}.filesystem.Loader", [TEMPLATES])])


def rendered(request: HttpRequest, page: Page) -> str:
    """Return the HTML of a page. Errors of the project's templates and context processors are passed on."""
    return _engine().get_template(page.template).render(dict(page.context), request)


@lru_cache(1)
def _engine() -> DjangoTemplates:
    engine = next((backend.engine for backend in engines.all() if isinstance(backend, DjangoTemplates)), None)
    options: dict[str, Any] = {"loaders": _loaders([] if engine is None else engine.loaders)}
    if engine is not None:
        options["context_processors"] = engine.context_processors
        options["libraries"] = engine.libraries
        options["builtins"] = engine.builtins[len(engine.default_builtins) :]
    dirs = [] if engine is None else engine.dirs
    return DjangoTemplates({"NAME": "moonkey", "DIRS": dirs, "APP_DIRS": False, "OPTIONS": options})


def _loaders(projects: Sequence[Any]) -> list[Any]:
    found = [*projects, _OURS]
    if not settings.DEBUG:
        return found
    # With DEBUG, templates are not cached, so that a change shows at once.
    return [one for entry in found for one in (entry[1] if entry[0] == _CACHED else [entry])]


@receiver(setting_changed)
def _forget(*, setting: str, **_kwargs: object) -> None:
    if setting in ("TEMPLATES", "DEBUG", "INSTALLED_APPS"):
        _engine.cache_clear()
