"""Passwords, passkeys and biometrics are begun elsewhere: each method says so, whatever the provider."""

from __future__ import annotations

import asyncio

import pytest

from moonkey_core import AsyncMoonKey, MoonKey, NotSupported, Stytch
from moonkey_core.settings.provider_choice import PRESETS
from support.every_provider import EVERY_PROVIDER, options_with
from support.foreign_tokens import provider as plain_provider

SECRET = "correct horse battery staple"
METHODS = [
    ("passwords", "create", "set a password"),
    ("passwords", "verify", "verify a password"),
    ("passkeys", "begin", "begin a sign-in with a passkey"),
    ("passkeys", "verify", "verify a passkey"),
    ("biometrics", "begin", "begin a sign-in with biometrics"),
    ("biometrics", "verify", "verify biometrics"),
]


def test_no_provider_is_left_out() -> None:
    assert set(PRESETS) <= set(EVERY_PROVIDER)


@pytest.mark.parametrize("name", EVERY_PROVIDER)
def test_what_begins_elsewhere_is_not_supported(name: str) -> None:
    with MoonKey(**options_with(name)) as client:
        begins_here = "sign_in" in client.capabilities
        for namespace, method, spoken in METHODS:
            with pytest.raises(NotSupported) as caught:
                getattr(getattr(client, namespace), method)("ada@example.com", password=SECRET)
            error = caught.value
            assert error.provider == client._core.provider.name
            assert error.status == 501
            assert f"cannot {spoken} through this app" in str(error)
            assert ("SDK" if begins_here else client._core.instead_of("sign_in")) in str(error)
            assert "accepted here" in str(error)
            assert SECRET not in f"{error!r} {error.public_detail}"
            assert spoken in error.public_detail


@pytest.mark.parametrize("name", EVERY_PROVIDER)
def test_the_asynchronous_client_says_the_same(name: str) -> None:
    async def call() -> None:
        with MoonKey(**options_with(name)) as blocking:
            async with AsyncMoonKey(**options_with(name)) as client:
                for namespace, method, _ in METHODS:
                    with pytest.raises(NotSupported) as here:
                        await getattr(getattr(client, namespace), method)()
                    with pytest.raises(NotSupported) as there:
                        getattr(getattr(blocking, namespace), method)()
                    assert str(here.value) == str(there.value)

    asyncio.run(call())


def test_with_several_providers_it_is_the_one_that_signs_in() -> None:
    stytch = Stytch("project-test-1", "secret-test-1")
    with (
        MoonKey(providers=[plain_provider(), stytch], cache_secret="x" * 32) as client,
        pytest.raises(NotSupported) as caught,
    ):
        client.passkeys.begin()
    assert caught.value.provider == "stytch"
