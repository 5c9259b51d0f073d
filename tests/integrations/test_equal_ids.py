"""Equal ids of several issuers never meet: what is revoked, remembered or mapped of one is not another's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from integrations.django_people import set_up
from integrations.django_visits import Visit, visit_asgi, visit_wsgi

from moonkey_core import MoonKey
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.events import Event, SessionEvent, Verified
from moonkey_core.provider import OIDC
from support import foreign_tokens
from support.redis_server import RedisServer, need_redis
from support.scripted import wait_until

ONE, TWO = "https://one.example", "https://two.example"
USER, SESSION = "user_1", "sess_1"
ISSUERS = {"one": ONE, "two": TWO}


def providers() -> list[OIDC]:
    return [
        OIDC(issuer, foreign_tokens.AUDIENCE, keys=foreign_tokens.key_set("RS256"), name=name)
        for name, issuer in ISSUERS.items()
    ]


def lines(issuer: str, **claims: Any) -> dict[str, str]:
    """The header of a user with the same ids at each issuer."""
    usual = {"sub": USER, "sid": SESSION, "client_id": "app"}
    token = foreign_tokens.token(now=time.time(), iss=issuer, **{**usual, **claims})
    return {"authorization": f"Bearer {token}"}


def states(client: MoonKey) -> list[str]:
    return [client.authenticate(lines(issuer)).state for issuer in ISSUERS.values()]


@pytest.fixture
def client() -> Iterator[MoonKey]:
    with MoonKey(providers=providers()) as made:
        yield made


class TestAClient:
    def test_knows_them_apart(self, client: MoonKey) -> None:
        found = [client.authenticate(lines(issuer)) for issuer in ISSUERS.values()]
        assert [(auth.provider, auth.scope) for auth in found] == list(ISSUERS.items())
        users = [auth.user for auth in found]
        assert [user and (user.id, user.scope) for user in users] == [(USER, ONE), (USER, TWO)]
        assert users[0] != users[1]

    @pytest.mark.parametrize("entry", [{"session_id": SESSION}, {"user_id": USER}, {"issued_before": None}])
    def test_revokes_those_of_one(self, client: MoonKey, entry: dict[str, Any]) -> None:
        assert states(client) == ["authenticated"] * 2
        given: dict[str, Any] = {name: time.time() if value is None else value for name, value in entry.items()}
        client.revocations.add(provider="one", **given)
        assert states(client) == ["rejected", "authenticated"]
        client.revocations.add(provider="two", issuer=TWO, **given)
        assert states(client) == ["rejected"] * 2

    def test_asks_whose_an_id_is(self, client: MoonKey) -> None:
        for entry in ({"session_id": SESSION}, {"user_id": USER}):
            with pytest.raises(ValueError, match="provider="):
                client.revocations.add(**entry)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="issuer"):
            client.revocations.add(session_id=SESSION, provider="one", issuer=TWO)
        assert states(client) == ["authenticated"] * 2

    def test_tells_of_them_apart(self, client: MoonKey) -> None:
        heard: list[Event] = []
        client.hooks.add(heard.append)
        states(client)
        assert [event.provider for event in heard if isinstance(event, Verified)] == ["one", "two"]
        assert not [event for event in heard if isinstance(event, SessionEvent) and event.scope == "moonkey"]

    def test_shares_nothing_by_redis(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("moonkey_core.redis.worker.MAX_PAUSE", 0.25)
        need_redis()
        both = [lines(issuer) for issuer in ISSUERS.values()]
        with RedisServer() as server:
            options: dict[str, Any] = {
                "redis_url": server.url,
                "cache_secret": "a secret of the fleet, long enough",
                "on_feed_lost": "refuse",
                "max_revocation_lag": 2,
            }
            with MoonKey(providers=providers(), **options) as client, MoonKey(providers=providers(), **options):
                client.revocations.add(session_id=SESSION, provider="two")
                feeds = [one._core.feed for one in client.providers.values()]
                assert wait_until(lambda: all(feed is not None and feed.is_live for feed in feeds))
                assert wait_until(
                    lambda: [client.authenticate(one).state for one in both] == ["authenticated", "rejected"]
                )
                roots = {key.split(b":")[1] for key in server.client.keys("*:feed:*")}
                assert len(roots) == 2


def test_a_user_of_moonkey_and_one_of_an_issuer(emulator: Emulator, ada: SignedIn) -> None:
    """Even if an issuer gives the ids that MoonKey gives."""
    options = {"secret_key": emulator.secret_key, "base_url": emulator.base_url}
    own = {"authorization": f"Bearer {ada.session_token}"}
    with MoonKey(providers=["moonkey", *providers()], **options) as client:  # type: ignore[arg-type]
        foreign = lines(ONE, sub=ada.user_id, sid=ada.session_id)

        def both() -> list[str]:
            return [client.authenticate(one).state for one in (own, foreign)]

        assert both() == ["authenticated"] * 2
        client.revocations.add(user_id=ada.user_id, provider="one")
        assert both() == ["authenticated", "rejected"]
        client.revocations.add(session_id=ada.session_id, provider="moonkey")
        assert both() == ["rejected", "rejected"]


@pytest.mark.django_db(transaction=True)
class TestDjango:
    @pytest.fixture(autouse=True)
    def _project(self, settings: Any) -> None:
        set_up(settings)
        settings.MOONKEY = {"PROVIDERS": providers(), "USERS": "create"}

    def test_maps_them_to_two_users(self) -> None:
        browser = Client()
        for _ in range(2):
            found = [browser.get("/who", headers=lines(issuer)).json() for issuer in ISSUERS.values()]
            assert [one["in"] for one in found] == [True, True]
            assert found[0]["user"] != found[1]["user"]
        rows = get_user_model().objects.values_list("moonkey__moonkey_id", "moonkey__scope")
        assert sorted(rows) == [(USER, ONE), (USER, TWO)]

    @pytest.mark.parametrize("visit", [visit_wsgi, visit_asgi], ids=["wsgi", "asgi"])
    def test_logs_out_one_of_them(self, visit: Visit) -> None:
        """An issuer cannot be told: the session is refused here all the same."""
        tokens = [lines(issuer)["authorization"].removeprefix("Bearer ") for issuer in ISSUERS.values()]
        assert [visit("/who", one).json()["in"] for one in tokens] == [True, True]
        get_user_model().objects.update(is_staff=True)
        assert visit("/admin/logout/", tokens[0], method="POST").status_code in (200, 302)
        assert [visit("/who", one).json()["in"] for one in tokens] == [False, True]
