"""No secret is shown: in no text, error, traceback, pickle or log record (rules S30 and S31)."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from moonkey_core import AsyncMoonKey, Auth, ConfigurationError, MoonKey, MoonKeyError, Settings
from moonkey_core._operations.core import Core
from moonkey_core.auth import fresh_jwt
from moonkey_core.emulator import Emulator
from moonkey_core.gate import require
from moonkey_core.web.credentials import read_credentials
from moonkey_core.web.responses import refuse
from support.decisions import presenting
from support.scripted import reply, scripted, unused_url
from support.secrets import assert_no_secret, printed, shown

pytestmark = pytest.mark.usefixtures("quick_retries")
KEY = "sk_test_" + "Q" * 20 + "leak" + "Z" * 20


def errors_of(calls: list[Callable[[], object]]) -> list[BaseException]:
    """The errors of calls that must all fail."""
    found: list[BaseException] = []
    for call in calls:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is, it must show nothing
            call()
        found.append(caught.value)
    return found


class Everything:
    """Verifies good, bad, stale and forged credentials, and keeps all that comes of it."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        emulator.set_clock(-400)
        self.stale = emulator.sign_in(email="stale@example.com")
        emulator.set_clock(0)
        self.good = emulator.sign_in(email="good@example.com")
        self.credentials = [
            *(getattr(one, kind) for one in (self.good, self.stale) for kind in ("session_token", "session_jwt")),
            self.good.session_jwt[:-30] + "B" * 30,
            "session_" + "unknownunknown" * 4,
            emulator.mint(key="foreign"),
            emulator.mint({"iss": "somebody else"}),
            emulator.mint({"https://streambird.io/jwt/session": "wrong"}),
        ]
        self.kept: list[object] = []

    def go(self, client: MoonKey) -> None:
        settings = client.settings
        self.kept += [client, settings, client.sessions, client._exchange, client._core]
        for credential in self.credentials:
            auth = client.authenticate(presenting(credential))
            self.kept += [
                auth,
                auth.error,
                auth.user,
                auth.session,
                read_credentials(presenting(credential), None, settings),
            ]
            if auth.error is not None:
                with pytest.raises(MoonKeyError) as caught:
                    require(auth)
                self.kept += [caught.value, refuse(caught.value, settings).body.decode()]
            for kind in ("session_token", "session_jwt"):
                self.keep_outcome(partial(client.sessions.verify, **{kind: credential}))
                if credential is self.credentials[-1]:
                    self.keep_outcome(partial(client.sessions.revoke, **{kind: credential}))

    def keep_outcome(self, call: Callable[[], object]) -> None:
        try:
            self.kept.append(call())
        except MoonKeyError as error:
            self.kept.append(error)

    def secrets(self) -> list[str]:
        fresh = [fresh_jwt(one) for one in self.kept if isinstance(one, Auth) and fresh_jwt(one)]
        return [*self.credentials, self.emulator.secret_key, KEY, *fresh]


WAIT = {"Retry-After": "60"}  # longer than anybody waits, so nothing is tried twice
TROUBLE: list[tuple[bool, dict[str, Any]]] = [
    (True, {}),
    (False, {}),
    (True, {"status": 503, "headers": WAIT}),
    (False, {"status": 429, "headers": WAIT}),
    (True, {"body": "<html>"}),
    (False, {"body": "<html>"}),
    (True, {"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}}),
    (True, {"reset": True}),
]


@pytest.mark.rule("S30", "token", "jwt")
@pytest.mark.parametrize(("local", "trouble"), TROUBLE)
def test_nothing_that_comes_of_verifying_shows_a_secret(
    emulator: Emulator, local: bool, trouble: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    everything = Everything(emulator)
    if trouble:
        emulator.fault("/v1/auth", **trouble)
    options: dict[str, Any] = {"base_url": emulator.base_url, "jwt_issuer": emulator.issuer if local else None}
    with MoonKey(secret_key=emulator.secret_key, **options) as client:
        everything.go(client)
    # What verifying returns holds credentials for cookies and clients; only its texts must not show them.
    texts = [text for one in everything.kept for text in (str(one), repr(one))]
    rest = [one for one in everything.kept if type(one).__name__ not in ("VerifiedSession", "Credentials")]
    fresh = {fresh_jwt(one) for one in everything.kept if isinstance(one, Auth)} - {None}
    secrets = everything.secrets()
    assert assert_no_secret([*texts, *caplog.records], secrets) > 50
    for one in rest:
        allowed = {fresh_jwt(one)} if isinstance(one, Auth) else set()
        assert_no_secret([one], [secret for secret in secrets if secret not in allowed])
    assert any(record.name.startswith("httpcore") for record in caplog.records)
    assert bool(fresh) is (trouble == {})


@pytest.mark.rule("S30")
def test_a_rejected_api_key_is_not_shown(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    person = emulator.sign_in()
    with MoonKey(secret_key=KEY, base_url=emulator.base_url, jwt_issuer=emulator.issuer) as client:
        auths = [client.authenticate(presenting(one)) for one in (person.session_token, person.session_jwt)]
        errors = errors_of([partial(client.users.get, "user_1"), partial(client.otps.send, email="a@b.c")])
        refusals = [refuse(auth.error, client.settings) for auth in auths if auth.error]
    assert all(auth.is_unavailable for auth in auths)
    assert len(refusals) == 2
    assert_no_secret(
        [*auths, *errors, *refusals, *caplog.records], [KEY, person.session_token, person.session_jwt]
    )
    assert "MOONKEY_SECRET_KEY" in caplog.text  # while the operator is told what to mend


@pytest.mark.rule("S30")
def test_what_a_crash_report_with_local_variables_would_hold(emulator: Emulator) -> None:
    """The errors carry no chain into the transport, whose frames hold the API key."""
    with scripted(reply(302, b"", {"location": "http://["})) as server:
        for url in (unused_url(), server.url):
            with MoonKey(secret_key=KEY, base_url=url, timeout=0.5) as client:
                for error in errors_of(
                    [lambda: client.users.get("user_1"), lambda: client.sessions.list("user_1")]
                ):
                    assert "users.get" in printed(error) or "sessions.list" in printed(error)
                    assert KEY not in printed(error)


@pytest.mark.rule("S30")
@pytest.mark.parametrize("status", [200, 400, 401])
def test_a_secret_in_an_unreadable_reply_is_not_in_the_chain(status: int) -> None:
    token = "session_" + "T" * 40
    for end in (b"", b"}}", b"\xff}", b', "x": NaN}', b', "x": "\\ud800"}', b', "session_token": 1}'):
        body = b'{"session_token": "' + token.encode() + b'"' + end
        with scripted(reply(status, body)) as server, MoonKey(secret_key=KEY, base_url=server.url) as client:
            auth = client.authenticate(presenting(token))
            assert auth.is_unavailable
            assert_no_secret([auth, auth.error], [token])
            calls: list[Callable[[], object]] = [
                partial(client.users.get, "u"),
                partial(client.sessions.list, "u"),
            ]
            assert_no_secret(errors_of(calls), [token])


@pytest.mark.rule("S30")
def test_a_setting_in_the_wrong_place_is_not_repeated() -> None:
    wrong: list[dict[str, Any]] = [
        {"secret_key": "pk_" + KEY},
        {"secret_key": KEY + "\n"},
        {"secret_key": KEY, "base_url": f"https://user:{KEY}@api.moonkey.fun"},
        {"secret_key": KEY, "base_url": f"https://api.moonkey.fun?api_key={KEY}"},
        {"secret_key": KEY, "base_url": KEY},
        {"secret_key": KEY, "base_url": f"https://user:{KEY}"},
        {"secret_key": KEY, "jwks_url": f"https://api.moonkey.fun/v1/auth/jwks/default?api_key={KEY}"},
        {"secret_key": KEY, "timeout": KEY},
        {"secret_key": KEY, "leeway": KEY},
        {"secret_key": KEY, "max_connections": KEY},
        {"secret_key": KEY, "realm": KEY + '"'},
        {"secret_key": KEY, "jwks": KEY},
        {"secret_key": KEY, "jwks_auth": KEY},
        {"secret_key": KEY, "load_user": KEY},
        {"secret_key": KEY, "fresh_jwt_header": KEY + " "},
        {"secret_key": KEY, "credential_headers": KEY + ":"},
    ]
    errors = errors_of([partial(MoonKey, **options) for options in wrong])
    assert all(isinstance(error, ConfigurationError) for error in errors)
    assert assert_no_secret(errors, [KEY]) == len(wrong)


@pytest.mark.rule("S30")
def test_settings_and_clients_do_not_show_the_key() -> None:
    settings = Settings.load({"secret_key": KEY}, {})
    core = Core(settings)
    with MoonKey(settings) as client:
        other = AsyncMoonKey(settings)
        things = [settings, settings.secret_key, client, other, client.sessions, core, core.keys, core.provider]
        assert_no_secret([*things, vars(client), f"{settings!r:>500}", "%s" % (settings,)], [KEY])  # noqa: UP031
        asyncio.run(other.aclose())
        for thing in (settings, settings.secret_key, client):
            with pytest.raises(TypeError):
                pickle.dumps(thing)
            with pytest.raises(TypeError):
                copy.deepcopy(thing)
    assert settings.api_key.reveal() == KEY


@pytest.mark.rule("S30")
def test_what_a_request_carries_holds_no_credential(emulator: Emulator) -> None:
    person = emulator.sign_in()
    with MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url) as client:
        for credential in (person.session_token, person.session_jwt):
            auth = client.authenticate(presenting(credential))
            again = pickle.loads(pickle.dumps(auth))
            assert again.user == auth.user
            assert again.session == auth.session
            assert_no_secret([auth, again, auth.user, auth.session], [person.session_token, person.session_jwt])


def test_the_search_finds_what_is_planted() -> None:
    secret = "planted_" + "s" * 20
    try:
        try:
            raise ValueError(secret)
        except ValueError:
            raise MoonKeyError("harmless") from None
    except MoonKeyError as error:
        chained = error
    record = logging.LogRecord("moonkey", 10, "", 0, "token %s", (secret,), None)
    extra = logging.LogRecord("moonkey", 10, "", 0, "harmless", (), None)
    extra.token = secret
    for planted in (secret, [secret], {"a": secret}, chained, record, extra):
        with pytest.raises(AssertionError, match="shows a secret"):
            assert_no_secret([planted], [secret])
    assert any(secret in text for text in shown(chained))
    assert assert_no_secret(["harmless"], [secret]) == 1
