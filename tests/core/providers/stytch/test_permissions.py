"""What the roles of a session permit: one verdict by the policy here and by the service, on each way."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import (
    AuthorizationCheck,
    PermissionDenied,
    ProviderError,
    ProviderUnavailable,
    Requirements,
    Stytch,
    gate,
)
from moonkey_core._plan import Done, Fetch, Reply, step
from moonkey_core.emulator import StytchEmulator
from moonkey_core.providers.stytch.rbac import Policy, parse_policy
from support.any_json import JSON as ANY
from support.stytch_clients import StytchClient, stytch_client
from support.stytch_tokens import PROJECT, SECRET

POLICY: dict[str, Any] = {
    "roles": [
        {
            "role_id": "editor",
            "description": "",
            "permissions": [
                {"resource_id": "documents", "actions": ["read", "write"]},
                {"resource_id": "reports", "actions": ["*"]},
            ],
        },
        {
            "role_id": "reader",
            "description": "",
            "permissions": [{"resource_id": "documents", "actions": ["read"]}],
        },
        {"role_id": "odd", "description": "", "permissions": [{"resource_id": "*", "actions": ["read"]}]},
        {"role_id": "stytch_user", "description": "", "permissions": []},
    ],
    "resources": [
        {"resource_id": "documents", "description": "", "actions": ["read", "write", "delete"]},
        {"resource_id": "reports", "description": "", "actions": ["read", "print"]},
    ],
    "scopes": [],
}

TABLE: list[tuple[list[str], str, str, bool]] = [
    (["editor"], "documents", "read", True),
    (["editor"], "documents", "write", True),
    (["editor"], "documents", "delete", False),
    (["editor"], "documents", "*", False),
    (["editor"], "documents", "Read", False),
    (["editor"], "Documents", "read", False),
    (["editor"], "document", "read", False),
    (["editor"], "reports", "print", True),
    (["editor"], "reports", "burn", True),  # by the wildcard, although no resource names it
    (["reader"], "documents", "read", True),
    (["reader"], "documents", "write", False),
    (["reader", "editor"], "documents", "write", True),
    (["odd"], "documents", "read", False),  # there is no wildcard for resources
    (["odd"], "anything", "read", False),
    ([], "documents", "read", False),
    (["unknown"], "documents", "read", False),
]


def verdicts(client: StytchClient, signed_in: Any, resource: str, action: str) -> dict[str, bool]:
    """What each way says of one question."""
    check, demand = AuthorizationCheck(resource, action), {f"{resource}:{action}"}
    found: dict[str, bool] = {}
    for name, credential in (
        ("remote", {"session_token": signed_in.session_token}),
        ("local", {"session_jwt": signed_in.session_jwt}),
        ("cached", {"session_jwt": signed_in.session_jwt}),
    ):
        try:
            client("sessions.verify", **credential, authorization_check=check)
            found[name] = True
        except PermissionDenied as error:
            found[name] = error.status != 403
    for name, text in (("token", signed_in.session_token), ("jwt", signed_in.session_jwt)):
        for again in ("first", "again"):
            auth = client.auth(text, permissions=demand)
            assert auth.is_authenticated, auth.error
            refusal = gate.check(auth, Requirements(permissions=demand))
            assert refusal is None or isinstance(refusal, PermissionDenied)
            found[f"route, {name}, {again}"] = refusal is None
    return found


@pytest.mark.parametrize("how", ["sync", "async"])
def test_the_verdict_is_the_same_on_each_way(how: str, project: StytchEmulator) -> None:
    project.policy(POLICY)
    with stytch_client(how, project, session_cache_ttl=60, cache_secret="c" * 32) as client:
        for number, (roles, resource, action, expected) in enumerate(TABLE):
            signed_in = project.sign_in(f"user{number}@example.com", roles=roles)
            found = verdicts(client, signed_in, resource, action)
            assert set(found.values()) == {expected}, (roles, resource, action, found)
            assert client.auth(signed_in.session_jwt).source == "cache"
            assert client.auth(signed_in.session_token).source == "cache"
    assert project.requests()["GET /v1/rbac/policy"] == 1


@pytest.mark.parametrize("how", ["sync", "async"])
def test_the_policy_is_loaded_only_where_a_route_asks_for_permissions(how: str, project: StytchEmulator) -> None:
    project.policy(POLICY)
    signed_in = project.sign_in(roles=["editor"])
    with stytch_client(how, project) as client:
        auth = client.auth(signed_in.session_jwt, roles={"editor"})
        assert gate.check(auth, Requirements(roles={"editor"})) is None
        assert auth.session is not None
        assert auth.session.permissions == ()
        assert "GET /v1/rbac/policy" not in project.requests()
        auth = client.auth(signed_in.session_jwt, permissions={"documents:read"})
        assert auth.session is not None
        assert auth.session.permissions == (
            "documents:read", "documents:write", "reports:read", "reports:print", "reports:*",
        )  # fmt: skip
        assert project.requests()["GET /v1/rbac/policy"] == 1


@pytest.mark.parametrize("how", ["sync", "async"])
def test_without_a_policy_a_route_that_asks_for_permissions_is_503_and_no_other(
    how: str, project: StytchEmulator
) -> None:
    signed_in = project.sign_in(roles=["editor"])
    demand: dict[str, Any] = {"permissions": {"documents:read"}}
    with stytch_client(how, project) as client:
        assert client.auth(signed_in.session_jwt).is_authenticated
        for fault in ({"status": 500}, {"status": 404}, {"body": "<html>"}):
            project.clear_faults()
            project.fault("/v1/rbac/policy", **fault)
            for credential in (signed_in.session_jwt, signed_in.session_token):
                auth = client.auth(credential, **demand)
                assert auth.is_unavailable, fault
                assert auth.error is not None
                assert auth.error.status == 503
                refusal = gate.check(auth, Requirements(**demand))
                assert isinstance(refusal, ProviderError)
                assert client.auth(credential).is_authenticated
            with pytest.raises(ProviderUnavailable):
                client(
                    "sessions.verify",
                    session_jwt=signed_in.session_jwt,
                    authorization_check=AuthorizationCheck("documents", "read"),
                )


def test_a_policy_that_keeps_failing_keeps_no_credential_from_being_verified(project: StytchEmulator) -> None:
    signed_in = project.sign_in(roles=["editor"])
    project.fault("/v1/rbac/policy", status=500)
    with stytch_client("sync", project) as client:
        policy = client.client.settings.provider.policy
        call = policy._fetch
        for number in range(9):
            policy._fetch = dataclasses.replace(call, coalesce_key=f"a call {number}")  # a failure is shared else
            assert client.auth(signed_in.session_jwt, permissions={"documents:read"}).is_unavailable
        assert client.auth(signed_in.session_token).is_authenticated
        assert client.client.health().circuit == "closed"


def test_an_identity_that_lacks_permissions_is_never_denied_by_a_gate(project: StytchEmulator) -> None:
    """A gate that is handed an identity which was verified for no gate says so: it is no 403."""
    signed_in = project.sign_in(roles=["editor"])
    demand = Requirements(permissions={"documents:read"})
    with stytch_client("sync", project) as client:
        auth = client.auth(signed_in.session_jwt)
        assert not demand.are_met_by(auth)  # so a framework verifies it again
        refusal = gate.check(auth, demand)
        assert refusal is not None
        assert (refusal.status, refusal.reason) == (503, "permissions_unknown")


def test_a_session_that_was_revoked_while_the_policy_is_loaded_is_refused(project: StytchEmulator) -> None:
    project.policy(POLICY)
    signed_in = project.sign_in(roles=["editor"])
    with stytch_client("sync", project) as client:
        assert client.auth(signed_in.session_jwt).is_authenticated
        headers = {"authorization": f"Bearer {signed_in.session_jwt}"}
        demand = Requirements(permissions={"documents:read"})
        pending = client.client.begin(headers, demand)
        client.client.revocations.add(session_id=signed_in.session_id)
        assert client.client.finish(pending).is_rejected


def test_a_policy_is_used_for_ten_minutes(project: StytchEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    project.policy(POLICY)
    signed_in = project.sign_in(roles=["reader"])
    now, demand = time.monotonic(), {"permissions": {"documents:write"}}
    clock = [now]
    monkeypatch.setattr("moonkey_core.providers.stytch.rbac._clock.monotonic", lambda: clock[0])
    with stytch_client("sync", project) as client:

        def may_write() -> bool:
            auth = client.auth(signed_in.session_token, **demand)
            return gate.check(auth, Requirements(permissions=demand["permissions"])) is None

        assert not may_write()
        changed = {**POLICY, "roles": [{**POLICY["roles"][0], "role_id": "reader"}]}
        project.policy(changed)
        clock[0] = now + 599
        assert not may_write()
        clock[0] = now + 601
        assert may_write()


def test_an_organization_means_nothing_to_consumers(project: StytchEmulator) -> None:
    signed_in = project.sign_in()
    check = AuthorizationCheck("documents", "read", organization_id="organization-1")
    with stytch_client("sync", project) as client, pytest.raises(ValueError, match="organization_id"):
        client("sessions.verify", session_token=signed_in.session_token, authorization_check=check)
    assert "POST /v1/sessions/authenticate" not in project.requests()


@pytest.mark.parametrize("parts", [("", "read"), ("documents", ""), (7, "read"), ("documents", None)])
def test_a_question_is_made_of_texts(parts: Any) -> None:
    with pytest.raises(ValueError, match="AuthorizationCheck"):
        AuthorizationCheck(*parts)


NAMES = st.text("abc:*", min_size=1, max_size=3)
ENTRIES = st.lists(
    st.builds(
        lambda resource, actions: {"resource_id": resource, "actions": actions}, NAMES, st.lists(NAMES, max_size=3)
    ),
    max_size=3,
)
ROLES = st.dictionaries(NAMES, ENTRIES, max_size=3)


def as_the_vendor_does(policy: dict[str, Any], roles: list[str], resource: str, action: str) -> bool:
    """The rule of the vendor's own package, once more."""
    return any(
        role["role_id"] in roles
        and permission["resource_id"] == resource
        and ("*" in permission["actions"] or action in permission["actions"])
        for role in policy["roles"]
        for permission in role["permissions"]
    )


@given(ROLES, st.lists(NAMES, max_size=3), NAMES, NAMES)
def test_the_rule_is_that_of_the_vendor(
    entries: dict[str, Any], roles: list[str], resource: str, action: str
) -> None:
    policy = {
        "roles": [{"role_id": name, "permissions": one} for name, one in entries.items()],
        "resources": [{"resource_id": name, "actions": ["a", "b"]} for name in ("a", "b")],
    }
    found = parse_policy({"policy": policy})
    allowed = as_the_vendor_does(policy, roles, resource, action)
    assert found.allows(roles, resource, action) is allowed
    grants = found.grants(tuple(roles))
    text = f"{resource}:{action}"
    is_granted = text in (grants.permissions or ()) or resource in grants.wholly
    if ":" not in resource:
        assert is_granted is allowed
    # A text never grants what the policy does not, however its ids are spelt.
    for one in grants.permissions or ():
        left, _, right = one.partition(":")
        assert found.allows(roles, left, right) or (right == "*" and left in grants.wholly)


@given(ANY)
def test_a_policy_of_another_form_is_no_policy(odd: Any) -> None:
    for body in (
        {"policy": odd},
        {"policy": {"roles": odd, "resources": []}},
        {"policy": {"roles": [odd], "resources": []}},
    ):
        try:
            found = parse_policy(body)
        except ValueError:
            continue
        assert isinstance(found, Policy)
        assert not found.roles or all(isinstance(name, str) for name in found.roles)


@pytest.mark.parametrize(
    "role",
    [
        {"role_id": "a"},
        {"role_id": "a", "permissions": None},
        {"role_id": "", "permissions": []},
        {"role_id": "a", "permissions": [{"resource_id": "x"}]},
        {"role_id": "a", "permissions": [{"resource_id": "x", "actions": "*"}]},
        {"role_id": "a", "permissions": [{"resource_id": "x", "actions": [7]}]},
        {"role_id": "a", "permissions": [{"resource_id": None, "actions": []}]},
    ],
)
def test_what_a_role_permits_is_never_guessed(role: dict[str, Any]) -> None:
    made = Stytch(PROJECT, SECRET)
    plan = made.policy.load()
    fetch = step(plan, None)
    assert isinstance(fetch, Fetch)
    assert fetch.url == "https://test.stytch.com/v1/rbac/policy"
    body = json.dumps({"status_code": 200, "policy": {"roles": [role], "resources": [], "scopes": []}}).encode()
    with pytest.raises(ProviderUnavailable):
        assert isinstance(step(plan, Reply(200, {}, body)), Done)
    assert made.policy.current() is None
