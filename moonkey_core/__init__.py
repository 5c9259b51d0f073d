"""MoonKey: a verified user and session on every request. The core; it knows no web framework."""

from moonkey_core.auth import Auth, AuthState
from moonkey_core.client import AsyncMoonKey, MoonKey
from moonkey_core.errors import (
    AuthenticationError,
    ConfigurationError,
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
)
from moonkey_core.models import Device, Factor, Login, OtpRequest, Session, User, VerifiedSession
from moonkey_core.settings import Options, Settings

__all__ = [
    "AsyncMoonKey",
    "Auth",
    "AuthState",
    "AuthenticationError",
    "ConfigurationError",
    "Device",
    "ExpiredCredentials",
    "Factor",
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
    "RevocationIncomplete",
    "RevokedCredentials",
    "Session",
    "Settings",
    "StepUpRequired",
    "User",
    "VerifiedSession",
]
