"""``moonkey routes``: list what each route of an app demands, and fail where one is unprotected."""

from __future__ import annotations

import argparse
import os
import sys
from typing import cast

from moonkey_core._doctor.apps import AppError, attempt, find_app, find_django
from moonkey_core.audit import RouteAudit, audit_routes
from moonkey_core.errors import ConfigurationError

FAILED = 1
"""A route is unprotected, or a gate protects nothing."""

USAGE = 2
"""The command line is wrong, or there is no such app."""

_DJANGO = "DJANGO_SETTINGS_MODULE"
_EPILOG = """\
verdicts:
  protected                  a gate stands before it, or it is closed by default
  public                     marked with @public or @optional_auth, or open by nature, as a sign-in page
  unprotected                nothing stands before it, and nothing says that this is meant
  guarded by something else  login_required, REST framework's permissions, the admin, another package
  unknown                    a mounted foreign app, whose routes cannot be seen

exit status:
  0  no route is unprotected, and each gate protects something
  1  a route is unprotected, or a gate protects nothing; with --strict, or a route is unknown
  2  the command line is wrong, or the app cannot be loaded
"""


def main(argv: list[str] | None = None, *, prog: str = "moonkey routes") -> int:
    """Run the command and return its exit status."""
    arguments = _parser(prog).parse_args(argv)
    try:
        audit = _audit(arguments)
    except (AppError, ConfigurationError) as error:
        print(error, file=sys.stderr)
        return USAGE
    return report(audit, as_json=arguments.json, strict=arguments.strict)


def report(audit: RouteAudit, *, as_json: bool, strict: bool) -> int:
    """Print an audit, and return the exit status."""
    print(audit.to_json() if as_json else audit.to_table())
    return FAILED if audit.problems(strict=strict) else 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="List each route of an app with what it demands, and where that is said. No view is called.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "app",
        nargs="?",
        metavar="APP",
        help="module:app, or module:create_app() for a function that makes it; none for a Django project",
    )
    parser.add_argument(
        "--django",
        nargs="?",
        const="",
        metavar="SETTINGS",
        help=f"the settings module of a Django project; without a value, {_DJANGO}",
    )
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.add_argument("--strict", action="store_true", help="fail on mounted foreign apps, too")
    return parser


def _audit(arguments: argparse.Namespace) -> RouteAudit:
    if arguments.app is not None and arguments.django is not None:
        raise AppError("Name either an app or --django, not both.")
    if arguments.app is not None:
        app = find_app(arguments.app).app
        return cast("RouteAudit", attempt(lambda: audit_routes(app), f"What {arguments.app} serves"))
    if not (arguments.django or os.environ.get(_DJANGO)):
        raise AppError(f"Name an app, such as module:app, or a Django project: --django settings, or {_DJANGO}.")
    find_django(arguments.django or "")
    return cast("RouteAudit", attempt(audit_routes, "The URL configuration of the Django project"))
