"""The pair of cookies is one credential: the JWT is a cache of the token, and any fault of it means asking."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonkey_core import Auth, CookieSettings, InvalidCredentials, MalformedCredentials, MoonKeyError
from moonkey_core.gate import Requirements
from moonkey_core.web.cookies import cookies_after
from moonkey_core.web.credentials import cookie_pair
from moonkey_core.web.origin import RequestInfo
from support.decisions import NOW
from support.odd_jwts import claims, good, header, sign
from support.scripted_api import DOWN, KnownToTheApi

TOKEN, OTHER, UNKNOWN = ("session_" + letter * 40 for letter in "tou")
SESSION, JWT = CookieSettings().names
GET, POST = RequestInfo("GET", "https"), RequestInfo("POST", "https")
FRESH, OLD = good(NOW), good(NOW - 400)
NEW = good(NOW - 1)


def made(**options: Any) -> KnownToTheApi:
    decisions = KnownToTheApi([TOKEN], cookies=True, **options)
    decisions.good[TOKEN] = {"session_token": TOKEN, "session_jwt": NEW}
    decisions.good[OTHER] = {"session": {"id": "sess_2", "user_id": "user_2"}}
    return decisions


def visit(
    decisions: KnownToTheApi,
    token: str | None = TOKEN,
    jwt: str | None = None,
    requirements: Requirements | None = None,
    info: RequestInfo = GET,
    **headers: str,
) -> Auth:
    cookies = [f"{name}={value}" for name, value in ((SESSION, token), (JWT, jwt)) if value is not None]
    lines = {name.replace("_", "-"): [value] for name, value in headers.items()}
    return decisions.read({"cookie": ["; ".join(["a=b", *cookies])], **lines}, requirements, info)


def set_after(decisions: KnownToTheApi, auth: Auth, *already: str) -> dict[str, str]:
    """The cookies that go out, by name; an empty value clears one."""
    found = cookies_after(auth, decisions.settings, decisions.core.revocations, already)
    for cookie in found:
        assert "; Path=/; " in cookie
        assert cookie.endswith("; Secure; HttpOnly; SameSite=Lax")
        assert "Domain" not in cookie
        assert ("Max-Age=0" in cookie) == (not cookie.split(";")[0].partition("=")[2])
    pairs = [cookie.split(";")[0].partition("=") for cookie in found]
    return {name: value for name, _, value in pairs}


class TestTheJwtFirst:
    def test_a_good_one_asks_nobody(self) -> None:
        decisions = made()
        first, again = visit(decisions, jwt=FRESH), visit(decisions, jwt=FRESH)
        assert (first.source, again.source, decisions.asked) == ("local", "cache", 0)
        assert first.from_cookies
        assert first.user is not None
        assert first.user.id == "user_1"
        assert set_after(decisions, first) == {}

    @pytest.mark.parametrize(
        "jwt",
        [
            OLD,
            good(NOW + 400),
            FRESH[:-4] + "AAAA",
            sign(header(), claims(NOW), "foreign"),
            sign(header(alg="none"), claims(NOW)),
            good(NOW, iss="somebody else"),
            "junk",
            "a.b.c",
            "x" * 9000,
            '"quoted"',
            "with space",
        ],
        ids=["old", "future", "forged", "foreign", "none", "issuer", "junk", "dots", "long", "quoted", "space"],
    )
    def test_any_fault_of_it_means_the_token_verified_once(self, jwt: str) -> None:
        decisions = made()
        auth = visit(decisions, jwt=jwt)
        assert auth.is_authenticated
        assert decisions.asked == 1
        assert decisions.fetches[-1].json == {"session_token": TOKEN}
        assert set_after(decisions, auth) == {JWT: NEW}
        assert auth.source == "remote"

    def test_keys_that_cannot_be_had_are_no_fault_of_the_session(self) -> None:
        decisions = made(jwks=None)
        by_heart = decisions.answer
        decisions.answer = lambda fetch: by_heart(fetch) if "verify" in fetch.url else DOWN
        assert visit(decisions, jwt=FRESH).is_authenticated

    def test_it_counts_only_beside_the_token(self) -> None:
        decisions = made()
        auth = visit(decisions, token=None, jwt=FRESH)
        assert auth.is_anonymous
        assert visit(decisions, token="", jwt=FRESH).is_anonymous
        assert (decisions.asked, set_after(decisions, auth)) == (0, {})

    def test_it_is_not_read_where_it_cannot_be_judged_nor_is_a_new_one_set(self) -> None:
        decisions = made(jwt_issuer="")
        for jwt in (FRESH, OLD, None):
            auth = visit(decisions, jwt=jwt)
            assert (auth.source, set_after(decisions, auth)) == ("remote", {})

    def test_a_route_that_asks_each_time_asks_about_the_token(self) -> None:
        decisions = made()
        for count in (1, 2):
            auth = visit(decisions, jwt=FRESH, requirements=Requirements(max_staleness=0))
            assert (auth.source, decisions.asked) == ("remote", count)
            assert set_after(decisions, auth) == {}  # the one that is there will do


class TestItsRefresh:
    @pytest.mark.parametrize("change", [{"id": "sess_9"}, {"user_id": "user_9"}])
    def test_one_that_names_somebody_else_is_refused(self, change: dict[str, str]) -> None:
        decisions = made()
        decisions.good[TOKEN] = {"session": change, "session_jwt": NEW}
        auth = visit(decisions, jwt=OLD)
        assert auth.is_unavailable
        assert auth.error is not None
        assert auth.error.reason == "api_mismatch"
        assert set_after(decisions, auth) == {JWT: ""}  # the token alone tells, next time

    @pytest.mark.parametrize(
        "jwt",
        [good(NOW, sub="user_9"), good(NOW, jti="sess_9", session={"id": "sess_9"}), good(NOW, sub="user_2")],
    )
    def test_nor_does_a_new_jwt_of_somebody_else_go_out(self, jwt: str) -> None:
        decisions = made()
        decisions.good[TOKEN] = {"session_jwt": jwt}
        for old in (OLD, None):
            auth = visit(decisions, jwt=old)
            assert auth.is_unavailable
            assert NEW not in set_after(decisions, auth).values()

    def test_the_jwt_of_another_session_never_makes_its_user(self) -> None:
        decisions = made()
        auth = visit(decisions, token=OTHER, jwt=OLD)
        assert auth.is_unavailable
        assert visit(decisions, token=OTHER).is_authenticated

    def test_a_session_that_was_ended_meanwhile_gets_no_new_jwt(self) -> None:
        decisions = made()
        auth = visit(decisions, jwt=OLD)
        decisions.core.revocations.add(session_id="sess_1")
        assert set_after(decisions, auth) == {}  # by now the browser may hold cookies of its next session

    def test_cookies_that_the_response_has_already_stand(self) -> None:
        decisions = made()
        auth = visit(decisions, jwt=OLD)
        assert set_after(decisions, auth, f"{SESSION}=; Path=/; Max-Age=0") == {}
        assert set_after(decisions, auth, "other=1; Path=/") == {JWT: NEW}

    def test_an_api_that_is_down_signs_nobody_out(self) -> None:
        decisions = made()
        decisions.down = True
        auth = visit(decisions, jwt=OLD)
        assert auth.is_unavailable
        assert set_after(decisions, auth) == {}
        assert visit(decisions, jwt=FRESH).is_authenticated

    def test_grace_holds_for_pairs_too(self) -> None:
        decisions = made(grace_seconds=60)
        assert visit(decisions, jwt=good(NOW - 290)).source == "local"
        decisions.down, decisions.now = True, NOW + 20
        assert visit(decisions, jwt=good(NOW - 290)).source == "grace"

    def test_users_are_completed(self) -> None:
        decisions = made(load_user=True)
        auth = visit(decisions, jwt=FRESH)
        assert auth.user is not None
        assert (auth.user.email, auth.from_cookies) == ("me@example.com", True)

    def test_the_answer_is_remembered_as_the_token_s(self) -> None:
        decisions = made(session_cache_ttl=30)
        for jwt in (OLD, "junk", None):
            assert visit(decisions, jwt=jwt).is_authenticated
        assert decisions.asked == 1


class TestEnded:
    def test_a_dead_session_takes_both_cookies_along(self) -> None:
        decisions = made()
        for jwt in (OLD, "junk", None):
            auth = visit(decisions, token=UNKNOWN, jwt=jwt)
            assert isinstance(auth.error, InvalidCredentials)
            assert set_after(decisions, auth) == {SESSION: "", JWT: ""}

    def test_one_that_is_known_to_be_revoked_is_refused_with_a_good_jwt(self) -> None:
        decisions = made()
        assert visit(decisions, jwt=FRESH).is_authenticated
        decisions.core.revocations.add(session_id="sess_1")
        auth = visit(decisions, jwt=FRESH)
        assert auth.is_rejected
        assert set_after(decisions, auth) == {SESSION: "", JWT: ""}

    def test_the_jwt_of_an_ended_session_does_not_harm_the_next_one(self) -> None:
        decisions = made()
        decisions.core.revocations.add(session_id="sess_1")
        auth = visit(decisions, token=OTHER, jwt=FRESH)
        assert auth.user is not None
        assert auth.user.id == "user_2"

    def test_a_token_that_was_just_replaced_leaves_the_cookies(self) -> None:
        decisions = made()
        known = decisions.core.recall.credentials
        known.replace(known.digest(UNKNOWN))
        for jwt in (OLD, None):
            auth = visit(decisions, token=UNKNOWN, jwt=jwt)
            assert auth.error is not None
            assert auth.error.reason == "token_replaced"
            assert set_after(decisions, auth) == {}
            decisions.now += 6

    def test_a_foreign_jwt_beside_a_dead_token_ends_nobody_s_session(self) -> None:
        decisions = made()
        visit(decisions, token=UNKNOWN, jwt=FRESH, requirements=Requirements(max_staleness=0))
        assert visit(decisions, jwt=FRESH).is_authenticated


class TestHeadersAndCookies:
    def test_a_good_header_wins(self) -> None:
        decisions = made()
        auth = visit(decisions, jwt=FRESH, session_token=OTHER)
        assert auth.user is not None
        assert (auth.user.id, auth.from_cookies) == ("user_2", False)

    @pytest.mark.parametrize(
        "headers",
        [
            {"authorization": "Bearer"},
            {"authorization": "Bearer a b"},
            {"session_token": ""},
            {"session_token": UNKNOWN},
            {"authorization": "Bearer a.b.c"},
            {"authorization": f"Bearer {UNKNOWN}", "session_token": UNKNOWN},
        ],
    )
    def test_a_bad_header_never_falls_back(self, headers: dict[str, str]) -> None:
        decisions = made()
        auth = visit(decisions, TOKEN, FRESH, None, GET, **headers)
        assert auth.is_rejected
        assert set_after(decisions, auth) == {}

    def test_another_scheme_is_no_credential_of_ours(self) -> None:
        assert visit(made(), jwt=FRESH, authorization="Basic dTpw").from_cookies

    def test_headers_are_exempt_from_the_origin_check(self) -> None:
        assert visit(made(), token=None, info=POST, session_token=TOKEN).is_authenticated

    def test_cookies_are_not(self) -> None:
        decisions = made()
        auth = visit(decisions, jwt=FRESH, info=POST, origin="https://evil.example")
        assert auth.error is not None
        assert (auth.error.reason, auth.error.status) == ("cross_site_request", 403)
        assert (decisions.asked, set_after(decisions, auth)) == (0, {})
        assert visit(decisions, jwt=FRESH, info=POST, sec_fetch_site="same-origin").is_authenticated


class TestGrammar:
    @pytest.mark.parametrize("name", [SESSION, JWT])
    @pytest.mark.parametrize("joint", ["; ", ";", ";; "])
    def test_one_name_with_two_values_is_malformed(self, name: str, joint: str) -> None:
        line = joint.join([f"{SESSION}={TOKEN}", f"{JWT}={FRESH}", f"{name}={OTHER}"])
        auth = made().read({"cookie": [line]}, None, GET)
        assert isinstance(auth.error, MalformedCredentials)
        assert auth.error.reason == "repeated_cookie"

    def test_so_it_is_in_two_lines(self) -> None:
        auth = made().read({"cookie": [f"{SESSION}={TOKEN}", f"{SESSION}={OTHER}"]}, None, GET)
        assert auth.is_rejected

    def test_so_it_is_in_two_lines_that_a_server_has_joined(self) -> None:
        line = f"x=1; {SESSION}={TOKEN}; y=2, {SESSION}={OTHER}; z=3"
        auth = made().read({"cookie": [line]}, None, GET)
        assert auth.error is not None
        assert auth.error.reason == "repeated_cookie"

    def test_twice_the_same_is_one(self) -> None:
        auth = made().read({"cookie": [f"{SESSION}={TOKEN}; {SESSION}={TOKEN}"]}, None, GET)
        assert auth.is_authenticated

    @pytest.mark.parametrize(
        "value", ["a b", '"' + TOKEN + '"', "a\\073b", "é", "a,b", "a=b", "x" * 9000, FRESH, "a\tb", "%41"]
    )
    def test_a_token_of_no_good_form(self, value: str) -> None:
        decisions = made()
        auth = decisions.read({"cookie": [f"{SESSION}={value}"]}, None, GET)
        assert isinstance(auth.error, MalformedCredentials)
        assert decisions.asked == 0
        assert set_after(decisions, auth) == {SESSION: "", JWT: ""}

    @pytest.mark.parametrize(
        "line",
        [
            f"={SESSION}={TOKEN}",
            f"x{SESSION}={TOKEN}",
            f"{SESSION.lower()}={TOKEN}",
            SESSION,
            f"{SESSION}x={TOKEN}",
        ],
    )
    def test_other_names_are_not_read(self, line: str) -> None:
        assert made().read({"cookie": [line]}, None, GET).is_anonymous

    def test_nothing_is_read_unless_configured(self) -> None:
        decisions = KnownToTheApi([TOKEN])
        assert visit(decisions).is_anonymous


PARTS = st.lists(
    st.tuples(
        st.sampled_from([SESSION, JWT, "a", "", SESSION.lower()]),
        st.sampled_from(["=", " = ", "", "=="]),
        st.sampled_from([TOKEN, OTHER, FRESH, "", "a b", '"q"']) | st.text(max_size=4),
    ).map("".join),
    max_size=5,
)


@settings(max_examples=300)
@given(PARTS, st.sampled_from(["; ", ";", " ;\t", ","]))
def test_the_pair_is_read_as_the_grammar_says(parts: list[str], joint: str) -> None:
    """Against a plain restatement of RFC 6265 section 5.4, for our two names."""
    decisions = made()
    line = joint.join(parts)
    values: dict[str, set[str]] = {SESSION: set(), JWT: set()}
    for part in line.split(";"):
        name, equals, value = part.strip(" \t").partition("=")
        if name in values and equals:
            values[name].add(value)
    joined = any(f",{name}=" in line.replace(" ", "").replace("\t", "") for name in values)
    try:
        pair = cookie_pair(lambda name: [line] if name == "cookie" else [], decisions.settings)
    except MoonKeyError:
        assert joined or any(len(found) > 1 for found in values.values()) or values[SESSION] - {TOKEN, OTHER, ""}
        return
    if pair is None:
        assert SESSION not in line or values[SESSION] <= {""}
    else:
        assert values[SESSION] == {pair.token}
        assert pair.jwt is None or values[JWT] == {pair.jwt}
