"""What docs/django.md shows is what works."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.checks import run_checks
from django.core.handlers.wsgi import WSGIHandler
from integrations.django_people import set_up
from integrations.django_visits import Configure, Visit

from moonkey_core.emulator import Emulator
from moonkey_django import get_client
from moonkey_django.users.models import MoonKeyUser

DOCUMENT = (Path(__file__).parents[2] / "docs" / "django.md").read_text()


def shown(name: str) -> dict[str, Any]:
    """What the code under this comment defines."""
    code = re.search(rf"<!-- {name} -->\n```python\n(.*?)```", DOCUMENT, re.DOTALL)
    assert code is not None
    module: dict[str, Any] = {"__name__": "shown"}
    exec(code[1], module)
    return module


def test_the_settings_are_sound(settings: Any, configure: Configure) -> None:
    found = shown("settings")
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
    configure(USERS=shown("by e-mail")["find"])
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
    from django.utils.module_loading import import_string

    paths = set(re.findall(r'"(moonkey_django\.[a-z_.]+\.?[A-Z]?\w+)"', DOCUMENT))
    found = {path for path in paths if path != "moonkey_django.users"}
    assert len(found) >= 4
    for path in found:
        assert callable(import_string(path))
