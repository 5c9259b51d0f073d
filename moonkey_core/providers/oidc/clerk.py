"""What Clerk's session tokens say of a user's organization, in both of their versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moonkey_core.models import Grants, texts
from moonkey_core.providers.oidc.rules import lookup

_MAX_MASK_LENGTH = 64  # digits
_COMPACT = 2


def clerk_grants(payload: Mapping[str, Any]) -> Grants:
    """Return the organization, the role in it as ``org:admin``, and the permissions.

    Version 2 packs permissions: ``o.per`` lists their names, ``o.fpm`` has a bit mask over these for each feature
    of ``fea`` that is one of organizations.
    """
    if payload.get("v") != _COMPACT:
        return Grants(
            roles=texts(payload.get("org_role")),
            permissions=texts(payload.get("org_permissions")),
            organization=_text(payload.get("org_id")),
        )
    role = _text(lookup(payload, ("o", "rol")))
    return Grants(
        roles=() if role is None else (role if role.startswith("org:") else f"org:{role}",),
        permissions=_permissions(payload),
        organization=_text(lookup(payload, ("o", "id"))),
    )


def _permissions(payload: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the permissions on which both readings of the masks agree.

    Clerk's JavaScript code has a mask for each feature of organizations, its Python code one for each feature.
    They differ only where a user has features too: what is not certain counts as not granted.
    """
    features = [one.strip().partition(":") for one in _list(payload.get("fea"))]
    names, masks = _list(lookup(payload, ("o", "per"))), _list(lookup(payload, ("o", "fpm")))
    of_organizations = [name if "o" in scope else None for scope, _, name in features]
    one_each = _unpacked([name for name in of_organizations if name is not None], masks, names)
    one_for_all = _unpacked(of_organizations, masks, names)
    return tuple(permission for permission in one_each if permission in one_for_all)


def _unpacked(features: list[str | None] | list[str], masks: list[str], names: list[str]) -> dict[str, None]:
    found: dict[str, None] = {}
    for feature, mask in zip(features, masks, strict=False):
        if not feature or not (mask.isascii() and mask.isdigit() and len(mask) <= _MAX_MASK_LENGTH):
            continue
        bits = int(mask)
        found.update({f"org:{feature}:{name}": None for place, name in enumerate(names) if bits >> place & 1})
    return found


def _list(value: object) -> list[str]:
    return [one.strip() for one in value.split(",")] if isinstance(value, str) and value else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
