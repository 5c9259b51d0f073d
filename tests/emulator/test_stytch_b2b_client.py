"""The vendor's own Python client for B2B, unchanged, against the emulator; and what this package finds there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from moonkey_core import MoonKey
from moonkey_core.emulator import StytchB2BEmulator
from moonkey_core.provider import StytchB2B
from support.patience import PATIENT

if TYPE_CHECKING:
    from stytch import B2BClient

# The client takes a second to import, so that it is imported by the tests and not by their collection.
pytestmark = [
    pytest.mark.long,
    # It calls its own dependencies in ways that they have given up.
    pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'auth' parameter is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The `dict` method is deprecated"),
]


@pytest.fixture
def b2b() -> Iterator[StytchB2BEmulator]:
    with StytchB2BEmulator() as running:
        yield running


@pytest.fixture
def client(b2b: StytchB2BEmulator) -> Iterator[B2BClient]:
    import requests
    from stytch import B2BClient

    with requests.Session() as http:
        yield B2BClient(b2b.project_id, b2b.secret, environment=f"{b2b.base_url}/", sync_session=http)


def error_of(call: Any, *args: Any, **kwargs: Any) -> tuple[int, str | None]:
    from stytch.core.response_base import StytchError

    with pytest.raises(StytchError) as caught:
        call(*args, **kwargs)
    return caught.value.details.status_code, caught.value.details.error_type


def test_both_find_the_same(client: B2BClient, b2b: StytchB2BEmulator) -> None:
    ada = b2b.sign_in(
        "ada@acme.example", "acme", claims={"plan": "pro"}, roles=["editor"], factors=["email", "totp"]
    )
    theirs = client.sessions.authenticate(session_token=ada.session_token)
    local = client.sessions.authenticate_jwt_local(ada.session_jwt)
    options: dict[str, Any] = {"provider": StytchB2B(b2b.project_id, b2b.secret, base_url=b2b.base_url), **PATIENT}
    with MoonKey(**options) as mine:
        for found in (
            mine.sessions.verify(session_token=ada.session_token),
            mine.sessions.verify(session_jwt=ada.session_jwt),
        ):
            session = found.session
            for other in (theirs.member_session, local):
                assert other is not None
                assert (session.id, session.user_id) == (other.member_session_id, other.member_id)
                assert session.organization == other.organization_id
                assert session.extra["organization_slug"] == other.organization_slug
                assert list(session.roles) == other.roles
                assert session.expires_at == other.expires_at
                assert session.started_at == other.started_at
                assert session.extra["custom_claims"] == other.custom_claims
                assert [one.type for one in session.factors] == [
                    one.type.value for one in other.authentication_factors
                ]
            assert found.user.id == theirs.member.member_id
        assert mine.users.get(ada.member_id).email == theirs.member.email_address
        listed = client.sessions.get(ada.organization_id, ada.member_id).member_sessions
        assert [one.id for one in mine.sessions.list(ada.member_id)] == [one.member_session_id for one in listed]
        mine.sessions.revoke_all(ada.member_id)
    assert error_of(client.sessions.authenticate, session_token=ada.session_token) == (404, "session_not_found")


def test_permissions(client: B2BClient, b2b: StytchB2BEmulator) -> None:
    from stytch.b2b.models.sessions import AuthorizationCheck
    from stytch.shared.rbac_local import RBACPermissionError, TenancyError

    ada, bob = b2b.sign_in("ada@acme.example", "acme"), b2b.sign_in("bob@globex.example", "globex")
    permission = {"resource_id": "invoices", "actions": ["pay"]}
    b2b.organization_policy("acme", [{"role_id": "stytch_member", "description": "", "permissions": [permission]}])

    def check(action: str, resource: str = "documents", organization: str = ada.organization_id) -> Any:
        return AuthorizationCheck(organization_id=organization, resource_id=resource, action=action)

    for good in (check("read"), check("pay", "invoices")):
        found = client.sessions.authenticate(session_token=ada.session_token, authorization_check=good)
        assert found.verdict is not None
        assert found.verdict.granting_roles == ["stytch_member"]
        assert client.sessions.authenticate_jwt_local(ada.session_jwt, authorization_check=good) is not None
    for bad, kind, error in (
        (check("write"), "session_authorization_error", RBACPermissionError),
        (check("read", organization=bob.organization_id), "session_authorization_tenancy_error", TenancyError),
    ):
        asked = {"session_token": ada.session_token, "authorization_check": bad}
        assert error_of(client.sessions.authenticate, **asked) == (403, kind)
        with pytest.raises(error):
            client.sessions.authenticate_jwt_local(ada.session_jwt, authorization_check=bad)


def test_ending(client: B2BClient, b2b: StytchB2BEmulator) -> None:
    people = [b2b.sign_in("ada@acme.example", "acme") for _ in range(4)]
    client.sessions.revoke(member_session_id=people[0].session_id)
    client.sessions.revoke(session_token=people[1].session_token)
    assert len(client.sessions.get(people[0].organization_id, people[0].member_id).member_sessions) == 2
    client.sessions.revoke(member_id=people[0].member_id)
    assert client.sessions.get("acme", people[0].member_id).member_sessions == []
    member = client.organizations.members.dangerously_get(people[0].member_id)
    assert (member.member.email_address, member.organization.organization_slug) == ("ada@acme.example", "acme")


def test_asynchronous(b2b: StytchB2BEmulator) -> None:
    from aiohttp import ClientSession
    from stytch import B2BClient

    ada = b2b.sign_in()

    async def main() -> None:
        async with ClientSession() as http:
            client = B2BClient(b2b.project_id, b2b.secret, environment=f"{b2b.base_url}/", async_session=http)
            found = await client.sessions.authenticate_async(session_jwt=ada.session_jwt)
            assert found.member_session.member_session_id == ada.session_id
            local = await client.sessions.authenticate_jwt_local_async(found.session_jwt)
            assert local is not None
            assert local.organization_id == ada.organization_id
            await client.sessions.revoke_async(member_id=ada.member_id)

    asyncio.run(main())
    assert b2b.requests()["POST /v1/b2b/sessions/authenticate"] == 1
