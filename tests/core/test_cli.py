"""The command ``moonkey``: what it hands over to, and what it says of a wrong command line."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module, metadata

import pytest

from moonkey_core.cli import COMMANDS, main


def test_each_command_shows_its_usage_by_its_own_name(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: moonkey {name} ")


def test_each_command_is_listed_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert all(name in shown and command.summary in shown for name, command in COMMANDS.items())


@pytest.mark.parametrize("argv", [[], ["emulate"]])
def test_a_wrong_command_line_ends_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    assert "usage: moonkey [-h] [--version] COMMAND ..." in capsys.readouterr().err


def test_the_script_and_the_module_are_one_command() -> None:
    (script,) = [one for one in metadata.entry_points(group="console_scripts") if one.name == "moonkey"]
    module, _, function = script.value.partition(":")
    assert callable(getattr(import_module(module), function))
    shown = subprocess.run(
        [sys.executable, "-m", "moonkey_core", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert shown.stdout == f"moonkey {metadata.version('moonkey')}\n"
