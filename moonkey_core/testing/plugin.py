"""The pytest plugin. It loads nothing of this package, and no framework, before one of its fixtures is used."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
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
_KEY = "MOONKEY_SECRET_KEY"
_IS_KEY_MADE = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the kit."""
    parser.addini(_OFFLINE, "whether the emulator of MoonKey's test kit opens no socket", "bool", default=False)
    text = "whether MOONKEY_SECRET_KEY is set to a made-up key from the beginning, and not only where it is missed"
    parser.addini(_ENV, text, "bool", default=False)


@pytest.hookimpl(wrapper=True, trylast=True)  # within the capture of output
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, object, object]:
    """Load a project again, with a made-up key, where it could not be imported for want of one.

    So an app, or the settings of a Django project, may read ``MOONKEY_SECRET_KEY`` where they are imported.
    """
    if early_config.getini(_ENV):
        import_module("moonkey_core.testing.environment").provide_settings()
    try:
        return (yield)
    except Exception as problem:
        if not any(_KEY in str(one) for one in _causes(problem)) or not _provides_key(early_config):
            raise
        given = {"early_config": early_config, "parser": parser, "args": args}
        import_module("moonkey_core.testing.second_try").load_again(early_config, problem, given)
        return None


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Import a module of tests again, with a made-up key, where it could not be imported for want of one."""
    report = yield
    if report.failed and _KEY in str(report.longrepr) and _provides_key(collector.config):
        again: pytest.CollectReport = collector.ihook.pytest_make_collect_report(collector=collector)
        return again
    return report


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say that there is a made-up key."""
    is_made = config.stash.get(_IS_KEY_MADE, False)
    return f"moonkey: {_KEY} was missed, and set to a made-up key" if is_made else None


def _provides_key(config: pytest.Config) -> bool:
    """Set a made-up key, and return whether there was none."""
    if os.environ.get(_KEY):
        return False
    found: bool = import_module("moonkey_core.testing.environment").provide_settings()
    config.stash[_IS_KEY_MADE] = found
    return found


def _causes(problem: BaseException) -> Iterator[BaseException]:
    waiting: list[object] = [problem]
    seen: list[object] = []
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and not any(one is other for other in seen):
            seen.append(one)
            yield one
            waiting += [one.__cause__, one.__context__, getattr(one, "cause", None)]  # the last is pytest's own


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
    with import_module("moonkey_core.testing.environment").provided_settings():  # for an app that is made now
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
