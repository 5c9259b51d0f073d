"""Whatever a server replies, a token is accepted only by a reply that says so in every respect."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core._plan import Done, Reply, step
from moonkey_core._provider import IntrospectionRequest, IntrospectionResult
from moonkey_core.errors import InvalidCredentials, ProviderError
from moonkey_core.providers.introspection.provider import Introspection
from support.any_json import JSON as ANY
from support.authorization_server import API, ISSUER, about

TOKEN = "the-opaque-token"
PROVIDER = Introspection(
    "https://id.example/introspect", issuer=ISSUER, audience=API, client_id="api", client_secret="hidden-secret"
)
HEADERS = {"content-type": "application/json"}


def judged(reply: Reply, **request: Any) -> IntrospectionResult:
    plan = PROVIDER.introspect(IntrospectionRequest("session_token", TOKEN, b"digest", **request))
    next(plan)
    found = step(plan, reply)
    assert isinstance(found, Done)
    return found.value


def is_for_us(body: Any) -> bool:
    """The rules once more, as plainly as can be: what no accepted reply may lack."""
    audience = body.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    now = time.time()
    return (
        body.get("active") is True
        and body.get("iss") in (None, ISSUER)
        and API in audiences
        and isinstance(body.get("sub"), str)
        and body["sub"] not in (body.get("client_id"), body.get("azp"))
        and (body.get("token_type") or "bearer").lower() == "bearer"
        and body.get("cnf") is None
        and body["exp"] + 6 > now
        and (body.get("nbf") or 0) < now + 6
        and (body.get("iat") or 0) < now + 6
        and body["exp"] - (body.get("iat") or now) <= 86_406
    )


MEMBERS = sorted(
    [*about(), "azp", "cnf", "jti", "nbf", "nonce", "typ", "token_use", "username", "act", "auth_time"]
)
TIMES = st.integers(0, 100_000).map(lambda ago: int(time.time()) + 50_000 - ago)
LIKELY = st.sampled_from(
    [
        None,
        "Bearer",
        "bearer",
        "DPoP",
        "refresh_token",
        ISSUER,
        f"{ISSUER}/",
        API,
        [API],
        [API, "x"],
        ["x"],
        "web",
        "ada",
        "",
    ]
)
CHANGE = st.tuples(st.sampled_from(MEMBERS), st.one_of(LIKELY, TIMES, ANY))
CHANGED = st.lists(CHANGE, max_size=2).map(dict)


@given(CHANGED, st.sets(st.sampled_from(MEMBERS), max_size=1))
def test_no_change_to_a_good_reply_widens_it(changes: dict[str, Any], left_out: set[str]) -> None:
    body = {name: value for name, value in about(**changes).items() if name not in left_out}
    refusal = None
    try:
        result = judged(Reply(200, HEADERS, json.dumps(body).encode()))
    except (InvalidCredentials, ProviderError) as error:
        refusal = error
    if refusal is not None:
        assert TOKEN not in str(refusal)
        assert refusal.status in (401, 503)
        return
    assert is_for_us(body)
    assert result.user_id == body["sub"]
    assert result.scope == ISSUER
    PROVIDER.user(result.body)
    PROVIDER.session(result.body)


@given(ANY)
def test_other_json_is_no_answer(body: Any) -> None:
    if isinstance(body, dict) and body.get("active") is False:
        return
    with pytest.raises((InvalidCredentials, ProviderError)):
        judged(Reply(200, HEADERS, json.dumps(body).encode()))


@given(
    st.binary(max_size=200), st.integers(100, 599), st.dictionaries(st.just("content-type"), st.text(max_size=20))
)
def test_other_bytes_are_no_answer(body: bytes, status: int, headers: dict[str, str]) -> None:
    with pytest.raises(ProviderError):
        judged(Reply(status, headers, body))


@given(st.integers(100, 599).filter(lambda status: status != 200), st.booleans())
def test_no_other_status_says_anything_of_a_token(status: int, active: bool) -> None:
    with pytest.raises(ProviderError):
        judged(Reply(status, HEADERS, json.dumps(about(active=active)).encode()))


def test_a_reply_that_repeats_the_token_is_stored_without_it() -> None:
    body = about(
        token=TOKEN, access_token="x", echo=f"got {TOKEN}", deep={"a": ["b", TOKEN]}, client_secret="x", name="Ada"
    )
    kept = judged(Reply(200, HEADERS, json.dumps(body).encode()))
    assert not {"token", "access_token", "echo", "deep", "client_secret"} & set(kept.body)
    assert TOKEN not in json.dumps(dict(kept.body))
    assert kept.body["name"] == "Ada"


def test_a_token_that_is_its_own_id_is_no_name_of_its_session() -> None:
    result = judged(Reply(200, HEADERS, json.dumps(about(sid=..., jti=TOKEN)).encode()))
    assert TOKEN not in result.session_id
    assert TOKEN not in json.dumps(dict(result.body))


@pytest.mark.parametrize("against", [{"cnf": {"jkt": TOKEN}}, {"iss": TOKEN}, {"aud": TOKEN}, {"nonce": TOKEN}])
def test_what_repeats_the_token_still_speaks_against_it(against: dict[str, Any]) -> None:
    with pytest.raises(InvalidCredentials):
        judged(Reply(200, HEADERS, json.dumps(about(**against)).encode()))


class TestTheStore:
    def test_keeps_a_good_reply_without_credentials_and_reads_it_again(self) -> None:
        request = IntrospectionRequest("session_token", TOKEN, b"digest", store_name="name", store_ttl=30.0)
        plan = PROVIDER.introspect(request)
        policy = next(plan).store_policy
        assert policy is not None
        assert (policy.name, policy.max_age) == ("name", 30.0)
        body = json.dumps(about(token=TOKEN)).encode()
        kept = policy.clean(body)
        assert TOKEN.encode() not in kept
        asked_at = time.time() - 20
        found = step(plan, Reply(200, {}, kept, asked_at, from_store=True))
        assert isinstance(found, Done)
        assert (found.value.user_id, found.value.asked_at) == ("ada", asked_at)

    @pytest.mark.parametrize("body", [{"active": False}, about(aud="other"), about(exp=1), {"active": "true"}, []])
    def test_keeps_nothing_else(self, body: Any) -> None:
        request = IntrospectionRequest("session_token", TOKEN, b"digest", store_name="name", store_ttl=30.0)
        policy = next(PROVIDER.introspect(request)).store_policy
        assert policy is not None
        with pytest.raises(ValueError, match="not a good reply"):
            policy.clean(json.dumps(body).encode())

    def test_what_has_expired_there_is_asked_for_anew(self) -> None:
        request = IntrospectionRequest("session_token", TOKEN, b"digest", store_name="name", store_ttl=30.0)
        plan = PROVIDER.introspect(request)
        next(plan)
        stale = json.dumps(about(exp=int(time.time()) - 60)).encode()
        again = step(plan, Reply(200, {}, stale, time.time() - 20, from_store=True))
        assert not isinstance(again, Done)
        assert again.store_policy is None
        assert again.coalesce_key is None
