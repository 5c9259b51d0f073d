"""``flask moonkey …``: the commands of this package that look at the current app."""

from __future__ import annotations

import sys
from importlib import import_module

import click
from flask import Flask, current_app
from flask.cli import AppGroup, with_appcontext

moonkey_commands: AppGroup = AppGroup("moonkey", help="Commands of MoonKey.")
"""The group of commands. What a command needs is imported when it runs."""


def add_commands(app: Flask) -> None:
    """Give an app the group of commands, unless it has one of that name."""
    if moonkey_commands.name not in app.cli.commands:
        app.cli.add_command(moonkey_commands)


@moonkey_commands.command("routes")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.option("--strict", is_flag=True, help="Fail on mounted foreign apps, too.")
@with_appcontext
def routes(as_json: bool, strict: bool) -> None:
    """List what each route demands; fail on unprotected ones."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    audit = import_module("moonkey_flask.audit").audit_routes(app)
    click.echo(audit.to_json() if as_json else audit.to_table())
    sys.exit(1 if audit.problems(strict=strict) else 0)


@moonkey_commands.command("doctor", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@with_appcontext
def doctor(options: tuple[str, ...]) -> None:
    """Find what is wrong with the set-up of this app."""
    command = import_module("moonkey_core.cli.doctor")
    found = import_module("moonkey_flask.doctor")
    sys.exit(
        command.main_of_app(
            list(options),
            found.settings_of_current_app,
            found.stack_of_current_app,
            prog="flask moonkey doctor",
        )
    )
