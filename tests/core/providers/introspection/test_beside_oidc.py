"""Beside an OIDC provider: who is asked about which token, and what an answer changes. By real calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from moonkey_core import AsyncMoonKey, Auth, ConfigurationError, CookieSettings, MoonKey, ProviderUnavailable
from moonkey_core.emulator import OidcEmulator
from moonkey_core.gate import Requirements
from moonkey_core.providers.introspection.provider import Introspection
from moonkey_core.providers.oidc.presets import Keycloak, Okta
from moonkey_core.providers.oidc.provider import OIDC
from support.patience import PATIENT

FRESH = {"max_staleness": 0.0}


@pytest.fixture(scope="module")
def shared_oidc() -> Iterator[OidcEmulator]:
    with OidcEmulator() as running:
        yield running


@pytest.fixture
def oidc(shared_oidc: OidcEmulator) -> OidcEmulator:
    shared_oidc.start()
    shared_oidc.reset()
    return shared_oidc


def introspection(oidc: OidcEmulator, **changes: Any) -> Introspection:
    return Introspection(
        oidc.introspection_url,
        client_id=oidc.client_id,
        client_secret=oidc.client_secret,
        revocation_url=oidc.revocation_url,
        **changes,
    )


def provider(oidc: OidcEmulator, **changes: Any) -> OIDC:
    return OIDC(oidc.issuer, oidc.audience, keys=oidc.jwks(), **{"introspection": introspection(oidc), **changes})


class Asked:
    """A client of one kind, asked by one method."""

    def __init__(self, how: str, options: dict[str, Any]) -> None:
        self.runner = None if how == "sync" else asyncio.Runner()
        self.client: Any = MoonKey(**options) if how == "sync" else AsyncMoonKey(**options)

    def __call__(self, token: str, **demand: Any) -> Auth:
        requirements = Requirements(**demand) if demand else None
        found: Auth = self.run(self.client.authenticate({"authorization": f"Bearer {token}"}, requirements))
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
def asking(how: str, oidc: OidcEmulator, beside: dict[str, Any] | None = None, **options: Any) -> Iterator[Asked]:
    made = Asked(how, {"provider": provider(oidc, **(beside or {})), **PATIENT, **options})
    try:
        yield made
    finally:
        made.close()


def asked(oidc: OidcEmulator) -> int:
    return sum(count for route, count in oidc.requests().items() if "introspect" in route)


class TestAJwt:
    def test_is_verified_here_and_nobody_is_asked(self, how: str, oidc: OidcEmulator) -> None:
        person = oidc.sign_in()
        with asking(how, oidc) as ask:
            assert [ask(person.access_token).is_authenticated for _ in range(2)] == [True, True]
        assert asked(oidc) == 0

    def test_is_asked_about_where_it_has_to_be_fresh(self, how: str, oidc: OidcEmulator) -> None:
        person = oidc.sign_in(age=30)
        with asking(how, oidc) as ask:
            auth = ask(person.access_token, **FRESH)
            assert auth.is_authenticated, auth.error
            assert auth.user is not None
            assert auth.session is not None
            assert (auth.user.id, auth.session.id) == (person.user_id, person.session_id)
            assert asked(oidc) == 1
            assert ask(person.access_token, max_staleness=20).is_authenticated
            assert ask(person.access_token).is_authenticated
            assert asked(oidc) == 1  # the server has vouched for it a moment ago
            assert ask(person.access_token, **FRESH).is_authenticated
            assert asked(oidc) == 2

    def test_that_is_not_active_any_more_is_dead_and_others_of_its_session_are_not(
        self, how: str, oidc: OidcEmulator
    ) -> None:
        old = oidc.sign_in(age=30)
        new = oidc.sign_in(session_id=old.session_id, user_id=old.user_id)
        with asking(how, oidc) as ask:
            assert ask(old.access_token).is_authenticated
            assert ask(new.access_token).is_authenticated
            oidc.revoke(old.access_token)
            assert ask(old.access_token).is_authenticated  # nobody has asked
            refused = ask(old.access_token, **FRESH)
            assert refused.error is not None
            assert (refused.error.status, refused.error.reason) == (401, "token_inactive")
            assert ask(old.access_token).is_rejected
            before = asked(oidc)
            assert ask(new.access_token).is_authenticated
            assert asked(oidc) <= before + 1

    def test_of_a_revoked_session_is_confirmed_once_that_is_reported(self, how: str, oidc: OidcEmulator) -> None:
        person = oidc.sign_in(age=30)
        with asking(how, oidc) as ask:
            assert ask(person.access_token).is_authenticated
            ask.client.revocations.add_report(session_id=person.session_id)
            assert ask(person.access_token).is_authenticated
            assert asked(oidc) == 1
            oidc.revoke(session_id=person.session_id)
            ask.client.revocations.add_report(session_id=person.session_id)
            assert ask(person.access_token).is_rejected

    @pytest.mark.parametrize(
        "wrong", [{"key": "foreign"}, {"key": "imposter"}, {"aud": "other"}, {"age": 100_000}]
    )
    def test_that_is_not_genuine_is_shown_to_nobody(self, oidc: OidcEmulator, wrong: dict[str, Any]) -> None:
        token = oidc.token(**wrong)
        with asking("sync", oidc) as ask:
            assert ask(token, **FRESH).is_rejected
        assert asked(oidc) == 0

    @pytest.mark.parametrize("kind", ["encrypted", "id", "logout", "dpop", "machine"])
    def test_of_another_kind_is_shown_to_nobody(self, oidc: OidcEmulator, kind: str) -> None:
        token = oidc.token(kind=kind)
        with asking("sync", oidc) as ask:
            assert ask(token, **FRESH).is_rejected
        assert asked(oidc) == 0

    def test_that_the_server_only_calls_active_is_good(self, oidc: OidcEmulator) -> None:
        person = oidc.sign_in(age=30)
        names = ["iss", "aud", "sub", "exp", "iat", "sid", "jti", "scope", "client_id", "token_type"]
        oidc.introspection(**dict.fromkeys(names))
        with asking("sync", oidc) as ask:
            assert ask(person.access_token, **FRESH).is_authenticated
            assert ask(person.opaque_token).is_rejected  # of that nothing else is known

    @pytest.mark.parametrize(
        ("changes", "status"),
        [
            ({"sub": "another"}, 503),
            ({"sid": "another"}, 503),
            ({"iss": "https://other.example"}, 401),
            ({"aud": "https://other.example"}, 401),
            ({"cnf": {"jkt": "x"}}, 401),
            ({"token_type": "DPoP"}, 401),
            ({"exp": 1_000_000_000}, 401),
            ({"active": "true"}, 503),
        ],
    )
    def test_that_a_reply_contradicts_is_not_accepted(
        self, oidc: OidcEmulator, changes: dict[str, Any], status: int
    ) -> None:
        person = oidc.sign_in(age=30)
        oidc.introspection(**changes)
        with asking("sync", oidc) as ask:
            auth = ask(person.access_token, **FRESH)
        assert auth.error is not None
        assert auth.error.status == status

    def test_that_ends_early_by_a_reply_ends_no_session(self, oidc: OidcEmulator) -> None:
        old = oidc.sign_in(age=30)
        new = oidc.sign_in(session_id=old.session_id, user_id=old.user_id)
        with asking("sync", oidc) as ask:
            oidc.introspection(exp=1_000_000_000)
            assert ask(old.access_token, **FRESH).is_rejected
            oidc.introspection()
            assert ask(new.access_token).is_authenticated
            assert ask(new.opaque_token).is_authenticated

    def test_without_any_session_claim_is_the_same_session_after_a_call(self, oidc: OidcEmulator) -> None:
        token = oidc.token(drop=["sid", "jti"], age=30)
        with asking("sync", oidc) as ask:
            before, after = ask(token), ask(token, **FRESH)
        assert after.is_authenticated, after.error
        assert before.session is not None
        assert after.session is not None
        assert before.session.id == after.session.id


class TestAnOutage:
    def test_leaves_what_is_verified_here(self, how: str, oidc: OidcEmulator) -> None:
        person = oidc.sign_in(age=30)
        with asking(how, oidc) as ask:
            oidc.fault(urlsplit(oidc.introspection_url).path, status=503)
            assert ask(person.access_token).is_authenticated
            assert isinstance(ask(person.access_token, **FRESH).error, ProviderUnavailable)
            assert isinstance(ask(person.opaque_token).error, ProviderUnavailable)

    def test_is_bridged_by_grace(self, how: str, oidc: OidcEmulator) -> None:
        person = oidc.sign_in()
        with asking(how, oidc, grace_seconds=60) as ask:
            assert ask(person.opaque_token).is_authenticated
            oidc.fault(urlsplit(oidc.introspection_url).path, status=503)
            assert ask(person.opaque_token).is_authenticated
            assert isinstance(ask(person.opaque_token, **FRESH).error, ProviderUnavailable)


class TestAnOpaqueToken:
    def test_has_the_user_and_session_of_the_jwt(self, how: str, oidc: OidcEmulator) -> None:
        person = oidc.sign_in()
        with asking(how, oidc, session_cache_ttl=60) as ask:
            one, other = ask(person.access_token), ask(person.opaque_token)
            assert one.user is not None
            assert other.user is not None, other.error
            assert one.session is not None
            assert other.session is not None
            assert (one.user.id, one.session.id) == (other.user.id, other.session.id)
            assert ask(person.opaque_token).is_authenticated
            assert asked(oidc) == 1

    def test_of_a_revoked_session_is_refused(self, how: str, oidc: OidcEmulator) -> None:
        person = oidc.sign_in()
        with asking(how, oidc, session_cache_ttl=60) as ask:
            assert ask(person.opaque_token).is_authenticated
            ask.client.revocations.add(session_id=person.session_id)
            assert ask(person.opaque_token).is_rejected
            assert ask(person.access_token).is_rejected

    def test_that_is_dead_makes_the_jwts_of_its_session_be_confirmed(self, how: str, oidc: OidcEmulator) -> None:
        person = oidc.sign_in(age=30)
        with asking(how, oidc) as ask:
            assert ask(person.opaque_token).is_authenticated
            assert ask(person.access_token).is_authenticated
            oidc.revoke(session_id=person.session_id)
            assert ask(person.opaque_token).is_rejected
            assert ask(person.access_token).is_rejected

    def test_issued_after_the_user_was_revoked_is_accepted(self, oidc: OidcEmulator) -> None:
        old = oidc.sign_in(age=60)
        with asking("sync", oidc) as ask:
            ask.client.revocations.add(user_id=old.user_id)
            assert ask(old.opaque_token).is_rejected
            new = oidc.opaque_token(user_id=old.user_id, drop=["auth_time"], age=-1)  # only iat dates it
            auth = ask(new)
            assert auth.is_authenticated, auth.error

    @pytest.mark.parametrize("kind", ["id", "machine", "dpop"])
    def test_of_another_kind_is_refused(self, oidc: OidcEmulator, kind: str) -> None:
        with asking("sync", oidc) as ask:
            assert ask(oidc.opaque_token(kind=kind)).is_rejected

    def test_a_refresh_token_is_refused(self, oidc: OidcEmulator) -> None:
        person = oidc.sign_in()
        with asking("sync", oidc) as ask:
            assert ask(person.refresh_token).is_rejected


class TestRevoking:
    def test_revokes_the_token_there_and_the_session_here(self, how: str, oidc: OidcEmulator) -> None:
        person = oidc.sign_in(age=30)
        with asking(how, oidc) as ask:
            assert ask(person.access_token).is_authenticated
            ask.run(ask.client.sessions.revoke(session_jwt=person.access_token))
            assert ask(person.access_token).is_rejected
        with asking(how, oidc) as other:
            assert other(person.access_token, **FRESH).is_rejected


class TestSettings:
    def test_several_issuers_need_to_be_told_apart(self, oidc: OidcEmulator) -> None:
        issuers = [oidc.issuer, "https://other.example"]
        with pytest.raises(ConfigurationError, match="needs issuer"):
            OIDC(issuers, oidc.audience, keys=oidc.jwks(), introspection=introspection(oidc))
        with pytest.raises(ConfigurationError, match="needs issuer"):
            OIDC(
                issuers,
                oidc.audience,
                keys=oidc.jwks(),
                introspection=introspection(oidc, issuer="https://third.example"),
            )
        OIDC(issuers, oidc.audience, keys=oidc.jwks(), introspection=introspection(oidc, issuer=oidc.issuer))

    def test_anything_else_is_no_introspection(self, oidc: OidcEmulator) -> None:
        with pytest.raises(ConfigurationError, match="introspection must be"):
            OIDC(oidc.issuer, oidc.audience, introspection="https://id.example")  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "changes",
        [
            {"audience": "https://other.example"},
            {"client_ids": "web"},
            {"allow_machines": True},
            {"leeway": 1},
            {"longest_life": 3600},
            {"credential_headers": "x-token"},
            {"cookies": CookieSettings()},
        ],
        ids=lambda changes: next(iter(changes)),
    )
    def test_what_only_the_provider_decides_is_refused(self, oidc: OidcEmulator, changes: dict[str, Any]) -> None:
        beside = introspection(oidc, issuer=oidc.issuer, **changes)
        with pytest.raises(ConfigurationError, match=f"{next(iter(changes))} of Introspection has no effect"):
            OIDC(oidc.issuer, oidc.audience, introspection=beside)

    def test_the_same_issuer_and_audience_may_be_repeated(self, oidc: OidcEmulator) -> None:
        beside = introspection(oidc, issuer=oidc.issuer, audience=oidc.audience)
        OIDC(oidc.issuer, oidc.audience, introspection=beside)

    @pytest.mark.parametrize("preset", ["keycloak", "okta"])
    def test_a_preset_judges_replies_by_its_own_rules(self, oidc: OidcEmulator, preset: str) -> None:
        with MoonKey(**self.settings_of(oidc, preset)) as client:
            for kind, good in (("user", True), ("machine", False), ("id", False)):
                token = oidc.opaque_token(preset, kind)
                auth = client.authenticate({"authorization": f"Bearer {token}"})
                assert auth.is_authenticated is good, (kind, auth.error)

    @pytest.mark.parametrize("preset", ["keycloak", "okta"])
    def test_a_preset_is_asked_about_a_jwt_that_has_to_be_fresh(self, oidc: OidcEmulator, preset: str) -> None:
        person = oidc.sign_in(preset=preset, age=30)
        headers = {"authorization": f"Bearer {person.access_token}"}
        with MoonKey(**self.settings_of(oidc, preset)) as client:
            assert client.authenticate(headers).is_authenticated
            assert asked(oidc) == 0
            auth = client.authenticate(headers, Requirements(max_staleness=0.0))
            assert auth.is_authenticated, auth.error
            assert asked(oidc) == 1
            oidc.revoke(person.access_token)
            assert client.authenticate(headers, Requirements(max_staleness=0.0)).is_rejected

    def settings_of(self, oidc: OidcEmulator, preset: str) -> dict[str, Any]:
        info = oidc.preset(preset)
        beside: dict[str, Any] = {"keys": oidc.jwks(), "introspection": introspection(oidc)}
        if preset == "okta":
            return {"provider": Okta(info.issuer, info.audience, **beside), **PATIENT}
        url, _, realm = info.issuer.partition("/realms/")
        return {"provider": Keycloak(url, realm, audience=info.audience, **beside), **PATIENT}
