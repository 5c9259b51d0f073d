"""The routes of a B2B project."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from starlette.requests import Request
from starlette.routing import Route

from moonkey_core.emulator.endpoints import Answer
from moonkey_core.emulator.errors import ApiError
from moonkey_core.emulator.fields import json_object, optional_text, text
from moonkey_core.emulator.records import Json
from moonkey_core.emulator.stytch import sessions
from moonkey_core.emulator.stytch.api import key_set, routes_of, shared_answers
from moonkey_core.emulator.stytch.b2b_state import B2BState
from moonkey_core.emulator.stytch.b2b_wire import member_body, organization_body

PREFIX = "/v1/b2b"
SESSIONS = f"{PREFIX}/sessions"
AUTHENTICATE = f"{SESSIONS}/authenticate"
REVOKE = f"{SESSIONS}/revoke"
JWKS = f"{SESSIONS}/jwks/{{project_id}}"
POLICY = f"{PREFIX}/rbac/policy"
ORGANIZATION_POLICY = f"{PREFIX}/rbac/organizations/{{id}}"
MEMBER = f"{PREFIX}/organizations/members/dangerously_get/{{id}}"


def _authenticate(state: B2BState, body: Json) -> Json:
    _check_tenancy(state, body)
    session, verdict = sessions.authenticated(state, body)
    return {
        "member_session": state.session_body(session),
        **sessions.credentials(state, session),
        "member": member_body(state.members[session.user_id]),
        "organization": organization_body(state.organization_of(session)),
        **verdict,
    }


def _check_tenancy(state: B2BState, body: Json) -> None:
    """Refuse a question about the permissions in another organization than that of the session."""
    asked = sessions.asked_permission(body)
    if asked is None:
        return
    organization_id = text(asked[2], "organization_id", 128)
    names = ("session_token", "session_jwt")
    named = sessions.one_argument(body, names, "no_session_arguments", "too_many_session_arguments")
    own = state.organization_of(sessions.find(state, *named))
    if organization_id not in (own.organization_id, own.slug, own.external_id):
        message = "The organization of the session is another one."
        raise ApiError(403, "session_authorization_tenancy_error", message)


def _list(state: B2BState, request: Request, _: bytes) -> Json:
    query = dict(request.query_params)
    organization = state.organization(optional_text(query, "organization_id", 128))
    member = state.member(optional_text(query, "member_id", 128), organization.organization_id)
    return {"member_sessions": [state.session_body(one) for one in state.of_user(member.member_id)]}


def _revoke(state: B2BState, body: Json) -> Json:
    names = ("member_session_id", "session_token", "session_jwt", "member_id")
    none, many = "no_session_revoke_arguments", "too_many_session_revoke_arguments"
    name, value = sessions.one_argument(body, names, none, many)
    if name == "member_id":
        state.end_all(state.member(value).member_id)
    else:
        state.end(sessions.find(state, name, value).session_id)
    return {}


def _member(state: B2BState, member_id: str) -> Json:
    member = state.member(member_id)
    organization = state.organizations[member.organization_id]
    return {
        "member_id": member.member_id,
        "member": member_body(member),
        "organization": organization_body(organization),
    }


def _organization_policy(state: B2BState, name: str) -> Json:
    organization = state.organization(name)
    if not state.has_organization_policies:
        raise ApiError(
            403, "feature_not_enabled", "Organization RBAC policies are not enabled for this workspace."
        )
    return {"org_policy": {"roles": organization.roles}}


def api_routes(state: B2BState) -> list[Route]:
    """Return the routes of the API."""

    def from_body(answer: Callable[[B2BState, Json], Json]) -> Answer:
        return lambda _, raw: answer(state, json_object(raw))

    def from_id(answer: Callable[[B2BState, str], Json]) -> Answer:
        return lambda request, _: answer(state, request.path_params["id"])

    return routes_of(
        state,
        {
            ("POST", AUTHENTICATE): from_body(_authenticate),
            ("POST", REVOKE): from_body(_revoke),
            ("GET", SESSIONS): partial(_list, state),
            ("GET", JWKS): partial(key_set, state),
            ("GET", POLICY): lambda _, __: {"policy": state.policy},
            ("GET", ORGANIZATION_POLICY): from_id(_organization_policy),
            ("GET", MEMBER): from_id(_member),
            **shared_answers(state),
        },
    )
