"""Checks of issuer, audience and session lifetimes. An issuer is offered only from a JWT that the service accepts.

Another customer's JWT may carry a good signature by the same key set. So only the service's own answer, to a call
with the key of this app in this run, proves that a JWT is one of this app.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from moonkey_core._doctor.lines import Line, ok, unseen, wrong
from moonkey_core._doctor.masking import named
from moonkey_core._doctor.reading import unverified_part
from moonkey_core._doctor.subject import Subject, made_up_token
from moonkey_core._provider import JwtRules, check_issuer_and_audience
from moonkey_core.errors import InvalidCredentials, MoonKeyError, ProviderError

_PIPE = "Pipe a fresh session JWT of a user of yours into the command, with --with-credential."


def check_tokens(subject: Subject) -> list[Line]:
    """Check issuer and audience against a JWT, as far as one was given."""
    accepted, refusal = _accepted_claims(subject)
    rules = subject.core.provider.jwt_rules
    lines: list[Line] = []
    if refusal:
        lines.append(unseen("credential", refusal))
    if accepted is not None:
        lines.append(ok("credential", f"{subject.service} accepts the given credential for the key of this app."))
    claims = accepted or (unverified_part(subject.jwt, 1) if subject.jwt else None)
    return [*lines, *_issuer(subject, rules, claims, is_accepted=accepted is not None), *_audience(rules, claims)]


def _accepted_claims(subject: Subject) -> tuple[Mapping[str, Any] | None, str]:
    """Return the claims of a JWT that the service has accepted, or issued, in this run; and why there are none."""
    provider, credential = subject.core.provider, subject.asked.credential
    if not credential:
        return None, ""
    if "introspect" not in provider.capabilities:
        return (
            None,
            f"{subject.service} cannot be asked about a credential: nothing of it is offered as a setting.",
        )
    try:
        result = subject.run(provider.introspect(subject.request_about(credential)))
    except MoonKeyError as error:
        return None, (
            f"{subject.service} does not accept the given credential for the key of this app ({error.reason}), so "
            "nothing of it is offered as a setting. moonkey explain says more."
        )
    jwt = subject.jwt or result.fresh_jwt
    return (unverified_part(jwt, 1) if jwt else None), ""


def _issuer(
    subject: Subject, rules: JwtRules | None, claims: Mapping[str, Any] | None, *, is_accepted: bool
) -> list[Line]:
    expected = () if rules is None else rules.issuers
    if claims is None:
        if not expected:
            return [ok("issuer", "None is set: each JWT is verified by a call.", f"To do it here: {_PIPE}")]
        source = subject.core.provider.keys
        if source is not None and source.discovery is not None:
            return [ok("issuer", f"You expect {named(expected)}. The discovery document is about that issuer.")]
        return [unseen("issuer", f"You expect {named(expected)}. Whether your JWTs say so is not known.", _PIPE)]
    found = claims.get("iss")
    if isinstance(found, str) and found in expected:
        return [ok("issuer", f"The JWT is of the issuer {named(found)}, which you expect.")]
    says = f"The JWT is of the issuer {named(found)}; you expect {named(expected) if expected else 'none'}."
    if not is_accepted:
        mend = "The service has not vouched for this JWT. Use one that your own app has got from it."
        return [wrong("issuer", says, mend) if expected else unseen("issuer", says, mend)]
    setting = "MOONKEY_JWT_ISSUER" if subject.core.name == "moonkey" else "the issuer of the provider"
    mend = f"Set {setting} to {named(found)}, byte for byte: the service has accepted this JWT for your key."
    return [wrong("issuer", says, mend) if expected else ok("issuer", says, mend)]


def _audience(rules: JwtRules | None, claims: Mapping[str, Any] | None) -> list[Line]:
    if rules is None or not rules.issuers:
        return [ok("audience", "No JWT is verified here.")]
    if not rules.audience:
        return [ok("audience", "No audience is set, and none is compared.")]
    expected = f"You expect {named(rules.audience)} in {rules.audience_claim}"
    if claims is None:
        return [unseen("audience", f"{expected}. Whether your JWTs say so is not known.", _PIPE)]
    try:
        check_issuer_and_audience({**claims, "iss": rules.issuers[0]}, rules)
    except InvalidCredentials:
        found = claims.get(rules.audience_claim)
        mend = "Set the audience that the provider's dashboard names for this API, or send the JWT of this API."
        return [wrong("audience", f"{expected}; the JWT has {named(found)}.", mend)]
    return [ok("audience", f"{expected}, and the JWT says so.")]


def check_lifetimes(subject: Subject) -> list[Line]:
    """Say how long sessions last by the settings, and check the service's answer to the longest one."""
    provider, settings = subject.core.provider, subject.settings
    if not provider.capabilities & {"extend", "sign_in"}:
        return [ok("lifetimes", f"{subject.service} decides by itself how long its sessions last.")]
    low, high = subject.core.session_bounds
    wanted = {
        "sign_in.lifetime": settings.sign_in.lifetime,
        "sign_in.remember_me": settings.sign_in.remember_me,
        **({} if settings.extend_on_activity is None else {"extend_on_activity": settings.extend_on_activity}),
    }
    name, longest = max(wanted.items(), key=lambda one: one[1])
    minutes = min(max(round(longest.total_seconds() / 60), low), high)
    listed = ", ".join(f"{one}: {_spoken(value)}" for one, value in wanted.items())
    jwt = settings.jwt_max_age if provider.jwt_rules is None else provider.jwt_rules.max_age
    aged = "" if jwt is None else f" A JWT counts for {jwt:.0f} s."
    said = ok("lifetimes", f"{listed}; a request may ask for {low} to {high} minutes.{aged}")
    return [said, *_longest(subject, name, minutes)]


def _longest(subject: Subject, name: str, minutes: int) -> list[Line]:
    """Return the service's answer to the longest life of a session."""
    provider, asked = subject.core.provider, subject.asked
    length = f"{minutes} minutes ({name}, the longest)"
    if "introspect" not in provider.capabilities or "extend" not in provider.capabilities:
        return []
    really = bool(asked.credential and asked.tries_longest)
    before = len(subject.replies)
    try:
        result = subject.run(
            provider.introspect(subject.request_about(asked.credential if really else made_up_token(), minutes))
        )
    except ProviderError:
        return []  # the check of the key says so
    except MoonKeyError:
        result = None
    mend = f"Lower {name}, or raise the bound of the app's sessions in the provider's dashboard."
    if result is not None and result.extension_error is None:
        return [ok("lifetimes", f"{subject.service} has set the session to {length}.")]
    refused = None if result is None else result.extension_error
    if refused is not None:
        return [wrong("lifetimes", f"{subject.service} refuses {length}: {refused} {refused.evidence}", mend)]
    if not really and len(subject.replies) - before > 1:  # refused with the length, and judged without it
        return [wrong("lifetimes", f"{subject.service} refuses sessions of {length}.", mend)]
    return [
        unseen(
            "lifetimes",
            f"Whether {subject.service[0].lower()}{subject.service[1:]} accepts {length} shows only at a session.",
            "Pipe the token of a session that may be changed into the command, with "
            "--with-credential --try-longest.",
        )
    ]


def _spoken(value: timedelta) -> str:
    minutes = value.total_seconds() / 60
    return f"{minutes / 1440:g} days" if minutes >= 1440 else f"{minutes:g} minutes"
