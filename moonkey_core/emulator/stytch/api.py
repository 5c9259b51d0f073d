"""The routes of a consumer project, and who may call them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from moonkey_core.emulator.endpoints import Answer, endpoint
from moonkey_core.emulator.errors import ApiError
from moonkey_core.emulator.fields import json_object, optional_text
from moonkey_core.emulator.guarded import basic_credentials, equal
from moonkey_core.emulator.records import Json
from moonkey_core.emulator.stytch import authenticator, codes, exchanges, oauth, oauth2, sessions, users
from moonkey_core.emulator.stytch.errors import bad, bad_credentials
from moonkey_core.emulator.stytch.project import Project
from moonkey_core.emulator.stytch.state import StytchState
from moonkey_core.emulator.stytch.wire import user_body

AUTHENTICATE = "/v1/sessions/authenticate"
SESSIONS = "/v1/sessions"
REVOKE = "/v1/sessions/revoke"
JWKS = "/v1/sessions/jwks/{project_id}"
POLICY = "/v1/rbac/policy"

PUBLIC_PATHS = re.compile(r"/v1/(b2b/)?(sessions/jwks/[^/]+|public/.+|oauth/callback/[^/]+)")
"""The paths that browsers, machines and resource servers use without the project's secret."""


def refusal(project: Project, scope: Scope) -> ApiError | None:
    """Return the error for a request without the project's id and secret as Basic credentials."""
    if PUBLIC_PATHS.fullmatch(scope["path"]):
        return None
    given = basic_credentials(Headers(scope=scope).get("authorization", ""))
    if given is None or given[0] != project.project_id or not equal(given[1], project.secret):
        return bad_credentials()
    return None


def success_endpoint(project: Project, answer: Answer) -> Callable[..., object]:
    """Return the endpoint for a function: its answer gets ``status_code`` and ``request_id``."""

    def run(request: Request, raw: bytes) -> Json | Response:
        found = answer(request, raw)
        return found if isinstance(found, Response) else project.success(found)

    return endpoint(project, run)


def routes_of(project: Project, answers: dict[tuple[str, str], Answer]) -> list[Route]:
    """Return the routes of answers by method and path, and one that answers to all that is unknown."""
    known = [
        Route(path, success_endpoint(project, answer), methods=[method])
        for (method, path), answer in answers.items()
    ]
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return [*known, Route("/{path:path}", success_endpoint(project, _unknown), methods=methods)]


def _unknown(_: Request, __: bytes) -> Json:
    raise ApiError(404, "route_not_found", "The requested route could not be found.")


def key_set(project: Project, request: Request, _: bytes) -> Json:
    """Answer a request for the key set of a project."""
    if request.path_params["project_id"] != project.project_id:
        raise ApiError(404, "project_not_found", "The project could not be found.")
    return project.key_set()


def oauth2_answer(project: Project, answer: Callable[[Project, Json], Json], request: Request, raw: bytes) -> Json:
    """Answer a request to one of the OAuth endpoints of a project."""
    if request.path_params["project_id"] != project.project_id:
        raise ApiError(404, "project_not_found", "The project could not be found.")
    return answer(project, oauth2.body_of(request, raw))


def shared_answers(project: Project) -> dict[tuple[str, str], Answer]:
    """Return the answers that are the same for consumer and B2B projects, at the same paths."""
    return {
        ("POST", "/v1/public/{project_id}/oauth2/token"): partial(oauth2_answer, project, oauth2.token),
        ("POST", "/v1/public/{project_id}/oauth2/introspect"): partial(
            oauth2_answer, project, oauth2.introspection
        ),
    }


def _authenticate(state: StytchState, body: Json) -> Json:
    session, verdict = sessions.authenticated(state, body)
    return {
        "session": state.session_body(session),
        **sessions.credentials(state, session),
        "user": user_body(state.user(session.user_id)),
        **verdict,
    }


def _list(state: StytchState, user_id: str) -> Json:
    if not user_id:
        raise bad("invalid_user_id", "A user_id is required.")
    found = state.user(user_id)
    return {"sessions": [state.session_body(one) for one in state.of_user(found.user_id)]}


def _revoke(state: StytchState, body: Json) -> Json:
    names = ("session_id", "session_token", "session_jwt")
    none, many = "no_session_revoke_arguments", "too_many_session_revoke_arguments"
    named = sessions.one_argument(body, names, none, many)
    state.end(sessions.find(state, *named).session_id)
    return {}


# Answered from the body alone.
_BODY: dict[tuple[str, str], Callable[[StytchState, Json], Json]] = {
    ("POST", AUTHENTICATE): _authenticate,
    ("POST", REVOKE): _revoke,
    **{
        ("POST", f"/v1/otps/{channel}/{how}"): partial(
            codes.send_otp, channel=channel, create=how == "login_or_create"
        )
        for channel in ("email", "sms", "whatsapp")
        for how in ("send", "login_or_create")
    },
    ("POST", "/v1/otps/authenticate"): codes.authenticate_otp,
    ("POST", "/v1/magic_links/email/send"): partial(codes.send_magic_link, create=False),
    ("POST", "/v1/magic_links/email/login_or_create"): partial(codes.send_magic_link, create=True),
    ("POST", "/v1/magic_links/authenticate"): codes.authenticate_magic_link,
    ("POST", "/v1/oauth/authenticate"): oauth.authenticate,
    ("POST", "/v1/totps"): authenticator.create,
    ("POST", "/v1/totps/authenticate"): authenticator.authenticate,
    ("POST", "/v1/totps/recovery_codes"): authenticator.recovery_codes,
    ("POST", "/v1/totps/recover"): authenticator.recover,
    ("POST", "/v1/impersonation/authenticate"): exchanges.impersonate,
    ("POST", "/v1/sessions/exchange_access_token"): exchanges.exchange_access_token,
    ("POST", "/v1/users"): users.create,
}

# Answered from the id in the path alone.
_BY_ID: dict[tuple[str, str], Callable[[StytchState, str], Json]] = {
    ("GET", "/v1/users/{id}"): users.get,
    ("DELETE", "/v1/users/{id}"): users.delete,
}


def api_routes(state: StytchState) -> list[Route]:
    """Return the routes of the API."""

    def from_body(answer: Callable[[StytchState, Json], Json]) -> Answer:
        return lambda _, raw: answer(state, json_object(raw))

    def from_id(answer: Callable[[StytchState, str], Json]) -> Answer:
        return lambda request, _: answer(state, request.path_params["id"])

    return routes_of(
        state,
        {
            **{name: from_body(answer) for name, answer in _BODY.items()},
            **{name: from_id(answer) for name, answer in _BY_ID.items()},
            ("PUT", "/v1/users/{id}"): lambda request, raw: users.update(
                state, request.path_params["id"], json_object(raw)
            ),
            ("GET", SESSIONS): lambda request, _: _list(
                state, optional_text(dict(request.query_params), "user_id", 128)
            ),
            ("GET", JWKS): partial(key_set, state),
            ("GET", POLICY): lambda _, __: {"policy": state.policy},
            ("GET", "/v1/public/oauth/{provider}/start"): lambda request, _: oauth.start(state, request),
            ("GET", "/v1/oauth/callback/{provider}"): lambda request, _: oauth.callback(state, request),
            **shared_answers(state),
        },
    )
