"""A client with several providers: each credential goes to one of them, and to no other.

The providers are running servers. What the client sends is recorded on its way there.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx
import pytest

from moonkey_core import (
    Auth,
    ConfigurationError,
    CookieSettings,
    InvalidCredentials,
    MoonKey,
    NotSupported,
    Requirements,
)
from moonkey_core.auth import from_cookies, peek_error
from moonkey_core.emulator import Emulator, OidcEmulator
from moonkey_core.events import Event, UpstreamCall, Verified
from moonkey_core.provider import OIDC, Introspection
from moonkey_core.web.request import RequestInfo
from support.clients import Both
from support.patience import PATIENT
from support.telemetry import Seen

GET = RequestInfo("GET", "https", "127.0.0.1")
SECRET = "s" * 32
COOKIES = CookieSettings(session_name="b_session", jwt_name="b_jwt")
KINDS = pytest.mark.parametrize("several", ["sync", "async"], indirect=True)


@pytest.fixture(scope="module")
def other_issuer() -> Iterator[OidcEmulator]:
    """The issuer whose tokens are introspected."""
    with OidcEmulator() as issuer:
        yield issuer


class Sent:
    """What the client has sent: all of each request, by the address of the server."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, bytes]] = []

    def __call__(self, request: httpx.Request) -> None:
        whole = [str(request.url).encode(), request.content]
        whole += [line for pair in request.headers.raw for line in pair]
        basic = request.headers.get("authorization", "").partition("Basic ")[2]
        self.requests.append((f"{request.url.scheme}://{request.url.netloc.decode()}", b"\n".join(
            [*whole, base64.b64decode(basic)]
        )))  # fmt: skip

    async def later(self, request: httpx.Request) -> None:
        self(request)

    def places_of(self, text: str) -> set[str]:
        """The servers to which a text was sent."""
        return {place for place, sent in self.requests if text.encode() in sent}


class Several(Both):
    """A client of MoonKey, of an issuer "a" whose JWTs are verified here, and of "b", which is asked."""

    def __init__(
        self, kind: str, emulator: Emulator, oidc: OidcEmulator, other: OidcEmulator, **more: Any
    ) -> None:
        self.emulator, self.oidc, self.other, self.sent, self.kind = emulator, oidc, other, Sent(), kind
        a = OIDC(oidc.issuer, oidc.audience, name="a")
        b = Introspection(
            other.introspection_url,
            issuer=other.issuer,
            audience=other.audience,
            client_id=other.client_id,
            client_secret=other.client_secret,
            revocation_url=other.revocation_url,
            name="b",
        ).at(credential_headers="X-Token", cookies=COOKIES)
        hook: Any = self.sent.later if kind == "async" else self.sent
        make: Any = httpx.AsyncClient if kind == "async" else httpx.Client
        self.http = make(event_hooks={"request": [hook]})
        options: dict[str, Any] = {
            "secret_key": emulator.secret_key,
            "base_url": emulator.base_url,
            "jwt_issuer": emulator.issuer,
            "cookies": CookieSettings(session_name="m_session", jwt_name="m_jwt"),
            "providers": ["moonkey", a, b],
            **PATIENT,
            "http_client": self.http,
        }
        super().__init__(kind, options)

    def close(self) -> None:
        if self._runner is None:
            self.http.close()
        else:
            self._runner.run(self.http.aclose())
        super().close()

    def auth(self, headers: Mapping[str, str], **requirements: Any) -> Auth:
        found: Auth = self("authenticate", headers, Requirements(**requirements), GET)
        return found


@pytest.fixture
def several(
    request: pytest.FixtureRequest, emulator: Emulator, oidc: OidcEmulator, other_issuer: OidcEmulator
) -> Iterator[Several]:
    other_issuer.reset()
    made = Several(request.param, emulator, oidc, other_issuer)
    try:
        yield made
    finally:
        made.close()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@KINDS
def test_a_credential_is_shown_to_its_own_provider_only(several: Several) -> None:
    moon, ada, bob = several.emulator.sign_in(), several.oidc.sign_in(), several.other.sign_in()
    at = {"moonkey": several.emulator.base_url, "a": several.oidc.base_url, "b": several.other.base_url}
    cases: list[tuple[str, str, dict[str, str], bool]] = [
        ("moonkey", moon.session_token, bearer(moon.session_token), True),
        ("moonkey", moon.session_token, {"session-token": moon.session_token}, True),
        ("moonkey", moon.session_token, {"cookie": f"m_session={moon.session_token}"}, True),
        ("moonkey", moon.session_jwt, bearer(moon.session_jwt), False),
        ("a", ada.access_token, bearer(ada.access_token), False),
        ("a", ada.access_token, {"x-token": ada.access_token}, False),
        ("b", bob.opaque_token, {"x-token": bob.opaque_token}, True),
        ("b", bob.opaque_token, {"cookie": f"b_session={bob.opaque_token}"}, True),
        ("b", bob.access_token, bearer(bob.access_token), True),
    ]
    for name, credential, headers, is_asked in cases:
        several.sent.requests.clear()
        auth = several.auth(headers)
        assert auth.is_authenticated, (name, auth.error)
        assert auth.provider == name
        assert several.sent.places_of(credential) == ({at[name]} if is_asked else set())
        assert {place for place, _ in several.sent.requests} <= {at[name]}
    assert several.sent.places_of(several.emulator.secret_key) <= {at["moonkey"]}


@KINDS
def test_no_secret_is_shown_to_another_provider(several: Several) -> None:
    moon, ada, bob = several.emulator.sign_in(), several.oidc.sign_in(), several.other.sign_in()
    for headers in (
        bearer(moon.session_token),
        bearer(moon.session_jwt),
        bearer(ada.access_token),
        {"x-token": bob.opaque_token},
    ):
        assert several.auth(headers).is_authenticated
    assert several.sent.places_of(several.emulator.secret_key) == {several.emulator.base_url}
    assert several.sent.places_of(several.other.client_secret) == {several.other.base_url}
    assert several.oidc.base_url in {place for place, _ in several.sent.requests}  # its keys were fetched


def part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


@KINDS
def test_what_belongs_to_nobody_is_refused_and_nobody_is_asked(several: Several) -> None:
    head = part({"alg": "RS256", "kid": "x"})
    odd: Sequence[object] = [
        {"iss": "https://evil.example"}, {"iss": several.oidc.issuer + "/"}, {"iss": several.oidc.issuer.upper()},
        {"iss": [several.oidc.issuer]}, {"iss": None}, {}, [], "x", 7,
    ]  # fmt: skip
    tokens = [f"{head}.{part(one)}.AA" for one in odd]
    tokens += [f"{head}.", f"{head}..", f"{head}.e30.AA.AA.AA", f"{head}.AA.AA"]
    for token in tokens:
        for headers in (bearer(token), {"x-token": token}, {"session-token": token}):
            auth = several.auth(headers)
            assert (auth.state, auth.provider) == ("rejected", "none")
            error = peek_error(auth)
            assert isinstance(error, InvalidCredentials)
            assert (error.status, error.reason) == (401, "jwt_issuer")
            assert token not in str(error) + str(error.evidence)
    assert several.sent.requests == []


def test_an_opaque_credential_in_a_place_of_nobody(emulator: Emulator, oidc: OidcEmulator) -> None:
    plain = OIDC(oidc.issuer, oidc.audience)
    again = OIDC("https://login.example.com", "x", name="again", jwks_url=oidc.jwks_url)
    with MoonKey(providers=[plain, again]) as client:
        auth = client.authenticate(bearer("opaque"))
        assert auth.error is not None
        assert (auth.error.reason, auth.provider) == ("opaque_credential", "none")
        assert client.authenticate({}).is_anonymous


@KINDS
@pytest.mark.parametrize("other", ["x-token", "session-token"])
def test_two_credentials_are_malformed_whosever_they_are(several: Several, other: str) -> None:
    ada, bob = several.oidc.sign_in(), several.other.sign_in()
    auth = several.auth({**bearer(ada.access_token), other: bob.opaque_token})
    assert auth.error is not None
    assert (auth.error.status, auth.error.reason) == (400, "two_credentials")
    assert several.sent.requests == []


@KINDS
def test_the_first_provider_with_a_session_cookie_counts(several: Several) -> None:
    moon, bob = several.emulator.sign_in(), several.other.sign_in()
    both = f"b_session={bob.opaque_token}; m_session={moon.session_token}"
    assert several.auth({"cookie": both}).provider == "moonkey"
    assert several.sent.places_of(bob.opaque_token) == set()
    assert several.auth({"cookie": f"m_jwt={moon.session_jwt}; b_session={bob.opaque_token}"}).provider == "b"
    bad = several.auth({"cookie": f"m_session=dead; b_session={bob.opaque_token}"})
    assert (bad.is_authenticated, bad.provider) == (False, "moonkey")
    header = several.auth({**bearer(several.oidc.sign_in().access_token), "cookie": both})
    assert (header.provider, from_cookies(header)) == ("a", False)
    unsafe: Auth = several("authenticate", {"cookie": both}, None, RequestInfo("POST", "https", "127.0.0.1"))
    assert unsafe.error is not None
    assert unsafe.error.status == 403


@KINDS
def test_a_jwt_in_the_cookie_of_another_provider_is_not_shown_to_it(several: Several) -> None:
    """The owner of this cookie introspects what is in it, JWTs included."""
    moon, ada, bob = several.emulator.sign_in(), several.oidc.sign_in(), several.other.sign_in()
    foreign = several.oidc.token(iss="https://evil.example")
    cases = {
        bob.access_token: ("authenticated", "b", None),
        ada.access_token: ("authenticated", "a", None),
        foreign: ("rejected", "none", "jwt_issuer"),
        moon.session_jwt: ("rejected", "b", "malformed_cookie"),
    }
    for jwt, expected in cases.items():
        several.sent.requests.clear()
        auth = several.auth({"cookie": f"b_session={jwt}"})
        error = peek_error(auth)
        assert (auth.state, auth.provider, error and error.reason) == expected
        assert several.sent.places_of(jwt) <= {several.other.base_url if jwt == bob.access_token else ""}


@KINDS
def test_an_encrypted_token_is_called_so(several: Several) -> None:
    auth = several.auth(bearer(several.oidc.token("generic", "encrypted")))
    assert (auth.provider, auth.error and auth.error.reason) == ("none", "jwt_encrypted")
    assert several.sent.requests == []


@KINDS
def test_only_the_cookies_of_the_refusing_provider_go(several: Several) -> None:
    bob = several.other.sign_in()
    several.other.revoke(bob.opaque_token)
    auth = several.auth({"cookie": f"b_session={bob.opaque_token}"})
    assert auth.is_rejected
    gone = several.client.cookies_after(auth)
    assert [one.partition("=")[0] for one in gone] == list(COOKIES.all_names)
    all_gone = several.client.sign_out_cookies()
    assert {one.partition("=")[0] for one in all_gone} == {
        "m_session",
        "m_jwt",
        "m_jwt_binding",
        *COOKIES.all_names,
    }


@KINDS
def test_methods_find_their_provider(several: Several) -> None:
    moon, ada, bob = several.emulator.sign_in(), several.oidc.sign_in(), several.other.sign_in()
    assert several("sessions.verify", session_jwt=ada.access_token).user.id == ada.user_id
    assert several("sessions.verify", session_jwt=moon.session_jwt).user.id == moon.user_id
    assert several("sessions.verify", session_token=bob.opaque_token, provider="b").user.id == bob.user_id
    assert several("users.get", moon.user_id, provider="moonkey").id == moon.user_id
    assert len(several("sessions.list", moon.user_id, provider="moonkey")) == 1
    for name, options in {
        "sessions.verify": {"session_token": bob.opaque_token},
        "sessions.revoke": {"session_id": "x"},
    }.items():
        with pytest.raises(ValueError, match="provider='…'"):
            several(name, **options)
    for name in ("sessions.list", "sessions.revoke_all", "users.get"):
        with pytest.raises(ValueError, match="'moonkey', 'a', 'b'"):
            several(name, moon.user_id)
        with pytest.raises(ValueError, match="no provider 'c'"):
            several(name, moon.user_id, provider="c")
        with pytest.raises(NotSupported, match="'a'"):
            several(name, ada.user_id, provider="a")
    several.sent.requests.clear()
    with pytest.raises(InvalidCredentials):
        several("sessions.verify", session_jwt=several.oidc.token(iss="https://evil.example"))
    with pytest.raises(InvalidCredentials):  # it is another provider's, and that one is not asked
        several("sessions.verify", session_jwt=ada.access_token, provider="b")
    assert several.sent.places_of(ada.access_token) <= {several.other.base_url}


@KINDS
def test_a_session_ends_at_its_provider(several: Several) -> None:
    moon, bob = several.emulator.sign_in(), several.other.sign_in()
    several("sessions.revoke", session_jwt=moon.session_jwt)
    several("sessions.revoke", session_token=bob.opaque_token, provider="b")
    assert several.auth(bearer(moon.session_jwt)).is_rejected
    assert several.auth({"x-token": bob.opaque_token}).is_rejected
    assert several.sent.places_of(bob.opaque_token) == {several.other.base_url}


@KINDS
def test_equal_ids_of_two_providers_never_meet(several: Several) -> None:
    same: dict[str, Any] = {"user_id": "same", "session_id": "session_same"}
    ada, bob = several.oidc.sign_in(**same), several.other.sign_in(**same)
    client = several.client
    with pytest.raises(ValueError, match="provider="):
        client.revocations.add(session_id="session_same")
    with pytest.raises(ValueError, match="no provider 'c'"):
        client.revocations.add(session_id="session_same", provider="c")
    client.revocations.add(session_id="session_same", provider="a")
    assert several.auth(bearer(ada.access_token)).is_rejected
    assert several.auth({"x-token": bob.opaque_token}).is_authenticated
    client.revocations.add(user_id="same", provider="b")
    assert several.auth({"x-token": bob.opaque_token}).is_rejected
    assert len(client.revocations) == 2
    assert "a: 1" in repr(client.revocations)


@KINDS
def test_outcomes_are_counted_per_provider(several: Several) -> None:
    events: list[Event] = []
    client = several.client
    client.hooks.add(events.append)
    moon, ada, bob = several.emulator.sign_in(), several.oidc.sign_in(), several.other.sign_in()
    for headers in (
        bearer(moon.session_token), bearer(ada.access_token), {"x-token": bob.opaque_token}, {}, bearer("a.b.c"),
        {"x-token": "dead"}, {"x-token": several.oidc.token(iss="https://evil.example")},
    ):  # fmt: skip
        several.auth(headers)
    found = [(one.provider, one.outcome) for one in events if isinstance(one, Verified)]
    assert found == [
        ("moonkey", "authenticated"), ("a", "authenticated"), ("b", "authenticated"), ("none", "anonymous"),
        ("moonkey", "rejected"), ("b", "rejected"), ("none", "rejected"),
    ]  # fmt: skip
    assert {one.provider for one in events if isinstance(one, UpstreamCall)} == {"moonkey", "a", "b"}
    health = client.health()
    assert list(health.providers) == ["moonkey", "a", "b"]
    assert health.remembered == sum(one.remembered for one in health.providers.values()) > 0
    assert health.key_set_age == health.providers["a"].key_set_age is not None


@KINDS
def test_the_label_of_metrics_is_the_provider(several: Several) -> None:
    seen = Seen()
    seen.watch(several.client)
    several.auth(bearer(several.oidc.sign_in().access_token))
    several.auth({})
    points = [(name, point.attributes.get("provider")) for name, point in seen.points()]
    assert {one for name, one in points if name == "moonkey.verifications"} == {"a", "none"}
    assert {one for name, one in points if name == "moonkey.circuit.open"} == {"moonkey", "a", "b"}
    assert ("moonkey.key_set.fetches", "a") in points


@KINDS
def test_an_outage_of_one_is_no_outage_of_the_others(several: Several) -> None:
    bob, ada = several.other.sign_in(), several.oidc.sign_in()
    several.other.stop()
    try:
        for _ in range(12):
            assert several.auth({"x-token": bob.opaque_token}).is_unavailable
        assert several.auth(bearer(ada.access_token)).is_authenticated
        assert several.auth(bearer(several.emulator.sign_in().session_token)).is_authenticated
        health = several.client.health()
        assert {name: one.circuit for name, one in health.providers.items()} == {
            "moonkey": "closed", "a": "closed", "b": "open",
        }  # fmt: skip
        assert health.degraded
    finally:
        several.other.start()


@KINDS
def test_each_provider_has_a_client_and_what_it_can_do(several: Several) -> None:
    client = several.client
    assert list(client.providers) == ["moonkey", "a", "b"]
    assert client.providers["a"].capabilities == frozenset()
    assert client.providers["b"].capabilities == {"introspect", "revoke_session"}
    assert "sign_in" in client.capabilities
    assert client.providers["moonkey"].capabilities == client.capabilities
    assert repr(client) == f"{type(client).__name__}(providers=['moonkey', 'a', 'b'])"
    assert repr(client.providers["a"]) == f"{type(client).__name__}(provider='a')"
    assert client.otps is client.providers["moonkey"].otps
    assert (
        client.revocation_lag().session_jwt.elsewhere
        >= client.providers["a"].revocation_lag().session_jwt.elsewhere
    )


@KINDS
def test_the_end_of_a_session_is_that_of_its_provider(several: Several) -> None:
    ada = several.oidc.sign_in(session_id="session_x")
    headers = bearer(ada.access_token)
    auth = several.auth(headers)
    client = several.client
    if several.kind == "sync":
        assert not client.is_over(auth)
        client.revocations.add(session_id="session_x", provider="b")
        assert not client.is_over(auth)
        client.revocations.add(session_id="session_x", provider="a")
        assert client.is_over(auth)
        return

    async def ends() -> str:
        end = asyncio.ensure_future(client.session_end(auth, headers, GET))
        await asyncio.sleep(0)
        client.revocations.add(session_id="session_x", provider="b")
        await asyncio.sleep(0)
        assert not end.done()
        client.revocations.add(session_id="session_x", provider="a")
        reason: str = await asyncio.wait_for(end, PATIENT["timeout"])
        return reason

    assert several._runner is not None
    assert several._runner.run(ends()) == "revoked"


def test_two_clients_by_order(emulator: Emulator, oidc: OidcEmulator, other_issuer: OidcEmulator) -> None:
    made = Several("sync", emulator, oidc, other_issuer)
    made.close()
    with pytest.raises(RuntimeError, match="closed"):
        made.auth(bearer(emulator.sign_in().session_token))
    with pytest.raises(ConfigurationError, match="issuer"):
        Several("sync", emulator, oidc, oidc)


REDIRECTED: list[Callable[[str], dict[str, str]]] = [bearer, lambda one: {"x-token": one}]


@KINDS
@pytest.mark.parametrize("place", REDIRECTED)
def test_an_old_or_forged_token_is_no_reason_to_ask_another_one(
    several: Several, place: Callable[[str], dict[str, str]]
) -> None:
    for token in (
        several.oidc.token(age=86_000, life=3600),
        several.oidc.token(key="imposter"),
        several.oidc.token(aud="another api"),
        several.other.token(key="imposter", iss=several.oidc.issuer),
    ):
        assert several.auth(place(token)).provider == "a"
        assert several.auth(place(token)).is_rejected
        assert several.sent.places_of(token) == set()
