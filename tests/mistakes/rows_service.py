"""Mistakes about the provider: keys, issuer, address, clock, and the scheme of the credential."""

from __future__ import annotations

import asyncio
from typing import Any

from mistakes.lab import EVERYWHERE, FRAMEWORKS, Heard, Lab, Row

from moonkey_core import AsyncMoonKey, MoonKey

CLIENTS = ("sync", "async")


def asked(*, jwt: bool = False, ahead: float = 0, **changed: Any) -> Any:
    """A mistake that the first request shows; a value may be a function of the emulator."""

    def provoke(lab: Lab, framework: str) -> None:
        options = {name: value(lab.emulator) if callable(value) else value for name, value in changed.items()}
        if ahead:
            lab.emulator.set_clock(ahead)
        signed_in = lab.emulator.sign_in()
        headers = {"authorization": f"Bearer {signed_in.session_jwt if jwt else signed_in.session_token}"}
        if framework in CLIENTS:
            _by_client(lab, framework, headers, options)
        else:
            lab.headers = headers
            lab.visit(framework, lambda auth: auth.user.id, signed_in=False, **options)

    return provoke


def _by_client(lab: Lab, framework: str, headers: dict[str, str], options: dict[str, Any]) -> None:
    with lab.at("first request"):
        if framework == "sync":
            with MoonKey(**{**lab.base, **options}) as client:
                raise Heard("first request", str(client.authenticate(headers).error))

        async def ask() -> None:
            async with AsyncMoonKey(**{**lab.base, **options}) as client:
                raise Heard("first request", str((await client.authenticate(headers)).error))

        asyncio.run(ask())


def scheme(lab: Lab, framework: str) -> None:
    lab.headers = {"authorization": f"Token {lab.emulator.sign_in().session_token}"}
    lab.visit(framework, lambda auth: auth.user.id, signed_in=False)


_REJECTED_KEY = (
    "The MoonKey API rejected the secret key. Check MOONKEY_SECRET_KEY: it must be a current sk_test_ or sk_live_ key of "
    "this app, and MOONKEY_BASE_URL must be the API it belongs to."
)

ROWS = (
    Row(
        "the secret key is wrong, or of another app",
        EVERYWHERE,
        "first request",
        _REJECTED_KEY,
        "Take the key of this app, of the same environment.",
        asked(secret_key="sk_test_wrong"),
    ),
    Row(
        "the same where JWTs are verified here: the key set is refused",
        EVERYWHERE,
        "first request",
        _REJECTED_KEY,
        "Take the key of this app, of the same environment.",
        asked(jwt=True, secret_key="sk_test_wrong", jwt_issuer=lambda emulator: emulator.issuer),
    ),
    Row(
        "`jwt_issuer` is that of another app",
        EVERYWHERE,
        "first request",
        "Its iss is '{}', not one of 'api.moonkey.fun/other'. If the JWT is of your own app, correct the issuer in the "
        "settings.",
        "Write the exact `iss` of your tokens.",
        asked(jwt=True, jwt_issuer="api.moonkey.fun/other"),
    ),
    Row(
        "`jwt_issuer` has a slash at its end, and the tokens have none",
        EVERYWHERE,
        "first request",
        "Its iss is '{}', not one of '{}/'. They differ in a slash at the end alone: correct the issuer in the settings.",
        "Write the exact `iss` of your tokens.",
        asked(jwt=True, jwt_issuer=lambda emulator: f"{emulator.issuer}/"),
    ),
    Row(
        "`base_url` has a wrong path",
        EVERYWHERE,
        "first request",
        "status 404, as there is no such path: check the address in the settings",
        "Correct `base_url`.",
        asked(base_url=lambda emulator: f"{emulator.base_url}/api"),
    ),
    Row(
        "`jwks_url` has a wrong path",
        EVERYWHERE,
        "first request",
        "The key set at {}/keys came with status 404. Check its address in the settings.",
        "Correct `jwks_url`, or leave it out.",
        asked(
            jwt=True,
            jwks_url=lambda emulator: f"{emulator.base_url}/keys",
            jwt_issuer=lambda emulator: emulator.issuer,
        ),
    ),
    Row(
        "the clock of this machine is late",
        EVERYWHERE,
        "first request",
        "Its iat is {} ahead of the clock of this machine (leeway: 5 s). Have the clock set by NTP, or raise leeway.",
        "Run an NTP client.",
        asked(jwt=True, ahead=3600, jwt_issuer=lambda emulator: emulator.issuer),
    ),
    Row(
        "the credential has the scheme `Token`, as in REST framework",
        FRAMEWORKS,
        "first request",
        "Authorization has the scheme 'Token', not 'Bearer'. Send: Authorization: Bearer <credential>",
        "`Authorization: Bearer …`.",
        scheme,
    ),
)
