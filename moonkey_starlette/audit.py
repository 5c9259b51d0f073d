"""The audit of a Starlette or FastAPI app: :func:`moonkey_core.audit.audit_routes` reads its routes here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any

from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.routing import Router
from starlette.staticfiles import StaticFiles

from moonkey_core.audit import (
    Endpoint,
    Found,
    RouteAudit,
    Verdict,
    by_methods,
    contradictions,
    idle_methods,
    judged,
    name_of,
)
from moonkey_core.errors import ConfigurationError
from moonkey_core.gate import Requirements
from moonkey_core.web.marks import called_by, cells_of, marks_on, vars_of
from moonkey_core.web.placement import attribute, described, kind_of, misplaced_gates
from moonkey_starlette.closed import PACKAGE, gates_of, handlers_of, opened_by
from moonkey_starlette.gates import STARLETTE, method_of, registered, routes_of
from moonkey_starlette.middleware import MoonKeyMiddleware
from moonkey_starlette.mounted import layers
from moonkey_starlette.signatures import Dependency

_FRAMEWORKS = ("starlette", "fastapi", "moonkey_starlette")
_VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_MOST_LAYERS = 100
_USE = "Use CurrentUser or Depends(RequireAuth()), or mark it with @public."
_FOREIGN = (
    "Its routes cannot be seen from here: audit it by itself, or close it by MoonKeyMiddleware(required=True)."
)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in an app a route stands.

    Attributes:
        prefix: The path so far.
        closed: Whether a middleware with ``required=True`` stands before it.
        public: The ``public_paths`` of that middleware, in full.
        app: The dependencies of the FastAPI app.
        opened: What opens the mounted app that it is in, if anything does.
        depth: How many mounts are around it.
    """

    prefix: str = ""
    closed: bool = False
    public: frozenset[str] = frozenset()
    app: tuple[Any, ...] = ()
    opened: str = ""
    depth: int = 0

    def behind(self, middleware: dict[str, Any]) -> _Place:
        """Return the place behind a middleware of ours with these arguments."""
        if middleware.get("required") is not True:
            return self
        public = frozenset(self.prefix + path for path in middleware.get("public_paths") or ())
        return replace(self, closed=True, public=self.public & public if self.closed else public)


def audit_routes(app: Any) -> RouteAudit:
    """Return the audit of a Starlette or FastAPI app.

    Args:
        app: The app, bare or inside of layers that keep the next one as ``app``.

    Raises:
        ConfigurationError: There is no such app in it.
    """
    if not any(isinstance(one, Starlette | Router) for one in layers(app)):
        raise ConfigurationError(f"There is no Starlette app in this {type(app).__name__}.")
    endpoints = tuple(_rows(app, _Place()))
    is_fastapi = any(kind.__module__.startswith("fastapi.") for one in layers(app) for kind in type(one).__mro__)
    void = tuple(dict.fromkeys(_void_gates(app)))
    return RouteAudit(framework="FastAPI" if is_fastapi else "Starlette", endpoints=endpoints, void_gates=void)


def _rows(app: Any, place: _Place) -> Iterator[Endpoint]:
    """Yield the rows of an app, of the routes and apps inside of it, and of what cannot be seen."""
    layer: Any = app
    for _ in range(_MOST_LAYERS):
        if isinstance(layer, MoonKeyMiddleware):
            place = place.behind({"required": layer.required, "public_paths": layer.public_paths})
        if opened := opened_by(layer):
            place = replace(place, closed=False, opened=opened)
        if isinstance(layer, Starlette):
            place = _inside_of(layer, place)
            layer = layer.router
        if isinstance(layer, Router):
            place = _behind_all(attribute(layer, "middleware_stack"), place)
            for route in routes_of(layer):
                yield from _rows_of(route, place)
            return
        if isinstance(layer, StaticFiles):
            nature = place.opened or ("" if place.closed else "static files")
            found = Found(closed_by=_closed_by(place), nature=nature)
            yield judged(("GET", f"{place.prefix}/*"), "StaticFiles", [], found, PACKAGE)
            return
        inner = attribute(layer, "app")
        if inner is None and isinstance(layer, FunctionType):
            held = [one for one in cells_of(layer).values() if isinstance(one, Starlette | Router)]
            inner = held[0] if len(held) == 1 else None
        if inner is None or not callable(inner) or _is_wsgi(inner):
            break
        layer = inner
    yield from _foreign(layer, place)


def _foreign(app: Any, place: _Place) -> Iterator[Endpoint]:
    where = ("ANY", f"{place.prefix}/*")
    marks = marks_on(app)
    if place.closed or place.opened or marks:
        found = Found(closed_by=_closed_by(place), nature=place.opened)
        yield judged(where, described(app), marks, found, PACKAGE)
    else:
        yield Endpoint(
            methods=where[0], path=where[1], view=described(app), verdict=Verdict.UNKNOWN, hint=_FOREIGN
        )


def _is_wsgi(app: Any) -> bool:
    return any(kind.__module__.partition(".")[0] in ("flask", "django") for kind in type(app).__mro__)


def _inside_of(app: Starlette, place: _Place) -> _Place:
    for kind, _, named in app.user_middleware:
        if isinstance(kind, type) and issubclass(kind, MoonKeyMiddleware):
            place = place.behind(dict(named))
    dependencies = attribute(app.router, "dependencies") or ()
    return replace(place, app=tuple(attribute(one, "dependency") for one in dependencies))


def _rows_of(route: Any, place: _Place) -> Iterator[Endpoint]:
    path = place.prefix + (attribute(route, "path") or "")
    endpoint, inner = attribute(route, "endpoint"), attribute(route, "app")
    place = _behind_all(inner, place)
    if endpoint is not None:
        yield from by_methods(
            _row(route, endpoint, method, path, place) for method in _methods_of(route, endpoint)
        )
    elif inner is not None and place.depth < _MOST_LAYERS:
        host = attribute(route, "host")
        prefix = path if host is None else f"//{host}{path}"
        yield from _rows(inner, replace(place, prefix=prefix.rstrip("/"), depth=place.depth + 1))
    else:
        yield from _foreign(route, replace(place, prefix=path))


def _behind_all(app: Any, place: _Place) -> _Place:
    """Return the place behind all middleware of ours in front of an app, or of what a router calls."""
    for layer in layers(app):
        if isinstance(layer, MoonKeyMiddleware):
            place = place.behind({"required": layer.required, "public_paths": layer.public_paths})
    return place


def _methods_of(route: Any, endpoint: Any) -> list[str]:
    methods = attribute(route, "methods")
    if methods is None and isinstance(endpoint, type) and issubclass(endpoint, HTTPEndpoint):
        return [verb for verb in _VERBS if callable(attribute(endpoint, verb.lower()))]
    return sorted(set(methods) - {"HEAD"}) or ["HEAD"] if methods else [method_of(route)]


def _row(route: Any, endpoint: Any, method: str, path: str, place: _Place) -> Endpoint:
    dependant = attribute(route, "dependant")
    view = attribute(dependant, "call") or endpoint
    handlers = handlers_of(view, method)
    found = Found(
        closed_by=_closed_by(place),
        gates=[(_shown(call, place), asked) for call, asked in gates_of(dependant)],
        guard=_guard_of(dependant, view, *handlers),
        nature=_nature_of(endpoint, path, place),
        hint=_hint_of(dependant),
    )
    return judged((method, path), name_of(view, handlers), marks_on(view, *handlers), found, PACKAGE)


def _closed_by(place: _Place) -> str:
    return "MoonKeyMiddleware(required=True)" if place.closed else ""


def _nature_of(endpoint: Any, path: str, place: _Place) -> str:
    if place.opened:
        return place.opened
    if place.closed:
        return "public_paths of the middleware" if path in place.public else ""
    is_document = str(attribute(endpoint, "__module__")) == "fastapi.applications"
    return "FastAPI's own documents (openapi_url, docs_url, redoc_url)" if is_document else ""


def _shown(call: Any, place: _Place) -> str:
    """Return how a gate among the dependencies is written, and that it is one of the whole app."""
    if isinstance(call, Dependency):
        kind = type(call).__name__.lstrip("_")
        name = kind if not isinstance(attribute(call, "requirements"), Requirements) else f"Depends({kind}())"
    else:
        name = f"Depends({attribute(call, '__name__') or type(call).__name__})"
    is_of_app = any(call is one or (isinstance(call, Dependency) and call == one) for one in place.app)
    return f"{name} of the app" if is_of_app else name


def _guard_of(dependant: Any, *views: Any) -> str:
    """Return what else decides: Starlette's ``requires``, or a dependency that reads a credential by a scheme."""
    for view in views:
        for one in called_by(view):
            if (attribute(one, "__globals__") or {}).get("__name__") == "starlette.authentication":
                scopes = cells_of(one).get("scopes_list")
                if scopes:
                    return f"@requires({scopes!r})"
    for direct in attribute(dependant, "dependencies") or ():
        if not _is_scheme(direct.call) and any(_is_scheme(one.call) for one in _below(direct)):
            return f"Depends({attribute(direct.call, '__name__') or type(direct.call).__name__})"
    return ""


def _below(dependant: Any) -> Iterator[Any]:
    for inner in dependant.dependencies:
        yield inner
        yield from _below(inner)


def _is_scheme(call: Any) -> bool:
    """Return whether a dependency is a security scheme of FastAPI's own, which only reads a credential."""
    if isinstance(call, Dependency) or type(call).__module__.startswith("moonkey_starlette."):
        return False
    return any(kind.__module__ == "fastapi.security.base" for kind in type(call).__mro__)


def _hint_of(dependant: Any) -> str:
    for direct in attribute(dependant, "dependencies") or ():
        if isinstance(direct.call, Dependency) and direct.call.written == "CurrentAuth":
            return f"CurrentAuth refuses no request. {_USE}"
        if _is_scheme(direct.call):
            return f"{type(direct.call).__name__} reads a credential and checks none. {_USE}"
    return "" if dependant is None else _USE


def _void_gates(app: Any) -> Iterator[str]:
    noted: list[ConfigurationError] = []
    found = list(registered([app], note=noted.append))
    yield from map(str, noted)
    yield from misplaced_gates(found, STARLETTE)
    called: dict[type, set[str]] = {}
    for one in found:
        yield from contradictions(one.where, one.view, marks_on(one.view), PACKAGE)
        if isinstance(one.view, type) and one.where.partition(" ")[2].startswith("/"):
            names = called.setdefault(one.view, {"dispatch", "on_connect", "on_receive", "on_disconnect"})
            names |= {verb.lower() for verb in (*_VERBS, "HEAD")}
    for owner, names in called.items():
        yield from idle_methods(owner, names, _FRAMEWORKS)
        yield from _late_gates(owner)


def _late_gates(owner: type) -> Iterator[str]:
    """Yield a sentence where a WebSocket is accepted before the gate of a later method of its class is asked."""
    for name in ("on_receive", "on_disconnect"):
        kind = kind_of(vars_of(owner, name))
        if (
            kind is not None
            and kind.is_gate
            and handlers_of(owner, "WEBSOCKET")
            and not marks_on(owner, *handlers_of(owner, "WEBSOCKET"))
        ):
            yield (
                f"The @{kind.name} on {owner.__qualname__}.{name} comes too late: the connection is accepted "
                "before. Put it on on_connect."
            )
