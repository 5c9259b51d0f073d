"""``python -m moonkey_core.emulator``: the emulator on the command line."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from moonkey_core.emulator.oidc.presets import PRESETS

if TYPE_CHECKING:
    from moonkey_core.emulator import (
        CdpEmulator,
        Emulator,
        OidcEmulator,
        Sent,
        StytchB2BEmulator,
        StytchEmulator,
    )
    from moonkey_core.emulator.listener import Listener

SESSION_CLAIMS = ("https://streambird.io/jwt/session", "session")


def _word(value: str) -> str:
    return value.lower().replace("-", "_")


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="MoonKey's API, or that of another provider, on your own machine.",
    )
    parser.add_argument(
        "--provider", type=_word, choices=tuple(_RUNS), default="moonkey", help="what it is (moonkey)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8765, help="port to listen on; 0 takes a free one (8765)")
    parser.add_argument("--state", metavar="FILE", help="SQLite file to remember everything in; moonkey only")
    parser.add_argument(
        "--secret-key", metavar="KEY", help="API key, client secret or project secret; else one is made"
    )
    parser.add_argument("--issuer", help="issuer of the JWTs (api.moonkey.fun/<app id>; for oidc its own address)")
    parser.add_argument("--project-id", metavar="ID", help="id of the project, unless one is made; Stytch and CDP")
    parser.add_argument("--session-claim", choices=SESSION_CLAIMS, help="JWT claim of the session; moonkey only")
    parser.add_argument("--preset", choices=tuple(PRESETS), help="shape of the tokens; oidc only (generic)")
    parser.add_argument("--allow-remote", action="store_true", help="let other machines reach it")
    return parser


def _show(message: Sent) -> None:
    what = message.link or f"code {message.code}"
    print(f"{message.kind} to {message.to}: {what}", flush=True)


def _welcome(emulator: Emulator) -> None:
    person = emulator.sign_in()
    print(f"MoonKey emulator at {emulator.base_url} (stop with Ctrl-C)")
    print(f"Control interface: {emulator.base_url}/_emulator")
    print(f"Public token, to begin an OAuth login: {emulator.public_token}\n")
    print("demo@example.com is signed in, for a week. Their session token, and a session JWT for 5 minutes:\n")
    print(f"SESSION_TOKEN={person.session_token}")
    print(f"SESSION_JWT={person.session_jwt}\n")
    print("Ask this API about the session; and your own app, once it runs, at its address:\n")
    print(
        "curl",
        *("-X", "POST", f"{emulator.base_url}/v1/auth/sessions/verify"),
        *("-H", shlex.quote(f"Authorization: Bearer {emulator.secret_key}")),
        *("-H", "'Content-Type: application/json'"),
        *("-d", shlex.quote(json.dumps({"session_token": person.session_token}))),
    )
    print(f"curl -i http://127.0.0.1:8000/me -H 'Authorization: Bearer {person.session_token}'\n")
    print("Settings for your app:\n")
    print(f"export MOONKEY_BASE_URL={emulator.base_url}")
    print(f"export MOONKEY_SECRET_KEY={emulator.secret_key}")
    print(f"export MOONKEY_JWT_ISSUER={emulator.issuer}\n", flush=True)


def _welcome_oidc(emulator: OidcEmulator, preset: str) -> None:
    info = emulator.preset(preset)
    person = emulator.sign_in(preset=preset)
    print(f"OpenID Connect issuer at {emulator.base_url} (stop with Ctrl-C)")
    print(f"Discovery: {emulator.discovery_url}")
    print(f"Control interface: {emulator.base_url}/_emulator\n")
    shape = "" if preset == "generic" else f" like one of {preset}"
    print(f"demo@example.com is signed in. Their access token{shape}, as a JWT and as an opaque token:\n")
    print(f"ACCESS_TOKEN={person.access_token}")
    print(f"OPAQUE_TOKEN={person.opaque_token}\n")
    print("Ask the issuer about the opaque token; and your own app, once it runs, at its address:\n")
    credentials = shlex.quote(f"{emulator.client_id}:{emulator.client_secret}")
    print(f"curl {emulator.introspection_url} -u {credentials} -d token={person.opaque_token}")
    print(f"curl -i http://127.0.0.1:8000/me -H 'Authorization: Bearer {person.access_token}'\n")
    _show_settings(info.settings)


def _welcome_stytch(emulator: StytchEmulator | StytchB2BEmulator, kind: str, api: str) -> None:
    person = emulator.sign_in()
    print(f"Stytch emulator at {emulator.base_url}, for a {kind} project (stop with Ctrl-C)")
    print(f"Control interface: {emulator.base_url}/_emulator\n")
    print("demo@example.com is signed in, for a week. Their session token, and a session JWT for 5 minutes:\n")
    print(f"SESSION_TOKEN={person.session_token}")
    print(f"SESSION_JWT={person.session_jwt}\n")
    print("Ask this API about the session; and your own app, once it runs, at its address:\n")
    print(
        "curl",
        *("-X", "POST", f"{emulator.base_url}{api}/sessions/authenticate"),
        *("-u", shlex.quote(f"{emulator.project_id}:{emulator.secret}")),
        *("-H", "'Content-Type: application/json'"),
        *("-d", shlex.quote(json.dumps({"session_token": person.session_token}))),
    )
    print(f"curl -i http://127.0.0.1:8000/me -H 'Authorization: Bearer {person.session_token}'\n")
    _show_settings(emulator.settings)


def _show_settings(settings: Mapping[str, str]) -> None:
    print("Settings for your app:\n")
    print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in settings.items()))
    print(flush=True)


def _welcome_cdp(emulator: CdpEmulator) -> None:
    person = emulator.sign_in()
    emulator.add_wallets(person.user_id)
    print(f"Coinbase CDP emulator at {emulator.base_url} (stop with Ctrl-C)")
    print(f"Control interface: {emulator.base_url}/_emulator\n")
    print("demo@example.com is signed in. Their access token for 15 minutes, and refresh token for 7 days:\n")
    print(f"ACCESS_TOKEN={person.access_token}")
    print(f"REFRESH_TOKEN={person.refresh_token}\n")
    print("Renew the access token, as CDP's SDK does in a browser; and ask your own app, once it runs:\n")
    renewal = shlex.quote(json.dumps({"refresh_token": person.refresh_token}))
    print(f"curl {emulator.base_url}/_emulator/refresh -d {renewal}")
    print(f"curl -i http://127.0.0.1:8000/me -H 'Authorization: Bearer {person.access_token}'\n")
    _show_settings(emulator.settings)


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


def _where(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"host": arguments.host, "allow_remote": arguments.allow_remote}


def _run_moonkey(arguments: argparse.Namespace, stop: threading.Event) -> int:
    from moonkey_core.emulator import Emulator

    with Emulator(
        arguments.port,
        arguments.state,
        arguments.secret_key,
        arguments.issuer,
        session_claim=arguments.session_claim or SESSION_CLAIMS[0],
        on_sent=_show,
        **_where(arguments),
    ) as emulator:
        _welcome(emulator)
        return _wait(emulator, stop)


def _run_oidc(arguments: argparse.Namespace, stop: threading.Event) -> int:
    from moonkey_core.emulator import OidcEmulator

    with OidcEmulator(
        arguments.port, arguments.issuer, client_secret=arguments.secret_key, **_where(arguments)
    ) as issuer:
        _welcome_oidc(issuer, arguments.preset or "generic")
        return _wait(issuer, stop)


def _run_stytch(arguments: argparse.Namespace, stop: threading.Event) -> int:
    from moonkey_core.emulator import StytchEmulator

    with StytchEmulator(
        arguments.port, arguments.project_id, arguments.secret_key, on_sent=_show, **_where(arguments)
    ) as emulator:
        _welcome_stytch(emulator, "consumer", "/v1")
        return _wait(emulator, stop)


def _run_stytch_b2b(arguments: argparse.Namespace, stop: threading.Event) -> int:
    from moonkey_core.emulator import StytchB2BEmulator

    with StytchB2BEmulator(
        arguments.port, arguments.project_id, arguments.secret_key, **_where(arguments)
    ) as emulator:
        _welcome_stytch(emulator, "B2B", "/v1/b2b")
        return _wait(emulator, stop)


def _run_cdp(arguments: argparse.Namespace, stop: threading.Event) -> int:
    from moonkey_core.emulator import CdpEmulator

    with CdpEmulator(arguments.port, arguments.project_id, **_where(arguments)) as emulator:
        _welcome_cdp(emulator)
        return _wait(emulator, stop)


_RUNS: dict[str, Callable[[argparse.Namespace, threading.Event], int]] = {
    "moonkey": _run_moonkey,
    "oidc": _run_oidc,
    "stytch": _run_stytch,
    "stytch_b2b": _run_stytch_b2b,
    "cdp": _run_cdp,
}
_OPTIONS = {
    "state": ("moonkey",),
    "session_claim": ("moonkey",),
    "preset": ("oidc",),
    "issuer": ("moonkey", "oidc"),
    "project_id": ("stytch", "stytch_b2b", "cdp"),
    "secret_key": ("moonkey", "oidc", "stytch", "stytch_b2b"),
}
"""The options that only some providers have."""


def _wait(emulator: Listener, stop: threading.Event) -> int:
    while not stop.wait(1.0):
        if not emulator.running:
            return _fail("The emulator has stopped unexpectedly.")
    return 0


def _check_options(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """End with the usage where an option is given that the chosen provider does not have."""
    for name, providers in _OPTIONS.items():
        if getattr(arguments, name) and arguments.provider not in providers:
            parser.error(f"--{name.replace('_', '-')} is for --provider {' or '.join(providers)}")


def main(argv: list[str] | None = None, *, prog: str = "python -m moonkey_core.emulator") -> int:
    """Run until SIGINT or SIGTERM; return the exit status. ``prog``: the name of the command, for its usage."""
    parser = _parser(prog)
    arguments = parser.parse_args(argv)
    _check_options(parser, arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        from moonkey_core.emulator import StateFileError
    except ModuleNotFoundError as error:
        return _fail(str(error))
    if arguments.allow_remote:
        warning = "Warning: whoever can reach this port can sign in as anybody. Use it on networks you trust."
        print(warning, file=sys.stderr, flush=True)
    try:
        return _RUNS[arguments.provider](arguments, stop)
    except BrokenPipeError:  # the reader of the output has ended, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python fails to write once more
        return 1
    except StateFileError as error:
        return _fail(str(error))
    except (OSError, OverflowError, ValueError) as error:
        hint = "Choose another --port, or --port 0; a --host off loopback needs --allow-remote."
        return _fail(f"Cannot listen on {arguments.host}:{arguments.port}: {error}. {hint}")


if __name__ == "__main__":
    sys.exit(main())
