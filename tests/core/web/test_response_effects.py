"""What a response gets that is no refusal: for each credential and kind of response, one decision (rule S28)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest

from moonkey_core import (
    Auth,
    CookieSettings,
    InvalidCredentials,
    ProviderUnavailable,
    Settings,
    User,
    VerifiedSession,
)
from moonkey_core.auth import new_auth
from moonkey_core.providers.moonkey.wire import parse_session
from moonkey_core.revocations import Revocations
from moonkey_core.web.request import HeaderView, RequestInfo
from moonkey_core.web.responses import ResponseEffects, ResponseFacts, must_resolve_first, response_effects

SETTINGS = Settings.load({"secret_key": "sk_test_x"}, {})
WITH_HEADER = Settings.load({"secret_key": "sk_test_x", "fresh_jwt_header": "X-Fresh"}, {})
WITH_COOKIES = Settings.load({"secret_key": "sk_test_x", "cookies": CookieSettings()}, {})
SESSION = parse_session({"id": "sess_1", "user_id": "user_1", "expires_at": 4_000_000_000})
VERIFIED = VerifiedSession(User(id="user_1"), SESSION)
FRESH = VerifiedSession(User(id="user_1"), SESSION, fresh_jwt="a.b.c")
OVER = InvalidCredentials(reason="revoked_credentials")
TOKEN_COOKIE, JWT_COOKIE, BINDING_COOKIE = CookieSettings().all_names

PLAIN = ResponseFacts(200, is_streamed=False)
STREAM = ResponseFacts(200, is_streamed=True)
BODILESS = [ResponseFacts(status, is_streamed=True) for status in (101, 103, 204, 304)]
USUAL = {"vary": "Authorization, Session-Token", "cache-control": "private"}


def lines(**headers: str) -> HeaderView:
    return lambda name: [headers[name]] if name in headers else []


NOTHING, BEARER, COOKIE = lines(), lines(authorization="Bearer abc"), lines(cookie=f"{TOKEN_COOKIE}=abc")


def effects(
    auth: Auth | None,
    facts: ResponseFacts = PLAIN,
    headers: HeaderView = NOTHING,
    settings: Settings = SETTINGS,
    *,
    is_asked_for: bool = False,
    revoked: Sequence[str] = (),
) -> ResponseEffects:
    revocations = Revocations(retention=300)
    for session_id in revoked:
        revocations.add(session_id=session_id)
    return response_effects(auth, facts, headers, settings, revocations, is_asked_for=is_asked_for)


def read(auth: Auth) -> Auth:
    _ = auth.state
    return auth


OWN: list[tuple[str, str, dict[str, str]]] = [
    ("", "", USUAL),
    ("Accept", "public, max-age=60", {"vary": "Accept, Authorization, Session-Token"}),
    ("authorization", "", {"vary": "authorization, Session-Token", "cache-control": "private"}),
    ("Cookie,SESSION-TOKEN , ", "no-store", {"vary": "Cookie, SESSION-TOKEN, Authorization"}),
    ("*", "", {"vary": "*", "cache-control": "private"}),
    ("Accept, *", "", {"vary": "*", "cache-control": "private"}),
]


@pytest.mark.rule("S28")
@pytest.mark.parametrize(("vary", "cache_control", "expected"), OWN)
def test_what_the_app_says_is_kept(vary: str, cache_control: str, expected: dict[str, str]) -> None:
    facts = ResponseFacts(200, False, vary, cache_control)
    for auth in (
        new_auth(),
        new_auth(verified=VERIFIED),
        new_auth(verified=FRESH),
        new_auth(error=InvalidCredentials()),
    ):
        assert effects(auth, facts) == ResponseEffects()
        assert dict(effects(auth, facts, is_asked_for=True).headers) == expected
        assert dict(effects(read(auth), facts).headers) == expected


@pytest.mark.rule("S28")
def test_a_response_that_cannot_depend_on_it_stays_as_it_is() -> None:
    auths = (None, new_auth(), new_auth(verified=VERIFIED), new_auth(error=InvalidCredentials()))
    for auth, headers, facts in product(auths, (NOTHING, BEARER, COOKIE), (PLAIN, *BODILESS)):
        assert effects(auth, facts, headers) == ResponseEffects()
    for auth in auths:
        assert effects(auth, STREAM, NOTHING) == ResponseEffects()
        assert effects(auth, STREAM, COOKIE) == ResponseEffects()  # cookies are not configured


@pytest.mark.rule("S28")
@pytest.mark.parametrize("auth", [None, new_auth(), new_auth(verified=VERIFIED)], ids=repr)
def test_a_stream_may_read_it_later(auth: Auth | None) -> None:
    assert dict(effects(auth, STREAM, BEARER).headers) == USUAL
    found = dict(effects(auth, STREAM, COOKIE, WITH_COOKIES).headers)
    assert found == {"vary": "Authorization, Session-Token, Cookie", "cache-control": "private"}


@pytest.mark.rule("S28")
def test_a_fresh_jwt_goes_out_only_where_told_and_is_stored_nowhere() -> None:
    facts = ResponseFacts(200, False, "", "public")
    expected = {"vary": USUAL["vary"], "X-Fresh": "a.b.c", "cache-control": "no-store"}
    auth = new_auth(verified=FRESH)
    assert dict(effects(auth, facts, settings=WITH_HEADER).headers) == expected  # although nothing has read it
    assert "a.b.c" not in repr(effects(auth, facts, settings=WITH_HEADER))
    kept = effects(read(new_auth(verified=VERIFIED)), facts, settings=WITH_HEADER)
    assert dict(kept.headers) == {"vary": USUAL["vary"]}


COOKIES: list[tuple[Auth, list[str]]] = [
    (new_auth(verified=VERIFIED, from_cookies=True), []),
    (new_auth(verified=FRESH, from_cookies=True), [f"{JWT_COOKIE}=a.b.c"]),
    (
        new_auth(verified=FRESH, binding="f00", from_cookies=True),
        [f"{JWT_COOKIE}=a.b.c", f"{BINDING_COOKIE}=f00"],
    ),
    (new_auth(error=OVER, from_cookies=True), [f"{TOKEN_COOKIE}=", f"{JWT_COOKIE}=", f"{BINDING_COOKIE}="]),
    (new_auth(error=ProviderUnavailable(), from_cookies=True), []),
    (new_auth(verified=FRESH), []),
    (new_auth(error=OVER), []),
]


@pytest.mark.rule("S28", "S42", "S45")
@pytest.mark.parametrize(("auth", "expected"), COOKIES, ids=repr)
def test_cookies_go_out_although_nothing_has_read_it(auth: Auth, expected: list[str]) -> None:
    facts = ResponseFacts(200, False, "", "public", ["theme=dark"])
    found = effects(auth, facts, COOKIE, WITH_COOKIES)
    assert [value.split(";")[0] for value in found.cookies] == expected
    assert ("cache-control", "no-store") in found.headers or not expected
    again = ResponseFacts(200, False, dict(found.headers).get("vary", ""), "no-store", found.cookies)
    repeated = effects(auth, again, COOKIE, WITH_COOKIES)
    assert repeated.cookies == ()
    if not expected:
        assert found == ResponseEffects()


@pytest.mark.rule("S46")
def test_a_revoked_session_brings_no_cookie_back() -> None:
    auth = new_auth(verified=FRESH, from_cookies=True)
    assert effects(auth, PLAIN, COOKIE, WITH_COOKIES, revoked=["sess_1"]) == ResponseEffects()


def test_what_is_resolved_before_the_headers_go_out() -> None:
    info = RequestInfo("GET", "https")
    for auth, facts, headers, settings in product(
        (None, new_auth(verified=VERIFIED)),
        (PLAIN, STREAM, *BODILESS),
        (NOTHING, BEARER, COOKIE),
        (SETTINGS, WITH_COOKIES),
    ):
        expected = auth is None and facts is STREAM and headers is COOKIE and settings is WITH_COOKIES
        assert must_resolve_first(auth, facts, headers, info, settings) == expected
