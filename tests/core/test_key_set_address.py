"""Where the key set comes from, what is said of it when it cannot be had, and what never is (rules S14, S30)."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import pytest

from moonkey_core import ConfigurationError, MoonKey, MoonKeyError, ProviderRejectedKey, Settings
from moonkey_core._operations.core import Core
from moonkey_core._plan import TransportError
from moonkey_core.web.responses import refuse
from support.asking import SECRET, asked
from support.decisions import Decisions, replied
from support.key_ring import BAD, Ring
from support.odd_jwts import ISSUER, claims, good, header, key_set, public_jwk, sign
from support.scripted import Received, reply, scripted, unused_url
from support.secrets import assert_no_secret

API = "https://api.moonkey.fun"
HIDDEN = "Kx7-hidden-in-the-address"


def load(**options: Any) -> Settings:
    return Settings.load({"secret_key": SECRET, **options}, {})


@pytest.mark.parametrize(
    "url",
    [
        f"{API}/keys?app=1&kind=sig",
        f"{API}/keys/?app=1",
        f"{API}?app=1",
        f"{API}/keys?return=https://other.example/",
        f"{API}/keys?",
        f"{API}:443/keys?app=1",
        "HTTPS://API.MoonKey.fun/keys?app=1",
    ],
)
def test_an_address_may_have_a_query(url: str) -> None:
    assert load(jwks_url=url).jwks_url == url.replace("HTTPS:", "https:")


@pytest.mark.parametrize(
    ("url", "options", "mend"),
    [
        (f"{API}/keys?app=1#top", {}, "fragment"),
        (f"https://user:{HIDDEN}@api.moonkey.fun/keys?app=1", {}, "user name"),
        (f"{API}/keys?app=a b", {}, "URL"),
        (f"{API}/keys?app=é", {}, "URL"),
        (f"{API}/keys?api_key={SECRET}", {}, "holds the secret key"),
        (f"{API}/keys?api_key={SECRET.replace('_', '%5F')}", {}, "holds the secret key"),
        (f"https://keys.example.com/?{SECRET}", {"jwks_auth": "none"}, "holds the secret key"),
        (f"http://keys.example.com/keys?token={HIDDEN}", {"jwks_auth": "none"}, "allow_http=True"),
        (f"https://keys.example.com/keys?token={HIDDEN}", {}, "jwks_auth='none'"),
        (f"https://keys.example.com?{API}/", {}, "jwks_auth='none'"),
        (f"{API}.example.com?x=/", {}, "jwks_auth='none'"),
        (f"{API}:8443/keys?x=1", {}, "jwks_auth='none'"),
    ],
)
def test_what_an_address_may_not_be(url: str, options: dict[str, Any], mend: str) -> None:
    with pytest.raises(ConfigurationError, match=mend) as caught:
        load(jwks_url=url, **options)
    assert_no_secret([caught.value], [SECRET, HIDDEN])


def test_a_query_is_sent_as_it_was_given(how: str) -> None:
    def answer(request: Received) -> bytes:
        return reply(200, key_set()) if "/keys" in request.path else reply(500)

    with scripted(answer) as server:
        url = f"{server.url}/keys?token={HIDDEN}&a=%2F+b&a=/c"
        assert asked(server.url, how, good(time.time()), jwt_issuer=ISSUER, jwks_url=url).is_authenticated
        (received,) = server.received
        assert received.path == f"/keys?token={HIDDEN}&a=%2F+b&a=/c"
        assert received.headers["authorization"] == f"Bearer {SECRET}"


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("trouble", ["away", "status", "html", "refused"])
def test_the_query_is_never_shown(how: str, trouble: str, caplog: pytest.LogCaptureFixture) -> None:
    """S30. Nobody's logger says it, at any level, and no exception."""
    caplog.set_level(logging.DEBUG)
    answers = {
        "status": reply(503),
        "html": reply(200, "<html>"),
        "refused": reply(401, {"error_type": "unauthorized", "error_message": HIDDEN}),
        "away": b"",
    }
    with scripted(answers[trouble]) as server:
        url = unused_url() if trouble == "away" else server.url
        keys = f"{url}/keys?token={HIDDEN}"
        auth = asked(url, how, good(time.time()), jwt_issuer=ISSUER, jwks_url=keys)
    assert isinstance(auth.error, MoonKeyError)
    assert_no_secret([auth, auth.error, *caplog.records], [SECRET, HIDDEN])
    assert f"The key set at {url}/keys " in str(auth.error)
    (line,) = [record for record in caplog.records if record.name == "moonkey"]
    assert f"The key set at {url}/keys " in line.getMessage()


def test_settings_and_what_is_made_of_them_do_not_show_the_query() -> None:
    options = {
        "jwks_url": f"{API}/jwks?token={HIDDEN}",
        "redis_url": "redis://127.0.0.1:1/0",
        "jwt_issuer": ISSUER,
    }
    decisions = Decisions(**options, jwks="")
    decisions.authenticate(good(decisions.now))
    (fetch,) = decisions.fetches
    assert fetch.url.endswith(f"?token={HIDDEN}")
    assert fetch.stored is not None  # the place in the fleet's store, which is told by the whole address
    other = Core(load(**{**options, "jwks_url": f"{API}/keys?token=another"}))
    settings = decisions.settings
    with MoonKey(load(jwks_url=options["jwks_url"])) as client:
        things = [
            settings,
            repr(settings.jwks_url),
            decisions.core.keys,
            other.keys,
            repr(fetch),
            fetch.stored,
            client,
        ]
        assert_no_secret(things, [HIDDEN])
    assert f"jwks_url='{API}/jwks?***'" in repr(settings)


SAID: dict[str, tuple[Any, str]] = {
    "no connection": (TransportError("connect", unsent=True), "could not be fetched: connect."),
    "time": (TransportError("timeout"), "could not be fetched: timeout."),
    "a status": (replied(404, b"<html>"), "came with status 404."),
    "a redirect": (replied(302, b"", location="https://evil.example/"), "came with status 302."),
    "not JSON": (replied(200, b"<html>"), "is of no use: not a JSON object, or not a strict one, in 6 bytes"),
    "no key set": (replied(200, b"{}"), "is of no use: not a key set"),
    "no key": (replied(200, {"keys": [public_jwk("old", use="enc")]}), "is of no use: no usable key"),
    "our key": (replied(401), "was refused with status 401."),
}


@pytest.mark.parametrize(("outcome", "said"), SAID.values(), ids=SAID.keys())
def test_a_key_set_that_cannot_be_had_says_what_came_from_where(
    outcome: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    ring = Ring()
    ring.published = outcome
    for _ in range(2):  # whoever made the fetch, and who comes while there is a pause
        error = ring.shown("old").error
        assert isinstance(error, MoonKeyError)
        assert f"The key set at {API}/v1/auth/jwks/default {said}" in str(error)
    (line,) = caplog.records
    assert str(error) in line.getMessage()
    if isinstance(error, ProviderRejectedKey):
        assert "Check MOONKEY_SECRET_KEY" in str(error)


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_nothing_of_what_came_is_repeated(bad: Any, caplog: pytest.LogCaptureFixture) -> None:
    ring = Ring()
    ring.published = bad
    error = ring.shown("old").error
    body = json.dumps(key_set("evil"))
    for text in (str(error), caplog.text):
        assert "evil" not in text
        assert body not in text


def test_the_caller_learns_no_address() -> None:
    ring = Ring()
    ring.published = replied(404)
    error = ring.authenticate(sign(header(kid="old"), claims(ring.now), "old")).error
    assert isinstance(error, MoonKeyError)
    assert b"key set" not in refuse(error, load()).body
    assert b"api.moonkey" not in refuse(error, load()).body
