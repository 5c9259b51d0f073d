"""Whatever is sent, the service answers; it never breaks."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moonkey_core.emulator import Emulator, OidcEmulator, StytchB2BEmulator, StytchEmulator
from moonkey_core.emulator.api import API_PREFIX, api_routes
from moonkey_core.emulator.state import State
from moonkey_core.emulator.stytch.api import api_routes as stytch_routes
from moonkey_core.emulator.stytch.b2b_api import api_routes as b2b_routes
from moonkey_core.emulator.stytch.b2b_state import B2BState
from moonkey_core.emulator.stytch.state import StytchState
from support import quick

QUICK = settings(
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

ROUTES = [
    (method, route.path.removeprefix(API_PREFIX + "/").replace("{id}", "user_x"))
    for route in api_routes(State())
    for method in sorted(route.methods or ())
    if method in ("POST", "PUT", "DELETE") and route.path.startswith(API_PREFIX)
]

FIELDS = [
    "session_token",
    "session_jwt",
    "session_id",
    "session_expires_in",
    "email",
    "phone_number",
    "code",
    "otp",
    "method_id",
    "token",
    "totp",
    "user_id",
    "device_fingerprint",
    "expires_in",
    "wallet_type",
    "public_address",
    "signature",
    "emails",
    "phone_numbers",
    "first_name",
    "recovery_code",
    "login_redirect_url",
    "requires_verification",
    "include_user",
    "limit",
    "starting_after",
    "filters",
]
OIDC_PATHS = ["introspect", "revoke", "token", "_emulator/token", "_emulator/sign-in", "_emulator/clients"]
GOOD = st.sampled_from(
    ["ada@example.com", "+14152222222", "ethereum", "user_x", "123456", "a.b.c", "eyJ9.e30.e30"]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20) | GOOD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3),
    max_leaves=6,
)


def answered(response: httpx.Response) -> None:
    assert response.status_code in (200, 400, 404, 409), response.text
    assert isinstance(response.json(), dict)


@pytest.mark.long
@QUICK
@given(st.sampled_from(ROUTES), st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6))
def test_any_fields(api: httpx.Client, route: tuple[str, str], body: dict[str, Any]) -> None:
    answered(api.request(route[0], route[1], content=json.dumps(body).encode()))


@QUICK
@given(st.sampled_from(ROUTES), st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes(api: httpx.Client, route: tuple[str, str], content: bytes) -> None:
    answered(api.request(route[0], route[1], content=content))


@pytest.mark.long
@QUICK
@given(
    st.sampled_from(OIDC_PATHS),
    st.binary(max_size=60) | st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6).map(json.dumps),
    st.sampled_from(["", "Basic YTpi", "Basic ///", "Bearer x"]),
)
def test_the_oidc_issuer(oidc: OidcEmulator, path: str, content: bytes | str, authorization: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": authorization}
    response = quick.post(f"{oidc.base_url}/{path}", content=content, headers=headers)
    assert response.status_code in (200, 400, 401), response.text
    assert isinstance(response.json(), dict)


def posted(routes: list[Any]) -> list[tuple[str, str]]:
    """The methods with a body, and the paths, of a project of Stytch."""
    return [
        (method, route.path.replace("{id}", "user-x").replace("{path:path}", "v1/other"))
        for route in routes
        for method in sorted(route.methods or ())
        if method in ("POST", "PUT", "DELETE")
    ]


STYTCH_ROUTES, B2B_ROUTES = posted(stytch_routes(StytchState())), posted(b2b_routes(B2BState()))
STYTCH_FIELDS = [
    *("session_token", "session_jwt", "session_id", "session_duration_minutes", "session_custom_claims"),
    *("authorization_check", "resource_id", "action", "email", "phone_number", "expiration_minutes", "attributes"),
    *("method_id", "code", "token", "code_verifier", "code_challenge", "login_magic_link_url", "user_id"),
    *("totp_code", "recovery_code", "name", "trusted_metadata", "external_id", "roles", "grant_type", "client_id"),
    *("member_session_id", "member_id", "organization_id", "organization_slug"),
]
STYTCH_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20) | GOOD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(STYTCH_FIELDS), inner, max_size=3),
    max_leaves=6,
)


STYTCH_BODIES = st.binary(max_size=60) | st.dictionaries(
    st.sampled_from(STYTCH_FIELDS), STYTCH_VALUES, max_size=6
).map(json.dumps)


def assert_answers(
    project: StytchEmulator | StytchB2BEmulator, route: tuple[str, str], content: bytes | str
) -> None:
    """Whatever the body is, also beside a session token that is good."""
    known = {"session_token": project.sign_in().session_token}
    content = content.replace('"session_id"', f'"x": {json.dumps(known)}') if isinstance(content, str) else content
    path = route[1].replace("{project_id}", project.project_id)
    response = quick.request(
        route[0], project.base_url + path, content=content, auth=(project.project_id, project.secret)
    )
    assert response.status_code in (200, 400, 401, 403, 404), response.text
    assert response.json()["status_code"] == response.status_code


@pytest.mark.long
@QUICK
@given(st.sampled_from(STYTCH_ROUTES), STYTCH_BODIES)
def test_a_project_of_stytch(stytch: StytchEmulator, route: tuple[str, str], content: bytes | str) -> None:
    assert_answers(stytch, route, content)


@pytest.mark.long
@QUICK
@given(st.sampled_from(B2B_ROUTES), STYTCH_BODIES)
def test_a_project_of_stytch_for_organizations(
    b2b: StytchB2BEmulator, route: tuple[str, str], content: bytes | str
) -> None:
    assert_answers(b2b, route, content)


@pytest.mark.long
@QUICK
@given(st.dictionaries(st.sampled_from(["organization_id", "member_id", "x"]), st.text(max_size=20), max_size=3))
def test_any_query_for_the_sessions_of_a_member(b2b: StytchB2BEmulator, query: dict[str, str]) -> None:
    try:
        query = {name: value.encode().decode() for name, value in query.items()}
    except UnicodeEncodeError:
        return  # no URL can hold a lone surrogate
    response = quick.get(f"{b2b.base_url}/v1/b2b/sessions", params=query, auth=(b2b.project_id, b2b.secret))
    assert response.status_code in (200, 400, 404), response.text
    assert response.json()["status_code"] == response.status_code


@pytest.mark.parametrize("depth", [400, 950, 3_000, 9_000])
def test_what_is_nested_deeply_is_answered(stytch: StytchEmulator, depth: int) -> None:
    claims = '{"a":' * depth + "1" + "}" * depth
    known = f'"session_token": "{stytch.sign_in().session_token}", "session_duration_minutes": 60'
    response = quick.post(
        f"{stytch.base_url}/v1/sessions/authenticate",
        content=f'{{{known}, "session_custom_claims": {claims}}}'.encode(),
        auth=(stytch.project_id, stytch.secret),
    )
    assert response.status_code in (200, 400)
    assert response.json()["status_code"] == response.status_code


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 60_000,
        b'{"session_token":' * 3_000,
        b'{"session_token":' + b"9" * 5_000 + b"}",
        b'{"session_token": NaN}',
        b'{"session_token": "\\ud800"}',
        b'{"session_token": "\xff"}',
        b'{"session_token": "a\\u0000b"}',
        b'"text"',
        b"null",
        json.dumps({"session_token": "x" * 20_000}).encode(),
        json.dumps({"session_token": "x" * 70_000}).encode(),
    ],
)
def test_bodies_that_are_refused(api: httpx.Client, content: bytes) -> None:
    response = api.post("sessions/verify", content=content)
    assert (response.status_code, response.json()["error_type"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "token", ["a.b.c", "..", "e30.e30.", "x", "eyJhbGciOiJub25lIn0.e30.", "W10.e30.e30", "." * 8000]
)
def test_things_that_are_no_jwt(api: httpx.Client, token: str) -> None:
    assert api.post("sessions/verify", json={"session_jwt": token}).status_code == 404


def test_a_body_without_an_end_is_cut_off(api: httpx.Client, emulator: Emulator) -> None:
    pieces = (b"x" * 1024 for _ in range(10_000))
    try:
        refused = api.post("sessions/verify", content=pieces)
    except httpx.WriteError:
        return
    assert refused.status_code == 400


def test_odd_paths(api: httpx.Client) -> None:
    for path in ("users/%00", "users/%ff", "users/" + "x" * 5000, "users/..%2f..", "users/%F0%9F%92%A9"):
        assert api.get(path).status_code == 404


QUERY = st.dictionaries(
    st.sampled_from(
        ["public_token", "redirect", "login_redirect_url", "registration_redirect_url", "state", "email"]
    ),
    st.sampled_from(["pk_test_x", "https://app.example/in", "true", "ada@example.com"]) | st.text(max_size=40),
)


@QUICK
@given(path=st.sampled_from(["google/begin", "pigeon/begin", "google/callback"]), query=QUERY)
def test_any_query_of_an_oauth_login(api: httpx.Client, path: str, query: dict[str, str]) -> None:
    try:
        query = {name: value.encode().decode() for name, value in query.items()}
    except UnicodeEncodeError:
        return  # no URL can hold a lone surrogate
    response = api.get(f"oauth/{path}", params=query)
    assert response.status_code in (200, 302, 400, 404), response.text
    assert response.headers.get("location", "http:").startswith("http:")


NESTED = st.fixed_dictionaries(
    {"operator": st.sampled_from(["AND", "OR"]) | VALUES},
    optional={
        "fields": st.lists(
            st.fixed_dictionaries(
                {"field": st.sampled_from(["email", "email_match", "totp_verified", "status"]) | VALUES},
                optional={"operator": st.sampled_from(["eq", "in"]) | VALUES, "value": VALUES, "values": VALUES},
            ),
            max_size=3,
        )
    },
)


@pytest.mark.long
@QUICK
@given(filters=NESTED)
def test_any_search(api: httpx.Client, filters: Any) -> None:
    answered(api.post("users/search", content=json.dumps({"filters": filters})))
