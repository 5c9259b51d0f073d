"""The pair of cookies is one credential: the JWT is a cache of the token, and any fault of it means asking."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonkey_core import InvalidCredentials, MalformedCredentials
from moonkey_core.auth import from_cookies
from moonkey_core.gate import Requirements
from moonkey_core.web.credentials import read_cookies
from support.cookie_visits import FRESH, GET, JWT, NEW, OLD, OTHER, POST, SESSION, TOKEN, UNKNOWN, set_after, visit
from support.decisions import NOW
from support.odd_jwts import claims, good, header, sign
from support.scripted_api import DOWN, KnownToTheApi


def made(**options: Any) -> KnownToTheApi:
    decisions = KnownToTheApi([TOKEN], **{"cookies": True, "load_user": False, **options})
    decisions.good[TOKEN] = {"session_token": TOKEN, "session_jwt": NEW}
    decisions.good[OTHER] = {"session": {"id": "sess_2", "user_id": "user_2"}}
    return decisions


@pytest.mark.rule("S40")
class TestTheJwtFirst:
    def test_a_good_one_asks_nobody(self) -> None:
        decisions = made()
        first, again = visit(decisions, jwt=FRESH), visit(decisions, jwt=FRESH)
        assert (first.source, again.source, decisions.asked) == ("local", "cache", 0)
        assert from_cookies(first)
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

    @pytest.mark.rule("S17", "pair")
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
    @pytest.mark.rule("S13", "S40", "S45")
    @pytest.mark.parametrize("change", [{"id": "sess_9"}, {"user_id": "user_9"}])
    def test_one_that_names_somebody_else_is_refused(self, change: dict[str, str]) -> None:
        decisions = made()
        decisions.good[TOKEN] = {"session": change, "session_jwt": NEW}
        auth = visit(decisions, jwt=OLD)
        assert auth.is_unavailable
        assert auth.error is not None
        assert auth.error.reason == "api_mismatch"
        assert set_after(decisions, auth) == {JWT: ""}  # the token alone tells, next time

    @pytest.mark.rule("S13", "S40")
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

    @pytest.mark.rule("S13", "S40")
    def test_the_jwt_of_another_session_never_makes_its_user(self) -> None:
        decisions = made()
        auth = visit(decisions, token=OTHER, jwt=OLD)
        assert auth.is_unavailable
        assert visit(decisions, token=OTHER).is_authenticated

    @pytest.mark.rule("S46")
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

    @pytest.mark.rule("S45")
    def test_an_api_that_is_down_signs_nobody_out(self) -> None:
        decisions = made()
        decisions.down = True
        auth = visit(decisions, jwt=OLD)
        assert auth.is_unavailable
        assert set_after(decisions, auth) == {}
        assert visit(decisions, jwt=FRESH).is_authenticated

    @pytest.mark.rule("S34")
    def test_grace_holds_for_pairs_too(self) -> None:
        decisions = made(grace_seconds=60)
        assert visit(decisions, jwt=good(NOW - 290)).source == "local"
        decisions.down, decisions.now = True, NOW + 20
        assert visit(decisions, jwt=good(NOW - 290)).source == "grace"

    def test_users_are_completed(self) -> None:
        decisions = made(load_user=True)
        auth = visit(decisions, jwt=FRESH)
        assert auth.user is not None
        assert (auth.user.email, from_cookies(auth)) == ("me@example.com", True)

    @pytest.mark.rule("S34")
    def test_the_answer_is_remembered_as_the_token_s(self) -> None:
        decisions = made(session_cache_ttl=30)
        for jwt in (OLD, "junk", None):
            assert visit(decisions, jwt=jwt).is_authenticated
        assert decisions.asked == 1


class TestEnded:
    @pytest.mark.rule("S45")
    def test_a_dead_session_takes_both_cookies_along(self) -> None:
        decisions = made()
        for jwt in (OLD, "junk", None):
            auth = visit(decisions, token=UNKNOWN, jwt=jwt)
            assert isinstance(auth.error, InvalidCredentials)
            assert set_after(decisions, auth) == {SESSION: "", JWT: ""}

    @pytest.mark.rule("S33", "S35", "pair")
    @pytest.mark.rule("S45")
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

    @pytest.mark.rule("S45")
    def test_a_token_that_was_just_replaced_leaves_the_cookies(self) -> None:
        decisions = made()
        known = decisions.core.cache
        known.mark_superseded(known.digest(UNKNOWN))
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
    @pytest.mark.rule("S42")
    def test_a_good_header_wins(self) -> None:
        decisions = made()
        auth = visit(decisions, jwt=FRESH, session_token=OTHER)
        assert auth.user is not None
        assert (auth.user.id, from_cookies(auth)) == ("user_2", False)

    @pytest.mark.rule("S42")
    @pytest.mark.parametrize(
        "headers",
        [
            {"authorization": "Bearer a b"},
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

    @pytest.mark.rule("S42")
    @pytest.mark.parametrize("headers", [{"authorization": "Bearer"}, {"session_token": ""}])
    def test_an_empty_header_is_none(self, headers: dict[str, str]) -> None:
        auth = visit(made(), TOKEN, FRESH, None, GET, **headers)
        assert auth.is_authenticated
        assert from_cookies(auth)

    def test_another_scheme_is_no_credential_of_ours(self) -> None:
        assert from_cookies(visit(made(), jwt=FRESH, authorization="Basic dTpw"))

    @pytest.mark.rule("S43")
    def test_headers_are_exempt_from_the_origin_check(self) -> None:
        assert visit(made(), token=None, info=POST, session_token=TOKEN).is_authenticated

    @pytest.mark.rule("S43")
    def test_cookies_are_not(self) -> None:
        decisions = made()
        auth = visit(decisions, jwt=FRESH, info=POST, origin="https://evil.example")
        assert auth.error is not None
        assert (auth.error.reason, auth.error.status) == ("cross_site_request", 403)
        assert (decisions.asked, set_after(decisions, auth)) == (0, {})
        assert visit(decisions, jwt=FRESH, info=POST, sec_fetch_site="same-origin").is_authenticated


class TestGrammar:
    @pytest.mark.rule("S41")
    @pytest.mark.parametrize("name", [SESSION, JWT])
    @pytest.mark.parametrize("joint", ["; ", ";", ";; "])
    def test_one_name_with_two_values_is_malformed(self, name: str, joint: str) -> None:
        line = joint.join([f"{SESSION}={TOKEN}", f"{JWT}={FRESH}", f"{name}={OTHER}"])
        auth = made().read({"cookie": [line]}, None, GET)
        assert isinstance(auth.error, MalformedCredentials)
        assert auth.error.reason == "repeated_cookie"

    @pytest.mark.rule("S41")
    def test_so_it_is_in_two_lines(self) -> None:
        auth = made().read({"cookie": [f"{SESSION}={TOKEN}", f"{SESSION}={OTHER}"]}, None, GET)
        assert auth.is_rejected

    @pytest.mark.rule("S41")
    def test_so_it_is_in_two_lines_that_a_server_has_joined(self) -> None:
        line = f"x=1; {SESSION}={TOKEN}; y=2, {SESSION}={OTHER}; z=3"
        auth = made().read({"cookie": [line]}, None, GET)
        assert auth.error is not None
        assert auth.error.reason == "repeated_cookie"

    @pytest.mark.rule("S41")
    def test_twice_the_same_is_one(self) -> None:
        auth = made().read({"cookie": [f"{SESSION}={TOKEN}; {SESSION}={TOKEN}"]}, None, GET)
        assert auth.is_authenticated

    @pytest.mark.rule("S2", "pair")
    @pytest.mark.rule("S45")
    @pytest.mark.parametrize(
        "value", ["a b", '"' + TOKEN + '"', "a\\073b", "é", "a,b", "a=b", "x" * 9000, FRESH, "a\tb", "%41"]
    )
    def test_a_token_of_no_good_form(self, value: str) -> None:
        decisions = made()
        auth = decisions.read({"cookie": [f"{SESSION}={value}"]}, None, GET)
        assert isinstance(auth.error, MalformedCredentials)
        assert decisions.asked == 0
        assert set_after(decisions, auth) == {SESSION: "", JWT: ""}

    @pytest.mark.rule("S41")
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

    @pytest.mark.rule("S1", "S41")
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


@pytest.mark.long
@pytest.mark.rule("S2", "S41")
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
    pair = read_cookies(lambda name: [line] if name == "cookie" else [], decisions.settings)
    if pair.error is not None:
        assert joined or any(len(found) > 1 for found in values.values()) or values[SESSION] - {TOKEN, OTHER, ""}
        return
    if not pair.source:
        assert SESSION not in line or values[SESSION] <= {""}
    else:
        assert values[SESSION] == {pair.value}
        assert pair.cached_jwt is None or values[JWT] == {pair.cached_jwt}
