"""Wrong arguments are told before anything is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from typing import Any

import pytest

from moonkey_core import (
    AsyncMoonKey,
    MalformedCredentials,
    MoonKey,
)
from moonkey_core.emulator import Emulator
from support.clients import MakeClient

DELETE = "DELETE /v1/auth/sessions/delete"


ODD = ["", "a\r\nb", "a\0", "x" * 9000, 7, None, b"x", ["x"], True]
WRONG_CALLS: list[Callable[[MoonKey], object]] = [
    lambda client: client.sessions.verify(),
    lambda client: client.sessions.verify(session_token="a", session_jwt="a.b.c"),
    lambda client: client.sessions.verify(session_token="a", extend=4),
    lambda client: client.sessions.verify(session_token="a", extend=527_041),
    lambda client: client.sessions.verify(session_token="a", extend=timedelta(minutes=1)),
    lambda client: client.sessions.verify(session_token="a", extend=True),
    lambda client: client.sessions.verify(session_token="a", extend=60.0),  # type: ignore[arg-type]
    lambda client: client.sessions.revoke(),
    lambda client: client.sessions.revoke(session_id="a", session_token="a"),
    lambda client: client.sessions.revoke(session_id="a", session_token="a", session_jwt="a.b.c"),
    lambda client: client.otps.send(),
    lambda client: client.otps.send(email="a@b.c", phone_number="+14152222222"),
    lambda client: client.otps.send(email="a@b.c", expires_in=0),
    lambda client: client.otps.login_or_create(email="a@b.c", expires_in=11),
    lambda client: client.otps.login_or_create(email="a@b.c", expires_in=True),
    lambda client: client.otps.send(email="a@b.c", expires_in=1.5),  # type: ignore[arg-type]
    lambda client: client.otps.verify("1"),
    lambda client: client.otps.verify("1", method_id="m", email="a@b.c"),
    lambda client: client.otps.verify("1", method_id="m", session_expires_in=4),
    lambda client: client.otps.verify("1", method_id="m", session_token="a", session_jwt="a.b.c"),
    lambda client: client.oauth.verify(),
    lambda client: client.oauth.verify(token="a", code="b"),
    lambda client: client.magic_links.verify("t", session_expires_in=timedelta(days=367)),
    lambda client: client.totps.verify("1", user_id="u", session_expires_in=1),
    lambda client: client.wallets.verify(
        wallet_type="e", public_address="a", signature="s", session_expires_in=-5
    ),
]


@pytest.mark.parametrize("wrong", WRONG_CALLS)
def test_a_wrong_call_is_told_before_anything_is_sent(
    make_client: MakeClient, emulator: Emulator, wrong: Callable[[MoonKey], object]
) -> None:
    with pytest.raises(ValueError, match=r"[Gg]ive exactly one|minutes"):
        wrong(make_client())
    assert sum(emulator.requests().values()) == 0


@pytest.mark.rule("S2", "S30")
@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:12])
def test_an_odd_argument_is_never_sent_nor_repeated(
    make_client: MakeClient, emulator: Emulator, value: Any
) -> None:
    client = make_client()
    calls: list[Callable[[], object]] = [
        lambda: client.users.get(value),
        lambda: client.sessions.list(value),
        lambda: client.sessions.revoke_all(value),
        lambda: client.otps.verify(value, method_id="m"),
        lambda: client.magic_links.verify(value),
        lambda: client.totps.verify("1", user_id=value),
        lambda: client.wallets.verify(wallet_type="e", public_address="a", signature=value),
        lambda: client.sessions.revoke(session_id=value),
        lambda: client.sessions.verify(session_token=value),
    ]
    for one in calls:
        with pytest.raises((ValueError, MalformedCredentials)) as caught:
            one()
        assert len(str(caught.value)) < 200
        assert not isinstance(value, str) or len(value) < 3 or value not in str(caught.value)
    assert sum(emulator.requests().values()) == 0


def test_the_two_clients_have_the_same_methods() -> None:
    with MoonKey(secret_key="sk_test_x") as one:
        other = AsyncMoonKey(secret_key="sk_test_x")
        names = [
            name
            for base in MoonKey.__mro__
            for name, found in vars(base).items()
            if isinstance(found, cached_property) and name != "flows"
        ]
        ways = ["otps", "magic_links", "oauth", "totps", "wallets", "passwords", "passkeys", "biometrics"]
        assert names == ["sessions", *ways, "users", "mfa"]
        for name in names:
            mine, theirs = type(getattr(one, name)), type(getattr(other, name))
            public = {member for member in dir(mine) if not member.startswith("_")}
            assert public == {member for member in dir(theirs) if not member.startswith("_")}
            assert all(getattr(mine, member).__doc__ == getattr(theirs, member).__doc__ for member in public)
        asyncio.run(other.aclose())
