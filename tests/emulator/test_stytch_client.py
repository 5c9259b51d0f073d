"""The vendor's own Python client, unchanged, against the emulator of a Stytch consumer project."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from moonkey_core.emulator import StytchEmulator
from support import quick

if TYPE_CHECKING:
    from stytch import Client

# The client takes a second to import, so that it is imported by the tests and not by their collection.
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning"),
]

EMAIL, PHONE = "ada@example.com", "+14155550100"
READ = {"resource_id": "documents", "action": "read"}
WRITE = {"resource_id": "documents", "action": "write"}


@contextmanager
def vendor_client(stytch: StytchEmulator, secret: str) -> Iterator[Client]:
    import requests
    from stytch import Client

    with requests.Session() as http:
        yield Client(stytch.project_id, secret, environment=f"{stytch.base_url}/", sync_session=http)


@pytest.fixture
def client(stytch: StytchEmulator) -> Iterator[Client]:
    with vendor_client(stytch, stytch.secret) as found:
        yield found


def error_of(call: Any, *args: Any, **kwargs: Any) -> tuple[int, str | None]:
    """The status and type of the error that a call ends with."""
    from stytch.core.response_base import StytchError

    with pytest.raises(StytchError) as caught:
        call(*args, **kwargs)
    details = caught.value.details
    assert details.request_id.startswith("request-id-test-")
    return details.status_code, details.error_type


def test_authenticate_list_revoke(client: Client, stytch: StytchEmulator) -> None:
    ada = stytch.sign_in(EMAIL, minutes=60)
    found = client.sessions.authenticate(session_token=ada.session_token)
    assert (found.session.session_id, found.session_token) == (ada.session_id, ada.session_token)
    assert (found.user.user_id, found.user.emails[0].email) == (ada.user_id, EMAIL)
    assert found.session.roles == ["stytch_user"]
    assert found.verdict is None
    by_jwt = client.sessions.authenticate(session_jwt=found.session_jwt)
    assert by_jwt.session_token == ada.session_token
    other = stytch.sign_in(EMAIL)
    assert {one.session_id for one in client.sessions.get(ada.user_id).sessions} == {
        ada.session_id,
        other.session_id,
    }

    client.sessions.revoke(session_id=other.session_id)
    client.sessions.revoke(session_jwt=found.session_jwt)
    assert client.sessions.get(ada.user_id).sessions == []
    for how in ({"session_token": ada.session_token}, {"session_jwt": found.session_jwt}):
        assert error_of(client.sessions.authenticate, **how) == (404, "session_not_found")
    assert error_of(client.sessions.revoke, session_id=other.session_id) == (404, "session_not_found")


def test_what_a_request_names(client: Client, stytch: StytchEmulator) -> None:
    ada = stytch.sign_in()
    both: dict[str, Any] = {"session_token": ada.session_token, "session_jwt": ada.session_jwt}
    authenticate, revoke = client.sessions.authenticate, client.sessions.revoke
    assert error_of(authenticate, **both) == (400, "too_many_session_arguments")
    assert error_of(authenticate) == (400, "no_session_arguments")
    assert error_of(revoke, **both) == (400, "too_many_session_revoke_arguments")
    assert error_of(revoke) == (400, "no_session_revoke_arguments")
    assert error_of(authenticate, session_token="short") == (400, "invalid_session_token")
    assert error_of(authenticate, session_jwt="a.b.c") == (400, "unable_to_parse_session_jwt")
    for minutes in (4, 527_041):
        wanted: dict[str, Any] = {"session_token": ada.session_token, "session_duration_minutes": minutes}
        assert error_of(authenticate, **wanted) == (400, "invalid_session_duration_minutes")
    assert error_of(client.sessions.get, "user-test-unknown") == (404, "user_not_found")


def test_the_end_moves_by_a_duration_only(client: Client, stytch: StytchEmulator) -> None:
    ada = stytch.sign_in(minutes=60)
    authenticate = client.sessions.authenticate
    end = authenticate(session_token=ada.session_token).session.expires_at
    again = authenticate(session_token=ada.session_token).session
    assert (again.expires_at, again.started_at) == (end, again.started_at)
    moved = authenticate(session_token=ada.session_token, session_duration_minutes=5).session
    assert moved.expires_at is not None
    assert timedelta(minutes=4) < moved.expires_at - datetime.now(UTC) <= timedelta(minutes=5)
    assert end is not None
    assert moved.expires_at < end
    assert moved.last_accessed_at is not None
    assert again.last_accessed_at is not None
    assert moved.last_accessed_at > again.last_accessed_at


def test_local_check_of_a_jwt(client: Client, stytch: StytchEmulator) -> None:
    ada = stytch.sign_in(claims={"team": "a"})
    local = client.sessions.authenticate_jwt_local(ada.session_jwt)
    assert local is not None
    assert (local.session_id, local.user_id, local.custom_claims) == (ada.session_id, ada.user_id, {"team": "a"})
    assert client.sessions.authenticate_jwt_local(stytch.token("domain", session_id=ada.session_id)) is not None
    assert client.sessions.authenticate_jwt_local(stytch.token("slash", session_id=ada.session_id)) is None
    assert stytch.requests()["POST /v1/sessions/authenticate"] == 0

    expired = stytch.token("expired", session_id=ada.session_id)
    renewed = client.sessions.authenticate_jwt(expired)
    assert renewed.session_jwt != expired
    assert client.sessions.authenticate_jwt_local(renewed.session_jwt) is not None
    assert stytch.requests()["POST /v1/sessions/authenticate"] == 1
    assert (
        client.sessions.authenticate_jwt(ada.session_jwt, max_token_age_seconds=0).session_jwt != ada.session_jwt
    )

    asynchronous = asyncio.run(client.sessions.authenticate_jwt_local_async(ada.session_jwt))
    assert asynchronous is not None
    assert asynchronous.session_id == ada.session_id
    # A revoked session goes on locally, until its JWT ends.
    stytch.revoke(ada.session_id)
    assert client.sessions.authenticate_jwt_local(ada.session_jwt) is not None
    assert error_of(client.sessions.authenticate, session_jwt=ada.session_jwt) == (404, "session_not_found")


def test_rotation_publishes_both_keys(client: Client, stytch: StytchEmulator) -> None:
    old, old_kid = stytch.sign_in().session_jwt, stytch.kid
    new_kid = stytch.rotate_keys()
    new = stytch.sign_in().session_jwt
    assert {key.kid for key in client.sessions.get_jwks(stytch.project_id).keys} == {old_kid, new_kid}
    assert client.sessions.authenticate_jwt_local(old) is not None
    assert client.sessions.authenticate_jwt_local(new) is not None
    stytch.rotate_keys(keep_old=False)
    assert len(client.sessions.get_jwks(stytch.project_id).keys) == 1
    assert error_of(client.sessions.authenticate, session_jwt=new) == (400, "unable_to_parse_session_jwt")
    assert error_of(client.sessions.get_jwks, "project-test-other") == (404, "project_not_found")


def test_permissions(client: Client, stytch: StytchEmulator) -> None:
    from stytch.consumer.models.sessions import AuthorizationCheck
    from stytch.shared.rbac_local import RBACConsumerPermissionError

    ada = stytch.sign_in(roles=["editor"])
    bob = stytch.sign_in("bob@example.com")
    token: dict[str, Any] = {"session_token": ada.session_token}
    found = client.sessions.authenticate(**token, authorization_check=WRITE).verdict
    assert found is not None
    assert (found.authorized, found.granting_roles) == (True, ["editor"])
    found = client.sessions.authenticate(**token, authorization_check=READ).verdict
    assert found is not None
    assert found.granting_roles == ["stytch_user", "editor"]
    refused = error_of(client.sessions.authenticate, session_token=bob.session_token, authorization_check=WRITE)
    assert refused == (403, "session_authorization_error")
    # The client's own verdict, by the policy.
    check = AuthorizationCheck(**WRITE)
    assert client.sessions.authenticate_jwt_local(ada.session_jwt, authorization_check=check) is not None
    with pytest.raises(RBACConsumerPermissionError):
        client.sessions.authenticate_jwt_local(bob.session_jwt, authorization_check=check)
    assert stytch.requests()["GET /v1/rbac/policy"] == 1
    stytch.set_roles(bob.user_id, ["admin"])
    found = client.sessions.authenticate(session_token=bob.session_token, authorization_check=WRITE).verdict
    assert found is not None
    assert found.granting_roles == ["admin"]


def test_custom_claims(client: Client, stytch: StytchEmulator) -> None:
    ada = stytch.sign_in()

    def changed(claims: dict[str, Any], minutes: int | None = 60) -> dict[str, Any] | None:
        more: dict[str, Any] = {"session_duration_minutes": minutes, "session_custom_claims": claims}
        found = client.sessions.authenticate(session_token=ada.session_token, **more)
        local = client.sessions.authenticate_jwt_local(found.session_jwt)
        assert local is not None
        assert local.custom_claims == found.session.custom_claims
        return found.session.custom_claims

    assert changed({"a": 1, "deep": {"x": 1, "y": 2}}) == {"a": 1, "deep": {"x": 1, "y": 2}}
    assert changed({"b": 2, "deep": {"y": None, "z": 3}}) == {"a": 1, "b": 2, "deep": {"x": 1, "z": 3}}
    assert changed({"a": None, "deep": None}) == {"b": 2}
    assert changed({"c": 3}, minutes=None) == {"b": 2}
    assert changed({"iss": "evil", "https://stytch.com/session": {}, "d": 4}) == {"b": 2, "d": 4}
    wanted: dict[str, Any] = {"session_token": ada.session_token, "session_duration_minutes": 60}
    large = {**wanted, "session_custom_claims": {"large": "x" * 4_090}}
    assert error_of(client.sessions.authenticate, **large) == (400, "custom_claims_too_large")
    assert changed({"large": "x" * 4_000}) is not None
    stytch.reserved_claims(refuse=True)
    for name, kind in {
        "sub": "reserved_claims_in_custom_claims",
        "https://stytch.com/x": "stytch_claims_in_custom_claims",
    }.items():
        refused = {**wanted, "session_custom_claims": {name: 1}}
        assert error_of(client.sessions.authenticate, **refused) == (400, kind)


def test_one_time_passcodes(client: Client, stytch: StytchEmulator) -> None:
    sent = client.otps.email.login_or_create(EMAIL, expiration_minutes=10)
    assert sent.user_created
    assert client.otps.email.send(EMAIL).email_id == sent.email_id
    code = stytch.outbox()[0].code
    wrong = "000000" if code != "000000" else "111111"
    assert error_of(client.otps.authenticate, sent.email_id, wrong) == (404, "otp_code_not_found")
    device = {"ip_address": "192.0.2.1", "user_agent": "x"}
    login = client.otps.authenticate(sent.email_id, code, attributes=device, session_duration_minutes=60)
    assert login.session is not None
    assert login.session.attributes is not None
    assert login.session.attributes.model_dump() == device
    assert login.user.emails[0].verified
    assert error_of(client.otps.authenticate, sent.email_id, code) == (401, "unable_to_auth_otp_code")
    assert error_of(client.otps.email.send, "bob@example.com") == (404, "email_not_found")
    assert error_of(client.otps.email.login_or_create, EMAIL, expiration_minutes=11) == (400, "invalid_expiration")

    text = client.otps.sms.send(PHONE, user_id=login.user_id)
    more = client.otps.authenticate(text.phone_id, stytch.outbox()[0].code, session_jwt=login.session_jwt)
    assert more.session is not None
    assert (more.session.session_id, more.session.expires_at) == (
        login.session.session_id,
        login.session.expires_at,
    )
    assert [one.delivery_method.value for one in more.session.authentication_factors] == ["email", "sms"]
    without = client.otps.sms.login_or_create(PHONE)
    alone = client.otps.authenticate(without.phone_id, stytch.outbox()[0].code)
    assert (alone.session, alone.session_token, alone.session_jwt) == (None, "", "")


def test_magic_links(client: Client, stytch: StytchEmulator) -> None:
    urls: dict[str, Any] = {
        "login_magic_link_url": "https://app.example/in?a=1",
        "signup_magic_link_url": "https://app.example/up",
    }
    sent = client.magic_links.email.login_or_create(EMAIL, **urls)
    link = stytch.outbox()[0].link
    assert link.startswith("https://app.example/up?stytch_token_type=magic_links&token=")
    (token,) = parse_qs(urlsplit(link).query)["token"]
    login = client.magic_links.authenticate(token, session_duration_minutes=60)
    assert (login.user_id, login.method_id) == (sent.user_id, sent.email_id)
    assert error_of(client.magic_links.authenticate, token) == (401, "unable_to_auth_magic_link")
    client.magic_links.email.login_or_create(EMAIL, **urls)
    assert stytch.outbox()[0].link.startswith("https://app.example/in?a=1&stytch_token_type=magic_links&token=")


def test_oauth(client: Client, stytch: StytchEmulator) -> None:
    query = {"public_token": stytch.public_token, "login_redirect_url": "https://app.example/in"}
    start = quick.get(f"{stytch.base_url}/v1/public/oauth/google/start", params=query)
    assert start.status_code == 302
    back = quick.get(start.headers["location"], params={**parse_qs(urlsplit(start.headers["location"]).query)})
    location = urlsplit(back.headers["location"])
    assert location[:3] == ("https", "app.example", "/in")
    found = parse_qs(location.query)
    assert found["stytch_token_type"] == ["oauth"]
    login = client.oauth.authenticate(found["token"][0], session_duration_minutes=60)
    assert login.provider_type == "Google"
    assert login.user_session is not None
    assert login.user_session.authentication_factors[0].google_oauth_factor is not None
    assert error_of(client.oauth.authenticate, found["token"][0]) == (404, "oauth_token_not_found")
    wrong = quick.get(f"{stytch.base_url}/v1/public/oauth/google/start", params={**query, "public_token": "x"})
    assert (wrong.status_code, wrong.json()["error_type"]) == (404, "public_token_not_found")


def test_authenticator_apps(client: Client, stytch: StytchEmulator) -> None:
    ada = stytch.sign_in(EMAIL)
    made = client.totps.create(ada.user_id)
    assert not made.user.totps[0].verified
    code = stytch.totp_code(made.secret)
    login = client.totps.authenticate(ada.user_id, code, session_token=ada.session_token)
    assert login.session is not None
    assert [one.type.value for one in login.session.authentication_factors] == ["otp", "totp"]
    again = error_of(client.totps.authenticate, ada.user_id, code)
    assert again == (401, "totp_code_already_authenticated")
    assert error_of(client.totps.create, ada.user_id) == (400, "active_totp_exists")
    codes = client.totps.recovery_codes(ada.user_id).totps[0].recovery_codes
    assert codes == made.recovery_codes
    recovered = client.totps.recover(ada.user_id, codes[0], session_duration_minutes=60)
    assert recovered.session is not None
    assert recovered.session.authentication_factors[0].recovery_code_factor is not None
    used = error_of(client.totps.recover, ada.user_id, codes[0])
    assert used == (401, "unable_to_authenticate_recovery_code")
    bob = stytch.sign_in("bob@example.com")
    assert error_of(client.totps.authenticate, bob.user_id, code) == (404, "totps_not_found_for_user")


def test_users(client: Client, stytch: StytchEmulator) -> None:
    made = client.users.create(email=EMAIL, external_id="ada-1", trusted_metadata={"plan": "a"})
    assert made.user.trusted_metadata == {"plan": "a"}
    assert error_of(client.users.create, email=EMAIL) == (400, "duplicate_email")
    assert client.users.get("ada-1").user_id == made.user_id
    session = stytch.sign_in(user_id=made.user_id)
    assert client.sessions.get("ada-1").sessions[0].session_id == session.session_id
    client.users.update(made.user_id, trusted_metadata={"plan": None, "seats": 2})
    assert client.users.get(made.user_id).trusted_metadata == {"seats": 2}
    client.users.delete(made.user_id)
    assert error_of(client.users.get, made.user_id) == (404, "user_not_found")
    gone = error_of(client.sessions.authenticate, session_token=session.session_token)
    assert gone == (404, "session_not_found")


def test_machines_and_connected_apps(client: Client, stytch: StytchEmulator) -> None:
    """They are signed by the keys of sessions, for the same issuer and audience."""
    made = client.m2m.token(stytch.m2m_client_id, stytch.m2m_client_secret, ["read:documents"])
    claims = client.m2m.authenticate_token(made.access_token, required_scopes=["read:documents"])
    assert claims is not None
    assert (claims.client_id, made.expires_in) == (stytch.m2m_client_id, 3_600)
    assert error_of(client.m2m.token, stytch.m2m_client_id, "wrong") == (401, "invalid_client")
    ada = stytch.sign_in()
    app = stytch.token("connected-app", session_id=ada.session_id)
    found = client.idp.introspect_token_network(app, "connected-app-test-1")
    assert found is not None
    assert found.subject == ada.user_id
    assert client.idp.introspect_token_network(ada.session_jwt, "connected-app-test-1") is None
    for token in (made.access_token, app):
        assert error_of(client.sessions.authenticate, session_jwt=token) == (400, "jwt_invalid_claims")


def test_impersonation(client: Client, stytch: StytchEmulator) -> None:
    token = stytch.impersonation_token(EMAIL)
    found = client.impersonation.authenticate(token)
    assert found.session is not None
    (factor,) = found.session.authentication_factors
    assert factor.impersonated_factor is not None
    assert factor.impersonated_factor.impersonator_email_address == "support@example.com"
    assert error_of(client.impersonation.authenticate, token) == (401, "unable_to_auth_impersonation_token")
    again: dict[str, Any] = {"session_token": found.session_token}
    assert client.sessions.authenticate(**again).session.session_id == found.session.session_id
    refused = error_of(client.sessions.authenticate, session_duration_minutes=60, **again)
    assert refused == (400, "session_not_mutable_impersonated")


def test_a_connected_app_begins_a_session(client: Client, stytch: StytchEmulator) -> None:
    ada = stytch.sign_in(EMAIL)
    exchange, failed = client.sessions.exchange_access_token, "idp_access_token_could_not_be_exchanged"
    wide: dict[str, Any] = {"session_id": ada.session_id, "scope": "openid full_access"}
    token = stytch.token("connected-app", **wide)
    made = exchange(token, session_duration_minutes=60)
    assert made.session is not None
    (factor,) = made.session.authentication_factors
    assert factor.oauth_access_token_exchange_factor is not None
    assert made.user_id == ada.user_id
    others = (
        token,
        ada.session_jwt,
        stytch.token("m2m", scope="full_access"),
        stytch.token("connected-app", session_id=ada.session_id),
        stytch.token("connected-app", age=301, **wide),
    )
    for other in others:
        assert error_of(exchange, other, session_duration_minutes=60) == (401, failed)


def test_misbehaviour(client: Client, stytch: StytchEmulator) -> None:
    from stytch.core.response_base import StytchError

    ada, bob = stytch.sign_in(), stytch.sign_in("bob@example.com")

    def authenticate() -> Any:
        return client.sessions.authenticate(session_token=ada.session_token)

    for status, kind in {429: "too_many_requests", 500: "internal_server_error"}.items():
        stytch.fault(status=status, times=1)
        assert error_of(authenticate) == (status, kind)
    stytch.fault(status=503, body="<html>Bad gateway</html>", headers={"Content-Type": "text/html"}, times=1)
    with pytest.raises(StytchError) as caught:
        authenticate()
    assert caught.value.details.error_type is None
    stytch.wrong_session(bob.session_id)
    assert authenticate().session.session_id == bob.session_id
    stytch.wrong_session()
    assert authenticate().session.session_id == ada.session_id
    with vendor_client(stytch, "wrong") as wrong:
        refused = error_of(wrong.sessions.authenticate, session_token=ada.session_token)
    assert refused == (401, "unauthorized_credentials")
    stytch.session_members(drop=["roles"], attributes=None)
    reply = quick.post(
        f"{stytch.base_url}/v1/sessions/authenticate",
        json={"session_token": ada.session_token},
        auth=(stytch.project_id, stytch.secret),
    ).json()
    assert "roles" not in reply["session"]
    assert reply["session"]["attributes"] is None
    stytch.set_clock(14 * 86_400)
    assert stytch.now() > time.time() + 86_400
    assert error_of(authenticate) == (404, "session_not_found")
