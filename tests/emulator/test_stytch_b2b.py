"""The emulator of a Stytch B2B project: its control over HTTP, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from moonkey_core.emulator import StytchB2BEmulator
from support import quick


def call(b2b: StytchB2BEmulator, path: str, body: Any = None, method: str = "POST") -> tuple[int, Any]:
    response = quick.request(
        method, f"{b2b.base_url}/v1/b2b{path}", json=body, auth=(b2b.project_id, b2b.secret)
    )  # fmt: skip
    found = response.json()
    assert found["status_code"] == response.status_code
    assert found["request_id"].startswith("request-id-test-")
    return response.status_code, found.get("error_type") or found


def control(b2b: StytchB2BEmulator, path: str, body: Any = None, method: str = "POST") -> Any:
    response = quick.request(method, f"{b2b.base_url}/_emulator{path}", json=body)
    return response.json() if response.is_success and response.content else response.status_code


def test_the_control_over_http(b2b: StytchB2BEmulator) -> None:
    shown = control(b2b, "", method="GET")
    assert shown["project_id"] == b2b.project_id
    assert "secret" not in shown
    assert quick.get(shown["jwks_url"]).json()["keys"]
    ada = control(b2b, "/sign-in", {"email": "ada@acme.example", "organization": "acme", "roles": ["editor"]})
    assert ada["organization_id"].startswith("organization-test-")
    again = control(b2b, "/sign-in", {"member_id": ada["member_id"], "factors": ["totp"], "minutes": 5})
    assert again["member_id"] == ada["member_id"]
    assert control(b2b, "/token", {"shape": "consumer", "session_id": ada["session_id"]})["token"].count(".") == 2
    control(b2b, "/roles", {"member_id": ada["member_id"], "roles": []})
    found = call(b2b, "/sessions/authenticate", {"session_token": ada["session_token"]})[1]
    assert found["member_session"]["roles"] == ["stytch_member"]
    role = {"role_id": "own", "description": "", "permissions": []}
    policy = control(b2b, "/organization-policy", {"organization": "acme", "roles": [role]})
    assert policy == {"roles": [role]}
    assert call(b2b, f"/rbac/organizations/{ada['organization_id']}", method="GET")[1]["org_policy"] == policy
    control(b2b, "/organization-policies", {"enabled": False})
    assert call(b2b, "/rbac/organizations/acme", method="GET") == (403, "feature_not_enabled")
    control(b2b, "/revoke", {"member_id": ada["member_id"]})
    assert call(b2b, "/sessions/authenticate", {"session_token": ada["session_token"]})[0] == 404
    for path, body in (
        ("/sign-in", {"roles": [7]}), ("/sign-in", {"member_id": "unknown"}), ("/token", {"drop": [7]}),
        ("/token", {"shape": "unknown"}), ("/roles", {"member_id": "unknown", "roles": []}), ("/roles", {}),
        ("/revoke", {}), ("/organization-policy", {"organization": "unknown"}), ("/organization-policy", {}),
    ):  # fmt: skip
        assert control(b2b, path, body) == 400, (path, body)


def test_what_is_refused(b2b: StytchB2BEmulator) -> None:
    ada, bob = b2b.sign_in("ada@acme.example", "acme"), b2b.sign_in("bob@globex.example", "globex")
    path = "/sessions/authenticate"
    check = {"organization_id": bob.organization_id, "resource_id": "documents", "action": "read"}
    expected: list[tuple[str, Any, tuple[int, str]]] = [
        (path, {}, (400, "no_session_arguments")),
        (path, {"session_token": "x"}, (400, "invalid_session_token")),
        (path, {"session_token": ada.session_token, "authorization_check": check},
         (403, "session_authorization_tenancy_error")),
        (path, {"session_token": ada.session_token, "authorization_check": {**check, "action": "write",
         "organization_id": ada.organization_id}}, (403, "session_authorization_error")),
        ("/sessions/revoke", {}, (400, "no_session_revoke_arguments")),
        ("/sessions/revoke", {"member_id": ada.member_id, "session_token": ada.session_token},
         (400, "too_many_session_revoke_arguments")),
        ("/sessions/revoke", {"member_id": "unknown"}, (404, "member_not_found")),
        ("/rbac/nothing", {}, (404, "route_not_found")),
    ]  # fmt: skip
    for where, body, answer in expected:
        assert call(b2b, where, body) == answer, body
    for query in ("", f"organization_id={ada.organization_id}", f"organization_id=acme&member_id={bob.member_id}"):
        assert call(b2b, f"/sessions?{query}", method="GET")[0] == 404
    wrong = quick.post(f"{b2b.base_url}/v1/b2b/sessions/authenticate", json={}, auth=(b2b.project_id, "wrong"))
    assert (wrong.status_code, wrong.json()["error_type"]) == (401, "unauthorized_credentials")


def test_an_outage_and_a_rotation_forget_nothing(b2b: StytchB2BEmulator) -> None:
    ada = b2b.sign_in()
    b2b.stop()
    b2b.start()
    assert call(b2b, "/sessions/authenticate", {"session_jwt": ada.session_jwt})[0] == 200
    b2b.rotate_keys()
    assert len(b2b.jwks()["keys"]) == 2
    assert call(b2b, "/sessions/authenticate", {"session_jwt": ada.session_jwt})[0] == 200
    b2b.rotate_keys(keep_old=False)
    assert call(b2b, "/sessions/authenticate", {"session_jwt": ada.session_jwt})[0] == 400


def test_a_member_is_of_one_organization(b2b: StytchB2BEmulator) -> None:
    here, there, again = (b2b.sign_in("ada@acme.example", name) for name in ("acme", "globex", "acme"))
    assert here.member_id == again.member_id != there.member_id
    assert here.organization_id != there.organization_id
    assert here.user_id == here.member_id
    b2b.member(here.member_id, status="deleted")
    _, found = call(b2b, f"/organizations/members/dangerously_get/{here.member_id}", method="GET")
    assert (found["member"]["status"], found["organization"]["organization_slug"]) == ("deleted", "acme")
    for wrong in ({"organization_id": "x"}, {"unknown": 1}):
        with pytest.raises(ValueError, match="no such field"):
            b2b.member(here.member_id, **wrong)
    with pytest.raises(ValueError, match="member_id"):
        b2b.sign_in("a@b.example", member_id=here.member_id)
    with pytest.raises(ValueError, match="minutes"):
        b2b.sign_in(minutes=0)
    with pytest.raises(ValueError, match="factors"):
        b2b.sign_in(factors="totp")
    with pytest.raises(ValueError, match="session_id"):
        b2b.token(session_id="unknown")
