"""The document on identity providers shows what is there, and names tests that exist."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

from moonkey_core import MoonKey, Settings, provider
from moonkey_core.provider import Capability, OidcProvider
from support.documents import block, files_with, named_tests, run, text
from support.every_provider import options_with
from support.oidc_tokens import MACHINES, PRESETS

DOCUMENT = "docs/providers.md"
NAMES = {
    "OIDC": "OIDC",
    "Auth0": "Auth0",
    "Okta": "Okta",
    "Entra ID": "EntraID",
    "Keycloak": "Keycloak",
    "Cognito": "Cognito",
    "Firebase": "Firebase",
    "Clerk": "Clerk",
    "Supabase": "Supabase",
    "WorkOS": "WorkOS",
}
"""The heading of each provider, and its name in Python."""


def section(heading: str) -> str:
    return text(DOCUMENT).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("heading", NAMES)
def test_each_provider_has_a_section_whose_example_holds(heading: str) -> None:
    made = run(DOCUMENT, heading)["provider"]
    assert isinstance(made, OidcProvider)
    called = getattr(provider, NAMES[heading])
    assert (
        isinstance(made, called) if isinstance(called, type) else made.name in heading.lower().replace(" id", "")
    )


@pytest.mark.parametrize("heading", NAMES)
def test_the_arguments_in_the_tables_are_those_that_there_are(heading: str) -> None:
    cells = re.findall(r"^\| (`.+?`) \| ", section(heading), re.MULTILINE)
    shown = {name for cell in cells for name in re.findall(r"`(\w+)", cell)}
    taken = set(inspect.signature(getattr(provider, NAMES[heading])).parameters)
    common = {*re.findall(r"^\| `(\w+)` \| ", section("The same for all"), re.MULTILINE)}
    assert common <= taken
    assert shown <= taken
    said = {*re.findall(r"`(\w+)(?:=[^`]*)?`", section(heading) + section("The same for all"))}
    assert taken - common - {"introspection"} <= shown | said


def test_by_an_object_and_by_the_environment() -> None:
    client = run(DOCUMENT, "choose")["client"]
    client.close()
    lines = block(DOCUMENT, "environment").code.split()
    settings = Settings.load({}, dict(line.split("=", 1) for line in lines))
    assert isinstance(settings.provider, OidcProvider)
    assert isinstance(client.settings.provider, OidcProvider)
    assert settings.provider.jwt_rules == client.settings.provider.jwt_rules


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of the first table of a section."""
    table = section(heading).partition("\n| provider |")[2].partition("\n\n")[0]
    found = [row.strip("| \n").split(" | ") for row in re.findall(r"^\| .+$", table, re.MULTILINE)]
    return {cells[0]: cells[1:] for cells in found}


@dataclass(frozen=True)
class Named:
    """A test that a cell names: the provider of its row, the file if it is given, the function, the case."""

    who: str
    file: str
    function: str
    case: str

    def __str__(self) -> str:
        return f"{self.who}: {self.function}[{self.case}]"


def files_of(one: Named) -> list[Path]:
    """The files that a cell can mean: one, if it is right."""
    places = {"Introspection": "introspection", "MoonKey": "moonkey", "Stytch": "stytch", "Stytch B2B": "stytch"}
    place = places.get(one.who, "oidc" if one.case else "")
    found = files_with(one.function, one.file)
    return [path for path in found if place == path.parent.name] or found


def named(*tables: str) -> list[Named]:
    """Each test that these tables name."""
    return [
        Named(who, *found)
        for table in tables
        for who, cells in rows(table).items()
        for cell in cells
        for found in named_tests(cell)
    ]


TABLES = ("What works with each provider", "What ends a session, and when that is known here")


def test_the_tables_are_about_all_providers() -> None:
    expected = ["MoonKey", *NAMES, "Introspection", "Stytch", "Stytch B2B", "CDP"]
    assert list(rows("What works with each provider")) == expected
    assert list(rows("What ends a session, and when that is known here")) == expected


@pytest.mark.parametrize("one", named(*TABLES), ids=str)
def test_each_cell_names_a_test(one: Named) -> None:
    """There is one, and no other of that name could be meant."""
    assert len(files_of(one)) == 1, files_of(one)
    if one.who in NAMES and one.case:
        assert one.case in PRESETS
        assert one.case == one.who.lower().removesuffix(" id")
        assert one.function != "test_program" or one.case in MACHINES


COLUMNS = ("moonkey", "oidc", "introspection", "stytch", "stytch_b2b", "cdp")


def test_the_table_of_what_each_can_do_is_what_they_say() -> None:
    lines = re.findall(r"^\| .+$", section("What each provider can do"), re.MULTILINE)[1:]
    named: set[str] = set()
    for line in lines:
        _, capability, *cells = line.strip("| ").split(" | ")
        wanted = set(re.findall(r"\w+", capability.replace(" or ", " "))) if "`" in capability else set()
        assert len(cells) == len(COLUMNS)
        for word, cell in zip(COLUMNS, cells, strict=True):
            with MoonKey(**options_with(word)) as client:
                if wanted:
                    assert bool(wanted & client.capabilities) == cell.startswith("yes"), (capability, word)
        named |= wanted
    assert named == set(get_args(Capability))


def test_what_each_framework_shows_is_tested() -> None:
    table = section("What works with each provider").partition("| feature |")[2]
    names = [Named("", *found) for found in named_tests(table)]
    assert len(names) > 8
    places = {"test_other_providers.py", "test_several_providers.py"}
    assert [str(one) for one in names if not {path.name for path in files_with(one.function)} & places] == []


def test_each_cell_says_something() -> None:
    count = {len(cells) for cells in rows("What works with each provider").values()}
    assert count == {10}
    bare = {cell for cells in rows("What works with each provider").values() for cell in cells if "`" not in cell}
    assert bare == {"none"}
    for who, (*_, known, ended) in rows("What ends a session, and when that is known here").items():
        assert named_tests(known), who
        assert named_tests(ended), who
