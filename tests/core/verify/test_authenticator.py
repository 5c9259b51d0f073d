"""Which way each credential goes, over a real socket: local or asked, refreshed, shared, loaded."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from moonkey_core import Auth, ExpiredCredentials, InvalidCredentials, ProviderRejectedKey
from moonkey_core.auth import fresh_jwt
from moonkey_core.emulator import Emulator, SignedIn
from support.clients import MakeAsyncClient, MakeClient
from support.decisions import bearer
from support.together import together

pytestmark = pytest.mark.usefixtures("quick_retries")
VERIFY = "POST /v1/auth/sessions/verify"
JWKS = "GET /v1/auth/jwks/default"
USER = "GET /v1/auth/users/{id}"


def stale_session(emulator: Emulator) -> SignedIn:
    """A session whose JWT is too old while the session still lives."""
    emulator.set_clock(-400)
    person = emulator.sign_in(email="stale@example.com")
    emulator.set_clock(0)
    return person


@pytest.mark.rule("S34")
def test_a_session_token_is_asked_for_each_time(make_client: MakeClient, emulator: Emulator) -> None:
    client, person = make_client(jwt_issuer=emulator.issuer), emulator.sign_in()
    for count in range(1, 4):
        auth = client.authenticate(bearer(person.session_token))
        assert auth.user is not None
        assert auth.user.id == person.user_id
        assert emulator.requests()[VERIFY] == count
    emulator.revoke(person.session_id)
    assert isinstance(client.authenticate(bearer(person.session_token)).error, InvalidCredentials)


def test_a_jwt_is_judged_without_a_call(make_client: MakeClient, emulator: Emulator) -> None:
    client, person = make_client(jwt_issuer=emulator.issuer), emulator.sign_in()
    for _ in range(5):
        auth = client.authenticate(bearer(person.session_jwt))
        assert auth.session is not None
        assert auth.session.id == person.session_id
    assert emulator.requests() == {JWKS: 1}
    emulator.stop()
    assert client.authenticate(bearer(person.session_jwt)).is_authenticated


@pytest.mark.rule("S11")
def test_without_an_issuer_a_jwt_is_asked_for(make_client: MakeClient, emulator: Emulator) -> None:
    client, person = make_client(), emulator.sign_in()
    for _ in range(2):
        auth = client.authenticate(bearer(person.session_jwt))
        assert auth.is_authenticated
        assert fresh_jwt(auth) is None
    assert emulator.requests() == {VERIFY: 2}
    foreign = emulator.mint(key="foreign", session_id=person.session_id)
    assert client.authenticate(bearer(foreign)).is_rejected


@pytest.mark.rule("S20")
@pytest.mark.parametrize("status", [400, 401, 404])
@pytest.mark.parametrize("coded", [True, False])
def test_whichever_answer_a_dead_session_gets(
    make_client: MakeClient, emulator: Emulator, status: int, coded: bool
) -> None:
    emulator.dead_session(status, coded)
    person = emulator.sign_in()
    emulator.revoke(person.session_id)
    local, remote = make_client(jwt_issuer=emulator.issuer), make_client()
    for credential in (person.session_token, "session_" + "x" * 64):
        assert local.authenticate(bearer(credential)).is_rejected
    assert remote.authenticate(bearer(person.session_jwt)).is_rejected
    probes = emulator.requests()[USER]
    assert probes == (2 if (status, coded) == (401, False) else 0)  # one for each client
    wrong = make_client(secret_key="sk_test_not_the_right_one")
    for _ in range(3):
        auth = wrong.authenticate(bearer(person.session_token))
        assert isinstance(auth.error, ProviderRejectedKey)
        assert auth.is_unavailable
    assert emulator.requests()[USER] == probes + 1


@pytest.mark.rule("S20")
def test_many_bare_401s_share_one_question_about_our_key(make_client: MakeClient, emulator: Emulator) -> None:
    emulator.dead_session(401, coded=False)
    client = make_client()
    emulator.fault("/v1/auth/users", delay=0.2)
    found = together(20, lambda place: client.authenticate(bearer(f"session_{place:064}")))
    assert all(auth.is_rejected for auth in found)
    assert emulator.requests() == {VERIFY: 20, USER: 1}


@pytest.mark.rule("S20")
def test_a_failing_question_about_our_key_is_no_verdict(make_client: MakeClient, emulator: Emulator) -> None:
    emulator.dead_session(401, coded=False)
    client = make_client()
    emulator.fault("/v1/auth/users", status=404, body="<html>", headers={"Content-Type": "text/html"})
    assert client.authenticate(bearer("session_unknown")).is_unavailable
    emulator.clear_faults()
    assert client.authenticate(bearer("session_unknown")).is_rejected  # and trouble was not remembered


def check_refreshed(found: list[Auth], person: SignedIn, old: str) -> None:
    fresh = {fresh_jwt(auth) for auth in found}
    assert len(fresh) == 1
    assert None not in fresh
    assert old not in fresh
    assert {auth.user.id for auth in found if auth.user} == {person.user_id}
    assert {auth.session.id for auth in found if auth.session} == {person.session_id}


@pytest.mark.rule("S13")
@pytest.mark.parametrize("local", [True, False])
def test_a_stale_jwt_is_refreshed_once_among_threads(
    make_client: MakeClient, emulator: Emulator, local: bool
) -> None:
    client = make_client(jwt_issuer=emulator.issuer if local else None)
    person = stale_session(emulator)
    emulator.fault("/v1/auth/sessions/verify", delay=0.1)
    found = together(20, lambda _: client.authenticate(bearer(person.session_jwt)))
    found += [client.authenticate(bearer(person.session_jwt)) for _ in range(3)]  # and for late repeats
    check_refreshed(found, person, person.session_jwt)
    assert emulator.requests()[VERIFY] == 1
    fresh = fresh_jwt(found[0])
    assert fresh is not None
    renewed = client.authenticate(bearer(fresh))
    assert renewed.is_authenticated
    assert fresh_jwt(renewed) is None


@pytest.mark.rule("S13")
def test_a_stale_jwt_is_refreshed_once_among_tasks(make_async_client: MakeAsyncClient, emulator: Emulator) -> None:
    person = stale_session(emulator)
    emulator.fault("/v1/auth/sessions/verify", delay=0.1)

    async def work() -> list[Auth]:
        async with make_async_client(jwt_issuer=emulator.issuer) as client:
            found = await asyncio.gather(*(client.authenticate(bearer(person.session_jwt)) for _ in range(20)))
            return [*found, await client.authenticate(bearer(person.session_jwt))]

    check_refreshed(asyncio.run(work()), person, person.session_jwt)
    assert emulator.requests()[VERIFY] == 1


def test_two_stale_jwts_are_two_refreshes(make_client: MakeClient, emulator: Emulator) -> None:
    client = make_client(jwt_issuer=emulator.issuer)
    emulator.set_clock(-400)
    people = [emulator.sign_in(email=f"p{place}@example.com") for place in range(8)]
    emulator.set_clock(0)
    found = together(8, lambda place: client.authenticate(bearer(people[place].session_jwt)))
    assert [auth.user and auth.user.id for auth in found] == [person.user_id for person in people]
    assert emulator.requests()[VERIFY] == 8


@pytest.mark.rule("S13")
def test_refresh_can_be_turned_off(make_client: MakeClient, emulator: Emulator) -> None:
    person = stale_session(emulator)
    for issuer in (emulator.issuer, None):
        auth = make_client(jwt_issuer=issuer, refresh_jwt=False).authenticate(bearer(person.session_jwt))
        assert isinstance(auth.error, ExpiredCredentials)
    assert emulator.requests()[VERIFY] == 0


@pytest.mark.rule("S13")
def test_a_stale_jwt_of_a_dead_session_is_refused(make_client: MakeClient, emulator: Emulator) -> None:
    person = stale_session(emulator)
    emulator.revoke(person.session_id)
    client = make_client(jwt_issuer=emulator.issuer)
    for _ in range(3):
        assert isinstance(client.authenticate(bearer(person.session_jwt)).error, InvalidCredentials)
    assert emulator.requests()[VERIFY] == 1


@pytest.mark.rule("S34")
def test_trouble_while_refreshing_is_shared_but_not_remembered(
    make_client: MakeClient, emulator: Emulator
) -> None:
    person = stale_session(emulator)
    client = make_client(jwt_issuer=emulator.issuer)
    troubles: list[dict[str, Any]] = [
        {"status": 404, "body": "<html>not found</html>"},
        {"status": 200, "body": "<html>welcome</html>"},
        {"status": 200, "body": ""},
        {"status": 403, "body": "<html>blocked</html>"},
        {"status": 500},
    ]
    for trouble in troubles:
        emulator.fault("/v1/auth/sessions/verify", **trouble)
        assert client.authenticate(bearer(person.session_jwt)).is_unavailable, trouble
        emulator.clear_faults()
        auth = client.authenticate(bearer(person.session_jwt))
        assert auth.is_authenticated, trouble
        client = make_client(jwt_issuer=emulator.issuer)


@pytest.mark.rule("S4", "S13")
def test_a_forged_jwt_is_refused_without_a_call_however_old(make_client: MakeClient, emulator: Emulator) -> None:
    client, person = make_client(jwt_issuer=emulator.issuer), stale_session(emulator)
    old = emulator.now() - 1000
    head = {"kid": emulator.kid}
    for forged in (
        emulator.mint(
            {"iat": old, "nbf": old, "exp": old + 300}, head, key="foreign", session_id=person.session_id
        ),
        emulator.mint({"iat": old, "exp": old + 300, "iss": "another"}, session_id=person.session_id),
        person.session_jwt[:-20] + "A" * 20,
    ):
        assert isinstance(client.authenticate(bearer(forged)).error, InvalidCredentials)
    assert emulator.requests()[VERIFY] == 0


@pytest.mark.rule("S13", "S23")
def test_an_answer_about_somebody_else_is_not_taken(make_client: MakeClient, emulator: Emulator) -> None:
    person, other = stale_session(emulator), emulator.sign_in(email="other@example.com")
    body = {"session": {"id": other.session_id, "user_id": other.user_id, "expires_at": int(emulator.now()) + 999}}
    emulator.fault("/v1/auth/sessions/verify", status=200, body=json.dumps(body))
    for issuer in (emulator.issuer, None):
        auth = make_client(jwt_issuer=issuer).authenticate(bearer(person.session_jwt))
        assert auth.is_unavailable
        assert auth.user is None


@pytest.mark.rule("S13", "S23")
def test_an_answer_about_somebody_else_with_the_right_session_is_not_taken(
    make_client: MakeClient, emulator: Emulator
) -> None:
    """S13, with and without local verification."""
    person, other = stale_session(emulator), emulator.sign_in(email="other@example.com")
    body = {
        "session": {"id": person.session_id, "user_id": other.user_id, "expires_at": int(emulator.now()) + 999}
    }
    emulator.fault("/v1/auth/sessions/verify", status=200, body=json.dumps(body))
    for issuer in (emulator.issuer, None):
        assert make_client(jwt_issuer=issuer).authenticate(bearer(person.session_jwt)).is_unavailable


def test_keys_may_rotate_at_any_time(make_client: MakeClient, emulator: Emulator) -> None:
    client, before = make_client(jwt_issuer=emulator.issuer), emulator.sign_in()
    assert client.authenticate(bearer(before.session_jwt)).is_authenticated
    emulator.rotate_keys()
    after = emulator.sign_in()
    assert client.authenticate(bearer(after.session_jwt)).is_authenticated
    assert client.authenticate(bearer(before.session_jwt)).is_authenticated
    assert emulator.requests()[JWKS] == 2
    emulator.rotate_keys(keep_old=False)
    assert client.authenticate(bearer(emulator.sign_in().session_jwt)).is_authenticated
    assert client.authenticate(bearer(before.session_jwt)).is_rejected


@pytest.mark.long
@pytest.mark.rule("S18")
def test_a_cold_start_of_200_threads_fetches_the_keys_once(make_client: MakeClient, emulator: Emulator) -> None:
    client, person = make_client(jwt_issuer=emulator.issuer), emulator.sign_in()
    emulator.fault(JWKS.split()[1], delay=0.2)
    found = together(200, lambda _: client.authenticate(bearer(person.session_jwt)))
    assert all(auth.is_authenticated for auth in found)
    assert emulator.requests() == {JWKS: 1}


@pytest.mark.rule("S18")
def test_a_cold_start_of_200_tasks_fetches_the_keys_once(
    make_async_client: MakeAsyncClient, emulator: Emulator
) -> None:
    person = emulator.sign_in()
    emulator.fault(JWKS.split()[1], delay=0.1)

    async def work() -> list[Auth]:
        async with make_async_client(jwt_issuer=emulator.issuer) as client:
            return await asyncio.gather(*(client.authenticate(bearer(person.session_jwt)) for _ in range(200)))

    assert all(auth.is_authenticated for auth in asyncio.run(work()))
    assert emulator.requests() == {JWKS: 1}


def test_a_cold_start_in_an_outage_asks_once_and_says_so(make_client: MakeClient, emulator: Emulator) -> None:
    client, person = make_client(jwt_issuer=emulator.issuer), emulator.sign_in()
    emulator.fault(JWKS.split()[1], status=500, delay=0.1)
    found = together(50, lambda _: client.authenticate(bearer(person.session_jwt)))
    assert all(auth.is_unavailable for auth in found)
    assert emulator.requests()[JWKS] <= 2  # one fetch with its one retry


def test_headers_in_a_mapping(make_client: MakeClient, emulator: Emulator) -> None:
    client, person = make_client(), emulator.sign_in()
    for headers in ({"Authorization": f"Bearer {person.session_token}"}, {"SESSION-TOKEN": person.session_token}):
        auth = client.authenticate(headers)
        assert auth.user is not None
        assert auth.user.id == person.user_id
    assert client.authenticate({}).is_anonymous
    twice = {"session-token": person.session_token, "Session-Token": person.session_token}
    assert client.authenticate(twice).is_rejected
