"""The routes of the service's API."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from starlette.requests import Request
from starlette.routing import Route

from moonkey_core.emulator import codes, logins, oauth, search, sessions, users
from moonkey_core.emulator.endpoints import Answer, endpoint
from moonkey_core.emulator.fields import json_object
from moonkey_core.emulator.records import Json
from moonkey_core.emulator.state import State

API_PREFIX = "/v1/auth"
KEY_SET_PATH = f"{API_PREFIX}/jwks/default"

# Answered from the body alone.
_BODY: dict[tuple[str, str], Callable[[State, Json], Json]] = {
    ("POST", "sessions/verify"): sessions.verify,
    ("DELETE", "sessions/delete"): sessions.delete,
    ("POST", "otps/email/send"): partial(codes.send_otp, kind="email", create=False),
    ("POST", "otps/email/login_or_create"): partial(codes.send_otp, kind="email", create=True),
    ("POST", "otps/sms/send"): partial(codes.send_otp, kind="phone_number", create=False),
    ("POST", "otps/sms/login_or_create"): partial(codes.send_otp, kind="phone_number", create=True),
    ("POST", "otps/verify"): codes.verify_otp,
    ("POST", "magic_links/email/send"): partial(codes.send_magic_link, create=False),
    ("POST", "magic_links/email/login_or_create"): partial(codes.send_magic_link, create=True),
    ("POST", "magic_links/email/invite"): partial(codes.send_magic_link, create=True),
    ("POST", "magic_links/invite"): partial(codes.send_magic_link, create=True),  # as the Node client calls it
    ("POST", "magic_links/create"): codes.create_magic_link,
    ("POST", "magic_links/verify"): codes.verify_magic_link,
    ("POST", "oauth/verify"): logins.verify_oauth,
    ("POST", "totps/create"): logins.create_totp,
    ("POST", "totps/verify"): logins.verify_totp,
    ("POST", "totps/recovery_codes"): logins.totp_recovery_codes,
    ("POST", "totps/recovery"): logins.recover_totp,
    ("POST", "wallets/registrations/begin"): logins.begin_wallet,
    ("POST", "wallets/verify"): logins.verify_wallet,
    ("POST", "wallets/create"): logins.create_wallet,
    ("POST", "users/create"): users.create,
    ("POST", "users/search"): search.search,
}

# Answered from the id in the path alone.
_BY_ID: dict[tuple[str, str], Callable[[State, str], Json]] = {
    ("GET", "users/{id}"): users.get,
    ("DELETE", "users/{id}/delete"): users.delete,
    ("DELETE", "users/emails/{id}/delete"): lambda state, one: users.delete_part(state, "emails", one),
    ("DELETE", "users/phone_numbers/{id}/delete"): (
        lambda state, one: users.delete_part(state, "phone_numbers", one)
    ),
    ("DELETE", "users/wallets/{id}/delete"): lambda state, one: users.delete_part(state, "wallets", one),
    ("DELETE", "users/totps/{id}/delete"): lambda state, one: users.delete_part(state, "totps", one),
    ("DELETE", "users/webauthn_credentials/{id}/delete"): users.delete_webauthn,
}


def api_routes(state: State) -> list[Route]:
    """Return the routes of the API."""

    def from_body(answer: Callable[[State, Json], Json]) -> Answer:
        return lambda _, raw: answer(state, json_object(raw))

    def from_id(answer: Callable[[State, str], Json]) -> Answer:
        return lambda request, _: answer(state, request.path_params["id"])

    def list_sessions(request: Request, _: bytes) -> Json:
        return sessions.list_active(state, request.query_params.get("user_id", ""))

    def update_user(request: Request, raw: bytes) -> Json:
        return users.update(state, request.path_params["id"], json_object(raw))

    def key_set(_: Request, __: bytes) -> Json:
        return {"keys": [key.public_jwk() for key in state.keys.all()]}

    answers: dict[tuple[str, str], Answer] = {
        **{name: from_body(answer) for name, answer in _BODY.items()},
        ("GET", "sessions/list"): list_sessions,
        ("GET", "jwks/default"): key_set,
        ("GET", "oauth/{provider}/begin"): lambda request, _: oauth.begin(state, request),
        ("GET", "oauth/{provider}/callback"): lambda request, _: oauth.callback(state, request),
        ("PUT", "users/{id}/update"): update_user,
        **{name: from_id(answer) for name, answer in _BY_ID.items()},
    }
    return [
        *(
            Route(f"{API_PREFIX}/{path}", endpoint(state, answer), methods=[method])
            for (method, path), answer in answers.items()
        ),
        # The pages of the service call it by both names.
        Route("/v1/wallets/create", endpoint(state, from_body(logins.create_wallet)), methods=["POST"]),
    ]
