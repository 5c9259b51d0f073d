"""``python -m moonkey_core.emulator``: the emulator on the command line."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moonkey_core.emulator import Emulator, Sent

SESSION_CLAIMS = ("https://streambird.io/jwt/session", "session")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m moonkey_core.emulator", description="MoonKey's API on your own machine."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8765, help="port to listen on; 0 takes a free one (8765)")
    parser.add_argument("--state", metavar="FILE", help="SQLite file to remember everything in")
    parser.add_argument("--secret-key", metavar="KEY", help="API key to accept; else one is made")
    parser.add_argument("--issuer", help="issuer of the session JWTs (api.moonkey.fun/<app id>)")
    parser.add_argument("--session-claim", choices=SESSION_CLAIMS, default=SESSION_CLAIMS[0], help="JWT claim")
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


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


def _run(arguments: argparse.Namespace, stop: threading.Event) -> int:
    from moonkey_core.emulator import Emulator

    with Emulator(
        arguments.port,
        arguments.state,
        arguments.secret_key,
        arguments.issuer,
        host=arguments.host,
        allow_remote=arguments.allow_remote,
        session_claim=arguments.session_claim,
        on_sent=_show,
    ) as emulator:
        _welcome(emulator)
        while not stop.wait(1.0):
            if not emulator.running:
                return _fail("The emulator has stopped unexpectedly.")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; return the exit status."""
    arguments = _parser().parse_args(argv)
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
        return _run(arguments, stop)
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
