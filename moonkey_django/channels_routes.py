"""What the audit says of the consumers of Django Channels, which MoonKey's middleware does not see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from moonkey_core.audit import Endpoint, Verdict
from moonkey_core.web.placement import attribute, described

_MOST_LAYERS = 20
_HINT = (
    "Channels calls it without MoonKey's middleware, and what it checks cannot be seen from here: authenticate "
    "its scope by an AsyncMoonKey."
)
_UNLOADED = "It cannot be imported: start the server once to see why."


def consumers() -> Iterator[Endpoint]:
    """Yield the consumers that a ``ProtocolTypeRouter`` in ``ASGI_APPLICATION`` names beside Django's own app."""
    path = getattr(settings, "ASGI_APPLICATION", None)
    if not isinstance(path, str):
        return
    try:
        app: Any = import_string(path)
    except Exception:  # the code of the project may raise anything
        yield _row("ANY", "/*", f"ASGI_APPLICATION = {path!r}", _UNLOADED)
        return
    by_protocol = attribute(app, "application_mapping")
    for protocol, inner in by_protocol.items() if isinstance(by_protocol, Mapping) else ():
        if protocol != "http":
            yield from _rows(str(protocol).upper(), inner, "")


def _rows(protocol: str, app: Any, prefix: str) -> Iterator[Endpoint]:
    layer = app
    for _ in range(_MOST_LAYERS):
        routes = attribute(layer, "routes")
        if isinstance(routes, list | tuple):  # of a URLRouter, which may be in another one
            for route in routes:
                where = f"{prefix}{attribute(route, 'pattern')}"
                yield from _rows(protocol, attribute(route, "callback"), where)
            return
        inner = attribute(layer, "inner") or attribute(layer, "application")
        if inner is None:
            break
        layer = inner
    view = attribute(layer, "consumer_class") or layer
    yield _row(protocol, f"/{prefix or '*'}", described(view), _HINT)


def _row(protocol: str, path: str, view: str, hint: str) -> Endpoint:
    return Endpoint(methods=protocol, path=path, view=view, verdict=Verdict.UNKNOWN, hint=hint)
