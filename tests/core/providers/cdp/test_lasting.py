"""What outlives a request with a token of CDP: renewals, sign-out, the other processes, an app's own issuer."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from moonkey_core import CDP, AsyncMoonKey, AuthenticationError, MoonKey
from moonkey_core.emulator import CdpBrowser, CdpEmulator, CdpError, Emulator, OidcEmulator
from moonkey_core.events import Event, SignedOut
from moonkey_core.provider import OIDC
from moonkey_core.redis import store as store_module
from support.clients import Both
from support.flow_visits import SESSION, Visitor
from support.pages import read_page
from support.patience import PATIENCE, PATIENT
from support.redis_server import RedisServer, need_redis
from support.scripted import wait_until


def options(cdp: CdpEmulator, **more: Any) -> dict[str, Any]:
    provider = CDP(cdp.api_key_id, cdp.api_key_secret, cdp.project_id, base_url=cdp.api_url)
    return {"provider": provider, "cache_secret": "c" * 32, "session_cache_ttl": 60, **PATIENT, **more}


def headers(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, cdp: CdpEmulator) -> Iterator[Both]:
    made = Both(request.param, options(cdp))
    yield made
    made.close()


class TestARenewedToken:
    def test_a_renewed_token_is_the_same_user(self, call: Both, cdp: CdpEmulator) -> None:
        browser = CdpBrowser(cdp)
        first = call("authenticate", headers(browser.access_token()))
        second = call("authenticate", headers(browser.renew()))
        assert (first.user.id, first.user.scope) == (second.user.id, second.user.scope)
        assert first.session.id != second.session.id
        assert len(call.client.revocations) == 0

    def test_of_a_user_who_was_revoked_before_is_a_new_one(self, call: Both, cdp: CdpEmulator) -> None:
        """No claim says when the user signed in. The document says so."""
        browser = CdpBrowser(cdp)
        old = cdp.token(age=60)
        for token in (old, browser.access_token()):
            assert call("authenticate", headers(token)).is_authenticated
        call.client.revocations.add(user_id=browser.user_id)
        for token in (old, browser.access_token()):
            assert call("authenticate", headers(token)).is_rejected
        assert call("authenticate", headers(cdp.token(iat=int(time.time()) + 2))).is_authenticated

    def test_a_connection_is_renewed(self, cdp: CdpEmulator, transport: str) -> None:
        browser = CdpBrowser(cdp)
        eve = cdp.sign_in("eve@example.com").access_token

        async def main() -> None:
            async with AsyncMoonKey(**options(cdp)) as client:
                first = browser.access_token()
                auth = await client.authenticate(headers(first))
                bound = client.bind(auth, headers(first))
                end = asyncio.create_task(bound.session_end())
                await asyncio.sleep(0)
                with pytest.raises(AuthenticationError):
                    await bound.renew(eve)
                newer = browser.renew()
                renewed = await bound.renew(newer)
                assert renewed.user is not None, renewed.error
                assert renewed.user.id == browser.user_id
                client.revocations.add(user_id=browser.user_id)
                async with asyncio.timeout(PATIENCE):
                    assert await end == "revoked"

        asyncio.run(main())


class TestSignOut:
    def test_sign_out_is_half_of_it(self, call: Both, cdp: CdpEmulator) -> None:
        browser, events = CdpBrowser(cdp), list[Event]()
        call.client.hooks.add(events.append)
        token = browser.access_token()
        visitor = Visitor(call, html=False, mode="header")
        answer = visitor.post("sign_out", authorization=f"Bearer {token}")
        assert answer.status == 200
        assert json.loads(answer.body) == {
            "signed_out": True,
            "complete": False,
            "revocation": "local",
            "provider_sign_out": True,
        }
        assert call("authenticate", headers(token)).is_rejected
        (event,) = [one for one in events if isinstance(one, SignedOut)]
        assert (event.user_id, event.complete, event.scope) == (browser.user_id, False, f"cdp:{cdp.project_id}")
        # The front end has not called signOut() yet, so its SDK goes on.
        assert call("authenticate", headers(browser.renew())).is_authenticated
        browser.sign_out()
        with pytest.raises(ValueError, match="signed out"):
            browser.access_token()

    def test_the_sdk_alone_leaves_the_token_good(self, call: Both, cdp: CdpEmulator) -> None:
        browser = CdpBrowser(cdp)
        token = browser.access_token()
        browser.sign_out()
        assert call("authenticate", headers(token)).is_authenticated

    def test_while_cdp_is_down(self, call: Both, cdp: CdpEmulator) -> None:
        token = cdp.sign_in().access_token
        cdp.stop()
        answer = Visitor(call, html=False, mode="header").post("sign_out", authorization=f"Bearer {token}")
        assert json.loads(answer.body)["provider_sign_out"] is True
        cdp.start()
        assert call("authenticate", headers(token)).is_rejected

    def test_without_a_credential(self, call: Both) -> None:
        answer = Visitor(call, html=False, mode="header").post("sign_out")
        assert json.loads(answer.body) == {
            "signed_out": True,
            "complete": True,
            "revocation": "local",
            "provider_sign_out": True,
        }

    @pytest.mark.parametrize("route", ["sessions", "revoke", "revoke_others"])
    def test_devices_cannot_be_had(self, call: Both, cdp: CdpEmulator, route: str) -> None:
        visitor = Visitor(call, html=False, mode="header")
        send = visitor.get if route == "sessions" else visitor.post
        found = send(route, authorization=f"Bearer {cdp.sign_in().access_token}")
        assert found.status == 501
        assert "names no session" not in found.body.decode()  # what to do is for the operator
        assert json.loads(found.body)["status"] == 501

    def test_the_pages_do_not_show_devices(self, cdp: CdpEmulator) -> None:
        call = Both("sync", options(cdp, cookies={"session_name": SESSION}))
        try:
            browser = Visitor(call)
            browser.cookies = {SESSION: cdp.sign_in().access_token}
            asked = browser.get("sign_out")
            assert asked.page is not None
            assert asked.page.context["has_devices"] is False
            assert "/auth/sessions" not in read_page(asked.page).html
            done = browser.post("sign_out")
            assert done.page is not None
            assert "/auth/sign-in" not in read_page(done.page).html
            assert SESSION not in browser.cookies
        finally:
            call.close()


class TestTheFleet:
    @pytest.fixture
    def redis(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
        need_redis()
        monkeypatch.setattr(store_module, "TIMEOUT", 10.0)
        with RedisServer() as running:
            yield running

    def test_shares_replies_and_no_credential_is_in_redis(self, cdp: CdpEmulator, redis: RedisServer) -> None:
        ada = cdp.sign_in("ada@example.com")
        cdp.add_wallets(ada.user_id)
        shared = options(cdp, redis_url=redis.url)
        users = []
        for _ in range(2):
            with MoonKey(**shared) as client:
                auth = client.authenticate(headers(ada.access_token))
                assert auth.user is not None, auth.error
                users.append((auth.user.id, len(auth.user.wallets)))
        assert users == [(ada.user_id, 3)] * 2
        assert sum(count for route, count in cdp.requests().items() if "validate" in route) == 1
        kept = [key for key in redis.client.scan_iter() if redis.client.type(key) == b"string"]
        stored = str(kept) + str([redis.client.get(key) for key in kept])
        for secret in (ada.access_token, ada.user_id, "ada@example.com", cdp.api_key_secret):
            assert secret not in stored

    def test_a_sign_out_holds_in_all_processes(self, cdp: CdpEmulator, redis: RedisServer) -> None:
        shared = options(cdp, redis_url=redis.url)
        ada = cdp.sign_in("ada@example.com")
        one = Both("sync", shared)
        try:
            from moonkey_core.redis import shared as feeds

            assert one("authenticate", headers(ada.access_token)).is_authenticated
            feeds._tables.clear()  # as another process has its own
            feeds._feeds.clear()
            with MoonKey(**shared) as other:
                assert other.authenticate(headers(ada.access_token)).is_authenticated
                Visitor(one, html=False, mode="header").post(
                    "sign_out", authorization=f"Bearer {ada.access_token}"
                )
                assert wait_until(lambda: other.authenticate(headers(ada.access_token)).is_rejected)
        finally:
            one.close()


class TestCustomAuthentication:
    """CDP takes the JWT of the app's own issuer then, and the provider of the app is that issuer."""

    def test_a_fresh_jwt_at_each_request(self, oidc: OidcEmulator) -> None:
        began = int(time.time()) - 300
        with MoonKey(provider=OIDC(oidc.issuer, oidc.audience), max_cached_sessions=8, timeout=PATIENCE) as client:

            def fresh(at: int = 0) -> str:
                return oidc.token(
                    email="ada@example.com", iat=int(time.time()) + at, auth_time=began, drop=["sid"]
                )

            found = [client.authenticate(headers(fresh(-age))) for age in range(40)]
            assert len({(auth.user.scope, auth.user.id) for auth in found if auth.user is not None}) == 1
            assert all(auth.is_authenticated for auth in found)
            assert len({auth.session.id for auth in found if auth.session is not None}) == 40
            assert len(client._core.cache._entries) <= 8
            assert len(client.revocations) == 0
            user = found[0].user
            assert user is not None
            client.revocations.add(user_id=user.id)
            assert client.authenticate(headers(fresh(2))).is_rejected  # it was issued after that
            assert len(client.revocations) == 1

    def test_needs_no_call_and_signs_out_here(self, oidc: OidcEmulator) -> None:
        call = Both("sync", {"provider": OIDC(oidc.issuer, oidc.audience), **PATIENT})
        try:
            token = oidc.sign_in().access_token
            answer = Visitor(call, html=False, mode="header").post("sign_out", authorization=f"Bearer {token}")
            assert json.loads(answer.body) == {"signed_out": True, "complete": True, "revocation": "local"}
            assert call("authenticate", headers(token)).is_rejected
        finally:
            call.close()


class TestSeveralProviders:
    def test_each_sees_its_own_tokens_only(self, cdp: CdpEmulator, oidc: OidcEmulator) -> None:
        own = options(cdp)
        generic = OIDC(oidc.issuer, oidc.audience)
        with MoonKey(providers=[generic, own.pop("provider")], **own) as client:
            there = oidc.sign_in().access_token
            assert client.authenticate(headers(there)).provider == "oidc"
            assert cdp.requests() == {}
            auth = client.authenticate(headers(cdp.sign_in().access_token))
            assert (auth.is_authenticated, auth.provider) == (True, "cdp")
            assert client.authenticate(headers(cdp.token(iss="https://evil.example"))).is_rejected

    def test_beside_moonkey(self, cdp: CdpEmulator, emulator: Emulator) -> None:
        """All in one header: an opaque token is MoonKey's, as one of CDP is always a JWT."""
        own = options(cdp, secret_key=emulator.secret_key, base_url=emulator.base_url)
        with MoonKey(providers=["moonkey", own.pop("provider")], **own) as client:
            auth = client.authenticate(headers(emulator.sign_in().session_token))
            assert (auth.is_authenticated, auth.provider) == (True, "moonkey")
            assert cdp.requests() == {}
            emulator.clear_requests()
            auth = client.authenticate(headers(cdp.sign_in().access_token))
            assert (auth.is_authenticated, auth.provider) == (True, "cdp")
            assert emulator.requests() == {}

    def test_a_log_line_names_the_cause_and_no_token(
        self, cdp: CdpEmulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        token = cdp.token(project_id="another")
        with caplog.at_level(logging.DEBUG), MoonKey(**options(cdp)) as client:
            assert client.authenticate(headers(token)).is_rejected
        assert token not in caplog.text


def test_the_browser_is_told_when_its_sign_in_is_over(cdp: CdpEmulator) -> None:
    browser = CdpBrowser(cdp)
    cdp.set_clock(8 * 86_400)
    with pytest.raises(CdpError):
        browser.access_token()
