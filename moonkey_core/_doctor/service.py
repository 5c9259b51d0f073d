"""Checks of the provider: is our key accepted, is its key set of use, is its clock that of this machine?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, cast

from moonkey_core._clock import RemoteClock
from moonkey_core._doctor.lines import Line, ok, unseen, wrong
from moonkey_core._doctor.masking import named
from moonkey_core._doctor.subject import Subject, made_up_token
from moonkey_core._evidence import shown
from moonkey_core._plan import Plan, Reply
from moonkey_core._strict_json import load_object
from moonkey_core._transport.replies import http_date
from moonkey_core._verify.jwks import SigningKey, holds_secret
from moonkey_core._verify.jwks_cache import freshness_lifetime
from moonkey_core.errors import InvalidCredentials, MoonKeyError, NotFound, ProviderRejectedKey, RequestRefused

_NTP = "Synchronize the clock of this machine by NTP, or raise leeway (MOONKEY_LEEWAY) by the difference."
_ASYMMETRIC = "Have the provider publish public keys only, and exchange that key: everybody can sign with it."


def check_key(subject: Subject) -> list[Line]:
    """Check that the provider accepts the key of this app, by a call that changes nothing."""
    provider = subject.core.provider
    probe = cast("Callable[[], Plan[None]] | None", getattr(provider, "check_key", None))
    if probe is None and "introspect" not in provider.capabilities:
        return [ok("key", f"{subject.service} is never called with a key: its JWTs are verified here.")]
    before = len(subject.replies)
    try:
        if probe is not None:
            subject.run(probe())
        else:
            subject.run(provider.introspect(subject.request_about(made_up_token())))
    except ProviderRejectedKey as error:
        return [wrong("key", str(error), _mend_key(subject))]
    except (InvalidCredentials, NotFound, RequestRefused):
        pass  # it has judged a credential that does not exist, so it has accepted the key
    except MoonKeyError as error:
        return [wrong("key", str(error), _mend_address(subject))]
    if len(subject.replies) == before:
        return [
            unseen(
                "key",
                f"{subject.service} takes JWTs only, and none was given, so it was not called.",
                "Pipe a credential of a user of yours into the command, with --with-credential.",
            )
        ]
    return [ok("key", f"{subject.service} accepts the key of this app.")]


def check_key_set(subject: Subject) -> list[Line]:
    """Check that the key set can be fetched, and that its keys are of use: algorithms, symmetric keys, age."""
    rules = subject.core.provider.jwt_rules
    if rules is None or not rules.issuers:
        return [ok("key set", "No JWT is verified here, so no key set is needed.")]
    try:
        reply, keys = subject.run(subject.core.keys.fetched_anew())
    except ProviderRejectedKey as error:
        is_discovery = error.reason == "discovery_issuer"
        check = "discovery" if is_discovery else "key set"
        mend = "Configure the issuer exactly so." if is_discovery else _mend_key(subject)
        return [wrong(check, str(error), mend)]
    except MoonKeyError as error:
        check = "discovery" if str(error).startswith("The discovery document") else "key set"
        return [wrong(check, str(error), _mend_key_set(subject))]
    lines = _discovery(subject)
    if reply is None:
        fixed = subject.settings.jwks
        if fixed is not None and holds_secret(fixed):
            lines.append(wrong("key set", "The fixed key set holds a private or symmetric key.", _ASYMMETRIC))
        return [*lines, ok("key set", f"The keys are fixed: {_listed(keys)}. Nothing is fetched.")]
    return [*lines, *_judged_key_set(subject, reply, keys)]


def _discovery(subject: Subject) -> list[Line]:
    source = subject.core.provider.keys
    if source is None or source.discovery is None:
        return []
    return [ok("discovery", f"The discovery document of {named(source.discovery)} states the configured issuer.")]


def _judged_key_set(subject: Subject, reply: Reply, keys: Mapping[str, SigningKey]) -> list[Line]:
    lines: list[Line] = []
    address = subject.core.keys.address
    key_set = load_object(reply.body)
    if holds_secret(key_set):
        lines.append(wrong("key set", f"The key set at {address} holds a private or symmetric key.", _ASYMMETRIC))
    entries = [entry for entry in key_set.get("keys", []) if isinstance(entry, Mapping)]
    others = len(entries) - len(keys)
    unused = f"; {others} other(s) cannot be used ({_kinds(entries)} in all)" if others > 0 else ""
    age = reply.headers.get("age", "")
    aged = f", and came {age} s old from a cache" if age.isdecimal() and age != "0" else ""
    lifetime = freshness_lifetime(reply, subject.settings.jwks_ttl)
    lines.append(ok("key set", f"{address} has {_listed(keys)}{unused}. It is used for {lifetime:.0f} s{aged}."))
    return lines


def _listed(keys: Mapping[str, SigningKey]) -> str:
    shown_keys = [
        f"{shown(kid if kid.isprintable() else '')} ({', '.join(sorted(key.algorithms))})"
        for kid, key in [*keys.items()][:8]
    ]
    return f"{len(keys)} usable key(s): {', '.join(shown_keys)}"


def _kinds(entries: list[Mapping[str, Any]]) -> str:
    counted = Counter(f"{entry.get('kty')}/{entry.get('alg', 'any alg')}"[:40] for entry in entries)
    return ", ".join(f"{count} {kind!a}" for kind, count in counted.most_common(6))


def check_clock(subject: Subject) -> list[Line]:
    """Check the clock of this machine against the ``Date`` of the replies so far (RFC 9110 section 6.6.1)."""
    clock = RemoteClock(subject.settings.leeway)
    for noted in subject.replies:
        date = http_date(noted.reply.headers.get("date", ""))
        if date is not None and noted.reply.asked_at:
            clock.observe(date, date + 1, noted.reply.asked_at, noted.received_at)
    if not clock.is_known:
        return [unseen("clock", f"{subject.service} has sent no Date, or was not called.")]
    difference = clock.describe_difference()
    if clock.is_wrong:
        return [wrong("clock", f"This machine is {difference} the clock of the provider.", _NTP)]
    return [
        ok("clock", f"The clock of this machine is that of the provider, within {subject.settings.leeway:g} s.")
    ]


def _mend_key(subject: Subject) -> str:
    if subject.core.name == "moonkey":
        return (
            "Set MOONKEY_SECRET_KEY to a current sk_test_ or sk_live_ key of this app, and "
            "MOONKEY_BASE_URL to the "
            "API that it belongs to."
        )
    return "Set the key or client of this app as the provider's dashboard shows it now, for the same environment."


def _mend_address(subject: Subject) -> str:
    if subject.core.name == "moonkey":
        return (
            "Check MOONKEY_BASE_URL, and that this machine may connect to it (firewall, DNS, proxy). "
            "Behind a proxy "
            "of your network, set MOONKEY_TRUST_ENV=true."
        )
    return "Check the provider's address in the settings, and that this machine may connect to it."


def _mend_key_set(subject: Subject) -> str:
    if subject.core.name == "moonkey":
        return "Check MOONKEY_JWKS_URL (or leave it out) and MOONKEY_BASE_URL. Until then each JWT costs a call."
    return "Check the issuer, or the address of the key set, of the provider in the settings."
