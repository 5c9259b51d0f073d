"""What an identity provider is, for the authors of one: one protocol, its data, and a base class.

See "Write your own provider" in ``docs/providers.md``; :mod:`moonkey_core.testing` has a suite to test it with.
"""

from moonkey_core._plan import CallAuthorization, Fetch, Plan, Reply, ReplyClass, StorePolicy, TransportError
from moonkey_core._provider import (
    Capability,
    FixedAuthorization,
    IntrospectionRequest,
    IntrospectionResult,
    JwtClaims,
    JwtRules,
    KeySource,
    Provider,
    ProviderBase,
    SessionClaims,
    SessionLister,
    SessionRevoker,
    UserRevoker,
)
from moonkey_core._sign_in_steps import (
    LinkPage,
    LoginContext,
    LoginLimits,
    SignInBase,
    SignInSteps,
    with_query,
)
from moonkey_core._verified import DEFAULT_SCOPE, Body, decoded
from moonkey_core.errors import InvalidCredentials, NotSupported, ProviderUnavailable
from moonkey_core.models import Factor, Grants, Session, User, VerifiedSession
from moonkey_core.providers.cdp.provider import CDP
from moonkey_core.providers.introspection.provider import Introspection
from moonkey_core.providers.moonkey import ids as moonkey_ids
from moonkey_core.providers.oidc.presets import (
    Auth0,
    Clerk,
    Cognito,
    EntraID,
    Firebase,
    Keycloak,
    Okta,
    Supabase,
    WorkOS,
)
from moonkey_core.providers.oidc.provider import OIDC, OidcProvider
from moonkey_core.providers.oidc.rules import (
    Claim,
    ClaimRules,
    Rule,
    Sign,
    allow,
    differs,
    forbid,
    has,
    lacks,
    require,
)
from moonkey_core.providers.stytch.b2b import StytchB2B
from moonkey_core.providers.stytch.provider import Stytch
from moonkey_core.settings import Secret

__all__ = [
    "CDP",
    "OIDC",
    "Auth0",
    "Body",
    "CallAuthorization",
    "Capability",
    "Claim",
    "ClaimRules",
    "Clerk",
    "Cognito",
    "EntraID",
    "Factor",
    "Fetch",
    "FixedAuthorization",
    "Firebase",
    "Grants",
    "Introspection",
    "IntrospectionRequest",
    "IntrospectionResult",
    "InvalidCredentials",
    "JwtClaims",
    "JwtRules",
    "KeySource",
    "Keycloak",
    "LinkPage",
    "LoginContext",
    "LoginLimits",
    "NotSupported",
    "OidcProvider",
    "Okta",
    "Plan",
    "Provider",
    "ProviderBase",
    "ProviderUnavailable",
    "Reply",
    "ReplyClass",
    "Rule",
    "Secret",
    "Session",
    "SessionClaims",
    "SessionLister",
    "SessionRevoker",
    "Sign",
    "SignInBase",
    "SignInSteps",
    "StorePolicy",
    "Stytch",
    "StytchB2B",
    "Supabase",
    "TransportError",
    "User",
    "UserRevoker",
    "VerifiedSession",
    "WorkOS",
    "allow",
    "decoded",
    "differs",
    "forbid",
    "has",
    "lacks",
    "require",
    "with_query",
]


def key_of_user(user_id: str, scope: str = DEFAULT_SCOPE) -> str:
    """Return the one spelling of a user's id for tables, where no client is at hand.

    Args:
        user_id: The id.
        scope: What it belongs to.
    """
    return moonkey_ids.bare_user_id(user_id) if scope == DEFAULT_SCOPE else user_id


def public_user_id(user_id: str, scope: str = DEFAULT_SCOPE) -> str:
    """Return a user's id as ``User.id`` has it, where no client is at hand.

    Args:
        user_id: The id.
        scope: What it belongs to.
    """
    return moonkey_ids.public_user_id(user_id) if scope == DEFAULT_SCOPE else user_id
