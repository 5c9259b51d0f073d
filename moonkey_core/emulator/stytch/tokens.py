"""JWTs of any shape: a user's session, and what only looks like it. Each is really signed.

A shape is a few changes to the claims of a session JWT. The keys, the issuer and the audience are the same for
sessions, machines and connected apps: only the session claim tells them apart.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moonkey_core.emulator.keys import SigningKey
from moonkey_core.emulator.oidc.keys import compact_jws, secret_signature
from moonkey_core.emulator.records import Json
from moonkey_core.emulator.stytch import oauth2, sessions
from moonkey_core.emulator.stytch.factors import factor, impersonated_factor
from moonkey_core.emulator.stytch.project import SESSION_CLAIM, Project
from moonkey_core.emulator.stytch.records import StytchSession
from moonkey_core.emulator.stytch.times import rfc3339

ORGANIZATION_CLAIM = "https://stytch.com/organization"
KEYS = ("current", "foreign", "imposter")
MAX_SECONDS = 100 * 366 * 86_400.0

DROP: Any = object()
"""In changes to claims: without this one."""

Changes = Mapping[str, Any]


@dataclass(frozen=True)
class Shape:
    """How a JWT differs from a session's own: in its claims, and inside its session claim."""

    claims: Callable[[Project, StytchSession], Changes] = field(default=lambda *_: {})
    session: Callable[[Project, StytchSession], Changes] = field(default=lambda *_: {})


def _other_project(project: Project, _: StytchSession) -> Changes:
    other = f"project-{project.environment}-{uuid.uuid4()}"
    return {"iss": f"stytch.com/{other}", "aud": [other]}


def _m2m(project: Project, _: StytchSession) -> Changes:
    return {**oauth2.m2m_claims(project, project.m2m_scopes), SESSION_CLAIM: DROP}


def _connected_app(project: Project, session: StytchSession) -> Changes:
    return {**oauth2.connected_app_claims(project, session.user_id, ["openid", "profile"]), SESSION_CLAIM: DROP}


def _b2b(project: Project, _: StytchSession) -> Changes:
    organization = {"organization_id": project.new_id("organization"), "slug": "demo"}
    return {"sub": project.new_id("member"), ORGANIZATION_CLAIM: organization}


def _just_over(project: Project, _: StytchSession) -> Changes:
    return {"expires_at": rfc3339(project.time() // 1_000 * 1_000 - 1)}


def _expired(project: Project, _: StytchSession) -> Changes:
    past = int(project.now()) - 3_600
    return {"iat": past, "nbf": past, "exp": past + sessions.JWT_SECONDS}


def _proven_by(kind: str, delivery: str, **details: Any) -> Callable[[Project, StytchSession], Changes]:
    return lambda project, _: {"authentication_factors": [factor(kind, delivery, project.time(), **details)]}


SHAPES: dict[str, Shape] = {
    # The same session in the other forms that the service has.
    "session": Shape(),
    "domain": Shape(lambda project, _: {"iss": project.custom_domain}),
    "string-audience": Shape(lambda project, _: {"aud": project.project_id}),
    "no-session-end": Shape(session=lambda *_: {"expires_at": DROP}),
    "null-session-end": Shape(session=lambda *_: {"expires_at": None}),
    "no-roles": Shape(session=lambda *_: {"roles": DROP}),
    "null-attributes": Shape(session=lambda *_: {"attributes": None}),
    "impersonated": Shape(
        session=lambda project, _: {"authentication_factors": [impersonated_factor(project.time())]}
    ),
    "imported": Shape(session=_proven_by("imported", "imported_auth0")),
    "trusted-token": Shape(
        session=_proven_by(
            "trusted_auth_token", "trusted_token_exchange", trusted_auth_token_factor={"token_id": "trusted-1"}
        )
    ),
    # Genuine, but too old: the service itself gives a new one for it.
    "expired": Shape(_expired),
    # What only looks like a session.
    "m2m": Shape(_m2m),
    "connected-app": Shape(_connected_app),
    "b2b": Shape(_b2b),
    "other-project": Shape(_other_project),
    "other-audience": Shape(lambda *_: {"aud": [f"project-test-{uuid.uuid4()}"]}),
    "slash": Shape(lambda project, _: {"iss": f"{project.custom_domain}/"}),
    "https-issuer": Shape(lambda project, _: {"iss": f"https://{project.issuers['project']}"}),
    "just-over": Shape(session=_just_over),
    "no-nbf": Shape(lambda *_: {"nbf": DROP}),
    "no-iat": Shape(lambda *_: {"iat": DROP}),
    "no-session": Shape(lambda *_: {SESSION_CLAIM: DROP}),
    "no-session-id": Shape(session=lambda *_: {"id": DROP}),
    "text-session": Shape(lambda *_: {SESSION_CLAIM: "session"}),
    "not-yet": Shape(lambda project, _: {"nbf": int(project.now()) + 3_600}),
}
"""All shapes by name."""


@dataclass(frozen=True)
class Wish:
    """What a JWT shall be like, beside whose it is.

    Attributes:
        shape: One of ``SHAPES``.
        algorithm: ``RS256``; or ``none`` or ``HS256`` for one that no key of the project has signed.
        life: The seconds from ``iat`` to ``exp``; ``None`` for the shape's.
        age: How many seconds ago it was issued.
        header: The header members that replace the usual ones.
        key: One of ``KEYS``.
        drop: The names of claims and header members to leave out.
        session: The members that replace those inside the session claim.
        claims: The claims that replace the usual ones.
    """

    shape: str = "session"
    algorithm: str = "RS256"
    life: float | None = None
    age: float = 0
    header: Changes = field(default_factory=dict)
    key: str = "current"
    drop: Iterable[str] = ()
    session: Changes = field(default_factory=dict)
    claims: Changes = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"shape must be one of {', '.join(SHAPES)}")
        if self.key not in KEYS:
            raise ValueError(f"key must be one of {', '.join(KEYS)}")
        if self.algorithm not in ("RS256", "none", "HS256"):
            raise ValueError("algorithm must be RS256, none or HS256")
        for name, seconds in (("life", self.life), ("age", self.age)):
            if seconds is not None and not abs(seconds) <= MAX_SECONDS:
                raise ValueError(f"{name} must be at most {MAX_SECONDS:.0f} seconds either way")


def changed(base: Json, *changes: Changes) -> Json:
    """Return a mapping with changes made to it, one after the other."""
    found = dict(base)
    for one in changes:
        found.update(one)
    return {name: value for name, value in found.items() if value is not DROP}


def claims_of(project: Project, session: StytchSession, wanted: Wish) -> Json:
    """Return the claims of a JWT of a session, in the wanted shape."""
    shape = SHAPES[wanted.shape]
    base = sessions.jwt_claims(project, session)
    base[SESSION_CLAIM] = changed(base[SESSION_CLAIM], shape.session(project, session), wanted.session)
    left_out: Json = dict.fromkeys(wanted.drop, DROP)
    return changed(base, shape.claims(project, session), wanted.claims, left_out)


def signed(project: Project, session: StytchSession, wanted: Wish, foreign: SigningKey) -> str:
    """Return a JWT of a session, in the wanted shape. ``foreign`` is a key that is not published."""
    claims = _aged(claims_of(project, session, wanted), wanted)
    key = project.keys.current if wanted.key == "current" else foreign
    kid = foreign.kid if wanted.key == "foreign" else project.keys.current.kid
    base = {"alg": wanted.algorithm, "kid": kid, "typ": "JWT"}
    left_out: Json = dict.fromkeys(wanted.drop, DROP)
    header = changed(base, wanted.header, left_out)
    if wanted.algorithm != "RS256":
        return compact_jws(header, claims, secret_signature(wanted.algorithm, b"s" * 32))
    return key.sign(header, claims)


def _aged(claims: Json, wanted: Wish) -> Json:
    """Return claims with the wanted age and life, unless their times are given one by one."""
    moved: Json = {
        name: claims[name] - int(wanted.age)
        for name in ("iat", "nbf", "exp")
        if name in claims and name not in wanted.claims and isinstance(claims[name], int)
    }
    found: Json = {**claims, **moved}
    if wanted.life is not None and "exp" not in wanted.claims and isinstance(found.get("iat"), int):
        found["exp"] = found["iat"] + int(wanted.life)
    return found
