"""The address of a key set is discovered at the first use, by the rules that hold for the key set itself."""

from __future__ import annotations

from typing import Any

import pytest

from moonkey_core import ProviderRejectedKey, ProviderUnavailable
from moonkey_core._plan import Fetch, Outcome, TransportError
from moonkey_core.provider import KeySource
from support.decisions import replied
from support.foreign_tokens import ISSUER, ForeignDecisions, jwks_body, provider, token

DOCUMENT = f"{ISSUER}/.well-known/openid-configuration"
KEYS = "https://keys.example.net/jwks.json"


class Discovering(ForeignDecisions):
    """A client that discovers its keys; ``document`` is what the issuer publishes."""

    def __init__(self, source: KeySource | None = None, **options: Any) -> None:
        super().__init__(provider(source or KeySource(discovery=ISSUER)), **options)
        self.document: Outcome = replied(200, {"issuer": ISSUER, "jwks_uri": KEYS})
        self.published: Outcome = replied(200, jwks_body("RS256"))
        self.answer = self.published_by

    def published_by(self, fetch: Fetch) -> Outcome:
        return self.document if "openid-configuration" in fetch.url else self.published

    def state(self, **changes: Any) -> Any:
        return self.read({"authorization": [f"Bearer {token(**changes)}"]})


def test_nothing_is_fetched_before_the_first_token() -> None:
    decisions = Discovering()
    assert decisions.fetches == []
    assert decisions.state(iss="https://elsewhere.example").is_rejected  # by its own key, which was fetched
    assert [fetch.url for fetch in decisions.fetches] == [DOCUMENT, KEYS]


def test_each_is_fetched_once_and_nothing_is_sent_along() -> None:
    decisions = Discovering()
    for number in range(5):
        assert decisions.state(jti=str(number)).is_authenticated
    assert [fetch.url for fetch in decisions.fetches] == [DOCUMENT, KEYS]
    assert all(fetch.authorization is None and fetch.headers is None for fetch in decisions.fetches)
    assert all(fetch.max_bytes <= 512 * 1024 for fetch in decisions.fetches)
    decisions.now += 500
    assert decisions.state(jti="later").is_authenticated  # and beside it the key set is fetched again
    assert [fetch.url for fetch in decisions.fetches] == [DOCUMENT, KEYS, KEYS]


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_issuer_is_compared_byte_for_byte(slash: str, caplog: pytest.LogCaptureFixture) -> None:
    issuer = f"{ISSUER}{slash}"
    decisions = Discovering(KeySource(discovery=issuer))
    decisions.document = replied(200, {"issuer": ISSUER, "jwks_uri": KEYS})
    auth = decisions.state()
    assert decisions.fetches[0].url == DOCUMENT
    if not slash:
        assert auth.is_authenticated
        return
    assert auth.is_unavailable
    assert isinstance(auth.error, ProviderRejectedKey)
    assert (auth.error.status, auth.error.reason) == (500, "discovery_issuer")
    (record,) = [one for one in caplog.records if one.levelname == "ERROR"]
    assert repr(ISSUER) in record.getMessage()
    assert repr(issuer) in record.getMessage()
    assert decisions.calls("keys.example.net") == 0


def test_another_issuer_in_the_document_where_that_is_configured() -> None:
    template = "https://login.example.com/{tenantid}/v2.0"
    decisions = Discovering(KeySource(discovery=ISSUER, discovered_issuer=template))
    decisions.document = replied(200, {"issuer": template, "jwks_uri": KEYS})
    assert decisions.state().is_authenticated


OUTAGES: dict[str, Outcome] = {
    "down": TransportError("connect", unsent=True),
    "too large": TransportError("too_large"),
    "status": replied(500, b""),
    "redirect": replied(302, {"issuer": ISSUER, "jwks_uri": KEYS}, location=KEYS),
    "page": replied(200, b"<html>"),
    "no issuer": replied(200, {"jwks_uri": KEYS}),
    "no keys": replied(200, {"issuer": ISSUER}),
    "plain http": replied(200, {"issuer": ISSUER, "jwks_uri": "http://keys.example.net/jwks.json"}),
    "plain loopback": replied(200, {"issuer": ISSUER, "jwks_uri": "http://127.0.0.1/jwks.json"}),
    "file": replied(200, {"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"}),
    "with a password": replied(200, {"issuer": ISSUER, "jwks_uri": "https://a:b@keys.example.net/"}),
}


@pytest.mark.parametrize("case", OUTAGES)
def test_a_failed_discovery_is_an_outage(case: str) -> None:
    decisions = Discovering()
    good, decisions.document = decisions.document, OUTAGES[case]
    auth = decisions.state()
    assert auth.is_unavailable
    assert isinstance(auth.error, ProviderUnavailable)
    assert auth.error.status == 503
    assert decisions.calls("openid-configuration") == len(decisions.fetches) == 1
    assert decisions.state(jti="again").is_unavailable
    assert len(decisions.fetches) == 1  # not for every request
    decisions.document = good
    decisions.now += 2
    assert decisions.state(jti="third").is_authenticated


def test_known_keys_outlast_an_outage_and_a_moved_key_set_is_found() -> None:
    decisions = Discovering()
    assert decisions.state().is_authenticated
    decisions.published = replied(404, b"")
    decisions.now += 700
    assert decisions.state(jti="2").is_authenticated
    moved = "https://new.example.net/jwks.json"
    decisions.document = replied(200, {"issuer": ISSUER, "jwks_uri": moved})
    decisions.published = replied(200, jwks_body("RS256"))
    decisions.now += 2
    assert decisions.state(jti="3").is_authenticated
    assert decisions.calls("new.example.net") == 1


@pytest.mark.parametrize("place", ["document", "published"])
def test_how_long_to_wait_is_passed_on(place: str) -> None:
    decisions = Discovering()
    setattr(decisions, place, replied(429, b"", retry_after="90"))
    error = decisions.state().error
    assert isinstance(error, ProviderUnavailable)
    assert (error.reason, error.retry_after) == ("jwks_status", 90)
