"""Rotation: a new session by a verified factor, and the end of all others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from moonkey_core import (
    CookieSettings,
    Device,
    InvalidCredentials,
    Login,
    MoonKey,
    ProviderUnavailable,
    RevocationIncomplete,
    Session,
)
from moonkey_core.emulator import Emulator
from moonkey_core.events import Revoked
from moonkey_core.flows import Rotation
from moonkey_core.web.request import RequestInfo
from support import quick
from support.clients import Both
from support.documents import run
from support.patience import PATIENT
from support.scripted import Received, reply, scripted
from support.secrets import assert_no_secret

pytestmark = pytest.mark.usefixtures("quick_retries")

DELETE = "/v1/auth/sessions/delete"
ME = "me@example.com"


class Owner:
    """A user with some sessions, who changes something that matters."""

    def __init__(self, call: Both, emulator: Emulator, others: int = 2, email: str = ME) -> None:
        self.call, self.emulator = call, emulator
        self.others = [emulator.sign_in(email=email) for _ in range(others)]
        self.id = self.others[0].user_id
        self.method_id = call("otps.send", email=email).method_id
        self.code = emulator.outbox()[0].code

    def rotate(self, **changes: Any) -> Rotation:
        wanted = {"user_id": self.id, "otp": self.code, "method_id": self.method_id, "session_expires_in": 60}
        found: Rotation = self.call("sessions.rotate", **{**wanted, **changes})
        return found

    def alive(self) -> set[str]:
        return {session.id for session in self.call("sessions.list", self.id)}


def new_of(rotation: Rotation) -> tuple[Login, Session]:
    session = rotation.login.session
    assert session is not None
    return rotation.login, session


class TestRotation:
    def test_only_the_new_one_is_left(self, call: Both, emulator: Emulator) -> None:
        owner, neighbour = Owner(call, emulator, 3), emulator.sign_in(email="other@example.com")
        seen: list[object] = []
        call.client.hooks.add(seen.append)
        found = owner.rotate(device=Device("browser", "192.0.2.1"))
        login, session = new_of(found)
        assert found.is_complete
        assert set(found.revoked) == {one.session_id for one in owner.others}
        assert owner.alive() == {session.id}
        assert login.user.id == owner.id
        assert session.device == Device("browser", "192.0.2.1", session.device.extra if session.device else {})
        assert abs(session.expires_in - timedelta(minutes=60)) < timedelta(seconds=10)
        assert {event for event in seen if isinstance(event, Revoked)} == {
            Revoked(owner.id, one.session_id) for one in owner.others
        }
        assert call("sessions.verify", session_token=login.session_token).session.id == session.id
        assert call("sessions.verify", session_token=neighbour.session_token)
        for one in owner.others:
            assert call("authenticate", {"authorization": f"Bearer {one.session_jwt}"}).is_rejected

    def test_by_an_app(self, call: Both, emulator: Emulator) -> None:
        owner = Owner(call, emulator)
        headers = {"authorization": f"Bearer {emulator.secret_key}"}
        url = f"{emulator.base_url}/v1/auth/totps/create"
        secret = quick.post(url, json={"user_id": owner.id}, headers=headers).json()["secret"]
        found = owner.rotate(otp=None, method_id=None, totp=emulator.totp_code(secret))
        login, session = new_of(found)
        assert owner.alive() == {session.id}
        assert [factor.type for factor in session.factors] == ["totp"]
        assert login.session_token

    def test_as_long_as_the_old_one_had_left(self, call: Both, emulator: Emulator) -> None:
        for minutes, expected in ((600, 600), (1, 5)):  # five is the least that may be asked for
            old = emulator.sign_in(email=ME, minutes=minutes)
            session = call("sessions.verify", session_token=old.session_token).session
            _, new = new_of(Owner(call, emulator).rotate(session_expires_in=None, replaces=session))
            assert timedelta(minutes=expected - 1.1) <= new.expires_in <= timedelta(minutes=expected)

    def test_a_wrong_code_ends_nothing(self, call: Both, emulator: Emulator) -> None:
        owner = Owner(call, emulator)
        with pytest.raises(InvalidCredentials) as caught:
            owner.rotate(otp="000000" if owner.code != "000000" else "000001")
        assert caught.value.reason == "login_refused"
        assert owner.alive() == {one.session_id for one in owner.others}

    def test_a_code_works_once(self, call: Both, emulator: Emulator) -> None:
        owner = Owner(call, emulator)
        _, session = new_of(owner.rotate())
        with pytest.raises(InvalidCredentials):
            owner.rotate()
        assert owner.alive() == {session.id}

    def test_the_code_of_somebody_else(self, call: Both, emulator: Emulator) -> None:
        """Whoever has two accounts must not end up in the other one; nothing is left of the attempt."""
        owner, other = Owner(call, emulator), Owner(call, emulator, email="other@example.com")
        with pytest.raises(InvalidCredentials) as caught:
            owner.rotate(otp=other.code, method_id=other.method_id)
        assert caught.value.reason == "another_user"
        for one in (owner, other):
            assert one.alive() == {session.session_id for session in one.others}

    def test_that_cannot_be_ended_either(self, call: Both, emulator: Emulator) -> None:
        owner, other = Owner(call, emulator), Owner(call, emulator, email="other@example.com")
        emulator.fault(DELETE, status=500)
        with pytest.raises(InvalidCredentials):
            owner.rotate(otp=other.code, method_id=other.method_id)
        (stray,) = other.alive() - {session.session_id for session in other.others}
        assert call.client.revocations.refuses(stray, other.id, None)

    @pytest.mark.parametrize(
        "changes",
        [
            {"otp": None},
            {"method_id": None},
            {"totp": "123456"},
            {"otp": None, "method_id": None},
            {"otp": None, "totp": "123456"},
            {"user_id": ""},
            {"user_id": "x" * 300},
            {"session_expires_in": None},
            {"session_expires_in": 1},
            {"session_expires_in": timedelta(days=4000)},
            {"otp": ""},
        ],
    )
    def test_a_wrong_call(self, call: Both, emulator: Emulator, changes: dict[str, Any]) -> None:
        owner = Owner(call, emulator)
        with pytest.raises(ValueError, match=r"."):
            owner.rotate(**changes)
        assert emulator.requests()["POST /v1/auth/otps/verify"] == 0
        assert owner.alive() == {one.session_id for one in owner.others}


class TestByALogin:
    """A login that the app has verified itself, in any way."""

    def by(self, way: str, owner: Owner, **session: Any) -> Login:
        call, emulator = owner.call, owner.emulator
        session = session or {"session_expires_in": 60}
        found: Login
        if way == "magic_link":
            call("magic_links.send", email=ME)
            found = call("magic_links.verify", emulator.outbox()[0].code, **session)
        elif way == "oauth":
            found = call("oauth.verify", token=emulator.oauth_token(ME), **session)
        elif way == "wallet":
            wallet = {"wallet_type": "ethereum", "public_address": "0xabc"}
            challenge = call("wallets.begin", **wallet, user_id=owner.id).challenge
            found = call("wallets.verify", **wallet, signature=emulator.sign_wallet(challenge), **session)
        elif way == "recovery_code":
            code = call("totps.create", user_id=owner.id).recovery_codes[0]
            found = call("totps.recover", code, user_id=owner.id, **session)
        else:
            found = call("otps.verify", owner.code, method_id=owner.method_id, **session)
        return found

    @pytest.mark.parametrize("way", ["magic_link", "oauth", "wallet", "recovery_code", "otp"])
    def test_in_any_way(self, call: Both, emulator: Emulator, way: str) -> None:
        owner = Owner(call, emulator)
        login = self.by(way, owner)
        found = call("sessions.rotate", user_id=owner.id, login=login)
        assert found.login is login
        assert found.is_complete
        assert {*found.revoked} == {one.session_id for one in owner.others}
        assert login.session is not None
        assert owner.alive() == {login.session.id}
        assert call("authenticate", {"session-token": login.session_token}).is_authenticated

    def test_of_another_user(self, call: Both, emulator: Emulator) -> None:
        owner, other = Owner(call, emulator), Owner(call, emulator, email="other@example.com")
        with pytest.raises(InvalidCredentials) as caught:
            call("sessions.rotate", user_id=owner.id, login=self.by("otp", other))
        assert caught.value.reason == "another_user"
        for one in (owner, other):
            assert one.alive() == {session.session_id for session in one.others}

    def test_without_a_session(self, call: Both, emulator: Emulator) -> None:
        owner = Owner(call, emulator)
        login = call("otps.verify", owner.code, method_id=owner.method_id)
        for wrong in (login, self.by("magic_link", owner).replace(session_token=None)):
            with pytest.raises(ValueError, match="session_expires_in"):
                call("sessions.rotate", user_id=owner.id, login=wrong)

    @pytest.mark.rule("S35")
    @pytest.mark.parametrize("age", [60, 6000])
    def test_that_has_stepped_an_earlier_session_up(self, call: Both, emulator: Emulator, age: int) -> None:
        """Of which somebody may have a copy: the JWT of that one would be renewed for ever."""
        emulator.set_clock(-age)
        owner = Owner(call, emulator, 1)
        emulator.set_clock(0)
        login = self.by("magic_link", owner, session_token=owner.others[0].session_token)
        with pytest.raises(ValueError, match="just begun"):
            call("sessions.rotate", user_id=owner.id, login=login)
        assert owner.alive() == {owner.others[0].session_id}

    def test_that_was_long_ago(self, call: Both, emulator: Emulator) -> None:
        emulator.set_clock(-400)
        owner = Owner(call, emulator)
        login = self.by("otp", owner)
        emulator.set_clock(0)
        assert login.session is not None
        for wrong in (login, login.replace(session=login.session.replace(started_at=None))):
            with pytest.raises(ValueError, match="just begun"):
                call("sessions.rotate", user_id=owner.id, login=wrong)

    @pytest.mark.parametrize(
        "surplus",
        [
            {"otp": "123456", "method_id": "m"},
            {"method_id": "m"},
            {"totp": "123456"},
            {"session_expires_in": 60},
            {"device": Device("x")},
        ],
    )
    def test_and_a_code(self, call: Both, emulator: Emulator, surplus: dict[str, Any]) -> None:
        owner = Owner(call, emulator)
        login = self.by("otp", owner)
        with pytest.raises(ValueError, match="user_id alone"):
            call("sessions.rotate", user_id=owner.id, login=login, **surplus)
        assert len(owner.alive()) == 3


class TestTrouble:
    def test_some_are_not_ended(self, call: Both, emulator: Emulator) -> None:
        owner = Owner(call, emulator, 3)
        emulator.fault(DELETE, status=500)
        emulator.fault(DELETE, body="{}", times=1)
        found = owner.rotate()
        _, session = new_of(found)
        assert not found.is_complete
        assert isinstance(found.error, RevocationIncomplete)
        assert (len(found.revoked), len(found.error.failed)) == (1, 2)
        emulator.clear_faults()
        done = call("sessions.revoke_all", owner.id, keep=session.id)
        assert {*found.error.failed} <= set(done)

    @pytest.mark.rule("S35")
    @pytest.mark.parametrize("path", [DELETE, "/v1/auth/sessions/list"])
    def test_what_was_before_is_refused_all_the_same(self, emulator: Emulator, path: str) -> None:
        emulator.set_clock(-30)  # so that the others began well before
        old = emulator.sign_in(email=ME)
        emulator.set_clock(0)
        both = Both(
            "sync",
            {
                "secret_key": emulator.secret_key,
                "base_url": emulator.base_url,
                **PATIENT,
                "jwt_issuer": emulator.issuer,
            },
        )
        try:
            owner = Owner(both, emulator, 1)
            told: list[Any] = []
            both.client.revocations.listeners += (told.append,)
            emulator.fault(path, status=500)
            login, new = new_of(owner.rotate())
            for value in (old.session_token, old.session_jwt):
                assert both("authenticate", {"authorization": f"Bearer {value}"}).is_rejected
            for good in (login.session_token, login.session_jwt):
                assert both("authenticate", {"authorization": f"Bearer {good}"}).is_authenticated
            assert {entry.user_id for entry in told} >= {owner.id}
            assert all(entry.exempt_session_id == new.id for entry in told if entry.user_id)
        finally:
            both.close()

    def test_no_list(self, call: Both, emulator: Emulator) -> None:
        owner = Owner(call, emulator)
        emulator.fault("/v1/auth/sessions/list", status=500)
        found = owner.rotate()
        assert isinstance(found.error, ProviderUnavailable)
        assert (found.revoked, found.is_complete) == ((), False)
        assert new_of(found)[0].session_token

    @pytest.mark.parametrize("trouble", [{"status": 500}, {"reset": True}, {"body": "<html>"}, {"body": "{}"}])
    def test_no_verification(self, call: Both, emulator: Emulator, trouble: dict[str, Any]) -> None:
        owner = Owner(call, emulator)
        emulator.fault("/v1/auth/otps/verify", **trouble)
        with pytest.raises(ProviderUnavailable):
            owner.rotate()
        emulator.clear_faults()
        assert owner.alive() == {one.session_id for one in owner.others}

    def test_a_clock_far_ahead(self) -> None:
        """The API's clock says that the new session begins in an hour: it is still the one to keep."""
        start = 4_000_000_000
        session = {"id": "sess_1", "user_id": "user_1", "started_at": start, "expires_at": start + 3600}
        answer = {"user_id": "user_1", "session": session, "session_token": "a" * 40, "session_jwt": ""}

        def script(request: Received) -> bytes:
            return reply(200, answer) if request.path.endswith("otps/verify") else reply(500, {})

        with scripted(script) as server, MoonKey(secret_key="sk_test_x", base_url=server.url) as client:
            found = client.sessions.rotate(user_id="user_1", otp="123456", method_id="em_1", session_expires_in=60)
        assert not found.is_complete
        assert new_of(found)[1].id == "sess_1"

    @pytest.mark.rule("S30")
    def test_no_secret_is_shown(self, call: Both, emulator: Emulator) -> None:
        found = Owner(call, emulator).rotate()
        login, _ = new_of(found)
        assert_no_secret([repr(found)], [login.session_token or "", login.session_jwt or ""])


class TestCookiesOfTheAppsOwn:
    def test_signing_in_and_out(self, emulator: Emulator) -> None:
        for kind in ("sync", "async"):
            options = {
                "secret_key": emulator.secret_key,
                "base_url": emulator.base_url,
                **PATIENT,
                "cookies": CookieSettings(),
            }
            call = Both(kind, options)
            try:
                login, _ = new_of(Owner(call, emulator).rotate())
                token, jwt, binding = call.client.sign_in_cookies(login)
                until_it_is_closed = "; Path=/; Secure; HttpOnly; SameSite=Lax"
                assert token == f"__Host-moonkey_session={login.session_token}{until_it_is_closed}"
                assert jwt == f"__Host-moonkey_jwt={login.session_jwt}{until_it_is_closed}"
                assert binding.startswith("__Host-moonkey_jwt_binding=")
                assert binding.endswith(until_it_is_closed)
                assert all("Max-Age=3" in one for one in call.client.sign_in_cookies(login, remember_me=True))
                assert all("Max-Age=0" in value for value in call.client.sign_out_cookies())
            finally:
                call.close()

    def test_without_cookies(self, call: Both, emulator: Emulator) -> None:
        found = Owner(call, emulator).rotate()
        for work in (lambda: call.client.sign_in_cookies(found.login), call.client.sign_out_cookies):
            with pytest.raises(ValueError, match="Cookies are not configured"):
                work()


class TestTheDocuments:
    @pytest.fixture
    def client(self, emulator: Emulator) -> Iterator[MoonKey]:
        with MoonKey(
            secret_key=emulator.secret_key, base_url=emulator.base_url, cookies=CookieSettings()
        ) as client:
            yield client

    def test_a_new_address(self, client: MoonKey, emulator: Emulator) -> None:
        person, other = emulator.sign_in(email=ME), emulator.sign_in(email=ME)
        headers = {"authorization": f"Bearer {emulator.secret_key}"}
        url = f"{emulator.base_url}/v1/auth/users/{person.user_id}/update"
        quick.put(url, json={"emails": [{"email": "new@example.com"}]}, headers=headers).raise_for_status()
        auth = client.authenticate({"session-token": person.session_token})
        sent = client.otps.send(email="new@example.com")
        work = run("docs/rotation.md", "rotation")["confirm_new_address"]
        status, cookies, told = work(client, auth, emulator.outbox()[0].code, sent.method_id)
        assert status == 200
        assert "All other devices are signed out" in told
        assert [value.partition("=")[0] for _, value in cookies] == [
            "__Host-moonkey_session",
            "__Host-moonkey_jwt",
            "__Host-moonkey_jwt_binding",
        ]
        (left,) = client.sessions.list(person.user_id)
        assert left.id not in (person.session_id, other.session_id)

    def test_a_login_of_the_apps_own(self, client: MoonKey, emulator: Emulator) -> None:
        sent = client.otps.login_or_create(email=ME)
        work = run("docs/browser-sessions.md", "own login")
        status, headers = work["finish"](client, emulator.outbox()[0].code, sent.method_id)
        assert status == 303
        cookies = "; ".join(value.partition(";")[0] for name, value in headers if name == "set-cookie")
        auth = client.authenticate({"cookie": cookies}, None, RequestInfo("GET", "https"))
        session = auth.session
        assert session is not None
        status, headers = work["leave"](client, session.id)
        assert all("Max-Age=0" in value for name, value in headers if name == "set-cookie")
        assert client.sessions.list(session.user_id) == ()
