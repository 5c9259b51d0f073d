"""The keyword arguments of the clients, for type checkers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from os import PathLike
from typing import Any, Literal, Protocol, TypedDict

from moonkey_core._provider import Provider
from moonkey_core.settings.cookie_settings import CookieSettings
from moonkey_core.settings.fields import Secret
from moonkey_core.settings.sign_in_settings import SignInSettings


class HasSettings(Protocol):
    """A client that lends its settings: ``providers=[MoonKey(…), …]``."""

    @property
    def settings(self) -> object:
        """Its settings."""
        ...


class Options(TypedDict, total=False):
    """The keyword arguments of the clients; :class:`~moonkey_core.settings.Settings` describes them."""

    secret_key: str | Secret | None
    previous_secret_key: str | Secret | None
    base_url: str | None
    provider: Provider | HasSettings | str | None
    providers: Sequence[Provider | HasSettings | str] | str | None
    public_token: str | None
    oauth_start_url: str | None
    allow_http: bool | None
    jwt_issuer: str | Sequence[str] | None
    jwt_audience: str | Sequence[str] | None
    jwt_session_claims: str | Sequence[str] | None
    jwt_max_age: float | None
    leeway: float | None
    strict_subject: bool | None
    refresh_jwt: bool | None
    jwks_url: str | None
    jwks_auth: Literal["header", "none"] | None
    jwks: Mapping[str, object] | None
    jwks_ttl: float | None
    jwks_max_stale: float | None
    jwks_timeout: float | None
    credential_headers: str | Sequence[str] | None
    max_credential_length: int | None
    min_session_minutes: int | None
    max_session_minutes: int | None
    load_user: bool | None
    user_ttl: float | None
    session_cache_ttl: float | None
    grace_seconds: float | None
    max_cached_sessions: int | None
    max_revocations: int | None
    max_untold_revocations: int | None
    redis_url: str | Secret | None
    cache_secret: str | Secret | None
    previous_cache_secret: str | Secret | None
    max_revocation_lag: float | None
    on_feed_lost: Literal["remote", "bounded", "local", "refuse"] | None
    feed_lost_bound: float | None
    redis_replicas: int | None
    feed_directory: str | PathLike[str] | None
    publish_timeout: float | None
    realm: str | None
    fresh_jwt_header: str | None
    timeout: float | None
    max_connections: int | None
    call_budget: float | None
    transport: Literal["auto", "httpx", "aiohttp"] | None
    trust_env: bool | None
    cookies: CookieSettings | Mapping[str, Any] | bool | None
    sign_in: SignInSettings | Mapping[str, Any] | str | None
    trusted_proxies: str | Sequence[str] | None
    extend_on_activity: timedelta | float | None
    extend_every: timedelta | float | None
    session_max_lifetime: timedelta | float | None
    expires_in_header: bool | None
    longest_session: timedelta | float | None
    note_starts: bool | None
    start_header: str | None
    mfa_lifetime: timedelta | float | None
    mfa_scope: Literal["credential", "user"] | None
    mfa_single_process: bool | None
    mfa_handles: Literal["header", "cookie"] | None
    mfa_header: str | None
    mfa_unenrolled: Literal["refuse", "allow"] | None
    mfa_enrol_url: str | None
