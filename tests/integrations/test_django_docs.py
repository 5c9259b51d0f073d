"""What docs/django.md shows is what works."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.checks import run_checks
from django.core.handlers.wsgi import WSGIHandler
from django.template import Context, Engine
from django.urls import include, path
from django.utils.module_loading import import_string
from integrations.django_people import set_up
from integrations.django_visits import Configure, Visit

from moonkey_core.emulator import Emulator
from moonkey_django import get_client
from moonkey_django.users.models import MoonKeyUser
from support.documents import block, run, text

DOCUMENT = "docs/django.md"


def test_the_settings_are_sound(settings: Any, configure: Configure) -> None:
    found = run(DOCUMENT, "settings")
    for name in ("INSTALLED_APPS", "AUTHENTICATION_BACKENDS", "MIDDLEWARE"):
        setattr(settings, name, found[name])
    configure(**found["MOONKEY"])
    WSGIHandler()
    assert [message for message in run_checks() if str(message.id).startswith("moonkey")] == []


def sign_in_by_code(emulator: Emulator, email: str) -> str:
    """The token of somebody whose address is verified by that."""
    client = get_client()
    sent = client.otps.login_or_create(email=email)
    code = emulator.outbox()[0].code
    login = client.otps.verify(code, method_id=sent.method_id, session_expires_in=timedelta(days=1))
    assert login.session_token is not None
    return login.session_token


@pytest.mark.django_db(transaction=True)
def test_the_function_that_matches_by_email(
    visit: Visit, settings: Any, configure: Configure, emulator: Emulator
) -> None:
    set_up(settings)
    configure(USERS=run(DOCUMENT, "by e-mail")["find"])
    bob, _eve = (get_user_model().objects.create(username=n, email=f"{n}@example.com") for n in ("bob", "eve"))
    token = sign_in_by_code(emulator, "bob@example.com")
    for _ in range(2):
        assert visit("/who", token).json()["user"] == "bob"
    assert MoonKeyUser.objects.get().user == bob
    eve = get_client().otps.login_or_create(email="eve@example.com").user_id  # an address that nobody has verified
    claimed = emulator.sign_in(user_id=eve, factors=["totp"]).session_token
    assert not visit("/who", claimed).json()["in"]
    stranger = sign_in_by_code(emulator, "ada@example.com")
    assert not visit("/who", stranger).json()["in"]
    assert MoonKeyUser.objects.count() == 1


def test_every_dotted_path_is_there() -> None:
    paths = set(re.findall(r'"(moonkey_django\.[a-z_.]+\.?[A-Z]?\w+)"', text(DOCUMENT)))
    found = {one for one in paths if one != "moonkey_django.users"}
    assert len(found) >= 4
    for one in found:
        assert callable(import_string(one))


@pytest.mark.long
@pytest.mark.django_db
def test_a_mapping_by_hand() -> None:
    ada = get_user_model().objects.create(username="ada")
    run(DOCUMENT, "Existing users", ada=ada)
    assert MoonKeyUser.objects.get().user == ada


@pytest.mark.parametrize(
    ("moonkey", "user", "told"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_the_words_for_whoever_has_no_account(moonkey: bool, user: bool, told: bool) -> None:
    template = Engine().from_string(block(DOCUMENT, "login_required, permissions, the admin").code)
    context = {"moonkey": {"is_authenticated": moonkey}, "user": {"is_authenticated": user}}
    assert ("You have no account here." in template.render(Context(context))) is told


def test_every_view_behind_a_sign_in(settings: Any, configure: Configure) -> None:
    settings.MIDDLEWARE = run(DOCUMENT, "LoginRequiredMiddleware")["MIDDLEWARE"]
    configure()
    WSGIHandler()
    assert [message for message in run_checks() if str(message.id).startswith("moonkey")] == []


def test_the_context_processor_and_the_authentication_of_rest_framework() -> None:
    options = eval(f"{{{block(DOCUMENT, 'Templates').code}}}")
    assert [callable(import_string(path)) for path in options["context_processors"]] == [True]
    rest = run(DOCUMENT, "Django REST framework 2")["REST_FRAMEWORK"]
    assert [callable(import_string(path)) for path in rest["DEFAULT_AUTHENTICATION_CLASSES"]] == [True]


def test_the_session_routes() -> None:
    (mounted,) = run("docs/browser-sessions.md", "Django", path=path, include=include)["urlpatterns"]
    assert mounted.resolve("auth/sign-in")
