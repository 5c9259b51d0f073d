"""One JWT has one spelling, and what only looks like one is refused for its form, before any key is looked for."""

from __future__ import annotations

import base64

import pytest

from moonkey_core.web.credentials import is_jwt
from support.decisions import NOW, Decisions
from support.odd_jwts import claims, good, header, sign


def reason(decisions: Decisions, jwt: str) -> str | None:
    error = decisions.authenticate(jwt).error
    return None if error is None else error.reason


def with_both_signs() -> str:
    """Return a good JWT whose signature has both characters that base64url does not share with base64."""
    for number in range(1000):
        jwt = good(NOW, number=number)
        if {"-", "_"} <= set(jwt.rsplit(".", 1)[1]):
            return jwt
    raise AssertionError("no such signature")


@pytest.mark.rule("S8")
def test_the_other_alphabet_is_refused_although_it_means_the_same_bytes() -> None:
    decisions, jwt = Decisions(), with_both_signs()
    start, _, tail = jwt.rpartition(".")
    assert reason(decisions, jwt) is None
    for odd in (tail.replace("-", "+"), tail.replace("_", "/"), tail.replace("-", "+").replace("_", "/")):
        assert reason(decisions, f"{start}.{odd}") == "jwt_form"


@pytest.mark.rule("S8")
@pytest.mark.parametrize("padding", ["=", "==", "==="])
def test_padding_is_refused(padding: str) -> None:
    assert reason(Decisions(), good(NOW) + padding) == "jwt_form"


@pytest.mark.rule("S7")
@pytest.mark.parametrize("kid", ["", "k" * 257, "k" * 4000])
def test_a_key_id_of_no_good_length_costs_no_fetch(kid: str) -> None:
    decisions = Decisions(jwks=None)
    assert reason(decisions, sign(header(kid=kid), claims(NOW))) == "jwt_key_id"
    assert decisions.fetches == []
    decisions.authenticate(sign(header(kid="k" * 256), claims(NOW)))
    assert decisions.calls("jwks") == 1


@pytest.mark.rule("S4")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32-be"])
def test_a_header_in_any_encoding_makes_a_jwt(encoding: str) -> None:
    head = base64.urlsafe_b64encode('{"alg":"none"}'.encode(encoding)).decode().rstrip("=")
    assert is_jwt(f"{head}.e30.")
    decisions = Decisions()
    assert decisions.authenticate(f"{head}.e30.a").is_rejected
    assert decisions.fetches == []
