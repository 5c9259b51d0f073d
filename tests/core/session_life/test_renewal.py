"""A connection goes on with a newer credential of the same user and session, and with no other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from moonkey_core import (
    AsyncMoonKey,
    Auth,
    ExpiredCredentials,
    InvalidCredentials,
    MalformedCredentials,
    MoonKey,
    MoonKeyError,
    PermissionDenied,
    ProviderUnavailable,
    RevokedCredentials,
)
from moonkey_core._plan import run
from moonkey_core._session_life.bound import BoundSession
from moonkey_core._session_life.watchers import AsyncSessionWatcher, SessionWatcher
from moonkey_core.auth import new_auth
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.emulator.oidc.server import OidcEmulator
from moonkey_core.gate import Requirements, require
from moonkey_core.provider import OIDC, Introspection
from moonkey_core.revocations import Revocations
from moonkey_core.streams import abound_items, bound_items
from support.clients import MakeAsyncClient, MakeClient
from support.cookie_visits import GET, JWT, SESSION
from support.decisions import NOW
from support.odd_jwts import good
from support.patience import PATIENCE
from support.scripted_api import KnownToTheApi
from support.watched_sessions import StillLoop, identity

TOKEN, NEXT = "session_" + "t" * 40, "session_" + "n" * 40
OLDER, LATER, TOO_OLD = good(NOW - 20), good(NOW - 10), good(NOW - 400)
OTHERS = good(NOW - 5, sub="user_2", session={"user_id": "user_2"})
ANOTHER = good(NOW - 5, session={"id": "sess_2"})

pytestmark = pytest.mark.rule("S52", "connection")


@pytest.fixture
def loop() -> Iterator[StillLoop]:
    loop = StillLoop()
    yield loop
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.settle()
    loop.close()


class TestTheEnd:
    """By a clock that stands still."""

    def test_it_moves_both_ways(self, loop: StillLoop) -> None:
        watcher = AsyncSessionWatcher(Revocations(retention=300, clock=loop.clock), clock=loop.clock)
        for ends_at in (2000, 500):
            began = loop.now
            watched = watcher.watch(identity(ends_at=began + 1000), can_verify=False)
            task = loop.begin(watcher.wait(watched, None))
            watcher.renew(watched, identity(ends_at=began + ends_at), ())
            loop.settle()
            for _ in range(ends_at - 1):
                loop.advance(1)
            assert not task.done()

            async def verify() -> Auth:
                return new_auth(error=ExpiredCredentials())

            loop.advance(1)
            assert task.result() == "expired"
            assert len(watcher) == 0

    def test_what_was_asked_before_says_nothing(self, loop: StillLoop) -> None:
        """The old credential was being verified, and turns out to be dead after it has been renewed."""
        watcher = AsyncSessionWatcher(Revocations(retention=300, clock=loop.clock), clock=loop.clock)
        answer: asyncio.Future[Auth] = loop.create_future()
        watched = watcher.watch(identity(ends_at=NOW + 10), can_verify=True)

        async def verify() -> Auth:
            return await answer

        task = loop.begin(watcher.wait(watched, verify))
        loop.advance(10)
        watcher.renew(watched, identity(ends_at=NOW + 100), ())
        answer.set_result(new_auth(error=ExpiredCredentials()))
        loop.settle()
        assert not task.done()
        loop.advance(89)
        assert not task.done()
        loop.advance(1)
        assert task.result() == "expired"

    def test_what_is_over_stays_over(self, loop: StillLoop) -> None:
        revocations = Revocations(retention=300, clock=loop.clock)
        watcher = SessionWatcher(revocations, clock=loop.clock)
        ended = watcher.watch(identity(ends_at=NOW), can_verify=False)
        with pytest.raises(ExpiredCredentials):
            watcher.renew(ended, identity(ends_at=NOW + 100), ())
        assert watcher.is_over(ended, None)
        with watcher.watching(identity(), can_verify=False) as watched:
            revocations.add(session_id="sess_1")
            with pytest.raises(RevokedCredentials):
                watcher.renew(watched, identity(ends_at=NOW + 2000), ())
            assert watcher.is_over(watched, None)

    def test_revoked_between_its_verification_and_the_renewal(self, loop: StillLoop) -> None:
        revocations = Revocations(retention=300, clock=loop.clock)
        watcher = SessionWatcher(revocations, clock=loop.clock)
        watched = watcher.watch(identity(started_at=NOW - 10), can_verify=False)
        revocations.add(user_id="user_1", issued_before=NOW - 50)
        with watcher.watching_for(watched):
            assert not watcher.is_over(watched, None)
            watcher.renew(watched, identity(started_at=NOW - 100), ())
            assert watcher.is_over(watched, None)


class App(KnownToTheApi):
    """One process of an app, whose connections are judged by the real decision; nothing goes over a socket."""

    def __init__(self, **options: Any) -> None:
        super().__init__([TOKEN, NEXT, OLDER, LATER, OTHERS, ANOTHER], **{"cookies": True, **options})
        for changes in self.good.values():
            changes["session"] = {"started_at": int(NOW) - 3600}
        self.good[OTHERS] = {"user": {"id": "user_2"}, "session": {"user_id": "user_2"}}
        self.watcher = SessionWatcher(self.core.revocations, clock=lambda: self.now)

    def bind(self, **lines: str) -> BoundSession:
        """A connection that was begun with these lines."""
        headers = self.lines({name.replace("_", "-"): [line] for name, line in lines.items()})

        def authenticate(view: Any, requirements: Any, info: Any) -> Auth:
            begun = self.core.begin(view, requirements, info)
            return begun if isinstance(begun, Auth) else run(self.core.finish(begun, requirements), self.exchange)

        digests = self.core.credential_digests
        auth = authenticate(headers, None, GET)
        assert auth.is_authenticated
        return BoundSession(self.core.settings, self.watcher, digests, authenticate, auth, headers, GET)


BEGUN: dict[str, dict[str, str]] = {
    "token": {"session_token": TOKEN},
    "bearer": {"authorization": f"Bearer {TOKEN}"},
    "jwt": {"authorization": f"Bearer {OLDER}"},
    "cookie": {"cookie": f"{SESSION}={TOKEN}"},
    "pair": {"cookie": f"{SESSION}={TOKEN}; {JWT}={OLDER}; theme=dark"},
}


class TestCredentials:
    @pytest.mark.parametrize("kind", BEGUN)
    @pytest.mark.parametrize("newer", [NEXT, LATER])
    def test_a_newer_one_takes_its_place(self, kind: str, newer: str) -> None:
        """A report on the one of before is of no concern any more, and one on the newer one is."""
        app = App()
        bound, left = app.bind(**BEGUN[kind]), app.bind(**BEGUN[kind])
        with bound.watching(), left.watching():
            auth = require(bound.renew(newer))
            assert (auth.user.id, auth.session.id) == ("user_1", "sess_1")
            assert bound.auth is auth
            app.now += 5
            old, new = left._watched._credentials, bound._watched._credentials
            assert old != new
            app.core.revocations.add_report(credentials=old)
            assert (left.is_over(), bound.is_over()) == (True, False)
            app.now += 5
            app.core.revocations.add_report(credentials=new)
            assert bound.is_over()

    @pytest.mark.parametrize("kind", BEGUN)
    def test_the_newer_one_is_asked_about_at_the_end(self, kind: str) -> None:
        app = App()
        bound = app.bind(**BEGUN[kind])
        with bound.watching():
            bound.renew(NEXT)
            del app.good[TOKEN], app.good[OLDER]
            app.now = bound._watched.ends_at
            app.good[NEXT] = {"session": {"expires_at": int(app.now) + 1000}}
            assert not bound.is_over()
            app.now = bound._watched.ends_at
            del app.good[NEXT]
            assert bound.is_over()

    @pytest.mark.parametrize("kind", BEGUN)
    @pytest.mark.parametrize(
        ("credential", "error"),
        [
            (OTHERS, InvalidCredentials),
            (ANOTHER, InvalidCredentials),
            ("session_" + "x" * 40, InvalidCredentials),
            (TOO_OLD, InvalidCredentials),
            (LATER[:-8] + "AAAAAAAA", InvalidCredentials),
            ("", MalformedCredentials),
            ("a b", MalformedCredentials),
            ("a\r\nCookie: b", MalformedCredentials),
            (f"{NEXT}; {SESSION}={TOKEN}", MalformedCredentials),
            ("x" * 10_000, MalformedCredentials),
            (7, MalformedCredentials),
            (None, MalformedCredentials),
        ],
    )
    def test_any_other_changes_nothing(self, kind: str, credential: Any, error: type[MoonKeyError]) -> None:
        app = App(refresh_jwt=False)
        bound = app.bind(**BEGUN[kind])
        before, ends_at = bound.auth, bound._watched.ends_at
        with bound.watching():
            with pytest.raises(error) as refused:
                bound.renew(credential)
            assert not bound.is_over()
            assert (bound.auth, bound._watched.ends_at) == (before, ends_at)
            if credential in (OTHERS, ANOTHER):
                assert refused.value.reason == "renewal_refused"
                assert isinstance(refused.value, InvalidCredentials)
                assert not refused.value.session_is_over
            bound.renew(NEXT)

    def test_an_older_jwt_is_refused_and_the_same_one_is_not(self) -> None:
        app = App()
        bound = app.bind(session_token=LATER)
        with bound.watching():
            with pytest.raises(InvalidCredentials, match="older"):
                bound.renew(OLDER)
            assert require(bound.renew(LATER)).session.id == "sess_1"
            assert not bound.is_over()

    def test_one_that_is_expired_or_revoked(self) -> None:
        app = App(refresh_jwt=False)
        bound = app.bind(session_token=OLDER)
        with bound.watching():
            with pytest.raises(ExpiredCredentials):
                bound.renew(TOO_OLD)
            app.core.revocations.add(session_id="sess_2")
            with pytest.raises(RevokedCredentials):
                bound.renew(ANOTHER)
            assert not bound.is_over()

    def test_trouble_is_trouble(self) -> None:
        app = App()
        bound = app.bind(session_token=OLDER)
        with bound.watching():
            app.down = True
            with pytest.raises(ProviderUnavailable):
                bound.renew(NEXT)
            app.down = False
            assert not bound.is_over()
            assert bound.renew(NEXT).is_authenticated

    def test_what_the_route_asks_for(self) -> None:
        app = App()
        bound = app.bind(session_token=OLDER)
        with bound.watching():
            with pytest.raises(PermissionDenied):
                bound.renew(LATER, roles={"admin"})
            assert bound.auth.source == "local"
            assert not bound.is_over()

    def test_no_other_credential_of_the_handshake_counts(self) -> None:
        app = App()
        bound = app.bind(session_token=OLDER, cookie=f"{SESSION}={TOKEN}")
        bound.renew(LATER)
        assert bound._headers is not None
        assert list(bound._headers("session-token")) == [LATER]
        assert not bound._headers("cookie")


@pytest.fixture
def ada(emulator: Emulator) -> SignedIn:
    return emulator.sign_in(email="ada@example.com")


def stepped_up(emulator: Emulator, person: SignedIn) -> str:
    """The token that takes the place of a person's, which is dead from then on."""
    with MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url) as client:
        secret = client.totps.create(user_id=person.user_id).secret
        login = client.totps.verify(
            emulator.totp_code(secret), user_id=person.user_id, session_token=person.session_token
        )
    assert login.session_token is not None
    return login.session_token


class TestClients:
    def test_a_task(self, emulator: Emulator, make_async_client: MakeAsyncClient, ada: SignedIn) -> None:
        async def go() -> None:
            headers = {"Session-Token": ada.session_token}
            async with make_async_client() as client:
                auth = await client.authenticate(headers)
                bound = client.bind(auth, headers)
                renewed, other = asyncio.create_task(bound.session_end()), asyncio.create_task(end(client, ada))
                await asyncio.sleep(0)
                newer = await asyncio.to_thread(stepped_up, emulator, ada)
                assert require(await bound.renew(newer)).session.id == ada.session_id
                assert (await client.authenticate(headers)).is_rejected  # a late request with the old token
                async with asyncio.timeout(PATIENCE):
                    assert await other == "revoked"
                await asyncio.sleep(0.05)
                assert not renewed.done()
                client.revocations.add(session_id=ada.session_id)
                async with asyncio.timeout(PATIENCE):
                    assert await renewed == "revoked"
                with pytest.raises(InvalidCredentials):
                    await bound.renew(newer)

        asyncio.run(go())

    def test_a_stream_in_a_task(
        self, emulator: Emulator, make_async_client: MakeAsyncClient, ada: SignedIn
    ) -> None:
        async def items() -> Any:
            for number in range(3):
                yield number
            await asyncio.get_running_loop().create_future()

        async def go() -> None:
            headers = {"session-token": ada.session_token}
            async with make_async_client() as client:
                stream = abound_items(client, await client.authenticate(headers), items(), headers)
                assert await anext(stream) == 0
                await stream.renew(await asyncio.to_thread(stepped_up, emulator, ada))
                assert (await client.authenticate(headers)).is_rejected
                assert await anext(stream) == 1
                client.revocations.add(session_id=ada.session_id)
                async with asyncio.timeout(PATIENCE):
                    assert [item async for item in stream] in ([], [2])  # the loop has to be told first

        asyncio.run(go())

    def test_a_stream_in_a_thread(self, emulator: Emulator, make_client: MakeClient, ada: SignedIn) -> None:
        headers, client = {"session-token": ada.session_token}, make_client()
        seen: list[str] = []
        stream = bound_items(
            client,
            client.authenticate(headers),
            iter(int, 1),
            headers,
            on_renewed=lambda auth, view: seen.append(auth.state),
        )
        assert next(stream) == 0
        newer = stepped_up(emulator, ada)
        thread = threading.Thread(target=stream.renew, args=(newer,))
        thread.start()
        thread.join(PATIENCE)
        assert seen == ["authenticated"]
        assert client.authenticate(headers).is_rejected
        assert next(stream) == 0
        with pytest.raises(InvalidCredentials):
            stream.renew(emulator.sign_in(email="eve@example.com").session_token)
        assert next(stream) == 0
        client.revocations.add(session_id=ada.session_id)
        assert list(stream) == []

    def test_without_headers(self, make_client: MakeClient, ada: SignedIn) -> None:
        client = make_client()
        bound = client.bind(client.authenticate({"session-token": ada.session_token}))
        with bound.watching():
            assert require(bound.renew(ada.session_token)).user.id == ada.user_id
            assert not bound.is_over()
        with pytest.raises(ValueError, match="Nobody is signed in"):
            client.bind(new_auth())


async def end(client: AsyncMoonKey, person: SignedIn) -> str:
    headers = {"session-token": person.session_token}
    return await client.session_end(await client.authenticate(headers), headers)


def refusal(bound: BoundSession, credential: str) -> str:
    with pytest.raises(MoonKeyError) as refused:
        bound.renew(credential)
    return refused.value.reason


class TestOtherProviders:
    def test_opaque_tokens(self, oidc: OidcEmulator) -> None:
        """The end is that of the token, so an older one of the same session does not take its place."""
        introspection = Introspection(
            oidc.introspection_url,
            issuer=oidc.issuer,
            audience=oidc.audience,
            client_id="demo-api",
            client_secret=oidc.client_secret,
        )
        mine: dict[str, Any] = {"user_id": "u1", "session_id": "s1", "life": 100}
        unnamed: dict[str, Any] = {"user_id": "u1", "drop": ["sid"]}
        with MoonKey(provider=introspection) as client:
            headers = {"authorization": f"Bearer {oidc.opaque_token(**mine)}"}
            bound = client.bind(client.authenticate(headers), headers)
            for wrong in (
                oidc.opaque_token(age=50, **mine),
                oidc.opaque_token(age=50, drop=["iat"], **mine),
                oidc.opaque_token(**{**mine, "user_id": "u2"}),
                oidc.opaque_token(**{**mine, "session_id": "s2"}),
                oidc.opaque_token(**unnamed),
            ):
                assert refusal(bound, wrong) == "renewal_refused"
            newer = oidc.opaque_token(**{**mine, "life": 300})
            assert require(bound.renew(newer)).user.id == "u1"
            with bound.watching():
                assert not bound.is_over()
                oidc.revoke(newer)
                assert client.authenticate(
                    {"authorization": f"Bearer {newer}"}, Requirements(max_staleness=0)
                ).error
                assert bound.is_over()
            headers = {"authorization": f"Bearer {oidc.opaque_token(life=100, **unnamed)}"}
            bound = client.bind(client.authenticate(headers), headers)
            assert require(bound.renew(oidc.opaque_token(life=300, **unnamed))).user.id == "u1"
            assert refusal(bound, oidc.opaque_token(life=50, age=40, **unnamed)) == "renewal_refused"

    def test_a_credential_of_another_provider(self, oidc: OidcEmulator, emulator: Emulator) -> None:
        """Equal ids of two providers are of two users; and neither is asked about the other's."""
        person = emulator.sign_in(email="ada@example.com")
        own = OIDC(oidc.issuer, oidc.audience, keys=oidc.jwks())
        with MoonKey(
            providers=["moonkey", own],
            secret_key=emulator.secret_key,
            base_url=emulator.base_url,
            jwt_issuer=emulator.issuer,
        ) as client:
            equal: dict[str, Any] = {"user_id": person.user_id, "session_id": person.session_id}
            first = {"session-token": person.session_jwt}
            bound = client.bind(client.authenticate(first), first)
            second = {"authorization": f"Bearer {oidc.token(**equal)}"}
            other = client.bind(client.authenticate(second), second)
            emulator.clear_requests()
            assert refusal(bound, oidc.token(**equal)) in ("no_credentials", "renewal_refused")
            assert refusal(other, person.session_jwt) in ("no_credentials", "renewal_refused")
            assert refusal(other, "an-opaque-credential") in ("no_credentials", "opaque_credential")
            assert emulator.requests() == {}
            assert require(bound.renew(person.session_token)).user.id == person.user_id
            assert require(other.renew(oidc.token(**equal))).user.id == person.user_id
