"""MoonKey: a verified user and session on every request. The core; it knows no web framework.

Importing the package loads none of its modules: each public name is loaded when it is first used (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moonkey_core._operations.rotation import Rotation
    from moonkey_core._operations.sessions import RevokedSessions
    from moonkey_core.auth import Auth, AuthenticatedAuth, AuthState
    from moonkey_core.client import AsyncClient, AsyncMoonKey, Client, MoonKey
    from moonkey_core.errors import (
        AuthenticationError,
        BodyTooLong,
        ConfigurationError,
        CrossSiteRequest,
        ExpiredCredentials,
        InvalidCredentials,
        MalformedCredentials,
        MfaNotEnrolled,
        MissingCredentials,
        MoonKeyError,
        NotFound,
        NotSupported,
        PermissionDenied,
        ProviderError,
        ProviderRejectedKey,
        ProviderUnavailable,
        RequestRefused,
        RevocationIncomplete,
        RevocationsFull,
        RevokedCredentials,
        StepUpRequired,
        TooManyAttempts,
        UnsupportedMediaType,
    )
    from moonkey_core.gate import Requirements
    from moonkey_core.health import Health
    from moonkey_core.lag import RevocationLag
    from moonkey_core.models import (
        AuthenticationMethod,
        AuthorizationCheck,
        Device,
        Factor,
        Login,
        Machine,
        MagicLinkRequest,
        MfaMethod,
        MfaRecord,
        OtpRequest,
        Session,
        StartRecord,
        TotpRegistration,
        User,
        VerifiedSession,
        Wallet,
        WalletChallenge,
    )
    from moonkey_core.provider import (
        CDP,
        OIDC,
        Auth0,
        Clerk,
        Cognito,
        EntraID,
        Firebase,
        Introspection,
        Keycloak,
        Okta,
        Stytch,
        StytchB2B,
        Supabase,
        WorkOS,
    )
    from moonkey_core.revocations import RevocationHandle, Revocations, RevocationState
    from moonkey_core.settings import CookieSettings, Options, Settings, SignInSettings

__all__ = [
    "CDP",
    "OIDC",
    "AsyncClient",
    "AsyncMoonKey",
    "Auth",
    "Auth0",
    "AuthState",
    "AuthenticatedAuth",
    "AuthenticationError",
    "AuthenticationMethod",
    "AuthorizationCheck",
    "BodyTooLong",
    "Clerk",
    "Cognito",
    "Client",
    "ConfigurationError",
    "CookieSettings",
    "CrossSiteRequest",
    "Device",
    "EntraID",
    "ExpiredCredentials",
    "Factor",
    "Firebase",
    "Health",
    "Introspection",
    "InvalidCredentials",
    "Keycloak",
    "Login",
    "Machine",
    "MagicLinkRequest",
    "MalformedCredentials",
    "MfaMethod",
    "MfaNotEnrolled",
    "MfaRecord",
    "MissingCredentials",
    "MoonKey",
    "MoonKeyError",
    "NotFound",
    "NotSupported",
    "Okta",
    "Options",
    "OtpRequest",
    "PermissionDenied",
    "ProviderError",
    "ProviderRejectedKey",
    "ProviderUnavailable",
    "RequestRefused",
    "Requirements",
    "RevocationHandle",
    "RevocationIncomplete",
    "RevocationLag",
    "RevocationState",
    "Revocations",
    "RevocationsFull",
    "RevokedCredentials",
    "RevokedSessions",
    "Rotation",
    "Session",
    "Settings",
    "SignInSettings",
    "StartRecord",
    "StepUpRequired",
    "Stytch",
    "StytchB2B",
    "Supabase",
    "TooManyAttempts",
    "TotpRegistration",
    "UnsupportedMediaType",
    "User",
    "VerifiedSession",
    "Wallet",
    "WalletChallenge",
    "WorkOS",
]

_MODULES = {
    "AsyncClient": "client",
    "AsyncMoonKey": "client",
    "Auth": "auth",
    "Auth0": "provider",
    "AuthenticatedAuth": "auth",
    "AuthenticationError": "errors",
    "AuthenticationMethod": "models",
    "AuthorizationCheck": "models",
    "AuthState": "auth",
    "BodyTooLong": "errors",
    "CDP": "provider",
    "Clerk": "provider",
    "Client": "client",
    "Cognito": "provider",
    "ConfigurationError": "errors",
    "CookieSettings": "settings",
    "CrossSiteRequest": "errors",
    "Device": "models",
    "EntraID": "provider",
    "ExpiredCredentials": "errors",
    "Factor": "models",
    "Firebase": "provider",
    "Health": "health",
    "Introspection": "provider",
    "InvalidCredentials": "errors",
    "Keycloak": "provider",
    "Login": "models",
    "Machine": "models",
    "MagicLinkRequest": "models",
    "MalformedCredentials": "errors",
    "MfaMethod": "models",
    "MfaNotEnrolled": "errors",
    "MfaRecord": "models",
    "MissingCredentials": "errors",
    "MoonKey": "client",
    "MoonKeyError": "errors",
    "NotFound": "errors",
    "NotSupported": "errors",
    "OIDC": "provider",
    "Okta": "provider",
    "Options": "settings",
    "OtpRequest": "models",
    "PermissionDenied": "errors",
    "ProviderError": "errors",
    "ProviderRejectedKey": "errors",
    "ProviderUnavailable": "errors",
    "RequestRefused": "errors",
    "Requirements": "gate",
    "RevocationHandle": "revocations",
    "RevocationIncomplete": "errors",
    "RevocationLag": "lag",
    "Revocations": "revocations",
    "RevocationsFull": "errors",
    "RevocationState": "revocations",
    "RevokedCredentials": "errors",
    "RevokedSessions": "_operations.sessions",
    "Rotation": "_operations.rotation",
    "Session": "models",
    "Settings": "settings",
    "SignInSettings": "settings",
    "StartRecord": "models",
    "StepUpRequired": "errors",
    "Stytch": "provider",
    "StytchB2B": "provider",
    "Supabase": "provider",
    "TooManyAttempts": "errors",
    "TotpRegistration": "models",
    "UnsupportedMediaType": "errors",
    "User": "models",
    "VerifiedSession": "models",
    "Wallet": "models",
    "WalletChallenge": "models",
    "WorkOS": "provider",
}

# Modules that were always there as attributes after ``import moonkey_core``.
_SUBMODULES = frozenset(
    {
        "auth",
        "client",
        "errors",
        "events",
        "gate",
        "health",
        "lag",
        "models",
        "provider",
        "revocations",
        "settings",
    }
)

if not TYPE_CHECKING:  # so that type checkers still report a name that is not there

    def __getattr__(name):
        """Load what is asked for, and what it needs, on first use."""
        if name in _MODULES:
            value = getattr(import_module(f"moonkey_core.{_MODULES[name]}"), name)
        elif name in _SUBMODULES:
            value = import_module(f"moonkey_core.{name}")
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__():
        """Return the public names too, loaded or not."""
        return sorted({*globals(), *__all__, *_SUBMODULES})
