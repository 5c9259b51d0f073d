"""One identity never names two people, whatever a JWT and the API say of its user."""

from __future__ import annotations

import json
from typing import Any

import pytest

from moonkey_core import Auth
from moonkey_core._operations import sessions as operations
from moonkey_core._plan import run
from moonkey_core.gate import Requirements
from support.cookie_visits import GET, SESSION, TOKEN, visit
from support.decisions import NOW
from support.odd_jwts import good
from support.scripted_api import KnownToTheApi

TWO = {"sub": "user_1", "session": {"user_id": "user_2"}}
THEIRS = {"session": {"user_id": "user_2"}, "user": {"id": "user_2", "email": "two@example.com"}}


def made(jwt: str, answer: dict[str, Any] | None = None, **options: Any) -> KnownToTheApi:
    decisions = KnownToTheApi([jwt], **options)
    decisions.good[jwt] = answer or {}
    return decisions


def assert_one_person(auth: Auth) -> None:
    assert auth.user is not None
    assert auth.session is not None
    assert (auth.user.id, auth.session.user_id) == ("user_1", "user_1")
    shown = json.dumps([auth.user.to_dict(), auth.session.to_dict()], default=str)
    assert "user_2" not in shown
    assert "two@example.com" not in shown


@pytest.mark.rule("S12")
@pytest.mark.parametrize("options", [{}, {"load_user": True}], ids=["plain", "load_user"])
def test_a_jwt_that_names_two(options: dict[str, Any]) -> None:
    jwt = good(NOW, **TWO)
    decisions = made(jwt, **options)
    for _ in ("verified", "remembered"):
        auth = decisions.authenticate(jwt)
        assert_one_person(auth)
        assert auth.user is not None
        assert auth.user.email == ("me@example.com" if options else None)


@pytest.mark.rule("S12")
@pytest.mark.parametrize("old", [False, True], ids=["confirmed", "renewed"])
def test_an_answer_about_the_other_one(old: bool) -> None:
    jwt = good(NOW - 400 if old else NOW, **TWO)
    decisions = made(jwt, THEIRS, session_cache_ttl=60)
    for _ in ("asked", "remembered"):
        auth = decisions.authenticate(jwt, max_staleness=30)
        assert_one_person(auth)
    verified = run(operations.verify(made(jwt, THEIRS).core, session_jwt=jwt, extend=60), decisions.exchange)
    assert (verified.user.id, verified.session.user_id, verified.user.email) == ("user_1", "user_1", None)


@pytest.mark.rule("S12", "pair")
@pytest.mark.parametrize("options", [{}, {"load_user": True}], ids=["plain", "load_user"])
@pytest.mark.parametrize("made_at", [NOW, NOW - 400], ids=["good", "old"])
@pytest.mark.parametrize("asks", [False, True])
def test_a_pair_whose_jwt_names_two(made_at: float, options: dict[str, Any], asks: bool) -> None:
    """Whatever the API says of the token beside it: it is the first one, or it cannot be known."""
    jwt = good(made_at, **TWO)
    for answer in ({}, THEIRS, {"session_jwt": good(NOW - 1, **TWO)}):
        decisions = KnownToTheApi([TOKEN], cookies=True, **options)
        decisions.good[TOKEN] = answer
        for _ in ("verified", "remembered"):
            auth = visit(decisions, TOKEN, jwt, Requirements(max_staleness=0) if asks else None)
            if auth.is_authenticated:
                assert_one_person(auth)
            else:
                assert auth.is_unavailable
                assert answer is THEIRS


@pytest.mark.rule("S12", "token")
@pytest.mark.parametrize("options", [{}, {"load_user": True}], ids=["plain", "load_user"])
@pytest.mark.parametrize(
    "answer",
    [
        {"user": {"id": "user_2", "email": "two@example.com"}},
        {"user": {"user_id": "user_2"}},
        {"session_jwt": good(NOW, sub="user_2")},
        {"session_jwt": good(NOW, **TWO)},
    ],
    ids=["user", "user id", "jwt", "jwt of two"],
)
def test_an_answer_about_a_token_that_names_two(answer: dict[str, Any], options: dict[str, Any]) -> None:
    for headers in ({"session-token": [TOKEN]}, {"cookie": [f"{SESSION}={TOKEN}"]}):
        decisions = KnownToTheApi(cookies=True, session_cache_ttl=60, **options)
        decisions.good[TOKEN] = answer
        for _ in ("verified", "remembered"):
            auth = decisions.read(headers, None, GET)
            if auth.is_authenticated:
                assert_one_person(auth)
            else:
                assert auth.is_unavailable


@pytest.mark.parametrize(("subject", "inner"), [("user_1", "1"), ("1", "user_1")])
def test_two_spellings_are_one_person(subject: str, inner: str) -> None:
    jwt = good(NOW, sub=subject, session={"user_id": inner})
    auth = made(jwt).authenticate(jwt)
    assert auth.user is not None
    assert auth.session is not None
    assert (auth.user.id, auth.session.user_id) == (subject, inner)


def test_an_app_may_refuse_it() -> None:
    jwt = good(NOW, **TWO)
    auth = made(jwt, strict_subject=True).authenticate(jwt)
    assert auth.error is not None
    assert auth.error.reason == "jwt_subject"
