"""S29. Django REST framework: an expired credential and one that is no good read differently."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from integrations.django_people import set_up
from integrations.django_visits import Configure, Visit

from moonkey_core.emulator import Emulator
from support.visitors import signed_in_long_ago

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.rule("S29")]

INVALID = 'Bearer realm="moonkey", error="invalid_token"'


@pytest.mark.parametrize("path", ["/open", "/protected", "/session-too"])
def test_an_expired_jwt(visit: Visit, settings: Any, configure: Configure, emulator: Emulator, path: str) -> None:
    set_up(settings)
    settings.ROOT_URLCONF = "integrations.django_rest_site"
    cache.clear()
    configure(REFRESH_JWT=False)
    old = visit(path, signed_in_long_ago(emulator).session_jwt)
    assert (old.status_code, old.json()["reason"]) == (401, "expired")
    said = old.json()["detail"]
    assert old.headers["WWW-Authenticate"] == f'{INVALID}, error_description="{said}"'
    dead = visit(path, "dead")
    assert (dead.status_code, dead.headers["WWW-Authenticate"]) == (401, INVALID)
    assert dead.json().keys() == {"detail", "reason"}
    assert dead.json()["reason"] == "invalid"
    assert dead.json()["detail"] != said
    assert visit("/open").status_code == 200
    assert visit("/open", "").status_code == 200  # `Bearer` with nothing after it
