"""The API for a developer's server: validate an access token, and read end users."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.routing import Route

from moonkey_core.emulator import fields
from moonkey_core.emulator.cdp import tokens
from moonkey_core.emulator.cdp.api_keys import API
from moonkey_core.emulator.cdp.errors import invalid_request, not_found
from moonkey_core.emulator.cdp.records import EndUser
from moonkey_core.emulator.cdp.state import CdpState
from moonkey_core.emulator.endpoints import endpoint
from moonkey_core.emulator.errors import ApiError
from moonkey_core.emulator.records import Json

VALIDATE = f"{API}/end-users/auth/validate-token"
USERS = f"{API}/end-users"
JWKS = "/_keys"
MAX_TOKEN = 16_384
MAX_PAGE = 100


def routes(state: CdpState) -> list[Route]:
    """Return the routes of the API, and the key set, which the real service does not publish."""

    def route(path: str, method: str, answer: Callable[[CdpState, Request, bytes], Json]) -> Route:
        return Route(path, endpoint(state, lambda request, raw: answer(state, request, raw)), methods=[method])

    return [
        route(VALIDATE, "POST", validate),
        route(USERS, "GET", list_users),
        route(f"{USERS}/lookup", "GET", lookup),
        route(f"{USERS}/{{user_id}}", "GET", get_user),
        route(JWKS, "GET", lambda _state, _request, _raw: key_set(state)),
    ]


def key_set(state: CdpState) -> Json:
    """Return the public keys that sign access tokens."""
    return {"keys": [key.jwk() for key in state.keys.published() if key.algorithm == "ES256"]}


def validate(state: CdpState, _: Request, raw: bytes) -> Json:
    """Validate the access token of an end user, and return that user."""
    try:
        token = fields.text(fields.json_object(raw), "accessToken", MAX_TOKEN)
    except ApiError as error:
        raise invalid_request(error.message) from None
    if token.count(".") != 2:
        raise invalid_request("accessToken must be a JWT")
    return {**tokens.user_of(state, token).wire(), **state.end_user_members}


def list_users(state: CdpState, request: Request, _: bytes) -> Json:
    """List the end users of the project, the oldest first, page by page."""
    query = request.query_params
    size, start = query.get("pageSize", "20"), query.get("pageToken", "0")
    if not (size.isdecimal() and start.isdecimal() and 1 <= int(size) <= MAX_PAGE):
        raise invalid_request(f"pageSize must be from 1 to {MAX_PAGE}")
    users = list(state.users.values())
    if "-createdAt" in query.get("sort", ""):
        users.reverse()
    end = int(start) + int(size)
    rest = {"nextPageToken": str(end)} if end < len(users) else {}
    return {"endUsers": [user.wire() for user in users[int(start) : end]], **rest}


def get_user(state: CdpState, request: Request, _: bytes) -> Json:
    """Return one end user."""
    user = state.users.get(request.path_params["user_id"])
    if user is None:
        raise not_found()
    return {**user.wire(), **state.end_user_members}


_LOOKUPS: Mapping[str, tuple[str, str]] = {
    "email": ("email", "email"),
    "phoneNumber": ("sms", "phoneNumber"),
    "siweAddress": ("siwe", "address"),
}


def lookup(state: CdpState, request: Request, _: bytes) -> Json:
    """Return the users with a way to sign in; several may have one e-mail address."""
    query = request.query_params
    given = [name for name in (*_LOOKUPS, "oauthProvider") if query.get(name)]
    if len(given) != 1:
        raise invalid_request("exactly one of email, phoneNumber, siweAddress and oauthProvider is required")
    name = given[0]
    if name == "oauthProvider":
        kind, member, value = query[name], "sub", query.get("oauthSubject", "")
        if not value:
            raise invalid_request("oauthSubject is required with oauthProvider")
    else:
        (kind, member), value = _LOOKUPS[name], query[name]
    found = [user.wire() for user in state.users.values() if _signs_in_by(user, kind, member, value)]
    return {"endUsers": found}


def _signs_in_by(user: EndUser, kind: str, member: str, value: str) -> bool:
    return any(one.get("type") == kind and one.get(member) == value for one in user.methods)
