"""What the document on migrating says of the vendors' packages gives the same result on both sides."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import pytest

from moonkey_core import CDP, AsyncMoonKey, MoonKey, Stytch
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
