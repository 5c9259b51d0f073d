"""Which settings can have an effect at all: one that cannot is never ignored in silence.

What asks for a behavior is refused. Details of what never happens do no harm, and are logged, once each.
What only MoonKey knows is in :mod:`moonkey_core.settings.checks`; here is what depends on other settings, and on
what a provider can do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from moonkey_core.settings.checks import setting_error
from moonkey_core.settings.names import both_names

logger: logging.Logger = logging.getLogger("moonkey")
_warned: set[tuple[str, str]] = set()


class _Rule(NamedTuple):
    """When some settings have an effect.

    Attributes:
        names: The settings.
        holds: Returns whether they have one, by the settings of a client with one provider.
        why: Why they have none otherwise, after "has no effect".
    """

    names: tuple[str, ...]
    holds: Callable[[Any], bool]
    why: str


def _can(capability: str) -> Callable[[Any], bool]:
    """Return what tells whether a provider has a capability. MoonKey has all that are asked about here."""
    return lambda one: one.provider is None or capability in one.provider.capabilities


def _fetches_keys(one: Any) -> bool:
    if one.provider is None:
        return bool(one.jwt_issuer) and one.jwks is None
    return one.provider.keys is not None and not one.provider.keys.is_fixed


def _makes_calls(one: Any) -> bool:
    return one.provider is None or bool(one.provider.capabilities) or _fetches_keys(one)


def _is_moonkey_with_issuer(one: Any) -> bool:
    return one.provider is None and bool(one.jwt_issuer)


def _loads_users(one: Any) -> bool:
    return one.load_user is not False and (one.load_user is True or one.cookies is not None)


def _names_enrolled(one: Any) -> bool:
    return one.provider is not None and "enrolled_mfa" in one.provider.capabilities


def _has_handles(one: Any) -> bool:
    return one.uses_mfa_handles or one.session_limit is not None


_NOT_ASKED = "with this provider: it cannot be asked about a credential."
_BEHAVIORS: tuple[_Rule, ...] = (
    _Rule(("session_cache_ttl", "grace_seconds"), _can("introspect"), _NOT_ASKED),
    _Rule(("fresh_jwt_header",), _can("refresh_jwt"), "with this provider: it refreshes no JWT."),
    _Rule(
        ("redis_replicas",),
        lambda one: one.redis_url is not None,
        "without redis_url: there is no revocation feed. Set both.",
    ),
    _Rule(
        ("session_max_lifetime",),
        lambda one: one.extend_on_activity is not None,
        "without extend_on_activity. Set both.",
    ),
    _Rule(
        ("mfa_unenrolled", "mfa_enrol_url"),
        _names_enrolled,
        "with this provider: it does not say which second factors a user has enrolled.",
    ),
    _Rule(
        ("mfa_single_process",),
        lambda one: one.records_by_user and one.redis_url is None,
        "here: only records that count for all clients of a user need it, and redis_url takes its place.",
    ),
    _Rule(
        ("mfa_header",),
        lambda one: one.uses_mfa_handles and one.mfa_handles != "cookie",
        "here: no client sends a handle for a second factor in a header.",
    ),
    _Rule(
        ("start_header",),
        lambda one: one.session_limit is not None and one.mfa_handles != "cookie",
        "here: no client sends a handle for a noted start in a header.",
    ),
    _Rule(("mfa_handles",), _has_handles, "here: no client keeps a handle."),
)
"""What asks for a behavior: refused where there cannot be one."""

_DETAILS: tuple[_Rule, ...] = (
    _Rule(
        ("jwks_url", "jwks_auth", "jwks"),
        _is_moonkey_with_issuer,
        "without jwt_issuer: no JWT is verified here.",
    ),
    _Rule(("jwks_url", "jwks_auth"), lambda one: one.jwks is None, "beside jwks: the keys are not fetched."),
    _Rule(
        ("jwks_ttl", "jwks_max_stale", "jwks_timeout"),
        _fetches_keys,
        "here: no key set is fetched, as the keys are fixed or no JWT is verified here.",
    ),
    _Rule(
        ("timeout", "max_connections", "transport", "trust_env"),
        _makes_calls,
        "with this provider and fixed keys: no call is made.",
    ),
    _Rule(
        ("max_revocation_lag", "publish_timeout", "feed_directory"),
        lambda one: one.redis_url is not None,
        "without redis_url: there is no revocation feed.",
    ),
    _Rule(("user_ttl",), _loads_users, "here: no user is loaded. Set load_user=True, or cookies."),
)
"""Where something comes from, and bounds and times of it, where it never happens: it is logged."""


def check_effects(given: Iterable[str], settings: Sequence[Any]) -> None:
    """Refuse settings that can have no effect with any of the providers, or log a warning.

    Args:
        given: The names of the settings that are set.
        settings: The settings of the client, or with several providers those of each.

    Raises:
        ConfigurationError: One of them asks for a behavior that there cannot be.
    """
    names = frozenset(given)
    for rule, name in _idle(_BEHAVIORS, names, settings):
        raise setting_error(name, f"has no effect {rule.why}")
    for rule, name in _idle(_DETAILS, names, settings):
        _warn(name, rule.why)


def _idle(rules: Iterable[_Rule], given: frozenset[str], settings: Sequence[Any]) -> Iterator[tuple[_Rule, str]]:
    for rule in rules:
        idle = [name for name in rule.names if name in given]
        if idle and not any(map(rule.holds, settings)):
            yield from ((rule, name) for name in idle)


def _warn(name: str, why: str) -> None:
    if (name, why) not in _warned:
        _warned.add((name, why))
        logger.warning("%s has no effect %s", both_names(name), why, extra={"reason": "setting_without_effect"})
