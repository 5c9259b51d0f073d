"""What a provider cannot do is said before anything is done, by the methods and by the ready-made routes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from moonkey_core import MoonKey, NotSupported
from moonkey_core.flows.dispatch import HANDLERS, answer
from moonkey_core.flows.routes import HEADER_ROUTES, FlowRequest
from moonkey_core.web.request import RequestInfo
from support.foreign_tokens import ForeignDecisions, provider, token

CALLS: dict[str, tuple[Callable[[MoonKey], Any], str]] = {
    "list": (lambda one: one.sessions.list("user_1"), "list_sessions"),
    "revoke": (lambda one: one.sessions.revoke(session_id="sid-1"), "revoke_session"),
    "revoke by JWT": (lambda one: one.sessions.revoke(session_jwt=token()), "revoke_session"),
    "revoke all": (lambda one: one.sessions.revoke_all("user_1"), "list_sessions"),
    "rotate": (lambda one: one.sessions.rotate(user_id="user_1", totp="123456"), "sign_in"),
    "extend": (lambda one: one.sessions.verify(session_jwt=token(), extend=60), "extend"),
    "user": (lambda one: one.users.get("user_1"), "get_user"),
    "otp": (lambda one: one.otps.send(email="a@example.com"), "sign_in"),
    "magic link": (lambda one: one.magic_links.verify("abc"), "sign_in"),
    "oauth": (lambda one: one.oauth.start_url("google"), "sign_in"),
    "totp": (lambda one: one.totps.create(user_id="user_1"), "sign_in"),
    "wallet": (lambda one: one.wallets.begin(wallet_type="ethereum", public_address="0x1"), "sign_in"),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_method_that_the_provider_cannot_answer(case: str) -> None:
    call, operation = CALLS[case]
    with MoonKey(provider=provider()) as client:
        assert operation not in client._core.provider.capabilities
        with pytest.raises(NotSupported) as caught:
            call(client)
        assert (caught.value.provider, caught.value.operation) == ("plain", operation)
        assert caught.value.status == 501
        assert "plain" in str(caught.value)
        assert len(client.revocations) == 0  # so nothing was done by half


FOR_EVERYBODY = ("style", "icon", "session", "sign_out")  # signing out is here alone, where it is nowhere else
OF_PROVIDERS = [one.name for one in HEADER_ROUTES if one.name in HANDLERS and one.name not in FOR_EVERYBODY]


@pytest.mark.parametrize("route", OF_PROVIDERS)
def test_a_ready_made_route_is_not_implemented(route: str) -> None:
    found = [one for one in HEADER_ROUTES if one.name == route]
    decisions = ForeignDecisions()
    auth = decisions.authenticate(f"Bearer {token()}", "authorization")
    for method in found[0].methods:
        request = FlowRequest(
            route=route,
            mode="header",
            routes="/auth",
            info=RequestInfo(method, "https"),
            headers=lambda _: (),
            auth=auth,
            body=b"",
        )
        plan = answer(decisions.core, request)
        with pytest.raises(StopIteration) as stopped:
            next(plan)
        response = stopped.value.value
        assert response.status == 501
    assert decisions.fetches == []
