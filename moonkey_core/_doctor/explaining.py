"""What would happen to a credential here, step by step and in words, and why.

The steps read the credential as a request would; the verdict is that of the authentication itself, by the same
code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from moonkey_core import _clock
from moonkey_core._doctor.examination import mask_for
from moonkey_core._doctor.masking import Mask, named
from moonkey_core._doctor.reading import Given, given_in, unverified_part
from moonkey_core._doctor.subject import Asked, Subject, subjects_of
from moonkey_core._evidence import ago, seconds, shown
from moonkey_core._provider import JwtRules
from moonkey_core._reasons import ERROR_REASONS
from moonkey_core._verify import jwt as _jwt
from moonkey_core._verify.jwks import SigningKey
from moonkey_core.auth import Auth
from moonkey_core.client import MoonKey
from moonkey_core.errors import InvalidCredentials, MoonKeyError
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import is_jwt, read_credentials
from moonkey_core.web.handles import presented_notes
from moonkey_core.web.request import HeaderView, RequestInfo, mapped_headers

Outcome = Literal["accepted", "refused", "unavailable", "no credential"]

_API_KEY = re.compile(r"\A(?:sk|pk)_(?:test|live)_|\Asecret-(?:test|live)-")
_COOKIE = re.compile(r"\A[!#$%&'*+\-.^_`|~0-9A-Za-z]+=[^;\s]+(?:;\s*\S+)*\Z", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_GET = RequestInfo("GET", "https")


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would happen to a credential.

    Attributes:
        steps: What is read and decided, one sentence or two each. No credential is in it.
        outcome: How it ends.
    """

    steps: tuple[str, ...]
    outcome: Outcome

    def to_dict(self) -> dict[str, object]:
        """Return the explanation as plain data, for JSON."""
        return {"outcome": self.outcome, "steps": list(self.steps)}

    def __str__(self) -> str:
        """Return the steps, numbered, and the outcome."""
        numbered = [f"{number}. {step}" for number, step in enumerate(self.steps, 1)]
        return "\n".join([*numbered, f"Outcome: {self.outcome}."])


def explain(client: MoonKey, text: str) -> Explanation:
    """Explain what would happen to a credential here.

    It asks the provider what a request would ask, and changes nothing.

    Args:
        client: The client of the app; a provider is called as a request would call it.
        text: The credential, as it was read: with ``Bearer``, as a line of cookies, or alone.
    """
    asked = Asked(credential=text.strip())
    mask = mask_for(client.settings, asked)
    subjects = subjects_of(client, asked)
    account = _Account(client, subjects, mask)
    outcome = account.explain(text)
    return Explanation(tuple(mask(step) for step in account.steps), outcome)


class _Account:
    """The steps of one credential."""

    def __init__(self, client: MoonKey, subjects: Mapping[str, Subject], mask: Mask) -> None:
        self.steps: list[str] = []
        self._client = client
        self._settings: Settings = client.settings
        self._subjects = subjects
        self._mask = mask

    def explain(self, text: str) -> Outcome:
        given = given_in(text, self._settings)
        if given.was_quoted:
            self._say("It stands in quotes, which are no part of a credential. They are left out here.")
        if not given.value:
            self._say("Nothing was given. A request without a credential is anonymous.")
            return "no credential"
        if _API_KEY.match(given.value):
            self._say(
                "It is an API key of an app, and no credential of a user. Nothing was sent. A client "
                "that sends it "
                "gives the app away: if it ever left the server, exchange it."
            )
            return "refused"
        if self._explain_handle(given.value):
            return "no credential"
        headers, info = self._request(given)
        if headers is None:
            return "refused"
        return self._explain_request(headers, info, given)

    def _say(self, step: str) -> None:
        self.steps.append(step)

    def _request(self, given: Given) -> tuple[HeaderView | None, RequestInfo | None]:
        """Return the headers of a request that presents a credential; ``None`` where none can."""
        value = given.value
        if given.lacks_bearer:
            self._say(
                "It is an Authorization header without 'Bearer', and no credential here. Send: "
                "Authorization: Bearer <credential>."
            )
            return mapped_headers({"authorization": value}), None
        names = {name for cookies in self._settings.all_cookies for name in cookies.all_names}
        if given.header == "cookie" or (_COOKIE.match(value) and any(f"{name}=" in value for name in names)):
            found = sorted(name for name in names if f"{name}=" in value)
            none = "none" if names else "none, as the settings have no cookies"
            self._say(f"It is a line of cookies, of which these are read: {', '.join(found) or none}.")
            return mapped_headers({"cookie": value}), _GET
        if not _TOKEN.fullmatch(value):
            self._say(
                f"It is no credential: {len(value)} characters, with some that none has (RFC 6750 section 2.1), "
                "such as spaces, quotes or line breaks. The request is refused with 400, and no "
                "provider is called."
            )
            return None, None
        line = f"Bearer {value}" if given.header == "authorization" else value
        return mapped_headers({given.header: line}), None

    def _explain_handle(self, value: str) -> bool:
        """Say so where the text is a handle; return whether it is one."""
        for settings in self._settings.members.values() or (self._settings,):
            for purpose in ("mfa", "start"):
                headers = {settings.mfa_header if purpose == "mfa" else settings.start_header: value}
                if settings.cookies is not None:
                    name = settings.cookies.mfa_name if purpose == "mfa" else settings.cookies.start_name
                    headers["cookie"] = f"{name}={value.removeprefix(f'{name}=')}"
                for note in presented_notes(mapped_headers(headers), settings, purpose):
                    self._say(_about_note(purpose, note.method, note.made_at, note.until))
                    self._say(
                        "A handle is no credential by itself: it counts beside a verified credential "
                        "of the user that "
                        "it was made for."
                    )
                    return True
        return False

    def _explain_request(self, headers: HeaderView, info: RequestInfo | None, given: Given) -> Outcome:
        value = given.value
        presented = read_credentials(headers, info, self._settings)
        is_token = presented.kind == "session_token"
        if presented.source and not presented.from_cookies:
            longest = self._settings.max_credential_length
            kind = "an opaque token" if is_token else "a JWT"
            too = f", more than max_credential_length ({longest})" if len(value) > longest else ""
            self._say(f"It is {kind} of {len(value)} characters{too}, as in the header {given.header}.")
        subject = self._subject_of(presented.provider)
        jwt = presented.cached_jwt if presented.from_cookies else (value if is_jwt(value) else None)
        if presented.from_cookies and presented.named_kind == "session_jwt":
            jwt = presented.value
        if jwt:
            self._explain_jwt(jwt, subject)
        elif subject is not None and presented.source and len(value) <= self._settings.max_credential_length:
            self._explain_opaque(subject)
        auth = self._client.authenticate(headers, None, info)
        return self._explain_verdict(auth, subject)

    def _subject_of(self, name: str) -> Subject | None:
        if not self._client.providers:
            return next(iter(self._subjects.values()))
        subject = self._subjects.get(name)
        if subject is None:
            self._say(
                f"There are several providers ({', '.join(self._subjects)}), and it belongs to none of them."
            )
        else:
            self._say(f"Of the providers here, it belongs to {name!r}.")
        return subject

    def _explain_opaque(self, subject: Subject) -> None:
        if "introspect" in subject.core.provider.capabilities:
            self._say(f"{subject.service} is asked about it: an opaque token says nothing by itself.")
        else:
            self._say(f"{subject.service} cannot be asked about an opaque token, and it is no JWT: it is refused.")

    def _explain_jwt(self, value: str, subject: Subject | None) -> None:
        head, claims = unverified_part(value, 0), unverified_part(value, 1)
        if head is None or claims is None:
            self._say(
                f"Its {'header' if head is None else 'payload'} cannot be read as JSON: it is cut or damaged."
            )
        if subject is None:
            if claims is not None:
                self._say(f"It says that it is of the issuer {named(claims.get('iss'))}, which none of them is.")
            return
        rules = subject.core.provider.jwt_rules
        if rules is None:
            self._say(f"{subject.service} is asked about each credential: what the JWT says is not judged here.")
            return
        key = self._explain_key(value, head, subject, rules)
        if claims is not None:
            self._explain_claims(claims, head or {}, key, rules, subject)

    def _explain_key(
        self, value: str, head: Mapping[str, Any] | None, subject: Subject, rules: JwtRules
    ) -> bool | None:
        """Say what becomes of form, key and signature; return whether the signature is good, if that is known."""
        judge = _jwt.Judge(rules, subject.settings.leeway, subject.core.provider.scopes)
        if head is not None:
            self._say(
                f"Its header has alg {shown(head.get('alg'))}, kid {shown(head.get('kid'))}, typ "
                f"{shown(head.get('typ'))}. Accepted is alg {shown(rules.algorithms)}."
            )
        try:
            parsed = _jwt.parse(value, _clock.wall(), judge)
        except InvalidCredentials as error:
            self._say(f"By its form or times it is refused before its signature is looked at: {_meaning(error)}")
            return None
        if not rules.issuers:
            self._say(
                f"No issuer is set, so its signature is not verified here: {subject.service[0].lower()}"
                f"{subject.service[1:]} is asked about it."
            )
            return None
        try:
            key = subject.run(subject.core.keys.key_for(parsed.kid, parsed.issued_at, parsed.algorithm))
        except InvalidCredentials as error:
            self._say(
                f"The key set has no key {shown(head.get('kid') if head else None)}. "
                f"{self._known(subject)} {_meaning(error)}"
            )
            return None
        except MoonKeyError as error:
            self._say(f"Its key could not be looked up: {error} {error.evidence}")
            return None
        return self._explain_signature(parsed, key)

    def _known(self, subject: Subject) -> str:
        current = subject.core.keys.current
        kids = [] if current is None else [kid for kid in current.keys if kid.isprintable()][:8]
        return f"It has {shown(kids)}." if kids else ""

    def _explain_signature(self, parsed: _jwt.ParsedJwt, key: SigningKey) -> bool:
        try:
            _jwt.verify_signature(parsed, key)
        except InvalidCredentials as error:
            self._say(f"Its signature is not one of the key {shown(parsed.kid)}: {_meaning(error)}")
            return False
        self._say(f"Its signature is one of the key {shown(parsed.kid)} ({parsed.algorithm}) of the key set.")
        return True

    def _explain_claims(
        self,
        claims: Mapping[str, Any],
        head: Mapping[str, Any],
        signed: bool | None,
        rules: JwtRules,
        subject: Subject,
    ) -> None:
        issuer, kid = claims.get("iss"), shown(head.get("kid"))
        says = (
            f"signed by key {kid} of issuer {named(issuer)}"
            if signed
            else (f"of the issuer {named(issuer)} by its own words, with key {kid}")
        )
        expects = named(rules.issuers) if rules.issuers else "none (no issuer is set)"
        verdict = "" if not rules.issuers else " That is so." if issuer in rules.issuers else _near(issuer, rules)
        self._say(f"It is {says}; you expect {expects}.{verdict}")
        if rules.audience:
            found = claims.get(rules.audience_claim)
            self._say(
                f"It is for the audience {named(found)} ({rules.audience_claim}); you expect "
                f"{named(rules.audience)}."
            )
        self._explain_age(claims, rules, subject)

    def _explain_age(self, claims: Mapping[str, Any], rules: JwtRules, subject: Subject) -> None:
        now = _clock.wall()
        times = {name: claims.get(name) for name in ("iat", "nbf", "exp")}
        known = {
            name: float(at)
            for name, at in times.items()
            if isinstance(at, int | float) and not isinstance(at, bool)
        }
        if not known:
            self._say("It does not say when it was issued and when it ends.")
            return
        listed = ", ".join(f"{name} {ago(now - at)}" for name, at in known.items())
        most = "" if rules.max_age is None else f"; it counts for {seconds(rules.max_age)} from iat"
        leeway = subject.settings.leeway if rules.leeway is None else rules.leeway
        self._say(f"Its times, by the clock of this machine: {listed} (leeway {leeway:g} s{most}).")

    def _explain_verdict(self, auth: Auth, subject: Subject | None) -> Outcome:
        error = auth.error
        if auth.is_authenticated or auth.is_machine:
            session, user = auth.session, auth.user
            of = f" of user {shown(user.id)}" if user is not None else ""
            ends = (
                ""
                if session is None or session.expires_at is None
                else f"; its session ends {ago(_clock.wall() - session.expires_at.timestamp())}"
            )
            how = {
                "local": "verified here, without a call",
                "stale": "verified here, with keys that could not be fetched anew",
                "remote": "confirmed by the provider",
                "cache": "remembered from a moment ago",
                "grace": "accepted for a while, as the provider cannot be reached",
            }.get(str(auth.source), str(auth.source))
            self._say(f"The request is accepted: the credential{of} is {how}{ends}. A gate may demand more.")
            return "accepted"
        if error is None:
            self._say("The request is anonymous: nothing in it is a credential here.")
            return "no credential"
        status = ERROR_REASONS[error.reason].status if error.reason in ERROR_REASONS else error.status
        self._say(f"The request is refused with {status}. {_meaning(error)}")
        if auth.is_unavailable:
            self._say("That is no word about the credential: its cookies stay, and it may count in a moment.")
            return "unavailable"
        return "refused"


def _meaning(error: MoonKeyError) -> str:
    meaning = ERROR_REASONS[error.reason].meaning if error.reason in ERROR_REASONS else str(error)
    return f"{error.reason}: {meaning} {error.evidence}".strip()


def _near(issuer: object, rules: JwtRules) -> str:
    if isinstance(issuer, str) and issuer.rstrip("/") in {one.rstrip("/") for one in rules.issuers}:
        return " They differ in the slash at the end, and are compared byte for byte."
    return " They are compared byte for byte, so it is refused."


def _about_note(purpose: str, method: str, made_at: float, until: float) -> str:
    now = _clock.wall()
    what = f"a second factor ({shown(method)}) was verified" if purpose == "mfa" else "a session has started"
    ends = "it is over" if until <= now else f"it counts for {seconds(until - now)} more"
    return f"It is a handle that this app has made: {what} {ago(now - made_at)}; {ends}."
