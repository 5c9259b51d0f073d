"""The control interface of a B2B project over HTTP, under ``/_emulator``. It is not part of the service's API."""

from __future__ import annotations

from starlette.routing import Route

from moonkey_core.emulator.control_routes import AGES, NUMBER, Others, Posts, control_routes, names
from moonkey_core.emulator.errors import invalid
from moonkey_core.emulator.records import Json
from moonkey_core.emulator.stytch.b2b_control import CONSUMER, StytchB2BControl
from moonkey_core.emulator.stytch.b2b_state import B2BState
from moonkey_core.emulator.stytch.control_http import (
    PROJECT_HELP,
    PROJECT_OTHERS,
    PROJECT_POSTS,
    project_facts,
    sign_in,
    token,
)
from moonkey_core.emulator.stytch.factors import FACTOR_NAMES
from moonkey_core.emulator.stytch.tokens import SHAPES

_HELP: Json = {
    "about": "Control of the emulator of a Stytch B2B project. The service's own API is under /v1/b2b.",
    "POST /_emulator/sign-in": (
        "{email? | member_id?, organization?, minutes?, factors?, claims?, roles?, age?, factor_age?} -> a session"
    ),
    "factors": f"objects, or names: {', '.join(FACTOR_NAMES)}",
    "POST /_emulator/token": (
        "{shape?, email?, organization? | session_id?, algorithm?, life?, age?, header?, key?, drop?, session?, "
        "claims?} -> a JWT"
    ),
    "shapes": ", ".join((*SHAPES, CONSUMER)),
    "POST /_emulator/revoke": "{session_id | member_id} ends a session, or all of a member",
    "POST /_emulator/roles": "{member_id, roles} gives a member roles",
    "POST /_emulator/organization-policy": "{organization, roles?} replaces the roles of an organization's policy",
    "POST /_emulator/organization-policies": "{enabled: bool} allows such policies, or refuses them",
    **PROJECT_HELP,
}


def _roles(control: StytchB2BControl, given: Json) -> None:
    if not isinstance(given.get("member_id"), str) or not names(given.get("roles")):
        raise invalid("member_id must be text, and roles a list of names")
    control.set_roles(**given)


def _organization_policy(control: StytchB2BControl, given: Json) -> Json:
    roles = given.get("roles", [])
    if not isinstance(given.get("organization"), str) or not all(isinstance(one, dict) for one in roles):
        raise invalid("organization must be text, and roles a list of objects")
    return control.organization_policy(**given)


_POSTS: Posts[StytchB2BControl] = {
    **PROJECT_POSTS,
    "sign-in": (
        sign_in,
        {
            "email": str,
            "organization": str,
            "member_id": str,
            "minutes": NUMBER,
            **AGES,
            "factors": list,
            "claims": dict,
            "roles": list,
        },
    ),
    "token": (
        token,
        {
            "shape": str,
            "email": str,
            "organization": str,
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
    "revoke": (lambda c, given: c.revoke(**given), {"session_id": str, "member_id": str}),
    "roles": (_roles, {"member_id": str, "roles": list}),
    "organization-policy": (_organization_policy, {"organization": str, "roles": list}),
    "organization-policies": (lambda c, given: c.organization_policies(**given), {"enabled": bool}),
}
_OTHERS: Others[StytchB2BControl] = {
    **PROJECT_OTHERS,
    ("GET", ""): lambda c: {**_HELP, **project_facts(c), "jwks_url": c.jwks_url},
}


def routes(state: B2BState, control: StytchB2BControl) -> list[Route]:
    """Return the routes of the control interface."""
    return control_routes(state, control, _POSTS, _OTHERS)
