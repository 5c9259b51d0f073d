"""Django: which user a MoonKey user is, and how users come to be."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth import aauthenticate, authenticate, get_user_model
from django.core import serializers
from django.core.exceptions import ValidationError
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.db import IntegrityError, connection
from django.db.models.signals import pre_save
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st
from integrations.django_people import mapped, set_up, statements
from integrations.django_visits import Configure, Visit

from moonkey_core import MoonKey, ProviderUnavailable, User, _repeated_log
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_django.users import verified_email
from moonkey_django.users.fields import MoonKeyIdField
from moonkey_django.users.finding import find_user, mapped_user
from moonkey_django.users.models import MoonKeyUser
from support import quick
from support.any_json import JSON
from support.patience import PATIENCE
from support.servers import serve_asgi, serve_wsgi
from support.together import together

pytestmark = pytest.mark.django_db(transaction=True)

READ = ["/who", "/awho", "/both"]
ANONYMOUS = {"user": "", "in": False}


@pytest.fixture(autouse=True)
def _project(settings: Any, configure: Configure) -> None:
    set_up(settings)
    configure(USERS="create")


def users() -> list[Any]:
    return list(get_user_model().objects.all())


def bare(person: SignedIn) -> str:
    return person.user_id.removeprefix("user_")


@pytest.mark.parametrize("path", READ)
def test_a_user_is_created_once(visit: Visit, ada: SignedIn, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert visit("/plain", ada.session_token).status_code == 200
    assert users() == []
    assert visit(path, ada.session_token).json() == {"user": bare(ada), "in": True}
    (user,) = users()
    assert (user.username, user.moonkey.moonkey_id) == (bare(ada), ada.user_id)
    assert not user.has_usable_password()
    assert (user.email, user.is_staff, user.is_superuser, user.last_login) == ("", False, False, None)
    queries = statements(monkeypatch)
    for credential in (ada.session_token, ada.session_jwt):
        assert visit(path, credential).json()["in"]
    assert queries == ["SELECT", "SELECT"]
    assert users() == [user]


@pytest.mark.parametrize("path", READ)
@pytest.mark.parametrize("credential", [None, "no-such-session", "a b"])
def test_nobody_is_created_without_a_good_credential(visit: Visit, path: str, credential: str | None) -> None:
    assert visit(path, credential).json() == ANONYMOUS
    assert users() == []


def test_nobody_is_created_while_it_cannot_be_known(visit: Visit, ada: SignedIn, emulator: Emulator) -> None:
    emulator.fault(status=500)
    assert visit("/who", ada.session_token).status_code == 503
    assert users() == []


def test_a_created_user_may_be_shut_out(visit: Visit, ada: SignedIn) -> None:
    assert visit("/who", ada.session_token).json()["in"]
    get_user_model().objects.update(is_active=False)
    assert visit("/who", ada.session_token).json() == ANONYMOUS
    assert len(users()) == 1


@pytest.mark.parametrize("path", READ)
def test_who_has_taken_the_name_gets_nothing_by_it(visit: Visit, ada: SignedIn, path: str) -> None:
    squatter = get_user_model().objects.create(username=bare(ada))
    name = visit(path, ada.session_token).json()["user"]
    assert name.startswith(f"{bare(ada)}-")
    assert not MoonKeyUser.objects.filter(user=squatter).exists()
    assert visit(path, ada.session_token).json()["user"] == name
    assert len(users()) == 2


@contextmanager
def meeting(count: int) -> Iterator[None]:
    """Saving a user waits until so many are about to."""
    barrier = threading.Barrier(count)
    waited = threading.local()

    def wait(**_kwargs: Any) -> None:
        if not getattr(waited, "once", False):
            waited.once = True
            barrier.wait(PATIENCE)

    pre_save.connect(wait, sender=get_user_model(), weak=False)
    try:
        yield
    finally:
        pre_save.disconnect(wait, sender=get_user_model())


@pytest.mark.parametrize("stack", ["wsgi", "asgi"])
@pytest.mark.parametrize("path", ["/who", "/awho"])
def test_two_first_requests_create_one_user(ada: SignedIn, stack: str, path: str) -> None:
    serving = serve_wsgi(WSGIHandler()) if stack == "wsgi" else serve_asgi(ASGIHandler(), lifespan="off")
    headers = {"Authorization": f"Bearer {ada.session_token}"}
    with serving as url, quick.Client(base_url=url) as browser:
        with meeting(2):
            answers = together(2, lambda _: browser.get(path, headers=headers))
        assert [answer.json() for answer in answers] == [{"user": bare(ada), "in": True}] * 2
    assert [user.moonkey.moonkey_id for user in users()] == [ada.user_id]


def test_both_spellings_are_one_user(ada: SignedIn) -> None:
    user = find_user(User(f"user_{bare(ada)}"))
    assert user is not None
    assert find_user(User(bare(ada))) == user
    assert mapped_user(User(bare(ada))) == mapped_user(User(ada.user_id)) == user


@pytest.mark.parametrize("given", [lambda person: person.user_id, bare], ids=["as the API spells it", "bare"])
def test_the_model_knows_one_spelling(ada: SignedIn, given: Any) -> None:
    ada_here, bob = (get_user_model().objects.create(username=name) for name in ("ada", "bob"))
    row = MoonKeyUser.objects.create(user=ada_here, moonkey_id=given(ada))
    for found in (row, MoonKeyUser.objects.get()):
        assert (found.moonkey_id, str(found)) == (ada.user_id, ada.user_id)
    assert list(MoonKeyUser.objects.values_list("moonkey_id", flat=True)) == [ada.user_id]
    for spelling in (ada.user_id, bare(ada)):
        assert MoonKeyUser.objects.get(moonkey_id=spelling) == row
        assert MoonKeyUser.objects.filter(moonkey_id__in=[spelling]).count() == 1
        with pytest.raises(IntegrityError):
            MoonKeyUser.objects.create(user=bob, moonkey_id=spelling)
    for nobody in ("", "user_"):
        with pytest.raises(ValueError, match="no MoonKey user id"):
            MoonKeyUser.objects.create(user=bob, moonkey_id=nobody)
    with pytest.raises(ValueError, match="no MoonKey user id"):
        MoonKeyUser.objects.create(user=bob)
    MoonKeyUser.objects.bulk_create([MoonKeyUser(user=bob, moonkey_id="user_bob")])
    assert MoonKeyUser.objects.get(user=bob).moonkey_id == "user_bob"


@pytest.mark.parametrize(
    "lookup", ["iexact", "contains", "icontains", "startswith", "istartswith", "endswith", "iendswith"]
)
def test_an_id_as_it_reads_is_found_by_its_parts(lookup: str) -> None:
    user = get_user_model().objects.create(username="ada")
    row = MoonKeyUser.objects.create(user=user, moonkey_id="user_Abc")
    for spelling in ("user_Abc", "Abc"):
        assert MoonKeyUser.objects.get(**{f"moonkey_id__{lookup}": spelling}) == row
        assert get_user_model().objects.get(**{f"moonkey__moonkey_id__{lookup}": spelling}) == user
        assert not MoonKeyUser.objects.filter(**{f"moonkey_id__{lookup}": f"{spelling}x"}).exists()


def test_an_id_that_is_all_prefix_is_a_mistake_in_a_form() -> None:
    row = MoonKeyUser(user=get_user_model().objects.create(username="ada"), moonkey_id="user_")
    with pytest.raises(ValidationError, match="no MoonKey user id"):
        row.full_clean()


def test_rows_of_earlier_versions_are_read_and_written_as_they_were(ada: SignedIn) -> None:
    """The table holds bare ids, whoever wrote them, and no migration changes that."""
    user = get_user_model().objects.create(username="ada")
    with connection.cursor() as cursor:
        insert = "INSERT INTO moonkey_users_moonkeyuser (user_id, moonkey_id) VALUES (%s, %s)"
        cursor.execute(insert, [user.pk, bare(ada)])
    row = MoonKeyUser.objects.get()
    assert row.moonkey_id == ada.user_id
    assert find_user(User(ada.user_id)) == user
    row.full_clean()
    row.save()
    fixture = serializers.serialize("json", [row])
    for spelled in (fixture, fixture.replace(ada.user_id, bare(ada))):
        loaded: Any
        for loaded in serializers.deserialize("json", spelled):
            assert loaded.object.moonkey_id == ada.user_id
            loaded.save()
    with connection.cursor() as cursor:
        cursor.execute("SELECT moonkey_id FROM moonkey_users_moonkeyuser")
        assert cursor.fetchall() == [(bare(ada),)]


def test_what_is_stored_is_what_is_taken(ada: SignedIn, emulator: Emulator) -> None:
    row = MoonKeyUser.objects.create(user=get_user_model().objects.create(username="ada"), moonkey_id=ada.user_id)
    with MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url) as client:
        for spelling in (row.moonkey_id, bare(ada)):
            person = emulator.sign_in(user_id=spelling)
            assert client.users.get(spelling).id == row.moonkey_id
            assert person.session_id in client.sessions.revoke_all(spelling)


def test_an_id_that_is_all_prefix_is_nobody(configure: Configure) -> None:
    for how in ("create", "match"):
        configure(USERS=how)
        assert find_user(User("user_")) is None
    assert users() == []


def test_ids_differ_by_case_whatever_the_database_says(ada: SignedIn, configure: Configure) -> None:
    configure(USERS="match")
    mapped(ada)
    usual: Any = MoonKeyUser._meta.get_field("moonkey_id")
    other: Any = MoonKeyIdField(max_length=256, unique=True, db_collation="nocase")
    other.set_attributes_from_name("moonkey_id")
    other.model = MoonKeyUser
    with connection.schema_editor() as editor:
        editor.alter_field(MoonKeyUser, usual, other)
    try:
        assert MoonKeyUser.objects.filter(moonkey_id=bare(ada).swapcase()).exists()
        assert find_user(User(ada.user_id)) is not None
        assert find_user(User(bare(ada).swapcase())) is None
    finally:
        with connection.schema_editor() as editor:
            editor.alter_field(MoonKeyUser, other, usual)


def test_a_hidden_user_stays_hidden(ada: SignedIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project's own default manager may leave some out, as Django's own backend respects."""
    mapped(ada)
    manager: Any = get_user_model()._default_manager
    everybody = manager.get_queryset
    monkeypatch.setattr(type(manager), "get_queryset", lambda self: everybody().exclude(username="ada"))
    assert mapped_user(User(ada.user_id)) is None
    assert find_user(User(ada.user_id)) is None  # and no second one is created
    monkeypatch.undo()
    assert [user.username for user in users()] == ["ada"]


def test_the_backend_finds_users(ada: SignedIn, rf: RequestFactory) -> None:
    request, person = rf.get("/"), User(ada.user_id)
    user: Any = authenticate(request, moonkey_user=person)
    assert (user.username, user.backend) == (bare(ada), "moonkey_django.backend.MoonKeyBackend")
    assert asyncio.run(aauthenticate(request, moonkey_user=person)) == user
    get_user_model().objects.update(is_active=False)
    assert authenticate(request, moonkey_user=person) is None


def by_hand(person: User) -> Any:
    return get_user_model().objects.filter(username=f"hand-{person.id.removeprefix('user_')}").first()


def nothing(person: User) -> None:
    return None


def unsaved(person: User) -> Any:
    model: Any = get_user_model()
    return model(username="eve")


def of_another_kind(person: User) -> Any:
    return "ada"


def in_trouble(person: User) -> Any:
    raise ProviderUnavailable(retry_after=9)


@pytest.mark.parametrize("path", READ)
@pytest.mark.parametrize("hook", [by_hand, f"{__name__}.by_hand"])
def test_a_function_may_decide(visit: Visit, configure: Configure, ada: SignedIn, path: str, hook: object) -> None:
    configure(USERS=hook)
    assert visit(path, ada.session_token).json() == ANONYMOUS
    get_user_model().objects.create(username=f"hand-{bare(ada)}")
    assert visit(path, ada.session_token).json() == {"user": f"hand-{bare(ada)}", "in": True}
    get_user_model().objects.update(is_active=False)
    assert visit(path, ada.session_token).json() == ANONYMOUS


@pytest.mark.parametrize("path", READ)
def test_what_a_function_may_not_return(
    visit: Visit, configure: Configure, ada: SignedIn, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "moonkey")  # the second of a kind is no error in the log
    configure(USERS=nothing)
    assert visit(path, ada.session_token).json() == ANONYMOUS
    for hook in (unsaved, of_another_kind):
        caplog.clear()
        _repeated_log.reset()
        configure(USERS=hook)
        assert visit(path, ada.session_token).status_code == 500
        assert "must return a saved user, or None" in caplog.text


@pytest.mark.parametrize("path", READ)
def test_trouble_in_a_function_is_trouble(visit: Visit, configure: Configure, ada: SignedIn, path: str) -> None:
    configure(USERS=in_trouble)
    response = visit(path, ada.session_token)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "9")


def person_with(emails: object, email: str | None = None) -> User:
    return User("user_x", email=email, extra={"emails": emails})


def test_an_email_is_taken_only_where_the_api_calls_it_verified(ada: SignedIn) -> None:
    good, claimed = {"email": "a@x.org", "verified": True}, {"email": "b@x.org", "verified": False}
    assert verified_email(User("user_x", email="a@x.org")) is None
    assert verified_email(person_with([claimed], "b@x.org")) is None
    assert verified_email(person_with([claimed, good])) == "a@x.org"
    assert verified_email(person_with([{**good, "email": "c@x.org"}, good], "a@x.org")) == "a@x.org"
    for odd in ("no address", "a@x.org\nb@x.org", "a" * 300 + "@x.org", 7, None):
        assert verified_email(person_with([{"email": odd, "verified": True}])) is None
    for almost in (1, "true", None):
        assert verified_email(person_with([{"email": "a@x.org", "verified": almost}])) is None
    created: Any = find_user(User("user_new", email="b@x.org", extra={"emails": (claimed, good)}))
    assert created.email == "a@x.org"


@pytest.mark.long
@given(JSON, st.one_of(st.none(), st.text()))
def test_no_shape_of_emails_is_too_odd(emails: object, email: str | None) -> None:
    found = verified_email(person_with(emails, email))
    assert found is None or "@" in found
