"""The command ``moonkey`` (``python -m moonkey_core``): hands over to one module for each subcommand."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module, metadata
from typing import NamedTuple


class _Command(NamedTuple):
    """A subcommand.

    Attributes:
        module: Has ``main(argv, prog)``, which returns the exit status. It is imported when it is run.
        summary: What it does, in one line.
    """

    module: str
    summary: str


COMMANDS: dict[str, _Command] = {
    "emulator": _Command("moonkey_core.emulator.__main__", "run a local stand-in of an identity provider"),
    "doctor": _Command("moonkey_core.cli.doctor", "find what is wrong with the set-up of an app"),
    "explain": _Command("moonkey_core.cli.explain", "say what would happen to a credential here, and why"),
    "routes": _Command(
        "moonkey_core.cli.routes", "list what each route of an app demands; fail on unprotected ones"
    ),
    "revoke": _Command("moonkey_core.cli.revoke", "end sessions, at the provider and in all processes of the app"),
}


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand, and return its exit status; it is 2 where the command line is wrong."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    command = COMMANDS[arguments.command]
    status: int = import_module(command.module).main(arguments.rest, prog=f"moonkey {arguments.command}")
    return status


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="moonkey",
        usage="moonkey [-h] [--version] COMMAND ...",
        description=f"commands:\n{listed}",
        epilog="moonkey COMMAND --help shows the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"moonkey {metadata.version('moonkey')}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def run() -> None:
    """Run the command line of this process, and exit."""
    sys.exit(main())
