"""What a reply is: the provider's judge says so, and sharing, the circuit breaker and the key set follow it."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from moonkey_core._plan import Fetch, Reply, ReplyClass, TransportError
from moonkey_core._provider import KeySource
from moonkey_core._secret import Secret
from moonkey_core._transport.exchange import SyncExchange
from moonkey_core._transport.replies import comes_from_service, is_reusable, judge
from moonkey_core.errors import MoonKeyError
from moonkey_core.providers.introspection import replies as introspection
from moonkey_core.providers.moonkey import replies as moonkey
from moonkey_core.settings import Settings
from support.decisions import replied
from support.foreign_tokens import ISSUER, ForeignDecisions, provider, token
from support.patience import PATIENCE
from support.scripted import reply, scripted

OK = {"anything": 1}
FLAT = {"status_code": 400, "error_type": "bad_request", "error_message": "no"}
OAUTH = {"error": "invalid_client"}
PAGE = b"<html>"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        *((status, OK, "success") for status in (200, 201, 202, 299)),
        *((status, body, "trouble") for status in (200, 204) for body in (b"", PAGE, b"[]", b"{")),
        *((status, OK, "refusal") for status in (400, 401, 403, 404, 409, 422, 451)),
        *((status, body, "trouble") for status in (400, 403, 404) for body in (b"", PAGE)),
        (401, b"", "refusal"),
        (401, PAGE, "trouble"),
        *((status, OK, "trouble") for status in (302, 408, 425, 429, 500, 503)),
    ],
)
def test_the_neutral_judge_looks_at_the_form(status: int, body: Any, expected: ReplyClass) -> None:
    assert judge(replied(status, body)) == expected


@pytest.mark.parametrize(
    ("by", "status", "body", "expected"),
    [
        (moonkey.judge, 200, OK, "success"),
        (moonkey.judge, 200, {"error": {"code": "x"}}, "trouble"),
        (moonkey.judge, 202, OK, "trouble"),
        (moonkey.judge, 400, FLAT, "refusal"),
        (moonkey.judge, 400, OK, "trouble"),
        (moonkey.judge, 401, b"", "refusal"),
        (moonkey.judge, 403, b"", "trouble"),
        (moonkey.judge, 429, {**FLAT, "status_code": 429}, "trouble"),
        (moonkey.judge_keys, 403, b"", "refusal"),
        (moonkey.judge_keys, 404, b"", "trouble"),
        (introspection.judge_introspection, 200, {"active": False}, "success"),
        (introspection.judge_introspection, 200, OK, "trouble"),
        (introspection.judge_introspection, 401, OAUTH, "refusal"),
        (introspection.judge_introspection, 401, PAGE, "trouble"),
        (introspection.judge_introspection, 400, FLAT, "trouble"),
        (introspection.judge_introspection, 503, {"error": "server_error"}, "trouble"),
        (introspection.judge_revocation, 200, b"", "success"),
        (introspection.judge_revocation, 204, b"", "success"),
        (introspection.judge_revocation, 400, {"error": "unsupported_token_type"}, "refusal"),
        (introspection.judge_revocation, 403, PAGE, "trouble"),
    ],
)
def test_each_provider_knows_its_own_forms(
    by: Callable[[Reply], ReplyClass], status: int, body: Any, expected: ReplyClass
) -> None:
    assert by(replied(status, body, content_type="application/json")) == expected


@pytest.mark.parametrize("word", ["success", "refusal", "trouble"])
def test_what_is_shared_follows_the_judge_of_the_call(word: ReplyClass) -> None:
    fetch = Fetch("GET", "https://api.example.com/", ttl=5, judge=lambda _: word)
    assert is_reusable(fetch, replied(503, PAGE)) is (word != "trouble")
    assert not is_reusable(fetch, TransportError("timeout"))
    once = Fetch("GET", "https://api.example.com/", ttl=5, reuse_refusals=False, judge=lambda _: word)
    assert is_reusable(once, replied(400, FLAT)) is (word == "success")


def test_an_object_in_a_good_reply_ends_an_outage_whatever_it_says() -> None:
    strict = Fetch("GET", "https://api.example.com/", judge=lambda _: "trouble")
    assert comes_from_service(strict, replied(200, OK))
    assert not comes_from_service(strict, replied(200, PAGE))
    assert not comes_from_service(strict, replied(400, FLAT))


@pytest.mark.parametrize(("word", "state"), [("refusal", "closed"), ("trouble", "open")])
def test_the_circuit_breaker_follows_it_too(word: ReplyClass, state: str) -> None:
    with scripted(reply(400, PAGE)) as server:
        settings = Settings.load({"secret_key": "sk_test_" + "J" * 30, "base_url": server.url})
        exchange = SyncExchange(settings)
        for _ in range(5):
            exchange.breaker.count(TransportError("connect"), lambda _: True)
        exchange.breaker._next_probe[True] = 0.0
        fetch = Fetch("GET", server.url + "/x", judge=lambda _: word, priority=True)
        exchange(fetch, time.monotonic() + PATIENCE)
        assert exchange.breaker.state == state
        exchange.close()


@pytest.mark.rule("S14")
@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", [b"", b"{}", json.dumps(OAUTH).encode(), json.dumps(FLAT).encode()])
def test_where_no_key_is_sent_none_can_be_refused(status: int, body: bytes) -> None:
    """A public key set behind a wall is trouble: nobody can do anything about it in this app's settings."""
    decisions = Refusing(KeySource(url="https://login.example.com/keys"), status, body)
    assert decisions.reason == "jwks_status"
    decisions = Refusing(KeySource(discovery=ISSUER), status, body)
    assert decisions.reason == "jwks_status"


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, "jwks_rejected_key"), ("refusal", "jwks_rejected_key"), ("trouble", "jwks_status")],
)
def test_where_one_is_sent_the_judge_of_the_keys_decides(given: ReplyClass | None, expected: str) -> None:
    source = KeySource(
        url="https://login.example.com/keys",
        authorization=Secret("Bearer x"),
        judge=None if given is None else lambda _: given,
    )
    assert Refusing(source, 403, b"{}").reason == expected


def test_a_refused_key_of_another_provider_is_told_in_its_own_words() -> None:
    source = KeySource(url="https://login.example.com/keys", authorization=Secret("Bearer x"))
    assert "MoonKey" not in str(Refusing(source, 401, b"").error)
    told = dataclasses.replace(source, rejected_key="Check ACME_KEY.")
    assert str(Refusing(told, 401, b"").error).startswith(
        "Check ACME_KEY. The key set at https://login.example.com"
    )


class Refusing(ForeignDecisions):
    """A provider whose key set is refused."""

    def __init__(self, source: KeySource, status: int, body: bytes) -> None:
        super().__init__(provider(source))
        self.answer = lambda _: replied(status, body)

    @property
    def error(self) -> MoonKeyError:
        error = self.read({"authorization": [f"Bearer {token()}"]}).error
        assert error is not None
        return error

    @property
    def reason(self) -> str:
        return self.error.reason
