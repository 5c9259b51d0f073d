"""Django: users of several providers. Equal ids of two scopes are two users, whichever version writes them."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.core import serializers
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection
from django.test import RequestFactory
from integrations.django_people import by_password, set_up, visit_with_session
from integrations.django_visits import Configure, visit_wsgi

from moonkey_core import User
from moonkey_django.rest_framework import RestUser
from moonkey_django.users.finding import find_user, mapped_user
from moonkey_django.users.models import MoonKeyUser

pytestmark = pytest.mark.django_db(transaction=True)

ONE, TWO = "https://one.example", "https://two.example"
SCOPES = ("moonkey", ONE, TWO)
IDS = ("1", "user_1", "auth0|1")


@pytest.fixture(autouse=True)
def _project(settings: Any, configure: Configure) -> None:
    set_up(settings)
    configure(USERS="create")


def person(user_id: str, scope: str) -> User:
    return User(user_id, scope=scope)


def found(user_id: str, scope: str) -> Any:
    return find_user(person(user_id, scope))


class TestEqualIds:
    def test_are_a_user_in_each_scope(self) -> None:
        users = {(user_id, scope): found(user_id, scope) for scope in SCOPES for user_id in IDS}
        assert None not in users.values()
        assert {found(*key) == user for key, user in users.items()} == {True}
        # Of MoonKey, two of the ids are one.
        assert len({user.pk for user in users.values()}) == len(SCOPES) * len(IDS) - 1
        for (user_id, scope), user in users.items():
            row = MoonKeyUser.objects.get(user=user)
            expected = user_id if scope != "moonkey" or user_id.startswith("user_") else f"user_{user_id}"
            assert (row.moonkey_id, row.scope) == (expected, scope)

    def test_a_mapped_user_is_one_of_the_scope(self, configure: Configure) -> None:
        configure(USERS="match")
        ada, ben = (get_user_model().objects.create(username=name) for name in ("ada", "ben"))
        MoonKeyUser.objects.create(user=ada, moonkey_id="1")
        assert [found("1", scope) for scope in SCOPES] == [ada, None, None]
        MoonKeyUser.objects.create(user=ben, moonkey_id="1", scope=TWO)
        assert [found("1", scope) for scope in SCOPES] == [ada, None, ben]
        assert [found("user_1", scope) for scope in SCOPES] == [ada, None, None]
        assert mapped_user(person("1", TWO)) == ben
        assert found("1", TWO.upper()) is None

    def test_the_backend_knows_scopes(self, rf: RequestFactory) -> None:
        one, two = (authenticate(rf.get("/"), moonkey_user=person("1", scope)) for scope in (ONE, TWO))
        assert one is not None
        assert two is not None
        assert one != two

    def test_are_two_users_of_rest_framework(self) -> None:
        users = [RestUser(person("1", scope)) for scope in SCOPES]
        assert [user.pk for user in users] == ["1", f"{ONE}#1", f"{TWO}#1"]
        assert len({*users}) == 3
        assert RestUser(person("user_1", "moonkey")) == users[0]
        assert RestUser(person("user_1", ONE)) != users[1]


class TestRows:
    @pytest.fixture
    def rows(self) -> dict[str, MoonKeyUser]:
        made = {}
        for scope in SCOPES:
            user = get_user_model().objects.create(username=f"by {scope}")
            made[scope] = MoonKeyUser.objects.create(user=user, moonkey_id="user_1", scope=scope)
        return made

    def test_are_unique_by_scope_and_id(self, rows: dict[str, MoonKeyUser]) -> None:
        user = get_user_model().objects.create(username="eve")
        for scope in SCOPES:
            with pytest.raises(IntegrityError):
                MoonKeyUser.objects.create(user=user, moonkey_id="user_1", scope=scope)
            with pytest.raises(ValidationError, match="already exists"):
                MoonKeyUser(user=user, moonkey_id="user_1", scope=scope).full_clean()
        MoonKeyUser(user=user, moonkey_id="1", scope=ONE).full_clean()
        with pytest.raises(ValidationError, match="already exists"):
            MoonKeyUser(user=user, moonkey_id="1").full_clean()

    def test_are_found_by_both(self, rows: dict[str, MoonKeyUser]) -> None:
        for scope, row in rows.items():
            assert MoonKeyUser.objects.get(scope=scope, moonkey_id="user_1") == row
            assert MoonKeyUser.objects.get(scope=scope, moonkey_id__in=["user_1", "x"]) == row
            assert MoonKeyUser.objects.get_or_create(scope=scope, moonkey_id="user_1") == (row, False)
            assert row not in MoonKeyUser.objects.exclude(scope=scope, moonkey_id="user_1")
            assert MoonKeyUser.objects.exclude(scope=scope, moonkey_id="user_1").count() == 2
            assert MoonKeyUser.objects.filter(scope=scope, moonkey_id="1").exists() is (scope == "moonkey")
            assert row.user.moonkey.scope == scope
        assert MoonKeyUser.objects.get(moonkey_id="user_1") == rows["moonkey"]  # an id alone is one of MoonKey

    def test_are_read_and_written_as_they_are(self, rows: dict[str, MoonKeyUser]) -> None:
        for _ in range(2):
            for scope, row in rows.items():
                again = MoonKeyUser.objects.get(pk=row.pk)
                assert (again.moonkey_id, again.scope) == ("user_1", scope)
                again.save()
                assert pickle.loads(pickle.dumps(again)).moonkey_id == "user_1"
        assert set(MoonKeyUser.objects.values_list("moonkey_id", flat=True)) == {"user_1"}
        assert [str(row) for row in rows.values()] == ["user_1", f"user_1 ({ONE})", f"user_1 ({TWO})"]
        fixture = serializers.serialize("json", rows.values())
        MoonKeyUser.objects.all().delete()
        for loaded in serializers.deserialize("json", fixture):
            loaded.save()
        assert [MoonKeyUser.objects.get(scope=scope, moonkey_id="user_1").pk for scope in SCOPES] == [
            row.pk for row in rows.values()
        ]
        assert MoonKeyUser.objects.defer("moonkey_id").get(pk=rows[ONE].pk).moonkey_id == "user_1"

    def test_of_another_scope_are_none_of_an_earlier_version(self, rows: dict[str, MoonKeyUser]) -> None:
        """It looks up a bare id, whatever the scope, and does not know that column when it writes."""
        user: Any = get_user_model().objects.create(username="eve")
        with connection.cursor() as cursor:
            for bare in ("1", "user_1"):
                cursor.execute("SELECT scope FROM moonkey_users_moonkeyuser WHERE moonkey_id = %s", [bare])
                assert cursor.fetchall() == ([("moonkey",)] if bare == "1" else [])
            insert = "INSERT INTO moonkey_users_moonkeyuser (user_id, moonkey_id) VALUES (%s, %s)"
            with pytest.raises(IntegrityError):
                cursor.execute(insert, [user.pk, "1"])
            cursor.execute(insert, [user.pk, "2"])
        assert (user.moonkey.scope, user.moonkey.moonkey_id) == ("moonkey", "user_2")
        assert found("user_2", "moonkey") == user
        assert found("2", ONE) != user

    @pytest.mark.parametrize("nobody", ["", None])
    def test_need_an_id(self, nobody: Any) -> None:
        user = get_user_model().objects.create(username="eve")
        with pytest.raises((ValueError, IntegrityError)):
            MoonKeyUser.objects.create(user=user, moonkey_id=nobody, scope=ONE)
        assert found("", ONE) is None

    def test_are_in_the_admin(self, rows: dict[str, MoonKeyUser]) -> None:
        root = by_password("root")
        get_user_model().objects.filter(username="root").update(is_staff=True, is_superuser=True)
        page = visit_with_session(visit_wsgi, f"/admin/moonkey_users/moonkeyuser/?scope={ONE}", root)
        assert page.status_code == 200
        assert page.content.decode().count(f"by {ONE}") >= 1
        assert f"by {TWO}" not in page.content.decode()
