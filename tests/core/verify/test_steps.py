"""How often each step of a verification happens for one request: at most once for each text of a credential.

A pair of cookies is two texts: that of both, and that of the session token alone. A JWT in a header that can be
read has the grammar of a credential, which is not checked apart then. The binding of a pair is worked out once
where the pair is not remembered, and once more for each new JWT that goes into a cookie. The digest by which
other processes know a token is worked out only where something is verified, and is not counted.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from moonkey_core import MoonKey
from moonkey_core._crypto import RotatingSealer
from moonkey_core._plan import run
from moonkey_core._verify import jwt as _jwt
from moonkey_core._verify.authenticator import Pending
from moonkey_core._verify.cache import VerificationCache
from moonkey_core._verify.jwt_verifier import JwtVerifier
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.gate import Requirements
from moonkey_core.web.credentials import PresentedCredentials
from moonkey_core.web.request import RequestInfo
from support.bindings import BINDING, binding
from support.decisions import NOW, Decisions, replied, verified_body
from support.odd_jwts import good
from support.visitors import JWT, SESSION, signed_in_long_ago

Headers = dict[str, str]
Serve = Callable[[Headers], int]

# The most that one request may do: grammar, digest, cache look-up, JWT parse, signature check, binding.
Counts = tuple[int, int, int, int, int, int]
TOKEN = "token_" + "t" * 40
WARM: Counts = (0, 1, 1, 0, 0, 0)
NONE: Counts = (0, 0, 0, 0, 0, 0)


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count the steps while the block runs."""
    found: Counter[str] = Counter()

    def count(name: str, owner: Any, attribute: str, when: Callable[..., bool] = lambda *_: True) -> None:
        original = getattr(owner, attribute)

        def counting(*args: Any, **kwargs: Any) -> Any:
            found[name] += when(*args)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, attribute, counting)

    def count_found(name: str, owner: Any, attribute: str) -> None:
        original = getattr(owner, attribute)

        def counting(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            found[name] += result is not None
            return result

        monkeypatch.setattr(owner, attribute, counting)

    with monkeypatch.context() as patch:
        monkeypatch = patch
        count("grammar", PresentedCredentials, "checked", lambda one, _: not one.is_checked)
        count("digest", VerificationCache, "find")
        count("digest", VerificationCache, "text_digest")
        count("look-up", VerificationCache, "find")
        count("look-up", VerificationCache, "get")
        count("parse", _jwt, "parse")
        count_found("parse", JwtVerifier, "at_first_sight")
        count("signature", _jwt, "verify_signature")
        count_found("signature", JwtVerifier, "at_first_sight")
        count("binding", RotatingSealer, "digest")
        count("binding", RotatingSealer, "is_digest")
        yield found


def shown(found: Counter[str]) -> Counts:
    steps = ("grammar", "digest", "look-up", "parse", "signature", "binding")
    one, two, three, four, five, six = (found[step] for step in steps)
    return one, two, three, four, five, six


@pytest.fixture(params=["wsgi", "asgi", "asgi-lazy"])
def served(request: pytest.FixtureRequest, emulator: Emulator) -> Iterator[Callable[..., Serve]]:
    """Make an app with one gated view; called with the headers of a request, it returns the status."""
    closing: list[Callable[[], object]] = []

    def make(max_staleness: float | None = None, **options: Any) -> Serve:
        settings = {
            "secret_key": emulator.secret_key,
            "base_url": emulator.base_url,
            "jwt_issuer": emulator.issuer,
            "session_cache_ttl": 60,
            "cookies": {"insecure_development": True, "session_name": SESSION[7:], "jwt_name": JWT[7:]},
            **options,
        }
        if request.param == "wsgi":
            return flask_app(settings, max_staleness, closing)
        return starlette_app(settings, max_staleness, closing, lazy=request.param == "asgi-lazy")

    yield make
    for close in closing:
        close()


def flask_app(settings: dict[str, Any], max_staleness: float | None, closing: list[Callable[[], object]]) -> Serve:
    from flask import Flask

    from moonkey_flask import FlaskMoonKey, require_auth

    app = Flask("steps")
    client = MoonKey(**settings)
    closing.append(client.close)
    FlaskMoonKey(app, client=client)

    @app.get("/")
    @require_auth(max_staleness=max_staleness)
    def view() -> str:
        return "yes"

    browser = app.test_client(use_cookies=False)
    return lambda headers: browser.get("/", headers=headers).status_code


def starlette_app(
    settings: dict[str, Any], max_staleness: float | None, closing: list[Callable[[], object]], *, lazy: bool
) -> Serve:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    from moonkey_core import AsyncMoonKey
    from moonkey_starlette import MoonKeyMiddleware, require_auth

    @require_auth(max_staleness=max_staleness)
    async def view(request: Request) -> PlainTextResponse:
        return PlainTextResponse("yes")

    client = AsyncMoonKey(**settings)
    app = Starlette(routes=[Route("/", view)])
    app.add_middleware(MoonKeyMiddleware, client=client, lazy=lazy)
    loop = asyncio.new_event_loop()
    closing.append(loop.close)
    closing.append(lambda: None)
    closing.insert(0, lambda: loop.run_until_complete(client.aclose()))

    def serve(headers: Headers) -> int:
        lines = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": "/", "raw_path": b"/", "root_path": "", "query_string": b"", "headers": lines,
            "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
        }  # fmt: skip
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        loop.run_until_complete(app(scope, receive, send))
        return statuses[0]

    return serve


def bearer(value: str) -> Headers:
    return {"Authorization": f"Bearer {value}"}


def cookies(token: str, jwt: str = "") -> Headers:
    beside = f"; {JWT[7:]}={jwt}; {BINDING[7:]}={binding(token, jwt)}" if jwt else ""
    return {"Cookie": f"{SESSION[7:]}={token}{beside}"}


def pair_of(person: SignedIn) -> Headers:
    return cookies(person.session_token, person.session_jwt)


def two_credentials(person: SignedIn) -> Headers:
    return {**bearer(person.session_token), "Session-Token": "x"}


@pytest.mark.rule("S2", "S33")
@pytest.mark.parametrize(
    ("kind", "headers", "cold", "warm"),
    [
        ("token", lambda one: bearer(one.session_token), (1, 1, 1, 0, 0, 0), WARM),
        ("jwt", lambda one: bearer(one.session_jwt), (0, 1, 1, 1, 1, 0), WARM),
        ("token cookie", lambda one: cookies(one.session_token), (1, 1, 1, 1, 1, 1), WARM),
        ("pair", pair_of, (1, 1, 1, 1, 1, 1), WARM),
        ("anonymous", lambda _: {}, NONE, NONE),
        ("malformed", lambda _: bearer("a b"), (1, 1, 1, 0, 0, 0), (1, 1, 1, 0, 0, 0)),
        ("two", two_credentials, (2, 0, 0, 0, 0, 0), (2, 0, 0, 0, 0, 0)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_cold_and_warm(
    served: Callable[..., Serve],
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    headers: Callable[[SignedIn], Headers],
    cold: Counts,
    warm: Counts,
) -> None:
    serve = served()
    expected = {"anonymous": 401, "malformed": 400, "two": 400}.get(kind, 200)
    sent = headers(emulator.sign_in())
    for most in (cold, warm):
        with counted(monkeypatch) as found:
            assert serve(sent) == expected
        assert shown(found) == most


@pytest.mark.rule("S33")
def test_another_jwt_when_the_keys_are_there(
    served: Callable[..., Serve], emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve = served()
    assert serve(bearer(emulator.sign_in().session_jwt)) == 200
    for headers, cookie in ((bearer(emulator.sign_in().session_jwt), 0), (pair_of(emulator.sign_in()), 1)):
        with counted(monkeypatch) as found:
            assert serve(headers) == 200
        assert shown(found) == (cookie, 1, 1, 1, 1, cookie)


@pytest.mark.rule("S13")
def test_an_old_jwt(served: Callable[..., Serve], emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new JWT in the answer is verified too."""
    serve = served()
    for headers, most in (
        (bearer(signed_in_long_ago(emulator).session_jwt), (0, 1, 1, 2, 2, 0)),
        (pair_of(signed_in_long_ago(emulator)), (1, 2, 1, 2, 2, 2)),
    ):
        with counted(monkeypatch) as found:
            assert serve(headers) == 200
        assert shown(found) == most


@pytest.mark.rule("S40")
def test_a_pair_whose_jwt_is_no_good(
    served: Callable[..., Serve], emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session token is looked up by itself."""
    serve = served()
    person = emulator.sign_in()
    forged = cookies(person.session_token, person.session_jwt[:-8] + "AAAAAAAA")
    assert serve(bearer(emulator.sign_in().session_jwt)) == 200
    with counted(monkeypatch) as found:
        assert serve(forged) == 200
    assert shown(found) == (1, 2, 2, 2, 2, 2)
    with counted(monkeypatch) as found:
        assert serve(forged) == 200
    assert shown(found) == (1, 2, 2, 1, 1, 1)


@pytest.mark.rule("S40")
def test_a_pair_that_is_not_bound(
    served: Callable[..., Serve], emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its JWT is not even parsed; the one in the answer is."""
    serve = served()
    person = emulator.sign_in()
    unbound = {"Cookie": f"{SESSION[7:]}={person.session_token}; {JWT[7:]}={person.session_jwt}"}
    assert serve(bearer(emulator.sign_in().session_jwt)) == 200
    # The second request finds the session token remembered, so no new JWT comes with it.
    for proof, most in (("", (1, 2, 2, 1, 1, 1)), (f"; {BINDING[7:]}={'0' * 64}", (1, 2, 2, 0, 0, 1))):
        with counted(monkeypatch) as found:
            assert serve({"Cookie": unbound["Cookie"] + proof}) == 200
        assert shown(found) == most


@pytest.mark.rule("S34")
def test_a_gate_that_wants_the_word_of_the_provider(
    served: Callable[..., Serve], emulator: Emulator, monkeypatch: pytest.MonkeyPatch, request: Any
) -> None:
    """An eager middleware verifies first; what it learnt from the cache is not fresh enough for the gate."""
    serve = served(max_staleness=0)
    eager = request.node.callspec.params["served"] == "asgi"
    person = emulator.sign_in()
    for headers, most, again in (
        (bearer(person.session_token), (1, 1, 1, 0, 0, 0), WARM),
        (bearer(person.session_jwt), (0, 1, 1, 1, 1, 0), WARM),
        (pair_of(person), (1, 2, 2, 1, 1, 1), WARM),
    ):
        with counted(monkeypatch) as found:
            assert serve(headers) == 200
        first = shown(found)
        if not eager:
            assert first == most
        else:
            assert all(
                one <= other + more for one, other, more in zip(first, most, (1, 2, 2, 1, 1, 1), strict=True)
            )
        with counted(monkeypatch) as found:
            assert serve(headers) == 200
        if eager:
            assert all(one <= other + more for one, other, more in zip(shown(found), most, again, strict=True))
        else:
            assert shown(found) == most


class LostFeed:
    """A feed from which nothing comes."""

    is_live = False
    is_starting = False

    def known_for(self) -> float:
        return math.inf


@pytest.mark.rule("S36")
def test_a_lost_feed(served: Callable[..., Serve], emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every credential is asked about, and nothing of it happens twice."""
    from moonkey_core._verify.acceptance import Acceptance

    original = Acceptance.__init__

    def without_news(
        self: Acceptance, settings: Any, keys: Any, revocations: Any, feed: Any, clock: Any, **more: Any
    ) -> None:
        original(self, settings, keys, revocations, LostFeed(), clock, **more)

    monkeypatch.setattr(Acceptance, "__init__", without_news)
    serve = served(max_revocation_lag=1)
    person = emulator.sign_in()
    for headers, most in (
        (bearer(person.session_token), (1, 1, 1, 0, 0, 0)),
        (bearer(person.session_jwt), (0, 1, 1, 1, 1, 0)),
        (pair_of(person), (1, 2, 2, 1, 1, 1)),
    ):
        with counted(monkeypatch) as found:
            assert serve(headers) == 200
        assert shown(found) == most


@pytest.mark.parametrize("held", ["token", "jwt", "pair"])
def test_what_was_accepted_for_a_lesser_demand_is_judged_anew(held: str) -> None:
    """``load_user`` has to wait for the user also where the credential is good already."""
    decisions = Decisions(load_user=True, session_cache_ttl=60, cookies={})
    jwt = good(NOW)
    lines = {
        "token": {"session-token": [TOKEN]},
        "jwt": {"session-token": [jwt]},
        "pair": {"cookie": [f"{SESSION}={TOKEN}; {JWT}={jwt}"]},
    }[held]
    decisions.answer = lambda fetch: (
        replied(200, {"user": {"id": "user_1", "email": "a@example.com"}})
        if "/users/" in fetch.url
        else replied(200, verified_body())
    )
    info = RequestInfo("GET", "https")
    assert decisions.read(lines, None, info).is_authenticated
    decisions.fetches.clear()
    pending = decisions.core.begin(decisions.lines(lines), None, info)
    assert isinstance(pending, Pending)
    assert run(decisions.core.finish(pending), decisions.exchange).is_authenticated
    assert decisions.calls("verify") == 0
    auth = run(decisions.core.finish(pending, Requirements(max_staleness=0)), decisions.exchange)
    assert auth.is_authenticated
    assert decisions.calls("verify") == 1
    assert auth.source == "remote"
