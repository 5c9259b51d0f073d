"""What each status means for each call that the API answers with an error (rules S19 and S20).

The tables are written out: a status that moves from one meaning to another has to be moved here, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from moonkey_core import (
    InvalidCredentials,
    MoonKeyError,
    NotFound,
    ProviderRejectedKey,
    ProviderUnavailable,
    RequestRefused,
)
from moonkey_core._operations import logins
from moonkey_core._operations import sessions as operations
from moonkey_core._operations.core import Core
from moonkey_core._plan import Fetch, Outcome, RevokingPlan, run
from support.clients import Both
from support.decisions import NOW, Decisions, replied, verified_body
from support.odd_jwts import good
from support.patience import PATIENT
from support.scripted import Received, reply, scripted

TOKEN = "session_" + "t" * 40
CODE = "some_error"

Verdict = type[MoonKeyError] | None

GONE: dict[int, Verdict] = {404: NotFound, 410: NotFound}
MISTAKE: dict[int, Verdict] = dict.fromkeys(
    (400, 405, 406, 409, 411, 412, 413, 415, 422, 423, 451), RequestRefused
)
OURS: dict[int, Verdict] = dict.fromkeys((401, 402, 403), ProviderRejectedKey)
TROUBLE: dict[int, Verdict] = dict.fromkeys(
    (202, 204, 206, 301, 302, 303, 304, 307, 308, 408, 425, 429, 500, 501, 502, 503, 504, 520), ProviderUnavailable
)

OF_A_QUESTION = {**GONE, **MISTAKE, **OURS, **TROUBLE}
"""Where nothing but the question itself can be wrong: lists, users, sendings."""

OF_A_CREDENTIAL: dict[int, Verdict] = {
    **dict.fromkeys((400, 401, 404, 410), InvalidCredentials),
    **dict.fromkeys((402, 403, 409), ProviderRejectedKey),
    **dict.fromkeys((405, 406, 411, 412, 413, 415, 422, 423, 451), ProviderUnavailable),
    **TROUBLE,
}

OF_A_PROOF: dict[int, Verdict] = {
    **dict.fromkeys((400, 401, 404, 410), InvalidCredentials),
    **dict.fromkeys((402, 403), ProviderRejectedKey),
    # Such a code says nothing of the proof, nor does the status.
    **dict.fromkeys((405, 406, 409, 411, 412, 413, 415, 422, 423, 451), RequestRefused),
    **TROUBLE,
}

OF_AN_END: dict[int, Verdict] = {
    **dict.fromkeys((401, 404, 408, 410, 425, 429), ProviderUnavailable),
    **dict.fromkeys((402, 403), ProviderRejectedKey),
    **dict.fromkeys((400, 405, 406, 409, 411, 412, 413, 415, 422, 423, 451), RequestRefused),
    **{status: verdict for status, verdict in TROUBLE.items() if status >= 300},
}

Call = Callable[[Core], RevokingPlan[Any]]
ASKED: dict[str, tuple[Call, dict[int, Verdict]]] = {
    "sessions.verify, a token": (lambda core: operations.verify(core, session_token=TOKEN), OF_A_CREDENTIAL),
    "sessions.verify, an old JWT": (
        lambda core: operations.verify(core, session_jwt=good(NOW - 400)),
        OF_A_CREDENTIAL,
    ),
    "sessions.list": (lambda core: operations.list_sessions(core, "user_1"), OF_A_QUESTION),
    "users.get": (lambda core: operations.get_user(core, "user_1"), OF_A_QUESTION),
    "otps.send": (lambda core: logins.send_otp(core, email="me@example.com"), OF_A_QUESTION),
    "otps.login_or_create": (lambda core: logins.login_or_create(core, phone_number="+1"), OF_A_QUESTION),
    "otps.verify": (lambda core: logins.verify_otp(core, "123456", method_id="em_1"), OF_A_PROOF),
    "magic_links.verify": (lambda core: logins.verify_magic_link(core, "t"), OF_A_PROOF),
    "oauth.verify": (lambda core: logins.verify_oauth(core, token="t"), OF_A_PROOF),
    "totps.verify": (lambda core: logins.verify_totp(core, "123456", user_id="user_1"), OF_A_PROOF),
    "wallets.verify": (
        lambda core: logins.verify_wallet(core, wallet_type="e", public_address="0x1", signature="0x2"),
        OF_A_PROOF,
    ),
    "sessions.revoke": (lambda core: operations.revoke(core, session_id="sess_1"), OF_AN_END),
}
ROWS = [(name, status) for name, (_, table) in ASKED.items() for status in table]
SHAPES: dict[str, Callable[[int], dict[str, Any]]] = {
    "flat": lambda status: {"status_code": status, "error_type": CODE, "error_message": "no"},
    "nested": lambda _: {"error": {"code": CODE, "message": "no"}},
}


def answering(status: int, body: object) -> Decisions:
    """Decisions of an app whose key is good; every call but the one about the key gets this answer."""

    def say(fetch: Fetch) -> Outcome:
        probe = fetch.operation == "key-probe"
        return replied(404, {"error_type": "user_not_found"}) if probe else replied(status, body)

    decisions = Decisions()
    decisions.answer = say
    return decisions


def raised(decisions: Decisions, call: Call) -> MoonKeyError | None:
    try:
        run(call(decisions.core), decisions.exchange)
    except MoonKeyError as error:
        return error
    return None


@pytest.mark.parametrize(("name", "status"), ROWS)
def test_a_status_has_one_meaning_for_a_call(name: str, status: int) -> None:
    call, table = ASKED[name]
    for shape in SHAPES.values():
        error = raised(answering(status, shape(status)), call)
        assert type(error) is table[status]
        if isinstance(error, InvalidCredentials):
            assert error.reason in ("session_refused", "login_refused")
            assert not error.session_is_over
        elif isinstance(error, ProviderRejectedKey):
            assert error.reason == ("provider_rejected_key" if status == 403 else "provider_refused")
        elif isinstance(error, ProviderUnavailable):
            reasons = {429: "api_rate_limited", **dict.fromkeys((202, 204, 206), "api_content")}
            assert error.reason == reasons.get(status, "api_status")


@pytest.mark.long
@pytest.mark.parametrize("name", ASKED)
def test_what_is_no_json_error_is_trouble(name: str) -> None:
    call, table = ASKED[name]
    for status in table:
        for body in (b"<html>", {"message": "no"}, {"error": "no"}, {"error": [CODE]}):
            if status not in (401, 403):
                assert type(raised(answering(status, body), call)) is ProviderUnavailable, (status, body)


DEAD = {400: True, 401: True, 403: True, 404: True, 410: True, 422: True}
"""The statuses under which the code of a dead session is certain; under any other it contradicts its status."""


@pytest.mark.parametrize("status", [one for one in OF_A_CREDENTIAL if one not in (204, 304)])
@pytest.mark.parametrize("which", ["sessions.verify, a token", "sessions.verify, an old JWT"])
def test_the_code_of_a_dead_session(which: str, status: int) -> None:
    error = raised(answering(status, {"error_type": "invalid_session"}), ASKED[which][0])
    if DEAD.get(status):
        assert isinstance(error, InvalidCredentials)
        assert (error.reason, error.session_is_over) == ("session_unknown", True)
    else:
        assert type(error) is ProviderUnavailable


@pytest.mark.parametrize("status", [one for one in OF_A_CREDENTIAL if one not in (204, 304)])
def test_the_same_of_the_call_that_ends_it(status: int) -> None:
    error = raised(answering(status, {"error_type": "invalid_session"}), ASKED["sessions.revoke"][0])
    assert error is None if DEAD.get(status) else type(error) is ProviderUnavailable


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 409, 410, 411, 412, 415, 418, 422, 451, 499])
def test_an_extension_that_is_refused_is_asked_about_again(status: int) -> None:
    """But after a 401, which may be about our key."""
    decisions = Decisions()

    def say(fetch: Fetch) -> Outcome:
        if fetch.operation == "key-probe":
            return replied(404, {"error_type": "user_not_found"})
        extends = "session_expires_in" in (fetch.json or {})
        return replied(status, {"error_type": CODE}) if extends else replied(200, verified_body())

    decisions.answer = say
    error = raised(decisions, lambda core: operations.verify(core, session_token=TOKEN, extend=60))
    if status == 401:
        assert isinstance(error, InvalidCredentials)
        assert decisions.calls("verify") == 1
    else:
        assert isinstance(error, RequestRefused)
        assert error.reason == "duration_refused"
        assert decisions.calls("verify") == 2


PROBES: dict[int, Verdict] = {
    **dict.fromkeys((400, 404), InvalidCredentials),
    **dict.fromkeys((401, 403), ProviderRejectedKey),
    **dict.fromkeys((402, 405, 408, 409, 410, 418, 422, 425, 429, 451, 500, 502, 503), ProviderUnavailable),
    **dict.fromkeys((200, 201, 202, 204, 301, 302, 304), ProviderUnavailable),
}


@pytest.mark.parametrize("status", PROBES)
@pytest.mark.parametrize("name", [name for name, (_, table) in ASKED.items() if table is OF_A_CREDENTIAL])
def test_what_the_answer_about_our_own_key_says(name: str, status: int) -> None:
    decisions = Decisions()
    body = {"status_code": status, "error_type": "user_not_found"} if status >= 400 else {"user_id": "user_1"}
    decisions.answer = lambda fetch: replied(401) if fetch.operation != "key-probe" else replied(status, body)
    assert type(raised(decisions, ASKED[name][0])) is PROBES[status]


SPEAKS = ("error", "errors", "error_type", "session", "user")


@pytest.mark.parametrize("member", SPEAKS)
def test_a_401_with_what_cannot_be_read_is_trouble(member: str) -> None:
    """Such a member makes it an answer of its own, of an unknown shape: the key is not asked about."""
    values: tuple[Any, ...] = (None, 1, [], {}, True)
    for value in values:
        decisions = answering(401, {member: value, "message": "Unauthorized"})
        assert type(raised(decisions, ASKED["sessions.verify, a token"][0])) is ProviderUnavailable, value
        assert decisions.calls("/users/") == 0


def test_a_401_with_other_members_is_asked_about() -> None:
    decisions = answering(401, {"message": "Unauthorized"})
    assert type(raised(decisions, ASKED["sessions.verify, a token"][0])) is InvalidCredentials
    assert decisions.calls("/users/") == 1


FULL: tuple[Any, ...] = ("x", 1, {"a": 1}, ["x"], True)
NOTHING: tuple[Any, ...] = (None, "", 0, False, [], {})
WORDS = (b"ok", b"okay", b"accepted", b"deleted", b"done", b"success")
OTHER_WORDS = (b"no", b"error", b"okey", b"not deleted", b"accepted?", b"failed", b"unavailable", b"ok ok")
SAY_NO: dict[str, object] = {
    **{f"{name} {value!r}": {name: value} for value in FULL
       for name in ("error", "errors", "error_type", "error_code", "error_message")},
    **{f"{name} false": {name: False} for name in ("success", "ok", "deleted", "revoked")},
    **{f"status {status}": {"status_code": status} for status in (400, 401, 404, 422, 500)},
}  # fmt: skip
SAY_YES: dict[str, object] = {
    **{f"{name} true": {name: True} for name in ("success", "ok", "deleted", "revoked")},
    **{f"{name} {value!r}": {name: value} for value in NOTHING
       for name in ("error", "errors", "error_type", "error_code", "error_message")},
    **{f"status {status}": {"status_code": status} for status in (200, 204, 399)},
}  # fmt: skip


def ended(status: int, body: object) -> Verdict:
    error = raised(answering(status, body), ASKED["sessions.revoke"][0])
    return None if error is None else type(error)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
class TestHowAnEndIsSaid:
    def test_in_a_word(self, status: int) -> None:
        for word in WORDS:
            for spelled in (word, word.upper(), word.title(), word + b".", word + b"!", b" " + word + b"\r\n"):
                assert ended(status, spelled) is None, spelled
        for word in OTHER_WORDS:
            assert ended(status, word) is ProviderUnavailable, word

    def test_by_nothing_or_by_json(self, status: int) -> None:
        for body in (b"", b" \n", b"{}", b"[]", b"null", b"true", b"1", b'"ok"', b'"sess_1"'):
            assert ended(status, body) is None, body
        for body in (b"false", b"{", b"<html>", b"{}{}", b'1, "x": 2', b"\xff"):
            assert ended(status, body) is ProviderUnavailable, body

    @pytest.mark.parametrize(
        ("bodies", "verdict"), [(SAY_NO, ProviderUnavailable), (SAY_YES, None)], ids=["no", "yes"]
    )
    def test_by_the_members_of_an_answer(self, status: int, bodies: dict[str, object], verdict: Verdict) -> None:
        for name, body in bodies.items():
            assert ended(status, body) is verdict, name


class TestThatItIsGoneAlready:
    @pytest.mark.parametrize("status", [400, 404, 410])
    def test_by_a_status_alone(self, status: int) -> None:
        assert ended(status, {"error": {"message": "no"}}) is None

    @pytest.mark.parametrize("status", [401, 402, 403, 405, 409, 422])
    def test_another_status_alone_says_no_such_thing(self, status: int) -> None:
        assert ended(status, {"error": {"message": "no"}}) is not None

    @pytest.mark.parametrize("status", [400, 401, 404, 410])
    def test_by_a_code(self, status: int) -> None:
        of_a_session = (
            *("invalid", "not_found", "notfound", "unknown", "expired", "revoked", "deleted", "ended", "missing"),
            "inactive",
        )
        whole = ("bad_request", "gone", "not_found", "unauthorized")
        for code in (
            *whole,
            *(f"session_{word}" for word in of_a_session),
            *(f"{w}_session" for w in of_a_session),
        ):
            assert ended(status, {"error_type": code}) is None, code
        assert ended(status, {"error_type": "SessionNotFound"}) is None

    @pytest.mark.parametrize("status", [402, 403, 405, 409, 412, 422])
    def test_under_another_status_no_code_but_the_one_says_it(self, status: int) -> None:
        for code in ("not_found", "gone", "session_not_found", "session_expired"):
            assert ended(status, {"error_type": code}) is not None, code

    @pytest.mark.parametrize("status", [400, 401, 404, 410])
    def test_nor_do_other_codes(self, status: int) -> None:
        for code in (
            "maintenance",
            "app_not_found",
            "route_not_found",
            "user_not_found",
            "session",
            "not_found_x",
        ):
            assert ended(status, {"error_type": code}) is not None, code


METHODS: dict[str, tuple[str, dict[str, Any], dict[int, Verdict]]] = {
    "verify": ("sessions.verify", {"session_token": TOKEN}, OF_A_CREDENTIAL),
    "list": ("sessions.list", {"user_id": "user_1"}, OF_A_QUESTION),
    "get": ("users.get", {"user_id": "user_1"}, OF_A_QUESTION),
    "send": ("otps.send", {"email": "me@example.com"}, OF_A_QUESTION),
    "login": ("otps.login_or_create", {"email": "me@example.com"}, OF_A_QUESTION),
    "otp": ("otps.verify", {"code": "123456", "method_id": "em_1"}, OF_A_PROOF),
    "link": ("magic_links.verify", {"token": "t"}, OF_A_PROOF),
    "oauth": ("oauth.verify", {"code": "t"}, OF_A_PROOF),
    "totp": ("totps.verify", {"code": "123456", "user_id": "user_1"}, OF_A_PROOF),
    "wallet": ("wallets.verify", {"wallet_type": "e", "public_address": "0", "signature": "0"}, OF_A_PROOF),
    "revoke": ("sessions.revoke", {"session_id": "sess_1"}, OF_AN_END),
}


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("name", METHODS)
def test_the_methods_of_both_clients(name: str, kind: str) -> None:
    method, arguments, table = METHODS[name]
    for status in (400, 402, 403, 404, 409, 410, 422):

        def script(request: Received, status: int = status) -> bytes:
            return reply(status, {"error_type": CODE})

        with scripted(script) as server:
            both = Both(kind, {"secret_key": "sk_test_x", "base_url": server.url, **PATIENT})
            expected = table[status]
            assert expected is not None
            with pytest.raises(expected) as caught:
                both(method, **arguments)
            assert type(caught.value) is expected, status
            both.close()
            assert len(server.received) == 1
