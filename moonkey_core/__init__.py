"""MoonKey: a verified user and session on every request. The core; it knows no web framework."""

from moonkey_core._operations.rotation import Rotation
from moonkey_core.auth import Auth, AuthenticatedAuth, AuthState
from moonkey_core.client import AsyncMoonKey, MoonKey
from moonkey_core.errors import (
    AuthenticationError,
    ConfigurationError,
    CrossSiteRequest,
    ExpiredCredentials,
    InvalidCredentials,
    MalformedCredentials,
    MissingCredentials,
    MoonKeyError,
    NotFound,
    PermissionDenied,
    ProviderError,
    ProviderRejectedKey,
    ProviderUnavailable,
    RequestRefused,
    RevocationIncomplete,
    RevokedCredentials,
    StepUpRequired,
    TooManyAttempts,
)
from moonkey_core.gate import Requirements
from moonkey_core.health import Health
from moonkey_core.lag import RevocationLag
from moonkey_core.models import Device, Factor, Login, OtpRequest, Session, User, VerifiedSession
from moonkey_core.revocations import Revocations
from moonkey_core.settings import CookieSettings, Options, Settings, SignInSettings

__all__ = [
    "AsyncMoonKey",
    "Auth",
    "AuthState",
    "AuthenticatedAuth",
    "AuthenticationError",
    "ConfigurationError",
    "CookieSettings",
    "CrossSiteRequest",
    "Device",
    "ExpiredCredentials",
    "Factor",
    "Health",
    "InvalidCredentials",
    "Login",
    "MalformedCredentials",
    "MissingCredentials",
    "MoonKey",
    "MoonKeyError",
    "NotFound",
    "Options",
    "OtpRequest",
    "PermissionDenied",
    "ProviderError",
    "ProviderRejectedKey",
    "ProviderUnavailable",
    "RequestRefused",
    "Requirements",
    "RevocationIncomplete",
    "RevocationLag",
    "Revocations",
    "RevokedCredentials",
    "Rotation",
    "Session",
    "Settings",
    "SignInSettings",
    "StepUpRequired",
    "TooManyAttempts",
    "User",
    "VerifiedSession",
]
