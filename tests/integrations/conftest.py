"""What the Django tests need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from integrations.django_visits import Configure, Visit, visit_asgi, visit_wsgi

from moonkey_core.emulator import Emulator, SignedIn
from support.pauses import no_pauses


@pytest.fixture(scope="module", autouse=True)
def _no_pauses_after_an_outage() -> Iterator[None]:
    with no_pauses():
        yield


@pytest.fixture
def configure(settings: Any, emulator: Emulator) -> Configure:
    """Set Django's ``MOONKEY`` to that of a usual app, and then again with other options."""

    def set_(**options: object) -> None:
        base = {"SECRET_KEY": emulator.secret_key, "BASE_URL": emulator.base_url, "TIMEOUT": 30.0}
        settings.MOONKEY = {**base, "JWT_ISSUER": emulator.issuer, **options}

    set_()
    return set_


@pytest.fixture(params=["wsgi", "asgi"])
def visit(request: pytest.FixtureRequest, configure: Configure) -> Visit:
    """Call a Django view through the whole handler: ``visit(path, credential, method="GET", **headers)``."""
    return visit_wsgi if request.param == "wsgi" else visit_asgi


@pytest.fixture
def ada(emulator: Emulator) -> SignedIn:
    """Somebody who is signed in."""
    return emulator.sign_in(email="ada@example.com")
