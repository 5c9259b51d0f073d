"""``moonkey explain``: says what would happen to a credential here, step by step, and why."""

from __future__ import annotations

import argparse
import json
import sys

from moonkey_core.cli.doctor import USAGE, add_app, credential_from_stdin, found_app, quiet_log
from moonkey_core.errors import ConfigurationError
from moonkey_core.settings import Settings

STATUS = {"accepted": 0, "refused": 1, "no credential": 1, "unavailable": 3}
"""The exit status by the outcome."""

_EPILOG = """\
exit status:
  0  it is accepted
  1  it is refused, or no credential
  2  the command line or a setting is wrong; nothing was examined
  3  it is not known: the provider cannot be reached

The credential is read from stdin only, and is in no output: pbpaste | moonkey explain. The provider is called as a
request would call it. No session is extended or ended.
"""


def main(argv: list[str] | None = None, *, prog: str = "moonkey explain") -> int:
    """Run the command, and return its exit status."""
    arguments = _parser(prog).parse_args(argv)
    from moonkey_core._doctor.apps import AppError
    from moonkey_core._doctor.examination import mask_for
    from moonkey_core._doctor.explaining import explain
    from moonkey_core._doctor.subject import Asked
    from moonkey_core.client import MoonKey

    text = credential_from_stdin()
    try:
        found = found_app(arguments)
        settings = Settings.load() if found is None else found.load()
        with MoonKey(settings) as client, quiet_log():
            explanation = explain(client, text)
    except (AppError, ConfigurationError) as error:
        print(mask_for(None, Asked(text))(str(error)), file=sys.stderr)
        return USAGE
    print(json.dumps(explanation.to_dict(), indent=2) if arguments.json else explanation)
    return STATUS[explanation.outcome]


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Read a credential from stdin, and say in words what would happen to it here, and why.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_app(parser)
    parser.add_argument("--json", action="store_true", help="print the steps as JSON")
    return parser
