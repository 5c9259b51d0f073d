"""Listing, extending and revoking sessions, and getting users, against the emulator."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from moonkey_core import (
    InvalidCredentials,
    MoonKey,
    MoonKeyError,
    NotFound,
    ProviderUnavailable,
    RevocationIncomplete,
)
from moonkey_core.emulator import Emulator
from support.clients import Both, answering
from support.scripted import Received, reply, scripted

DELETE = "DELETE /v1/auth/sessions/delete"


class TestSessions:
    def test_extending(self, call: Both, emulator: Emulator) -> None:
        person = emulator.sign_in(minutes=10)
        for kind, extend in (("session_token", 60), ("session_jwt", timedelta(hours=2))):
            found = call("sessions.verify", **{kind: getattr(person, kind)}, extend=extend)
            minutes = extend if isinstance(extend, int) else 120
            assert abs(found.session.expires_in - timedelta(minutes=minutes)) < timedelta(seconds=30)
            assert not found.session.is_expired()
            assert found.session.expires_soon(timedelta(hours=3))
        assert found.session_token == person.session_token
        assert found.user.email == "demo@example.com"

    @pytest.mark.rule("S30")
    def test_listing_shows_no_secret(self, call: Both, emulator: Emulator) -> None:
        people = [emulator.sign_in() for _ in range(3)]
        found = call("sessions.list", people[0].user_id)
        assert {session.id for session in found} == {person.session_id for person in people}
        for session in found:
            assert "session_token" not in session.extra
            assert session.expires_at.tzinfo is UTC
            assert session.started_at <= datetime.now(UTC)
        assert call("sessions.list", "user_nobody/../x?y=&z#") == ()

    @pytest.mark.parametrize("kind", ["session_id", "session_token", "session_jwt"])
    @pytest.mark.parametrize("dead", list(itertools.product((400, 401, 404), (True, False))))
    def test_revoking_once_and_twice(
        self, call: Both, emulator: Emulator, kind: str, dead: tuple[int, bool]
    ) -> None:
        emulator.dead_session(*dead)
        person = emulator.sign_in()
        for _ in range(2):
            assert call("sessions.revoke", **{kind: getattr(person, kind)}) == "local"  # there is no feed
        with pytest.raises(InvalidCredentials):
            call("sessions.verify", session_token=person.session_token)
        assert emulator.requests()[DELETE] == 2

    @pytest.mark.rule("S23")
    def test_revoking_ends_what_lingers(self, call: Both, emulator: Emulator) -> None:
        emulator.set_clock(-400)
        person = emulator.sign_in()
        emulator.set_clock(0)
        assert call("sessions.verify", session_jwt=person.session_jwt).fresh_jwt
        call("sessions.revoke", session_id=person.session_id)
        with pytest.raises(InvalidCredentials):
            call("sessions.verify", session_jwt=person.session_jwt)

    def test_revoking_all(self, call: Both, emulator: Emulator) -> None:
        people = [emulator.sign_in() for _ in range(4)]
        other = emulator.sign_in(email="other@example.com")
        done = call("sessions.revoke_all", people[0].user_id, keep=people[2].session_id)
        assert set(done) == {person.session_id for person in people} - {people[2].session_id}
        assert [session.id for session in call("sessions.list", people[0].user_id)] == [people[2].session_id]
        assert call("sessions.verify", session_token=other.session_token)
        assert call("sessions.revoke_all", people[0].user_id) == (people[2].session_id,)
        assert call("sessions.revoke_all", people[0].user_id) == ()

    def test_revoking_all_says_which_failed(self, call: Both, emulator: Emulator) -> None:
        ids = {emulator.sign_in().session_id for _ in range(5)}
        user = emulator.sign_in().user_id
        emulator.fault("/v1/auth/sessions/delete", status=500)
        emulator.fault("/v1/auth/sessions/delete", status=200, body="{}", times=1)
        with pytest.raises(RevocationIncomplete) as caught:
            call("sessions.revoke_all", user)
        error = caught.value
        assert len(error.revoked) == 1
        assert ids <= {*error.revoked, *error.failed}
        assert len(error.failed) == 5
        assert all(isinstance(one, ProviderUnavailable) for one in error.failed.values())
        assert {one.reason for one in error.failed.values()} == {"api_status", "not_tried"}
        assert error.status == 503

    @pytest.mark.rule("S23")
    def test_sessions_of_somebody_else_are_not_ended(self) -> None:
        """An answer about another user is a mix-up, and its sessions are not ours to end."""
        wrong = {"sessions": [{"id": "sess_9", "user_id": "user_9", "expires_at": 4_000_000_000}]}

        def script(request: Received) -> bytes:
            return reply(200, wrong if request.method == "GET" else {})

        with scripted(script) as server, MoonKey(secret_key="sk_test_x", base_url=server.url) as client:
            for work in (client.sessions.list, client.sessions.revoke_all):
                with pytest.raises(ProviderUnavailable):
                    work("user_1")
            assert {request.method for request in server.received} == {"GET"}

    def test_a_session_that_is_deleted_is_not_listed(self) -> None:
        items = [
            {"id": "sess_1", "user_id": "user_1", "expires_at": 4_000_000_000, "deleted": True},
            {"id": "sess_2", "user_id": "1", "expires_at": 4_000_000_000, "deleted_at": 0},
        ]
        for body, expected in (
            ({"sessions": items}, ["sess_2"]),
            ({"sessions": []}, []),
            ({"sessions": None}, []),
        ):
            with scripted(reply(200, body)) as server:
                with MoonKey(secret_key="sk_test_x", base_url=server.url) as client:
                    assert [session.id for session in client.sessions.list("user_1")] == expected
                assert server.received[0].path == "/v1/auth/sessions/list?user_id=user_1"
        wrongs: list[dict[str, Any]] = [{"sessions": [None]}, {"sessions": [{"id": 1}]}]
        for wrong in (*wrongs, {}, {"sessions": {}}, {"sessions": False}, {"sessions": ""}):
            with answering(wrong) as (client, _), pytest.raises(ProviderUnavailable):
                client.sessions.list("user_1")


class TestUsers:
    def test_getting_one(self, call: Both, emulator: Emulator) -> None:
        person = emulator.sign_in(email="me@example.com")
        call("otps.send", email="me@example.com")
        call("otps.verify", emulator.outbox()[0].code, email="me@example.com")
        user = call("users.get", person.user_id)
        assert (user.id, user.email, user.complete, user.status) == (
            person.user_id,
            "me@example.com",
            True,
            "active",
        )
        assert user.created_at.tzinfo is UTC

    @pytest.mark.parametrize("user_id", ["user_nobody", "../sessions/list?x=", "a/b", "%2e%2e", "é", "."])
    def test_there_is_no_such_one(self, call: Both, user_id: str) -> None:
        with pytest.raises(MoonKeyError) as caught:
            call("users.get", user_id)
        assert isinstance(caught.value, NotFound | ProviderUnavailable)

    @pytest.mark.rule("S23")
    def test_an_answer_about_another(self) -> None:
        for body in (
            {"user_id": "user_2"},
            {"user": {"id": "user_2"}},
            {"user_id": ""},
            {},
            {"user_id": ["user_1"]},
        ):
            with answering(body) as (client, _), pytest.raises(ProviderUnavailable):
                client.users.get("user_1")
