"""A JWT in a cookie counts only with the proof that it was issued for the session token beside it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import Auth, CookieSettings, InvalidCredentials, Settings
from moonkey_core._plan import run
from moonkey_core._verify import jwt as _jwt
from moonkey_core.models import Login, Session, User
from moonkey_core.web.cookies import cleared_cookies, response_cookies, session_cookies
from support.bindings import BINDING, JWT, SESSION, binding, bound, bound_line
from support.cookie_visits import FRESH, GET, NEW, OLD, OTHER, TOKEN, UNKNOWN, set_after
from support.decisions import NOW
from support.odd_jwts import good
from support.scripted_api import KnownToTheApi

THEIRS = good(NOW - 20, sub="user_2", session={"id": "sess_2", "user_id": "user_2"})


def made(**options: Any) -> KnownToTheApi:
    decisions = KnownToTheApi([TOKEN], cookies=True, **options)
    decisions.good[TOKEN] = {"session_token": TOKEN, "session_jwt": NEW}
    decisions.good[OTHER] = {"session": {"id": "sess_2", "user_id": "user_2"}, "session_jwt": THEIRS}
    return decisions


def visit(decisions: KnownToTheApi, token: str, jwt: str, proof: str | None, *more: str) -> Auth:
    cookies = [f"{SESSION}={token}", f"{JWT}={jwt}", *([] if proof is None else [f"{BINDING}={proof}"]), *more]
    found = decisions.core.begin(lambda name: ["; ".join(cookies)] if name == "cookie" else [], None, GET)
    return found if isinstance(found, Auth) else run(decisions.core.finish(found), decisions.exchange)


def proof_of(decisions: KnownToTheApi, token: str = TOKEN, jwt: str = FRESH) -> str:
    return binding(token, jwt, decisions.settings)


def user_of(auth: Auth) -> str:
    assert auth.user is not None, auth
    return auth.user.id


WRONG: dict[str, Callable[[KnownToTheApi], str | None]] = {
    "none": lambda _: None,
    "empty": lambda _: "",
    "junk": lambda _: "junk",
    "not ASCII": lambda _: "é" * 64,
    "of another token": lambda one: proof_of(one, OTHER),
    "of another JWT": lambda one: proof_of(one, TOKEN, NEW),
    "of the token alone": lambda one: binding(TOKEN, "", one.settings),
    "moved between them": lambda one: binding(TOKEN[:-1], TOKEN[-1] + FRESH, one.settings),
    "of another app": lambda _: binding(TOKEN, FRESH, Settings.load({"secret_key": "sk_test_another"}, {})),
    "of another environment": lambda one: binding(
        TOKEN, FRESH, Settings.load({"secret_key": one.settings.secret_key, "base_url": "https://x.example"}, {})
    ),
    "in capitals": lambda one: proof_of(one).upper(),
    "cut": lambda one: proof_of(one)[:-1],
    "too long": lambda one: proof_of(one) + "0",
}


@pytest.mark.rule("S40")
class TestThePair:
    def test_the_right_one_costs_no_call(self) -> None:
        decisions = made()
        for source in ("local", "cache"):
            auth = visit(decisions, TOKEN, FRESH, proof_of(decisions))
            assert (auth.source, user_of(auth), set_after(decisions, auth)) == (source, "user_1", {})
        assert decisions.asked == 0

    @pytest.mark.parametrize("spelled", [TOKEN, TOKEN.removeprefix("session_")])
    def test_both_spellings_of_a_token_have_the_same(self, spelled: str) -> None:
        decisions = made()
        assert visit(decisions, spelled, FRESH, proof_of(decisions)).source == "local"

    @pytest.mark.parametrize("wrong", WRONG)
    @pytest.mark.parametrize("options", [{}, {"grace_seconds": 60}, {"load_user": True}], ids=str)
    def test_any_other_costs_one_call_and_is_replaced(self, wrong: str, options: dict[str, Any]) -> None:
        decisions = made(**options)
        auth = visit(decisions, TOKEN, FRESH, WRONG[wrong](decisions))
        assert (auth.source, user_of(auth), decisions.asked) == ("remote", "user_1", 1)
        assert set_after(decisions, auth) == {JWT: NEW}
        assert decisions.fetches[0].json == {"session_token": TOKEN}
        again = decisions.read({"cookie": [f"{SESSION}={TOKEN}; {JWT}={NEW}"]}, None, GET)
        assert (user_of(again), decisions.asked) == ("user_1", 1)

    @pytest.mark.parametrize("wrong", WRONG)
    def test_nor_is_it_parsed(self, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
        decisions = made()
        seen: list[str] = []
        original = _jwt.parse

        def parse(value: str, *rest: Any) -> _jwt.ParsedJwt:
            seen.append(value)
            return original(value, *rest)

        monkeypatch.setattr(_jwt, "parse", parse)
        assert visit(decisions, TOKEN, FRESH, WRONG[wrong](decisions)).is_authenticated
        assert seen == [NEW]

    def test_a_planted_one_never_says_who_somebody_is(self) -> None:
        decisions = made(session_cache_ttl=60)
        for proof in (None, "x", proof_of(decisions, OTHER, THEIRS), proof_of(decisions, TOKEN, FRESH)):
            for _ in range(2):
                auth = visit(decisions, TOKEN, THEIRS, proof)
                assert user_of(auth) == "user_1"
        # The pair of its owner is remembered by now, and lends nothing.
        assert user_of(visit(decisions, OTHER, THEIRS, proof_of(decisions, OTHER, THEIRS))) == "user_2"
        assert user_of(visit(decisions, TOKEN, THEIRS, proof_of(decisions, OTHER, THEIRS))) == "user_1"

    def test_an_old_planted_one_makes_no_trouble(self) -> None:
        """It would be renewed by a token of somebody else, which is an answer about the wrong session."""
        decisions = made()
        auth = visit(decisions, OTHER, OLD, proof_of(decisions, TOKEN, OLD))
        assert (user_of(auth), set_after(decisions, auth)) == ("user_2", {JWT: THEIRS})

    @pytest.mark.parametrize("token", [UNKNOWN, "x", "junk" * 20])
    def test_junk_beside_a_good_one_is_refused(self, token: str) -> None:
        decisions = made(grace_seconds=60)
        right = proof_of(decisions)
        assert visit(decisions, TOKEN, FRESH, right).is_authenticated
        for proof in (None, right, "x"):
            auth = visit(decisions, token, FRESH, proof)
            assert isinstance(auth.error, InvalidCredentials)
            assert set_after(decisions, auth) == {SESSION: "", JWT: ""}
        decisions.down = True
        decisions.core.cache._denied_briefly.clear()
        assert visit(decisions, token, FRESH, right).is_unavailable  # nor in grace
        assert visit(decisions, TOKEN, FRESH, right).is_authenticated

    def test_two_that_differ_bind_nothing_and_two_that_are_alike_do(self) -> None:
        decisions = made()
        right = proof_of(decisions)
        assert visit(decisions, TOKEN, FRESH, "x", f"{BINDING}={right}").source == "remote"
        assert visit(decisions, TOKEN, FRESH, right, f"{BINDING}=x").source == "remote"
        assert visit(decisions, TOKEN, FRESH, right, f"{BINDING}={right}").source == "local"

    def test_without_it_an_outage_signs_nobody_out(self) -> None:
        decisions = made()
        decisions.down = True
        auth = visit(decisions, TOKEN, FRESH, None)
        assert auth.is_unavailable
        assert set_after(decisions, auth) == {}

    def test_what_is_remembered_of_the_token_answers_for_it(self) -> None:
        decisions = made(session_cache_ttl=60)
        assert decisions.read({"cookie": [f"{SESSION}={TOKEN}"]}, None, GET).is_authenticated
        assert visit(decisions, TOKEN, FRESH, None).source == "cache"
        assert decisions.asked == 1

    def test_it_is_no_credential_by_itself(self) -> None:
        decisions = made()
        found = decisions.core.begin(
            lambda name: [f"{BINDING}={proof_of(decisions)}"] if name == "cookie" else [], None, GET
        )
        assert isinstance(found, Auth)
        assert found.is_anonymous

    @pytest.mark.parametrize("value", [TOKEN, FRESH])
    def test_a_header_needs_none(self, value: str) -> None:
        decisions = made()
        for header in ({"authorization": [f"Bearer {value}"]}, {"session-token": [value]}):
            for line in ([], [f"{BINDING}=junk"], [f"{SESSION}={OTHER}; {JWT}={THEIRS}; {BINDING}=junk"]):
                assert user_of(decisions.read({**header, "cookie": line}, None, GET)) == "user_1"


@pytest.mark.rule("S31", "S40")
@given(st.text(st.sampled_from("ab.=-_~+/"), min_size=1), st.text(st.sampled_from("ab.=-_~+/"), min_size=1))
def test_nothing_moves_between_the_two(token: str, jwt: str) -> None:
    whole = f"{token}{jwt}"
    others = {binding(whole[:at], whole[at:]) for at in range(1, len(whole)) if at != len(token)}
    assert binding(token, jwt) not in others


@pytest.mark.rule("S1", "S40")
class TestItsCookie:
    @pytest.mark.parametrize(
        ("options", "name"),
        [
            ({}, "__Host-moonkey_jwt_binding"),
            ({"domain": "example.com"}, "__Secure-moonkey_jwt_binding"),
            ({"insecure_development": True}, "moonkey_jwt_binding"),
            ({"session_name": "__Host-s", "jwt_name": "__Host-j"}, "__Host-j_binding"),
        ],
        ids=str,
    )
    def test_it_has_the_attributes_of_the_others(self, options: dict[str, Any], name: str) -> None:
        cookies = CookieSettings(**options)
        assert (cookies.binding_name, cookies.all_names) == (name, (*cookies.names, name))
        base_url = "http://127.0.0.1:1"
        settings = Settings.load({"secret_key": "sk_test_x", "base_url": base_url, "cookies": cookies}, {})
        for remember_me in (False, True):
            given = session_cookies(_login(), settings, remember_me=remember_me)
            assert [one.partition("=")[0] for one in given] == list(cookies.all_names)
            assert len({one.partition(";")[2] for one in given}) == 1
        removed = cleared_cookies(settings)
        assert [one.partition("=")[0] for one in removed] == list(cookies.all_names)
        assert len({one.partition(";")[2] for one in removed}) == 1

    def test_what_a_sign_in_sets_is_a_pair(self) -> None:
        decisions = made(load_user=False)
        given = session_cookies(_login(), decisions.settings)
        line = "; ".join(one.partition(";")[0] for one in given)
        assert line == bound_line(f"{SESSION}={TOKEN}; {JWT}={FRESH}", decisions.settings)
        auth = decisions.core.begin(lambda name: [line] if name == "cookie" else [], None, GET)
        assert isinstance(auth, Auth)
        assert auth.source == "local"

    def test_what_a_renewal_sets_is_one_too(self) -> None:
        decisions = made()
        auth = visit(decisions, TOKEN, OLD, proof_of(decisions, TOKEN, OLD))
        given = response_cookies(auth, decisions.settings, decisions.core.revocations)
        found = {one.partition("=")[0]: one.partition("=")[2].partition(";")[0] for one in given}
        assert found == {JWT: NEW, BINDING: proof_of(decisions, TOKEN, NEW)}
        assert bound({SESSION: TOKEN, JWT: NEW}, decisions.settings) == {SESSION: TOKEN, **found}

    def test_a_response_that_sets_it_itself_is_left_alone(self) -> None:
        decisions = made()
        auth = visit(decisions, TOKEN, OLD, None)
        assert set_after(decisions, auth, f"{BINDING}=; Path=/; Max-Age=0") == {}

    def test_no_jwt_no_binding(self) -> None:
        given = session_cookies(_login(None), made().settings)
        assert [one.partition(";")[0] for one in given] == [f"{SESSION}={TOKEN}", f"{JWT}=", f"{BINDING}="]


def _login(jwt: str | None = FRESH) -> Login:
    ends = datetime.fromtimestamp(NOW + 86_400, UTC)
    return Login(User("user_1"), Session("sess_1", "user_1", expires_at=ends), TOKEN, jwt)
