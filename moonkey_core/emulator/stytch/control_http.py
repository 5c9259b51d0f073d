"""The control interface of the service over HTTP, under ``/_emulator``. It is not part of the service's API."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from starlette.routing import Route

from moonkey_core.emulator.control_routes import AGES, HELP, NUMBER, Others, Posts, control_routes, names
from moonkey_core.emulator.errors import invalid
from moonkey_core.emulator.records import Json
from moonkey_core.emulator.stytch.control import ProjectControl, StytchControl
from moonkey_core.emulator.stytch.factors import FACTOR_NAMES
from moonkey_core.emulator.stytch.state import StytchState
from moonkey_core.emulator.stytch.tokens import SHAPES

PROJECT_HELP: Json = {
    "GET /_emulator/outbox": "codes and links that were sent, newest first",
    "POST /_emulator/keys/rotate": "{keep_old?: true}",
    "POST /_emulator/issuer-form": '{form: "project" | "domain"} chooses the issuer of JWTs',
    "POST /_emulator/policy": "{policy?} replaces the RBAC policy",
    "POST /_emulator/reserved-claims": "{refuse: bool} refuses custom claims with reserved names, or ignores them",
    "POST /_emulator/session-members": "{members?, drop?} replaces members of session objects",
    "POST /_emulator/wrong-session": "{session_id?} answers each authentication with this session",
    **HELP,
}
_HELP: Json = {
    "about": "Control of the emulator of a Stytch consumer project. The service's own API is under /v1.",
    "POST /_emulator/sign-in": (
        "{email? | user_id?, minutes?, factors?, claims?, roles?, age?, factor_age?} -> a session"
    ),
    "factors": f"objects, or names: {', '.join(FACTOR_NAMES)}",
    "POST /_emulator/token": (
        "{shape?, email? | session_id?, algorithm?, life?, age?, header?, key?, drop?, session?, claims?} -> a JWT"
    ),
    "shapes": ", ".join(SHAPES),
    "POST /_emulator/revoke": "{session_id | user_id} ends a session, or all of a user",
    "POST /_emulator/roles": "{user_id, roles} gives a user roles",
    "POST /_emulator/impersonation-token": "{email?} -> a token for impersonation/authenticate",
    "POST /_emulator/oauth-token": "{email?, provider?} -> a token for oauth/authenticate",
    **PROJECT_HELP,
}


def token(control: Any, given: Json) -> Json:
    """Answer with a JWT of arbitrary content, of a project of either kind."""
    if not names(given.get("drop", [])):
        raise invalid("drop must be a list of names")
    return {"token": control.token(**given)}


def sign_in(control: Any, given: Json) -> Json:
    """Answer with a new session, of a project of either kind."""
    if not names(given.get("roles", [])):
        raise invalid("roles must be a list of names")
    return asdict(control.sign_in(**given))


def _roles(control: StytchControl, given: Json) -> None:
    if not isinstance(given.get("user_id"), str) or not names(given.get("roles")):
        raise invalid("user_id must be text, and roles a list of names")
    control.set_roles(**given)


def _members(control: ProjectControl, given: Json) -> None:
    if not names(given.get("drop", [])):
        raise invalid("drop must be a list of names")
    control.session_members(given.get("drop", ()), **given.get("members", {}))


PROJECT_POSTS: Posts[ProjectControl] = {
    "keys/rotate": (lambda c, given: {"kid": c.rotate_keys(**given)}, {"keep_old": bool}),
    "issuer-form": (lambda c, given: c.issuer_form(**given), {"form": str}),
    "policy": (lambda c, given: {"policy": c.policy(**given)}, {"policy": dict}),
    "reserved-claims": (lambda c, given: c.reserved_claims(**given), {"refuse": bool}),
    "session-members": (_members, {"members": dict, "drop": list}),
    "wrong-session": (lambda c, given: c.wrong_session(**given), {"session_id": str}),
    "reset": (lambda c, given: c.reset(), {}),
}
_POSTS: Posts[StytchControl] = {
    **PROJECT_POSTS,
    "sign-in": (
        sign_in,
        {"email": str, "user_id": str, "minutes": NUMBER, "factors": list, "claims": dict, "roles": list, **AGES},
    ),
    "token": (
        token,
        {
            "shape": str,
            "email": str,
            "session_id": str,
            "algorithm": str,
            "life": NUMBER,
            "age": NUMBER,
            "header": dict,
            "key": str,
            "drop": list,
            "session": dict,
            "claims": dict,
        },
    ),
    "revoke": (lambda c, given: c.revoke(**given), {"session_id": str, "user_id": str}),
    "roles": (_roles, {"user_id": str, "roles": list}),
    "impersonation-token": (
        lambda c, given: {"token": c.impersonation_token(**given)},
        {"email": str},
    ),
    "oauth-token": (lambda c, given: {"token": c.oauth_token(**given)}, {"email": str, "provider": str}),
}


def project_facts(control: ProjectControl) -> Json:
    """Return what an app is configured with, but for the secret."""
    return {
        "project_id": control.project_id,
        "public_token": control.public_token,
        "issuers": control.issuers,
        "kid": control.kid,
    }


PROJECT_OTHERS: Others[ProjectControl] = {
    ("GET", "/outbox"): lambda c: {"messages": [asdict(message) for message in c.outbox()]},
}
_OTHERS: Others[StytchControl] = {
    **PROJECT_OTHERS,
    ("GET", ""): lambda c: {**_HELP, **project_facts(c), "jwks_url": c.jwks_url},
}


def routes(state: StytchState, control: StytchControl) -> list[Route]:
    """Return the routes of the control interface."""
    return control_routes(state, control, _POSTS, _OTHERS)
