"""What an answer of the API may bring about: only one that is certain ends anything (rules S19, S20 and S45)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from moonkey_core import Auth, InvalidCredentials, NotFound, ProviderUnavailable, RequestRefused
from moonkey_core._operations.arguments import given
from moonkey_core._plan import Fetch, Outcome, Reply, run
from moonkey_core._session_life.watch_policy import WatchedSession
from moonkey_core._sign_in_steps import LoginContext
from moonkey_core._transport.replies import is_reusable
from moonkey_core.gate import Requirements
from support.cookie_visits import FRESH, JWT, NEW, OLD, SESSION, TOKEN, UNKNOWN, set_after, visit
from support.decisions import NOW, replied, verified_body
from support.odd_jwts import good
from support.scripted_api import KnownToTheApi
from support.watched_sessions import identity

FLAT = {"status_code": 404, "error_type": "invalid_session", "error_message": "no"}
NESTED = {"error": {"code": "invalid_session", "message": "Session not found or has expired"}}
SESSION_BODY = verified_body()["session"]


def session(**changes: Any) -> dict[str, Any]:
    return verified_body(session=changes)


def good_with(**members: Any) -> dict[str, Any]:
    return verified_body(session_token=TOKEN, session_jwt=NEW, **members)


NEITHER: list[Any] = ["false", "true", "", 0, 1, 0.0, {}, [], [True], {"at": 1}]
NO_TIMES: list[Any] = ["", "0", "1800000000", True, False, [], {}, -1]
NO_ANSWERS: list[Any] = ["true", 1, "", []]
NO_ANSWERS_EITHER: list[Any] = ["false", 0, "", {}]
AT_ONCE: dict[str, dict[str, Any]] = {
    "a nested error": NESTED,
    "a flat error": {"error_type": "invalid_session"},
    "an error in words": {"error": "invalid_session"},
    "an error that is a number": {"error": 1},
    "a message of an error": {"error_message": "no"},
    "errors": {"errors": [{"code": "invalid_session"}]},
    "the status of a refusal": {"status_code": 401},
    "a status in words": {"status_code": "200"},
    "no success": {"success": False},
    "no success in words": {"success": "false"},
    "a failure": {"status": "Error"},
    "another name of the status": {"statusCode": 401},
    "a status that is a number": {"status": 404},
    "the code alone": {"code": "invalid_session"},
    "a code that is a status": {"code": 503},
    "a gateway's error": {"errorType": "unauthorized", "errorMessage": "no"},
    "an end": {"deleted": True},
    "an end in other words": {"revoked": True},
    "no validity": {"valid": False},
    "no authentication": {"authenticated": False},
}

UNREADABLE: dict[str, Outcome] = {
    **{f"deleted {value!r}": replied(200, session(deleted=value)) for value in NEITHER},
    **{f"deleted_at {value!r}": replied(200, session(deleted_at=value)) for value in NO_TIMES},
    "deleted and not deleted": replied(200, session(deleted=False, deleted_at=int(NOW) - 60)),
    "deleted in a year": replied(200, session(deleted_at=int(NOW) + 365 * 86_400)),
    "revoked in other words": replied(200, session(status="Revoked")),
    "not active": replied(200, session(active=False)),
    "revoked at": replied(200, session(revoked_at=int(NOW) - 60)),
    "revoked and not deleted": replied(200, session(deleted=False, revoked=True)),
    "not deleted, with another end": replied(200, session(deleted=False, deleted_at=0, status="expired")),
    **{f"revoked {value!r}": replied(200, session(revoked=value)) for value in NO_ANSWERS},
    **{f"active {value!r}": replied(200, session(active=value)) for value in NO_ANSWERS_EITHER},
    "over before it began": replied(200, session(started_at=int(NOW) - 60, expires_at=3600)),
    **{f"a good answer with {name}": replied(200, good_with(**also)) for name, also in AT_ONCE.items()},
    "an error and no session": replied(200, {"session": None, **NESTED}),
    "a flat error alone": replied(200, FLAT),
    "created, with an error": replied(201, {**good_with(), **NESTED}),
    "a session in words": replied(200, {"session": "sess_1"}),
    "a list of sessions": replied(200, {"session": [SESSION_BODY]}),
    "a user of nothing": replied(200, verified_body(user=[])),
    "a user that is false": replied(200, verified_body(user=False)),
    "factors that are false": replied(200, session(factors=False)),
    "no content": replied(204),
    "a redirect": replied(302, NESTED),
    "not modified": replied(304),
    **{
        f"the code under {status}": replied(status, NESTED)
        for status in (402, 405, 408, 409, 425, 429, 451, 500, 503)
    },
    "the flat code under 429": replied(429, {**FLAT, "status_code": 429}),
    "the code beside a session": replied(404, {**good_with(), **NESTED}),
    "the code beside a user": replied(404, {"user": {"id": "user_1"}, **NESTED}),
    "the code in both shapes": replied(404, {**NESTED, "error_type": "maintenance"}),
    "the code with the status of trouble": replied(404, {**FLAT, "status_code": 503}),
    "the code with a good status": replied(404, {**FLAT, "status_code": 200}),
    "the code with a message that is none": replied(404, {"error": {"code": "invalid_session", "message": 7}}),
    "a code that is none": replied(404, {"error": {"code": 7, "message": "invalid_session"}}),
    "an uncoded 401 beside a session": replied(401, good_with()),
    "an error in words under 401": replied(401, {"error": "Unauthorized"}),
}

NOT_CERTAIN: dict[str, Outcome] = {
    "an empty 401": replied(401, b""),
    "a 401 of nothing": replied(401, {}),
    "a gateway's 401": replied(401, {"message": "Unauthorized"}),
    "a coded 401": replied(401, {"error_type": "unauthorized"}),
    **{
        f"{code} under {status}": replied(status, {"status_code": status, "error_type": code})
        for code in ("maintenance", "app_not_found", "route_not_found", "not_found", "bad_request")
        for status in (400, 404, 410)
    },
    "no code": replied(404, {"error": {"message": "Session not found"}}),
    "almost the code": replied(404, {"error_type": "Invalid_Session"}),
}

CERTAIN: dict[str, Outcome] = {
    "nested": replied(404, NESTED),
    "flat": replied(401, {"error_type": "invalid_session"}),
    "deleted": replied(200, session(deleted=True)),
    "deleted at": replied(200, session(deleted_at=int(NOW) - 60)),
    "past its end": replied(200, session(expires_at=int(NOW) - 60)),
}


class Visited(KnownToTheApi):
    """A browser's requests; the API answers what it is told to about a session that was good."""

    def __init__(self, **options: Any) -> None:
        super().__init__([TOKEN, FRESH], cookies=True, **options)
        self.good[TOKEN] = {"session_token": TOKEN, "session_jwt": NEW}
        self.verdict: Outcome | None = None
        self.answer = self.say

    def say(self, fetch: Fetch) -> Outcome:
        if self.verdict is not None and "sessions/verify" in fetch.url:
            return self.verdict
        if fetch.operation == "key-probe":
            return replied(404, {"error_type": "user_not_found"})
        return self.by_heart(fetch)

    def ask_anew(self, jwt: str | None) -> Auth:
        return visit(self, jwt=jwt, requirements=Requirements(max_staleness=0))

    @property
    def revoked(self) -> bool:
        return self.core.revocations.refuses("sess_1", "user_1", NOW - 100)


def nothing_follows(decisions: Visited, auth: Auth, jwt: str | None) -> None:
    assert not auth.is_authenticated
    assert set_after(decisions, auth) == {}
    assert not decisions.revoked
    bound = WatchedSession(identity(), NOW, can_verify=True)
    bound.record(auth, NOW)
    assert not bound.is_revoked
    decisions.verdict = None
    assert decisions.ask_anew(jwt).is_authenticated  # it was not remembered


@pytest.mark.rule("S19")
@pytest.mark.parametrize("jwt", [None, FRESH, OLD], ids=["token", "pair", "old pair"])
@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_cannot_be_read_is_trouble(answer: Outcome, jwt: str | None) -> None:
    decisions = Visited()
    assert visit(decisions, jwt=FRESH).is_authenticated
    decisions.verdict = answer
    auth = decisions.ask_anew(jwt)
    assert isinstance(auth.error, ProviderUnavailable)
    assert auth.error.status == 503
    nothing_follows(decisions, auth, jwt)


@pytest.mark.rule("S19")
@pytest.mark.rule("S20", "S45", "pair")
@pytest.mark.parametrize("jwt", [None, FRESH, OLD], ids=["token", "pair", "old pair"])
@pytest.mark.parametrize("answer", NOT_CERTAIN.values(), ids=NOT_CERTAIN.keys())
def test_what_is_not_certain_takes_nothing_away(answer: Outcome, jwt: str | None) -> None:
    decisions = Visited()
    assert visit(decisions, jwt=FRESH).is_authenticated
    decisions.verdict = answer
    auth = decisions.ask_anew(jwt)
    assert isinstance(auth.error, InvalidCredentials)
    assert (auth.error.reason, auth.error.session_is_over) == ("session_refused", False)
    nothing_follows(decisions, auth, jwt)


@pytest.mark.rule("S19", "S45")
@pytest.mark.parametrize("answer", CERTAIN.values(), ids=CERTAIN.keys())
def test_what_is_certain_ends_it(answer: Outcome) -> None:
    decisions = Visited()
    assert decisions.authenticate(FRESH).is_authenticated
    decisions.verdict = answer
    auth = decisions.ask_anew(None)
    assert isinstance(auth.error, InvalidCredentials)
    assert auth.error.session_is_over
    assert set_after(decisions, auth) == {SESSION: "", JWT: ""}
    assert decisions.authenticate(FRESH, max_staleness=0).is_rejected
    assert decisions.revoked  # a JWT that was still good by itself
    bound = WatchedSession(identity(), NOW, can_verify=True)
    bound.record(auth, NOW)
    assert bound.is_revoked


@pytest.mark.rule("S19", "S20", "token", "jwt")
@pytest.mark.parametrize("answer", [*UNREADABLE.values(), *NOT_CERTAIN.values()])
@pytest.mark.parametrize("credential", [TOKEN, FRESH], ids=["token", "jwt"])
def test_the_same_of_a_credential_in_a_header(answer: Outcome, credential: str) -> None:
    decisions = Visited()
    decisions.verdict = answer
    auth = decisions.authenticate(credential, max_staleness=0)
    assert auth.is_unavailable or (auth.error is not None and auth.error.reason == "session_refused")
    nothing_follows(decisions, auth, None)


@pytest.mark.rule("S19")
@pytest.mark.parametrize("answer", [one for one in UNREADABLE.values() if isinstance(one, Reply)])
def test_what_cannot_be_read_is_neither_shared_nor_stored(answer: Reply) -> None:
    decisions = Visited(session_cache_ttl=60)
    decisions.core.introspector._store_name = lambda _: "place"
    plan, fetch = decisions.begin(TOKEN)
    plan.close()
    assert fetch.store_policy is not None
    if answer.status == 200:  # nothing else is put there
        with pytest.raises(ValueError, match=r".*"):
            fetch.store_policy.clean(answer.body)
    plan, fetch = Visited().begin(good(NOW - 400))
    plan.close()
    assert fetch.ttl > 0
    assert not is_reusable(fetch, answer)


@pytest.mark.rule("S19")
@pytest.mark.parametrize(
    "members", [{"active": True, "revoked": False, "status": "active"}, {"active": 1, "revoked": 0}]
)
def test_other_words_for_a_session_that_goes_on(members: dict[str, Any]) -> None:
    decisions = Visited()
    decisions.verdict = replied(
        200, {**session(**members), "success": True, "status": "ok", "code": 200, "error": None}
    )
    assert decisions.ask_anew(None).is_authenticated


def test_a_jwt_that_was_just_replaced_ends_no_session() -> None:
    decisions = Visited()
    assert decisions.authenticate(FRESH).is_authenticated
    known = decisions.core.cache
    known.mark_superseded(known.digest(FRESH))
    decisions.verdict = CERTAIN["nested"]
    auth = decisions.authenticate(FRESH, max_staleness=0)
    assert auth.error is not None
    assert auth.error.reason == "token_replaced"
    assert not decisions.revoked


@pytest.mark.rule("S19")
@pytest.mark.parametrize(
    "kept",
    [session(expires_at=int(NOW) - 60), session(id="sess_2", user_id="user_2", expires_at=int(NOW) - 60), {}],
    ids=["its former end", "another session", "nothing of use"],
)
def test_what_the_store_keeps_refuses_nothing(kept: dict[str, Any]) -> None:
    """The session may have been extended since."""
    decisions = Visited(session_cache_ttl=60)
    decisions.core.introspector._store_name = lambda _: "place"
    stored = Reply(200, {}, json.dumps(kept).encode(), asked_at=NOW - 30, from_store=True)
    decisions.answer = lambda fetch: decisions.by_heart(fetch) if fetch.store_policy is None else stored
    auth = visit(decisions)
    assert auth.is_authenticated
    assert SESSION not in set_after(decisions, auth)
    decisions.now += 3600
    decisions.good[TOKEN]["session"] = {"expires_at": int(NOW) + 60}
    assert visit(decisions).is_rejected  # that is what the API says itself


def test_a_jwt_too_old_to_be_renewed_is_not_the_end_of_its_session() -> None:
    auth = Visited(refresh_jwt=False).authenticate(good(NOW - 400))
    assert isinstance(auth.error, InvalidCredentials)
    assert auth.error.reason == "expired_credentials"
    assert not auth.error.session_is_over


@pytest.mark.rule("S19", "S23")
def test_another_sessions_end_is_not_ours() -> None:
    decisions = Visited()
    decisions.verdict = replied(200, session(id="sess_2", deleted=True))
    auth = decisions.ask_anew(FRESH)
    assert auth.is_unavailable
    assert not decisions.revoked


@pytest.mark.parametrize("code", ["user_not_found", "app_not_found", "route_not_found", None])
def test_a_user_that_cannot_be_had(code: str | None) -> None:
    decisions = Visited(load_user=True)
    body = {"error": {"message": "no"}} if code is None else {"error_type": code}
    decisions.answer = lambda fetch: replied(404, body) if "/users/" in fetch.url else decisions.by_heart(fetch)
    auth = visit(decisions, jwt=FRESH)
    assert auth.is_rejected
    assert set_after(decisions, auth) == ({SESSION: "", JWT: ""} if code == "user_not_found" else {})


@pytest.mark.parametrize("deleted", ["false", 0, 1, {}])
def test_an_item_of_a_list_that_cannot_be_read(deleted: object) -> None:
    decisions = Visited()
    item = {**SESSION_BODY, "deleted": deleted}
    decisions.answer = lambda _: replied(200, {"sessions": [SESSION_BODY, item]})
    with pytest.raises(ProviderUnavailable):
        run(decisions.core.able_to("list_sessions").list_sessions("user_1"), decisions.exchange)


@pytest.mark.parametrize(
    "members",
    [{"error_type": "x"}, {"session": {**SESSION_BODY, "deleted": True}}, {"session": []}, {"user": []}],
    ids=["error", "deleted", "list", "user"],
)
def test_a_login_that_cannot_be_read(members: dict[str, Any]) -> None:
    decisions = Visited()
    body = {"user_id": "user_1", "session": SESSION_BODY, "session_token": TOKEN, **members}
    decisions.answer = lambda _: replied(200, body)
    steps = decisions.core.able_to("sign_in")
    with pytest.raises(ProviderUnavailable):
        run(steps.verify_otp(code="123456", method_id="email_1", context=LoginContext()), decisions.exchange)


@pytest.mark.rule("S20")
class TestLengths:
    """A length that is refused says nothing of the session."""

    def refusing(self, *statuses: int, code: str = "invalid_parameter") -> Visited:
        decisions = Visited(extend_on_activity=60 * 86_400)
        decisions.good[TOKEN] = {"session": {"started_at": int(NOW) - 3600}, "session_token": TOKEN}

        def say(fetch: Fetch) -> Outcome:
            asked = "session_expires_in" in (fetch.json or {})
            return replied(statuses[0], {"error_type": code}) if asked else decisions.by_heart(fetch)

        decisions.answer = say
        return decisions

    def extend(self, decisions: Visited, token: str) -> object:
        plan = decisions.core.authenticator.verify(given("session_token", token), 86_400)
        return run(plan, decisions.exchange)

    @pytest.mark.parametrize("status", [400, 403, 404, 409, 402, 422])
    def test_a_good_session_is_good(self, status: int) -> None:
        decisions = self.refusing(status)
        with pytest.raises(RequestRefused, match="invalid_parameter") as caught:
            self.extend(decisions, TOKEN)
        assert (caught.value.reason, caught.value.status) == ("duration_refused", 400)
        assert not isinstance(caught.value, NotFound)
        assert decisions.authenticate(TOKEN).is_authenticated

    def test_a_dead_one_is_dead(self) -> None:
        with pytest.raises(InvalidCredentials) as caught:
            self.extend(self.refusing(400), UNKNOWN)
        assert caught.value.reason == "session_unknown"
        decisions = self.refusing(404, code="invalid_session")
        with pytest.raises(InvalidCredentials):
            self.extend(decisions, TOKEN)
        assert decisions.asked == 1  # the code says it: nothing is asked twice

    def test_it_is_trouble_where_that_is_trouble(self) -> None:
        decisions = self.refusing(503)
        with pytest.raises(ProviderUnavailable):
            self.extend(decisions, TOKEN)

    @pytest.mark.parametrize("jwt", [None, FRESH, good(NOW - 400, session={"started_at": int(NOW) - 3600})])
    def test_activity_is_served_and_the_setting_named_once(
        self, jwt: str | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        decisions = self.refusing(400)
        for _ in range(50):
            decisions.now += 30
            auth = visit(decisions, jwt=jwt if decisions.now < NOW + 100 else None)
            assert auth.is_authenticated
            assert set_after(decisions, auth).get(SESSION, TOKEN) == TOKEN
        lines = [one for one in caplog.records if getattr(one, "reason", None) == "extension_refused"]
        assert len(lines) == 1
        assert "extend_on_activity" in lines[0].getMessage()
        assert "invalid_parameter" in lines[0].getMessage()
        assert sum("session_expires_in" in (fetch.json or {}) for fetch in decisions.fetches) <= 26  # one a minute
