"""The check of the API key, in front of the service's routes."""

from __future__ import annotations

from starlette.datastructures import Headers, QueryParams
from starlette.types import Scope

from moonkey_core.emulator.api import KEY_SET_PATH
from moonkey_core.emulator.errors import ApiError, bad_key
from moonkey_core.emulator.guarded import equal
from moonkey_core.emulator.oauth import BEGIN_PATH, CALLBACK_PATH
from moonkey_core.emulator.state import State


def refusal(state: State, scope: Scope) -> ApiError | None:
    """Return the error for a request without the API key. For the key set it may be in the URL as well.

    A browser that begins an OAuth login sends the public token instead; one that comes back sends its state.
    """
    scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
    keys = [given.strip()] if scheme.lower() == "bearer" else []
    if scope["path"] == KEY_SET_PATH:
        keys += QueryParams(scope["query_string"]).getlist("api_key")[:1]
    if any(equal(key, state.secret_key) for key in keys) or _is_public(state, scope):
        return None
    return bad_key()


def _is_public(state: State, scope: Scope) -> bool:
    """Return whether a request is one that browsers may send: the begin or the callback of an OAuth login."""
    if BEGIN_PATH.fullmatch(scope["path"]):
        return equal(QueryParams(scope["query_string"]).get("public_token", ""), state.public_token)
    return CALLBACK_PATH.fullmatch(scope["path"]) is not None
