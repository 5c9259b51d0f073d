"""Access tokens of CDP against the emulated service: what signs in, what does not, and what a reply means."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest

from moonkey_core import CDP, AsyncMoonKey, Auth, ConfigurationError, MoonKey, NotFound, NotSupported
from moonkey_core.emulator import CdpEmulator
from moonkey_core.emulator.cdp.api_keys import new_key
from moonkey_core.errors import ExpiredCredentials, ProviderRejectedKey, ProviderUnavailable
from moonkey_core.gate import Requirements
from moonkey_core.provider import Fetch, Reply
from moonkey_core.providers.cdp import provider as provider_module
from moonkey_core.testing import provider_conformance
from support.patience import PATIENCE, PATIENT
from support.secrets import assert_no_secret

VALIDATE = "POST /platform/v2/end-users/auth/validate-token"
LIST = "GET /platform/v2/end-users"
FRESH = Requirements(max_staleness=0.0)
SECRET: dict[str, Any] = {"cache_secret": "c" * 32, **PATIENT}


def provider(cdp: CdpEmulator, **more: Any) -> CDP:
    options = {"base_url": cdp.api_url, **more}
    return CDP(cdp.api_key_id, cdp.api_key_secret, cdp.project_id, **options)


def headers(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.fixture
def client(cdp: CdpEmulator) -> Iterator[MoonKey]:
    with MoonKey(provider=provider(cdp), **SECRET) as made:
        yield made


@pytest.fixture
def local(cdp: CdpEmulator) -> Iterator[MoonKey]:
    with MoonKey(provider=provider(cdp, jwks_url=cdp.jwks_url), **SECRET) as made:
        yield made


def shown(client: MoonKey, token: str, requirements: Requirements | None = None) -> Auth:
    return client.authenticate(headers(token), requirements)


class TestAGoodToken:
    def test_signs_its_user_in(self, cdp: CdpEmulator, transport: str) -> None:
        ada = cdp.sign_in("ada@example.com")
        cdp.sign_in(user_id=ada.user_id, method={"type": "sms", "phoneNumber": "+14155550100"})
        cdp.sign_in(user_id=ada.user_id, method={"type": "google", "sub": "g-1", "email": "other@example.com"})
        wire = cdp.add_wallets(ada.user_id)
        cdp.enroll_mfa(ada.user_id)

        async def main() -> None:
            async with AsyncMoonKey(provider=provider(cdp), **SECRET) as client:
                auth = await client.authenticate(headers(ada.access_token))
                assert auth.user is not None, auth.error
                user, session = auth.user, auth.session
                assert session is not None
                assert (user.id, user.scope, user.complete) == (ada.user_id, f"cdp:{cdp.project_id}", True)
                assert (user.email, user.phone_number) == ("ada@example.com", "+14155550100")
                assert [(one.type, one.address, one.owners) for one in user.wallets] == [
                    ("evm", wire["evmAccounts"][0], ()),
                    ("evm_smart", wire["evmSmartAccounts"][0], (wire["evmAccounts"][0],)),
                    ("solana", wire["solanaAccounts"][0], ()),
                ]
                methods = [(one.type, one.identifier) for one in user.authentication_methods]
                assert methods == [("email", "ada@example.com"), ("sms", "+14155550100"), ("google", "g-1")]
                assert [one.type for one in user.mfa_methods or ()] == ["totp"]
                assert user.created_at is not None
                claims = jwt.decode(ada.access_token, options={"verify_signature": False})
                assert session.id == ada.token_id == claims["jti"]
                assert session.expires_at == datetime.fromtimestamp(claims["exp"], UTC)
                assert (session.started_at, session.ends_with_token, session.factors) == (None, True, ())
                assert session.claims["auth_type"] == "email"
                assert assert_no_secret([json.dumps(user.to_dict())], [ada.access_token])

        asyncio.run(main())

    def test_is_asked_about_once_for_the_time_of_the_cache(self, cdp: CdpEmulator) -> None:
        ada = cdp.sign_in()
        with MoonKey(provider=provider(cdp), session_cache_ttl=60, **SECRET) as client:
            assert [shown(client, ada.access_token).source for _ in range(3)] == ["remote", "cache", "cache"]
            assert cdp.requests() == {VALIDATE: 1}
            assert shown(client, ada.access_token, FRESH).source == "remote"

    def test_overlapping_requests_share_one_call(self, cdp: CdpEmulator, transport: str) -> None:
        ada = cdp.sign_in()
        cdp.fault("/platform", delay=0.2, times=1)

        async def main() -> None:
            async with AsyncMoonKey(provider=provider(cdp), **SECRET) as client:
                found = await asyncio.gather(*(client.authenticate(headers(ada.access_token)) for _ in range(8)))
                assert all(auth.is_authenticated for auth in found)

        asyncio.run(main())
        assert cdp.requests() == {VALIDATE: 1}

    def test_with_a_key_of_the_other_kind(self, cdp: CdpEmulator) -> None:
        key = cdp.add_api_key("EdDSA", audience="cdp_service")
        made = CDP(key.key_id, key.secret, cdp.project_id, base_url=cdp.api_url, audience="cdp_service")
        with MoonKey(provider=made, **SECRET) as client:
            assert shown(client, cdp.sign_in().access_token).is_authenticated

    def test_never_outlives_its_end(self, client: MoonKey, cdp: CdpEmulator) -> None:
        auth = shown(client, cdp.token(life=30))
        assert auth.session is not None
        assert auth.session.expires_at.timestamp() <= time.time() + 30

    def test_verified_here_costs_no_call(self, local: MoonKey, cdp: CdpEmulator) -> None:
        ada = cdp.sign_in("ada@example.com")
        auth = shown(local, ada.access_token)
        assert auth.user is not None
        assert auth.session is not None
        assert (auth.source, auth.user.id, auth.user.email) == ("local", ada.user_id, None)
        assert auth.user.mfa_methods is None  # that is not known
        assert (auth.session.id, auth.user.scope) == (ada.token_id, f"cdp:{cdp.project_id}")
        assert VALIDATE not in cdp.requests()
        fresh = shown(local, ada.access_token, FRESH)
        assert (fresh.source, fresh.is_authenticated) == ("remote", True)
        assert cdp.requests()[VALIDATE] == 1

    def test_verified_here_with_new_keys(self, local: MoonKey, cdp: CdpEmulator) -> None:
        assert shown(local, cdp.sign_in().access_token).is_authenticated
        cdp.rotate_keys()
        assert shown(local, cdp.sign_in().access_token).is_authenticated

    def test_verified_here_with_the_whole_user(self, cdp: CdpEmulator) -> None:
        ada = cdp.sign_in("ada@example.com")
        with MoonKey(provider=provider(cdp, keys=cdp.jwks()), load_user=True, **SECRET) as client:
            users = [shown(client, ada.access_token).user for _ in range(2)]
        assert [user.email for user in users if user is not None] == ["ada@example.com"] * 2
        assert cdp.requests() == {"GET /platform/v2/end-users/{user_id}": 1}


def look_alikes(cdp: CdpEmulator) -> dict[str, tuple[str, bool]]:
    """Tokens that are none of this project's users, and whether CDP itself is asked about them."""
    api_key = new_key("ES256")
    developer = {"iss": "https://login.example.com", "sub": "ada", "aud": "app", "exp": time.time() + 600}
    signed = cdp.private_key()
    return {
        "another project": (cdp.token(project_id="another"), False),
        "no project": (cdp.token(drop=["project_id"]), False),
        "another issuer": (cdp.token(iss="cdp"), False),
        "another audience": (cdp.token(aud="cdp"), False),
        "no audience": (cdp.token(drop=["aud"]), False),
        "over": (cdp.token(life=60, age=66), False),
        "no end": (cdp.token(drop=["exp"]), False),
        "an end that is a text": (cdp.token(exp="soon"), False),
        "a life of a week": (cdp.token(life=7 * 86_400), False),
        "the JWT of an identity provider": (
            jwt.encode(developer, signed, "ES256", headers={"kid": cdp.kid()}),
            False,
        ),
        "the JWT of an API key": (
            jwt.encode({"iss": "cdp", "sub": "k", "uris": []}, api_key.secret, "ES256"),
            False,
        ),
        "a refresh token": (cdp.sign_in().refresh_token, False),
        "four parts": (f"{cdp.token()}.x", False),
        "an empty part": (".".join((*cdp.token().split(".")[:2], "")), False),
        "no base64": ("not-a-header.not-a-payload.not-a-signature", False),
        "another key": (cdp.token(key="foreign"), True),
        "another key, under the id of ours": (cdp.token(key="imposter"), True),
        "RS256": (cdp.token(algorithm="RS256"), True),
        "EdDSA": (cdp.token(algorithm="EdDSA"), True),
        "unsigned": (cdp.token(algorithm="none"), False),
        "signed with the public key": (cdp.token(algorithm="HS256", key="public"), True),
        "bound to a key": (cdp.token(cnf={"jkt": "x"}), True),
    }


class TestALookAlike:
    def test_is_refused_by_the_service(self, client: MoonKey, cdp: CdpEmulator) -> None:
        for name, (token, is_asked) in look_alikes(cdp).items():
            cdp.clear_requests()
            auth = shown(client, token)
            assert auth.is_rejected, (name, auth.error)
            assert auth.error is not None
            assert auth.error.status in (400, 401), name
            assert assert_no_secret([str(auth.error)], [token])
            assert (cdp.requests()[VALIDATE] > 0) is is_asked, name
            assert isinstance(auth.error, ExpiredCredentials) is (name == "over"), name

    def test_is_refused_here(self, local: MoonKey, cdp: CdpEmulator) -> None:
        for name, (token, _) in look_alikes(cdp).items():
            auth = shown(local, token)
            assert auth.is_rejected, (name, auth.error)
            assert isinstance(auth.error, ExpiredCredentials) is (name == "over"), name
        assert VALIDATE not in cdp.requests()

    def test_over_by_a_moment(self, cdp: CdpEmulator) -> None:
        """Also in the emulated service, whose clock has no leeway."""
        with MoonKey(provider=provider(cdp, leeway=0), **SECRET) as client:
            auth = shown(client, cdp.token(exp=time.time() - 0.001))
        assert isinstance(auth.error, ExpiredCredentials)
        assert not auth.error.session_is_over
        assert cdp.requests() == {}


class TestAReply:
    def test_that_the_token_is_not_good(self, client: MoonKey, cdp: CdpEmulator) -> None:
        ada = cdp.sign_in()
        assert shown(client, ada.access_token).is_authenticated
        cdp.revoke(ada.access_token)
        auth = shown(client, ada.access_token, FRESH)
        assert auth.error is not None
        assert (auth.error.status, auth.error.reason) == (401, "token_inactive")
        assert cdp.requests() == {VALIDATE: 2, LIST: 1}
        assert shown(client, ada.access_token).is_rejected  # it is remembered for a moment
        assert cdp.requests()[VALIDATE] == 2

    def test_that_our_key_is_not_good(self, cdp: CdpEmulator, transport: str) -> None:
        tokens = [cdp.sign_in(f"{name}@example.com").access_token for name in ("ada", "bob")]
        cdp.revoke_api_key()

        async def main() -> None:
            async with AsyncMoonKey(provider=provider(cdp), **SECRET) as client:
                for token in tokens:
                    auth = await client.authenticate(headers(token))
                    assert auth.is_unavailable
                    assert isinstance(auth.error, ProviderRejectedKey)
                    assert auth.error.status == 500
                    assert "api_key_id" in str(auth.error)

        asyncio.run(main())

    def test_that_our_key_is_withdrawn_signs_nobody_out(
        self, client: MoonKey, cdp: CdpEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was known of the key a moment ago does not count for a token that was good."""
        monkeypatch.setattr(provider_module, "_PROBE_SECONDS", 600.0)
        ada = cdp.sign_in()
        assert shown(client, ada.access_token).is_authenticated
        assert shown(client, cdp.token(key="foreign")).is_rejected  # so the key was tried just now
        cdp.revoke_api_key()
        auth = shown(client, ada.access_token, FRESH)
        assert auth.is_unavailable
        assert isinstance(auth.error, ProviderRejectedKey)

    def test_strangers_cause_few_calls_about_our_key(
        self, client: MoonKey, cdp: CdpEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(provider_module, "_PROBE_SECONDS", 600.0)  # however slow the machine is
        for _ in range(20):
            assert shown(client, cdp.token(key="foreign")).is_rejected
        assert cdp.requests() == {VALIDATE: 20, LIST: 1}

    def test_of_the_gateway(self, client: MoonKey, cdp: CdpEmulator) -> None:
        cdp.gateway_refuses()
        auth = shown(client, cdp.sign_in().access_token)
        assert auth.is_unavailable
        assert isinstance(auth.error, ProviderRejectedKey)
        assert "allow-list" in str(auth.error)
        assert cdp.requests() == {VALIDATE: 1}  # it is not tried again

    def test_that_there_is_no_such_user(self, client: MoonKey, cdp: CdpEmulator) -> None:
        ada = cdp.sign_in()
        cdp.delete_user(ada.user_id)
        auth = shown(client, ada.access_token)
        assert auth.is_rejected
        assert auth.error is not None
        assert (auth.error.status, auth.error.reason) == (401, "user_unknown")

    def test_that_the_request_is_malformed(self, client: MoonKey, cdp: CdpEmulator) -> None:
        body = json.dumps({"errorType": "invalid_request", "errorMessage": "accessToken"})
        cdp.fault("/platform", status=400, body=body)
        auth = shown(client, cdp.sign_in().access_token)
        assert auth.is_rejected
        assert auth.error is not None
        assert (auth.error.status, auth.error.reason) == (401, "session_refused")

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            ({"status": 429, "headers": {"Retry-After": "30"}}, "api_rate_limited"),
            ({"status": 500}, "api_status"),
            ({"status": 502, "body": "<html>"}, "api_status"),
            ({"status": 503}, "api_status"),
            ({"status": 401, "body": "<html>"}, "api_status"),
            ({"status": 401, "body": '{"message": "Missing token"}'}, "api_status"),
            ({"status": 404, "body": "<html>"}, "api_status"),
            ({"status": 400, "body": "[]"}, "api_status"),
            ({"status": 409, "body": '{"errorType": "already_exists", "errorMessage": ""}'}, "api_status"),
            ({"status": 200, "body": "<html>"}, "api_content"),
            ({"status": 200, "body": "{}"}, "api_content"),
            ({"status": 200, "body": '{"userId": "a b"}'}, "api_content"),
            ({"status": 200, "body": '{"errorType": "unauthorized", "userId": "a"}'}, "api_content"),
            ({"status": 200, "body": '{"userId": "somebody-else"}'}, "api_mismatch"),
            ({"status": 204}, "api_content"),
            ({"reset": True}, "api_broken"),
        ],
        ids=lambda one: str(one) if isinstance(one, dict) else "",
    )
    def test_that_says_nothing(
        self, client: MoonKey, cdp: CdpEmulator, fault: dict[str, Any], reason: str
    ) -> None:
        token = cdp.sign_in().access_token
        cdp.fault("/platform/v2/end-users/auth", **fault)
        auth = shown(client, token)
        assert auth.is_unavailable, auth.error
        assert isinstance(auth.error, ProviderUnavailable)
        assert auth.error.reason == reason
        if fault.get("headers"):
            assert auth.error.retry_after == 30
        cdp.clear_faults()
        assert shown(client, token).is_authenticated

    @pytest.mark.parametrize(
        "fault",
        [{"status": 500}, {"status": 429}, {"status": 200, "body": "<html>"}, {"status": 401, "body": "x"}],
    )
    def test_about_our_key_that_says_nothing(
        self, client: MoonKey, cdp: CdpEmulator, fault: dict[str, Any]
    ) -> None:
        wrong = cdp.token(key="foreign")
        body = json.dumps({"errorType": "unauthorized", "errorMessage": "no"})
        cdp.fault("/platform/v2/end-users", **fault)
        cdp.fault("/platform/v2/end-users/auth", status=401, body=body)
        auth = shown(client, wrong)
        assert auth.is_unavailable
        assert isinstance(auth.error, ProviderUnavailable)

    def test_in_an_outage(self, client: MoonKey, cdp: CdpEmulator) -> None:
        token = cdp.sign_in().access_token
        cdp.stop()
        assert shown(client, token).is_unavailable

    def test_never_repeats_the_token(self, client: MoonKey, cdp: CdpEmulator) -> None:
        token = cdp.sign_in().access_token
        body = json.dumps({"errorType": "invalid_request", "errorMessage": f"bad {token}", "correlationId": token})
        cdp.fault("/platform", status=400, body=body)
        auth = shown(client, token)
        assert assert_no_secret([str(auth.error), repr(auth.error)], [token, token.split(".")[2]])

    @pytest.mark.parametrize(
        "members",
        [
            {"authenticationMethods": {}},
            {"authenticationMethods": [7]},
            {"authenticationMethods": [{"email": "a@b.c"}]},
            {"evmAccountObjects": [{"createdAt": "2026-01-01T00:00:00Z"}]},
            {"evmAccountObjects": [{"address": "0x1", "createdAt": "yesterday"}]},
            {"solanaAccountObjects": "none"},
            {"mfaMethods": []},
            {"mfaMethods": {"totp": {"enrolledAt": 7}}},
            {"createdAt": "2026-01-01T00:00:00"},
            {"userId": None},
        ],
        ids=str,
    )
    def test_with_a_member_of_the_wrong_type(
        self, client: MoonKey, cdp: CdpEmulator, members: dict[str, Any]
    ) -> None:
        cdp.end_user_members(**members)
        auth = shown(client, cdp.sign_in().access_token)
        assert auth.is_unavailable
        assert isinstance(auth.error, ProviderUnavailable)
        assert auth.error.reason == "api_content"

    def test_with_kinds_that_are_not_known(self, client: MoonKey, cdp: CdpEmulator) -> None:
        cdp.end_user_members(
            authenticationMethods=[{"type": "telegram", "id": 42}, {"type": "carrier_pigeon", "wing": "left"}],
            mfaMethods={
                "enrollmentPromptedAt": "2026-01-01T00:00:00Z",
                "passkey": {"enrolledAt": None},
                "sms": {},
            },
            evmAccountObjects=None,
            evmAccounts=["0xabc"],
            newMember=[1],
        )
        user = shown(client, cdp.sign_in().access_token).user
        assert user is not None
        assert [(one.type, one.identifier) for one in user.authentication_methods] == [
            ("telegram", "42"),
            ("carrier_pigeon", None),
        ]
        assert user.mfa_methods == ()
        assert [(one.type, one.address) for one in user.wallets] == [("evm", "0xabc")]


class TestWhatCannotBeDone:
    def test_is_said_with_what_to_do(self, cdp: CdpEmulator) -> None:
        with MoonKey(provider=provider(cdp), **SECRET) as client:
            ada = cdp.sign_in()
            cases: Mapping[str, Any] = {
                "signOut()": lambda: client.sessions.revoke(session_jwt=ada.access_token),
                "names no session": lambda: client.sessions.list(ada.user_id),
                "in the browser": lambda: client.otps.login_or_create(email="ada@example.com"),
                "renews tokens": lambda: client.sessions.verify(session_jwt=ada.access_token, extend=60),
            }
            for what, call in cases.items():
                with pytest.raises(NotSupported, match=r"CDP") as raised:
                    call()
                assert what in str(raised.value)
            assert cdp.requests() == {}

    def test_users_are_read_by_their_id(self, client: MoonKey, cdp: CdpEmulator) -> None:
        ada = cdp.sign_in("ada@example.com")
        user = client.users.get(ada.user_id)
        assert (user.id, user.email, user.scope) == (ada.user_id, "ada@example.com", f"cdp:{cdp.project_id}")
        for unknown in ("nobody", "no/body"):
            with pytest.raises(NotFound):
                client.users.get(unknown)
        cdp.revoke_api_key()
        with pytest.raises(ProviderRejectedKey):
            client.users.get(ada.user_id)


class TestARevocation:
    def test_of_a_token_and_of_a_user(self, client: MoonKey, cdp: CdpEmulator) -> None:
        ada, other = cdp.sign_in("ada@example.com"), cdp.sign_in("ada@example.com")
        eve = cdp.sign_in("eve@example.com")
        for one in (ada, other, eve):
            assert shown(client, one.access_token).is_authenticated
        client.revocations.add(session_id=ada.token_id)
        assert [shown(client, one.access_token).is_authenticated for one in (ada, other, eve)] == [
            False,
            True,
            True,
        ]
        client.revocations.add(user_id=ada.user_id)
        assert [shown(client, one.access_token).is_authenticated for one in (ada, other, eve)] == [
            False,
            False,
            True,
        ]

    def test_of_a_user_of_another_project(self, cdp: CdpEmulator) -> None:
        """The same id: the ids of two projects never meet."""
        ada = cdp.sign_in()
        with MoonKey(provider=provider(cdp), **SECRET) as client:
            with pytest.raises(ValueError, match="has no issuer"):
                client.revocations.add(user_id=ada.user_id, issuer="cdp:another")
            assert shown(client, ada.access_token).is_authenticated

    def test_of_a_token_that_was_verified_here(self, local: MoonKey, cdp: CdpEmulator) -> None:
        ada = cdp.sign_in()
        assert shown(local, ada.access_token).is_authenticated
        local.revocations.add(session_id=ada.token_id)
        assert shown(local, ada.access_token).is_rejected


class TestConfiguration:
    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"api_key_id": ""}, "api_key_id"),
            ({"api_key_secret": " "}, "api_key_secret"),
            ({"api_key_secret": None}, "api_key_secret"),
            ({"project_id": ""}, "project_id"),
            ({"base_url": "http://api.cdp.example"}, "https"),
            ({"base_url": "ftp://x"}, "base_url"),
            ({"keys": {"keys": []}, "jwks_url": "https://x.example/jwks"}, "keys or jwks_url"),
            ({"jwks_url": "http://x.example/jwks"}, "https"),
            ({"longest_life": 10}, "longest_life"),
            ({"leeway": 100}, "leeway"),
            ({"audience": [""]}, "audience"),
        ],
    )
    def test_that_is_wrong(self, changes: dict[str, Any], problem: str) -> None:
        key = new_key("ES256")
        arguments: dict[str, Any] = {
            "api_key_id": key.key_id,
            "api_key_secret": key.secret,
            "project_id": "p",
            **changes,
        }
        with pytest.raises(ConfigurationError, match=problem) as raised:
            CDP(**arguments)
        assert key.secret not in str(raised.value)

    def test_has_no_key_set_unless_one_is_given(self, cdp: CdpEmulator) -> None:
        made = provider(cdp)
        assert (made.jwt_rules, made.keys) == (None, None)
        assert cdp.api_key_secret not in repr(vars(made)) + repr(made)
        assert CDP("id", cdp.api_key_secret, "p")._root == "https://api.cdp.coinbase.com/platform"

    def test_by_the_environment(self, cdp: CdpEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
        variables = {
            "MOONKEY_PROVIDER": "cdp",
            "MOONKEY_CDP_API_KEY_ID": cdp.api_key_id,
            "MOONKEY_CDP_API_KEY_SECRET": cdp.api_key_secret.replace("\n", "\\n"),
            "MOONKEY_CDP_PROJECT_ID": cdp.project_id,
            "MOONKEY_CDP_BASE_URL": cdp.api_url,
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with MoonKey(timeout=PATIENCE) as client:
            auth = shown(client, cdp.sign_in().access_token)
        assert (auth.is_authenticated, auth.provider) == (True, "cdp")


def conformance() -> tuple[Any, ...]:
    """The suite for providers, with tokens that are verified here. CDP has no ID tokens."""
    service = CdpEmulator()  # not started: nothing of it is called

    def make() -> CDP:
        return CDP(service.api_key_id, service.api_key_secret, service.project_id, keys=service.jwks())

    def sign(header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        key: Any = service.private_key()
        return jwt.encode(dict(claims), key, "ES256", headers={"kid": service.kid(), **header})

    def claims() -> Mapping[str, Any]:
        now = int(time.time())
        usual = {"iss": "cdp-api", "aud": "cdp-api", "project_id": service.project_id, "auth_type": "email"}
        return {**usual, "sub": "user-1", "jti": "token-1", "iat": now, "exp": now + 900}

    def answer(fetch: Fetch) -> Reply:
        assert fetch.json is not None
        claimed = jwt.decode(fetch.json["accessToken"], options={"verify_signature": False})
        body = {"userId": claimed["sub"], "authenticationMethods": [{"type": "email", "email": "ada@example.com"}]}
        return Reply(200, {"content-type": "application/json"}, json.dumps(body).encode())

    return provider_conformance(make, sign, claims, id_claims={}, answer=answer)


@pytest.mark.parametrize("check", conformance(), ids=str)
def test_it_conforms(check: Any) -> None:
    check()
