"""Each call that a provider makes, and any reply to it: it is judged and read, and no error but ours is raised."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, get_args

import jwt as pyjwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonkey_core import AuthorizationCheck, MoonKeyError, ProviderUnavailable, Session, Settings
from moonkey_core._operations.core import Core
from moonkey_core._plan import Done, Fetch, Plan, Reply, ReplyClass, step
from moonkey_core._provider import IntrospectionRequest, IntrospectionResult
from moonkey_core._sign_in_steps import LinkPage, LoginContext
from moonkey_core._transport.replies import comes_from_service, is_reusable
from moonkey_core._transport.replies import judge as neutral
from moonkey_core.emulator.cdp.api_keys import new_key
from moonkey_core.provider import CDP, OIDC, Introspection, Stytch, StytchB2B
from support import stytch_tokens as stytch
from support.any_json import JSON as ANY
from support.authorization_server import API, ISSUER, about
from support.decisions import verified_body

NOW = time.time()
TOKEN = stytch.TOKEN
CDP_TOKEN = pyjwt.encode(  # nothing in it is proven before CDP is asked
    {"iss": "cdp-api", "aud": "cdp-api", "sub": "ada", "project_id": "p", "iat": NOW, "exp": NOW + 3600}, "k" * 32
)
MEMBER = {"member_id": stytch.USER, "organization_id": "organization-1"}
MEMBERS = {
    "session": "member_session",
    "user": "member",
    "session_id": "member_session_id",
    "user_id": "member_id",
}
CHECK = AuthorizationCheck("documents", "write")
CONTEXT = LoginContext(minutes=60)
Plans = dict[str, Callable[[], Plan[Any]]]


def b2b_reply() -> dict[str, Any]:
    body = stytch.reply(NOW)
    session, member = dict(body.pop("session")), dict(body.pop("user"))
    session = {**{MEMBERS.get(name, name): value for name, value in session.items()}, **MEMBER}
    member = {**member, **MEMBER, "email_address": "ada@example.test", "email_address_verified": True}
    return {**body, "member_session": session, "member": member, "organization": dict(MEMBER)}


GOOD: dict[str, dict[str, Any]] = {
    "moonkey": verified_body("user_1", user={"id": "user_1"}, session_token=f"session_{TOKEN}"),
    "stytch": stytch.reply(NOW),
    "stytch_b2b": b2b_reply(),
    "cdp": {"userId": "ada", "authenticationMethods": [{"type": "email", "email": "ada@example.com"}]},
    "introspection": about(exp=int(NOW) + 3600),
    "oidc": about(exp=int(NOW) + 3600),
}
GOOD["moonkey"]["session"]["expires_at"] = int(NOW) + 3600


@cache
def provider(name: str) -> Any:
    asked: dict[str, Any] = {
        "client_id": "api",
        "client_secret": "hidden",
        "revocation_url": "https://id.example/revoke",
    }
    if name == "moonkey":
        return Core(
            Settings.load({"secret_key": "sk_test_every_reply"}, {}), time.time, lambda plan: None
        ).provider
    if name == "cdp":
        key = new_key("EdDSA")
        return CDP(key.key_id, key.secret, "p")
    if name == "introspection":
        return Introspection("https://id.example/ask", issuer=ISSUER, audience=API, **asked)
    if name == "oidc":
        return OIDC(ISSUER, API, introspection=Introspection("https://id.example/ask", **asked))
    return (Stytch if name == "stytch" else StytchB2B)(stytch.PROJECT, stytch.SECRET)


def asked(name: str, **more: Any) -> Plan[IntrospectionResult]:
    value = CDP_TOKEN if name == "cdp" else TOKEN
    made: Plan[IntrospectionResult] = provider(name).introspect(
        IntrospectionRequest("session_token", value, b"digest", **more)
    )
    return made


def plans(name: str) -> Plans:
    """The plans of all that a provider can do."""
    made, can = provider(name), provider(name).capabilities
    person = stytch.USER if name.startswith("stytch") else "ada"
    found: Plans = {"introspect": lambda: asked(name, store_name="n", store_ttl=60.0)}
    changes: dict[str, dict[str, Any]] = {
        "extend": {"minutes": 60},
        "extend, in use": {"extension": 60},
        "refresh_jwt": {"refresh": True},
        "authorization_check": {"authorization_check": CHECK},
    }
    found.update({what: partial(asked, name, **more) for what, more in changes.items()})
    found.update(
        {
            "get_user": lambda: made.get_user(person),
            "get_user, shared": lambda: made.get_user(person, remember=True),
            "list_sessions": lambda: made.list_sessions(person),
            "revoke_session": lambda: made.revoke("session_token", TOKEN),
            "revoke_user": lambda: made.revoke_user(person),
            "authorization_check, policy": lambda: made.load_grants(session_of(name)),
        }
    )
    if "sign_in" in can:
        steps = made.sign_in if hasattr(made, "sign_in") else made
        found.update(
            {
                "sign_in, send": lambda: steps.send_otp(channel="email", address="a@example.com", create=True),
                "sign_in, send a link": lambda: steps.send_magic_link(
                    email="a@example.com", create=True, login=LinkPage()
                ),
                "sign_in wallet": lambda: steps.begin_wallet(wallet_type="ethereum", public_address="0x0"),
                "sign_in wallet, signed": lambda: steps.verify_wallet(
                    wallet_type="ethereum", public_address="0x0", signature="0x1", context=CONTEXT
                ),
                "sign_in otp": lambda: steps.verify_otp(code="123456", method_id="m", context=CONTEXT),
                "sign_in link": lambda: steps.verify_magic_link(token="t" * 40, context=CONTEXT),
                "sign_in oauth": lambda: steps.verify_oauth(token="t" * 40, context=CONTEXT),
                "sign_in totp": lambda: steps.verify_totp(code="123456", user_id=person, context=CONTEXT),
                "sign_in totp, new": lambda: steps.create_totp(person),
            }
        )
    return {what: plan for what, plan in found.items() if what.partition(",")[0].partition(" ")[0] in can}


def session_of(name: str) -> Session:
    found: Session = provider(name).session(GOOD[name])
    return found


def paths(body: Any, so_far: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    members = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for name, value in members:
        yield (*so_far, name)
        yield from paths(value, (*so_far, name))


@st.composite
def nearly_good(draw: st.DrawFn, name: str) -> Any:
    """A good reply with one to three changes, anywhere in it."""
    body = copy.deepcopy(GOOD[name])
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(list(paths(body))))
        inner: Any = body
        for part in way:
            inner = inner[part]
        if isinstance(inner, dict) and draw(st.booleans()):
            del inner[last]
        else:
            inner[last] = draw(ANY | st.sampled_from([True, "", "a" * 5000, 10**400, -1, 2**63, [{}], {"a": []}]))
        if not body:
            return body
    return body


STATUS = st.sampled_from(
    [200] * 6 + [201, 204, 302, 400, 401, 403, 404, 409, 410, 422, 429, 500, 503]
) | st.integers(100, 599)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["content-type", "retry-after", "www-authenticate", "date", "cache-control", "x-error-message"]
    ),
    st.sampled_from(["application/json", "text/html", "", "9" * 40, "Bearer", "Mon, 99 Xxx 0000 00:00:00"])
    | st.text(max_size=20),
    max_size=3,
)
ERRORS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("error", "error_type", "errorType", "error_message", "errorMessage", "errors"), ANY),
        "status_code": ANY | st.integers(100, 599),
        "correlationId": ANY,
    },
)


def replies(name: str) -> st.SearchStrategy[Reply]:
    bodies = st.one_of(nearly_good(name), ERRORS, ANY).map(lambda body: json.dumps(body).encode())
    return st.builds(Reply, STATUS, HEADERS, bodies | st.binary(max_size=60), st.just(NOW))


def verdict(fetch: Fetch, reply: Reply) -> ReplyClass:
    return (fetch.judge or neutral)(reply)


def played(begun: Callable[[], Plan[Any]], answer: Callable[[Fetch], Reply]) -> Any:
    """The result of a plan, or our own error; each reply was judged before."""
    try:
        plan = begun()
        found = step(plan, None)
        for _ in range(20):
            if isinstance(found, Done):
                return found.value
            reply = answer(found)
            assert verdict(found, reply) in get_args(ReplyClass)
            is_reusable(found, reply)
            comes_from_service(found, reply)
            if found.store_policy is not None and reply.status == 200:
                kept = cleaned(found.store_policy.clean, reply.body)
                assert kept is None or (TOKEN.encode() not in kept and CDP_TOKEN.encode() not in kept)
            found = step(plan, reply)
    except MoonKeyError as error:
        shown = f"{error} {error!r} {getattr(error, 'cause', '')}"
        assert TOKEN not in shown
        assert CDP_TOKEN not in shown
        assert stytch.SECRET not in shown
        return error
    raise AssertionError("it makes more and more calls")


def cleaned(clean: Callable[[bytes], bytes], body: bytes) -> bytes | None:
    try:
        return clean(body)
    except ValueError:
        return None


@pytest.mark.parametrize("name", GOOD)
def test_a_good_reply_is_one(name: str) -> None:
    """Else the changes below would change nothing."""
    found = played(
        lambda: asked(name),
        lambda _: Reply(200, {"content-type": "application/json"}, json.dumps(GOOD[name]).encode(), NOW),
    )
    assert isinstance(found, IntrospectionResult), found


def test_a_reply_with_a_member_without_a_name() -> None:
    """What is looked for in a reply is never the empty name."""
    for what in ("sign_in, send", "sign_in, send a link", "sign_in totp, new"):
        found = played(plans("moonkey")[what], lambda _: Reply(200, {}, b'{"": false}', NOW))
        assert isinstance(found, ProviderUnavailable), what


@pytest.mark.rule("S19")
@pytest.mark.parametrize("name", GOOD)
@settings(max_examples=20)
@given(data=st.data())
def test_any_reply_to_any_call(name: str, data: st.DataObject) -> None:
    read_any_reply(name, data)


@pytest.mark.long
@pytest.mark.rule("S19")
@pytest.mark.parametrize("name", GOOD)
@settings(max_examples=1000)
@given(data=st.data())
def test_many_replies_to_any_call(name: str, data: st.DataObject) -> None:
    read_any_reply(name, data)


def read_any_reply(name: str, data: st.DataObject) -> None:
    every = plans(name)
    what = data.draw(st.sampled_from(sorted(every)))
    found = played(every[what], lambda _: data.draw(replies(name)))
    if isinstance(found, IntrospectionResult):
        assert found.session_id
        assert found.user_id
        assert math.isfinite(found.ends_at)
        assert found.scope in {*provider(name).scopes.values(), "moonkey"}
        made = provider(name)
        kept = made.without_credentials(found.body)
        for body in (found.body, kept):
            made.user(body)
            made.session(body)
        made.verified_session(found, found.user_id)


@pytest.mark.parametrize("name", GOOD)
def test_the_same_rules_say_which_call_is_shared(name: str) -> None:
    """A call that requests with one credential may share is shared at every provider, and no other call is."""

    def call(**more: Any) -> Fetch:
        found = step(asked(name, **more), None)
        assert isinstance(found, Fetch)
        return found

    shared = call(store_name="n", store_ttl=60.0, max_staleness=20.0, former_store_name="f")
    assert (shared.coalesce_key, shared.ttl, shared.until_revoked) == (f"verify:{b'digest'.hex()}", 0.0, True)
    policy = shared.store_policy
    assert policy is not None
    assert (policy.name, policy.max_age, policy.former_name, policy.read) == ("n", 20.0, "f", True)
    assert call(store_name="n").store_policy is None  # nothing is kept for no time
    assert call(was_good=True).priority
    alone = call(store_name="n", store_ttl=60.0, max_staleness=0.0)
    assert (alone.coalesce_key, alone.store_policy) == (None, None)
    can = provider(name).capabilities
    if "extend" in can:
        for more in ({"minutes": 60}, {"extension": 60}):
            alone = call(store_name="n", store_ttl=60.0, **more)
            assert (alone.coalesce_key, alone.store_policy) == (None, None)
    if "refresh_jwt" in can:
        refresh = call(refresh=True, shared_for=10.0, max_staleness=5.0, store_name="n", store_ttl=60.0)
        assert refresh.coalesce_key == f"refresh:5:0:{b'digest'.hex()}"
        assert (refresh.ttl, refresh.reuse_refusals, refresh.store_policy) == (5.0, False, None)
        assert not is_reusable(refresh, Reply(200, {}, b"{}"))


@pytest.mark.parametrize("name", GOOD)
def test_a_stored_reply_that_does_not_hold_now_is_followed_by_a_call(name: str) -> None:
    good = Reply(200, {"content-type": "application/json"}, json.dumps(GOOD[name]).encode(), NOW)
    calls: list[Fetch] = []

    def answer(fetch: Fetch) -> Reply:
        calls.append(fetch)
        return good if len(calls) > 1 else Reply(200, {}, b'{"active": true}', NOW, from_store=True)

    assert isinstance(played(lambda: asked(name, store_name="n", store_ttl=60.0), answer), IntrospectionResult)
    first, second = calls
    assert first.store_policy is not None
    assert (second.coalesce_key, second.store_policy) == (None, None)
