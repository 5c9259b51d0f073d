"""A client of an emulated project of Stytch: verifying, renewing, extending, ending; and a second provider."""

from __future__ import annotations

from typing import Any

import pytest

from moonkey_core import (
    ConfigurationError,
    ExpiredCredentials,
    InvalidCredentials,
    MoonKey,
    NotFound,
    ProviderRejectedKey,
    Requirements,
    Settings,
    gate,
)
from moonkey_core import Stytch as StytchProject
from moonkey_core.emulator import Emulator, StytchEmulator
from moonkey_core.events import Delegated, Event
from support.patience import PATIENT
from support.stytch_clients import StytchClient, provider_of, stytch_client

HOW = pytest.mark.parametrize("how", ["sync", "async"])
AUTHENTICATE, KEYS = "POST /v1/sessions/authenticate", "GET /v1/sessions/jwks/{id}"


@HOW
def test_a_jwt_is_verified_here_and_a_token_is_asked_about(how: str, project: StytchEmulator) -> None:
    signed_in = project.sign_in(factors=["email", "totp"])
    with stytch_client(how, project) as client:
        local, again = (client.auth(signed_in.session_jwt) for _ in range(2))
        assert (local.source, again.source) == ("local", "cache")
        assert AUTHENTICATE not in project.requests()
        remote = client.auth(signed_in.session_token)
        assert remote.source == "remote"
        for auth in (local, remote):
            assert auth.user is not None
            assert auth.session is not None
            assert (auth.user.id, auth.session.id) == (signed_in.user_id, signed_in.session_id)
            assert {one.type for one in auth.session.factors} == {"otp", "totp"}
        assert remote.user is not None
        assert remote.user.email == "demo@example.com"


@HOW
def test_an_old_jwt_is_renewed(how: str, project: StytchEmulator) -> None:
    signed_in = project.sign_in()
    old, older = (project.token("session", session_id=signed_in.session_id, age=age) for age in (400, 500))
    with stytch_client(how, project) as client:
        auth = client.auth(old)
        assert auth.is_authenticated, auth.error
        assert auth.source == "remote"
        assert auth.user is not None
        assert auth.user.id == signed_in.user_id
        project.revoke(signed_in.session_id)
        assert client.auth(older).is_rejected


@HOW
def test_new_keys_are_found(how: str, project: StytchEmulator) -> None:
    with stytch_client(how, project) as client:
        assert client.auth(project.sign_in().session_jwt).is_authenticated
        project.rotate_keys()
        assert client.auth(project.sign_in().session_jwt).is_authenticated
        error = client.auth(project.token("session", key="foreign")).error
        assert isinstance(error, InvalidCredentials)


@HOW
def test_extend_list_get_and_end(how: str, project: StytchEmulator) -> None:
    first, second = project.sign_in(minutes=10), project.sign_in(minutes=10)
    with stytch_client(how, project) as client:
        extended = client("sessions.verify", session_token=first.session_token, extend=90)
        assert 85 < extended.session.expires_in.total_seconds() / 60 <= 90
        assert {one.id for one in client("sessions.list", first.user_id)} == {first.session_id, second.session_id}
        assert client("users.get", first.user_id).email == "demo@example.com"
        with pytest.raises(NotFound):
            client("users.get", "user-test-unknown")
        client("sessions.revoke", session_jwt=first.session_jwt)
        for credential in (first.session_jwt, first.session_token):
            assert client.auth(credential).is_rejected
        client("sessions.revoke", session_id=first.session_id)  # once more
        third = project.sign_in()
        assert set(client("sessions.revoke_all", first.user_id)) == {second.session_id, third.session_id}
        for one in (second, third):
            assert client.auth(one.session_jwt).is_rejected
            assert client.auth(one.session_token).is_rejected


@HOW
def test_a_wrong_secret_signs_no_user_out(how: str, project: StytchEmulator) -> None:
    signed_in = project.sign_in()
    made = StytchProject(project.project_id, "another-secret", base_url=project.base_url)
    with stytch_client(how, project) as client:
        assert client.auth(signed_in.session_token).is_authenticated
    other = StytchClient(how, {"provider": made, **PATIENT})
    auth = other.auth(signed_in.session_token)
    assert auth.is_unavailable
    assert isinstance(auth.error, ProviderRejectedKey)
    assert auth.error.status == 500
    assert "another-secret" not in str(auth.error)
    other.close()


@HOW
def test_a_reply_about_another_session_is_no_answer(how: str, project: StytchEmulator) -> None:
    ada, eve = project.sign_in("ada@example.com"), project.sign_in("eve@example.com")
    project.wrong_session(eve.session_id)
    with stytch_client(how, project) as client:
        assert client.auth(ada.session_token).is_unavailable
        assert client.auth(ada.session_jwt, max_staleness=0.0).is_unavailable


@HOW
def test_tokens_of_other_kinds_are_refused_without_a_call(how: str, project: StytchEmulator) -> None:
    with stytch_client(how, project) as client:
        for shape in ("m2m", "connected-app", "b2b", "other-project", "slash"):
            auth = client.auth(project.token(shape))
            assert auth.is_rejected, shape
        assert AUTHENTICATE not in project.requests()


@HOW
def test_a_jwt_whose_session_ended_a_nanosecond_ago_is_asked_about(how: str, project: StytchEmulator) -> None:
    just_over = project.token("just-over")
    with stytch_client(how, project, leeway=0) as client:
        assert client.auth(just_over).source == "remote"  # it was not accepted here
    project.reset()
    with stytch_client(how, project, leeway=0) as client:
        assert client.auth(just_over).is_rejected


@HOW
def test_the_user_of_a_jwt_is_loaded_and_kept(how: str, project: StytchEmulator) -> None:
    signed_in = project.sign_in()
    with stytch_client(how, project, load_user=True, user_ttl=60) as client:
        for _ in range(3):
            auth = client.auth(signed_in.session_jwt)
            assert auth.user is not None, auth.error
            assert auth.user.email == "demo@example.com"
        assert sum(count for route, count in project.requests().items() if "/v1/users/" in route) == 1


@HOW
def test_impersonation_is_an_event(how: str, project: StytchEmulator) -> None:
    signed_in = project.sign_in(factors=["impersonated"])
    events: list[Event] = []
    with stytch_client(how, project) as client:
        client.client.hooks.add(events.append)
        for credential in (signed_in.session_jwt, signed_in.session_token):
            auth = client.auth(credential)
            assert auth.actor
            refused = client.auth(credential, factor_count=1)
            assert refused.session is not None
            assert refused.session.factors == ()
    found = [one for one in events if isinstance(one, Delegated)]
    assert len(found) == 4
    assert {one.scope for one in found} == {f"stytch:{project.project_id}"}


@HOW
def test_without_renewal_an_old_jwt_is_expired(how: str, project: StytchEmulator) -> None:
    old = project.token("session", age=400)
    with stytch_client(how, project, refresh_jwt=False) as client:
        error = client.auth(old).error
        assert isinstance(error, ExpiredCredentials)
        assert not error.session_is_over
        assert AUTHENTICATE not in project.requests()


class TestBesideMoonKey:
    def test_each_credential_goes_to_its_own(self, emulator: Emulator, project: StytchEmulator) -> None:
        here, there = emulator.sign_in(), project.sign_in()
        stytch = provider_of(project).at(credential_headers="stytch-session")
        options: dict[str, Any] = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, **PATIENT}
        with MoonKey(providers=["moonkey", stytch], **options) as client:
            routes = client.settings.routes
            assert routes is not None
            assert routes.issuers[f"stytch.com/{project.project_id}"] == "stytch"
            auth = client.authenticate({"authorization": f"Bearer {there.session_jwt}"})
            assert auth.is_authenticated, auth.error
            assert (auth.provider, auth.source) == ("stytch", "local")
            auth = client.authenticate({"stytch-session": there.session_token})
            assert (auth.provider, auth.is_authenticated) == ("stytch", True)
            auth = client.authenticate({"authorization": f"Bearer {here.session_token}"})
            assert (auth.provider, auth.is_authenticated) == ("moonkey", True)
            project.clear_requests()
            emulator.clear_requests()
            assert client.authenticate({"authorization": f"Bearer {there.session_token}"}).is_rejected
            assert project.requests() == {}
            assert client.authenticate({"stytch-session": here.session_token}).is_rejected
            assert "POST /v1/auth/sessions/verify" not in {
                route for route, count in emulator.requests().items() if count > 1
            }

    def test_permissions_of_each(self, emulator: Emulator, project: StytchEmulator) -> None:
        """The policy is Stytch's: a session of MoonKey is judged by its claims as before."""
        here = emulator.sign_in(claims={"permissions": ["documents:write"]})
        there = project.sign_in(roles=["nothing"])
        options: dict[str, Any] = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, **PATIENT}
        stytch = provider_of(project).at(credential_headers="stytch-session")
        demand = Requirements(permissions={"documents:write"})
        with MoonKey(providers=["moonkey", stytch], **options) as client:
            auth = client.authenticate({"authorization": f"Bearer {here.session_token}"}, demand)
            assert gate.check(auth, demand) is None
            auth = client.authenticate({"authorization": f"Bearer {there.session_jwt}"}, demand)
            refusal = gate.check(auth, demand)
            assert refusal is not None
            assert refusal.status == 403


class TestByTheEnvironment:
    def test_a_word_and_variables(self, project: StytchEmulator) -> None:
        settings = Settings.load({}, project.settings)
        made = settings.provider
        assert isinstance(made, StytchProject)
        assert made.project_id == project.project_id
        assert project.secret not in repr(settings)
        with MoonKey(settings) as client:
            assert client.authenticate({"authorization": f"Bearer {project.sign_in().session_jwt}"})

    @pytest.mark.parametrize("missing", ["PROJECT_ID", "SECRET"])
    def test_what_is_missing_is_named(self, missing: str, project: StytchEmulator) -> None:
        variables = {name: one for name, one in project.settings.items() if not name.endswith(missing)}
        with pytest.raises(ConfigurationError, match=f"MOONKEY_STYTCH_{missing}"):
            Settings.load({}, variables)

    def test_cookies_need_a_secret_to_seal_with(self, project: StytchEmulator) -> None:
        with pytest.raises(ConfigurationError, match="cache_secret"):
            Settings.load({"cookies": True}, project.settings)

    def test_what_only_moonkey_knows_is_refused(self, project: StytchEmulator) -> None:
        with pytest.raises(ConfigurationError, match="jwt_issuer"):
            Settings.load({"jwt_issuer": "stytch.com/x"}, project.settings)
