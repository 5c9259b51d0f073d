"""Role-based access control: the policy of a project, and the verdict about a permission."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moonkey_core.emulator.errors import ApiError
from moonkey_core.emulator.records import Json

_POLICY = {"roles": "role_id", "resources": "resource_id", "scopes": "scope"}
"""The lists of a policy, each with the member that names its entries."""


def usual_policy() -> Json:
    """Return an RBAC policy with the role of every user and two more, over the resource ``documents``."""

    def role(role_id: str, description: str, *actions: str) -> Json:
        permission = {"resource_id": "documents", "actions": list(actions)}
        return {"role_id": role_id, "description": description, "permissions": [permission]}

    return {
        "roles": [
            role("stytch_user", "Granted to every user.", "read"),
            role("editor", "May change documents.", "read", "write"),
            role("admin", "May do everything with documents.", "*"),
        ],
        "resources": [
            {
                "resource_id": "documents",
                "description": "What the app keeps.",
                "actions": ["read", "write", "delete"],
            }
        ],
        "scopes": [
            {
                "scope": "read:documents",
                "description": "Read documents.",
                "permissions": [{"resource_id": "documents", "actions": ["read"]}],
            }
        ],
    }


def checked_policy(policy: Mapping[str, Any]) -> Json:
    """Return a policy whose parts are all there.

    Raises:
        ValueError: It is not ``{roles, resources, scopes}``, each a list of objects with a name, whose permissions
            have a resource and actions.
    """
    for name, named_by in _POLICY.items():
        entries = policy.get(name)
        if not isinstance(entries, list) or not all(_is_entry(one, named_by) for one in entries):
            raise ValueError(f"{name} of a policy must be a list of objects, each with its {named_by}")
    return dict(policy)


def _is_entry(entry: object, named_by: str) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get(named_by), str):
        return False
    permissions = entry.get("permissions", [])
    return isinstance(permissions, list) and all(
        isinstance(one, dict) and isinstance(one.get("resource_id"), str) and isinstance(one.get("actions"), list)
        for one in permissions
    )


def verdict(policy: Json, roles: Sequence[str], resource_id: str, action: str) -> Json:
    """Return the verdict about a permission. A role has it for the exact resource, and the action or ``*``.

    Raises:
        ApiError: No role has it.
    """
    granting = [
        role["role_id"]
        for role in policy["roles"]
        if role["role_id"] in roles
        and any(
            one["resource_id"] == resource_id and {action, "*"} & set(one["actions"])
            for one in role.get("permissions", [])
        )
    ]
    if not granting:
        message = "The roles of the session do not permit the action on the resource."
        raise ApiError(403, "session_authorization_error", message)
    return {"authorized": True, "granting_roles": granting}
