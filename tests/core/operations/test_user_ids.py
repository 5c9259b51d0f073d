"""A user's id has one public form, ``user_…``; whoever takes one takes it without the ``user_`` as well."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import MoonKey, NotFound
from moonkey_core.emulator import Emulator
from moonkey_core.providers.moonkey.ids import bare_user_id, public_user_id, same_user
from support.clients import Both
from support.scripted import Received, reply, scripted

SESSION = {"id": "sess_1", "user_id": "1", "expires_at": 4_000_000_000}
IDS = st.text("user_abc1", min_size=1, max_size=12)


@given(IDS)
def test_the_public_form(user_id: str) -> None:
    public = public_user_id(user_id)
    assert public.startswith("user_")
    assert public_user_id(public) == public
    assert same_user(public, user_id)
    assert bare_user_id(public) in (user_id, bare_user_id(user_id))


class TestWhoeverTakesOne:
    @pytest.fixture(params=["as the API spells it", "bare"])
    def spelled(self, request: pytest.FixtureRequest) -> Any:
        return (lambda user_id: user_id) if request.param.startswith("as") else bare_user_id

    def test_every_method(self, call: Both, emulator: Emulator, spelled: Any) -> None:
        person = emulator.sign_in(email="me@example.com")
        user_id = spelled(person.user_id)
        assert call("users.get", user_id).id == person.user_id
        (session,) = call("sessions.list", user_id)
        assert session.user_id == person.user_id
        method_id = call("otps.send", email="me@example.com").method_id
        code = emulator.outbox()[0].code
        rotation = call("sessions.rotate", user_id=user_id, otp=code, method_id=method_id, session_expires_in=60)
        assert rotation.revoked == (person.session_id,)
        assert rotation.login.user.id == person.user_id
        assert call("sessions.revoke_all", user_id) == (rotation.login.session.id,)
        assert call("sessions.revoke_all", user_id) == ()
        assert emulator.sign_in(user_id=user_id).user_id == person.user_id

    @pytest.mark.parametrize("method", ["users.get", "sessions.revoke_all"])
    def test_an_id_that_nobody_has(self, call: Both, emulator: Emulator, spelled: Any, method: str) -> None:
        with pytest.raises(NotFound):
            call(method, spelled("user_nobody"))

    def test_what_the_api_is_sent(self, spelled: Any) -> None:
        """Its reference knows one form; a caller's spelling is not handed on."""

        def script(request: Received) -> bytes:
            if request.method == "GET":
                return reply(200, {"sessions": [], "user": {"id": "1"}})
            return reply(200, {"user_id": "1", "session": None, "session_token": ""})

        with scripted(script) as server, MoonKey(secret_key="sk_test_x", base_url=server.url) as client:
            user_id = spelled("user_1")
            assert client.users.get(user_id).id == "1"
            assert client.sessions.list(user_id) == ()
            assert client.totps.verify("123456", user_id=user_id).user.id == "1"
            get, listed, totp = server.received
        assert get.path == "/v1/auth/users/user_1"
        assert listed.path == "/v1/auth/sessions/list?user_id=user_1"
        assert totp.json["user_id"] == "user_1"

    @pytest.mark.rule("S12")
    @pytest.mark.parametrize("nobody", ["", "user_", 5, None, "line\nbreak", "user_line\nbreak", "x" * 257])
    def test_what_is_no_id(self, nobody: Any) -> None:
        with MoonKey(secret_key="sk_test_x", base_url="http://127.0.0.1:9") as client:
            for work in (
                client.users.get,
                client.sessions.list,
                client.sessions.revoke_all,
                lambda user_id: client.totps.verify("123456", user_id=user_id),
                lambda user_id: client.sessions.rotate(user_id=user_id, totp="123456", session_expires_in=60),
                lambda user_id: client.revocations.add(user_id=user_id),
                client.revocations.add_cutoff,
            ):
                with pytest.raises(ValueError, match=r"."):
                    work(nobody)
            assert len(client.revocations) == 0

    @pytest.mark.rule("S12")
    def test_the_longest(self) -> None:
        longest = "x" * 256
        answer = reply(200, {"sessions": [], "user": {"id": longest}})
        with scripted(answer) as server, MoonKey(secret_key="sk_test_x", base_url=server.url) as client:
            public = f"user_{longest}"
            assert client.users.get(public).id == client.users.get(longest).id == longest
            assert client.sessions.revoke_all(public) == ()
            assert client.revocations.refuses("sess_1", longest, None)
