"""The pytest plugin. It loads nothing of this package, and no framework, before one of its fixtures is used."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from moonkey_core.emulator import Emulator
    from moonkey_core.testing.faults import Faults
    from moonkey_core.testing.kit import Kit
    from moonkey_core.testing.services import Emulators

_OFFLINE = "moonkey_offline"
_ENV = "moonkey_env"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the kit."""
    parser.addini(_OFFLINE, "whether the emulator of MoonKey's test kit opens no socket", "bool", default=False)
    parser.addini(
        _ENV,
        "whether MOONKEY_SECRET_KEY is set to a made-up key before anything is imported, for an app that reads it",
        "bool",
        default=False,
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Set the variables of an app, before pytest-django loads the settings of a project."""
    if early_config.getini(_ENV):
        import_module("moonkey_core.testing.environment").provide_settings()


@pytest.fixture(scope="session")
def moonkey_emulators(request: pytest.FixtureRequest) -> Iterator[Emulators]:
    """Return the emulators of this process: that of MoonKey, and those of other providers once they are needed."""
    kind = import_module("moonkey_core.testing.services").Emulators
    emulators: Emulators = kind(offline=bool(request.config.getini(_OFFLINE)))
    yield emulators
    emulators.close()


@pytest.fixture(scope="session")
def moonkey_emulator(moonkey_emulators: Emulators) -> Emulator:
    """Return the emulator of MoonKey: a real server, or with ``moonkey_offline = true`` in the process."""
    return moonkey_emulators.moonkey


@pytest.fixture
def moonkey_app(request: pytest.FixtureRequest) -> Any:
    """Return the app under test; by default that of the fixture ``app``, else ``None``, the Django project.

    Override it in ``conftest.py``.
    """
    try:
        return request.getfixturevalue("app")
    except pytest.FixtureLookupError:
        if os.environ.get("DJANGO_SETTINGS_MODULE"):
            return None
    raise pytest.UsageError(
        "The test kit of MoonKey does not know the app. Add a fixture to conftest.py: @pytest.fixture def "
        "moonkey_app(): return …, with the app of Flask, Starlette or FastAPI. A project of Django is found by "
        "DJANGO_SETTINGS_MODULE."
    )


@pytest.fixture
def moonkey_kit(request: pytest.FixtureRequest, moonkey_emulators: Emulators) -> Iterator[Kit]:
    """Return the kit of this test, for the app of ``moonkey_app``."""
    environment = import_module("moonkey_core.testing.environment")
    with pytest.MonkeyPatch.context() as patch:
        if not any(name.startswith("MOONKEY_") for name in os.environ):
            for name, value in environment.usual_settings().items():  # for an app that is made now
                patch.setenv(name, value)
        app = request.getfixturevalue("moonkey_app")
        kind = import_module("moonkey_core.testing.kit").Kit
        with kind(app, emulators=moonkey_emulators) as kit:
            yield kit


@pytest.fixture
def signed_in(moonkey_kit: Kit) -> Callable[..., Any]:
    """Return a function that makes a test client of the app that is signed in: ``signed_in(roles=["editor"])``."""
    return moonkey_kit.signed_in


@pytest.fixture
def signed_out(moonkey_kit: Kit) -> Callable[..., Any]:
    """Return a function that makes a test client of the app without a credential."""
    return moonkey_kit.signed_out


@pytest.fixture
def moonkey_faults(moonkey_kit: Kit) -> Faults:
    """Return what may go wrong with the provider."""
    return moonkey_kit.faults
