"""The pages rendered by both engines, strictly, and read again as a browser would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import jinja2
from django.template import Context, Engine

from moonkey_core.flows import TEMPLATES
from moonkey_core.web.pages import Page

VOID = frozenset({"meta", "link", "input", "br"})

_JINJA = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
)
_DJANGO = Engine(dirs=[str(TEMPLATES)])


def by_jinja(page: Page) -> str:
    return _JINJA.get_template(page.template).render(page.context)


def by_django(page: Page) -> str:
    return _DJANGO.get_template(page.template).render(Context(dict(page.context)))


@dataclass
class Element:
    """An element with the text inside it."""

    tag: str
    attributes: dict[str, str | None]
    text: str = ""


@dataclass
class Read(HTMLParser):
    """A document: its elements in order, and the whole of it in a form that two engines can agree on."""

    html: str
    elements: list[Element] = field(default_factory=list)
    normal: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[Element] = []
        self.feed(self.html)
        self.close()
        assert not self._open, [one.tag for one in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute of <{tag}> stands twice"
        element = Element(tag, dict(attrs))
        self.elements.append(element)
        self.normal.append((tag, sorted(attrs, key=str)))
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag
        self.normal.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        words = " ".join(data.split())
        if not words:
            return
        self.normal.append(words)
        for element in self._open:
            element.text = f"{element.text} {words}".strip()

    def handle_decl(self, decl: str) -> None:
        self.normal.append(decl)

    def all(self, tag: str) -> list[Element]:
        return [element for element in self.elements if element.tag == tag]

    def one(self, tag: str) -> Element:
        (found,) = self.all(tag)
        return found

    def fields(self) -> dict[str, str]:
        """The fields that a browser would send, of all forms together."""
        inputs = [one.attributes for one in self.all("input")]
        return {str(one["name"]): one.get("value") or "" for one in inputs if one.get("type") != "checkbox"}


def read_page(page: Page) -> Read:
    """A page as it is shown, by both engines alike."""
    found, other = Read(by_jinja(page)), Read(by_django(page))
    assert found.normal == other.normal
    return found


def texts(context: Mapping[str, Any]) -> list[str]:
    """Every text in a context, but for the paths of our own routes."""
    found: list[str] = []
    for name, value in context.items():
        if name == "urls":
            continue
        for one in value if isinstance(value, list | tuple) else [value]:
            if isinstance(one, Mapping):
                found += texts(one)
            elif isinstance(one, str):
                found.append(one)
    return found
