"""What stands inside a good reply of the API, sound or not (rules S19 and S23)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import (
    ExpiredCredentials,
    RevokedCredentials,
)
from support.any_json import JSON
from support.api import TOKEN, Api, judged, unavailable
from support.decisions import NOW, replied, verified_body
from support.odd_jwts import good


@pytest.mark.rule("S19")
def test_a_good_answer() -> None:
    auth = judged(replied(200, verified_body(user={"id": "user_1", "email": "a@b.c"}, session_token=TOKEN)))
    assert auth.user is not None
    assert (auth.user.id, auth.user.email, auth.user.complete) == ("user_1", "a@b.c", True)
    assert auth.session is not None
    assert auth.session.id == "sess_1"
    assert judged(replied(201, verified_body())).is_authenticated


def session(**changes: Any) -> dict[str, Any]:
    return verified_body(session=changes)


HUGE = 10**400

WRONG: dict[str, object] = {
    "no session": {"user": {"id": "user_1"}, "session_token": TOKEN},
    "null session": {"session": None},
    "session as text": {"session": "sess_1"},
    "session as list": {"session": [verified_body()["session"]]},
    "empty session": {"session": {}},
    "no end": {"session": {"id": "sess_1", "user_id": "user_1"}},
    "no end but null": session(expires_at=None),
    "no end but zero": session(expires_at=0),
    "end as text": session(expires_at=str(int(NOW) + 1000)),
    "end as flag": session(expires_at=True),
    "huge end": session(expires_at=HUGE),
    "end in another age": session(expires_at=1e300),
    "huge start": session(started_at=HUGE),
    "no id": session(id=None),
    "empty id": session(id=""),
    "id as number": session(id=7),
    "endless id": session(id="s" * 300),
    "no user": session(user_id=None),
    "user as list": session(user_id=["user_1"]),
    "factors as text": session(factors="otp"),
    "device as text": session(device_info="phone"),
    "deeply nested": session(extra=json.loads("[" * 200 + "]" * 200)),
    "deletion time as text": session(deleted_at="soon"),
    "user as text": verified_body(user="user_1"),
    "user object as list": verified_body(user=[{"id": "user_1"}]),
    "user without id": verified_body(user={"email": "a@b.c"}),
    "another user": verified_body(user={"id": "user_2"}),
    "another token": verified_body(session_token=TOKEN + "x"),
    "token with line break": verified_body(session_token=TOKEN + "\r\nset-cookie: a=b"),
    "jwt with line break": verified_body(session_jwt="a.b.c\r\nset-cookie: a=b"),
    "jwt with a trailing line break": verified_body(session_jwt="a.b.c\n"),
    "jwt with odd letters": verified_body(session_jwt="a.b.é"),
    "jwt as object": verified_body(session_jwt={"a": 1}),
    "token as number": verified_body(session_token=7),
    "token as flag": verified_body(session_token=False),
    "endless jwt": verified_body(session_jwt="a" * 16_385),
}


@pytest.mark.rule("S19")
@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG.keys())
def test_a_good_status_with_something_wrong_inside_is_trouble(body: object) -> None:
    assert unavailable(judged(replied(200, body))) in ("api_content", "api_mismatch")


@pytest.mark.rule("S19")
def test_numbers_and_text_that_json_allows_twice() -> None:
    body = json.dumps(verified_body()).encode()
    for odd in (
        body.replace(b'"user_id"', b'"id": "sess_2", "user_id"'),
        body[:-1] + b', "session": null}',
        body[:-1] + b', "x": "\\ud800"}',
        body + b" {}",
        b"\xef\xbb\xbf" + body,
    ):
        unavailable(judged(replied(200, odd)))


@pytest.mark.rule("S19")
@pytest.mark.parametrize("deletion", [{"deleted": True}, {"deleted_at": int(NOW) - 9}])
def test_a_session_that_is_deleted(deletion: dict[str, Any]) -> None:
    assert isinstance(judged(replied(200, session(**deletion))).error, RevokedCredentials)


@pytest.mark.rule("S19")
def test_a_session_that_is_over() -> None:
    assert isinstance(judged(replied(200, session(expires_at=NOW - 5))).error, ExpiredCredentials)
    assert judged(replied(200, session(expires_at=NOW - 4.9))).is_authenticated


@pytest.mark.rule("S23")
def test_two_spellings_of_one_user() -> None:
    for inner in ("user_1", "1"):
        auth = judged(replied(200, verified_body(inner, user={"user_id": "user_1"})))
        assert auth.user is not None
        assert auth.user.id == "user_1"


def test_empty_texts_are_no_credentials() -> None:
    assert judged(replied(200, verified_body(session_token="", session_jwt=""))).is_authenticated


@pytest.mark.rule("S13", "S23", "jwt")
@pytest.mark.parametrize("issuer", ["", None], ids=["asked", "refreshed"])
def test_an_answer_about_another_session_or_user_than_the_jwt(issuer: str | None) -> None:
    options: dict[str, Any] = {} if issuer is None else {"jwt_issuer": issuer}
    token = good(NOW - 1000)
    for wrong in (session(id="sess_2"), verified_body("user_2"), verified_body("user_2", user={"id": "user_2"})):
        api = Api(replied(200, wrong), **options)
        auth = api.authenticate(token)
        if wrong["session"]["id"] == "sess_2" or issuer is None:
            assert unavailable(auth) == "api_mismatch"
    assert Api(replied(200, verified_body()), **options).authenticate(token).is_authenticated


@pytest.mark.long
@pytest.mark.rule("S19")
@given(
    changes=st.dictionaries(
        st.sampled_from(["id", "user_id", "expires_at", "factors", "deleted", "device_info"]), JSON
    )
)
def test_any_session_in_a_good_reply(changes: dict[str, Any]) -> None:
    auth = judged(replied(200, session(**changes)))
    if auth.user is not None and auth.session is not None:
        assert auth.user.id == auth.session.user_id == changes.get("user_id", "user_1")
        assert auth.session.expires_at.timestamp() > NOW - 5
