"""What a reply of Stytch's API means, from its bytes to a result or an error; and what is asked."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import (
    AuthorizationCheck,
    ExpiredCredentials,
    InvalidCredentials,
    MoonKeyError,
    NotFound,
    PermissionDenied,
    ProviderError,
    ProviderRejectedKey,
    ProviderUnavailable,
    RequestRefused,
    Stytch,
)
from moonkey_core._plan import Done, Fetch, Plan, Reply, TransportError, step
from moonkey_core._provider import IntrospectionRequest, IntrospectionResult
from support.any_json import JSON as ANY
from support.stytch_tokens import (
    PROJECT,
    SECRET,
    SESSION,
    TOKEN,
    USER,
    at,
    factor,
    impersonated,
    jwt,
    refusal,
    reply,
    session,
    user,
)

PROVIDER = Stytch(PROJECT, SECRET)
CHECK = AuthorizationCheck("documents", "write")


def of(body: object, status: int = 200) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {"content-type": "application/json"}, data, asked_at=time.time())


def played(plan: Plan[Any], *replies: Reply | TransportError) -> tuple[Any, list[Fetch]]:
    """The result of a plan whose calls get these replies, and the calls."""
    fetches: list[Fetch] = []
    found = step(plan, None)
    for one in replies:
        assert isinstance(found, Fetch)
        fetches.append(found)
        found = step(plan, one)
    assert isinstance(found, Done), f"one call more: {found}"
    return found.value, fetches


def request(kind: Any = "session_token", value: str = TOKEN, **more: Any) -> IntrospectionRequest:
    return IntrospectionRequest(kind, value, b"digest", **more)


def judged(*replies: Reply, **more: Any) -> IntrospectionResult:
    result, _ = played(PROVIDER.introspect(request(**more)), *replies)
    assert isinstance(result, IntrospectionResult)
    return result


def refused(*replies: Reply, **more: Any) -> MoonKeyError:
    with pytest.raises(MoonKeyError) as caught:
        judged(*replies, **more)
    shown = f"{caught.value} {caught.value!r}"
    assert TOKEN not in shown
    assert SECRET not in shown
    return caught.value


class TestTheCall:
    def test_has_basic_authorization_and_exactly_one_credential(self) -> None:
        for kind, value in (("session_token", TOKEN), ("session_jwt", jwt(time.time()))):
            _, (fetch,) = played(PROVIDER.introspect(request(kind, value)), of(reply(time.time())))
            assert (fetch.method, fetch.url) == ("POST", "https://test.stytch.com/v1/sessions/authenticate")
            assert fetch.json == {kind: value}
            assert fetch.authorization is not None
            pair = base64.b64encode(f"{PROJECT}:{SECRET}".encode()).decode()
            assert fetch.authorization.header() == f"Basic {pair}"
            assert SECRET not in repr(fetch)
            assert fetch.coalesce_key is not None

    @pytest.mark.parametrize(
        ("more", "members"),
        [
            ({"minutes": 60}, {"session_duration_minutes": 60}),
            ({"extension": 60}, {"session_duration_minutes": 60}),
            (
                {"minutes": 5, "custom_claims": {"plan": "pro", "old": None}},
                {"session_duration_minutes": 5, "session_custom_claims": {"plan": "pro", "old": None}},
            ),
            (
                {"authorization_check": CHECK},
                {"authorization_check": {"resource_id": "documents", "action": "write"}},
            ),
            ({"max_staleness": 0.0}, {}),
        ],
    )
    def test_that_changes_or_asks_more_is_made_alone(self, more: dict[str, Any], members: dict[str, Any]) -> None:
        good = reply(time.time(), verdict={"authorized": True, "granting_roles": ["stytch_user"]})
        _, (fetch,) = played(PROVIDER.introspect(request(**more)), of(good))
        assert fetch.json == {"session_token": TOKEN, **members}
        assert fetch.coalesce_key is None
        assert fetch.store_policy is None


class TestASuccess:
    def test_is_read(self) -> None:
        now = time.time()
        found = judged(of(reply(now)))
        assert (found.session_id, found.user_id, found.scope) == (SESSION, USER, f"stytch:{PROJECT}")
        assert (found.started_at, found.ends_at) == (int(now - 600), int(now + 3600))
        verified = PROVIDER.verified_session(found, USER)
        assert (verified.session_token, verified.session_jwt) == (TOKEN, found.body["session_jwt"])
        person = verified.user
        assert (person.email, person.phone_number) == ("ada@example.test", "+14155550100")
        assert (person.first_name, person.last_name, person.status) == ("Ada", "Lovelace", "active")
        assert person.complete
        assert person.created_at is not None
        assert person.extra["is_locked"] is False
        assert verified.session.roles == ("stytch_user",)

    def test_is_remembered_without_credentials(self) -> None:
        found = judged(of(reply(time.time(), session=session(time.time(), custom_claims={"secret": "sauce"}))))
        kept = PROVIDER.without_credentials(found.body)
        assert TOKEN.encode() not in kept
        assert b"eyJ" not in kept
        assert PROVIDER.user(kept) == PROVIDER.user(found.body)
        assert PROVIDER.session(kept) == PROVIDER.session(found.body)
        assert PROVIDER.session(kept).claims["secret"] == "sauce"  # the app's own word

    def test_has_a_new_jwt_only_where_one_is_of_use(self) -> None:
        now = time.time()
        assert judged(of(reply(now))).fresh_jwt is None
        for wish in ({"refresh": True}, {"wants_jwt": True}):
            assert judged(of(reply(now)), **wish).fresh_jwt is not None

    def test_names_who_impersonates_the_user(self) -> None:
        now = time.time()
        found = judged(of(reply(now, session=session(now, authentication_factors=[impersonated(now)]))))
        assert found.actor == "member-of-the-dashboard"
        assert PROVIDER.session(found.body).factors == ()

    def test_may_lack_what_an_older_service_does_not_send(self) -> None:
        now = time.time()
        for lacking in (
            {"user": ...},
            {"session_token": ...},
            {"session_jwt": ""},
            {"session": session(now, roles=..., attributes=None, custom_claims=None)},
        ):
            assert judged(of(reply(now, **lacking))).session_id == SESSION

    @pytest.mark.parametrize(
        ("changes", "more"),
        [
            ({"session_token": f"{TOKEN}x"}, {}),
            ({"session": {"session_id": "session-test-other"}}, {"session_id": SESSION}),
            (
                {"session": {"user_id": "user-test-other"}, "user": {"user_id": "user-test-other"}},
                {"user_ids": (USER,)},
            ),
            ({"user": {"user_id": "user-test-other"}}, {}),
        ],
    )
    def test_about_another_credential_session_or_user_is_trouble(
        self, changes: dict[str, Any], more: dict[str, Any]
    ) -> None:
        body = reply(time.time())
        for name, change in changes.items():
            body[name] = {**body[name], **change} if isinstance(change, dict) else change
        assert refused(of(body), **more).reason == "api_mismatch"

    @pytest.mark.parametrize(
        "changes",
        [
            {"status_code": 404},
            {"status_code": "200"},
            {"error_type": "session_not_found"},
            {"session": ...},
            {"session": None},
            {"session": []},
            {"user": "ada"},
            {"user": {"user_id": ""}},
            {"session_token": 7},
            {"session_token": "a b"},
            {"session_jwt": "a\r\nb"},
        ],
    )
    def test_that_contradicts_itself_is_trouble(self, changes: dict[str, Any]) -> None:
        assert refused(of(reply(time.time(), **changes))).reason == "api_content"

    @pytest.mark.parametrize(
        "changes",
        [
            {"session_id": ...},
            {"session_id": 7},
            {"user_id": ""},
            {"expires_at": ...},
            {"expires_at": None},
            {"expires_at": "2999"},
            {"expires_at": 4_000_000_000},
            {"started_at": "x"},
            {"started_at": "2999-01-01T00:00:00Z"},
            {"authentication_factors": {}},
            {"authentication_factors": [{"type": "impersonated"}]},
            {"custom_claims": []},
            {"roles": [None]},
        ],
    )
    def test_with_a_session_that_cannot_be_read_is_trouble(self, changes: dict[str, Any]) -> None:
        now = time.time()
        assert refused(of(reply(now, session=session(now, **changes)))).reason == "api_content"

    def test_about_a_session_that_is_over_is_no_success(self) -> None:
        now = time.time()
        over = reply(now, session=session(now, started_at=at(now - 9000), expires_at=at(now - 60)))
        error = refused(of(over))
        assert isinstance(error, ExpiredCredentials)
        assert (error.session_id, error.session_is_over) == (SESSION, True)


REFUSALS: list[tuple[int, str, type[MoonKeyError], str]] = [
    (404, "session_not_found", InvalidCredentials, "session_unknown"),
    (401, "unauthorized_credentials", ProviderRejectedKey, "provider_rejected_key"),
    (401, "unauthorized_credentials_homepage", ProviderRejectedKey, "provider_rejected_key"),
    (401, "unauthorized_credentials_error", ProviderRejectedKey, "provider_rejected_key"),
    (401, "attribute_mismatch", InvalidCredentials, "session_refused"),
    (401, "insufficient_factors", InvalidCredentials, "session_refused"),
    (401, "cname_required_for_http_only_cookies", ProviderRejectedKey, "provider_refused"),
    (401, "cname_invalid_for_http_only_cookies", ProviderRejectedKey, "provider_refused"),
    (403, "use_https", ProviderRejectedKey, "provider_refused"),
    (403, "session_authorization_error", ProviderUnavailable, "api_status"),
    (400, "too_many_session_arguments", ProviderRejectedKey, "provider_refused"),
    (400, "no_session_arguments", ProviderRejectedKey, "provider_refused"),
    (400, "invalid_session_token", InvalidCredentials, "session_refused"),
    (400, "invalid_session_id", InvalidCredentials, "session_refused"),
    (400, "unable_to_parse_session_jwt", InvalidCredentials, "session_refused"),
    (400, "jwt_invalid_audience", InvalidCredentials, "session_refused"),
    (400, "jwt_invalid_issuer", InvalidCredentials, "session_refused"),
    (400, "jwt_invalid_claims", InvalidCredentials, "session_refused"),
    (401, "jwt_invalid_claims", InvalidCredentials, "session_refused"),
    (400, "something_new", ProviderUnavailable, "api_status"),
    (404, "something_new", ProviderUnavailable, "api_status"),
    (402, "billing_not_verified", ProviderUnavailable, "api_status"),
    (429, "too_many_requests", ProviderUnavailable, "api_rate_limited"),
    (500, "internal_server_error", ProviderUnavailable, "api_status"),
    (503, "session_not_found", ProviderUnavailable, "api_status"),
    (429, "session_not_found", ProviderUnavailable, "api_rate_limited"),
    (409, "session_not_found", ProviderUnavailable, "api_status"),
]


@pytest.mark.parametrize(("status", "error_type", "kind", "reason"), REFUSALS)
def test_a_refusal_is_known_by_its_type(
    status: int, error_type: str, kind: type[MoonKeyError], reason: str
) -> None:
    error = refused(of(refusal(status, error_type, f"No, {TOKEN} and {SECRET}."), status))
    assert (type(error), error.reason) == (kind, reason)
    is_over = isinstance(error, InvalidCredentials) and error.session_is_over
    assert is_over is (error_type == "session_not_found" and reason == "session_unknown")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Not found</html>",
        b"null",
        b"[]",
        b'"session_not_found"',
        refusal(404, None),
        {**refusal(404, "session_not_found"), "status_code": 400},
        {**refusal(404, "session_not_found"), "status_code": "404"},
        {**refusal(404, "session_not_found"), "session": {"session_id": SESSION}},
        {**refusal(404, "session_not_found"), "session_token": TOKEN},
        {**refusal(404, "session_not_found"), "user": {"user_id": USER}},
        {**refusal(404, "session_not_found"), "error_type": ["session_not_found"]},
        {**refusal(404, "session_not_found"), "error_message": 7},
        {"error": {"code": "session_not_found"}},
        b'{"error_type":"session_not_found","error_type":"session_not_found"}',
    ],
)
def test_a_refusal_of_another_form_is_trouble(body: Any) -> None:
    error = refused(of(body, 404))
    assert isinstance(error, ProviderUnavailable)
    assert error.reason == "api_status"


def test_the_names_of_oauth_are_read_too() -> None:
    body = {"status_code": 401, "request_id": "r", "error": "unauthorized_credentials", "error_description": "No."}
    assert isinstance(refused(of(body, 401)), ProviderRejectedKey)


def test_no_reply_is_trouble() -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        played(PROVIDER.introspect(request()), TransportError("timeout"))
    assert caught.value.reason == "api_timeout"


MEMBERS = st.sampled_from([*reply(0.0), *session(0.0), "error_type", "status_code", "verdict", "error"])


@given(st.dictionaries(MEMBERS, ANY, max_size=6), st.sampled_from([200, 201, 204, 400, 401, 403, 404, 429, 500]))
def test_whatever_comes_is_a_result_for_us_or_an_error(changes: dict[str, Any], status: int) -> None:
    now = time.time()
    body = reply(now)
    for name, value in changes.items():
        (body["session"] if name in session(0.0) and isinstance(body["session"], dict) else body)[name] = value
    try:
        found = judged(of(body, status))
    except (InvalidCredentials, ProviderError) as error:
        over = isinstance(error, InvalidCredentials) and error.session_is_over
        if over and status >= 300:
            pytest.fail("a session is called over without a word about it")
        return
    assert 200 <= status < 300
    assert found.ends_at > now - 6
    assert found.session_id == body["session"]["session_id"]
    assert found.user_id == body["session"]["user_id"] == (body["user"] or {"user_id": found.user_id})["user_id"]
    assert body["session_token"] in (None, "", TOKEN)
    PROVIDER.session(PROVIDER.without_credentials(found.body))
    PROVIDER.user(PROVIDER.without_credentials(found.body))


@given(st.binary(max_size=60) | ANY, st.sampled_from([200, 400, 401, 404, 500]))
def test_no_other_body_is_a_result(body: Any, status: int) -> None:
    with pytest.raises(ProviderError):
        judged(of(body, status))


class TestAChange:
    def test_that_is_refused_is_known_from_a_dead_session(self) -> None:
        now = time.time()
        for error_type, reason in (
            ("invalid_session_duration_minutes", "duration_refused"),
            ("something_new", "request_refused"),
        ):
            found = judged(of(refusal(400, error_type), 400), of(reply(now)), minutes=9)
            assert isinstance(found.extension_error, RequestRefused)
            assert found.extension_error.reason == reason
        error = refused(
            of(refusal(400, "something_new"), 400), of(refusal(404, "session_not_found"), 404), minutes=9
        )
        assert error.reason == "session_unknown"

    def test_of_a_dead_session_is_not_asked_twice(self) -> None:
        assert refused(of(refusal(404, "session_not_found"), 404), minutes=9).reason == "session_unknown"


class TestAPermission:
    def test_is_denied_by_the_type_of_the_refusal(self) -> None:
        for error_type in ("session_authorization_error", "consumer_session_authorization_error"):
            assert isinstance(
                refused(of(refusal(403, error_type), 403), authorization_check=CHECK), PermissionDenied
            )

    def test_is_granted_by_a_verdict_only(self) -> None:
        now = time.time()
        granted = {"authorized": True, "granting_roles": ["stytch_user"]}
        assert judged(of(reply(now, verdict=granted)), authorization_check=CHECK).session_id == SESSION
        denied = of(reply(now, verdict={"authorized": False, "granting_roles": []}))
        assert isinstance(refused(denied, authorization_check=CHECK), PermissionDenied)
        odd: Any
        for odd in (None, {}, [], "true", {"authorized": "true"}, {"authorized": 1}):
            assert refused(of(reply(now, verdict=odd)), authorization_check=CHECK).reason == "api_content"


class TestOtherCalls:
    def test_list(self) -> None:
        now = time.time()
        body = {"status_code": 200, "request_id": "r", "sessions": [session(now), session(now, session_id="s-2")]}
        found, (fetch,) = played(PROVIDER.list_sessions("user test/1&x=y"), of({**body, "sessions": []}))
        assert found == ()
        assert fetch.url == "https://test.stytch.com/v1/sessions?user_id=user%20test%2F1%26x%3Dy"
        found, _ = played(PROVIDER.list_sessions(USER), of(body))
        assert [one.id for one in found] == [SESSION, "s-2"]

    @pytest.mark.parametrize("sessions", [None, {}, "x", [None], [{}], [session(0.0, expires_at=None)]])
    def test_a_list_that_cannot_be_read_is_trouble(self, sessions: object) -> None:
        with pytest.raises(ProviderUnavailable):
            played(PROVIDER.list_sessions(USER), of({"status_code": 200, "sessions": sessions}))

    def test_a_list_of_another_user_is_trouble(self) -> None:
        listed = [session(time.time(), user_id="user-test-other")]
        with pytest.raises(ProviderUnavailable) as caught:
            played(PROVIDER.list_sessions(USER), of({"status_code": 200, "sessions": listed}))
        assert caught.value.reason == "api_mismatch"

    @pytest.mark.parametrize("kind", ["session_id", "session_token", "session_jwt"])
    def test_revoke(self, kind: Any) -> None:
        _, (fetch,) = played(PROVIDER.revoke(kind, "value-1"), of({"status_code": 200, "request_id": "r"}))
        assert (fetch.url, fetch.json) == ("https://test.stytch.com/v1/sessions/revoke", {kind: "value-1"})
        assert fetch.revokes
        played(PROVIDER.revoke(kind, "value-1"), of(refusal(404, "session_not_found"), 404))

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (200, b""),
            (200, b"<html>"),
            (200, {"status_code": 500}),
            (200, refusal(404, "session_not_found")),
            (404, b"<html>"),
            (404, refusal(404, "something_new")),
            (401, refusal(401, "unauthorized_credentials")),
            (500, refusal(500, "internal_server_error")),
        ],
    )
    def test_what_does_not_confirm_an_end_raises(self, status: int, body: Any) -> None:
        with pytest.raises(MoonKeyError):
            played(PROVIDER.revoke("session_id", SESSION), of(body, status))

    def test_get_user(self) -> None:
        body = {"status_code": 200, "request_id": "r", **user()}
        found, (fetch,) = played(PROVIDER.get_user(USER), of(body))
        assert fetch.url == f"https://test.stytch.com/v1/users/{USER}"
        assert (found.id, found.email) == (USER, "ada@example.test")
        assert "request_id" not in found.extra

    def test_get_user_of_another_one_is_trouble(self) -> None:
        odd: dict[str, Any]
        for odd in (user(user_id="user-test-other"), {}, user(created_at=7)):
            with pytest.raises(ProviderUnavailable):
                played(PROVIDER.get_user(USER), of({"status_code": 200, **odd}))

    def test_get_user_who_does_not_exist(self) -> None:
        for error_type, is_gone in (("user_not_found", True), ("something_new", False)):
            with pytest.raises(NotFound) as caught:
                played(PROVIDER.get_user(USER), of(refusal(404, error_type), 404))
            assert caught.value.is_gone is is_gone


def test_an_unknown_factor_is_kept() -> None:
    now = time.time()
    new = factor(now, "telepathy", "thought", brain_factor={"id": "b-1", "wave": 7})
    (found,) = PROVIDER.session(
        judged(of(reply(now, session=session(now, authentication_factors=[new])))).body
    ).factors
    assert (found.type, found.delivery_channel, found.method_type, found.method_id) == (
        "telepathy",
        "thought",
        "brain",
        "b-1",
    )
    assert found.extra["brain_factor"]["wave"] == 7
