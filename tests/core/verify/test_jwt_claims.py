"""The claims of a session JWT, one wrong at a time, with a good signature (rules S10 to S13)."""

from __future__ import annotations

import json

import pytest

from moonkey_core.auth import fresh_jwt
from support.decisions import NOW, Decisions, replied
from support.judged import accepted, refused
from support.odd_jwts import CLAIM, ISSUER, claims, good, header, key_set, public_jwk, sign, without

HUGE = 10**400


def test_a_good_one() -> None:
    auth = accepted(good(NOW))
    assert auth.user is not None
    assert auth.session is not None
    assert (auth.user.id, auth.user.complete, auth.user.email) == ("user_1", False, None)
    assert (auth.session.id, auth.session.user_id) == ("sess_1", "user_1")
    assert fresh_jwt(auth) is None


WRONG_TIMES: list[object] = ["", str(int(NOW)), True, False, None, [], [NOW], {}, {"seconds": NOW}, HUGE, -HUGE]


@pytest.mark.rule("S10")
@pytest.mark.parametrize("value", WRONG_TIMES, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
def test_a_time_is_a_finite_number(name: str, value: object) -> None:
    if name == "nbf" and value is None:
        value = "null"
    assert refused(good(NOW, **{name: value})) == "jwt_claims"


@pytest.mark.rule("S9", "S10")
@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000])
@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
def test_a_time_that_json_has_no_number_for(name: str, text: str) -> None:
    body = json.dumps(claims(NOW, **{name: "HERE"})).replace('"HERE"', text)
    assert refused(sign(header(), body.encode())) == "jwt_form"


@pytest.mark.rule("S10", "S11", "S12")
@pytest.mark.parametrize("name", ["exp", "iat", "sub", "iss", CLAIM])
def test_a_claim_that_must_be_there(name: str) -> None:
    refused(sign(header(), without(claims(NOW), name)))


@pytest.mark.parametrize("name", ["exp", "iat"])
def test_the_operator_is_told_which_time_is_wrong(name: str) -> None:
    for token, fault in (
        (sign(header(), without(claims(NOW), name)), "is missing"),
        (good(NOW, **{name: "soon"}), "is no time"),
        (good(NOW, **{name: HUGE}), "is no time"),
    ):
        error = Decisions().authenticate(token).error
        assert error is not None
        assert error.evidence == f"Its {name} {fault}."


@pytest.mark.parametrize("name", ["nbf", "jti"])
def test_a_claim_that_may_be_missing(name: str) -> None:
    accepted(sign(header(), without(claims(NOW), name)))


@pytest.mark.rule("S10", "jwt")
@pytest.mark.parametrize("leeway", [0.0, 5.0, 60.0])
def test_the_leeway_holds_at_its_boundary_and_not_behind_it(leeway: float) -> None:
    options = {"leeway": leeway, "refresh_jwt": False, "jwt_max_age": 86_400}
    for name in ("iat", "nbf"):
        accepted(good(NOW, **{name: NOW + leeway}), **options)
        assert refused(good(NOW, **{name: NOW + leeway + 0.01}), **options) == "jwt_not_yet_valid"
    accepted(good(NOW, exp=NOW - leeway + 1), **options)
    for late in (0, 0.5, 1, 1000):
        assert refused(good(NOW, exp=NOW - leeway - late), **options) == "expired_credentials"


def test_a_fraction_of_a_second_is_no_longer_life() -> None:
    options = {"leeway": 0, "refresh_jwt": False}
    accepted(good(NOW, exp=NOW + 1.9), **options)
    assert refused(good(NOW, exp=NOW + 0.9), **options) == "expired_credentials"


@pytest.mark.rule("S10")
@pytest.mark.parametrize("age", [300.0, 60.0])
def test_our_own_maximum_age(age: float) -> None:
    options = {"jwt_max_age": age, "refresh_jwt": False}
    far = NOW + 86_400
    accepted(good(NOW, iat=NOW - age + 0.5, nbf=NOW - age, exp=far), **options)
    for older in (age, age + 1, 1e9):
        assert refused(good(NOW, iat=NOW - older, nbf=NOW - older, exp=far), **options) == "expired_credentials"


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
def test_a_time_before_all_times(name: str) -> None:
    token = good(NOW, **{name: -1e15})
    if name == "nbf":
        accepted(token)
    else:
        assert refused(token, refresh_jwt=False) == "expired_credentials"


@pytest.mark.rule("S10")
@pytest.mark.parametrize("value", [1e308, 10**18, 2**63, 1e17])
def test_a_huge_end_is_no_error(value: float) -> None:
    assert Decisions().authenticate(good(NOW, exp=value)).is_authenticated
    # Nor where the session's own end is taken from it; a date that does not exist is refused.
    token = sign(header(), {**claims(NOW, exp=value), CLAIM: {"id": "sess_1"}})
    assert refused(token) == "jwt_session"


ISSUERS: list[object] = [
    ISSUER + "/",
    ISSUER[:-1],
    ISSUER + "0",
    "x" + ISSUER,
    ISSUER.upper(),
    "https://" + ISSUER,
    ISSUER.rsplit("/", maxsplit=1)[0],
    ISSUER.replace("/", "//"),
    ISSUER + " ",
    ISSUER + "\0",
    ISSUER.replace(".", "\u3002"),
    "",
    [ISSUER],
    [[ISSUER]],
    {"iss": ISSUER},
    {ISSUER: True},
    None,
    True,
    1,
]


@pytest.mark.rule("S11", "jwt")
@pytest.mark.parametrize("issuer", ISSUERS, ids=repr)
def test_the_issuer_is_equal_or_wrong(issuer: object) -> None:
    assert refused(good(NOW, iss=issuer)) == "jwt_issuer"
    assert refused(good(NOW, iss=issuer), jwt_issuer=["another/app", ISSUER]) == "jwt_issuer"


@pytest.mark.rule("S11")
def test_several_issuers_can_be_configured() -> None:
    accepted(good(NOW), jwt_issuer=f"another/app,{ISSUER}")
    assert refused(good(NOW), jwt_issuer=["another/app"]) == "jwt_issuer"


AUDIENCES: list[object] = ["app", "our-app2", "our", "OUR-APP", "", [], ["app"], [["our-app"]], ["our-app", 1]]


@pytest.mark.rule("S11")
@pytest.mark.parametrize(
    "audience", [*AUDIENCES, {"our-app": 1}, None, 7, True, ["our-app", None], "our-app "], ids=repr
)
def test_a_configured_audience_must_be_there(audience: object) -> None:
    assert refused(good(NOW, aud=audience), jwt_audience="our-app") == "jwt_audience"


@pytest.mark.rule("S11")
def test_audiences_that_are_ours() -> None:
    for audience in ("our-app", ["our-app"], ["another", "our-app"]):
        accepted(good(NOW, aud=audience), jwt_audience=["first", "our-app"])
    assert refused(good(NOW), jwt_audience="our-app") == "jwt_audience"
    accepted(good(NOW, aud="anything"))


SUBJECTS: list[object] = [
    "",
    None,
    0,
    1,
    True,
    [],
    ["user_1"],
    {"id": "user_1"},
    "u" * 257,
    "a\r\nb",
    "a\0",
    "\u202e",
]


@pytest.mark.rule("S12")
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda value: repr(value)[:20])
def test_the_subject_is_a_bounded_text(subject: object) -> None:
    assert refused(good(NOW, sub=subject)) == "jwt_subject"


@pytest.mark.rule("S12")
def test_the_subject_and_the_inner_user() -> None:
    for inner in ("user_1", "1", "somebody-else"):
        auth = accepted(good(NOW, session={"user_id": inner}))
        assert auth.user is not None
        assert auth.user.id == "user_1"
    accepted(good(NOW), strict_subject=True)
    for wrong in ("1", "somebody-else", None, ""):
        reason = refused(good(NOW, session={"user_id": wrong}), strict_subject=True)
        assert reason in ("jwt_subject", "jwt_session")
    bare = {**claims(NOW), CLAIM: {"id": "sess_1"}}
    assert accepted(sign(header(), bare)).is_authenticated
    assert refused(sign(header(), bare), strict_subject=True) == "jwt_subject"


@pytest.mark.rule("S10", "S13")
def test_a_jwt_that_is_not_yet_valid_is_not_refreshed() -> None:
    assert refused(good(NOW, exp=NOW - 100, nbf=NOW + 100)) == "jwt_not_yet_valid"


@pytest.mark.rule("S7")
def test_the_key_must_be_in_the_set() -> None:
    token = sign(header(kid="another"), claims(NOW), "another")
    assert refused(token) == "jwt_unknown_key"
    accepted(token, jwks=key_set("jwk_test", "another"))
    assert refused(token, jwks={"keys": [public_jwk(), public_jwk(kid="another")]}) == "jwt_signature"


@pytest.mark.rule("S13", "jwt")
def test_nothing_but_age_leads_to_a_call() -> None:
    """A JWT that is stale and wrong in anything else is refused without one."""
    old = NOW - 1000
    for wrong in (
        {"iss": "else"},
        {"sub": ""},
        {"session": {"id": ""}},
        {"session": {"deleted": True}},
        {"jti": 1},
    ):
        refused(good(old, **wrong))
    refused(sign(header(), claims(old), "foreign"))
    decisions = Decisions()
    decisions.answer = lambda _: replied(503)
    assert decisions.authenticate(good(old)).is_unavailable
    assert decisions.calls("sessions/verify") == 1
