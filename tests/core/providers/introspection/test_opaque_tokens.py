"""Opaque tokens of any authorization server, by real calls: each transport, and what each reply means."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from moonkey_core import (
    AsyncMoonKey,
    Auth,
    ConfigurationError,
    CookieSettings,
    ExpiredCredentials,
    MoonKey,
    ProviderRejectedKey,
    ProviderUnavailable,
    Session,
    Settings,
)
from moonkey_core._transport.messages import tls_context
from moonkey_core.gate import Requirements
from moonkey_core.providers.introspection.provider import Introspection
from moonkey_core.web.request import RequestInfo
from support.authorization_server import (
    API,
    CLIENT,
    ISSUER,
    SECRET,
    AuthorizationServer,
    about,
    authorization_server,
    json_reply,
)
from support.patience import PATIENT
from support.scripted import RESET, reply
from support.together import together

TOKEN = "2YotnFZFEjr1zCsicMWpAA"
JWT = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..aXY.dGV4dA.dGFn"  # of five parts: it is encrypted
HEADERS = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    with authorization_server() as running:
        running.tokens[TOKEN] = about()
        yield running


def provider(server: AuthorizationServer, **changes: Any) -> Introspection:
    usual: dict[str, Any] = {
        "issuer": ISSUER,
        "audience": API,
        "client_id": CLIENT,
        "client_secret": SECRET,
        **changes,
    }
    return Introspection(server.url, **usual)


class Asked:
    """A client of one kind, asked by one method."""

    def __init__(self, how: str, options: dict[str, Any]) -> None:
        self.runner = None if how == "sync" else asyncio.Runner()
        self.client: Any = MoonKey(**options) if how == "sync" else AsyncMoonKey(**options)

    def __call__(self, headers: dict[str, str] | None = None, /, **demand: Any) -> Auth:
        requirements = Requirements(**demand) if demand else None
        found: Auth = self.run(self.client.authenticate(headers or HEADERS, requirements))
        return found

    def run(self, result: Any) -> Any:
        return self.runner.run(_awaited(result)) if self.runner else result

    def close(self) -> None:
        self.run(self.client.aclose() if self.runner else self.client.close())
        if self.runner:
            self.runner.close()


async def _awaited(result: Any) -> Any:
    return await result


@contextmanager
def asking(
    how: str, server: AuthorizationServer, changes: dict[str, Any] | None = None, **options: Any
) -> Iterator[Asked]:
    made = Asked(how, {"provider": provider(server, **(changes or {})), **PATIENT, **options})
    try:
        yield made
    finally:
        made.close()


def user_of(auth: Auth) -> str:
    assert auth.user is not None, auth.error
    return auth.user.id


def session_of(auth: Auth) -> Session:
    assert auth.session is not None, auth.error
    return auth.session


class TestAnActiveToken:
    def test_signs_its_user_in(self, how: str, server: AuthorizationServer) -> None:
        with asking(how, server) as ask:
            auth = ask()
        assert auth.is_authenticated, auth.error
        assert (auth.user.id, auth.session.id) == ("ada", "session-of-ada")
        assert auth.session.expires_at.timestamp() == server.tokens[TOKEN]["exp"]
        assert server.calls == [("/introspect", {"token": TOKEN, "token_type_hint": "access_token"})]

    def test_is_asked_about_once_for_the_time_of_the_cache(self, how: str, server: AuthorizationServer) -> None:
        with asking(how, server, session_cache_ttl=60) as ask:
            assert [ask().is_authenticated for _ in range(3)] == [True] * 3
            assert server.asked() == 1
            assert ask(max_staleness=0.0).is_authenticated
            assert server.asked() == 2

    def test_is_asked_about_each_time_without_a_cache(self, how: str, server: AuthorizationServer) -> None:
        with asking(how, server) as ask:
            assert [ask().is_authenticated for _ in range(2)] == [True] * 2
        assert server.asked() == 2

    def test_of_one_client_is_none_of_another_token(self, how: str, server: AuthorizationServer) -> None:
        """Only one provider takes the prefix of a session token for no part of it."""
        server.tokens["session_abc"] = about("eve")
        server.tokens["abc"] = about("bob")
        with asking(how, server, session_cache_ttl=60) as ask:
            users = [user_of(ask({"authorization": f"Bearer {token}"})) for token in ("session_abc", "abc")]
        assert users == ["eve", "bob"]

    def test_in_a_cookie(self, how: str, server: AuthorizationServer) -> None:
        info = RequestInfo("GET", "https")
        with asking(how, server, cookies=CookieSettings(session_name="token"), cache_secret="c" * 32) as ask:
            for token in (TOKEN, JWT):
                server.tokens[token] = about()
                headers = {"cookie": f"token={token}"}
                auth = ask.run(ask.client.authenticate(headers, None, info))
                assert auth.is_authenticated, auth.error
            assert server.asked() == 2

    def test_that_looks_like_a_jwt_is_opaque_too(self, how: str, server: AuthorizationServer) -> None:
        server.tokens[JWT] = about()
        with asking(how, server) as ask:
            assert ask({"authorization": f"Bearer {JWT}"}).is_authenticated
            assert ask({"authorization": f"Bearer {JWT}x"}).is_rejected
        assert server.asked() == 2

    def test_without_iss_is_from_the_configured_issuer(self, server: AuthorizationServer) -> None:
        for iss in (..., None):
            server.tokens[TOKEN] = about(iss=iss)
            with asking("sync", server) as ask:
                assert ask().is_authenticated

    def test_that_names_no_session_is_a_session_of_its_own(self, server: AuthorizationServer) -> None:
        server.tokens.update({"one": about(sid=...), "two": about(sid=...), "three": about(sid=..., jti="id-3")})
        ids = []
        for _ in range(2):  # processes
            with asking("sync", server) as ask:
                ids.append(
                    [session_of(ask({"authorization": f"Bearer {one}"})).id for one in ("one", "two", "three")]
                )
        assert ids[0] == ids[1]
        assert len(set(ids[0])) == 3
        assert ids[0][2] == "id-3"
        assert not any("one" in one for one in ids[0][:2])


class TestWhatAReplySays:
    def test_of_what_the_user_may_do(self, server: AuthorizationServer) -> None:
        server.tokens[TOKEN] = about(roles=["editor"], permissions=["orders:read"])
        with asking("sync", server, session_cache_ttl=60) as ask:
            for session in (session_of(ask()), session_of(ask())):  # also from the cache
                assert session.scopes == ("read", "write")
                assert (session.roles, session.permissions) == (("editor",), ("orders:read",))

    def test_of_how_the_user_signed_in(self, server: AuthorizationServer) -> None:
        signed_in = int(time.time()) - 60
        server.tokens[TOKEN] = about(auth_time=signed_in, acr="gold", amr=["pwd", "otp"])
        with asking("sync", server) as ask:
            session = session_of(ask())
        assert session.acr_values == ("gold",)
        assert [factor.type for factor in session.factors] == ["pwd", "otp"]
        assert session.authenticated_at is not None
        assert session.authenticated_at.timestamp() == signed_in

    def test_of_who_acts_for_the_user(self, server: AuthorizationServer) -> None:
        server.tokens[TOKEN] = about(act={"sub": "support"})
        with asking("sync", server) as ask:
            auth = ask()
        assert (auth.actor, user_of(auth)) == ("support", "ada")


class TestARefusal:
    def test_of_an_inactive_token_is_definite(self, how: str, server: AuthorizationServer) -> None:
        with asking(how, server, session_cache_ttl=60) as ask:
            for _ in range(3):
                auth = ask({"authorization": "Bearer unknown"})
                assert auth.error is not None
                assert (auth.error.status, auth.error.reason) == (401, "token_inactive")
                assert auth.error.session_is_over  # type: ignore[attr-defined]
        assert server.asked("unknown") == 1

    def test_of_a_token_that_has_run_out_says_so(self, how: str, server: AuthorizationServer) -> None:
        """A client must know whether to renew it; the server only says that it is not active."""
        server.tokens[TOKEN] = about(exp=int(time.time()) + 2)  # within the leeway of its end
        server.tokens["other"] = about()
        with asking(how, server) as ask:
            for token in (TOKEN, "other"):
                assert ask({"authorization": f"Bearer {token}"}).is_authenticated
                del server.tokens[token]
            for _ in range(2):
                assert isinstance(ask().error, ExpiredCredentials)
                assert not isinstance(ask({"authorization": "Bearer other"}).error, ExpiredCredentials)
                assert not isinstance(ask({"authorization": "Bearer third"}).error, ExpiredCredentials)
            assert ask().error.reason == "token_inactive"  # type: ignore[union-attr]

    def test_ends_what_was_remembered_of_the_token(self, how: str, server: AuthorizationServer) -> None:
        with asking(how, server, session_cache_ttl=60) as ask:
            assert ask().is_authenticated
            del server.tokens[TOKEN]
            assert ask(max_staleness=0.0).is_rejected
            assert ask().is_rejected

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"iss": "https://other.example"}, "jwt_issuer"),
            ({"iss": ISSUER + "/"}, "jwt_issuer"),
            ({"aud": "https://other.example"}, "jwt_audience"),
            ({"aud": ["https://other.example", API + "/"]}, "jwt_audience"),
            ({"aud": ...}, "jwt_audience"),
            ({"aud": None}, "jwt_audience"),
            ({"aud": []}, "jwt_audience"),
            ({"token_type": "DPoP"}, "sender_constrained"),
            ({"token_type": "N_A"}, "token_kind"),
            ({"token_type": "refresh_token"}, "token_kind"),
            ({"token_use": "refresh_token"}, "refresh_token"),
            ({"token_use": "refresh"}, "refresh_token"),
            ({"typ": "Refresh"}, "refresh_token"),
            ({"typ": "ID"}, "id_token"),
            ({"nonce": "n"}, "id_token"),
            ({"cnf": {"jkt": "x"}}, "sender_constrained"),
            ({"cnf": {"x5t#S256": "x"}}, "sender_constrained"),
            ({"cnf": "x"}, "sender_constrained"),
            ({"sub": "web"}, "machine_token"),
            ({"sub": ...}, "machine_token"),
            ({"sub": ..., "username": "ada"}, "jwt_subject"),
            ({"username": "service-account-web"}, "machine_token"),
            ({"exp": 1_000_000_000, "iat": 999_999_000}, "expired_credentials"),
            ({"exp": ...}, "jwt_claims"),
            ({"nbf": int(time.time()) + 3600}, "jwt_not_yet_valid"),
            ({"iat": int(time.time()) + 3600, "exp": int(time.time()) + 7200}, "jwt_not_yet_valid"),
            ({"exp": int(time.time()) + 90_000}, "jwt_lifetime"),
            ({"exp": int(time.time()) + 90_000, "iat": ...}, "jwt_lifetime"),
        ],
    )
    def test_of_a_token_that_is_active_for_something_else(
        self, server: AuthorizationServer, changes: dict[str, Any], reason: str
    ) -> None:
        server.tokens[TOKEN] = about(**changes)
        with asking("sync", server) as ask:
            auth = ask()
        assert auth.error is not None
        assert (auth.error.status, auth.error.reason) == (401, reason)
        assert TOKEN not in str(auth.error)


class TestSettings:
    def test_a_client_may_be_the_audience(self, server: AuthorizationServer) -> None:
        server.tokens[TOKEN] = about(aud=...)
        with asking("sync", server, {"audience": (), "client_ids": ["web", "phone"]}) as ask:
            assert ask().is_authenticated
        with asking("sync", server, {"audience": (), "client_ids": "phone"}) as ask:
            assert ask().error.reason == "other_client"  # type: ignore[union-attr]
        with asking("sync", server, {"client_ids": "web"}) as ask:  # both have to hold
            assert ask().error.reason == "jwt_audience"  # type: ignore[union-attr]

    def test_a_program_is_a_principal_where_that_is_allowed(self, server: AuthorizationServer) -> None:
        for subject in (..., "web"):
            server.tokens[TOKEN] = {**about(sid=..., username=...), "sub": subject}
            if subject is ...:
                del server.tokens[TOKEN]["sub"]
            with asking("sync", server, {"allow_machines": True}) as ask:
                auth = ask()
                assert auth.is_machine, auth.error
                assert auth.machine is not None
                assert auth.machine.id == "web"
                assert (auth.user, auth.session) == (None, None)
            with asking("sync", server) as ask:
                assert ask().is_rejected

    def test_a_token_without_an_end_counts_for_the_assumed_life(self, server: AuthorizationServer) -> None:
        server.tokens[TOKEN] = about(exp=...)
        with asking("sync", server, {"assumed_life": 300}) as ask:
            left = session_of(ask()).expires_at.timestamp() - time.time()
        assert 0 < left <= 300

    def test_another_type_of_token_may_be_accepted(self, server: AuthorizationServer) -> None:
        server.tokens[TOKEN] = about(token_type="N_A")
        with asking("sync", server, {"token_types": ["bearer", "N_A"]}) as ask:
            assert ask().is_authenticated

    def test_a_token_type_may_be_needed(self, server: AuthorizationServer) -> None:
        server.tokens[TOKEN] = about(token_type=...)
        for needed in (False, True):
            with asking("sync", server, {"needs_token_type": needed}) as ask:
                assert ask().is_authenticated is not needed

    def test_a_longer_life_may_be_accepted_and_revocations_are_remembered_for_it(
        self, server: AuthorizationServer
    ) -> None:
        server.tokens[TOKEN] = about(exp=int(time.time()) + 90_000)
        with asking("sync", server, {"longest_life": 100_000}) as ask:
            assert ask().is_authenticated
            assert ask.client.revocations.retention >= 100_000

    def test_what_is_revoked_belongs_to_the_issuer(self, how: str, server: AuthorizationServer) -> None:
        with asking(how, server, session_cache_ttl=60) as ask:
            assert ask().is_authenticated
            ask.client.revocations.add(session_id="session-of-ada")
            assert ask().is_rejected
        with asking(how, server) as ask:
            ask.client.revocations.add(user_id="ada", issuer=ISSUER)
            assert ask().is_rejected

    def test_an_audience_without_an_issuer_is_refused_at_once(self) -> None:
        with pytest.raises(ConfigurationError, match="issuer, and audience"):
            Introspection("https://id.example/i", audience=API, client_id="a", client_secret="b")

    @pytest.mark.parametrize("kind", [MoonKey, AsyncMoonKey])
    @pytest.mark.parametrize("issuer", [None, ISSUER])
    def test_no_client_starts_without_issuer_and_audience(
        self, kind: Callable[..., object], issuer: str | None
    ) -> None:
        endpoint = Introspection("https://id.example/i", issuer=issuer, client_id="a", client_secret="b")
        with pytest.raises(ConfigurationError, match="issuer, and audience"):
            kind(provider=endpoint)

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"url": "http://id.example/introspect"}, "must use https"),
            ({"url": "id.example"}, "url='https://id.example'"),
            ({"url": "https://me:hidden@id.example/i"}, "user name"),
            ({"revocation_url": "http://id.example/revoke"}, "revocation_url"),
            ({"assumed_life": -1}, "assumed_life"),
            ({"client_secret": None}, "client_secret or private_key"),
            ({"audience": [""]}, "audience"),
            ({"audience": 3}, "audience"),
            ({"issuer": 3}, "issuer"),
            ({"issuer": f" {ISSUER} "}, "issuer"),
        ],
    )
    def test_what_cannot_work_is_refused_at_once(self, changes: dict[str, Any], named: str) -> None:
        usual: dict[str, Any] = {
            "url": "https://id.example/introspect",
            "issuer": ISSUER,
            "audience": API,
            "client_id": CLIENT,
            "client_secret": SECRET,
        }
        with pytest.raises(ConfigurationError, match=named) as caught:
            Introspection(**{**usual, **changes})
        assert SECRET not in str(caught.value)
        assert "hidden" not in str(caught.value)

    def test_nothing_of_it_is_shown(self) -> None:
        made = Introspection(
            "https://id.example/introspect?key=hidden",
            issuer=ISSUER,
            audience=API,
            client_id=CLIENT,
            client_secret="hunter2-hunter2",
        )
        assert "hidden" not in repr(made)
        assert "hunter2" not in repr((made, vars(made), vars(made._introspection)))


UNKNOWN: dict[str, bytes] = {
    "500": reply(500, {"error": "server_error"}),
    "503": reply(503),
    "429": reply(429, {"error": "invalid_request"}),
    "400": reply(400, {"error": "invalid_request"}),
    "403": reply(403, {"error": "access_denied"}),
    "404": reply(404),
    "302": reply(302, b"", {"location": "https://elsewhere.example/"}),
    "204": reply(204),
    "201 with a good body": json_reply(201, about()),
    "401 of a proxy": reply(401, "<h1>Sign in</h1>", content_type="text/html"),
    "empty": reply(200, b""),
    "a page": reply(200, "<p>hello</p>", content_type="text/html"),
    "not JSON": reply(200, b"{"),
    "a list": json_reply(200, [about()]),
    "a signed reply": reply(200, b"e30.e30.e30", content_type="application/token-introspection+jwt"),
    "another type": json_reply(200, about(), "text/plain"),
    "no type": reply(200, about(), content_type=""),
    "no active": json_reply(200, about(active=...)),
    "active as text": json_reply(200, about(active="true")),
    "active as a number": json_reply(200, about(active=1)),
    "active null": json_reply(200, about(active=None)),
    "active twice": reply(200, '{"active": false, ' + json.dumps(about())[1:]),
    "not a number": reply(200, '{"active": true, "exp": NaN}'),
    "exp as text": json_reply(200, about(exp="1999999999")),
    "exp as a bool": json_reply(200, about(exp=True)),
    "exp beyond all": json_reply(200, about(exp=1e300)),
    "sub as a number": json_reply(200, about(sub=1)),
    "aud as an object": json_reply(200, about(aud={API: True})),
    "aud with a number": json_reply(200, about(aud=[API, 1])),
    "iss as a list": json_reply(200, about(iss=[ISSUER])),
    "too large": json_reply(200, about(more="x" * 300_000)),
    "deep": reply(200, '{"active": true, "a": ' + "[" * 500 + "]" * 500 + "}"),
}


class TestAnythingElseIsUnknown:
    @pytest.mark.long
    @pytest.mark.parametrize("fault", UNKNOWN)
    def test_so_it_is_503(self, server: AuthorizationServer, fault: str, quick_retries: None) -> None:
        with asking("sync", server) as ask:
            server.fault = UNKNOWN[fault]
            auth = ask()
            assert isinstance(auth.error, ProviderUnavailable), auth
            assert TOKEN not in str(auth.error)
            assert "MoonKey" not in str(auth.error)  # which was not asked
            server.fault = None
            assert ask().is_authenticated

    def test_by_each_transport(self, how: str, server: AuthorizationServer, quick_retries: None) -> None:
        with asking(how, server) as ask:
            for fault in ("500", "a signed reply", "too large"):
                server.fault = UNKNOWN[fault]
                assert isinstance(ask().error, ProviderUnavailable)

    def test_a_reply_that_breaks_off_is_asked_for_again(self, how: str, server: AuthorizationServer) -> None:
        assert server.server is not None
        left = [RESET]

        def script(request: Any) -> Any:
            return [left.pop()] if left else server(request)

        server.server.script = script
        with asking(how, server) as ask:
            assert ask().is_authenticated

    @pytest.mark.parametrize(
        "fault",
        [
            reply(401, {"error": "invalid_client"}),
            reply(400, {"error": "invalid_client", "error_description": f"no {SECRET}"}),
            reply(400, {"error": "unauthorized_client"}),
            reply(401, b"", {"www-authenticate": "Basic"}),
            reply(401),
        ],
    )
    def test_that_we_are_not_accepted_is_our_fault(self, server: AuthorizationServer, fault: bytes) -> None:
        server.fault = fault
        with asking("sync", server) as ask:
            auth = ask()
        assert isinstance(auth.error, ProviderRejectedKey)
        assert auth.error.status == 500
        assert "client_secret" in str(auth.error)
        assert SECRET not in str(auth.error)


class TestManyAtOnce:
    def test_share_one_call(self, server: AuthorizationServer) -> None:
        assert server.server is not None
        server.server.script = lambda request: [0.2, server(request)]
        with asking("sync", server) as ask:
            found = together(8, lambda _: ask())
        assert all(auth.is_authenticated for auth in found)
        assert server.asked() < 8


class TestRevoking:
    def test_revokes_the_token_that_was_presented(self, how: str, server: AuthorizationServer) -> None:
        with asking(how, server, {"revocation_url": server.revocation_url}, session_cache_ttl=60) as ask:
            assert ask().is_authenticated
            ask.run(ask.client.sessions.revoke(session_token=TOKEN))
            assert server.calls[-1] == ("/revoke", {"token": TOKEN, "token_type_hint": "access_token"})
            assert ask().is_rejected
        assert TOKEN not in server.tokens


def test_its_server_has_to_prove_who_it_is_although_that_of_moonkey_is_on_loopback() -> None:
    endpoint = Introspection(
        "https://id.example/i",
        issuer=ISSUER,
        audience=API,
        client_id="a",
        client_secret="b",
        credential_headers="x-token",
    )
    options: dict[str, Any] = {"secret_key": "sk_test_x", "base_url": "http://127.0.0.1:1"}
    assert tls_context(Settings.load(options, {})) is False
    beside = {"providers": ["moonkey", endpoint]}
    context = tls_context(Settings.load({**options, **beside}, {}))
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED


class TestTheEnvironment:
    def test_has_one_variable_for_each_argument(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        given = {
            "URL": "https://id.example/introspect",
            "ISSUER": ISSUER,
            "AUDIENCE": f"{API} other",
            "CLIENT_ID": "api",
            "PRIVATE_KEY": pem.strip().replace("\n", "\\n"),
            "ASSERTION_LIFE": "30",
            "REVOCATION_URL": "https://id.example/revoke",
            "ALLOW_MACHINES": "true",
        }
        environ = {f"MOONKEY_INTROSPECTION_{name}": value for name, value in given.items()}
        found = Settings.load({}, {"MOONKEY_PROVIDER": "introspection", **environ}).provider
        assert isinstance(found, Introspection)
        assert found.capabilities == {"introspect", "revoke_session"}
        assert Settings.load({}, {"MOONKEY_PROVIDER": "introspection", **environ}).secret_key is None

    def test_puts_it_beside_a_provider(self) -> None:
        environ = {
            "MOONKEY_PROVIDER": "oidc",
            "MOONKEY_OIDC_ISSUER": ISSUER,
            "MOONKEY_OIDC_AUDIENCE": API,
            "MOONKEY_INTROSPECTION_URL": "https://id.example/introspect",
            "MOONKEY_INTROSPECTION_CLIENT_ID": "api",
            "MOONKEY_INTROSPECTION_CLIENT_SECRET": SECRET,
        }
        found = Settings.load({}, environ).provider
        assert found is not None
        assert found.capabilities == {"introspect"}


@pytest.mark.parametrize("how", ["provider", "providers"])
def test_no_other_provider_is_named_like_moonkey(how: str) -> None:
    made = Introspection(
        "https://id.example/i", issuer=ISSUER, audience=API, client_id="a", client_secret="b", name="moonkey"
    )
    with pytest.raises(ConfigurationError, match="MoonKey's"):
        MoonKey(**{how: made if how == "provider" else [made]})  # type: ignore[arg-type]
