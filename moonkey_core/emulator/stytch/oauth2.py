"""The OAuth endpoints of a project: tokens for machines, and the introspection of access tokens."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request

from moonkey_core.emulator import fields
from moonkey_core.emulator.guarded import equal
from moonkey_core.emulator.oidc.errors import OAuthError, invalid_client, invalid_request
from moonkey_core.emulator.records import Json
from moonkey_core.emulator.stytch.project import SESSION_CLAIM, Project

ACCESS_TOKEN_SECONDS = 3_600


def body_of(request: Request, raw: bytes) -> Json:
    """Return the fields of a form, or of a JSON object as the vendor's client sends it."""
    if request.headers.get("content-type", "").startswith("application/json"):
        return fields.json_object(raw)
    try:
        return dict(parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=50))
    except ValueError:
        raise invalid_request("the body is not a form") from None


def m2m_claims(project: Project, scopes: list[str]) -> Json:
    """Return the claims of a machine's access token: the subject is the client."""
    return _access_claims(project, project.m2m_client_id, scopes)


def connected_app_claims(project: Project, user_id: str, scopes: list[str]) -> Json:
    """Return the claims of an access token of a connected app: the subject is the user, as in a session JWT."""
    return _access_claims(project, user_id, scopes)


def _access_claims(project: Project, subject: str, scopes: list[str]) -> Json:
    now = int(project.now())
    return {
        "iss": project.issuers[project.issuer_form],
        "aud": [project.project_id],
        "sub": subject,
        "iat": now,
        "nbf": now,
        "exp": now + ACCESS_TOKEN_SECONDS,
        "scope": " ".join(scopes),
    }


def token(project: Project, given: Mapping[str, str]) -> Json:
    """Answer ``POST /v1/public/{project_id}/oauth2/token`` for a machine.

    Raises:
        OAuthError: The grant, the client or a scope is not accepted.
    """
    body = dict(given)
    if fields.text(body, "grant_type", 64) != "client_credentials":
        raise OAuthError(400, "unsupported_grant_type", "grant_type must be client_credentials")
    client_id, secret = (fields.optional_text(body, name, 128) for name in ("client_id", "client_secret"))
    if client_id != project.m2m_client_id or not equal(secret, project.m2m_client_secret):
        raise invalid_client("the client is not authenticated", challenge=False)
    wanted = fields.optional_text(body, "scope").split() or project.m2m_scopes
    if not set(wanted) <= set(project.m2m_scopes):
        raise OAuthError(400, "invalid_scope", "the client does not have these scopes")
    key = project.keys.current
    access = key.sign(key.header(), m2m_claims(project, wanted))
    return {"access_token": access, "token_type": "bearer", "expires_in": ACCESS_TOKEN_SECONDS}


def introspection(project: Project, given: Mapping[str, str]) -> Json:
    """Answer ``POST /v1/public/{project_id}/oauth2/introspect``; a session JWT is no access token."""
    body = dict(given)
    fields.text(body, "client_id", 128)
    claims = project.keys.read(fields.text(body, "token", 16_384), list(project.issuers.values()))
    if claims is None or SESSION_CLAIM in claims or claims.get("exp", 0) <= project.now():
        return {"active": False}
    return {"active": True, **claims, "token_type": "access_token"}
