"""The template engine. It alone imports Jinja2, which need not be installed."""

from __future__ import annotations

from collections.abc import Callable

from jinja2 import BaseLoader, ChoiceLoader, Environment, FileSystemLoader

from moonkey_core.web.pages import TEMPLATES

_DELIMITERS = {
    "{{": "variable_start_string",
    "}}": "variable_end_string",
    "{%": "block_start_string",
    "%}": "block_end_string",
}


def make_engine(given: Environment | None) -> Environment:
    """An engine that finds our templates, after those of the app's engine where one is given, and escapes all."""
    if given is None:
        return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    loaders: list[BaseLoader] = [] if given.loader is None else [given.loader]
    return given.overlay(
        loader=ChoiceLoader([*loaders, _OwnTemplates(TEMPLATES)]),
        autoescape=True,
        bytecode_cache=None,  # there, a template may lie that was compiled without escaping
    )


class _OwnTemplates(FileSystemLoader):
    """Our templates in the app's dialect: it may have chosen other delimiters."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        source, name, is_current = super().get_source(environment, template)
        for ours, attribute in _DELIMITERS.items():
            source = source.replace(ours, getattr(environment, attribute))
        return source, name, is_current
