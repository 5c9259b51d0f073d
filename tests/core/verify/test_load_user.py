"""The ``load_user`` setting: who completes ``auth.user``, how often, and what trouble does to it."""

from __future__ import annotations

from typing import Any

import pytest

from moonkey_core import MoonKey
from moonkey_core.emulator import Emulator
from moonkey_core.events import Event, GraceUsed
from support.clients import MakeClient
from support.decisions import NOW, bearer, replied
from support.odd_jwts import good
from support.scripted_api import DOWN, KnownToTheApi
from support.together import together

pytestmark = pytest.mark.usefixtures("quick_retries")
USER = "GET /v1/auth/users/{id}"


class TestLoadUser:
    def client(self, make_client: MakeClient, emulator: Emulator, **options: Any) -> MoonKey:
        return make_client(jwt_issuer=emulator.issuer, load_user=True, **options)

    def test_off_by_default(self, make_client: MakeClient, emulator: Emulator) -> None:
        auth = make_client(jwt_issuer=emulator.issuer).authenticate(bearer(emulator.sign_in().session_jwt))
        assert auth.user is not None
        assert (auth.user.complete, auth.user.email) == (False, None)
        assert emulator.requests()[USER] == 0

    def test_it_is_shared_and_remembered(self, make_client: MakeClient, emulator: Emulator) -> None:
        client, person = self.client(make_client, emulator), emulator.sign_in(email="me@example.com")
        emulator.fault("/v1/auth/users", delay=0.1)
        found = together(20, lambda _: client.authenticate(bearer(person.session_jwt)))
        found += [client.authenticate(bearer(person.session_jwt)) for _ in range(3)]
        assert all(auth.user and auth.user.complete and auth.user.id == person.user_id for auth in found)
        assert emulator.requests()[USER] == 1

    def test_it_is_not_remembered_longer_than_told(self, make_client: MakeClient, emulator: Emulator) -> None:
        client, person = self.client(make_client, emulator, user_ttl=0), emulator.sign_in()
        for count in range(1, 4):
            assert client.authenticate(bearer(person.session_jwt)).is_authenticated
            assert emulator.requests()[USER] == count

    def test_an_answer_that_has_the_user_needs_no_call(self, make_client: MakeClient, emulator: Emulator) -> None:
        auth = self.client(make_client, emulator).authenticate(bearer(emulator.sign_in().session_token))
        assert auth.user is not None
        assert auth.user.complete
        assert emulator.requests()[USER] == 0

    def test_each_gets_their_own(self, make_client: MakeClient, emulator: Emulator) -> None:
        client = self.client(make_client, emulator)
        people = [emulator.sign_in(email=f"p{place}@example.com") for place in range(10)]
        found = together(40, lambda place: client.authenticate(bearer(people[place % 10].session_jwt)))
        for place, auth in enumerate(found):
            assert auth.user is not None
            assert auth.user.id == people[place % 10].user_id
        assert emulator.requests()[USER] == 10

    def test_trouble_is_trouble_and_not_remembered(self, make_client: MakeClient, emulator: Emulator) -> None:
        client, person = self.client(make_client, emulator), emulator.sign_in()
        troubles: list[dict[str, Any]] = [
            {"status": 503},
            {"status": 200, "body": "<html>"},
            {"status": 200, "body": "{}"},
            {"status": 404, "body": "<html>"},
        ]
        for trouble in troubles:
            emulator.fault("/v1/auth/users", **trouble)
            assert client.authenticate(bearer(person.session_jwt)).is_unavailable, trouble
            emulator.clear_faults()
            assert client.authenticate(bearer(person.session_jwt)).is_authenticated, trouble
            client = self.client(make_client, emulator)

    def test_a_user_that_was_missing_is_looked_for_again(
        self, make_client: MakeClient, emulator: Emulator
    ) -> None:
        client, person = self.client(make_client, emulator), emulator.sign_in()
        emulator.fault("/v1/auth/users", status=404)
        assert client.authenticate(bearer(person.session_jwt)).is_rejected
        emulator.clear_faults()
        assert client.authenticate(bearer(person.session_jwt)).is_authenticated


class TestAnOutage:
    """The user that was loaded last is enough for as long as the settings say."""

    def down_after_a_visit(self, **options: Any) -> KnownToTheApi:
        decisions = KnownToTheApi(load_user=True, user_ttl=0, **options)
        assert decisions.authenticate(good(NOW)).is_authenticated
        decisions.users_down = True
        return decisions

    def test_nothing_is_enough_by_default(self) -> None:
        assert self.down_after_a_visit().authenticate(good(NOW)).is_unavailable

    def test_the_grace_period_covers_the_user(self) -> None:
        decisions = self.down_after_a_visit(grace_seconds=60)
        events: list[Event] = []
        decisions.core.hooks.add(events.append)
        decisions.now += 50
        auth = decisions.authenticate(good(NOW))
        assert auth.user is not None
        assert (auth.user.complete, auth.user.email, auth.source) == (True, "me@example.com", "grace")
        assert GraceUsed(50) in events
        decisions.now += 11
        assert decisions.authenticate(good(NOW)).is_unavailable
        decisions.users_down = False
        assert decisions.authenticate(good(NOW)).is_authenticated

    def test_a_route_may_lower_it(self) -> None:
        decisions = self.down_after_a_visit(grace_seconds=60)
        decisions.now += 10
        assert decisions.authenticate(good(NOW), grace_seconds=5).is_unavailable
        assert decisions.authenticate(good(NOW), grace_seconds=10).is_authenticated

    def test_nobody_who_was_revoked(self) -> None:
        decisions = self.down_after_a_visit(grace_seconds=60)
        decisions.core.revocations.add(session_id="sess_1")
        assert decisions.authenticate(good(NOW)).is_rejected

    def test_a_user_that_does_not_exist_any_more_is_refused(self) -> None:
        decisions = self.down_after_a_visit(grace_seconds=60)
        decisions.answer = lambda _: replied(404, {"error_type": "user_not_found"})
        assert decisions.authenticate(good(NOW)).is_rejected
        decisions.answer = lambda _: DOWN
        assert decisions.authenticate(good(NOW)).is_unavailable
