"""The contract sites with Stytch as their provider, each on one of the stacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from contract.stacks import STACKS

from moonkey_core import CookieSettings, SignInSettings
from moonkey_core.emulator import StytchEmulator
from moonkey_core.provider import Stytch
from support import quick

SIGN_IN = SignInSettings(methods=("email", "phone_number"), max_sends=100, max_tries=100, max_sms=10_000)


def provider(stytch: StytchEmulator, **more: Any) -> Stytch:
    """The provider that the emulator is."""
    return Stytch(stytch.project_id, stytch.secret, stytch.public_token, base_url=stytch.base_url, **more)


def options(stytch: StytchEmulator, cookies: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The settings of an app on Stytch with cookies; ``more`` is for the provider.

    Where its SDK sets the cookies, users sign in on a page of the app.
    """
    page = "/login" if more.get("cookies_by") == "browser" else None
    return {
        "provider": provider(stytch, **more),
        "cookies": CookieSettings(**(cookies or {})),
        "cache_secret": "c" * 32,
        "sign_in": replace(SIGN_IN, page=page),
        "timeout": 30.0,
    }


def api(stytch: StytchEmulator, path: str, **body: Any) -> dict[str, Any]:
    """A call of the app's own."""
    answer = quick.post(f"{stytch.base_url}{path}", json=body, auth=(stytch.project_id, stytch.secret))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@contextmanager
def browsing(
    stack: str, stytch: StytchEmulator, cookies: dict[str, Any] | None = None, **more: Any
) -> Iterator[httpx.Client]:
    """A client in front of a site."""
    with (
        STACKS[stack](options(stytch, cookies, **more)) as site,
        quick.Client(base_url=site.url) as http,
    ):
        yield http


def on_each_stack(quick_ones: Iterable[str]) -> pytest.MarkDecorator:
    """Run a test on every stack, on all but some of them as a long test."""
    marks = {name: () if name in quick_ones else pytest.mark.long for name in STACKS}
    params = [pytest.param(name, marks=mark) for name, mark in marks.items()]
    return pytest.mark.parametrize("stack", params, scope="module")
