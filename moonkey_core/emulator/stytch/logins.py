"""What every login step has in common: the session that it asks for, and its answer."""

from __future__ import annotations

from dataclasses import dataclass

from moonkey_core.emulator import fields
from moonkey_core.emulator.errors import ApiError
from moonkey_core.emulator.records import Json
from moonkey_core.emulator.stytch import sessions
from moonkey_core.emulator.stytch.errors import bad
from moonkey_core.emulator.stytch.records import StytchSession, StytchUser
from moonkey_core.emulator.stytch.state import StytchState
from moonkey_core.emulator.stytch.wire import user_body

_SESSION = ("session_token", "session_jwt")


@dataclass(frozen=True)
class Demand:
    """The session that a login asks for: a new one, one to add its factor to, or none."""

    wish: sessions.Wish
    session: StytchSession | None
    device: tuple[str, str]
    claims: Json


def device(body: Json) -> tuple[str, str]:
    """Return the address and the user agent of ``attributes``, or empty texts."""
    value = body.get("attributes")
    if value is None:
        return "", ""
    if not isinstance(value, dict):
        raise bad("bad_request", "attributes must be an object.")
    return fields.optional_text(value, "ip_address", 64), fields.optional_text(value, "user_agent")


def demand(state: StytchState, body: Json, user: StytchUser) -> Demand:
    """Return the session that a login of this user asks for. A session of another user is ignored."""
    wanted = sessions.wish(state, body)
    session = None
    if any(body.get(name) for name in _SESSION):
        named = sessions.one_argument(body, _SESSION, "no_session_arguments", "too_many_session_arguments")
        session = sessions.find(state, *named)
        if session.user_id != user.user_id:
            session = None
    claims = sessions.changed_claims(session.custom_claims if session else {}, wanted.claims)
    return Demand(wanted, session, device(body), claims)


def grant(state: StytchState, wanted: Demand, user: StytchUser, factor: Json, name: str = "session") -> Json:
    """Return the answer of a successful login, with its session started or extended.

    Args:
        state: The state of the project.
        wanted: The session that was asked for.
        user: The user who has signed in.
        factor: What they have proven. It takes the place of an earlier one of the same means.
        name: The member of the answer that has the session object.
    """
    common = {"user_id": user.user_id, "user": user_body(user), "reset_sessions": False, "user_device": None}
    session = wanted.session
    if session is None and wanted.wish.minutes is None:
        return {**common, name: None, "session_token": "", "session_jwt": ""}
    if session is None:
        minutes = wanted.wish.minutes or sessions.MIN_MINUTES
        session = sessions.start(state, user.user_id, minutes, [factor], user.roles, wanted.claims, wanted.device)
    else:
        session.factors = with_factor(session.factors, factor)
        session.custom_claims = wanted.claims
        sessions.touch(state, session, wanted.wish.minutes)
    return {**common, name: state.session_body(session), **sessions.credentials(state, session)}


def with_factor(factors: list[Json], factor: Json) -> list[Json]:
    """Return factors with one more, which keeps the first time of an earlier one of the same means.

    Raises:
        ApiError: There would be too many.
    """
    earlier = next((one for one in factors if _means(one) == _means(factor)), None)
    others = [one for one in factors if one is not earlier]
    if len(others) >= sessions.MAX_FACTORS:
        raise ApiError(400, "bad_request", "The session has too many factors.")
    if earlier is None or "created_at" not in earlier:
        return [*others, factor]
    return [*others, {**factor, "created_at": earlier["created_at"]}]


def _means(factor: Json) -> tuple[object, ...]:
    details = next((value for key, value in factor.items() if key.endswith("_factor")), None)
    return factor.get("type"), factor.get("delivery_method"), repr(details)
