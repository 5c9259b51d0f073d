"""The wire form of members, their sessions and organizations, with all that the vendor's models require."""

from __future__ import annotations

from moonkey_core.emulator.records import Json
from moonkey_core.emulator.stytch.b2b_records import StytchMember, StytchOrganization
from moonkey_core.emulator.stytch.records import StytchSession
from moonkey_core.emulator.stytch.times import rfc3339

ADMIN = "stytch_admin"


def member_session_body(session: StytchSession, organization: StytchOrganization) -> Json:
    """Return the session object of a reply."""
    return {
        "member_session_id": session.session_id,
        "member_id": session.user_id,
        "organization_id": organization.organization_id,
        "organization_slug": organization.slug,
        **_shared(session),
        "custom_claims": session.custom_claims,
    }


def session_claim(session: StytchSession) -> Json:
    """Return the claim of a JWT that describes its session. The organization has a claim of its own."""
    return {"id": session.session_id, **_shared(session)}


def organization_claim(organization: StytchOrganization) -> Json:
    """Return the claim of a JWT that names the organization."""
    return {"organization_id": organization.organization_id, "slug": organization.slug}


def _shared(session: StytchSession) -> Json:
    return {
        "started_at": rfc3339(session.started_at),
        "last_accessed_at": rfc3339(session.last_accessed_at),
        "expires_at": rfc3339(session.expires_at),
        "authentication_factors": session.factors,
        "roles": session.roles,
    }


def member_body(member: StytchMember) -> Json:
    """Return the member object."""
    return {
        "member_id": member.member_id,
        "organization_id": member.organization_id,
        "email_address": member.email_address,
        "email_address_verified": member.email_verified,
        "status": member.status,
        "name": member.name,
        "external_id": member.external_id,
        "is_admin": ADMIN in member.roles,
        "is_breakglass": False,
        "is_locked": False,
        "lock_created_at": None,
        "lock_expires_at": None,
        "member_password_id": "",
        "mfa_enrolled": bool(member.totp_id or member.phone_number),
        "mfa_phone_number": member.phone_number,
        "mfa_phone_number_verified": bool(member.phone_number),
        "default_mfa_method": "totp" if member.totp_id else "sms_otp" if member.phone_number else "",
        "totp_registration_id": member.totp_id,
        "oauth_registrations": [],
        "sso_registrations": [],
        "retired_email_addresses": [],
        "scim_registration": None,
        "roles": [{"role_id": one, "sources": [{"type": "direct_assignment"}]} for one in member.roles],
        "trusted_metadata": member.trusted_metadata,
        "untrusted_metadata": member.untrusted_metadata,
        "created_at": rfc3339(member.created_at),
        "updated_at": rfc3339(member.created_at),
    }


def organization_body(organization: StytchOrganization) -> Json:
    """Return the organization object."""
    return {
        "organization_id": organization.organization_id,
        "organization_name": organization.name,
        "organization_slug": organization.slug,
        "organization_external_id": organization.external_id,
        "organization_logo_url": "",
        "trusted_metadata": organization.trusted_metadata,
        "created_at": rfc3339(organization.created_at),
        "updated_at": rfc3339(organization.created_at),
        "custom_roles": [],
        **{name: [] for name in _LISTS},
        **_SETTINGS,
    }


_LISTS = (
    "sso_jit_provisioning_allowed_connections",
    "sso_active_connections",
    "email_allowed_domains",
    "allowed_auth_methods",
    "allowed_mfa_methods",
    "rbac_email_implicit_role_assignments",
    "claimed_email_domains",
    "allowed_first_party_connected_apps",
    "allowed_third_party_connected_apps",
)
_SETTINGS = {
    "sso_jit_provisioning": "ALL_ALLOWED",
    "email_jit_provisioning": "NOT_ALLOWED",
    "email_invites": "ALL_ALLOWED",
    "auth_methods": "ALL_ALLOWED",
    "mfa_policy": "OPTIONAL",
    "mfa_methods": "ALL_ALLOWED",
    "oauth_tenant_jit_provisioning": "NOT_ALLOWED",
    "first_party_connected_apps_allowed_type": "ALL_ALLOWED",
    "third_party_connected_apps_allowed_type": "ALL_ALLOWED",
}


def usual_policy() -> Json:
    """Return an RBAC policy with the roles of members and admins and one more, over the resource ``documents``."""

    def role(role_id: str, description: str, *actions: str) -> Json:
        permission = {"resource_id": "documents", "actions": list(actions)}
        return {"role_id": role_id, "description": description, "permissions": [permission]}

    return {
        "roles": [
            role("stytch_member", "Granted to every member.", "read"),
            role("editor", "May change documents.", "read", "write"),
            role(ADMIN, "May do everything with documents.", "*"),
        ],
        "resources": [
            {
                "resource_id": "documents",
                "description": "What the app keeps.",
                "actions": ["read", "write", "delete"],
            }
        ],
        "scopes": [],
    }
