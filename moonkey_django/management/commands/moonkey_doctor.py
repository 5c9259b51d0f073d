"""``manage.py moonkey_doctor``: finds what is wrong with the set-up of this project."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    """The command. Its options are those of ``moonkey doctor``."""

    help = "Find what is wrong with the set-up of MoonKey in this project, and how to mend it."
    requires_system_checks: Any = ()  # it makes them itself, and reports what they find

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options of ``moonkey doctor``."""
        import_module("moonkey_core.cli.doctor").add_options(parser)

    def handle(self, *_args: object, **options: Any) -> None:
        """Make all checks, print the report, and end with its exit status."""
        command = import_module("moonkey_core.cli.doctor")
        doctor = import_module("moonkey_django.doctor")
        status = command.report_on_app(
            options,
            lambda: doctor.settings_of(None),
            lambda: doctor.stack_of(None),
            out=self.stdout.write,
        )
        if status:
            sys.exit(status)
