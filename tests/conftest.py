"""One emulator of each kind for a test run, in its first state before each test."""

from __future__ import annotations

import gc
import os
import ssl
from collections.abc import Generator, Iterator
from functools import cache, partial

import httpx
import pytest

from moonkey_core import _repeated_log
from moonkey_core._session_life import mfa as records
from moonkey_core.emulator import CdpEmulator, Emulator, OidcEmulator, StytchB2BEmulator, StytchEmulator
from moonkey_core.redis import shared
from moonkey_core.settings import Settings, effects
from support import products
from support.bindings import usual_app
from support.scripted import wait_until

gc.disable()  # until all tests are collected

_OF_DJANGO = ("_dj_", "_django_", "_live_server_", "_template_string_")  # what each test gets from pytest-django
_DJANGO_MARKS = {"django_db", "urls", "ignore_template_errors", "django_isolate_apps"}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """Mark what of products is long, before those are left out.

    Then set up for a test what pytest-django has for it only where it is marked so: that takes as long as a test.
    """
    products.mark_long(items)
    yield
    for item in items:
        if isinstance(item, pytest.Function) and _DJANGO_MARKS.isdisjoint(one.name for one in item.iter_markers()):
            item.fixturenames = [name for name in item.fixturenames if not name.startswith(_OF_DJANGO)]


AnyEmulator = Emulator | OidcEmulator | StytchEmulator | StytchB2BEmulator | CdpEmulator


def pytest_collection_finish() -> None:
    """Thousands of tests are no garbage, and need not be looked at each time that some is collected."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)  # as often as usual it takes a tenth of the time of all tests
    gc.enable()
    # What has no effect, and variables that begin like a setting and are none, are said once: in no test.
    effects._warned.update((name, rule.why) for rule in effects._DETAILS for name in rule.names)
    Settings.load({"secret_key": "sk_test_x"})


@pytest.fixture(scope="session", autouse=True)
def certificates_are_read_once() -> Iterator[None]:
    """All clients have the TLS context of the first: to read the CA certificates takes longer than most tests."""
    read = cache(lambda trust_env, *_paths: made(trust_env=trust_env))
    made = httpx.create_ssl_context

    def context(*, trust_env: bool) -> ssl.SSLContext:
        found: ssl.SSLContext = read(trust_env, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx, "create_ssl_context", context)
        yield


@pytest.fixture(scope="session")
def shared_emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        usual_app.update(secret_key=emulator.secret_key, base_url=emulator.base_url)
        yield emulator


def pytest_runtest_setup() -> None:
    """Forget what clients of one app share in a process, which those of two tests do not, and what was logged."""
    shared._tables.clear()
    shared._feeds.clear()
    records._tables.clear()
    _repeated_log.reset()


def pytest_runtest_call() -> None:
    """Count repeated lines from here: a client of an earlier test may be collected at any time, and say so."""
    _repeated_log.reset()


@pytest.fixture
def emulator(shared_emulator: Emulator) -> Emulator:
    shared_emulator.start()
    assert wait_until(partial(_is_in_its_first_state, shared_emulator))
    return shared_emulator


@pytest.fixture(scope="session")
def shared_oidc() -> Iterator[OidcEmulator]:
    with OidcEmulator() as issuer:
        yield issuer


@pytest.fixture
def oidc(shared_oidc: OidcEmulator) -> OidcEmulator:
    """An OpenID Connect issuer."""
    shared_oidc.start()
    assert wait_until(partial(_is_in_its_first_state, shared_oidc))
    return shared_oidc


@pytest.fixture(scope="session")
def shared_stytch() -> Iterator[StytchEmulator]:
    with StytchEmulator() as emulator:
        yield emulator


@pytest.fixture
def stytch(shared_stytch: StytchEmulator) -> StytchEmulator:
    """A consumer project of Stytch."""
    shared_stytch.start()
    assert wait_until(partial(_is_in_its_first_state, shared_stytch))
    return shared_stytch


@pytest.fixture(scope="session")
def shared_b2b() -> Iterator[StytchB2BEmulator]:
    with StytchB2BEmulator() as emulator:
        yield emulator


@pytest.fixture
def b2b(shared_b2b: StytchB2BEmulator) -> StytchB2BEmulator:
    """A B2B project of Stytch."""
    shared_b2b.start()
    assert wait_until(partial(_is_in_its_first_state, shared_b2b))
    return shared_b2b


@pytest.fixture(scope="session")
def shared_cdp() -> Iterator[CdpEmulator]:
    with CdpEmulator() as service:
        yield service


@pytest.fixture
def cdp(shared_cdp: CdpEmulator) -> CdpEmulator:
    """Coinbase CDP."""
    shared_cdp.start()
    assert wait_until(partial(_is_in_its_first_state, shared_cdp))
    return shared_cdp


def _is_in_its_first_state(
    emulator: Emulator | OidcEmulator | StytchEmulator | StytchB2BEmulator | CdpEmulator,
) -> bool:
    """Reset it; whether no call of the last test is left, which would count among those of the next."""
    emulator.reset()
    return emulator.in_flight_max() == 0
