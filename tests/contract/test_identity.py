"""S25. One identity per request, from this request only, whoever shares a connection, thread or loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from contract.crowd import wrong_answers
from contract.requests import own_url
from contract.stacks import Site

from moonkey_core import AsyncMoonKey, Auth, MoonKey
from moonkey_core.client import Pending
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.gate import Requirements
from moonkey_core.web.request import HeaderView

Remember = Callable[[HeaderView], object]


@pytest.fixture
def people(emulator: Emulator) -> list[SignedIn]:
    emulator.fault("/v1/auth/sessions/verify", delay=0.004)
    return [emulator.sign_in(email=f"person{number}@example.com") for number in range(8)]


@pytest.mark.rule("S25", "token", "jwt")
def test_nobody_is_taken_for_somebody_else(site: Site, people: list[SignedIn]) -> None:
    assert wrong_answers(site.url, people) == []


@pytest.mark.rule("S25", "pair")
def test_nor_are_browsers(web: httpx.Client, people: list[SignedIn]) -> None:
    assert wrong_answers(own_url(web), people, with_cookies=True) == []


def _by_beginning(headers: HeaderView) -> object:
    """The planted bug: answers are kept by the beginning of the credential."""
    values = [*headers("authorization"), *headers("session-token")]
    return values[0][:12] if values else None


def _by_thread(headers: HeaderView) -> object:
    """The planted bug: the identity is kept for the thread, and so for the next request in it."""
    return threading.get_ident()


@pytest.mark.long
@pytest.mark.parametrize("bug", [_by_beginning, _by_thread])
def test_planted_mix_ups_are_noticed(
    site: Site, people: list[SignedIn], monkeypatch: pytest.MonkeyPatch, bug: Remember
) -> None:
    """The test above can fail: with a typical bug planted, it does."""
    kept: dict[object, Auth] = {}
    verify, averify = MoonKey.authenticate, AsyncMoonKey.authenticate

    def authenticate(
        self: MoonKey, headers: HeaderView, requirements: Requirements | None = None, info: Any = None
    ) -> Auth:
        key = bug(headers)
        if key not in kept:
            kept[key] = verify(self, headers, requirements, info)
        return kept[key]

    async def aauthenticate(
        self: AsyncMoonKey, headers: HeaderView, requirements: Requirements | None = None, info: Any = None
    ) -> Auth:
        key = bug(headers)
        if key not in kept:
            kept[key] = await averify(self, headers, requirements, info)
        return kept[key]

    begin, afinish = AsyncMoonKey.begin, AsyncMoonKey.finish

    def abegin(
        self: AsyncMoonKey, headers: HeaderView, requirements: Requirements | None = None, info: Any = None
    ) -> Auth | Pending:
        found = kept.get(bug(headers)) or begin(self, headers, requirements, info)
        return kept.setdefault(bug(headers), found) if isinstance(found, Auth) else found

    async def keep(self: AsyncMoonKey, pending: Pending, requirements: Requirements | None = None) -> Auth:
        auth = await afinish(self, pending, requirements)
        return kept.setdefault(bug(pending.headers), auth)

    planted: list[tuple[type[Any], str, Any]] = [
        (MoonKey, "authenticate", authenticate),
        (AsyncMoonKey, "authenticate", aauthenticate),
        (AsyncMoonKey, "begin", abegin),
        (AsyncMoonKey, "finish", keep),
    ]
    for owner, name, method in planted:
        monkeypatch.setattr(owner, name, method)
    assert wrong_answers(site.url, people) != []
