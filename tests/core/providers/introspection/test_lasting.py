"""What outlives a request: connections, sign-out, the replies that the processes of an app share, a lost feed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from moonkey_core import AsyncMoonKey, Auth, AuthenticationError, CookieSettings, MoonKey, ProviderUnavailable
from moonkey_core.events import Event, SignedOut
from moonkey_core.gate import Requirements
from moonkey_core.providers.introspection.provider import Introspection
from moonkey_core.redis import store as store_module
from support.authorization_server import (
    API,
    CLIENT,
    ISSUER,
    SECRET,
    AuthorizationServer,
    about,
    authorization_server,
)
from support.clients import Both
from support.flow_visits import SESSION, Visitor
from support.patience import PATIENCE, PATIENT
from support.redis_server import RedisServer, need_redis
from support.scripted import reply, wait_until

TOKEN = "2YotnFZFEjr1zCsicMWpAA"
OTHER = "tGzv3JOkF0XG5Qx2TlKWIA"
FRESH = Requirements(max_staleness=0.0)


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    with authorization_server() as running:
        running.tokens.update({TOKEN: about(), OTHER: about()})
        yield running


def headers(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def options(server: AuthorizationServer, *, can_revoke: bool = True, **more: Any) -> dict[str, Any]:
    endpoint = Introspection(
        server.url,
        issuer=ISSUER,
        audience=API,
        client_id=CLIENT,
        client_secret=SECRET,
        revocation_url=server.revocation_url if can_revoke else None,
    )
    return {"provider": endpoint, "cache_secret": "c" * 32, **PATIENT, **more}


class TestAConnection:
    def test_ends_when_its_token_is_found_dead_and_that_of_another_token_does_not(
        self, server: AuthorizationServer, transport: str
    ) -> None:
        async def main() -> None:
            async with AsyncMoonKey(**options(server)) as client:
                ends = []
                for token in (TOKEN, OTHER):
                    auth = await client.authenticate(headers(token))
                    ends.append(asyncio.create_task(client.session_end(auth, headers(token))))
                await asyncio.sleep(0)
                del server.tokens[TOKEN]
                asked = server.asked(OTHER)
                assert (await client.authenticate(headers(TOKEN), FRESH)).is_rejected
                async with asyncio.timeout(PATIENCE):
                    assert await ends[0] == "revoked"
                # It is of the same session, and has to be confirmed.
                assert await asyncio.to_thread(wait_until, lambda: server.asked(OTHER) > asked)
                assert (await client.authenticate(headers(OTHER))).is_authenticated
                assert not ends[1].done()
                ends[1].cancel()

        asyncio.run(main())

    @pytest.mark.parametrize("session", [{}, {"sid": ...}], ids=["of a session", "of none"])
    def test_is_renewed_with_a_newer_token(
        self, server: AuthorizationServer, session: dict[str, Any], transport: str
    ) -> None:
        later = int(time.time()) + 900
        server.tokens.update(
            {TOKEN: about(**session), OTHER: about(exp=later, **session), "token-of-eve": about("eve")}
        )

        async def main() -> None:
            async with AsyncMoonKey(**options(server)) as client:
                auth = await client.authenticate(headers(TOKEN))
                bound = client.bind(auth, headers(TOKEN))
                end = asyncio.create_task(bound.session_end())
                await asyncio.sleep(0)
                with pytest.raises(AuthenticationError):
                    await bound.renew("token-of-eve")
                renewed = await bound.renew(OTHER)
                assert renewed.session is not None, renewed.error
                assert renewed.session.expires_at.timestamp() == later
                del server.tokens[TOKEN]
                assert (await client.authenticate(headers(TOKEN))).is_rejected
                assert (await client.authenticate(headers(OTHER))).is_authenticated
                assert not end.done()
                end.cancel()

        asyncio.run(main())

    def test_goes_on_in_an_outage(self, server: AuthorizationServer, transport: str) -> None:
        async def main() -> None:
            async with AsyncMoonKey(**options(server)) as client:
                auth = await client.authenticate(headers(TOKEN))
                end = asyncio.create_task(client.session_end(auth, headers(TOKEN)))
                await asyncio.sleep(0)
                server.fault = reply(503)
                assert isinstance((await client.authenticate(headers(TOKEN))).error, ProviderUnavailable)
                server.fault = None
                assert (await client.authenticate(headers(TOKEN))).is_authenticated
                assert not end.done()
                end.cancel()

        asyncio.run(main())


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class TestSigningOut:
    def signed_out(self, call: Both, token: str = TOKEN) -> tuple[Visitor, list[Event]]:
        found: list[Event] = []
        call.client.hooks.add(found.append)
        browser = Visitor(call, html=False)
        browser.cookies = {SESSION: token}
        assert browser.post("sign_out").status in (200, 204)
        return browser, [event for event in found if isinstance(event, SignedOut)]

    def test_revokes_the_token_in_the_cookie(self, server: AuthorizationServer, kind: str) -> None:
        call = Both(kind, options(server, cookies=CookieSettings()))
        try:
            browser, events = self.signed_out(call)
            assert server.calls[-1] == ("/revoke", {"token": TOKEN, "token_type_hint": "access_token"})
            assert [event.complete for event in events if isinstance(event, SignedOut)] == [True]
            assert not browser.cookies.get(SESSION)
            assert TOKEN not in server.tokens
        finally:
            call.close()

    def test_is_here_alone_where_the_server_revokes_nothing(self, server: AuthorizationServer, kind: str) -> None:
        call = Both(kind, options(server, can_revoke=False, cookies=CookieSettings()))
        try:
            browser, _ = self.signed_out(call)
            assert not browser.cookies.get(SESSION)
            assert {path for path, _ in server.calls} == {"/introspect"}
            auth: Auth = call("authenticate", headers(TOKEN))
            assert auth.is_rejected
        finally:
            call.close()

    def test_is_tried_again_with_the_token(
        self, server: AuthorizationServer, monkeypatch: pytest.MonkeyPatch, quick_retries: None
    ) -> None:
        monkeypatch.setattr("moonkey_core._operations.ending_retries._FIRST_PAUSE", 0.001)
        assert server.server is not None
        failures = [reply(503)] * 2

        def script(request: Any) -> bytes:
            if request.path == "/revoke" and failures:
                return failures.pop()
            return server(request)

        server.server.script = script
        call = Both("sync", options(server, cookies=CookieSettings()))
        try:
            browser = Visitor(call, html=False)
            browser.cookies = {SESSION: TOKEN}
            browser.post("sign_out")
            assert wait_until(lambda: TOKEN not in server.tokens)
        finally:
            call.close()


class TestRevokingByAnId:
    def test_is_not_possible_and_nothing_is_done(self, server: AuthorizationServer) -> None:
        from moonkey_core import NotSupported

        with MoonKey(**options(server)) as client:
            with pytest.raises(NotSupported, match="pass the token"):
                client.sessions.revoke(session_id="session-of-ada")
            assert client.authenticate(headers(TOKEN)).is_authenticated
        with MoonKey(**options(server, can_revoke=False)) as client:
            with pytest.raises(NotSupported):
                client.sessions.revoke(session_token=TOKEN)
            assert client.authenticate(headers(TOKEN)).is_authenticated
            for call in (lambda: client.sessions.list("ada"), lambda: client.users.get("ada")):
                with pytest.raises(NotSupported):
                    call()


class TestTheFleet:
    @pytest.fixture
    def redis(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
        need_redis()
        monkeypatch.setattr(store_module, "TIMEOUT", 10.0)
        with RedisServer() as running:
            yield running

    def test_shares_replies_and_no_credential_is_in_redis(
        self, server: AuthorizationServer, redis: RedisServer
    ) -> None:
        shared = options(server, redis_url=redis.url, session_cache_ttl=60)
        users = []
        for _ in range(2):
            with MoonKey(**shared) as client:
                auth = client.authenticate(headers(TOKEN))
                assert auth.user is not None, auth.error
                users.append(auth.user.id)
        assert users == ["ada", "ada"]
        assert server.asked() == 1
        kept = [(key, redis.client.type(key)) for key in redis.client.scan_iter()]
        stored = json.dumps([str(key) for key, _ in kept]) + str(
            [redis.client.get(key) for key, type_ in kept if type_ == b"string"]
        )
        assert b"string" in [type_ for _, type_ in kept]
        for secret in (TOKEN, SECRET, "of-ada", ISSUER):  # "ada" alone may be part of a digest
            assert secret not in stored

    def test_of_two_audiences_shares_no_reply(self, server: AuthorizationServer, redis: RedisServer) -> None:
        shared = options(server, redis_url=redis.url, session_cache_ttl=60)
        with MoonKey(**shared) as client:
            assert client.authenticate(headers(TOKEN)).is_authenticated
        other = Introspection(
            server.url, issuer=ISSUER, audience="https://other.example", client_id=CLIENT, client_secret=SECRET
        )
        with MoonKey(**{**shared, "provider": other}) as client:
            assert client.authenticate(headers(TOKEN)).is_rejected

    def test_without_its_feed_asks_about_each_token(self, server: AuthorizationServer, redis: RedisServer) -> None:
        shared = options(server, redis_url=redis.url, session_cache_ttl=60, max_revocation_lag=0.5)
        with MoonKey(**shared) as client:
            assert client.authenticate(headers(TOKEN)).is_authenticated
            redis.kill()
            asked = server.asked()

            def asks_again() -> bool:
                assert client.authenticate(headers(TOKEN)).is_authenticated
                return server.asked() > asked

            assert wait_until(asks_again)
