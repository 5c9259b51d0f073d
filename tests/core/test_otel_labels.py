"""No label of a metric, no name or attribute of a span can grow in number or tell of anybody."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonkey_core import MoonKey, MoonKeyError, otel
from moonkey_core._reasons import OTHER_REASONS, VERIFICATION_REASONS
from moonkey_core.emulator import Emulator
from moonkey_core.events import CircuitChanged, FeedChanged, GraceUsed, KeySetFetched, UpstreamCall, Verified
from support.clients import Both, MakeClient
from support.decisions import presenting
from support.patience import PATIENT
from support.reasons import KINDS, error_reasons, operations
from support.secrets import pieces_of
from support.telemetry import GAUGES, Seen

pytestmark = pytest.mark.usefixtures("quick_retries")
ALLOWED: dict[str, set[str]] = {
    "outcome": {"anonymous", "authenticated", "rejected", "unavailable"},
    "source": {"none", "local", "cache", "remote", "stale", "grace"},
    "reason": {*VERIFICATION_REASONS, "other"},
    "event": {*otel._SESSION_EVENTS.values()},
    "operation": {*otel._OPERATIONS, "other"},
    "status_class": {"1xx", "2xx", "3xx", "4xx", "5xx", "other"},
    "error.type": {*otel._FAILURES, "other"},
}
TEMPLATES = {f"/v1/auth/{path}" for path in ("sessions/verify", "users/{id}", "jwks/default")}
PER_METRIC = {
    "moonkey.verifications": {"outcome", "source", "reason"},
    "moonkey.verification.duration": {"outcome", "source"},
    "moonkey.upstream.duration": {"operation", "status_class", "error.type"},
    "moonkey.key_set.fetches": {"reason"},
    "moonkey.grace_used": set(),
    "moonkey.session_events": {"event"},
    **{name: set() for name in GAUGES},
}


def assert_closed(seen: Seen) -> int:
    """All labels, names and attributes are of their closed sets; returns how many points and spans there were."""
    count = 0
    for name, point in seen.points():
        count += 1
        assert set(point.attributes) <= PER_METRIC[name]
        for label, value in point.attributes.items():
            assert value in ALLOWED[label], (name, label, value)
    for span in seen.spans():
        count += 1
        attributes = dict(span.attributes or {})
        assert attributes.pop("moonkey.operation") in ALLOWED["operation"]
        template = str(attributes.pop("url.template"))
        assert template in TEMPLATES
        assert span.name == f"{attributes['http.request.method']} {template}"
        assert str(attributes.pop("url.full")).partition("?")[0].endswith(template.replace("{id}", "REDACTED"))
        assert attributes.pop("http.request.resend_count", 1) == 1
        status = attributes.pop("http.response.status_code", None)
        assert status is None or isinstance(status, int)
        assert attributes.pop("error.type", str(status)) in ALLOWED["error.type"] | {str(status)}
        assert attributes.pop("http.request.method", "GET") in {"GET", "POST", "DELETE"}
        assert attributes.pop("server.address", "127.0.0.1") == "127.0.0.1"
        assert isinstance(attributes.pop("server.port", 0), int)
        assert (attributes, span.events, span.status.description) == ({}, (), None)
    return count


def everything_of(emulator: Emulator) -> dict[str, Callable[[], list[str]]]:
    """Kinds of credentials, good and bad; each makes the values that stand in the header."""

    def revoked() -> list[str]:
        person = emulator.sign_in(email="gone@example.com")
        emulator.revoke(person.session_id)
        return [person.session_token]

    def expired() -> list[str]:
        emulator.set_clock(-1000)
        person = emulator.sign_in(email="late@example.com")
        emulator.set_clock(0)
        return [person.session_jwt]

    return {
        "anonymous": list,
        "token": lambda: [emulator.sign_in(email="token@example.com").session_token],
        "jwt": lambda: [emulator.sign_in(email="jwt@example.com").session_jwt],
        "two": lambda: [emulator.sign_in(email="two@example.com").session_token] * 2,
        "revoked": revoked,
        "expired": expired,
        "forged": lambda: [emulator.mint(key="foreign")],
        "issuer": lambda: [emulator.mint({"iss": "a.stranger.says.this"})],
        "session": lambda: [emulator.mint({"https://streambird.io/jwt/session": "a_strangers_text"})],
    }


KIND_NAMES = tuple(everything_of(None))  # type: ignore[arg-type]
# With an end that stands in no reason code: the strategy also tries words that it finds in the source.
TEXT = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), min_size=12, max_size=60).map(
    "{}~x~".format
)
FAULTS = st.sampled_from(
    [None, {"status": 500}, {"status": 429}, {"body": "<html>"}, {"reset": True}, {"status": 302}]
)
TRAFFIC = st.lists(
    st.tuples(st.sampled_from(KIND_NAMES), FAULTS)
    | st.tuples(st.just("kid"), TEXT)
    | st.tuples(st.just("text"), TEXT)
    | st.tuples(st.just("user"), TEXT),
    min_size=1,
    max_size=12,
)


@pytest.fixture
def seen() -> Iterator[Seen]:
    found = Seen()
    yield found
    found.close()


class TestLabels:
    @pytest.mark.long
    @pytest.mark.parametrize("kind", ["sync", "async"])
    @settings(max_examples=25)
    @given(traffic=TRAFFIC, grace=st.sampled_from([0, 60]))
    def test_whatever_the_traffic_they_come_from_closed_sets_and_tell_of_nobody(
        self, kind: str, shared_emulator: Emulator, traffic: list[tuple[str, Any]], grace: int
    ) -> None:
        emulator = shared_emulator
        emulator.reset()
        kinds, seen, private = everything_of(emulator), Seen(), {emulator.secret_key}
        options = {"jwt_issuer": emulator.issuer, "session_cache_ttl": 30, "grace_seconds": grace}
        both = Both(kind, {"secret_key": emulator.secret_key, "base_url": emulator.base_url, **PATIENT, **options})
        seen.watch(both.client)
        asked = 0
        for what, detail in traffic:
            if what == "user":
                private.add(detail)
                with suppress(MoonKeyError, ValueError):
                    both("users.get", detail)
                continue
            if what in kinds:
                values = kinds[what]()
                if detail:
                    emulator.fault("/v1/auth", times=1, **detail)
            else:
                values = [emulator.mint(header={"kid": detail}) if what == "kid" else detail]
                private.add(detail)
            private.update(values)
            both("authenticate", lambda name, v=values: v if name == "session-token" else [])
            emulator.clear_faults()
            asked += 1
        private.update(_ids(emulator))
        text = seen.text()
        assert assert_closed(seen) >= (1 if asked else 0)
        assert sum(value for _, value in seen.values("moonkey.verifications")) == asked
        both.close()
        seen.close()
        for secret in private:
            for piece in pieces_of(secret):
                assert piece not in text
                assert json.dumps(piece)[1:-1] not in text

    def test_a_flood_of_key_ids(self, seen: Seen, emulator: Emulator, make_client: MakeClient) -> None:
        client = make_client(jwt_issuer=emulator.issuer)
        seen.watch(client)
        for place in range(200):
            client.authenticate(presenting(emulator.mint(header={"kid": f"jwk_{place:020}"})))
        assert assert_closed(seen) < 20
        assert sum(value for _, value in seen.values("moonkey.verifications")) == 200
        assert "jwk_" not in seen.text()

    @pytest.mark.long
    @given(
        operation=st.text(max_size=40),
        failure=st.none() | st.text(max_size=40),
        status=st.none() | st.integers(-1, 10**6),
        reason=st.none() | st.text(max_size=40) | st.deferred(lambda: st.sampled_from(sorted(error_reasons()))),
    )
    def test_an_event_of_a_stranger_adds_nothing(
        self, operation: str, failure: str | None, status: int | None, reason: str | None
    ) -> None:
        seen = Seen()
        with MoonKey("sk_test_x") as client:
            seen.watch(client)
            for event in (
                UpstreamCall(operation, 1.0, 0.1, status, failure),
                KeySetFetched(reason),
                Verified("rejected", "none", 0.1, reason),
                GraceUsed(1.0),
                CircuitChanged("open"),
                FeedChanged("lost"),
            ):
                client.hooks.emit(event)
        assert assert_closed(seen) == 5  # a closed client has no gauges
        seen.close()

    @pytest.mark.long
    def test_the_closed_sets_are_those_of_the_source(self, seen: Seen, emulator: Emulator, call: Both) -> None:
        assert error_reasons() - set(OTHER_REASONS) == VERIFICATION_REASONS
        of_no_call = {"busy", "circuit_open", "over_budget"}
        assert {*KINDS, "cancelled", "raised"} - of_no_call == otel._FAILURES
        assert operations() <= otel._OPERATIONS
        seen.watch(call.client)
        for method, arguments in LOGINS:
            with suppress(MoonKeyError):
                call(method, **arguments)
        named = {*seen.operations()} - {"key-probe"}
        others = {f"{step}/authenticate" for step in ("otps", "magic_links", "oauth", "totps")} | {"totps/recover"}
        assert named | others == {name for name in otel._OPERATIONS if "/" in name}  # the others are Stytch's
        templates = {str((span.attributes or {})["url.template"]) for span in seen.spans()}
        assert {path for path in templates if "{id}" in path} <= {"/v1/auth/users/{id}"}  # that of the key probe


LOGINS: list[tuple[str, dict[str, Any]]] = [
    *(
        (f"otps.{how}", {by: to})
        for how in ("send", "login_or_create")
        for by, to in (("email", "a@example.com"), ("phone_number", "+12025550123"))
    ),
    *((f"magic_links.{how}", {"email": "a@example.com"}) for how in ("send", "login_or_create")),
    ("totps.create", {"user_id": "user_1"}),
    ("totps.recover", {"recovery_code": "aaaa", "user_id": "user_1"}),
    ("wallets.begin", {"wallet_type": "ethereum", "public_address": "0x0"}),
    ("otps.verify", {"code": "000000", "method_id": "m"}),
    ("magic_links.verify", {"token": "t"}),
    ("oauth.verify", {"token": "t"}),
    ("totps.verify", {"code": "000000", "user_id": "user_1"}),
    ("wallets.verify", {"wallet_type": "ethereum", "public_address": "0x0", "signature": "0x0"}),
]


def _ids(emulator: Emulator) -> set[str]:
    """The ids of all users and sessions that the emulator has."""
    with emulator._state.lock:
        return {*emulator._state.store.users, *emulator._state.store.sessions}
