"""The Jinja environment for the built-in pages. Only this module imports Jinja2, which is optional."""

from __future__ import annotations

from collections.abc import Callable

from jinja2 import BaseLoader, ChoiceLoader, Environment, FileSystemLoader

from moonkey_core.web.pages import TEMPLATES

__all__ = ["make_environment"]

_DELIMITERS = {
    "{{": "variable_start_string",
    "}}": "variable_end_string",
    "{%": "block_start_string",
    "%}": "block_end_string",
}


def make_environment(app_environment: Environment | None) -> Environment:
    """Return an environment that finds the built-in templates after those of the app, and escapes all values.

    Args:
        app_environment: The environment of the app, whose filters, globals and delimiters apply to the built-in
            templates too; ``None`` if the app has none.
    """
    if app_environment is None:
        return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    loaders: list[BaseLoader] = [] if app_environment.loader is None else [app_environment.loader]
    return app_environment.overlay(
        loader=ChoiceLoader([*loaders, _OurTemplates(TEMPLATES)]),
        autoescape=True,
        bytecode_cache=None,  # it may hold a template that was compiled without escaping
    )


class _OurTemplates(FileSystemLoader):
    """A loader of the built-in templates that uses the delimiters of the app (``{{`` is also that of Vue)."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        """Return a template as :class:`~jinja2.FileSystemLoader` does, its delimiters replaced."""
        source, name, is_current = super().get_source(environment, template)
        for ours, attribute in _DELIMITERS.items():
            source = source.replace(ours, getattr(environment, attribute))
        return source, name, is_current
