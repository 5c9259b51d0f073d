"""The steps of a sign-in are a provider's: the core checks arguments, and the provider makes calls of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from moonkey_core import Device, NotSupported
from moonkey_core._operations import login_starts, logins
from moonkey_core._operations.core import Core
from moonkey_core.provider import (
    Fetch,
    KeySource,
    LinkPage,
    LoginContext,
    LoginLimits,
    Plan,
    ProviderBase,
    SignInBase,
    with_query,
)
from support.foreign_tokens import ForeignDecisions, key_set, provider

ME = Device(ip="192.0.2.7", user_agent="Browser")


class Recorded(Exception):
    """A step was called."""


class Recording(SignInBase, ProviderBase):
    """A provider that has all steps, and says what they were called with."""

    name = "recording"
    capabilities = frozenset({"sign_in"})
    limits = LoginLimits(otp_minutes=range(2, 4), link_minutes=range(7, 9), session_minutes=range(30, 61))

    def __init__(self) -> None:
        made = provider(KeySource(jwks=key_set("RS256")))
        self.keys, self.jwt_rules, self.jwt_claims = made.keys, made.jwt_rules, made.jwt_claims

    def __getattribute__(self, step: str) -> Any:
        found = super().__getattribute__(step)
        if step.startswith(("send_", "verify_", "recover_", "begin_")):

            def record(*args: Any, **given: Any) -> Any:
                raise Recorded(step, args, given)

            return record
        return found


def called(make: Callable[[Core], Any]) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    plan = make(ForeignDecisions(Recording()).core)
    with pytest.raises(Recorded) as caught:
        next(plan)
    step, args, given = caught.value.args
    return step, args, given


def test_what_is_sent_goes_by_its_address() -> None:
    step, _, given = called(lambda core: logins.send_otp(core, email="me@example.com", expires_in=3, device=ME))
    assert step == "send_otp"
    assert given == {
        "channel": "email",
        "address": "me@example.com",
        "create": False,
        "minutes": 3,
        "device": ME,
    }
    _, _, given = called(lambda core: logins.login_or_create(core, phone_number="+14155550100"))
    assert (given["channel"], given["address"], given["create"]) == ("sms", "+14155550100", True)
    assert given["minutes"] is None


def test_a_link_for_a_new_user_is_like_the_other_unless_it_is_said() -> None:
    page, other = "https://app.example/in", "https://app.example/new"
    send = login_starts.login_or_create_by_magic_link
    _, _, given = called(
        lambda core: send(core, email="me@example.com", login_redirect_url=page, login_expires_in=7)
    )
    assert given["login"] == given["registration"] == LinkPage(page, 7)
    _, _, given = called(
        lambda core: send(
            core,
            email="me@example.com",
            login_redirect_url=page,
            login_expires_in=7,
            registration_redirect_url=other,
            registration_expires_in=8,
        )
    )
    assert (given["login"], given["registration"]) == (LinkPage(page, 7), LinkPage(other, 8))
    _, _, given = called(lambda core: login_starts.send_magic_link(core, email="me@example.com"))
    assert given == {"email": "me@example.com", "create": False, "login": LinkPage(), "device": None}


@pytest.mark.parametrize(
    ("make", "step", "proof"),
    [
        (lambda c, **o: logins.verify_otp(c, "123456", method_id="m", **o), "verify_otp", {"method_id": "m"}),
        (lambda c, **o: logins.verify_otp(c, "123456", email="a@b.c", **o), "verify_otp", {"email": "a@b.c"}),
        (lambda c, **o: logins.verify_magic_link(c, "t", **o), "verify_magic_link", {"token": "t"}),
        (lambda c, **o: logins.verify_oauth(c, token="t", **o), "verify_oauth", {"token": "t", "code": None}),
        (lambda c, **o: logins.verify_oauth(c, code="c", **o), "verify_oauth", {"token": None, "code": "c"}),
        (lambda c, **o: logins.verify_totp(c, "123456", user_id="u", **o), "verify_totp", {"user_id": "u"}),
        (lambda c, **o: logins.recover_totp(c, "r", user_id="u", **o), "recover_totp", {"recovery_code": "r"}),
        (
            lambda c, **o: logins.verify_wallet(
                c, wallet_type="ethereum", public_address="0x1", signature="s", **o
            ),
            "verify_wallet",
            {"wallet_type": "ethereum", "public_address": "0x1", "signature": "s"},
        ),
    ],
)
def test_every_step_that_verifies_shares_a_context(make: Any, step: str, proof: dict[str, Any]) -> None:
    options: dict[str, Any] = {
        "session_expires_in": timedelta(hours=1),
        "session_token": "tok" * 10,
        "device": ME,
    }
    found, _, given = called(lambda core: make(core, **options))
    context = given.pop("context")
    assert found == step
    assert context == LoginContext(60, "tok" * 10, None, ME)
    assert proof.items() <= given.items()
    assert "tok" not in repr(context)
    assert "192.0.2.7" not in repr(context)


@pytest.mark.parametrize(
    ("make", "bounds"),
    [
        (lambda c: logins.send_otp(c, email="a@b.c", expires_in=4), "2 to 3 minutes"),
        (lambda c: login_starts.send_magic_link(c, email="a@b.c", login_expires_in=9), "7 to 8 minutes"),
        (lambda c: logins.verify_magic_link(c, "t", session_expires_in=29), "30 to 60 minutes"),
    ],
)
def test_the_limits_are_those_of_the_provider(make: Callable[[Core], Plan[Any]], bounds: str) -> None:
    core = ForeignDecisions(Recording()).core
    with pytest.raises(ValueError, match=bounds):
        next(make(core))


def test_a_provider_without_a_step_says_so() -> None:
    class Bare(SignInBase):
        name = "bare"

    bare, context = Bare(), LoginContext()
    steps: list[Callable[[], object]] = [
        lambda: bare.send_otp(channel="email", address="a@b.c", create=True),
        lambda: bare.send_magic_link(email="a@b.c", create=True, login=LinkPage()),
        lambda: bare.begin_wallet(wallet_type="ethereum", public_address="0x1"),
        lambda: bare.create_totp("u"),
        lambda: bare.oauth_start_url("google"),
        lambda: bare.verify_otp(code="1", method_id="m", context=context),
        lambda: bare.verify_magic_link(token="t", context=context),
        lambda: bare.verify_oauth(token="t", context=context),
        lambda: bare.verify_totp(code="1", user_id="u", context=context),
        lambda: bare.recover_totp(recovery_code="1", user_id="u", context=context),
        lambda: bare.verify_wallet(wallet_type="e", public_address="0x1", signature="s", context=context),
    ]
    for step in steps:
        with pytest.raises(NotSupported, match="'bare' cannot") as caught:
            step()
        assert caught.value.provider == "bare"
    assert bare.magic_link_token({"token": "t"}) == "t"
    assert bare.magic_link_token({"token": ""}) is None
    assert bare.oauth_proof({"token": "t", "code": "c"}) == ("token", "t")
    assert bare.oauth_proof({"code": "c"}) is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example/in", "https://a.example/in?state=s+1"),
        ("https://a.example/in?x=1#top", "https://a.example/in?x=1&state=s+1#top"),
    ],
)
def test_a_query_is_added_before_a_fragment(url: str, expected: str) -> None:
    assert with_query(url, {"state": "s 1"}) == expected


def test_a_fetch_shows_no_judge() -> None:
    assert "judge" not in repr(Fetch("GET", "https://api.example.com/", judge=lambda _: "trouble"))
