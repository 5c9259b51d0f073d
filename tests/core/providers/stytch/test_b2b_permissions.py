"""What the roles of a member permit, in their own organization only; and the custom claims of members."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from moonkey_core import AuthorizationCheck, PermissionDenied, Requirements, gate
from moonkey_core.emulator import StytchB2BEmulator
from moonkey_core.provider import StytchB2B
from support.patience import PATIENT
from support.stytch_clients import StytchClient

POLICY: dict[str, Any] = {
    "roles": [{"role_id": "reader", "permissions": [{"resource_id": "documents", "actions": ["read"]}]}],
    "resources": [{"resource_id": "documents", "actions": ["read", "write"]}],
    "scopes": [],
}
OWN_ROLES = [
    {"role_id": "reader", "permissions": [{"resource_id": "documents", "actions": ["write"]}]},
    {"role_id": "owner", "permissions": [{"resource_id": "documents", "actions": ["*"]}]},
]


@pytest.fixture(scope="module")
def running() -> Iterator[StytchB2BEmulator]:
    with StytchB2BEmulator() as emulator:
        yield emulator


@pytest.fixture
def b2b(running: StytchB2BEmulator) -> StytchB2BEmulator:
    running.reset()
    return running


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, b2b: StytchB2BEmulator) -> Iterator[StytchClient]:
    made = StytchB2B(b2b.project_id, b2b.secret, base_url=b2b.base_url)
    client = StytchClient(request.param, {"provider": made, **PATIENT})
    yield client
    client.close()


def verdicts(client: StytchClient, member: Any, check: AuthorizationCheck) -> set[bool]:
    found = set()
    for credential in ({"session_token": member.session_token}, {"session_jwt": member.session_jwt}):
        try:
            client("sessions.verify", **credential, authorization_check=check)
            found.add(True)
        except PermissionDenied:
            found.add(False)
    return found


def test_the_roles_of_an_organization_are_added_to_those_of_the_project(
    client: StytchClient, b2b: StytchB2BEmulator
) -> None:
    b2b.policy(POLICY)
    ada = b2b.sign_in("ada@example.com", organization="first", roles=["reader"])
    bob = b2b.sign_in("bob@example.com", organization="second", roles=["reader"])
    b2b.organization_policy("first", OWN_ROLES)
    for member, action, expected in (
        (ada, "read", True),
        (ada, "write", True),
        (ada, "burn", False),
        (bob, "read", True),
        (bob, "write", False),
    ):
        check = AuthorizationCheck("documents", action, organization_id=member.organization_id)
        assert verdicts(client, member, check) == {expected}, (member, action)
        demand = {f"documents:{action}"}
        for credential in (member.session_token, member.session_jwt, member.session_jwt):
            auth = client.auth(credential, permissions=demand)
            refusal = gate.check(auth, Requirements(permissions=demand))
            assert (refusal is None) is expected
            assert refusal is None or isinstance(refusal, PermissionDenied)
    assert b2b.requests()["GET /v1/b2b/rbac/policy"] == 1
    assert b2b.requests()["GET /v1/b2b/rbac/organizations/{id}"] == 2


def test_in_another_organization_nothing_is_permitted(client: StytchClient, b2b: StytchB2BEmulator) -> None:
    b2b.policy(POLICY)
    ada = b2b.sign_in("ada@example.com", organization="first", roles=["reader"])
    bob = b2b.sign_in("bob@example.com", organization="second", roles=["reader"])
    check = AuthorizationCheck("documents", "read", organization_id=bob.organization_id)
    assert verdicts(client, ada, check) == {False}
    with pytest.raises(ValueError, match="organization_id"):
        client(
            "sessions.verify",
            session_jwt=ada.session_jwt,
            authorization_check=AuthorizationCheck("documents", "read"),
        )


def test_where_organizations_have_no_policies(b2b: StytchB2BEmulator) -> None:
    b2b.policy(POLICY)
    b2b.organization_policies(enabled=False)
    ada = b2b.sign_in(roles=["reader"])
    demand = {"documents:read"}
    for policies, state in ((True, "unavailable"), (False, "authenticated")):
        made = StytchB2B(b2b.project_id, b2b.secret, base_url=b2b.base_url, organization_policies=policies)
        client = StytchClient("sync", {"provider": made, **PATIENT})
        assert client.auth(ada.session_jwt, permissions=demand).state == state
        client.close()


def test_custom_claims(client: StytchClient, b2b: StytchB2BEmulator) -> None:
    ada = b2b.sign_in(claims={"plan": "free"})
    verified = client("sessions.verify", session_token=ada.session_token, custom_claims={"plan": "pro"}, extend=60)
    assert verified.session.claims["plan"] == "pro"
    old = client.auth(ada.session_jwt)
    assert old.session is not None, old.error
    assert old.session.claims["plan"] == "pro"
    assert old.session.organization == ada.organization_id
