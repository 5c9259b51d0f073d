"""The checks of what a provider makes of the replies to its calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final, cast, get_args

from moonkey_core import _clock
from moonkey_core._plan import Fetch, Plan, Reply, ReplyClass
from moonkey_core._provider import IntrospectionRequest, IntrospectionResult
from moonkey_core._sign_in_steps import LinkPage, LoginContext
from moonkey_core.auth import cache_entry
from moonkey_core.errors import MoonKeyError, NotSupported, ProviderUnavailable
from moonkey_core.models import Login, MagicLinkRequest, OtpRequest, TotpRegistration, WalletChallenge
from moonkey_core.testing.conformance_subject import Subject, expect, first_call, judged, played

_TROUBLE = (429, 500, 502, 503)
_STATUSES = (200, 201, 204, 302, 400, 401, 403, 404, 409, 422, 599)
_BODIES = (
    b"",
    b"<html>",
    b"[]",
    b"null",
    b"7",
    b"{",
    b"\xff\xfe",
    b"{}",
    b'{"": [[]]}',
    b'{"error": 7, "active": "yes"}',
)
_PROOF = "a-proof-0123456789-0123456789-0123456789"  # long enough for the token of a link
_CODE = "123456"
_ADDRESS = "ada@example.com"
_MINUTES = 60
_ENDINGS = ("revoke_session", "revoke_user")  # what is ended already may be refused, and counts as ended

Plans = Mapping[str, Callable[[], Plan[Any]]]


def _introspects(subject: Subject) -> None:
    provider = subject.make()
    if "introspect" not in provider.capabilities:
        return
    request = subject.request()
    result = _good_result(subject, request)
    kept = provider.without_credentials(result.body)
    expect(request.value not in str(kept), "without_credentials() leaves the credential in")
    user, session = provider.user(kept), provider.session(kept)
    expect(provider.same_user(user.id, result.user_id), "user() and introspect() name two users")
    expect(session.id == result.session_id, "session() and introspect() name two sessions")


def _good_result(subject: Subject, request: IntrospectionRequest) -> IntrospectionResult:
    """Return the result about a good credential, which is sound in itself."""
    provider = subject.make()
    result = _answered(subject, lambda: provider.introspect(request), (request.value,))
    expect(isinstance(result, IntrospectionResult), f"a good credential was not accepted: {result!r}")
    assert isinstance(result, IntrospectionResult)
    expect(
        result.scope in {*provider.scopes.values()}, f"its scope {result.scope!r} is none of those that it names"
    )
    ids: tuple[Any, ...] = (result.session_id, result.user_id)
    expect(all(isinstance(one, str) and one for one in ids), f"it gave the ids {ids!r:.80}")
    expect(math.isfinite(result.ends_at) and result.ends_at > _clock.wall(), "the session of a good one is over")
    return result


def _answered(subject: Subject, plan: Callable[[], Plan[Any]], secrets: tuple[str, ...]) -> object:
    """Return what becomes of a plan whose calls are answered well, after a look at the calls."""
    asked: list[tuple[Fetch, Reply]] = []

    def reply(fetch: Fetch) -> Reply:
        asked.append((fetch, subject.answer(fetch)))
        return asked[-1][1]

    found = played(plan, reply)
    for fetch, got in asked:
        shown = any(secret in fetch.url for secret in secrets)
        expect(not shown, "the credential stands in an address, which is logged on the way")
        expect(judged(fetch, got) == "success", "its judge takes a good reply for none")
    return found


def _renews(subject: Subject) -> None:
    provider = subject.make()
    if "refresh_jwt" not in provider.capabilities:
        return
    request = subject.renewal()
    result = _good_result(subject, request)
    jwt = result.fresh_jwt
    expect(isinstance(jwt, str) and jwt.count(".") == 2, "a refresh gave no JWT")
    assert isinstance(jwt, str)
    auth = subject.shown(jwt)
    expect(auth.is_authenticated, f"the JWT of a refresh is not accepted: {auth.error!r}")
    entry = cache_entry(auth)
    assert entry is not None
    expect(entry.session_id == result.session_id, "the JWT of a refresh is of another session")
    expect(provider.same_user(entry.user_id, result.user_id), "the JWT of a refresh is of another user")
    _refuses_foreign_replies(subject, lambda **more: subject.renewal(**more))
    _is_not_shared(subject, request)


def _refuses_foreign_replies(subject: Subject, make: Callable[..., IntrospectionRequest]) -> None:
    """Check that a reply is about the session and user that the credential itself names."""
    provider = subject.make()
    foreign: Mapping[str, dict[str, Any]] = {
        "session": {"session_id": "another-session"},
        "user": {"user_ids": ("another-user",)},
    }
    for what, named in foreign.items():
        found = played(partial(provider.introspect, make(**named)), subject.answer)
        expect(isinstance(found, MoonKeyError), f"a reply about another {what} than the credential's was accepted")


def _is_not_shared(subject: Subject, request: IntrospectionRequest) -> None:
    """Check that no refresh is answered by the shared reply about a credential that is only verified."""
    provider = subject.make()
    refresh = first_call(partial(provider.introspect, request))
    plain = first_call(partial(provider.introspect, subject.request()))
    key = refresh.coalesce_key
    expect(key is None or key != plain.coalesce_key, "a refresh shares its call with a mere verification")


def _extends(subject: Subject) -> None:
    provider = subject.make()
    if "extend" not in provider.capabilities:
        return
    for name in ("minutes", "extension"):
        _good_result(subject, subject.request(**{name: _MINUTES}))
        calls = [
            first_call(partial(provider.introspect, subject.request(**more)))
            for more in ({}, {name: _MINUTES}, {name: 2 * _MINUTES})
        ]
        told = [(one.method, one.url, one.json, one.form) for one in calls]
        expect(all(one not in told[:at] for at, one in enumerate(told)), f"{name} does not change its call")
        expect(
            calls[1].coalesce_key is None and calls[1].store_policy is None,
            "a call that extends a session is shared: another request would get its reply, and extend nothing",
        )
    _refuses_foreign_replies(subject, lambda **more: subject.request(minutes=_MINUTES, **more))


def _hydrates(subject: Subject) -> None:
    provider = subject.make()
    if "hydrate" not in provider.capabilities:
        return
    request = subject.request(wants_jwt=True, max_staleness=0.0)
    result = _good_result(subject, request)
    verified = provider.verified_session(result, result.user_id)
    expect(verified.session.id == result.session_id, "verified_session() and introspect() name two sessions")
    expect(provider.same_user(verified.user.id, result.user_id), "verified_session() and introspect(): two users")
    jwt = verified.fresh_jwt or verified.session_jwt
    expect(isinstance(jwt, str) and jwt.count(".") == 2, "it can hydrate, and a good reply gives no JWT")
    assert isinstance(jwt, str)
    entry = cache_entry(subject.shown(jwt))
    expect(entry is not None and entry.session_id == result.session_id, "its JWT is not of the session")
    token = verified.session_token
    expect(token in (None, request.value), "the session token is another than the one that was shown")
    shown = f"{verified!r} {verified.to_dict()!r} {provider.without_credentials(result.body)!r}"
    expect(jwt not in shown and request.value not in shown, "a credential is shown")


def _names_mfa(subject: Subject) -> None:
    provider = subject.make()
    says, can = "enrolled_mfa" in provider.capabilities, "introspect" in provider.capabilities
    if can:
        body = _good_result(subject, subject.request()).body
        found = provider.user(provider.without_credentials(body)).mfa_methods
        expect(not says or found is not None, "it has enrolled_mfa, and its reply does not say what is enrolled")
        expect(says or found is None, "it says what is enrolled, and has no enrolled_mfa")
    if not says:
        entry = cache_entry(subject.shown(subject.token()))
        assert entry is not None
        expect(provider.user(entry.body).mfa_methods is None, "it says what is enrolled, and has no enrolled_mfa")


_STEPS: Mapping[str, tuple[Callable[[Any, str, LoginContext], Plan[Any]], type[object]]] = MappingProxyType(
    {
        "send_otp": (lambda p, _, c: p.send_otp(channel="email", address=_ADDRESS, create=True), OtpRequest),
        "send_magic_link": (
            lambda p, _, c: p.send_magic_link(email=_ADDRESS, create=True, login=LinkPage()),
            MagicLinkRequest,
        ),
        "begin_wallet": (
            lambda p, _, c: p.begin_wallet(wallet_type="ethereum", public_address="0x0"),
            WalletChallenge,
        ),
        "create_totp": (lambda p, user, c: p.create_totp(user), TotpRegistration),
        "verify_otp": (lambda p, _, c: p.verify_otp(code=_CODE, method_id="method-1", context=c), Login),
        "verify_magic_link": (lambda p, _, c: p.verify_magic_link(token=_PROOF, context=c), Login),
        "verify_oauth": (lambda p, _, c: p.verify_oauth(token=_PROOF, context=c), Login),
        "verify_totp": (lambda p, user, c: p.verify_totp(code=_CODE, user_id=user, context=c), Login),
        "recover_totp": (lambda p, user, c: p.recover_totp(recovery_code=_PROOF, user_id=user, context=c), Login),
        "verify_wallet": (
            lambda p, _, c: p.verify_wallet(
                wallet_type="ethereum", public_address="0x0", signature=_PROOF, context=c
            ),
            Login,
        ),
    }
)
"""The steps of a sign-in, each with what it gives."""


def _signs_in(subject: Subject) -> None:
    provider = subject.make()
    if "sign_in" not in provider.capabilities:
        return
    had = _steps(subject)
    expect(any(name.startswith("verify_") for name in had), "it signs users in, and verifies no proof")
    for name, plan in had.items():
        found = _answered(subject, plan, (_PROOF, _CODE))
        kind = _STEPS[name][1]
        expect(isinstance(found, kind), f"{name} gave {found!r:.80}, no {kind.__name__}, for a good reply")
        if isinstance(found, Login):
            _check_login(subject, found, name)
        elif isinstance(found, TotpRegistration):
            expect(bool(found.secret) and found.secret not in repr(found), "create_totp gave no masked secret")
        else:
            member = "challenge" if isinstance(found, WalletChallenge) else "method_id"
            expect(bool(getattr(found, member)), f"{name} gave no {member}")


def _check_login(subject: Subject, login: Login, name: str) -> None:
    provider, session = subject.make(), login.session
    user_id: Any = login.user.id
    expect(isinstance(user_id, str) and bool(user_id), f"{name} gave no user")
    expect(session is not None, f"{name} gave no session, and one was asked for")
    assert session is not None
    expect(provider.same_user(session.user_id, login.user.id), f"{name} gave the session of another user")
    given = [one for one in (login.session_token, login.session_jwt) if one]
    expect(bool(given), f"{name} gave no credential of its session")
    shown = f"{login!r} {login.to_dict()!r} {login.extra!r}"
    expect(not any(one in shown for one in given), f"the credentials of {name} are shown")


def _steps(subject: Subject) -> Plans:
    """Return the steps of a sign-in that the provider has."""
    provider = subject.make()
    claims = dict(subject.claims())
    user = provider.jwt_claims.session_claims(claims, claims["exp"]).user_id
    found: dict[str, Callable[[], Plan[Any]]] = {}
    for name, (begin, _) in _STEPS.items():

        def plan(begin: Callable[[Any, str, LoginContext], Plan[Any]] = begin) -> Plan[Any]:
            return begin(provider, user, LoginContext(minutes=_MINUTES))

        try:
            next(plan())
        except NotSupported:
            continue
        except StopIteration:
            pass
        found[name] = plan
    return found


def _plans(subject: Subject) -> Plans:
    """Return all that the provider makes calls for."""
    provider: Any = subject.make()
    can = provider.capabilities
    asked: dict[str, Callable[[], IntrospectionRequest]] = {
        "introspect": subject.request,
        "refresh_jwt": subject.renewal,
        "extend": lambda: subject.request(minutes=_MINUTES),
    }

    def asking(make: Callable[[], IntrospectionRequest]) -> Plan[Any]:
        plan: Plan[Any] = provider.introspect(make())
        return plan

    plans: dict[str, Callable[[], Plan[Any]]] = {name: partial(asking, make) for name, make in asked.items()}
    plans |= {
        "get_user": lambda: provider.get_user("user"),
        "list_sessions": lambda: provider.list_sessions("user"),
        "revoke_session": lambda: provider.revoke("session_token", subject.request().value),
        "revoke_user": lambda: provider.revoke_user("user"),
    }
    had = {name: plan for name, plan in plans.items() if name in can}
    return {**had, **(_steps(subject) if "sign_in" in can else {})}


def _judges_trouble(subject: Subject) -> None:
    for name, plan in _plans(subject).items():
        for status in _TROUBLE:
            for body in (b"", b"<html>", b'{"active": false}'):
                found = _asked(plan, Reply(status, {}, body), expected="trouble")
                expect(
                    isinstance(found, ProviderUnavailable),
                    f"{name}: a reply with status {status} gave {found!r}, and says nothing of what was asked",
                )


def _judges_any(subject: Subject) -> None:
    for name, plan in _plans(subject).items():
        for status in _STATUSES:
            for body in _BODIES:
                found = _asked(plan, Reply(status, {"content-type": "application/json"}, body))
                is_end = name in _ENDINGS and found is None
                expect(
                    isinstance(found, MoonKeyError) or is_end,
                    f"{name}: a reply {body!r} with status {status} was taken for a good one",
                )


def _asked(plan: Callable[[], Plan[Any]], reply: Reply, expected: ReplyClass | None = None) -> object:
    """Return what becomes of a plan where each call gets the same reply."""

    def answer(fetch: Fetch) -> Reply:
        found = judged(fetch, reply)
        expect(found in get_args(ReplyClass), f"its judge says {found!r}")
        expect(expected in (None, found), f"its judge takes status {reply.status} for a {found}")
        return reply

    return played(plan, answer)


REPLY_CHECKS: Final = cast(
    "Mapping[str, Callable[[Subject], None]]",
    MappingProxyType(
        {
            "reads the reply about a good credential": _introspects,
            "renews a token that is only too old": _renews,
            "extends a session by a call of its own": _extends,
            "reads the replies of a sign-in": _signs_in,
            "gives a front end the credentials of its session": _hydrates,
            "says which second factors a user has only where it can": _names_mfa,
            "takes no trouble for a refusal": _judges_trouble,
            "judges any reply without an exception": _judges_any,
        }
    ),
)
"""The checks by their names."""
