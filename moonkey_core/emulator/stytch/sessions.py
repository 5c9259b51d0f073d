"""Sessions: starting, finding, authenticating, listing and revoking them, and their JWTs.

What is here is the same for consumer and B2B projects; ``Project`` writes what differs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moonkey_core.emulator import fields
from moonkey_core.emulator.errors import ApiError
from moonkey_core.emulator.records import Json, random_text
from moonkey_core.emulator.stytch.errors import bad, session_not_found
from moonkey_core.emulator.stytch.project import SESSION_CLAIM, TOKEN_LENGTH, Project
from moonkey_core.emulator.stytch.rbac import verdict
from moonkey_core.emulator.stytch.records import StytchSession
from moonkey_core.emulator.stytch.times import SECOND, nanoseconds

MIN_MINUTES, MAX_MINUTES = 5, 527_040
JWT_SECONDS = 300
MAX_CLAIMS_BYTES = 4_096
MAX_FACTORS = 50
RESERVED_CLAIMS = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti"})
STYTCH_CLAIMS = "https://stytch.com/"

_TOKEN = re.compile(rf"[A-Za-z0-9_=-]{{{TOKEN_LENGTH}}}")


def start(
    project: Project,
    user_id: str,
    minutes: float,
    factors: list[Json],
    roles: list[str],
    claims: Mapping[str, Any] | None = None,
    device: tuple[str, str] = ("", ""),
    age: float = 0,
) -> StytchSession:
    """Start and keep a session, which began ``age`` seconds ago. ``device`` is an address and a user agent."""
    now = project.time() - nanoseconds(age)
    session = StytchSession(
        project.new_id("session"),
        user_id,
        random_text(TOKEN_LENGTH),
        started_at=now // SECOND * SECOND,
        last_accessed_at=now,
        expires_at=_end(now, minutes),
        factors=factors,
        roles=roles,
        custom_claims=dict(claims or {}),
        ip_address=device[0],
        user_agent=device[1],
    )
    project.keep(session)
    return session


def _end(now: int, minutes: float) -> int:
    """Return when a session ends, in whole seconds as the service writes it, but for a life under a second."""
    exact = now + int(minutes * 60 * SECOND)
    return exact if minutes * 60 < 1 else exact // SECOND * SECOND


def touch(project: Project, session: StytchSession, minutes: int | None) -> None:
    """Note that a session was used now, and let it end so many minutes from now, if that was asked for."""
    session.last_accessed_at = project.time()
    if minutes is not None:
        session.expires_at = _end(session.last_accessed_at, minutes)


def jwt_claims(project: Project, session: StytchSession, issuer: str | None = None) -> Json:
    """Return the claims of a JWT that is issued now."""
    now = int(project.now())
    return {
        **project.jwt_claims(session),
        "iss": issuer or project.issuers[project.issuer_form],
        "aud": [project.project_id],
        "sub": session.user_id,
        "iat": now,
        "nbf": now,
        "exp": now + JWT_SECONDS,
    }


def issue_jwt(project: Project, session: StytchSession) -> str:
    """Return a fresh JWT of a session, signed with the current key."""
    key = project.keys.current
    return key.sign(key.header(), jwt_claims(project, session))


def duration(body: Json) -> int | None:
    """Return ``session_duration_minutes``, or ``None``."""
    try:
        return fields.whole_number(body, "session_duration_minutes", MIN_MINUTES, MAX_MINUTES)
    except ApiError as error:
        raise bad("invalid_session_duration_minutes", error.message) from None


def one_argument(body: Json, names: Sequence[str], none: str, many: str) -> tuple[str, str]:
    """Return the one argument of ``names``, with its name; ``none`` and ``many`` are the types of errors."""
    given = [(name, value) for name in names if (value := fields.optional_text(body, name, 16_384))]
    if not given:
        raise bad(none, f"One of {', '.join(names)} is required.")
    if len(given) > 1:
        raise bad(many, f"Only one of {', '.join(names)} may be given.")
    return given[0]


def find(project: Project, name: str, value: str) -> StytchSession:
    """Return the live session that a ``session_token``, ``session_jwt`` or ``…session_id`` names.

    A JWT that has expired is accepted, if its signature and its session are good.
    """
    if name == "session_token":
        if not _TOKEN.fullmatch(value):
            raise bad("invalid_session_token", "Session token format is invalid.")
        return project.by_token(value)
    return project.live(session_id_of(project, value) if name == "session_jwt" else value)


def session_id_of(project: Project, token: str) -> str:
    """Return the session id of a JWT that this project has signed for one of its sessions."""
    claims = project.keys.read(token, None)
    if claims is None:
        raise bad("unable_to_parse_session_jwt", "Unable to parse session JWT.")
    if claims.get("iss") not in project.issuers.values():
        raise bad("jwt_invalid_issuer", "The issuer of the JWT is invalid.")
    audience = claims.get("aud")
    if project.project_id not in (audience if isinstance(audience, list) else [audience]):
        raise bad("jwt_invalid_audience", "The audience of the JWT is invalid.")
    described = claims.get(SESSION_CLAIM)
    session_id = described.get("id") if isinstance(described, dict) else None
    if not isinstance(session_id, str):
        raise bad("jwt_invalid_claims", "The claims of the JWT are invalid.")
    found = project.sessions.get(session_id)
    if found is not None and found.user_id != claims.get("sub"):
        raise session_not_found()
    return session_id


@dataclass(frozen=True)
class Wish:
    """What a request wants of a session: its life in minutes from now, and changes to its custom claims."""

    minutes: int | None
    claims: Json


def wish(project: Project, body: Json) -> Wish:
    """Return what a request wants. Custom claims are only taken together with a duration."""
    minutes = duration(body)
    claims = body.get("session_custom_claims")
    if claims is None:
        return Wish(minutes, {})
    if not isinstance(claims, dict):
        raise bad("unable_to_represent_custom_claims_json", "session_custom_claims must be an object.")
    reserved = [name for name in claims if name in RESERVED_CLAIMS or name.startswith(STYTCH_CLAIMS)]
    if reserved and project.refuses_reserved_claims:
        kind = "reserved_claims_in" if reserved[0] in RESERVED_CLAIMS else "stytch_claims_in"
        raise bad(f"{kind}_custom_claims", "The custom claims have reserved names.")
    kept = {name: value for name, value in claims.items() if name not in reserved}
    return Wish(minutes, kept if minutes is not None else {})


def changed_claims(old: Json, changes: Json) -> Json:
    """Return custom claims with changes merged in by key, nested objects too. Null deletes.

    Raises:
        ApiError: They are more than 4 KB together.
    """
    merged = _merged(old, changes)
    if len(json.dumps(merged, separators=(",", ":")).encode()) > MAX_CLAIMS_BYTES:
        raise bad("custom_claims_too_large", "Total custom claims size cannot exceed four kilobytes.")
    return merged


def _merged(old: Json, changes: Json) -> Json:
    found = dict(old)
    for name, value in changes.items():
        if value is None:
            found.pop(name, None)
        elif isinstance(value, dict):
            before = found.get(name)
            found[name] = _merged(before if isinstance(before, dict) else {}, value)
        else:
            found[name] = value
    return found


def asked_permission(body: Json) -> tuple[str, str, Json] | None:
    """Return the resource and action of an ``authorization_check``, and the whole of it; or ``None``."""
    check = body.get("authorization_check")
    if check is None:
        return None
    if not isinstance(check, dict):
        raise bad("bad_request", "authorization_check must be an object.")
    return fields.text(check, "resource_id", 256), fields.text(check, "action", 256), check


def credentials(project: Project, session: StytchSession) -> Json:
    """Return both credentials of a session: its token, and a fresh JWT."""
    return {"session_token": session.token, "session_jwt": issue_jwt(project, session)}


def authenticated(project: Project, body: Json) -> tuple[StytchSession, Json]:
    """Return the session that a request for authentication names, used and changed as asked; and the verdict.

    The verdict is empty where none was asked for. A request that is refused changes nothing.
    """
    names = ("session_token", "session_jwt")
    named = one_argument(body, names, "no_session_arguments", "too_many_session_arguments")
    wanted, asked = wish(project, body), asked_permission(body)
    session = find(project, *named)
    if wanted.minutes is not None and any(one.get("type") == "impersonated" for one in session.factors):
        raise bad("session_not_mutable_impersonated", "Impersonated sessions cannot be extended.")
    claims = changed_claims(session.custom_claims, wanted.claims)
    found = {} if asked is None else {"verdict": verdict(project.policy_of(session), session.roles, *asked[:2])}
    session.custom_claims = claims
    touch(project, session, wanted.minutes)
    return project.sessions.get(project.wrong_session or "", session), found
