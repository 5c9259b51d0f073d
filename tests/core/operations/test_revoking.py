"""Ending sessions for good: refused here and in the fleet first, then ended at the API; what was not is raised."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from moonkey_core import (
    AsyncMoonKey,
    InvalidCredentials,
    MoonKey,
    MoonKeyError,
    NotFound,
    ProviderError,
    ProviderUnavailable,
    RequestRefused,
    RevocationIncomplete,
    RevokedCredentials,
)
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.revocations import Revocation
from support.clients import Both
from support.decisions import bearer
from support.flow_visits import Visitor, flow_client
from support.patience import PATIENT
from support.scripted import Received, reply, scripted
from support.visitors import SESSION

pytestmark = pytest.mark.usefixtures("quick_retries")

DELETE, LIST, VERIFY = (f"/v1/auth/sessions/{what}" for what in ("delete", "list", "verify"))
KINDS = ("session_id", "session_token", "session_jwt")


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, emulator: Emulator) -> Iterator[Both]:
    """A client that verifies JWTs by itself."""
    both = Both(
        request.param,
        {
            "secret_key": emulator.secret_key,
            "base_url": emulator.base_url,
            **PATIENT,
            "jwt_issuer": emulator.issuer,
        },
    )
    yield both
    both.close()


def told_of(call: Both) -> list[Revocation]:
    """What the fleet hears."""
    told: list[Revocation] = []
    call.client.revocations.listeners += (told.append,)
    return told


def seen(call: Both, credential: str) -> Any:
    return call("authenticate", bearer(credential))


def users_asked_for(emulator: Emulator) -> int:
    return sum(count for route, count in emulator.requests().items() if route.startswith("GET /v1/auth/users/"))


ENDED: dict[str, tuple[int, bytes | str]] = {
    "as documented": (200, '{"message": "Successfully deleted session"}'),
    "empty": (200, b""),
    "white space": (200, b" \r\n"),
    "a word": (200, "OK"),
    "a word with a line end": (200, "ok\n"),
    "created": (201, "{}"),
    "accepted": (202, "{}"),
    "accepted, empty": (202, b""),
    "no content": (204, b""),
    "another": (299, "{}"),
    "null": (200, "null"),
    "true": (200, "true"),
    "a list": (200, "[]"),
    "a text": (200, '"deleted"'),
    "a number": (200, "1"),
    "no error": (200, '{"error": null, "errors": [], "success": true, "status_code": 200}'),
}
GONE: dict[str, tuple[int, bytes | str]] = {
    "dead": (404, '{"error": {"code": "invalid_session", "message": "x"}}'),
    "dead, forbidden": (403, '{"error": {"code": "invalid_session", "message": "x"}}'),
    "no such": (404, '{"error_type": "session_not_found"}'),
    "expired": (410, '{"error_type": "session_expired"}'),
    "without a code": (404, '{"error": {"message": "no"}}'),
}
TROUBLE: dict[str, tuple[int, bytes | str]] = {
    "a page": (200, "<html>Sign in to the Wi-Fi</html>"),
    "a page with a word": (200, "<p>OK"),
    "cut off": (200, '{"message": "Succ'),
    "two documents": (200, "{} {}"),
    "smuggled members": (200, '1, "x": 2'),
    "other words": (200, "Service Unavailable"),
    "an error all the same": (200, '{"error": {"code": "internal", "message": "x"}}'),
    "an error as text": (200, '{"error": "no"}'),
    "a flat error": (200, '{"status_code": 500, "error_type": "internal"}'),
    "an error's status": (200, '{"status_code": 404}'),
    "errors": (202, '{"errors": [{"code": "x"}]}'),
    "no success": (200, '{"success": false}'),
    "not deleted": (200, '{"deleted": false}'),
    "false": (200, "false"),
    "not UTF-8": (200, b"\xff"),
    "elsewhere": (302, b""),
    "maintenance": (404, '{"error_type": "maintenance"}'),
    "no such route": (404, '{"error_type": "route_not_found"}'),
    "no such app": (404, '{"error": {"code": "app_not_found"}}'),
    "a page that is missing": (404, "<html>"),
    "a bare 401": (401, b""),
    "401 of a gateway": (401, '{"message": "Unauthorized"}'),
    "too many": (429, '{"error": {"code": "invalid_session", "message": "x"}}'),
    "down": (500, '{"error": {"code": "invalid_session", "message": "x"}}'),
}


@contextlib.contextmanager
def deleting(status: int, body: bytes | str) -> Iterator[MoonKey]:
    """A client of an API that answers so to the call that ends a session; the key is good."""

    def script(request: Received) -> bytes:
        if request.method == "DELETE":
            length = {} if status != 204 else {"content-length": "0"}
            return reply(status, body, length)
        return reply(404, {"error_type": "user_not_found"})

    with scripted(script) as server, MoonKey(secret_key="sk_test_x", base_url=server.url, timeout=30) as client:
        yield client


class TestTheAnswer:
    @pytest.mark.parametrize(("status", "body"), [*ENDED.values(), *GONE.values()], ids=[*ENDED, *GONE])
    def test_that_it_has_ended(self, status: int, body: bytes | str) -> None:
        with deleting(status, body) as client:
            assert client.sessions.revoke(session_id="sess_1") == "local"
            assert client.revocations.refuses("sess_1", "user_1", None)

    @pytest.mark.parametrize(("status", "body"), TROUBLE.values(), ids=TROUBLE)
    def test_that_is_none(self, status: int, body: bytes | str) -> None:
        with deleting(status, body) as client:
            with pytest.raises(ProviderUnavailable):
                client.sessions.revoke(session_id="sess_1")
            assert client.revocations.refuses("sess_1", "user_1", None)

    @pytest.mark.parametrize(
        ("status", "error"), [(400, RequestRefused), (402, ProviderError), (403, ProviderError)]
    )
    def test_that_it_may_not_be(self, status: int, error: type[MoonKeyError]) -> None:
        with deleting(status, '{"error_type": "invalid_request"}') as client:
            with pytest.raises(error):
                client.sessions.revoke(session_id="sess_1")
            assert client.revocations.refuses("sess_1", "user_1", None)


@pytest.mark.rule("S35")
class TestOneSession:
    @pytest.mark.parametrize("kind", KINDS)
    def test_it_is_refused_whatever_the_api_does(self, call: Both, emulator: Emulator, kind: str) -> None:
        person = emulator.sign_in()
        told = told_of(call)
        for trouble in ({"status": 500}, {"status": 404, "body": "<html>"}, {"reset": True}):
            emulator.clear_faults()
            emulator.fault(DELETE, **trouble)
            with pytest.raises(ProviderUnavailable):
                call("sessions.revoke", **{kind: getattr(person, kind)})
            assert {entry.session_id for entry in told} == {person.session_id}
            for credential in (person.session_token, person.session_jwt):
                assert isinstance(seen(call, credential).error, RevokedCredentials)

    @pytest.mark.parametrize("kind", ["session_token", "session_jwt"])
    @pytest.mark.parametrize("presented", ["header", "argument"])
    def test_a_credential_whose_session_nobody_can_tell(
        self, call: Both, emulator: Emulator, kind: str, presented: str
    ) -> None:
        """Not even the key set can be had: the credential itself is refused."""
        person = emulator.sign_in()
        credential = getattr(person, kind)
        emulator.fault("/v1/auth", status=500)
        with pytest.raises(ProviderUnavailable):
            call("sessions.revoke", **{kind: credential})
        emulator.clear_faults()
        if presented == "header":
            assert seen(call, credential).is_rejected
        else:
            with pytest.raises(InvalidCredentials):
                call("sessions.verify", **{kind: credential})

    def test_the_api_is_told_although_it_could_not_say_whose_it_is(self, call: Both, emulator: Emulator) -> None:
        person = emulator.sign_in()
        emulator.fault(VERIFY, status=500)
        assert call("sessions.revoke", session_token=person.session_token) == "local"
        emulator.clear_faults()
        assert seen(call, person.session_token).is_rejected
        assert call("sessions.list", person.user_id) == ()

    def test_what_is_remembered_tells_whose_it_is(self, emulator: Emulator) -> None:
        options: dict[str, Any] = {"session_cache_ttl": 60, "jwt_issuer": emulator.issuer}
        with MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url, **options) as client:
            person = emulator.sign_in()
            assert client.authenticate(bearer(person.session_token)).is_authenticated
            emulator.fault("/v1/auth/sessions", status=500)
            with pytest.raises(ProviderUnavailable):
                client.sessions.revoke(session_token=person.session_token)
            for credential in (person.session_token, person.session_jwt):
                assert isinstance(client.authenticate(bearer(credential)).error, RevokedCredentials)

    def test_what_is_remembered_of_one_that_was_ended_elsewhere(self, emulator: Emulator) -> None:
        options: dict[str, Any] = {"session_cache_ttl": 60, "jwt_issuer": emulator.issuer}
        with MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url, **options) as client:
            person = emulator.sign_in()
            for credential in (person.session_token, person.session_jwt):
                assert client.authenticate(bearer(credential)).is_authenticated
            emulator.revoke(person.session_id)
            client.sessions.revoke(session_token=person.session_token)
            assert client.authenticate(bearer(person.session_jwt)).is_rejected

    def test_a_call_that_is_cancelled(self, emulator: Emulator) -> None:
        async def work() -> None:
            options: dict[str, Any] = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, **PATIENT}
            async with AsyncMoonKey(jwt_issuer=emulator.issuer, **options) as client:
                for kind in KINDS:
                    person = emulator.sign_in()
                    emulator.fault(DELETE, delay=5)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.3):
                            await client.sessions.revoke(**{kind: getattr(person, kind)})
                    emulator.clear_faults()
                    assert client.revocations.refuses(person.session_id, person.user_id, None)

        asyncio.run(work())

    def test_a_client_that_is_closed(self, emulator: Emulator) -> None:
        person = emulator.sign_in()
        options: dict[str, Any] = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, **PATIENT}
        with MoonKey(jwt_issuer=emulator.issuer, **options) as other:
            client = MoonKey(jwt_issuer=emulator.issuer, **options)
            client.close()
            with pytest.raises(RuntimeError, match="closed"):
                client.sessions.revoke(session_id=person.session_id)
            assert other.authenticate(bearer(person.session_jwt)).is_rejected


@pytest.mark.rule("S35")
class TestAllOfAUser:
    def test_what_was_issued_until_now_is_refused_first(self, call: Both, emulator: Emulator) -> None:
        """A session that the API does not list, as it was ended elsewhere, has a JWT all the same."""
        listed, ended = emulator.sign_in(), emulator.sign_in()
        emulator.revoke(ended.session_id)
        assert seen(call, ended.session_jwt).is_authenticated
        assert call("sessions.revoke_all", listed.user_id) == (listed.session_id,)
        for person in (listed, ended):
            for credential in (person.session_token, person.session_jwt):
                assert seen(call, credential).is_rejected

    @pytest.mark.parametrize("path", ["/v1/auth/sessions/list", "/v1/auth"])
    def test_where_they_cannot_be_listed(self, call: Both, emulator: Emulator, path: str) -> None:
        people = [emulator.sign_in() for _ in range(2)]
        told = told_of(call)
        assert seen(call, people[0].session_jwt).is_authenticated
        emulator.fault(path, status=500)
        with pytest.raises(ProviderUnavailable):
            call("sessions.revoke_all", people[0].user_id)
        for person in people:
            assert isinstance(seen(call, person.session_jwt).error, RevokedCredentials)
        emulator.clear_faults()
        for person in people:
            assert isinstance(seen(call, person.session_token).error, RevokedCredentials)
        assert {entry.user_id for entry in told} == {people[0].user_id}

    def test_where_some_cannot_be_ended(self, call: Both, emulator: Emulator) -> None:
        people = [emulator.sign_in() for _ in range(5)]
        emulator.fault(DELETE, status=500)
        with pytest.raises(RevocationIncomplete) as caught:
            call("sessions.revoke_all", people[0].user_id)
        assert {one.session_id for one in people} == set(caught.value.failed)
        for person in people:
            for credential in (person.session_token, person.session_jwt):
                assert isinstance(seen(call, credential).error, RevokedCredentials)

    def test_a_call_that_is_cancelled_in_the_middle(self, emulator: Emulator) -> None:
        async def work() -> None:
            options: dict[str, Any] = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, **PATIENT}
            people = [emulator.sign_in() for _ in range(4)]
            async with AsyncMoonKey(jwt_issuer=emulator.issuer, **options) as client:
                emulator.fault(DELETE, delay=5)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.3):
                        await client.sessions.revoke_all(people[0].user_id, keep=people[3].session_id)
                emulator.clear_faults()
                found = [await client.authenticate(bearer(person.session_jwt)) for person in people]
                assert [isinstance(auth.error, RevokedCredentials) for auth in found] == [True, True, True, False]

        asyncio.run(work())

    @pytest.mark.parametrize("trouble", [None, LIST, DELETE])
    def test_the_one_to_keep(self, call: Both, emulator: Emulator, trouble: str | None) -> None:
        mine, other = emulator.sign_in(), emulator.sign_in()
        if trouble:
            emulator.fault(trouble, status=500)
        with contextlib.suppress(ProviderError):
            call("sessions.revoke_all", mine.user_id, keep=mine.session_id)
        emulator.clear_faults()
        for kind in ("session_token", "session_jwt"):
            assert seen(call, getattr(mine, kind)).is_authenticated
            assert seen(call, getattr(other, kind)).is_rejected
        assert seen(call, mine.session_jwt).source in ("local", "cache")

    def test_somebody_else_is_not_affected(self, call: Both, emulator: Emulator) -> None:
        ada, ben = emulator.sign_in(email="a@example.com"), emulator.sign_in(email="b@example.com")
        call("sessions.revoke_all", ada.user_id)
        for kind in ("session_token", "session_jwt"):
            assert seen(call, getattr(ben, kind)).is_authenticated
        assert seen(call, ben.session_jwt).source in ("local", "cache")

    @pytest.mark.parametrize("offset", [0, -4, 4])
    def test_signing_in_at_once_afterwards(self, call: Both, emulator: Emulator, offset: float) -> None:
        """By whole seconds, and by a clock that may be a little off."""
        emulator.set_clock(offset)
        before = emulator.sign_in()
        call("sessions.revoke_all", before.user_id)
        after = emulator.sign_in()
        for _ in range(2):
            for kind in ("session_token", "session_jwt"):
                assert seen(call, getattr(after, kind)).is_authenticated
                assert seen(call, getattr(before, kind)).is_rejected
        emulator.revoke(after.session_id)  # it is the API that vouches for it
        assert seen(call, after.session_jwt).is_rejected

    def test_what_is_doubted_is_not_accepted_while_nobody_can_say(self, emulator: Emulator) -> None:
        options: dict[str, Any] = {"jwt_issuer": emulator.issuer, "grace_seconds": 60, "session_cache_ttl": 60}
        with MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url, **options) as client:
            ended = emulator.sign_in()
            for credential in (ended.session_token, ended.session_jwt):
                assert client.authenticate(bearer(credential)).is_authenticated
            emulator.revoke(ended.session_id)
            client.sessions.revoke_all(ended.user_id)
            emulator.fault("/v1/auth", status=500)
            for credential in (ended.session_token, ended.session_jwt):
                assert client.authenticate(bearer(credential)).is_unavailable

    def test_nobody_has_such_an_id(self, call: Both, emulator: Emulator) -> None:
        person = emulator.sign_in()
        told = told_of(call)
        emulator.clear_requests()
        for wrong in ("user_nobody", "nobody", f"{person.user_id}x", person.user_id.swapcase()):
            with pytest.raises(NotFound):
                call("sessions.revoke_all", wrong)
            assert call.client.revocations.refuses("sess_1", wrong, 1.0)
        assert users_asked_for(emulator) == len(told) == 4
        assert call("sessions.revoke_all", "user_nobody", missing_ok=True) == ()
        assert users_asked_for(emulator) == 4

    def test_a_user_without_sessions(self, call: Both, emulator: Emulator) -> None:
        person = emulator.sign_in()
        emulator.revoke(person.session_id)
        emulator.clear_requests()
        assert call("sessions.revoke_all", person.user_id) == ()
        assert users_asked_for(emulator) == 1
        person = emulator.sign_in()
        assert call("sessions.revoke_all", person.user_id, keep=person.session_id) == ()
        assert call("sessions.revoke_all", person.user_id) == (person.session_id,)
        assert users_asked_for(emulator) == 1  # somebody has sessions, so there is such a user

    def test_nobody_can_say_whether_there_is_such_a_user(self, call: Both, emulator: Emulator) -> None:
        emulator.fault("/v1/auth/users", status=500)
        with pytest.raises(ProviderUnavailable):
            call("sessions.revoke_all", "user_nobody")

    def test_an_empty_list_in_another_spelling(self) -> None:
        nothing = reply(200, {"sessions": None})
        with scripted(nothing) as server, MoonKey(secret_key="sk_test_x", base_url=server.url) as client:
            assert client.sessions.revoke_all("user_1", missing_ok=True) == ()

    def test_an_api_that_lists_nothing_of_nobody(self) -> None:
        """The call that lists says already that there is no such user. An address that is wrong says nothing."""
        for code, is_user in (("user_not_found", True), ("route_not_found", False), ("app_not_found", False)):
            missing = reply(404, {"error_type": code})
            with scripted(missing) as server, MoonKey(secret_key="sk_test_x", base_url=server.url) as client:
                with pytest.raises(NotFound):
                    client.sessions.revoke_all("user_1")
                with contextlib.nullcontext() if is_user else pytest.raises(NotFound):
                    assert client.sessions.revoke_all("user_1", missing_ok=True) == ()
                assert client.revocations.refuses("sess_1", "user_1", None)


def test_what_was_refused_and_not_ended_is_told_to_the_log_of_a_sign_in(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever signs in anew leaves a session behind that cannot be ended: it is refused, and nothing is spoilt."""
    former: SignedIn = emulator.sign_in(email="me@example.com")
    with flow_client("sync", emulator) as call, caplog.at_level(logging.WARNING, "moonkey"):
        browser = Visitor(call)
        browser.cookies = {SESSION: former.session_token}
        browser.post("send_otp", {"address": "me@example.com"})
        emulator.fault(DELETE, status=500)
        assert browser.post("verify_otp", {"code": emulator.outbox()[0].code}).status == 303
        assert browser.cookies[SESSION] != former.session_token
        assert call.client.revocations.refuses(former.session_id, former.user_id, None)
    assert "former_session" in [record.__dict__["reason"] for record in caplog.records]
