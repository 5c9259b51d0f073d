"""``manage.py moonkey_routes``: list what each view of this project demands, and fail where one is unprotected."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from moonkey_core.errors import ConfigurationError
from moonkey_django.audit import audit_routes


class Command(BaseCommand):
    """The command. Its exit status is that of ``moonkey routes``."""

    help = "List what each view demands, and where that is said. Fail where one is unprotected."
    requires_system_checks: Any = ()  # it reports what the checks about routes find

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options of ``moonkey routes``."""
        parser.add_argument("--json", action="store_true", help="write JSON")
        parser.add_argument("--strict", action="store_true", help="fail on views of an unknown kind, too")

    def handle(self, *_args: object, **options: Any) -> None:
        """Print the audit."""
        try:
            audit = audit_routes()
        except ConfigurationError as error:
            raise CommandError(str(error), returncode=2) from None
        self.stdout.write(audit.to_json() if options["json"] else audit.to_table())
        if audit.problems(strict=options["strict"]):
            sys.exit(1)
