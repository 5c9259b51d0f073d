"""``moonkey doctor``: finds what is wrong with the set-up of an app, and says how to mend it."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from moonkey_core.errors import ConfigurationError
from moonkey_core.settings import Settings

if TYPE_CHECKING:
    from moonkey_core._doctor.apps import FoundApp
    from moonkey_core._doctor.lines import Line

USAGE = 2
"""The exit status where the command line is wrong, or the app cannot be loaded. Nothing was checked."""

LONGEST_INPUT = 64 * 1024
"""How much of stdin is read, in characters."""

_EPILOG = """\
exit status:
  0  nothing is wrong; what cannot be seen from here may be
  1  something is wrong
  2  the command line is wrong, or the app cannot be loaded

Without an app, the settings are those of a client: the MOONKEY_* variables of the environment. The credential is
read from stdin only, as other users of the machine can read a command line. No secret is in the output.
"""


def main(argv: list[str] | None = None, *, prog: str = "moonkey doctor") -> int:
    """Run the command, and return its exit status."""
    parser = _new_parser(prog)
    add_app(parser)
    add_options(parser)
    arguments = parser.parse_args(argv)
    from moonkey_core._doctor.apps import AppError
    from moonkey_core._doctor.examination import mask_for
    from moonkey_core._doctor.subject import Asked

    try:
        found = found_app(arguments)
    except AppError as error:
        print(mask_for(None, Asked())(str(error)), file=sys.stderr)
        return USAGE
    except ConfigurationError as error:
        return _report_settings(error, arguments)
    checks = () if found is None else (found.check,)
    return _run(arguments, Settings.load if found is None else found.load, checks)


def main_of_app(
    argv: list[str], load: Callable[[], Settings], check: Callable[[], list[Line]], *, prog: str
) -> int:
    """Run the command for an app that is loaded, and return its exit status.

    Args:
        argv: The command line, without the name of an app.
        load: Returns the settings of the app.
        check: Returns what is to be said of its stack.
        prog: The name of the command.
    """
    parser = _new_parser(prog)
    add_options(parser)
    return _run(parser.parse_args(argv), load, (check,))


def report_on_app(
    options: Mapping[str, Any],
    load: Callable[[], Settings],
    check: Callable[[], list[Line]],
    out: Callable[[str], object],
) -> int:
    """Do the same with parsed options, for a framework that parses them; ``out`` prints."""
    return _run(argparse.Namespace(**options), load, (check,), out)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that the command has in every framework."""
    parser.add_argument("--url", metavar="URL", default="", help="the address of the app as a browser sees it")
    parser.add_argument(
        "--with-credential",
        action="store_true",
        help="read a credential of a user of the app from stdin, and check issuer and audience against it",
    )
    parser.add_argument(
        "--try-longest",
        action="store_true",
        help="extend the session of that credential to the longest life, to see the provider's answer; this "
        "changes the session",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def add_app(parser: argparse.ArgumentParser) -> None:
    """Add the options that name an app."""
    parser.add_argument(
        "app",
        nargs="?",
        default="",
        metavar="APP",
        help="module:app, or module:create_app(), of Flask, Django, Starlette or FastAPI",
    )
    parser.add_argument(
        "--django",
        nargs="?",
        const="",
        default=None,
        metavar="SETTINGS",
        help="a Django project, by its settings (or by DJANGO_SETTINGS_MODULE)",
    )


def found_app(arguments: argparse.Namespace) -> FoundApp | None:
    """Return the app that the options name; ``None`` where they name none.

    Raises:
        AppError: It cannot be loaded.
        ConfigurationError: A setting is wrong, and loading the app has raised it.
    """
    from moonkey_core._doctor.apps import find_app, find_django

    if arguments.django is not None:
        return find_django(arguments.django)
    return find_app(arguments.app) if arguments.app else None


def credential_from_stdin() -> str:
    """Return what stands in stdin, without white space around it. It is never logged."""
    if sys.stdin.isatty():
        print("Paste the credential, and end with Ctrl-D:", file=sys.stderr)
    return sys.stdin.read(LONGEST_INPUT).strip()


@contextmanager
def quiet_log() -> Iterator[None]:
    """Keep the log lines of this package off the terminal while the checks run: the report says the same."""
    logger = logging.getLogger("moonkey")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _run(
    arguments: argparse.Namespace,
    load: Callable[[], Settings],
    checks: Sequence[Callable[[], list[Line]]] = (),
    out: Callable[[str], object] = print,
) -> int:
    """Make all checks, print the report, and return the exit status."""
    from moonkey_core._doctor.examination import examine
    from moonkey_core._doctor.subject import Asked

    credential = credential_from_stdin() if arguments.with_credential or arguments.try_longest else ""
    asked = Asked(credential, arguments.url, arguments.try_longest, dict(os.environ))
    with quiet_log():
        report = examine(load, asked, checks)
    out(report.to_json() if arguments.json else str(report))
    return report.exit_status


def _report_settings(error: ConfigurationError, arguments: argparse.Namespace) -> int:
    """Report that the app cannot be loaded because of a setting, and return the exit status."""

    def fail() -> Settings:
        raise ConfigurationError(str(error), reason=error.reason)

    arguments.with_credential = arguments.try_longest = False
    return _run(arguments, fail)


def _new_parser(prog: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=prog,
        description="Find what is wrong with the set-up of an app, and how to mend it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
