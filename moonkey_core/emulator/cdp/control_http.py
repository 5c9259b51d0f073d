"""The control interface of the emulated CDP over HTTP, under ``/_emulator``."""

from __future__ import annotations

from dataclasses import asdict

from starlette.routing import Route

from moonkey_core.emulator.cdp.control import CdpControl
from moonkey_core.emulator.cdp.state import CdpState
from moonkey_core.emulator.control_routes import HELP, NUMBER, Others, Posts, Types, control_routes, names
from moonkey_core.emulator.errors import invalid
from moonkey_core.emulator.records import Json

_HELP: Json = {
    "about": "Control of the emulated Coinbase CDP.",
    "POST /_emulator/sign-in": "{email?, user_id?, method?, life?, age?, claims?}",
    "POST /_emulator/refresh": "{refresh_token} -> a new access token, as the SDK in a browser gets",
    "POST /_emulator/sign-out": "{refresh_token}, as signOut() of the SDK; the access token lives on",
    "POST /_emulator/token": "{email?, user_id?, algorithm?, life?, age?, header?, key?, drop?, claims?}",
    "POST /_emulator/revoke": "{token} -> validate-token refuses it",
    "POST /_emulator/users/delete": "{user_id}",
    "POST /_emulator/users/wallets": "{user_id} gets one wallet of each kind",
    "POST /_emulator/users/members": "{members} replaces members of each user in replies",
    "POST /_emulator/mfa/enroll": "{user_id, kind?: totp | sms}",
    "POST /_emulator/mfa/begin": "{refresh_token, kind?, enroll?} -> challenge_id, and the code",
    "POST /_emulator/mfa/complete": "{refresh_token, challenge_id, code}",
    "POST /_emulator/mfa/protected": "{refresh_token} does what needs MFA",
    "POST /_emulator/api-keys": "{algorithm?: ES256 | EdDSA, key_id?, audience?} adds a key",
    "POST /_emulator/api-keys/revoke": "{key_id?}",
    "POST /_emulator/gateway/refuse": "{times?} answers calls with 403 and no JSON",
    "POST /_emulator/keys/rotate": "{keep_old?: true}",
    **HELP,
}
_REFRESH: Types = {"refresh_token": str}


def _token(control: CdpControl, given: Json) -> Json:
    if not names(given.get("drop", [])):
        raise invalid("drop must be a list of names")
    return {"token": control.token(**given)}


def _api_key(control: CdpControl, given: Json) -> Json:
    key = control.add_api_key(**given)
    return {"key_id": key.key_id, "secret": key.secret, "algorithm": key.algorithm}


def _needed(given: Json, *wanted: str) -> Json:
    missing = [name for name in wanted if name not in given]
    if missing:
        raise invalid(f"{missing[0]} is required")
    return given


def _wallets(control: CdpControl, given: Json) -> Json:
    try:
        return control.add_wallets(**_needed(given, "user_id"))
    except KeyError:
        raise invalid("there is no such user") from None


def _enroll(control: CdpControl, given: Json) -> None:
    try:
        control.enroll_mfa(**_needed(given, "user_id"))
    except KeyError:
        raise invalid("there is no such user") from None


_POSTS: Posts[CdpControl] = {
    "sign-in": (
        lambda c, given: asdict(c.sign_in(**given)),
        {"email": str, "user_id": str, "method": dict, "life": NUMBER, "age": NUMBER, "claims": dict},
    ),
    "refresh": (lambda c, given: asdict(c.refresh(**_needed(given, "refresh_token"))), _REFRESH),
    "sign-out": (lambda c, given: c.sign_out(**_needed(given, "refresh_token")), _REFRESH),
    "token": (
        _token,
        {
            "email": str,
            "user_id": str,
            "algorithm": str,
            "life": NUMBER,
            "age": NUMBER,
            "header": dict,
            "key": str,
            "drop": list,
            "claims": dict,
        },
    ),
    "revoke": (lambda c, given: c.revoke(**_needed(given, "token")), {"token": str}),
    "users/delete": (lambda c, given: c.delete_user(**_needed(given, "user_id")), {"user_id": str}),
    "users/wallets": (_wallets, {"user_id": str}),
    "users/members": (lambda c, given: c.end_user_members(**given.get("members", {})), {"members": dict}),
    "mfa/enroll": (_enroll, {"user_id": str, "kind": str}),
    "mfa/begin": (
        lambda c, given: asdict(c.begin_mfa(**_needed(given, "refresh_token"))),
        {"refresh_token": str, "kind": str, "enroll": bool},
    ),
    "mfa/complete": (
        lambda c, given: c.complete_mfa(**_needed(given, "refresh_token", "challenge_id", "code")),
        {"refresh_token": str, "challenge_id": str, "code": str},
    ),
    "mfa/protected": (lambda c, given: c.protected_operation(**_needed(given, "refresh_token")), _REFRESH),
    "api-keys": (_api_key, {"algorithm": str, "key_id": str, "audience": str}),
    "api-keys/revoke": (lambda c, given: c.revoke_api_key(**given), {"key_id": str}),
    "gateway/refuse": (lambda c, given: c.gateway_refuses(**given), {"times": int}),
    "keys/rotate": (lambda c, given: c.rotate_keys(**given), {"keep_old": bool}),
    "reset": (lambda c, given: c.reset(), {}),
}

_OTHERS: Others[CdpControl] = {
    ("GET", ""): lambda c: {
        **_HELP,
        "project_id": c.project_id,
        "api_url": c.api_url,
        "jwks_url": c.jwks_url,
        "api_key_id": c.api_key_id,
    },
}


def routes(state: CdpState, control: CdpControl) -> list[Route]:
    """Return the routes of the control interface."""
    return control_routes(state, control, _POSTS, _OTHERS)
