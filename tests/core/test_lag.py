"""``revocation_lag()`` against what really happens, under a clock of the test's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from moonkey_core.emulator import Emulator
from moonkey_core.lag import Lag, lag_of
from moonkey_core.provider import Introspection
from moonkey_core.settings import Secret, Settings
from support.clients import MakeClient
from support.decisions import NOW, bearer
from support.foreign_tokens import ISSUER, ForeignDecisions, provider, token
from support.odd_jwts import good, key_set
from support.scripted_api import KnownToTheApi

pytestmark = pytest.mark.usefixtures("exact_lives")

TOKEN = "session_" + "t" * 40
STEP = 0.25
Revoke = Callable[[KnownToTheApi], None]

OPTIONS: list[dict[str, Any]] = [
    {},
    {"leeway": 0},
    {"jwt_max_age": 30, "leeway": 2},
    {"session_cache_ttl": 20},
    {"session_cache_ttl": 60, "jwt_max_age": 20, "leeway": 60},
    {"grace_seconds": 40},
    {"grace_seconds": 40, "session_cache_ttl": 10, "jwt_max_age": 50},
    {"jwt_issuer": "", "session_cache_ttl": 20, "grace_seconds": 7},
]
KINDS = ["session_token", "session_jwt"]


class LiveUntil:
    """A feed that has heard of everything until some moment."""

    def __init__(self, clock: Callable[[], float], end: float, known_at: float = -math.inf) -> None:
        self._clock = clock
        self._end = end
        self._known_at = known_at

    @property
    def is_live(self) -> bool:
        return self._clock() < self._end

    def lag(self) -> float | None:
        return None

    def known_for(self) -> float:
        return self._clock() - self._known_at


def credential_for(kind: str, decisions: KnownToTheApi) -> str:
    """The worst one: a JWT that is dated as far ahead as may be, and of a session that would last."""
    ahead = int(decisions.settings.leeway)
    credential = (
        TOKEN if kind == "session_token" else good(NOW, iat=NOW + ahead, nbf=NOW + ahead, exp=NOW + 10_000)
    )
    decisions.good[credential] = {}
    return credential


def last_accepted(decisions: KnownToTheApi, credential: str, horizon: float) -> float:
    """How long after NOW it was accepted for the last time, with a request every quarter of a second."""
    last = -1.0
    for place in range(int(horizon / STEP)):
        decisions.now = NOW + place * STEP
        if decisions.authenticate(credential).is_authenticated:
            last = place * STEP
    return last


def is_worst(last: float, promised: float) -> bool:
    """Whether that is the promise, no more and no less. For a promise of 0, it was not accepted at all."""
    return promised - 2 * STEP <= last <= promised if promised else last == -1


@pytest.mark.rule("S34", "S36")
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
class TestTheTable:
    """The session is revoked right after it was verified."""

    def verified(self, kind: str, options: dict[str, Any]) -> tuple[KnownToTheApi, str, Any]:
        # Reused replies come from beneath the decisions: without them here, refreshes are left out.
        decisions = KnownToTheApi(**{"refresh_jwt": False, **options})
        credential = credential_for(kind, decisions)
        assert decisions.authenticate(credential).is_authenticated
        return decisions, credential, getattr(lag_of(decisions.settings), kind)

    def test_elsewhere(self, kind: str, options: dict[str, Any]) -> None:
        decisions, credential, promised = self.verified(kind, options)
        decisions.good.clear()
        last = last_accepted(decisions, credential, promised.elsewhere + 100)
        assert is_worst(last, promised.elsewhere)

    @pytest.mark.long
    def test_here(self, kind: str, options: dict[str, Any]) -> None:
        decisions, credential, promised = self.verified(kind, options)
        decisions.core.revocations.add(session_id="sess_1")
        decisions.good.clear()
        assert promised.here == 0
        assert last_accepted(decisions, credential, promised.elsewhere + 100) == -1
        decisions, credential, promised = self.verified(kind, options)
        decisions.core.revocations.add(session_id="sess_1")
        decisions.down = True
        assert last_accepted(decisions, credential, promised.in_grace + 100) == -1

    def test_in_grace(self, kind: str, options: dict[str, Any]) -> None:
        """Nobody can tell us: the API is down from the very moment on."""
        if kind == "session_jwt":
            options = {**options, "refresh_jwt": True}  # else an old one is refused for its age
        decisions, credential, promised = self.verified(kind, options)
        decisions.good.clear()
        decisions.down = True
        if options.get("jwt_issuer") == "" and kind == "session_jwt":
            # The promise is about refreshes as well, which are reused for longer.
            promised_grace = decisions.settings.session_cache_ttl + decisions.settings.grace_seconds
            assert promised_grace <= promised.in_grace
        else:
            promised_grace = promised.in_grace
        last = last_accepted(decisions, credential, promised.in_grace + 100)
        assert is_worst(last, promised_grace)
        assert (promised.in_grace > promised.elsewhere) is bool(options.get("grace_seconds"))

    @pytest.mark.long
    @pytest.mark.parametrize("lag", [0.5, 3])
    def test_in_the_fleet(self, kind: str, options: dict[str, Any], lag: float) -> None:
        """Cutting the feed is the worst case: what others revoke from then on is never heard."""
        options = {"refresh_jwt": False, "max_revocation_lag": lag, **options}
        cut = KnownToTheApi(feed=LiveUntil(lambda: cut.now, NOW + lag), **options)
        promised = getattr(lag_of(replace(cut.settings, redis_url=Secret("redis://127.0.0.1:1/0"))), kind)
        credential = credential_for(kind, cut)
        assert cut.authenticate(credential).is_authenticated
        cut.good.clear()
        last = last_accepted(cut, credential, promised.elsewhere + 100)
        assert is_worst(last, promised.fleet)
        assert promised.fleet <= lag


def test_in_the_fleet_while_the_feed_has_long_been_lost() -> None:
    """The worst case then: the session is revoked right after the API was asked."""
    decisions = KnownToTheApi(feed=LiveUntil(lambda: NOW, NOW), max_revocation_lag=2)
    credential = credential_for("session_jwt", decisions)
    assert decisions.authenticate(credential).source == "remote"
    decisions.good.clear()
    last = last_accepted(decisions, credential, 400)
    assert is_worst(last, 2)


@pytest.mark.parametrize("kind", ["session_jwt", "session_token", "asked"])
def test_what_was_known_when_the_feed_was_lost_counts_up_to_the_bound(kind: str) -> None:
    """The worst case: the session is revoked right after the last sign of life of the feed, or of the API."""
    options: dict[str, Any] = {"on_feed_lost": "bounded", "feed_lost_bound": 12, "session_cache_ttl": 40}
    known_at = -math.inf if kind == "asked" else NOW
    decisions = KnownToTheApi(feed=LiveUntil(lambda: decisions.now, NOW + 1, known_at), **options)
    if kind == "asked":
        decisions = KnownToTheApi(feed=LiveUntil(lambda: decisions.now, NOW), **options)
    credential = credential_for("session_token" if kind == "session_token" else "session_jwt", decisions)
    assert decisions.authenticate(credential).is_authenticated
    decisions.good.clear()
    promised = lag_of(decisions.settings)
    assert (promised.session_jwt.fleet, promised.session_token.fleet) == (12, 12)
    assert is_worst(last_accepted(decisions, credential, 60), 12)


def test_where_the_jwts_own_age_is_accepted_as_the_lag() -> None:
    options: dict[str, Any] = {"on_feed_lost": "local", "max_revocation_lag": 2, "refresh_jwt": False}
    decisions = KnownToTheApi(feed=LiveUntil(lambda: NOW, NOW), **options)
    credential = credential_for("session_jwt", decisions)
    assert decisions.authenticate(credential).is_authenticated
    decisions.good.clear()
    elsewhere = lag_of(decisions.settings).session_jwt.elsewhere
    assert is_worst(last_accepted(decisions, credential, 400), elsewhere)


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_says_what_its_settings_say(make_client: MakeClient, emulator: Emulator, kind: str) -> None:
    client = make_client(jwt_issuer=emulator.issuer, session_cache_ttl=20, grace_seconds=5, jwt_max_age=100)
    told = getattr(client.revocation_lag(), kind)
    assert told == getattr(lag_of(client.settings), kind)
    assert told.elsewhere == {"session_token": 20, "session_jwt": 105}[kind]
    assert told.fleet == told.elsewhere  # there is no feed
    person = emulator.sign_in()
    credential = getattr(person, kind)
    assert client.authenticate(bearer(credential)).is_authenticated
    client.sessions.revoke(session_id=person.session_id)
    assert client.authenticate(bearer(credential)).is_rejected


def test_here_is_every_client_of_the_app_in_this_process(make_client: MakeClient, emulator: Emulator) -> None:
    one = make_client(jwt_issuer=emulator.issuer)
    other = make_client(jwt_issuer=emulator.issuer, grace_seconds=30, leeway=2, max_revocations=50)
    person = emulator.sign_in()
    assert other.authenticate(bearer(person.session_jwt)).is_authenticated
    one.sessions.revoke(session_id=person.session_id)
    assert other.authenticate(bearer(person.session_jwt)).is_rejected
    assert other.revocation_lag().session_jwt.here == 0


def test_here_also_where_a_jwt_that_is_too_old_names_the_session(
    make_client: MakeClient, emulator: Emulator
) -> None:
    client = make_client(jwt_issuer=emulator.issuer, refresh_jwt=False)
    emulator.set_clock(-400)
    person = emulator.sign_in()
    emulator.set_clock(0)
    new = make_client().sessions.verify(session_token=person.session_token).session_jwt
    assert new is not None
    assert client.authenticate(bearer(new)).is_authenticated
    client.sessions.revoke(session_jwt=person.session_jwt)
    assert client.authenticate(bearer(new)).is_rejected


class TestHealth:
    def test_a_client_that_has_done_nothing(self, make_client: MakeClient, emulator: Emulator) -> None:
        client = make_client(jwt_issuer=emulator.issuer)
        health = client.health()
        assert (health.key_set_age, health.feed, health.feed_lag) == (None, "none", None)
        assert (health.circuit, health.last_error, health.degraded) == ("closed", None, False)
        # Clients of one app share their revocations, and those of other tests may still be there.
        assert (health.revocations, health.remembered) == (len(client.revocations), 0)
        assert emulator.requests() == {}

    def test_what_it_has_and_knows(self, make_client: MakeClient, emulator: Emulator) -> None:
        client, person = make_client(jwt_issuer=emulator.issuer, session_cache_ttl=60), emulator.sign_in()
        before = client.health().revocations
        for credential in (person.session_jwt, person.session_token):
            assert client.authenticate(bearer(credential)).is_authenticated
        client.revocations.add(session_id=f"another than {person.session_id}")
        client.revocations.add(user_id=f"another than {person.user_id}")
        health = client.health()
        assert health.key_set_age is not None
        assert 0 <= health.key_set_age < 60
        assert (health.revocations - before, health.remembered) == (2, 2)
        assert make_client(jwks=key_set(), jwt_issuer="x").health().key_set_age is None

    @pytest.mark.usefixtures("quick_retries")
    def test_the_last_failure_of_the_api(self, make_client: MakeClient, emulator: Emulator) -> None:
        client, person = make_client(), emulator.sign_in()
        emulator.fault("/v1/auth/sessions/verify", status=500)
        for _ in range(10):
            assert client.authenticate(bearer(person.session_token)).is_unavailable
        health = client.health()
        assert health.last_error is not None
        assert (health.circuit, health.degraded) == ("open", True)
        assert person.session_token not in repr(health)


OTHERS: list[dict[str, Any]] = [
    {},
    {"longest_life": 90},
    {"longest_life": 90, "leeway": 0},
    {"longest_life": 90, "max_age": 40},
    {"max_age": 40, "leeway": 8},
]


@pytest.mark.parametrize("rules", OTHERS, ids=str)
def test_another_provider_by_its_own_rules(rules: dict[str, Any]) -> None:
    """A revocation that never arrives: the last JWT that was issued before it, and dated ahead, at its end."""
    decisions = ForeignDecisions(provider(**rules))
    ahead, life = rules.get("leeway", 5), rules.get("longest_life", 86_400)
    credential = token(iat=int(NOW + ahead), exp=int(NOW + ahead + life))
    lag = lag_of(decisions.settings)
    promised = lag.session_jwt.elsewhere
    assert lag.session_token.elsewhere == 0
    for late, is_good in ((0, True), (promised - 0.5, True), (promised, False)):
        decisions.now = NOW + late
        headers = {"authorization": [f"Bearer {credential}"]}
        assert decisions.read(headers).is_authenticated is is_good


def test_another_provider_that_is_asked() -> None:
    url, secret = "https://login.example.com/introspect", "s" * 32
    asked = Introspection(url, issuer=ISSUER, audience="app", client_id="app", client_secret=secret)
    alone = Settings(provider=asked, cache_secret=Secret("c" * 32), session_cache_ttl=20, grace_seconds=3)
    assert lag_of(alone).session_token == lag_of(alone).session_jwt == Lag(0, 20, 20, 23)
    refused = replace(alone, redis_url=Secret("redis://127.0.0.1:1/0"), on_feed_lost="refuse")
    assert lag_of(refused).session_token.fleet == refused.max_revocation_lag
