"""Django: the migration that gives mapped users a scope, on a table that is filled, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import IntegrityError, connections
from django.db.migrations.executor import MigrationExecutor

from moonkey_core import User
from moonkey_django.users.finding import mapped_user
from moonkey_django.users.models import MoonKeyUser
from support.postgres import postgres

ONE, TWO = "https://one.example", "https://two.example"


@contextmanager
def sqlite(directory: Path) -> Iterator[dict[str, Any]]:
    yield {"NAME": str(directory / "former.sqlite3")}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def database(request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: Any) -> Iterator[str]:
    """A database as the version before has left it."""
    with sqlite(tmp_path) if request.param == "sqlite" else postgres() as own:
        yield from former(own, django_db_blocker)


def former(own: dict[str, Any], django_db_blocker: Any) -> Iterator[str]:
    connections.databases["former"] = {**connections.databases["default"], **own}
    try:
        with django_db_blocker.unblock():
            migrate("0001_initial")
            yield "former"
            connections["former"].close()
    finally:
        del connections["former"]
        del connections.databases["former"]


def test_it_keeps_what_is_there(database: str) -> None:
    fill(["Ada1", "Ben2"])
    migrate("0002_scope")
    assert table("user_id, moonkey_id, scope") == [(1, "Ada1", "moonkey"), (2, "Ben2", "moonkey")]
    found = mapped_user(User("user_Ada1"), using=database)
    assert found is not None
    assert found.get_username() == "1"
    assert mapped_user(User("Ada1", scope=ONE), using=database) is None


@pytest.mark.long
def test_it_goes_back_without_the_rows_of_others(database: str) -> None:
    fill(["Ada1", "Ben2"])
    migrate("0002_scope")
    users = get_user_model().objects.using(database)
    for number, scope in enumerate((ONE, TWO), start=3):
        user = users.create(pk=number, username=str(number))
        MoonKeyUser(user=user, moonkey_id="Ada1", scope=scope).save(using=database)
    assert len(table("user_id")) == 4
    migrate("0001_initial")
    assert table("user_id, moonkey_id") == [(1, "Ada1"), (2, "Ben2")]
    assert users.count() == 4  # the users themselves stay
    with pytest.raises(IntegrityError):  # unique again
        fill(["Ada1"], first=9)
    migrate("0002_scope")
    assert table("user_id, moonkey_id, scope") == [(1, "Ada1", "moonkey"), (2, "Ben2", "moonkey")]


def migrate(name: str) -> None:
    executor = MigrationExecutor(connections["former"])
    executor.migrate([("auth", "0012_alter_user_first_name_max_length"), ("moonkey_users", name)])


def fill(ids: list[str], first: int = 1) -> None:
    with connections["former"].cursor() as cursor:
        for number, moonkey_id in enumerate(ids, start=first):
            cursor.execute(
                "INSERT INTO auth_user (id, username, password, is_superuser, is_staff, is_active, first_name, "
                "last_name, email, date_joined) VALUES (%s, %s, '', %s, %s, %s, '', '', '', '2026-01-01')",
                [number, str(number), False, False, True],
            )
            insert = "INSERT INTO moonkey_users_moonkeyuser (user_id, moonkey_id) VALUES (%s, %s)"
            cursor.execute(insert, [number, moonkey_id])


def table(columns: str) -> list[tuple[Any, ...]]:
    with connections["former"].cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM moonkey_users_moonkeyuser ORDER BY user_id")
        return [tuple(row) for row in cursor.fetchall()]


@pytest.mark.parametrize("backwards", [False, True])
def test_it_can_be_printed_as_sql(database: str, backwards: bool) -> None:
    migrate("0002_scope")
    said = StringIO()
    call_command("sqlmigrate", "moonkey_users", "0002", database=database, backwards=backwards, stdout=said)
    assert "moonkey_users_moonkeyuser" in said.getvalue()
    assert "CANNOT BE WRITTEN AS SQL" not in said.getvalue()
    assert ("DELETE FROM" in said.getvalue()) is backwards
