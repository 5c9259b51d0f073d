"""The control interface over HTTP: what it has for each emulated service, and how a table becomes its routes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.routing import Route

from moonkey_core.emulator import fields
from moonkey_core.emulator.conditions import Conditions, ConditionsControl
from moonkey_core.emulator.endpoints import endpoint
from moonkey_core.emulator.errors import invalid
from moonkey_core.emulator.records import Json

CONTROL_PREFIX = "/_emulator"
NUMBER = (int, float)
AGES = {"age": NUMBER, "factor_age": NUMBER}

Types = Mapping[str, type | tuple[type, ...]]
_C = TypeVar("_C", bound=ConditionsControl)
Posts = Mapping[str, tuple[Callable[[_C, Json], Json | None], Types]]
Others = Mapping[tuple[str, str], Callable[[_C], Json | None]]

HELP: Json = {
    "POST /_emulator/clock": "{offset: seconds}",
    "POST /_emulator/faults": ("{path?, status?, headers?, body?, delay?, drip?, drip_headers?, reset?, times?}"),
    "DELETE /_emulator/faults": "takes all faults down",
    "GET /_emulator/requests": "calls by route, and in_flight_max",
    "DELETE /_emulator/requests": "counts anew",
    "POST /_emulator/reset": "starts over",
}


def _arguments(body: Json, types: Types) -> Json:
    """Return the arguments in a body. Unknown names and wrong types are refused; null counts as absent."""
    for name, value in body.items():
        if name not in types:
            raise invalid(f"unknown field; use {', '.join(types)}")
        wanted = types[name]
        if value is not None and (not isinstance(value, wanted) or _bool_as_number(value, wanted)):
            raise invalid(f"{name} has the wrong type")
    return {name: value for name, value in body.items() if value is not None}


def _bool_as_number(value: Any, wanted: type | tuple[type, ...]) -> bool:
    return isinstance(value, bool) and bool not in (wanted if isinstance(wanted, tuple) else (wanted,))


def _fault(control: ConditionsControl, given: Json) -> None:
    if not all(isinstance(value, str) for value in given.get("headers", {}).values()):
        raise invalid("header values must be text")
    control.fault(**given)


def _clock(control: ConditionsControl, given: Json) -> Json:
    control.set_clock(given.get("offset", 0))
    return {"now": control.now()}


_POSTS: Posts[ConditionsControl] = {
    "clock": (_clock, {"offset": NUMBER}),
    "faults": (
        _fault,
        {
            "path": str,
            "status": int,
            "headers": dict,
            "body": str,
            "delay": NUMBER,
            "drip": NUMBER,
            "drip_headers": (int, float, bool),
            "reset": bool,
            "times": int,
        },
    ),
}
_OTHERS: Others[ConditionsControl] = {
    ("GET", "/requests"): lambda c: {**c.requests(), "in_flight_max": c.in_flight_max()},
    ("DELETE", "/requests"): lambda c: c.clear_requests(),
    ("DELETE", "/faults"): lambda c: c.clear_faults(),
}


def names(value: object) -> bool:
    """Return whether a value is a list of texts."""
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def control_routes(conditions: Conditions, control: _C, posts: Posts[_C], others: Others[_C]) -> list[Route]:
    """Return the routes of the control interface: those of each service, and these of one."""

    def post(act: Callable[[_C, Json], Json | None], types: Types) -> Callable[[Request, bytes], Json]:
        def answer(_: Request, raw: bytes) -> Json:
            given = _arguments(fields.json_object(raw), types)
            try:
                return act(control, given) or {"ok": True}
            except ValueError as error:
                raise invalid(str(error)) from None

        return answer

    def other(act: Callable[[_C], Json | None]) -> Callable[[Request, bytes], Json]:
        return lambda _, __: act(control) or {"ok": True}

    all_posts: Posts[_C] = {**_POSTS, **posts}
    all_others: Others[_C] = {**_OTHERS, **others}
    return [
        *(
            Route(f"{CONTROL_PREFIX}/{path}", endpoint(conditions, post(act, types)), methods=["POST"])
            for path, (act, types) in all_posts.items()
        ),
        *(
            Route(f"{CONTROL_PREFIX}{path}", endpoint(conditions, other(act)), methods=[method])
            for (method, path), act in all_others.items()
        ),
    ]
