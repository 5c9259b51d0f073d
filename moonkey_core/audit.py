"""The audit of an app's routes: what each endpoint demands and where that is said, and which ones demand nothing.

The rows are made by ``moonkey_flask.audit``, ``moonkey_django.audit`` and ``moonkey_starlette.audit``, which read
the marks that gates leave. No view is called, and no request is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import field, fields
from datetime import timedelta
from enum import StrEnum
from importlib import import_module
from typing import Any

from moonkey_core._dataclass import dataclass
from moonkey_core.errors import ConfigurationError
from moonkey_core.gate import Requirements
from moonkey_core.web.marks import Mark, marks_on
from moonkey_core.web.placement import attribute, described, kind_of

__all__ = ["Endpoint", "RouteAudit", "Verdict", "assert_all_protected", "audit_routes"]

_BY_FRAMEWORK = {
    "flask": "moonkey_flask.audit",
    "django": "moonkey_django.audit",
    "starlette": "moonkey_starlette.audit",
    "fastapi": "moonkey_starlette.audit",
    "moonkey_starlette": "moonkey_starlette.audit",
}
_DJANGO = "moonkey_django.audit"
_NOTHING = Requirements()
_HINT = "Put @require_auth on it, or mark it with @public."


class Verdict(StrEnum):
    """What the audit says of an endpoint."""

    PROTECTED = "protected"
    """A gate of this package stands before it, or it is closed by default."""

    PUBLIC = "public"
    """It is open on purpose, and says so; or by nature, as a sign-in page."""

    UNPROTECTED = "unprotected"
    """Nothing stands before it, and nothing says that this is meant."""

    GUARDED = "guarded by something else"
    """The framework's own means, or another package's, decide about it."""

    UNKNOWN = "unknown"
    """It is a mounted foreign app, whose routes cannot be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint, for some of its methods.

    Attributes:
        methods: Its methods, such as ``"GET/POST"``; ``"ANY"``, ``"WEBSOCKET"`` or ``"EVENT"``.
        path: The pattern of its path.
        view: The function or class, with its place in the source.
        verdict: What is said of it.
        said_by: Where that is said; empty where it is said nowhere.
        demands: What is demanded beyond a verified user and session, by the names of the requirements.
        hint: What to do, where something is to be done.
    """

    methods: str
    path: str
    view: str
    verdict: Verdict
    said_by: str = ""
    demands: Mapping[str, Any] = field(default_factory=dict)
    hint: str = ""

    @property
    def where(self) -> str:
        """The methods and the path."""
        return f"{self.methods} {self.path}"

    def to_dict(self) -> dict[str, Any]:
        """Return the endpoint as values for JSON."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {**found, "verdict": self.verdict.value, "demands": dict(self.demands)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteAudit:
    """All endpoints of an app.

    Attributes:
        framework: The name of the framework.
        endpoints: The endpoints, in the order of the app.
        void_gates: The gates that protect nothing, each as a sentence with the mend.
    """

    framework: str
    endpoints: tuple[Endpoint, ...]
    void_gates: tuple[str, ...] = ()

    @property
    def unprotected(self) -> tuple[Endpoint, ...]:
        """The endpoints that nothing protects, and that are not marked as public."""
        return self.with_verdict(Verdict.UNPROTECTED)

    @property
    def unknown(self) -> tuple[Endpoint, ...]:
        """The mounted foreign apps."""
        return self.with_verdict(Verdict.UNKNOWN)

    @property
    def is_ok(self) -> bool:
        """Whether no endpoint is unprotected, and each gate protects something. Unknown ones do not count."""
        return not self.void_gates and not self.unprotected

    def with_verdict(self, verdict: Verdict) -> tuple[Endpoint, ...]:
        """Return the endpoints of which this is said."""
        return tuple(one for one in self.endpoints if one.verdict is verdict)

    def problems(self, *, strict: bool = False) -> list[str]:
        """Return each problem as a sentence.

        Args:
            strict: Whether a mounted foreign app is a problem, too.
        """
        found = [f"{one.where} is unprotected: {one.view}. {one.hint or _HINT}" for one in self.unprotected]
        if strict:
            found += [f"{one.where} is unknown: {one.view}. {one.hint}".rstrip() for one in self.unknown]
        return [*self.void_gates, *found]

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as values for JSON."""
        return {
            "framework": self.framework,
            "ok": self.is_ok,
            "counts": {verdict.value: len(self.with_verdict(verdict)) for verdict in Verdict},
            "endpoints": [one.to_dict() for one in self.endpoints],
            "void_gates": list(self.void_gates),
        }

    def to_json(self) -> str:
        """Return the audit as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def to_table(self) -> str:
        """Return the audit as a table for people, one line for each endpoint, and then the problems."""
        lines = [("VERDICT", "METHODS", "PATH", "DEMANDS", "SAID BY")]
        lines += [
            (one.verdict.value, one.methods, one.path, _shown(one.demands), one.said_by or one.view)
            for one in self.endpoints
        ]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        counted = ((len(self.with_verdict(verdict)), verdict.value) for verdict in Verdict)
        counts = ", ".join(f"{count} {name}" for count, name in counted if count)
        gates = f"; {len(self.void_gates)} void gates" if self.void_gates else ""
        return "\n".join([*table, "", f"{self.framework}: {counts or 'no endpoints'}{gates}", *self.problems()])

    def __str__(self) -> str:
        return self.to_table()


def audit_routes(app: object = None) -> RouteAudit:
    """Return the audit of an app.

    Args:
        app: A Flask, Starlette or FastAPI app, bare or inside of other layers; ``None`` for the Django project of
            the current settings.

    Raises:
        ConfigurationError: It is no app that can be read.
    """
    module = _DJANGO if app is None else _module_for(app)
    found: RouteAudit = import_module(module).audit_routes(*(() if module == _DJANGO else (app,)))
    return found


def assert_all_protected(app: object = None, *, strict: bool = False) -> RouteAudit:
    """Assert that each endpoint of an app is protected, guarded or marked as public, and that no gate is void.

    For one test: ``def test_routes(): assert_all_protected(app)``.

    Args:
        app: As for :func:`audit_routes`.
        strict: Whether a mounted foreign app, whose routes cannot be seen, fails as well.

    Returns:
        The audit, for further assertions.

    Raises:
        AssertionError: An endpoint is unprotected, or a gate protects nothing. The message names each.
        ConfigurationError: It is no app that can be read.
    """
    audit = audit_routes(app)
    problems = audit.problems(strict=strict)
    if problems:
        raise AssertionError("\n".join([f"{len(problems)} problems with the routes:", *problems]))
    return audit


def _module_for(app: object) -> str:
    """Return the module that reads an app: by its class, or by that of a layer inside of it."""
    layer: Any = app
    for _ in range(100):
        for kind in type(layer).__mro__:
            module = _BY_FRAMEWORK.get(kind.__module__.partition(".")[0])
            if module is not None:
                return module
        layer = attribute(layer, "app") or attribute(layer, "wsgi_app")
        if layer is None:
            break
    raise ConfigurationError(
        f"A {type(app).__name__} is no app of Flask, Django, Starlette or FastAPI, nor a layer that keeps one as "
        "`app`."
    )


# --- For the framework packages


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a framework package has found out about an endpoint, beside its marks.

    Attributes:
        closed_by: What refuses by default, if anything does.
        gates: Gates that stand before several endpoints, each with what it requires, by where it is said.
        guard: What else decides about it, if anything does.
        nature: Why it is open by nature, if it is.
        hint: What to do, should it be unprotected.
    """

    closed_by: str = ""
    gates: Sequence[tuple[str, Requirements]] = ()
    guard: str = ""
    nature: str = ""
    hint: str = ""


def judged(where: tuple[str, str], name: str, marks: Iterable[Mark], found: Found, package: str) -> Endpoint:
    """Return the row of an endpoint.

    Args:
        where: The methods and the path.
        name: What to call the view, by :func:`name_of`.
        marks: The marks on the view.
        found: What else is known of it.
        package: The framework package, whose marks alone count.
    """
    ours = [mark for mark in marks if mark.package == package]
    gates = [*found.gates, *((f"@{mark.name}", mark.requirements) for mark in ours if mark.is_gate)]
    opened = [mark for mark in ours if not mark.is_gate]
    demands: dict[str, Any] = {}
    for _, requirements in gates:
        demands |= demands_in(requirements or _NOTHING)
    verdict, said_by, hint = Verdict.UNPROTECTED, "", found.hint
    if gates:
        verdict, said_by = Verdict.PROTECTED, ", ".join(dict.fromkeys(one for one, _ in gates))
    elif found.closed_by and not opened and not found.nature:
        verdict, said_by = Verdict.PROTECTED, found.closed_by
    elif found.guard:
        verdict, said_by = Verdict.GUARDED, found.guard
    elif opened or found.nature:
        verdict, said_by = Verdict.PUBLIC, _opened_by(opened) or found.nature
    methods, path = where
    return Endpoint(
        methods=methods,
        path=path,
        view=name,
        verdict=verdict,
        said_by=said_by,
        demands=demands,
        hint=(hint or _HINT) if verdict is Verdict.UNPROTECTED else "",
    )


def name_of(view: object, handlers: Sequence[object] = ()) -> str:
    """Return what to call a view: by the method of its own class that is called, else by its class or itself."""
    owner = attribute(view, "cls") or attribute(view, "view_class") or view
    if not isinstance(owner, type):
        return described(view)
    own = [one for one in handlers if any(one is value for value in vars(owner).values())]
    if own and str(attribute(own[0], "__qualname__")).startswith(owner.__qualname__):
        return described(own[0])
    return f"{owner.__name__} ({owner.__module__})"


def by_methods(rows: Iterable[Endpoint]) -> Iterator[Endpoint]:
    """Yield one row for all methods of which the same is said."""
    groups: dict[Any, list[Endpoint]] = {}
    for row in rows:
        key = (row.path, row.view, row.verdict, row.said_by, str(row.demands), row.hint)
        groups.setdefault(key, []).append(row)
    for group in groups.values():
        names = dict.fromkeys(one.methods for one in group)
        yield Endpoint(**{**_values(group[0]), "methods": "/".join(names)})


def contradictions(where: str, view: object, marks: Iterable[Mark], package: str) -> Iterator[str]:
    """Yield a sentence for each mark that has no effect on an endpoint."""
    listed = list(marks)
    for mark in listed:
        if mark.package != package:
            yield (
                f"{where}: {described(view)} has the {mark.name} of {mark.package}, which has no effect here. "
                f"Write: from {package} import {mark.name}"
            )
    names = {mark.name for mark in listed if mark.package == package}
    if "require_auth" in names and "public" in names:
        yield f"{where}: {described(view)} has both @require_auth and @public. Leave one of them out."


def idle_methods(owner: type, called: AbstractSet[str], frameworks: tuple[str, ...]) -> Iterator[str]:
    """Yield a sentence for each method of a class that has a gate, and that no route calls.

    A method counts as called where any other method of the class names it.

    Args:
        owner: The class of a view.
        called: The names of the methods that the framework calls.
        frameworks: The top-level packages whose base classes do not count.
    """
    own = [one for one in owner.__mro__ if one.__module__.partition(".")[0] not in ("builtins", *frameworks)]
    functions = {name: value for one in reversed(own) for name, value in vars(one).items()}
    codes = (attribute(_innermost(one), "__code__") for one in functions.values())
    named = {name for code in codes if code is not None for name in code.co_names}
    for name, function in functions.items():
        kind = kind_of(function)
        if kind is not None and kind.is_gate and name not in called and name not in named:
            yield (
                f"The @{kind.name} on {described(function)} protects nothing: no request comes to this method. "
                "Put it on a method that a request comes to, or before the whole view."
            )
    listed = functions.get("decorators")
    for one in listed if isinstance(listed, list | tuple) else ():
        kind = kind_of(one)
        if kind is not None and "decorators" not in called:
            yield (
                f"The {kind.name} in {owner.__qualname__}.decorators protects nothing: only Flask reads that "
                "attribute. Put it on the methods, or before the view where it is registered."
            )


def demands_in(requirements: Requirements) -> dict[str, Any]:
    """Return what a gate demands beyond a verified user and session, as values for JSON.

    Of claims only the names are told, as a value may be a secret.
    """
    return {
        one.name: _plain(getattr(requirements, one.name))
        for one in fields(requirements)
        if not one.name.startswith("_") and getattr(requirements, one.name) != getattr(_NOTHING, one.name)
    }


def is_gated(function: object) -> bool:
    """Return whether a function is certain to run a gate of ours."""
    return any(mark.is_gate for mark in marks_on(function))


def _values(row: Endpoint) -> dict[str, Any]:
    return {one.name: getattr(row, one.name) for one in fields(row)}


def _innermost(function: object) -> object:
    for _ in range(20):
        inner = attribute(function, "__wrapped__")
        if inner is None:
            break
        function = inner
    return function


def _opened_by(opened: Sequence[Mark]) -> str:
    names = {"public": "@public", "optional_auth": "@optional_auth, which runs it in all states"}
    said = ((names.get(mark.name, mark.name), mark.reason) for mark in opened)
    return ", ".join(f"{name}: {reason}" if reason else name for name, reason in said)


def _plain(value: object) -> object:
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g} s"
    if isinstance(value, Mapping):
        return sorted(value)
    if isinstance(value, AbstractSet):
        return sorted(value)
    return list(value) if isinstance(value, list | tuple) else value


def _shown(demands: Mapping[str, Any]) -> str:
    def text(value: object) -> str:
        return "+".join(map(str, value)) if isinstance(value, list) else str(value)

    return ", ".join(f"{name}={text(value)}" for name, value in demands.items()) or "-"
