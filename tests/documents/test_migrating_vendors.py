"""What the document on migrating says of the vendors' packages gives the same result on both sides."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

import pytest

from moonkey_core import (
    CDP,
    AsyncMoonKey,
    InvalidCredentials,
    MoonKey,
    ProviderRejectedKey,
    ProviderUnavailable,
    Stytch,
)
from moonkey_core.emulator import CdpEmulator, StytchEmulator
from support.documents import rows
from support.patience import PATIENT

DOCUMENT = "docs/migrating.md"
# The clients take a second to import, and call their own dependencies in ways that these have given up.
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


def pairs(heading: str) -> list[list[str]]:
    return [[cell.strip("`") for cell in cells] for cells in rows(DOCUMENT, heading)]


def test_stytch(stytch: StytchEmulator) -> None:
    import requests
    from stytch import Client

    ada = stytch.sign_in("ada@example.com", claims={"plan": "pro"})
    other, second = (stytch.sign_in("ada@example.com") for _ in range(2))
    provider = Stytch(stytch.project_id, stytch.secret, base_url=stytch.base_url)
    options: dict[str, Any] = {"provider": provider, **PATIENT}
    with MoonKey(**options) as new, requests.Session() as http:
        names = {
            "old": Client(stytch.project_id, stytch.secret, environment=f"{stytch.base_url}/", sync_session=http),
            "new": new,
            "token": ada.session_token,
            "jwt": ada.session_jwt,
            "user_id": ada.user_id,
            "other_id": other.session_id,
            "second_id": second.session_id,
        }
        found = pairs("stytch")
        assert len(found) > 8
        for before, after in found:
            value = eval(before, dict(names))
            assert value, before
            assert value == eval(after, dict(names)), before


def of_the_table(heading: str) -> set[str]:
    """The errors that a table puts in the place of a vendor's."""
    return {name for row in rows(DOCUMENT, heading) for name in re.findall(r"`(\w+)`", row[1])}


def test_the_errors_of_stytch(stytch: StytchEmulator) -> None:
    import requests
    from stytch import Client
    from stytch.core.response_base import StytchError

    def client_of(secret: str) -> MoonKey:
        made = Stytch(stytch.project_id, secret, base_url=stytch.base_url)
        options: dict[str, Any] = {"provider": made, **PATIENT}
        return MoonKey(**options)

    address = f"{stytch.base_url}/"
    person, other, machine = stytch.sign_in(), stytch.sign_in(), stytch.token("m2m")
    with requests.Session() as http, client_of(stytch.secret) as new:
        old = Client(stytch.project_id, stytch.secret, environment=address, sync_session=http)
        stytch.revoke(person.session_id)
        with pytest.raises(StytchError) as over:
            old.sessions.authenticate(session_token=person.session_token)
        assert "session_not_found" in str(over.value.details)
        with pytest.raises(InvalidCredentials):
            new.sessions.verify(session_token=person.session_token)
        with pytest.raises(KeyError):
            old.sessions.authenticate_jwt_local(machine)
        with pytest.raises(InvalidCredentials):
            new.sessions.verify(session_jwt=machine)
        stytch.stop()
        try:
            with pytest.raises(requests.RequestException):
                old.sessions.authenticate(session_token=other.session_token)
            with pytest.raises(ProviderUnavailable) as down:
                new.sessions.verify(session_token=other.session_token)
        finally:
            stytch.start()
        assert down.value.status == 503
        wrong = Client(stytch.project_id, "wrong", environment=address, sync_session=http)
        with pytest.raises(StytchError) as refused:
            wrong.sessions.authenticate(session_token=person.session_token)
        assert "unauthorized_credentials" in str(refused.value.details)
    with client_of("wrong") as mistaken, pytest.raises(ProviderRejectedKey) as key:
        mistaken.sessions.verify(session_token=other.session_token)
    assert key.value.status == 500
    named = {InvalidCredentials, ProviderRejectedKey, ProviderUnavailable}
    assert of_the_table("stytch raises") - {"timeout"} == {one.__name__ for one in named}


async def evaluated(expression: str, names: dict[str, Any]) -> Any:
    """The value of an expression that may await."""
    code = compile(expression, DOCUMENT, "eval", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    value = eval(code, dict(names))
    return await value if inspect.isawaitable(value) else value


def test_cdp_sdk(cdp: CdpEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setenv("DISABLE_CDP_USAGE_TRACKING", "true")
    monkeypatch.setenv("DISABLE_CDP_ERROR_REPORTING", "true")
    from cdp import CdpClient

    person = cdp.sign_in("ada@example.com")
    cdp.add_wallets(person.user_id)
    made = CDP(cdp.api_key_id, cdp.api_key_secret, cdp.project_id, base_url=cdp.api_url)
    options: dict[str, Any] = {"provider": made, **PATIENT}

    async def main() -> None:
        async with (
            CdpClient(api_key_id=cdp.api_key_id, api_key_secret=cdp.api_key_secret, base_path=cdp.api_url) as old,
            AsyncMoonKey(**options) as new,
        ):
            names = {"old": old, "new": new, "token": person.access_token}
            found = pairs("cdp-sdk")
            assert len(found) > 3
            for before, after in found:
                value = await evaluated(before, names)
                assert value, before
                assert value == await evaluated(after, names), before

    asyncio.run(main())


def test_the_errors_of_cdp_sdk(cdp: CdpEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setenv("DISABLE_CDP_USAGE_TRACKING", "true")
    monkeypatch.setenv("DISABLE_CDP_ERROR_REPORTING", "true")
    from cdp import CdpClient
    from cdp.openapi_client.errors import ApiError, NetworkError

    token, bad = cdp.sign_in().access_token, cdp.token(key="imposter")
    right, wrong = (
        (cdp.api_key_id, cdp.api_key_secret),
        ("00000000-0000-4000-8000-000000000000", cdp.api_key_secret),
    )

    def clients(key: tuple[str, str]) -> tuple[Any, AsyncMoonKey]:
        options: dict[str, Any] = {"provider": CDP(*key, cdp.project_id, base_url=cdp.api_url), **PATIENT}
        old = CdpClient(api_key_id=key[0], api_key_secret=key[1], base_path=cdp.api_url)
        return old, AsyncMoonKey(**options)

    async def main() -> None:
        for key, presented, here in ((right, bad, InvalidCredentials), (wrong, token, ProviderRejectedKey)):
            old, new = clients(key)
            async with old, new:
                with pytest.raises(ApiError) as refused:
                    await old.end_user.validate_access_token(access_token=presented)
                assert refused.value.http_code == 401
                with pytest.raises(here):
                    await new.sessions.verify(session_jwt=presented)
        cdp.stop()
        try:
            old, new = clients(right)
            async with old, new:
                with pytest.raises((NetworkError, ApiError)) as down:
                    await old.end_user.validate_access_token(access_token=token)
                assert isinstance(down.value, NetworkError) or down.value.http_code == 500
                with pytest.raises(ProviderUnavailable):
                    await new.sessions.verify(session_jwt=token)
        finally:
            cdp.start()

    asyncio.run(main())
    named = {InvalidCredentials, ProviderRejectedKey, ProviderUnavailable}
    assert of_the_table("cdp-sdk raises") == {one.__name__ for one in named}
