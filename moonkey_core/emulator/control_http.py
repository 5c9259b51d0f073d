"""The control interface over HTTP, under ``/_emulator``. It is not part of the service's API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from moonkey_core.emulator import fields
from moonkey_core.emulator.control import Control
from moonkey_core.emulator.endpoints import endpoint
from moonkey_core.emulator.errors import invalid
from moonkey_core.emulator.factors import FACTOR_NAMES
from moonkey_core.emulator.records import Json
from moonkey_core.emulator.state import State

CONTROL_PREFIX = "/_emulator"

_Types = Mapping[str, type | tuple[type, ...]]
_NUMBER = (int, float)

_HELP: Json = {
    "about": "Control of the MoonKey emulator. The service's own API is under /v1.",
    "GET /_emulator/outbox": "codes and links that were sent, newest first",
    "GET /_emulator/wallet-key": "the demo wallet key: a signature is HMAC-SHA256 of the challenge, in hex",
    "POST /_emulator/sign-in": "{email? | user_id?, minutes?, factors?, claims?} -> a session without a login",
    "factors": f"objects, or names: {', '.join(FACTOR_NAMES)}",
    "POST /_emulator/revoke": "{session_id} ends a session",
    "POST /_emulator/oauth-token": "{email?, provider?} -> a token for oauth/verify",
    "POST /_emulator/keys/rotate": "{keep_old?: true}",
    "POST /_emulator/clock": "{offset: seconds}",
    "POST /_emulator/faults": ("{path?, status?, headers?, body?, delay?, drip?, drip_headers?, reset?, times?}"),
    "DELETE /_emulator/faults": "takes all faults down",
    "POST /_emulator/dead-session": "{status: 404 | 400 | 401, coded: bool}",
    "POST /_emulator/token-prefix": "{on: bool} writes session tokens with `session_` in front, or without",
    "POST /_emulator/error-shape": '{shape: "A" | "B" | null}',
    "POST /_emulator/max-session-minutes": "{minutes: 5 to 527040 | null}",
    "GET /_emulator/requests": "calls by route, and in_flight_max",
    "DELETE /_emulator/requests": "counts anew",
    "POST /_emulator/mint": '{claims?, header?, key?: "current" | "foreign", session_id?, drop?} -> a JWT',
    "POST /_emulator/reset": "starts over",
}


def _arguments(body: Json, types: _Types) -> Json:
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


def _strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _sign_in(control: Control, given: Json) -> Json:
    if not all(isinstance(one, (str, dict)) for one in given.get("factors", ())):
        raise invalid("factors must be names or objects")
    return asdict(control.sign_in(**given))


def _fault(control: Control, given: Json) -> None:
    if not all(isinstance(value, str) for value in given.get("headers", {}).values()):
        raise invalid("header values must be text")
    control.fault(**given)


def _mint(control: Control, given: Json) -> Json:
    if not _strings(given.get("drop", [])):
        raise invalid("drop must be a list of names")
    return {"session_jwt": control.mint(**given)}


def _clock(control: Control, given: Json) -> Json:
    control.set_clock(given.get("offset", 0))
    return {"now": control.now()}


def _revoke(control: Control, given: Json) -> None:
    control.revoke(fields.text(given, "session_id"))


def _rotate(control: Control, given: Json) -> Json:
    return {"kid": control.rotate_keys(**given)}


_POSTS: dict[str, tuple[Callable[[Control, Json], Json | None], _Types]] = {
    "sign-in": (_sign_in, {"email": str, "user_id": str, "minutes": _NUMBER, "factors": list, "claims": dict}),
    "revoke": (_revoke, {"session_id": str}),
    "oauth-token": (lambda c, given: {"token": c.oauth_token(**given)}, {"email": str, "provider": str}),
    "keys/rotate": (_rotate, {"keep_old": bool}),
    "clock": (_clock, {"offset": _NUMBER}),
    "faults": (
        _fault,
        {
            "path": str,
            "status": int,
            "headers": dict,
            "body": str,
            "delay": _NUMBER,
            "drip": _NUMBER,
            "drip_headers": (int, float, bool),
            "reset": bool,
            "times": int,
        },
    ),
    "dead-session": (lambda c, given: c.dead_session(**given), {"status": int, "coded": bool}),
    "token-prefix": (lambda c, given: c.token_prefix(**given), {"on": bool}),
    "error-shape": (lambda c, given: c.error_shape(**given), {"shape": str}),
    "max-session-minutes": (lambda c, given: c.max_session_minutes(**given), {"minutes": int}),
    "mint": (_mint, {"claims": dict, "header": dict, "key": str, "session_id": str, "drop": list}),
    "reset": (lambda c, given: c.reset(), {}),
}

_OTHERS: dict[tuple[str, str], Callable[[Control], Json | None]] = {
    ("GET", ""): lambda c: {
        **_HELP,
        "issuer": c.issuer,
        "app_id": c.app_id,
        "kid": c.kid,
        "public_token": c.public_token,
    },
    ("GET", "/outbox"): lambda c: {"messages": [asdict(message) for message in c.outbox()]},
    ("GET", "/wallet-key"): lambda c: {"wallet_key": c.wallet_key},
    ("GET", "/requests"): lambda c: {**c.requests(), "in_flight_max": c.in_flight_max()},
    ("DELETE", "/requests"): lambda c: c.clear_requests(),
    ("DELETE", "/faults"): lambda c: c.clear_faults(),
}


def control_routes(state: State, control: Control) -> list[Route]:
    """Return the routes of the control interface."""

    def post(act: Callable[[Control, Json], Json | None], types: _Types) -> Callable[[Request, bytes], Json]:
        def answer(_: Request, raw: bytes) -> Json:
            given = _arguments(fields.json_object(raw), types)
            try:
                return act(control, given) or {"ok": True}
            except ValueError as error:
                raise invalid(str(error)) from None

        return answer

    def other(act: Callable[[Control], Json | None]) -> Callable[[Request, bytes], Json]:
        return lambda _, __: act(control) or {"ok": True}

    return [
        *(
            Route(f"{CONTROL_PREFIX}/{path}", endpoint(state, post(act, types)), methods=["POST"])
            for path, (act, types) in _POSTS.items()
        ),
        *(
            Route(f"{CONTROL_PREFIX}{path}", endpoint(state, other(act)), methods=[method])
            for (method, path), act in _OTHERS.items()
        ),
    ]
