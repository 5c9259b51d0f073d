"""A pair of cookies beside what is known of its parts: neither lends the other an identity (S33, S40, S42)."""

from __future__ import annotations

from typing import Any

import pytest

from moonkey_core import Auth, CookieSettings, MalformedCredentials
from moonkey_core._verify.cache import VerificationCache
from moonkey_core.auth import from_cookies
from moonkey_core.web.credentials import PresentedCredentials
from moonkey_core.web.request import RequestInfo
from support.decisions import NOW
from support.odd_jwts import good
from support.scripted_api import KnownToTheApi

BARE, OTHER_BARE = "t" * 40, "o" * 40
TOKEN, OTHER = f"session_{BARE}", f"session_{OTHER_BARE}"
SESSION, JWT = CookieSettings().names
GET = RequestInfo("GET", "https")
MINE = good(NOW - 20)
THEIRS = good(NOW - 20, sub="user_2", session={"id": "sess_2", "user_id": "user_2"})
OLD = good(NOW - 400)


def made(**options: Any) -> KnownToTheApi:
    decisions = KnownToTheApi([TOKEN, BARE], cookies=True, **options)
    decisions.good[TOKEN] = decisions.good[BARE] = {"session_token": TOKEN, "session_jwt": good(NOW - 1)}
    theirs = {"session": {"id": "sess_2", "user_id": "user_2"}}
    decisions.good[OTHER] = decisions.good[OTHER_BARE] = theirs
    return decisions


def visit(decisions: KnownToTheApi, token: str, jwt: str | None = None) -> Auth:
    cookies = [f"{SESSION}={token}"] if jwt is None else [f"{SESSION}={token}", f"{JWT}={jwt}"]
    return decisions.read({"cookie": ["; ".join(cookies)]}, None, GET)


def bearer(decisions: KnownToTheApi, credential: str) -> Auth:
    return decisions.read({"authorization": [f"Bearer {credential}"]}, None, GET)


def who(auth: Auth) -> tuple[str, str]:
    assert auth.user is not None, auth
    assert auth.session is not None
    return auth.user.id, auth.session.id


ME, THEM = ("user_1", "sess_1"), ("user_2", "sess_2")


def pair_digest(known: VerificationCache, token: str, jwt: str | None = None) -> bytes:
    return known.text_digest(PresentedCredentials(token, "cookie", jwt, token_prefix="session_").text)


class TestDigests:
    def test_each_pair_has_its_own(self) -> None:
        known = made().core.cache
        pairs = [(token, jwt) for token in (TOKEN, OTHER) for jwt in (None, MINE, THEIRS)]
        digests = [pair_digest(known, *pair) for pair in pairs]
        assert len(set(digests)) == len(pairs)
        others = [known.digest(text) for text in (MINE, THEIRS, TOKEN + MINE, MINE + TOKEN, BARE + MINE)]
        assert set(digests).isdisjoint(others)

    def test_one_without_a_jwt_is_the_token(self) -> None:
        known = made().core.cache
        for token in (TOKEN, BARE):
            assert pair_digest(known, token) == known.digest(token) == known.digest(TOKEN)

    def test_both_spellings_of_a_token_make_the_same(self) -> None:
        known = made().core.cache
        assert pair_digest(known, TOKEN, MINE) == pair_digest(known, BARE, MINE)

    def test_nothing_moves_from_one_part_to_the_other(self) -> None:
        known = made().core.cache
        assert pair_digest(known, "ab", "c.d") != pair_digest(known, "a", "bc.d")
        assert pair_digest(known, "abc.d") != pair_digest(known, "ab", "c.d")


class TestIdentities:
    """Whatever pair is bound, it is its JWT's user, and only together with the token. Nobody else can bind one."""

    @pytest.mark.parametrize("options", [{}, {"session_cache_ttl": 60}, {"grace_seconds": 60}], ids=repr)
    @pytest.mark.parametrize("spelled", [TOKEN, BARE])
    def test_a_pair_lends_the_token_no_identity(self, spelled: str, options: dict[str, Any]) -> None:
        decisions = made(**options)
        for _ in range(2):
            assert who(visit(decisions, spelled, THEIRS)) == THEM
        for _ in range(2):
            assert who(visit(decisions, spelled)) == ME
            assert who(bearer(decisions, spelled)) == ME
            assert who(visit(decisions, spelled, "junk")) == ME
            assert who(visit(decisions, spelled, MINE)) == ME
            assert who(visit(decisions, spelled, THEIRS)) == THEM

    @pytest.mark.parametrize("options", [{}, {"session_cache_ttl": 60}, {"grace_seconds": 60}], ids=repr)
    def test_nor_does_the_token_lend_it_to_the_pair(self, options: dict[str, Any]) -> None:
        decisions = made(**options)
        for token, me in ((TOKEN, ME), (OTHER, THEM)):
            assert who(bearer(decisions, token)) == me
            assert who(visit(decisions, token)) == me
            for jwt, them in ((MINE, ME), (THEIRS, THEM)):
                for _ in range(2):
                    assert who(visit(decisions, token, jwt)) == them
                assert who(bearer(decisions, jwt)) == them
            assert who(visit(decisions, token)) == me

    @pytest.mark.parametrize("jwt", [MINE, THEIRS])
    def test_a_jwt_that_is_known_vouches_for_no_token(self, jwt: str) -> None:
        decisions = made(session_cache_ttl=60)
        assert bearer(decisions, jwt).is_authenticated
        assert visit(decisions, TOKEN, jwt).is_authenticated
        unknown = "session_" + "u" * 40
        assert visit(decisions, unknown).is_rejected
        assert bearer(decisions, unknown).is_rejected

    def test_a_jwt_in_the_place_of_a_token_is_malformed_even_where_it_is_known(self) -> None:
        decisions = made(session_cache_ttl=60)
        assert bearer(decisions, MINE).is_authenticated
        for jwt in (None, MINE, "junk"):
            assert isinstance(visit(decisions, MINE, jwt).error, MalformedCredentials)


class TestGivenBack:
    """Who signed out while the API could not be told is signed out here, whatever of the pair is remembered."""

    @pytest.mark.parametrize("options", [{}, {"session_cache_ttl": 60, "grace_seconds": 60}], ids=repr)
    @pytest.mark.parametrize(
        "jwt", [MINE, THEIRS, OLD, "junk", None], ids=["mine", "theirs", "old", "junk", "none"]
    )
    def test_with_any_jwt_beside_it(self, jwt: str | None, options: dict[str, Any]) -> None:
        for given, held in ((TOKEN, TOKEN), (BARE, TOKEN), (TOKEN, BARE)):
            decisions = made(**options)
            for _ in range(2):
                assert visit(decisions, held, jwt).is_authenticated
            known = decisions.core.cache
            known.deny(known.digest(given))
            for beside in (jwt, MINE, None):
                assert visit(decisions, held, beside).is_rejected
            decisions.down = True
            assert visit(decisions, held, jwt).is_rejected
            decisions.down = False
            assert visit(decisions, OTHER, MINE).is_authenticated  # nobody else is


ODD = ["é", "\x80", "\xff", "\x00", "\x7f", "\t", "\u017f", "\u0130"]
PLACES = ["{}", "{}" + MINE, MINE + "{}", MINE[:30] + "{}" + MINE[30:], "a.b.c{}"]


def odd_jwts(odd: str) -> list[str]:
    return [place.format(odd) for place in PLACES]


@pytest.mark.parametrize("odd", ODD, ids=ascii)
class TestCharacters:
    """A JWT cookie that holds more than ASCII, or not only what a credential may: the token will do."""

    @pytest.mark.long
    @pytest.mark.parametrize("options", [{}, {"session_cache_ttl": 60}, {"load_user": True}], ids=repr)
    @pytest.mark.parametrize("warm", [False, True])
    def test_beside_a_good_token(self, odd: str, options: dict[str, Any], warm: bool) -> None:
        for jwt in odd_jwts(odd):
            decisions = made(**options)
            if warm:
                assert who(visit(decisions, TOKEN)) == ME
            for _ in range(2):
                assert who(visit(decisions, TOKEN, jwt)) == ME
            for fetch in decisions.fetches:
                assert fetch.json is None or fetch.json == {"session_token": TOKEN}

    def test_beside_a_token_that_is_remembered_it_costs_no_call(self, odd: str) -> None:
        decisions = made(session_cache_ttl=60)
        assert visit(decisions, TOKEN).source == "remote"
        for jwt in odd_jwts(odd):
            if jwt.strip(" \t") != jwt:
                continue  # white space around it is none of it
            assert visit(decisions, TOKEN, jwt).source == "cache"
        assert decisions.asked == 1

    def test_beside_a_dead_token(self, odd: str) -> None:
        for jwt in odd_jwts(odd):
            if jwt.strip(" \t") == jwt:
                assert visit(made(), "session_" + "u" * 40, jwt).is_rejected

    def test_beside_a_token_that_its_owner_has_given_back(self, odd: str) -> None:
        for jwt in odd_jwts(odd):
            decisions = made(session_cache_ttl=60)
            assert visit(decisions, TOKEN).is_authenticated
            known = decisions.core.cache
            known.deny(known.digest(TOKEN))
            assert visit(decisions, TOKEN, jwt).is_rejected

    def test_in_the_token_they_are_malformed_whatever_stands_beside_it(self, odd: str) -> None:
        for token in (TOKEN[:20] + odd + TOKEN[20:], odd + "x" + TOKEN, TOKEN + odd + "x"):
            for jwt in (None, MINE, "junk", *odd_jwts(odd)):
                decisions = made(session_cache_ttl=60)
                assert visit(decisions, TOKEN, MINE).is_authenticated
                auth = visit(decisions, token, jwt)
                assert isinstance(auth.error, MalformedCredentials), (token, jwt)


class TestGrace:
    """Who is accepted while the API cannot be asked: the token's own record will do, or that of the very pair."""

    def down(self, decisions: KnownToTheApi, seconds: float = 10) -> KnownToTheApi:
        decisions.down = True
        decisions.now += seconds
        return decisions

    @pytest.mark.parametrize("jwt", [OLD, "junk", None, "é"], ids=["old", "junk", "none", "odd"])
    def test_the_token_is_known_and_the_pair_is_not(self, jwt: str | None) -> None:
        decisions = made(grace_seconds=60)
        assert bearer(decisions, TOKEN).is_authenticated
        auth = visit(self.down(decisions), TOKEN, jwt)
        assert (auth.source, from_cookies(auth)) == ("grace", True)
        assert who(auth) == ME

    def test_the_pair_is_known_and_the_token_is_not(self) -> None:
        decisions, aged = made(grace_seconds=60), good(NOW - 290)
        assert visit(decisions, TOKEN, aged).source == "local"
        auth = visit(self.down(decisions, 20), TOKEN, aged)
        assert (auth.source, from_cookies(auth)) == ("grace", True)
        assert who(auth) == ME

    @pytest.mark.parametrize("jwt", [good(NOW - 291), "junk", None], ids=["another", "junk", "none"])
    def test_what_is_known_of_one_pair_is_of_no_use_to_another(self, jwt: str | None) -> None:
        decisions = made(grace_seconds=60)
        assert visit(decisions, TOKEN, good(NOW - 290)).source == "local"
        self.down(decisions, 20)
        assert visit(decisions, TOKEN, jwt).is_unavailable
        assert visit(decisions, OTHER, good(NOW - 290)).is_unavailable
        assert bearer(decisions, TOKEN).is_unavailable

    def test_both_are_known_and_each_is_who_it_was(self) -> None:
        decisions = made(grace_seconds=60)
        theirs = good(NOW - 290, sub="user_2", session={"id": "sess_2", "user_id": "user_2"})
        assert who(bearer(decisions, TOKEN)) == ME
        assert who(visit(decisions, TOKEN, theirs)) == THEM
        self.down(decisions, 20)
        auth = visit(decisions, TOKEN, theirs)
        assert (auth.source, who(auth)) == ("grace", ME)  # the token's own record comes first
        assert who(bearer(decisions, TOKEN)) == ME

    def test_neither_is_known(self) -> None:
        decisions = made(grace_seconds=60)
        for jwt in (OLD, "junk", None):
            assert visit(self.down(decisions, 0), TOKEN, jwt).is_unavailable

    @pytest.mark.parametrize("known", ["token", "pair"])
    def test_not_where_either_was_refused_since(self, known: str) -> None:
        decisions, aged = made(grace_seconds=60), good(NOW - 290)
        assert (bearer(decisions, TOKEN) if known == "token" else visit(decisions, TOKEN, aged)).is_authenticated
        decisions.now += 20
        del decisions.good[TOKEN]
        assert visit(decisions, TOKEN, aged).is_rejected
        decisions.core.cache._denied_briefly.clear()
        assert visit(self.down(decisions, 0), TOKEN, aged).is_unavailable
        assert bearer(decisions, TOKEN).is_unavailable

    @pytest.mark.parametrize("known", ["token", "pair"])
    def test_not_longer_than_it_lasts(self, known: str) -> None:
        decisions, aged = made(grace_seconds=60), good(NOW - 290)
        assert (bearer(decisions, TOKEN) if known == "token" else visit(decisions, TOKEN, aged)).is_authenticated
        self.down(decisions, 60)
        assert visit(decisions, TOKEN, aged).source == "grace"
        decisions.now += 0.1
        assert visit(decisions, TOKEN, aged).is_unavailable
