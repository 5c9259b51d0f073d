"""Rules that are lists of words, each word tried. The lists are written out here, not read from the code."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import pytest

from moonkey_core import (
    Auth,
    ConfigurationError,
    CookieSettings,
    CrossSiteRequest,
    ExpiredCredentials,
    InvalidCredentials,
    MoonKeyError,
    ProviderRejectedKey,
    RequestRefused,
    RevokedCredentials,
)
from moonkey_core._plan import Outcome, TransportError, run
from moonkey_core._sign_in_steps import LoginContext
from moonkey_core.auth import scheme_hint
from moonkey_core.providers.moonkey.wire import parse_session
from moonkey_core.settings.cookie_settings import cookie_settings
from moonkey_core.web.pages import wants_page
from moonkey_core.web.request import RequestInfo, mapped_headers
from support.decisions import NOW, Decisions, replied, verified_body
from support.odd_jwts import claims, good, header, sign
from support.scripted_api import KnownToTheApi

TOKEN = "session_" + "t" * 40
COOKIE = f"__Host-moonkey_session={TOKEN}"

# --- what a browser asks for

PAGES = ("text/html", "application/xhtml+xml")
DATA = ("application/json", "application/*", "*/*")
NEITHER = (
    "text/*",
    "text/plain",
    "application/xml",
    "image/webp",
    "text/htm",
    "xhtml+xml",
    "html",
    "text/html5",
    "",
)


def asks_for_a_page(*lines: str) -> bool:
    return wants_page(lambda name: lines if name == "accept" else ())


class TestAccept:
    @pytest.mark.parametrize("kind", PAGES)
    def test_a_page(self, kind: str) -> None:
        for spelled in (kind, kind.upper(), f" {kind}\t", f"{kind};q=0.001", f"{kind}; charset=utf-8"):
            assert asks_for_a_page(spelled), spelled
        assert not asks_for_a_page(f"{kind};q=0")
        assert not asks_for_a_page(f"{kind};q=0.000")

    @pytest.mark.parametrize("kind", [*DATA, *NEITHER])
    def test_no_page(self, kind: str) -> None:
        assert not asks_for_a_page(kind)

    @pytest.mark.parametrize(("page", "data"), list(itertools.product(PAGES, DATA)))
    def test_the_one_that_is_wanted_more(self, page: str, data: str) -> None:
        names_everything = page == "text/html" and data == "*/*"  # what a browser adds says nothing
        for first, second in ((page, data), (data, page)):
            assert asks_for_a_page(f"{first},{second}")  # who takes either reads a page
            assert asks_for_a_page(first, second)
        assert asks_for_a_page(f"{page};q=0.5,{data};q=0.4")
        assert asks_for_a_page(f"{page};q=0.5,{data};q=0.5")
        assert asks_for_a_page(f"{page};q=0.4,{data};q=0.5") is names_everything
        assert asks_for_a_page(f"{data},{page};q=0.9") is names_everything

    @pytest.mark.parametrize(("page", "other"), list(itertools.product(PAGES, NEITHER)))
    def test_other_kinds_count_for_nothing(self, page: str, other: str) -> None:
        assert asks_for_a_page(f"{other},{page};q=0.1")

    def test_what_browsers_say(self) -> None:
        for line in (
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "application/xhtml+xml,*/*;q=0.8",
        ):
            assert asks_for_a_page(line), line
        for line in ("*/*", "application/json, text/plain, */*", "application/json,*/*;q=0.5", "image/webp,*/*"):
            assert not asks_for_a_page(line), line


# --- what a refused login says

OF_A_PROOF = (
    *("otp", "otps", "totp", "code", "passcode", "magic", "link", "token", "oauth", "signature", "wallet"),
    *("method", "nonce", "challenge", "recovery", "password", "factor", "credential", "credentials"),
    *("verification", "expired", "attempts"),
)
OF_A_LENGTH = ("expires", "expiry", "expiration", "duration", "minutes", "lifetime", "ttl")
OF_NEITHER = (
    *("app", "application", "route", "path", "endpoint", "project", "plan", "quota"),
    *("maintenance", "disabled", "enabled", "allowed", "supported", "unsupported", "unavailable"),
)


def refused_login(status: int, code: str, *, timed: bool) -> tuple[type[MoonKeyError], str]:
    decisions = Decisions()
    accepted = replied(404, {"error_type": "user_not_found"})
    decisions.answer = lambda one: (
        accepted if one.operation == "key-probe" else replied(status, {"error_type": code})
    )
    context = LoginContext(60 if timed else None)
    plan = decisions.core.able_to("sign_in").verify_otp(code="123456", method_id="email_1", context=context)
    with pytest.raises(MoonKeyError) as caught:
        run(plan, decisions.exchange)
    return type(caught.value), caught.value.reason


WRONG, UNCLEAR = (InvalidCredentials, "login_refused"), (RequestRefused, "login_unclear")


def spellings(word: str) -> list[str]:
    return [f"bad_{word}", f"{word}_bad", f"Bad{word.title()}", f"BAD_{word.upper()}", f"bad-{word}.x", word]


class TestWordsOfALogin:
    @pytest.mark.long
    @pytest.mark.parametrize("word", OF_A_PROOF)
    def test_of_what_proves_who_somebody_is(self, word: str) -> None:
        for code in spellings(word):
            for status in (400, 401, 404, 409, 410, 422):
                for timed in (True, False):
                    assert refused_login(status, code, timed=timed) == WRONG, (status, code, timed)
            for status in (405, 406, 412, 413, 415, 418, 451):
                assert refused_login(status, code, timed=False) == UNCLEAR, (status, code)

    @pytest.mark.parametrize("word", OF_A_LENGTH)
    def test_of_how_long_a_session_lasts(self, word: str) -> None:
        for code in (*spellings(word), f"session_{word}", f"session_token_{word}"):
            for status in (400, 403, 404, 409, 422):
                assert refused_login(status, code, timed=True) == UNCLEAR, (status, code)
        for proof in ("otp", "magic_link", "recovery_code"):
            assert refused_login(404, f"{proof}_{word}", timed=True) == WRONG  # that of the proof
        assert refused_login(404, word, timed=False) == WRONG  # none was asked for
        assert refused_login(403, word, timed=False) == (ProviderRejectedKey, "provider_rejected_key")

    @pytest.mark.long
    @pytest.mark.parametrize("word", OF_NEITHER)
    def test_of_something_else(self, word: str) -> None:
        for code in (*spellings(word), f"otp_{word}", f"{word}_token"):
            for status in (400, 404, 409, 410, 422):
                for timed in (True, False):
                    assert refused_login(status, code, timed=timed) == UNCLEAR, (status, code, timed)

    @pytest.mark.parametrize("code", ["nope", "bad_request", "not_found", "bottle", "recoder", "planet", "apps"])
    def test_of_no_such_thing(self, code: str) -> None:
        assert refused_login(404, code, timed=True) == WRONG
        assert refused_login(400, code, timed=False) == WRONG
        assert refused_login(400, code, timed=True) == UNCLEAR
        for status in (409, 422):
            assert refused_login(status, code, timed=False) == UNCLEAR


# --- how other services say that a session has ended

NOT_ANY_MORE = ("active", "is_active", "valid", "is_valid", "authenticated")
ENDED = ("revoked", "expired", "ended")
ENDED_AT = ("revoked_at", "ended_at", "terminated_at")
STATUSES = (
    *("revoked", "deleted", "expired", "ended", "terminated", "inactive", "invalid", "logged_out", "signed_out"),
)
FALSE: tuple[Any, ...] = (False, 0, "false", "", [], "no")
NOT_FALSE: tuple[Any, ...] = (True, 1, "true", "no", [1], {"a": 1})
UNREADABLE: dict[str, dict[str, Any]] = {
    **{f"{name} {value!r}": {name: value} for name in NOT_ANY_MORE for value in FALSE},
    **{f"{name} {value!r}": {name: value} for name in ENDED for value in NOT_FALSE},
    **{f"{name} {value!r}": {name: value} for name in ENDED_AT for value in (1, int(NOW), True, "x", [1])},
    **{f"status {word}": {"status": word} for status in STATUSES for word in (status, status.upper())},
}
GOING_ON: dict[str, dict[str, Any]] = {
    **{f"{name} {value!r}": {name: value} for name in NOT_ANY_MORE for value in (True, None)},
    **{f"{name} {value!r}": {name: value} for name in ENDED for value in (False, None)},
    **{f"{name} {value!r}": {name: value} for name in ENDED_AT for value in (None, 0, "")},
    **{f"status {word!r}": {"status": word} for word in ("active", "ok", "", None, "unended", "not expired")},
}


class TestTheEndInOtherWords:
    """Neither believed nor ignored: what a session says so cannot be read."""

    @pytest.mark.parametrize("members", UNREADABLE.values(), ids=UNREADABLE)
    def test_it_cannot_be_read(self, members: dict[str, Any]) -> None:
        session = {**verified_body()["session"], **members}
        with pytest.raises(ValueError, match=r".*"):
            parse_session(session)
        decisions = KnownToTheApi([TOKEN])
        for body in ({"session": session}, {**verified_body(), **members}):
            decisions.answer = lambda _, body=body: replied(200, body)  # type: ignore[misc]
            assert decisions.authenticate(TOKEN, max_staleness=0).is_unavailable
        assert not decisions.core.revocations.refuses("sess_1", "user_1", NOW - 100)
        auth = Decisions().authenticate(good(NOW, session={"id": "sess_1", **members}))
        assert auth.error is not None
        assert auth.error.reason == "jwt_session"

    @pytest.mark.parametrize("members", GOING_ON.values(), ids=GOING_ON)
    def test_it_goes_on(self, members: dict[str, Any]) -> None:
        session = {**verified_body()["session"], **members}
        assert parse_session(session).id == "sess_1"
        decisions = KnownToTheApi([TOKEN])
        for body in ({"session": session}, {**verified_body(), **members}):
            decisions.answer = lambda _, body=body: replied(200, body)  # type: ignore[misc]
            assert decisions.authenticate(TOKEN, max_staleness=0).is_authenticated
        assert Decisions().authenticate(good(NOW, session={"id": "sess_1", **members})).is_authenticated


# --- an error beside an answer

ERRORS = (
    *("error", "errors", "error_type", "error_code", "error_message", "error_description"),
    *("errorType", "errorCode", "errorMessage"),
)
FULL: tuple[Any, ...] = (1, "x", True, ["x"], {"a": 1})
NOTHING: tuple[Any, ...] = (None, False, "", [], {})
AT_FAULT: dict[str, dict[str, Any]] = {
    **{f"{name} {value!r}": {name: value} for name in ERRORS for value in FULL},
    **{f"{name} {value!r}": {name: value} for name in ("success", "ok") for value in (False, 0, "true", 2, "")},
    **{
        f"{name} {value!r}": {name: value}
        for name in ("status", "statusCode", "code")
        for value in (
            "error",
            "fail",
            "failed",
            "failure",
            "Error",
            "FAILED",
            "invalid_session",
            400,
            404,
            599,
            401.0,
        )
    },
    **{f"status_code {value!r}": {"status_code": value} for value in (199, 300, 404, 500, "200", True, 200.0)},
}
WITHOUT_FAULT: dict[str, dict[str, Any]] = {
    **{f"{name} {value!r}": {name: value} for name in ERRORS for value in NOTHING},
    **{f"{name} {value!r}": {name: value} for name in ("success", "ok") for value in (True, None)},
    **{
        f"{name} {value!r}": {name: value}
        for name in ("status", "statusCode", "code")
        for value in ("ok", "success", "faultless", 200, 399, 600, None)
    },
    **{f"status_code {value!r}": {"status_code": value} for value in (200, 299, None)},
}


@pytest.mark.parametrize("status", [200, 201])
class TestAnErrorBesideAnAnswer:
    @pytest.mark.parametrize("members", AT_FAULT.values(), ids=AT_FAULT)
    def test_it_cannot_be_known(self, members: dict[str, Any], status: int) -> None:
        decisions = KnownToTheApi()
        decisions.answer = lambda _: replied(status, {**verified_body(), **members})
        assert decisions.authenticate(TOKEN).is_unavailable

    @pytest.mark.parametrize("members", WITHOUT_FAULT.values(), ids=WITHOUT_FAULT)
    def test_it_is_none(self, members: dict[str, Any], status: int) -> None:
        decisions = KnownToTheApi()
        decisions.answer = lambda _: replied(status, {**verified_body(), **members})
        assert decisions.authenticate(TOKEN).is_authenticated


# --- reasons after which a session is certainly over

OVER = ("session_unknown", "user_unknown", "expired_credentials", "revoked_credentials")
NOT_OVER = (
    *(
        "invalid_credentials",
        "session_refused",
        "token_replaced",
        "login_refused",
        "another_user",
        "jwt_signature",
    ),
    *("jwt_form", "jwt_claims", "jwt_session", "jwt_issuer", "jwt_subject", "jwt_audience", "jwt_unknown_key"),
)


def test_which_reasons_are_the_end_of_a_session() -> None:
    assert [InvalidCredentials(reason=reason).session_is_over for reason in OVER] == [True] * len(OVER)
    assert [InvalidCredentials(reason=reason).session_is_over for reason in NOT_OVER] == [False] * len(NOT_OVER)
    assert ExpiredCredentials().session_is_over
    assert RevokedCredentials().session_is_over
    assert not InvalidCredentials().session_is_over


# --- what a JWT's payload may not say of its session

SAID_BY_THE_SESSION = (
    *("started_at", "created_at", "last_active_at", "updated_at", "device_fingerprint", "device_info", "factors"),
    *("deleted", "deleted_at"),
)
NO_CLAIMS = (
    *("iss", "sub", "aud", "exp", "nbf", "iat", "jti", "id", "user_id", "custom_claims", "expires_at"),
    *SAID_BY_THE_SESSION,
)


@pytest.mark.parametrize("claim", [{}, {"expires_at": None, "started_at": None}], ids=["usual", "bare"])
@pytest.mark.parametrize("where", ["beside", "custom"])
@pytest.mark.parametrize("name", NO_CLAIMS)
def test_a_payload_never_says_it_for_its_session(name: str, where: str, claim: dict[str, Any]) -> None:
    own = {"session": {"id": "sess_1", **claim}}
    plain = Decisions().authenticate(good(NOW, **own)).session
    values: dict[str, Any] = {"device_fingerprint": {"ip": "10.0.0.1"}, "device_info": {"ip": "10.0.0.1"}}
    values |= {"factors": [{"type": "otp"}], "deleted": False, "custom_claims": {"x": 1}}
    values |= {"iss": None, "aud": "x", "sub": None, "exp": None, "iat": None, "nbf": int(NOW) - 5}
    value = values.get(name, int(NOW) - 500 if name.endswith("_at") else "planted")
    if value is None or (where == "custom" and name == "custom_claims"):
        value = int(NOW) - 7 if name in ("exp", "iat") else "planted"
        if where == "beside":
            return  # the JWT itself needs it
    changes = {name: value} if where == "beside" else {"custom_claims": {name: value}}
    session = Decisions().authenticate(good(NOW, **own, **changes)).session
    assert plain is not None
    assert session is not None
    assert name not in session.claims
    for field in ("id", "user_id", "expires_at", "started_at", "last_active_at", "factors", "device"):
        assert getattr(session, field) == getattr(plain, field), field


# --- types and times

KIND_OF_A_JWT = ("JWT", "jwt", "Jwt", "application/jwt", "APPLICATION/JWT", "application/JWT")
NO_KIND_OF_ONE = (
    "at+jwt",
    "JWS",
    "JOSE",
    "application/at+jwt",
    "application/",
    "jwt ",
    "",
    1,
    None,
    ["JWT"],
    True,
)


def judged_type(**member: object) -> Auth:
    return Decisions().authenticate(sign({**header(), **member}, claims(NOW)))


def test_each_type_of_a_jwt() -> None:
    for kind in KIND_OF_A_JWT:
        assert judged_type(typ=kind).is_authenticated, kind
    for wrong in NO_KIND_OF_ONE:
        error = judged_type(typ=wrong).error
        assert error is not None, wrong
        assert error.reason == "jwt_type", wrong
    plain = {name: value for name, value in header().items() if name != "typ"}
    assert Decisions().authenticate(sign(plain, claims(NOW))).is_authenticated


TIMES = ("started_at", "created_at", "last_active_at", "updated_at", "expires_at")


@pytest.mark.parametrize("name", TIMES)
def test_each_time_of_a_session(name: str) -> None:
    usual = verified_body()["session"]
    decisions = KnownToTheApi([TOKEN])
    wrongs: tuple[Any, ...] = ("", "0", "1800000000", True, False, [], {}, -1, 253_402_300_800)
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r".*"):
            parse_session({**usual, name: wrong})
        decisions.answer = lambda _, wrong=wrong: replied(200, verified_body(session={name: wrong}))  # type: ignore[misc]
        assert decisions.authenticate(TOKEN, max_staleness=0).is_unavailable, wrong
        error = Decisions().authenticate(good(NOW, session={"id": "sess_1", name: wrong})).error
        assert error is not None, wrong
        assert error.reason == "jwt_session", wrong
    for unknown in (None, 0, 0.0):
        if name != "expires_at":
            assert parse_session({**usual, name: unknown}).id == "sess_1"
        assert Decisions().authenticate(good(NOW, session={"id": "sess_1", name: unknown})).is_authenticated


REFUSALS = (400, 401, 402, 403, 404, 405, 406, 407, 409, 410, 422, 423, 424, 426, 428, 431, 451, 499)
NO_REFUSALS = (0, 100, 200, 204, 302, 399, 408, 425, 429, 500, 503, 600, -1, 404.0, "404", True, [404])


def test_the_status_that_an_error_names() -> None:
    """It may be another refusal's; an error that names trouble, or no status, contradicts itself."""
    for status in REFUSALS:
        auth = answered_by(replied(404, {"status_code": status, "error_type": "invalid_session"}))
        assert auth.is_rejected, status
    for wrong in NO_REFUSALS:
        auth = answered_by(replied(404, {"status_code": wrong, "error_type": "invalid_session"}))
        assert auth.is_unavailable, wrong


def answered_by(outcome: Outcome) -> Auth:
    decisions = KnownToTheApi()
    decisions.answer = lambda _: outcome
    return decisions.authenticate(TOKEN)


# --- requests and where they come from

SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
UNSAFE = ("POST", "PUT", "PATCH", "DELETE", "CONNECT", "get", "Head", "PROPFIND", "")


def from_a_page(method: str, site: str | None) -> MoonKeyError | None:
    decisions = KnownToTheApi([TOKEN], cookies=True)
    headers = {"cookie": [COOKIE], **({} if site is None else {"sec-fetch-site": [site]})}
    auth = decisions.read(headers, None, RequestInfo(method, "https"))
    assert auth.is_authenticated == (auth.error is None)
    return auth.error


class TestOrigins:
    @pytest.mark.parametrize("method", SAFE)
    def test_safe_methods_use_cookies_from_anywhere(self, method: str) -> None:
        sites = ("same-origin", "none", "same-site", "cross-site", "", "other", None)
        for site in sites:
            assert from_a_page(method, site) is None

    @pytest.mark.parametrize("method", UNSAFE)
    def test_others_where_the_browser_vouches_for_it(self, method: str) -> None:
        for vouched in ("same-origin", "none"):
            assert from_a_page(method, vouched) is None
        for site in ("same-site", "cross-site", "", "other", "None", "same-origin,none", None):
            assert isinstance(from_a_page(method, site), CrossSiteRequest), site

    def test_what_the_log_repeats_of_it(self) -> None:
        for site in ("same-site", "cross-site"):
            assert f"Sec-Fetch-Site: {site}," in str(from_a_page("POST", site))
        assert "Sec-Fetch-Site: no valid one (5 characters)," in str(from_a_page("POST", "other"))
        for site in ("same-origin", "none"):  # where something else is the reason
            auth = KnownToTheApi([TOKEN], cookies=True).read(
                {"cookie": [COOKIE], "sec-fetch-site": [site], "origin": ["https://other.example"]},
                None,
                RequestInfo("GET", "https", is_websocket=True),
            )
            assert f"Sec-Fetch-Site: {site}," in str(auth.error)


# --- schemes that a log may name

NAMED = (
    *("apikey", "aws4-hmac-sha256", "basic", "concealed", "digest", "dpop", "gnap", "hawk", "hoba", "jwt"),
    *("mutual", "negotiate", "ntlm", "oauth", "privatetoken", "scram-sha-1", "scram-sha-256", "session", "token"),
    "vapid",
)


@pytest.mark.parametrize("scheme", NAMED)
def test_a_scheme_that_is_known_is_named_wherever_it_stands(scheme: str) -> None:
    for spelled in (scheme, scheme.upper()):
        for line in (f"{spelled} abc", spelled):
            error = Decisions().authenticate(line, "authorization").error
            told = scheme_hint(Decisions().authenticate(line, "authorization")) if error is None else str(error)
            assert f"the scheme '{spelled}'" in told, line


def test_that_of_a_credential_is_named_where_more_than_one_follows() -> None:
    for line in ("Bearer a b", "bearer a,b", "BEARER a b", "Bearer a, Bearer b"):
        assert f"the scheme '{line.split()[0]}'" in str(Decisions().authenticate(line, "authorization").error)


# --- settings of cookies

ATTRIBUTES = (
    *(
        "path",
        "domain",
        "expires",
        "max-age",
        "secure",
        "httponly",
        "samesite",
        "partitioned",
        "version",
        "comment",
    ),
)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_a_cookie_is_not_called_like_an_attribute(name: str) -> None:
    for spelled in (name, name.title(), name.upper()):
        for which in ("session_name", "jwt_name"):
            with pytest.raises(ConfigurationError, match=which):
                CookieSettings(**{which: spelled})  # type: ignore[arg-type]


def test_words_for_cookies() -> None:
    word: object
    for word in (True, "1", "true", "yes", "on", " TRUE ", "On"):
        assert cookie_settings(word) == CookieSettings(), word
    for word in (False, "0", "false", "no", "off", " No ", "OFF", None):
        assert cookie_settings(word) is None, word
    for word in ("", "maybe", "2", 7, "t", "f", "null", "none"):
        with pytest.raises(ValueError, match="CookieSettings"):
            cookie_settings(word)


@pytest.mark.parametrize("same_site", ["Lax", "Strict", "None"])
def test_each_same_site(same_site: str) -> None:
    for spelled in (same_site, same_site.lower(), same_site.upper()):
        assert CookieSettings(same_site=spelled).same_site == same_site  # type: ignore[arg-type]


# --- outcomes of a call that never arrived

KINDS: dict[Any, str] = {
    "connect": "no connection",
    "timeout": "timed out",
    "broken": "broken off",
    "too_large": "the reply is too large",
    "busy": "too many calls are waiting already",
    "circuit_open": "not asked, since the calls before have failed",
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_trouble_has_its_reason(kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "moonkey")
    decisions = Decisions()
    decisions.answer = lambda _: TransportError(kind, cause=KINDS[kind])
    auth = decisions.authenticate(TOKEN)
    assert auth.error is not None
    assert (auth.error.reason, auth.error.status) == (f"api_{kind}", 503)
    assert KINDS[kind] in str(auth.error)


def test_the_headers_of_a_mapping_are_read_alike() -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "COOKIE": COOKIE, "x-other": "1"}
    view = mapped_headers(headers)
    assert (view("authorization"), view("cookie"), view("x")) == ([f"Bearer {TOKEN}"], [COOKIE], [])
