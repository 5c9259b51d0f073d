"""Sessions: starting, finding, verifying, listing and deleting them, and their JWTs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moonkey_core.emulator import fields
from moonkey_core.emulator.errors import invalid
from moonkey_core.emulator.records import Json, Session, User, new_id, random_text
from moonkey_core.emulator.state import State
from moonkey_core.emulator.wire import session_body, user_summary

MIN_MINUTES = 5
MAX_MINUTES = 527_040
JWT_SECONDS = 300
MAX_FACTORS = 50


def expires_in(state: State, body: Json) -> int | None:
    """Return the wanted lifetime in minutes, or ``None``."""
    return fields.whole_number(body, "session_expires_in", MIN_MINUTES, state.max_session_minutes or MAX_MINUTES)


def start(
    state: State,
    user: User,
    minutes: float,
    factors: list[Json],
    device: tuple[str, str],
    claims: Mapping[str, Any] | None = None,
    age: float = 0,
) -> Session:
    """Start and keep a session. ``age`` is how many seconds ago it began."""
    began = state.now() - age
    now = int(began)
    session = Session(
        id=new_id("sess"),
        user_id=user.user_id,
        token=random_text(64),
        started_at=now,
        expires_at=int(began + minutes * 60),
        last_active_at=now,
        updated_at=now,
        factors=factors,
        user_agent=device[0],
        ip=device[1],
        custom_claims=dict(claims or {}),
    )
    state.store.save_session(session)
    return session


def jwt_claims(state: State, session: Session) -> Json:
    """Return the claims of a JWT that is issued now."""
    now = int(state.now())
    return {
        "iss": state.issuer,
        "sub": session.user_id,
        "jti": session.id,
        "iat": now,
        "nbf": now,
        "exp": now + JWT_SECONDS,
        **({"aud": state.audience} if state.audience else {}),
        state.session_claim: session_body(session),
    }


def issue_jwt(state: State, session: Session) -> str:
    """Return a fresh JWT of the session, signed with the current key."""
    key = state.keys.current
    return key.sign(key.header(), jwt_claims(state, session))


def find(state: State, name: str, value: str) -> Session:
    """Return the live session that a ``session_token``, ``session_jwt`` or ``session_id`` names."""
    if name == "session_token":
        session = state.store.session_by_token(value)
    elif name == "session_id":
        session = state.store.sessions.get(value)
    else:
        claims = state.keys.read(value, state.issuer) or {}
        session = state.store.sessions.get(_text(claims.get("jti")))
        if session and session.user_id != claims.get("sub"):
            session = None
    if session is None or session.expires_at <= state.now():
        raise state.dead_session()
    return session


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _extend(state: State, session: Session, minutes: int | None) -> None:
    session.last_active_at = session.updated_at = int(state.now())
    if minutes is not None:
        session.expires_at = int(state.now()) + minutes * 60


def verify(state: State, body: Json) -> Json:
    """Answer ``POST /v1/auth/sessions/verify``."""
    name, value = fields.exactly_one(body, ("session_token", "session_jwt"))
    minutes = expires_in(state, body)
    session = find(state, name, value)
    _extend(state, session, minutes)
    state.store.save_session(session)
    return {
        "session": session_body(session),
        "user": user_summary(state.store.users[session.user_id]),
        "session_token": state.spelled(session.token),
        "session_jwt": issue_jwt(state, session),
    }


def list_active(state: State, user_id: str) -> Json:
    """Answer ``GET /v1/auth/sessions/list``; an unknown user has none."""
    if not user_id:
        raise invalid("user_id is required")
    mine = [
        session_body(session, token=state.spelled(session.token))
        for session in state.store.sessions.values()
        if session.user_id == user_id and session.expires_at > state.now()
    ]
    return {"sessions": mine}


def delete(state: State, body: Json) -> Json:
    """Answer ``DELETE /v1/auth/sessions/delete``; a dead session gets its own answer."""
    session = find(state, *fields.exactly_one(body, ("session_token", "session_jwt", "session_id")))
    state.store.drop_session(session)
    return {"message": "Successfully deleted session"}


@dataclass(frozen=True)
class Demand:
    """The session that a login requests: a new one, one to add its factor to, or none."""

    minutes: int | None
    session: Session | None
    device: tuple[str, str]


def demand(state: State, body: Json, user_id: str) -> Demand:
    """Return the session that a login of this user requests."""
    minutes = expires_in(state, body)
    session = None
    if body.get("session_token") or body.get("session_jwt"):
        session = find(state, *fields.exactly_one(body, ("session_token", "session_jwt")))
        if session.user_id != user_id:
            raise state.dead_session()
        if len(session.factors) >= MAX_FACTORS:
            raise invalid("The session has too many factors")
    return Demand(minutes, session, fields.device(body))


def grant(state: State, wanted: Demand, user: User, factor: Json) -> Json:
    """Return the session part of a successful login's answer, with the session started or extended.

    A factor added to a session keeps its id and changes its token. Without a session the tokens are
    empty texts, as the service writes them.
    """
    session = wanted.session
    if session is None and wanted.minutes is None:
        return {"user": user_summary(user), "session": None, "session_token": "", "session_jwt": ""}
    if session is None:
        session = start(state, user, wanted.minutes or MIN_MINUTES, [factor], wanted.device)
    else:
        session.factors = [*session.factors, factor]
        _extend(state, session, wanted.minutes)
        state.store.change_token(session, random_text(64))
        state.store.save_session(session)
    token = state.spelled(session.token)
    return {
        "user": user_summary(user),
        "session": session_body(session, token=token),
        "session_token": token,
        "session_jwt": issue_jwt(state, session),
    }
