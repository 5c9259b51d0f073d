"""A new JWT from the API is judged like any other before it is handed on."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from moonkey_core import Auth, Login, ProviderUnavailable
from moonkey_core._operations import sessions as operations
from moonkey_core._operations.logins import verify_otp
from moonkey_core._plan import Fetch, Outcome, run
from moonkey_core.auth import fresh_jwt
from support.cookie_visits import JWT, OLD, TOKEN, set_after, visit
from support.decisions import NOW, Decisions, replied, verified_body
from support.odd_jwts import CLAIM, claims, good, header, key_set, sign, without
from support.scripted_api import DOWN, KnownToTheApi

NEW = good(NOW - 1)
OF_NO_USE: dict[str, str] = {
    "no JWT": "not-a-jwt",
    "dots": "a.b.c",
    "expired": good(NOW - 400),
    "in the future": good(NOW + 400),
    "without times": sign(header(), without(claims(NOW), "exp")),
    "another algorithm": sign(header(alg="HS256"), claims(NOW)),
    "no session": sign(header(), without(claims(NOW), CLAIM)),
    "no subject": sign(header(), without(claims(NOW), "sub")),
    "its session has ended": good(NOW, session={"deleted": True}),
}
ONLY_WITH_ISSUER: dict[str, str] = {
    "a foreign key": sign(header(), claims(NOW), "foreign"),
    "an unknown key": sign(header(kid="unknown"), claims(NOW), "foreign"),
    "another issuer": good(NOW, iss="somebody else"),
    "too old for this app": good(NOW - 310, exp=int(NOW) + 3600),
}
ANOTHER: dict[str, str] = {
    "another user": good(NOW, sub="user_2"),
    "another session": good(NOW, session={"id": "sess_2"}),
}


def made(new: str, **options: Any) -> KnownToTheApi:
    decisions = KnownToTheApi([TOKEN, OLD], cookies=True, **options)
    decisions.good[TOKEN] = {"session_token": TOKEN, "session_jwt": new}
    decisions.good[OLD] = {"session_jwt": new}
    return decisions


def renewed(decisions: KnownToTheApi) -> list[Auth]:
    """The identities whose credential was renewed: a JWT in a header, and where that is read one in a cookie."""
    found = [decisions.authenticate(OLD)]
    return [*found, visit(decisions, jwt=OLD)] if decisions.settings.jwt_issuer else found


def reasons(caplog: pytest.LogCaptureFixture) -> set[str]:
    return {record.__dict__["reason"] for record in caplog.records if record.name == "moonkey"}


@pytest.mark.rule("S40")
@pytest.mark.parametrize("issuer", [{}, {"jwt_issuer": ""}], ids=["verified here", "not verified here"])
@pytest.mark.parametrize("new", OF_NO_USE.values(), ids=OF_NO_USE.keys())
def test_one_of_no_use_is_held_back(new: str, issuer: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "moonkey")
    decisions = made(new, **issuer)
    for auth in renewed(decisions):
        assert auth.is_authenticated
        assert fresh_jwt(auth) is None
        assert JWT not in set_after(decisions, auth)
    assert reasons(caplog) == {"fresh_jwt_held_back"}
    assert new not in caplog.text


@pytest.mark.rule("S40")
@pytest.mark.parametrize("new", ONLY_WITH_ISSUER.values(), ids=ONLY_WITH_ISSUER.keys())
def test_so_is_one_that_would_not_be_accepted_here(new: str) -> None:
    decisions = made(new)
    for auth in renewed(decisions):
        assert auth.is_authenticated
        assert fresh_jwt(auth) is None
    (auth,) = renewed(made(new, jwt_issuer=""))
    assert fresh_jwt(auth) == new  # who does not verify JWTs has no keys


@pytest.mark.rule("S13", "S40")
@pytest.mark.parametrize("issuer", [{}, {"jwt_issuer": ""}], ids=["verified here", "not verified here"])
@pytest.mark.parametrize("new", ANOTHER.values(), ids=ANOTHER.keys())
def test_one_of_somebody_else_is_trouble(new: str, issuer: dict[str, Any]) -> None:
    for auth in renewed(made(new, **issuer)):
        assert auth.is_unavailable
        assert fresh_jwt(auth) is None


@pytest.mark.parametrize("issuer", [{}, {"jwt_issuer": ""}], ids=["verified here", "not verified here"])
def test_a_good_one_goes_out(issuer: dict[str, Any]) -> None:
    for auth in renewed(made(NEW, **issuer)):
        assert fresh_jwt(auth) == NEW


@pytest.mark.parametrize("jwks", [DOWN, replied(500), replied(200, b"<html>"), replied(403, {"error_type": "no"})])
def test_keys_that_cannot_be_had(jwks: Outcome, caplog: pytest.LogCaptureFixture) -> None:
    """The request passes; it does not wait for a key set that has just been found out of reach."""
    caplog.set_level(logging.WARNING, "moonkey")
    decisions = made(NEW, jwks=None)
    decisions.answer = lambda fetch: jwks if "jwks" in fetch.url else decisions.by_heart(fetch)
    auth = visit(decisions)  # without a JWT, so that one is asked for
    assert auth.is_authenticated
    assert fresh_jwt(auth) is None
    assert visit(decisions).is_authenticated
    assert decisions.calls("jwks") == 1
    assert "fresh_jwt_held_back" in reasons(caplog)


def test_an_unknown_key_costs_one_fetch() -> None:
    decisions = made(sign(header(kid="new"), claims(NOW), "new"), jwks=None)
    keys = ["jwk_test"]

    def answer(fetch: Fetch) -> Outcome:
        return replied(200, key_set(*keys)) if "jwks" in fetch.url else decisions.by_heart(fetch)

    decisions.answer = answer
    assert decisions.authenticate(good(NOW)).source == "local"
    assert decisions.calls("jwks") == 1
    keys.append("new")
    auth = visit(decisions)
    assert fresh_jwt(auth) == decisions.good[TOKEN]["session_jwt"]
    assert decisions.calls("jwks") == 2


def test_a_method_of_the_client_hands_on_no_other() -> None:
    for new, expected in (("not-a-jwt", None), (NEW, NEW)):
        decisions = made(new)
        verified = run(operations.verify(decisions.core, session_jwt=OLD), decisions.exchange)
        assert (verified.fresh_jwt, verified.session_jwt) == (expected, expected)


@pytest.mark.rule("S40")
def test_nor_does_the_verification_of_a_token() -> None:
    for issuer in ({}, {"jwt_issuer": ""}):
        for new, expected in ((NEW, NEW), *((new, None) for new in OF_NO_USE.values())):
            decisions = made(new, **issuer)
            verified = run(operations.verify(decisions.core, session_token=TOKEN), decisions.exchange)
            assert (verified.session.id, verified.session_token) == ("sess_1", TOKEN)
            assert verified.session_jwt == expected
    for new in ONLY_WITH_ISSUER.values():
        decisions = made(new)
        verified = run(operations.verify(decisions.core, session_token=TOKEN, extend=60), decisions.exchange)
        assert verified.session_jwt is None
    for new in ANOTHER.values():
        decisions = made(new)
        with pytest.raises(ProviderUnavailable) as caught:
            run(operations.verify(decisions.core, session_token=TOKEN), decisions.exchange)
        assert caught.value.reason == "api_mismatch"


def signed_in(new: str, token: str | None = TOKEN, jwks: Outcome | None = None, **options: Any) -> Login:
    """A code that was verified; the API answers with this JWT."""
    decisions = Decisions(**{**({} if jwks is None else {"jwks": None}), **options})
    answer = replied(200, verified_body(session_token=token, session_jwt=new))
    decisions.answer = lambda fetch: jwks if jwks is not None and "jwks" in fetch.url else answer
    plan = verify_otp(decisions.core, "123456", email="me@example.com", session_expires_in=60)
    return run(plan, decisions.exchange)


@pytest.mark.rule("S40")
@pytest.mark.parametrize("new", [*OF_NO_USE.values(), *ONLY_WITH_ISSUER.values()])
def test_a_login_comes_without_one_of_no_use(new: str) -> None:
    login = signed_in(new)
    assert (login.session_token, login.session_jwt) == (TOKEN, None)
    with pytest.raises(ProviderUnavailable):
        signed_in(new, None)  # nobody could use this session


@pytest.mark.rule("S13", "S40")
@pytest.mark.parametrize("issuer", [{}, {"jwt_issuer": ""}], ids=["verified here", "not verified here"])
def test_a_login_with_that_of_somebody_else_is_trouble(issuer: dict[str, Any]) -> None:
    assert signed_in(NEW, **issuer).session_jwt == NEW
    for new in ANOTHER.values():
        with pytest.raises(ProviderUnavailable) as caught:
            signed_in(new, **issuer)
        assert caught.value.reason == "api_mismatch"


@pytest.mark.parametrize("jwks", [DOWN, replied(500), replied(200, b"<html>")])
def test_a_login_does_not_fail_by_the_key_set(jwks: Outcome) -> None:
    assert signed_in(NEW, jwks=jwks).session_jwt is None
    assert signed_in(NEW, jwks=replied(200, key_set())).session_jwt == NEW
