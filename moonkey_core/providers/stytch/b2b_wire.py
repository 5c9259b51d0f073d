"""From the JSON of Stytch's B2B API to models: members, their sessions, and the organization of a session.

The session claim of a JWT names no organization: that stands in a claim of its own, and is brought into the form
of a reply's session, so that both are read alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moonkey_core.models import Session, User, identifier
from moonkey_core.providers.stytch.wire import Members, frozen, parse_user, text_or_none

MEMBERS = Members(
    session="member_session",
    session_id="member_session_id",
    user="member",
    user_id="member_id",
    organization_id="organization_id",
    sessions="member_sessions",
)
"""The names of the members of the API for organizations."""

ORGANIZATION = "organization"
"""The organization in a reply."""

_SLUG = "organization_slug"
# What is kept of an organization: the rest is about how its members sign in.
_KEPT = ("organization_id", "organization_name", _SLUG, "organization_external_id", "trusted_metadata")


def parse_member(body: Mapping[str, Any]) -> User:
    """Return a member. An address or a number counts only where it is verified.

    Raises:
        ValueError: The member has no id, or a time that cannot be read.
    """
    user = parse_user(body, MEMBERS)
    return user.replace(
        email=_if(body.get("email_address_verified"), body.get("email_address")),
        phone_number=_if(body.get("mfa_phone_number_verified"), body.get("mfa_phone_number")),
    )


def organization_of(body: object) -> str:
    """Return the id of an organization, or of that of a member or session.

    Raises:
        ValueError: It names none.
    """
    if not isinstance(body, Mapping):
        raise ValueError("not an object")
    return identifier(body.get(MEMBERS.organization_id))


def kept_organization(body: object) -> dict[str, Any]:
    """Return what is remembered of an organization."""
    return {name: body[name] for name in _KEPT if name in body} if isinstance(body, Mapping) else {}


def with_organization(session: Session, body: object) -> Session:
    """Return a session with what a reply says of its organization, beside its id and slug."""
    kept = kept_organization(body)
    return session.replace(extra=frozen({**session.extra, ORGANIZATION: kept})) if kept else session


def organization_members(claim: object) -> dict[str, Any]:
    """Return the members of a session about its organization, from the claim of a JWT.

    Raises:
        ValueError: The claim names no organization.
    """
    organization_id = organization_of(claim)
    assert isinstance(claim, Mapping)  # checked
    slug = text_or_none(claim.get("slug"))
    return {"organization_id": organization_id, **({} if slug is None else {_SLUG: slug})}


def _if(verified: object, value: object) -> str | None:
    return text_or_none(value) if verified is True else None
