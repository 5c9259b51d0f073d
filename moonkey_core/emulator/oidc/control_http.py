"""The control interface of the issuer over HTTP, under ``/_emulator``."""

from __future__ import annotations

from dataclasses import asdict

from starlette.routing import Route

from moonkey_core.emulator.control_routes import HELP, NUMBER, Others, Posts, Types, control_routes, names
from moonkey_core.emulator.errors import invalid
from moonkey_core.emulator.oidc.control import OidcControl
from moonkey_core.emulator.oidc.presets import PRESETS
from moonkey_core.emulator.oidc.state import OidcState
from moonkey_core.emulator.records import Json

_HELP: Json = {
    "about": "Control of the emulated OpenID Connect issuer.",
    "presets": ", ".join(PRESETS),
    "GET /_emulator/presets": "issuer, audience, client, algorithm, key set and kinds of tokens of each preset",
    "POST /_emulator/sign-in": "{email?, preset?, user_id?, session_id?, algorithm?, life?, age?, claims?}",
    "POST /_emulator/token": (
        "{preset?, kind?, email?, user_id?, session_id?, algorithm?, life?, age?, header?, key?, drop?, claims?}"
    ),
    "POST /_emulator/opaque-token": (
        "{preset?, kind?, email?, user_id?, session_id?, life?, age?, drop?, claims?} -> for introspection"
    ),
    "POST /_emulator/revoke": "{token | session_id | user_id}",
    "POST /_emulator/keys/rotate": "{keep_old?: true, algorithm?}",
    "POST /_emulator/keys/publish": "{alg?: true, use?: true, members?, extra?} chooses how keys are published",
    "POST /_emulator/discovery": "{members} replaces members of the discovery document; null leaves one out",
    "POST /_emulator/introspection": "{members} replaces members of the replies about active tokens",
    "POST /_emulator/clients": "{client_id, secret?, public_key?, methods?, assertion_audience?} adds a client",
    **HELP,
}
_WHO: Types = {
    "preset": str,
    "email": str,
    "user_id": str,
    "session_id": str,
    "life": NUMBER,
    "age": NUMBER,
    "claims": dict,
}


def _objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _token(control: OidcControl, given: Json) -> Json:
    if not names(given.get("drop", [])):
        raise invalid("drop must be a list of names")
    return {"token": control.token(**given)}


def _opaque_token(control: OidcControl, given: Json) -> Json:
    if not names(given.get("drop", [])):
        raise invalid("drop must be a list of names")
    return {"token": control.opaque_token(**given)}


def _publish(control: OidcControl, given: Json) -> None:
    if not _objects(given.get("extra", [])):
        raise invalid("extra must be a list of objects")
    control.key_set(**given)


def _add_client(control: OidcControl, given: Json) -> None:
    if not isinstance(given.get("client_id"), str) or not names(given.get("methods", [])):
        raise invalid("client_id must be text, and methods a list of names")
    control.add_client(**given)


def _presets(control: OidcControl) -> Json:
    return {name: asdict(control.preset(name)) for name in PRESETS}


_POSTS: Posts[OidcControl] = {
    "sign-in": (lambda c, given: asdict(c.sign_in(**given)), {**_WHO, "algorithm": str}),
    "token": (
        _token,
        {**_WHO, "kind": str, "algorithm": str, "header": dict, "key": str, "drop": list},
    ),
    "opaque-token": (_opaque_token, {**_WHO, "kind": str, "drop": list}),
    "revoke": (lambda c, given: c.revoke(**given), {"token": str, "session_id": str, "user_id": str}),
    "keys/rotate": (lambda c, given: c.rotate_keys(**given), {"keep_old": bool, "algorithm": str}),
    "keys/publish": (_publish, {"alg": bool, "use": bool, "members": dict, "extra": list}),
    "discovery": (lambda c, given: c.discovery(**given.get("members", {})), {"members": dict}),
    "introspection": (lambda c, given: c.introspection(**given.get("members", {})), {"members": dict}),
    "clients": (
        _add_client,
        {
            "client_id": str,
            "secret": str,
            "public_key": (str, dict),
            "methods": list,
            "assertion_audience": str,
        },
    ),
    "reset": (lambda c, given: c.reset(), {}),
}

_OTHERS: Others[OidcControl] = {
    ("GET", ""): lambda c: {
        **_HELP,
        "issuer": c.issuer,
        "audience": c.audience,
        "jwks_url": c.jwks_url,
        "introspection_url": c.introspection_url,
        "client_id": c.client_id,
    },
    ("GET", "/presets"): _presets,
}


def routes(state: OidcState, control: OidcControl) -> list[Route]:
    """Return the routes of the control interface."""
    return control_routes(state, control, _POSTS, _OTHERS)
