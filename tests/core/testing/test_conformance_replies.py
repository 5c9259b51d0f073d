"""The suite for providers of one's own, where a provider can be called: what it has to make of each reply."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt as pyjwt
import pytest
from own_provider import PlainIssuer

from moonkey_core import Login, MagicLinkRequest, MfaMethod, OtpRequest, TotpRegistration
from moonkey_core.provider import (
    OIDC,
    Fetch,
    Introspection,
    IntrospectionRequest,
    IntrospectionResult,
    InvalidCredentials,
    KeySource,
    Plan,
    ProviderUnavailable,
    Reply,
    SignInBase,
    User,
    VerifiedSession,
    decoded,
)
from moonkey_core.testing import Check, provider_conformance
from support.foreign_tokens import AUDIENCE, ISSUER, claims, key_set, private_key

ASK, LOGIN = "https://id.example/ask", "https://id.example/login"
RENEWS = "renews a token that is only too old"
EXTENDS = "extends a session by a call of its own"
SIGNS_IN = "reads the replies of a sign-in"
HYDRATES = "gives a front end the credentials of its session"
MFA = "says which second factors a user has only where it can"
TROUBLE = "takes no trouble for a refusal"
ANY = "judges any reply without an exception"
READS = "reads the reply about a good credential"
SECRETS = ("token", "jwt", "secret")


def sign(header: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    headers = {"kid": "key of RS256", "typ": "at+jwt", **header}
    return pyjwt.encode(dict(body), private_key("RS256"), "RS256", headers=headers)


def good() -> Mapping[str, Any]:
    return claims(time.time())


def members(reply: object) -> dict[str, Any]:
    """The members of a reply of the service."""
    if not isinstance(reply, Reply) or reply.status >= 500 or reply.status == 429:
        raise ProviderUnavailable
    try:
        body = json.loads(reply.body)
    except ValueError:
        raise ProviderUnavailable from None
    if not isinstance(body, dict):
        raise ProviderUnavailable
    if reply.status != 200:
        raise InvalidCredentials
    return body


class Whole(SignInBase, PlainIssuer):
    """A provider that has all that the suite asks about, by a service of one's own."""

    capabilities = frozenset({"introspect", "refresh_jwt", "extend", "hydrate", "enrolled_mfa", "sign_in"})

    # What the broken ones below change.
    checks_session = checks_user = names_minutes = extends_alone = True
    renewed: Any = staticmethod(lambda body: body["jwt"])
    hides: Any = SECRETS
    mfa: Any = staticmethod(lambda body: tuple(MfaMethod(type=one) for one in body["mfa"]))
    key: Any = staticmethod(lambda request: "refresh" if request.refresh else "verify")

    def introspect(self, request: IntrospectionRequest) -> Plan[IntrospectionResult]:
        body: dict[str, Any] = {"token": request.value, "refresh": request.refresh}
        if request.extends_by is not None and self.names_minutes:
            body["minutes"] = request.extends_by
        shared = request.extends_by is None or not self.extends_alone
        key = f"{self.key(request)}:{request.digest.hex()}" if shared else None
        found = members((yield Fetch("POST", ASK, json=body, coalesce_key=key)))
        try:
            named, user, end, jwt = found["sid"], found["sub"], float(found["exp"]), self.renewed(found)
        except (KeyError, TypeError, ValueError):
            raise ProviderUnavailable from None
        if self.checks_session and request.session_id not in (None, named):
            raise ProviderUnavailable
        if self.checks_user and request.user_ids and user not in request.user_ids:
            raise ProviderUnavailable
        fresh = jwt if request.refresh or request.wants_jwt else None
        return IntrospectionResult(named, user, None, end, 0.0, found, fresh, scope=ISSUER)

    def user(self, body: Any) -> User:
        found = decoded(body)
        return super().user(body).replace(mfa_methods=self.mfa(found) if "mfa" in found else None)

    def without_credentials(self, body: Any) -> Any:
        return json.dumps({name: value for name, value in body.items() if name not in self.hides}).encode()

    def verified_session(self, result: IntrospectionResult, user_id: str) -> VerifiedSession:
        body = result.body
        user, session = self.user(self.without_credentials(body)), self.session(self.without_credentials(body))
        return VerifiedSession(user, session, body.get("token"), body.get("jwt"), result.fresh_jwt)

    # --- the sign-in

    begun: Any = staticmethod(lambda body: OtpRequest(body["method_id"], body["sub"]))
    totp: Any = staticmethod(lambda body: TotpRegistration("t", body["sub"], body["secret"]))
    login: Any = staticmethod(
        lambda self, body: Login(
            self.user(self.without_credentials(body)),
            self.session(self.without_credentials(body)),
            body["token"],
            body["jwt"],
        )
    )

    def send_otp(self, **_: Any) -> Plan[Any]:
        return (yield from self.step("send", {}, self.begun))

    def send_magic_link(self, **_: Any) -> Plan[Any]:
        return (yield from self.step("send", {}, lambda body: MagicLinkRequest(body["method_id"])))

    def create_totp(self, user_id: str) -> Plan[Any]:
        return (yield from self.step("totp", {"user": user_id}, self.totp))

    def verify_otp(self, *, code: str, **_: Any) -> Plan[Any]:
        return (yield from self.step("verify", {"code": code}, lambda body: self.login(self, body)))

    def verify_magic_link(self, *, token: str, **_: Any) -> Plan[Any]:
        return (yield from self.step("verify", {"proof": token}, lambda body: self.login(self, body)))

    def step(self, path: str, body: dict[str, Any], read: Callable[[dict[str, Any]], Any]) -> Plan[Any]:
        found = members((yield Fetch("POST", f"{LOGIN}/{path}", json=body, idempotent=False)))
        try:
            return read(found)
        except (KeyError, TypeError, ValueError):
            raise ProviderUnavailable from None


def answer(fetch: Fetch) -> Reply:
    sent = fetch.json or {}
    token = "a-new-session-token-0123456789" if fetch.url.startswith(LOGIN) else sent["token"]
    more = {"mfa": ["totp"], "method_id": "m-1", "secret": "a-secret-of-an-app"}
    body = {**good(), "token": token, "jwt": sign({}, good()), **more}
    return Reply(200, {}, json.dumps(body).encode())


def checks(replies: Any = answer, **change: Any) -> tuple[Check, ...]:
    kind: Any = type("Changed", (Whole,), change)
    return provider_conformance(
        lambda: kind(ISSUER, AUDIENCE, KeySource(jwks=key_set("RS256"))), sign, good, answer=replies
    )


@pytest.mark.parametrize("check", checks(), ids=str)
def test_a_whole_provider_passes(check: Check) -> None:
    check()


def other_subject(fetch: Fetch) -> Reply:
    found = json.loads(answer(fetch).body)
    return Reply(200, {}, json.dumps({**found, "jwt": sign({}, claims(time.time(), sub="user_2"))}).encode())


def other_session(fetch: Fetch) -> Reply:
    found = json.loads(answer(fetch).body)
    return Reply(200, {}, json.dumps({**found, "jwt": sign({}, claims(time.time(), sid="sid-2"))}).encode())


def in_the_address(self: Any, **_: Any) -> Plan[Any]:
    found = members((yield Fetch("GET", f"{LOGIN}/verify?code={_['code']}")))
    return self.login(self, found)


def without_session(self: Any, body: Any) -> Any:
    return Login(self.user(self.without_credentials(body)), None, body["token"], body["jwt"])


def of_another(self: Any, body: Any) -> Any:
    found = Whole.login(self, body)
    return found.replace(user=found.user.replace(id="another-user"))


def shown(self: Any, body: Any) -> Any:
    return Whole.login(self, body).replace(extra=body)


def never_trouble(self: Any, path: str, body: Any, read: Any) -> Plan[Any]:
    reply: Any = yield Fetch("POST", f"{LOGIN}/{path}", json=body)
    if reply.status != 200:
        raise InvalidCredentials
    return read(json.loads(reply.body))


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a refresh without a JWT": ({"renewed": staticmethod(lambda body: None)}, RENEWS),
    "a refresh that gives the token": ({"renewed": staticmethod(lambda body: body["token"][:20])}, RENEWS),
    "a refresh of another user's session": ({"checks_user": False}, RENEWS),
    "a refresh of another session": ({"checks_session": False}, RENEWS),
    "a refresh that shares the call of a verification": ({"key": staticmethod(lambda _: "one")}, RENEWS),
    "a JWT of another user": ({"replies": other_subject}, RENEWS),
    "a JWT of another session": ({"replies": other_session}, RENEWS),
    "a JWT of another session for a front end": ({"replies": other_session}, HYDRATES),
    "an extension that is not told": ({"names_minutes": False}, EXTENDS),
    "an extension that is shared": ({"extends_alone": False}, EXTENDS),
    "an extension of another session": ({"checks_session": False}, EXTENDS),
    "what is kept has the token": ({"hides": ("jwt", "secret")}, READS),
    "what is kept has the JWT": ({"hides": ("token", "secret")}, HYDRATES),
    "enrolled factors that are not said": ({"mfa": staticmethod(lambda body: None)}, MFA),
    "enrolled factors without the capability": (
        {"capabilities": Whole.capabilities - {"enrolled_mfa"}},
        MFA,
    ),
    "a proof in an address": ({"verify_otp": in_the_address}, SIGNS_IN),
    "no session": ({"login": staticmethod(without_session)}, SIGNS_IN),
    "the session of another user": ({"login": staticmethod(of_another)}, SIGNS_IN),
    "credentials that are shown": ({"login": staticmethod(shown)}, SIGNS_IN),
    "no id of what was sent": ({"begun": staticmethod(lambda body: OtpRequest(""))}, SIGNS_IN),
    "another kind of result": ({"begun": staticmethod(lambda body: body)}, SIGNS_IN),
    "no proof that it verifies": (
        {"verify_otp": SignInBase.verify_otp, "verify_magic_link": SignInBase.verify_magic_link},
        SIGNS_IN,
    ),
    "trouble in a sign-in that is a refusal": ({"step": never_trouble}, TROUBLE),
    "any reply in a sign-in is a good one": ({"begun": staticmethod(lambda body: OtpRequest("m-1"))}, ANY),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_one_fails(what: str) -> None:
    change, name = BROKEN[what]
    changed = dict(change)
    (check,) = (one for one in checks(changed.pop("replies", answer), **changed) if one.name == name)
    with pytest.raises(AssertionError):
        check()


def test_each_check_needs_an_answer() -> None:
    needed = [one for one in checks(None) if one.name in (READS, RENEWS, EXTENDS, SIGNS_IN, HYDRATES, MFA)]
    assert len(needed) == 6
    for check in needed:
        with pytest.raises(AssertionError, match="give answer"):
            check()


def test_what_it_does_not_have_is_not_asked_for() -> None:
    made = provider_conformance(
        lambda: PlainIssuer(ISSUER, AUDIENCE, KeySource(jwks=key_set("RS256"))), sign, good
    )
    for check in made:
        if check.name in (READS, RENEWS, EXTENDS, SIGNS_IN, HYDRATES, MFA, TROUBLE, ANY):
            check()


def introspected(fetch: Fetch) -> Reply:
    assert fetch.form is not None
    body = {**good(), "active": True, "client_id": "web"}
    return Reply(200, {"content-type": "application/json"}, json.dumps(body).encode())


def beside_oidc() -> OIDC:
    asked = Introspection(ASK, client_id="api", client_secret="hidden-secret")
    return OIDC(ISSUER, AUDIENCE, keys=key_set("RS256"), introspection=asked)


@pytest.mark.parametrize("check", provider_conformance(beside_oidc, sign, good, answer=introspected), ids=str)
def test_an_oidc_issuer_with_introspection_passes(check: Check) -> None:
    check()
