"""The control interface over HTTP, under ``/_emulator``. It is not part of the service's API."""

from __future__ import annotations

from dataclasses import asdict

from starlette.routing import Route

from moonkey_core.emulator import fields
from moonkey_core.emulator.control import Control
from moonkey_core.emulator.control_routes import AGES, HELP, NUMBER, Others, Posts, control_routes, names
from moonkey_core.emulator.errors import invalid
from moonkey_core.emulator.factors import FACTOR_NAMES
from moonkey_core.emulator.records import Json
from moonkey_core.emulator.state import State

_HELP: Json = {
    "about": "Control of the MoonKey emulator. The service's own API is under /v1.",
    "GET /_emulator/outbox": "codes and links that were sent, newest first",
    "GET /_emulator/wallet-key": "the demo wallet key: a signature is HMAC-SHA256 of the challenge, in hex",
    "POST /_emulator/sign-in": "{email? | user_id?, minutes?, factors?, claims?, age?, factor_age?} -> a session",
    "factors": f"objects, or names: {', '.join(FACTOR_NAMES)}",
    "POST /_emulator/revoke": "{session_id} ends a session",
    "POST /_emulator/oauth-token": "{email?, provider?} -> a token for oauth/verify",
    "POST /_emulator/keys/rotate": "{keep_old?: true}",
    "POST /_emulator/dead-session": "{status: 404 | 400 | 401, coded: bool}",
    "POST /_emulator/token-prefix": "{on: bool} writes session tokens with `session_` in front, or without",
    "POST /_emulator/error-shape": '{shape: "A" | "B" | null}',
    "POST /_emulator/max-session-minutes": "{minutes: 5 to 527040 | null}",
    "POST /_emulator/mint": '{claims?, header?, key?: "current" | "foreign", session_id?, drop?} -> a JWT',
    **HELP,
}


def _sign_in(control: Control, given: Json) -> Json:
    if not all(isinstance(one, (str, dict)) for one in given.get("factors", ())):
        raise invalid("factors must be names or objects")
    return asdict(control.sign_in(**given))


def _mint(control: Control, given: Json) -> Json:
    if not names(given.get("drop", [])):
        raise invalid("drop must be a list of names")
    return {"session_jwt": control.mint(**given)}


def _revoke(control: Control, given: Json) -> None:
    control.revoke(fields.text(given, "session_id"))


def _rotate(control: Control, given: Json) -> Json:
    return {"kid": control.rotate_keys(**given)}


_POSTS: Posts[Control] = {
    "sign-in": (
        _sign_in,
        {"email": str, "user_id": str, "minutes": NUMBER, "factors": list, "claims": dict, **AGES},
    ),
    "revoke": (_revoke, {"session_id": str}),
    "oauth-token": (lambda c, given: {"token": c.oauth_token(**given)}, {"email": str, "provider": str}),
    "keys/rotate": (_rotate, {"keep_old": bool}),
    "dead-session": (lambda c, given: c.dead_session(**given), {"status": int, "coded": bool}),
    "token-prefix": (lambda c, given: c.token_prefix(**given), {"on": bool}),
    "error-shape": (lambda c, given: c.error_shape(**given), {"shape": str}),
    "max-session-minutes": (lambda c, given: c.max_session_minutes(**given), {"minutes": int}),
    "mint": (_mint, {"claims": dict, "header": dict, "key": str, "session_id": str, "drop": list}),
    "reset": (lambda c, given: c.reset(), {}),
}

_OTHERS: Others[Control] = {
    ("GET", ""): lambda c: {
        **_HELP,
        "issuer": c.issuer,
        "app_id": c.app_id,
        "kid": c.kid,
        "public_token": c.public_token,
    },
    ("GET", "/outbox"): lambda c: {"messages": [asdict(message) for message in c.outbox()]},
    ("GET", "/wallet-key"): lambda c: {"wallet_key": c.wallet_key},
}


def routes(state: State, control: Control) -> list[Route]:
    """Return the routes of the control interface."""
    return control_routes(state, control, _POSTS, _OTHERS)
