"""Each setting with each provider: it has an effect, is refused, or is logged. None is ignored in silence."""

from __future__ import annotations

import dataclasses
import logging
from datetime import timedelta
from typing import Any

import pytest

from moonkey_core import OIDC, ConfigurationError, Settings
from moonkey_core.settings import effects
from moonkey_core.settings.provider_choice import PRESETS
from support.every_provider import EVERY_PROVIDER, options_with
from support.foreign_tokens import AUDIENCE, ISSUER, key_set

ALL = frozenset(EVERY_PROVIDER)
MOONKEY = frozenset({"moonkey"})
STYTCH = frozenset({"stytch", "stytch_b2b"})
RENEWS = MOONKEY | STYTCH
USERS = RENEWS | {"cdp"}
ASKED = USERS | {"introspection"}
SIGNS_IN = MOONKEY | {"stytch"}
FETCHES_KEYS = ALL - {"introspection", "cdp"}
REDIS = {"redis_url": "redis://127.0.0.1:6379/0"}
ISSUED = {"jwt_issuer": "https://api.moonkey.fun/app"}
ALIVE = {"extend_on_activity": 3600}
MFA = {"mfa_lifetime": 3600, "mfa_scope": "credential"}
STARTS = {"note_starts": True, "longest_session": 86_400}

TABLE: dict[str, tuple[Any, dict[str, Any], frozenset[str]]] = {
    "secret_key": ("sk_test_y", {}, ALL),
    "previous_secret_key": ("sk_test_z", {}, ALL),
    "base_url": ("https://api.example.com", {}, MOONKEY),
    "public_token": ("pk_test_x", {}, MOONKEY),
    "oauth_start_url": ("https://api.example.com/{provider}", {}, MOONKEY),
    "allow_http": (True, {}, MOONKEY),
    "jwt_issuer": ("https://api.moonkey.fun/app", {}, MOONKEY),
    "jwt_audience": ("app", ISSUED, MOONKEY),
    "jwt_session_claims": ("session", ISSUED, MOONKEY),
    "jwt_max_age": (60, ISSUED, MOONKEY),
    "strict_subject": (True, ISSUED, MOONKEY),
    "jwks_url": ("https://api.moonkey.fun/keys", ISSUED, MOONKEY),
    "jwks_auth": ("none", ISSUED, MOONKEY),
    "jwks": (key_set("RS256"), ISSUED, MOONKEY),
    "leeway": (1, {}, ALL),
    "refresh_jwt": (True, {}, RENEWS),
    "jwks_ttl": (60, {}, FETCHES_KEYS),
    "jwks_max_stale": (60, {}, FETCHES_KEYS),
    "jwks_timeout": (1, {}, FETCHES_KEYS),
    "credential_headers": ("x-token", {}, ALL),
    "max_credential_length": (4096, {}, ALL),
    "min_session_minutes": (10, {}, RENEWS),
    "max_session_minutes": (10_000, {}, RENEWS),
    "load_user": (True, {}, USERS),
    "user_ttl": (30, {"load_user": True}, USERS),
    "realm": ("shop", {}, ALL),
    "fresh_jwt_header": ("Fresh-JWT", {}, RENEWS),
    "session_cache_ttl": (30, {}, ASKED),
    "grace_seconds": (30, {}, ASKED),
    "max_cached_sessions": (1000, {}, ALL),
    "max_revocations": (1000, {}, ALL),
    "max_untold_revocations": (1000, {}, ALL),
    "redis_url": (REDIS["redis_url"], {}, ALL),
    "cache_secret": ("c" * 32, {}, ALL),
    "previous_cache_secret": ("d" * 32, {}, ALL),
    "max_revocation_lag": (2, REDIS, ALL),
    "redis_replicas": (1, REDIS, ALL),
    "publish_timeout": (1, REDIS, ALL),
    "feed_directory": ("/run/shop", REDIS, ALL),
    "timeout": (2, {}, ALL),
    "max_connections": (8, {}, ALL),
    "transport": ("httpx", {}, ALL),
    "trust_env": (True, {}, ALL),
    "call_budget": (10, {}, ASKED),
    "cookies": ({}, {}, ALL),
    "sign_in": ({"max_tries": 3}, {}, SIGNS_IN),
    "trusted_proxies": ("none", {}, ALL),
    "extend_on_activity": (3600, {}, RENEWS),
    "extend_every": (600, ALIVE, RENEWS),
    "session_max_lifetime": (86_400, ALIVE, RENEWS),
    "expires_in_header": (True, {}, ALL),
    "longest_session": (86_400, {"note_starts": True}, ALL),
    "note_starts": (True, {"longest_session": 86_400}, ALL),
    "start_header": ("x-start", STARTS, ALL),
    "mfa_lifetime": (3600, {"mfa_scope": "credential"}, ALL),
    "mfa_scope": ("credential", {"mfa_lifetime": 3600}, ALL),
    "mfa_single_process": (True, {"mfa_lifetime": 3600, "mfa_scope": "user"}, ALL),
    "mfa_handles": ("header", MFA, ALL),
    "mfa_header": ("x-mfa", MFA, ALL),
    "mfa_unenrolled": ("allow", MFA, frozenset({"cdp"})),
    "mfa_enrol_url": ("/enrol", MFA, frozenset({"cdp"})),
}
"""For each setting: a value, what it needs beside it, and the providers with which it has an effect."""

ELSEWHERE = {"provider", "providers"}  # what the table is about
OF_A_LOST_FEED = {"on_feed_lost", "feed_lost_bound"}
WITHOUT = [
    ("jwt_audience", "refused"),
    ("strict_subject", "refused"),
    ("jwks_url", "logged"),
    ("jwks_auth", "logged"),
    ("jwks", "logged"),
    ("jwks_ttl", "logged"),
    ("jwks_timeout", "logged"),
    ("jwks_max_stale", "logged"),
    ("user_ttl", "logged"),
    ("max_revocation_lag", "logged"),
    ("publish_timeout", "logged"),
    ("feed_directory", "logged"),
    ("redis_replicas", "refused"),
    ("extend_every", "refused"),
    ("session_max_lifetime", "refused"),
    ("longest_session", "refused"),
    ("note_starts", "refused"),
    ("start_header", "refused"),
    ("mfa_scope", "refused"),
    ("mfa_single_process", "refused"),
    ("mfa_handles", "refused"),
    ("mfa_header", "refused"),
]
"""What has no effect at MoonKey without another setting."""


def outcome(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, **options: Any) -> str:
    """What becomes of settings."""
    monkeypatch.setattr(effects, "_warned", set())
    caplog.clear()
    try:
        with caplog.at_level(logging.WARNING, "moonkey"):
            Settings.load(options, {})
    except ConfigurationError as error:
        text = str(error)
        assert "has no effect" in text or "Leave it out" in text or "Leave that out" in text, text
        return "refused"
    said = [record for record in caplog.records if record.__dict__.get("reason") == "setting_without_effect"]
    return "logged" if said else "effect"


def test_the_table_is_about_all_settings_and_providers() -> None:
    names = {field.name for field in dataclasses.fields(Settings)}
    assert set(TABLE) == names - ELSEWHERE - OF_A_LOST_FEED
    assert set(PRESETS) | {"moonkey"} == ALL


@pytest.mark.parametrize("word", EVERY_PROVIDER)
def test_each_setting_has_an_effect_or_is_not_taken(
    word: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = options_with(word) | (ISSUED if word == "moonkey" else {})
    for name, (value, needed, expected) in TABLE.items():
        able = {one: found for one, found in needed.items() if word in TABLE[one][2]}
        found = outcome(caplog, monkeypatch, **{**beside, **able, name: value})
        if word in expected:
            assert found == "effect", name
        else:
            assert found in ("refused", "logged"), name
        if found == "logged":
            assert name in ("jwks_ttl", "jwks_max_stale", "jwks_timeout"), name


@pytest.mark.parametrize(("name", "expected"), WITHOUT)
def test_what_needs_another_setting(
    name: str, expected: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = TABLE[name][0]
    assert outcome(caplog, monkeypatch, secret_key="sk_test_x", **{name: value}) == expected


DEFAULTS = ("refresh_jwt", "session_cache_ttl", "grace_seconds", "session_max_lifetime", "redis_replicas")


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("by", ["arguments", "environment"])
def test_a_value_like_the_default_is_refused_too(name: str, by: str) -> None:
    """The app that sets it expects something of it."""
    default = next(field.default for field in dataclasses.fields(Settings) if field.name == name)
    provider = {"provider": OIDC(ISSUER, AUDIENCE, keys=key_set("RS256"))}
    text = str(int(default.total_seconds()) if isinstance(default, timedelta) else default).lower()
    options: dict[str, Any] = {**provider, name: default} if by == "arguments" else provider
    environ = {f"MOONKEY_{name.upper()}": text} if by == "environment" else {}
    with pytest.raises(ConfigurationError, match=rf"MOONKEY_{name.upper()} \({name}\)"):
        Settings.load(options, environ)


def test_where_no_call_is_ever_made(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = OIDC(ISSUER, AUDIENCE, keys=key_set("RS256"))
    for name in ("timeout", "max_connections", "transport", "trust_env", "jwks_ttl"):
        value = TABLE[name][0]
        assert outcome(caplog, monkeypatch, provider=provider, **{name: value}) == "logged"
        assert name in caplog.text


def test_with_several_providers_one_that_can_is_enough(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    oidc = OIDC(ISSUER, AUDIENCE, keys=key_set("RS256"))
    several = {"providers": ["moonkey", oidc], "secret_key": "sk_test_x"}
    for name in ("session_cache_ttl", "grace_seconds", "fresh_jwt_header", "refresh_jwt", "timeout"):
        assert outcome(caplog, monkeypatch, **several, **{name: TABLE[name][0]}) == "effect"
    other = OIDC("https://other.example", AUDIENCE, keys=key_set("RS256"), name="other")
    for name in ("session_cache_ttl", "grace_seconds", "fresh_jwt_header", "refresh_jwt"):
        assert outcome(caplog, monkeypatch, providers=[oidc, other], **{name: TABLE[name][0]}) == "refused"


def test_it_is_logged_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "_warned", set())
    for _ in range(3):
        Settings.load({"secret_key": "sk_test_x", "jwks_ttl": 60}, {})
    (record,) = caplog.records
    assert record.__dict__["reason"] == "setting_without_effect"
    assert "MOONKEY_JWKS_TTL (jwks_ttl) has no effect" in record.message
