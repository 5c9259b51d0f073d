"""What counts as the id of a user or a session, wherever one comes in (rule S12)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import MoonKey
from moonkey_core.providers.moonkey.ids import bare_user_id, identifier
from moonkey_core.providers.moonkey.wire import parse_login, parse_otp_request, parse_session, parse_user
from moonkey_core.revocations import Revocations
from support.api import judged, unavailable
from support.decisions import NOW, Decisions, replied, verified_body
from support.judged import accepted, refused
from support.odd_jwts import good

REAL = [
    "user_24wFP9pDa9YiMJLun94iKykoZs2",
    "0a6aa9d3-2786-461c-950e-c4b9e00c826e",
    "auth0|5f7c8ec7c33c6c004bbafe82",
    "google-oauth2|103547991597142817347",
    "ada@example.com",
    "https://id.example/ada",
    "cn=Ada Lovelace,ou=people,dc=example",
    "123456789",
    "7",
    "Ådå",
    "阿达",
    "u" * 256,
]
ODD_BY_PREFIX = ["user_", "user_ 1"]
"""What is odd as it has the prefix of a user's id."""
ODD = [
    " ",
    "   ",
    "\t",
    "\n",
    "\r\n",
    "\u00a0",
    "\u2003",
    "\u3000",
    "\ufeff",
    "\u200b",
    "\u2800",
    "\u3164",
    "\u115f\u1160",
    " user_1",
    "user_1 ",
    "user_1\n",
    "user_1\u3164",
    "\u2800user_1",
    *ODD_BY_PREFIX,
    "user_ ",
    "user\u200b_1",
    "user\u202e_1",
    "user\x7f_1",
    "user\ud800_1",
    "u" * 257,
]


@pytest.mark.rule("S12")
@pytest.mark.parametrize("value", REAL)
def test_a_real_id(value: str) -> None:
    assert identifier(value) == value
    auth = accepted(good(NOW, sub=value, session={"user_id": value, "id": value}))
    assert auth.user is not None
    assert auth.session is not None
    assert (auth.user.id, auth.session.id) == (value, value)


@pytest.mark.rule("S12")
@pytest.mark.parametrize("value", ODD, ids=repr)
class TestAnOddOne:
    @pytest.mark.rule("S12", "jwt")
    def test_is_none_in_a_jwt(self, value: str) -> None:
        whole = "jwt_form" if "\ud800" in value else None  # such JSON is not read at all
        assert refused(good(NOW, sub=value)) == (whole or "jwt_subject")
        assert refused(good(NOW, session={"id": value})) == (whole or "jwt_session")
        assert refused(good(NOW, session={"user_id": value})) == (whole or "jwt_session")

    @pytest.mark.rule("S12", "token")
    def test_is_trouble_in_an_answer(self, value: str) -> None:
        bodies: list[dict[str, Any]] = [
            verified_body(value),
            verified_body(session={"id": value}),
            verified_body(user={"id": value}),
            verified_body(user={"user_id": value}),
        ]
        for body in bodies:
            assert unavailable(judged(replied(200, body))) == "api_content"

    def test_is_refused_by_every_reader(self, value: str) -> None:
        session = {"id": "sess_1", "user_id": "user_1", "expires_at": 4_000_000_000}
        readings: list[tuple[Any, dict[str, Any]]] = [
            (parse_session, {**session, "id": value}),
            (parse_session, {**session, "user_id": value}),
            (parse_user, {"user_id": value}),
            (parse_user, {"id": value}),
            (parse_login, {"user_id": value}),
            (parse_otp_request, {"method_id": value}),
            (parse_otp_request, {"method_id": "em_1", "user_id": value}),
        ]
        for reader, body in readings:
            with pytest.raises(ValueError, match="identifier"):
                reader(body)

    def test_is_told_to_who_passes_it(self, value: str) -> None:
        table = Revocations(retention=600, key_of_user=bare_user_id)
        with MoonKey("sk_test_1", base_url="http://127.0.0.1:1") as client:
            of_users = (
                lambda: client.users.get(value),
                lambda: client.sessions.list(value),
                lambda: client.sessions.revoke_all(value),
                lambda: table.add(user_id=value),
            )
            of_sessions = (
                lambda: client.sessions.revoke_all("user_1", keep=value),
                lambda: client.sessions.revoke(session_id=value),
                lambda: table.add(session_id=value),
            )
            for wrong in of_users if value in ODD_BY_PREFIX else (*of_users, *of_sessions):
                with pytest.raises(ValueError, match=r"_id|keep|identifier"):
                    wrong()


def test_a_code_may_have_spaces_around_it() -> None:
    """A code is no id: whether it is right is for the API to say."""
    decisions = Decisions()
    decisions.answer = lambda _: replied(400, {"error_type": "invalid_otp", "error_message": "no"})
    from moonkey_core._operations.logins import verify_otp

    plan = verify_otp(decisions.core, " 123456", method_id="em_1")
    assert next(plan).json == {"method_id": "em_1", "otp": " 123456"}
    plan.close()


@given(st.text())
def test_no_id_is_changed_by_what_takes_blanks_off(value: str) -> None:
    try:
        found = identifier(value)
    except ValueError:
        return
    assert found == value == value.strip() == value.strip("\0 \t\r\n")
    assert found.encode().decode() == found
    assert not any(character in found for character in "\r\n\t\0")
