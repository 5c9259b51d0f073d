"""How we authenticate to an authorization server, which checks it; and what never shows a secret."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import time
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from moonkey_core import ConfigurationError, Settings
from moonkey_core._plan import CallAuthorization, Fetch, Reply
from moonkey_core._transport.exchange import AsyncExchange, SyncExchange
from moonkey_core.providers.introspection.client_auth import SignedAssertion, client_authorization
from moonkey_core.settings import Secret
from support.authorization_server import CLIENT, ISSUER, SECRET, AuthorizationServer, authorization_server
from support.patience import PATIENCE
from support.scripted import reply, scripted


@cache
def private_key(kind: str = "rsa") -> Any:
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if kind == "short":
        return rsa.generate_private_key(public_exponent=65537, key_size=1024)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    curves: dict[str, Any] = {
        "p256": ec.SECP256R1,
        "p384": ec.SECP384R1,
        "p521": ec.SECP521R1,
        "k256": ec.SECP256K1,
    }
    return ec.generate_private_key(curves[kind]())


def pem(kind: str = "rsa") -> str:
    return str(private_key(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "ascii")


def public_pem(kind: str = "rsa") -> str:
    public = private_key(kind).public_key()
    return str(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "ascii")


def authorization(**changes: Any) -> CallAuthorization:
    usual: dict[str, Any] = {
        "client_id": CLIENT,
        "client_secret": None,
        "private_key": None,
        "auth_method": None,
        "audience": None,
        "key_id": None,
        "algorithm": None,
        "life": 60.0,
        "reuse": False,
    }
    return client_authorization(**{**usual, **changes})


def ask(how: str, url: str, with_authorization: CallAuthorization) -> Reply:
    """Make one call by each transport."""
    fetch = Fetch("POST", url, form={"token": "t&=+ ü"}, authorization=with_authorization)
    settings = Settings.load(
        {"secret_key": "sk_test_never_sent", "transport": "auto" if how == "sync" else how}, {}
    )
    deadline = time.perf_counter() + PATIENCE
    if how == "sync":
        exchange = SyncExchange(settings)
        try:
            return cast(Reply, exchange(fetch, deadline))
        finally:
            exchange.close()

    async def main() -> Reply:
        exchange = AsyncExchange(settings)
        try:
            return cast(Reply, await exchange(fetch, deadline))
        finally:
            await exchange.aclose()

    return asyncio.run(main())


WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "basic": ({}, {"client_secret": SECRET}),
    "post": (
        {"method": "client_secret_post"},
        {"client_secret": Secret(SECRET), "auth_method": "client_secret_post"},
    ),
    **{
        f"key {kind} {algorithm}": (
            {"method": "private_key_jwt", "algorithms": (algorithm,), "public_key": kind},
            {"private_key": kind, "audience": ISSUER, "algorithm": named, "key_id": "key-1"},
        )
        for kind, algorithm, named in (
            ("rsa", "RS256", None),
            ("rsa", "PS256", "PS256"),
            ("p256", "ES256", None),
            ("p384", "ES384", None),
            ("p521", "ES512", None),
            ("ed25519", "EdDSA", None),
        )
    },
}


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_a_server_accepts_each_way_to_authenticate(how: str, way: str) -> None:
    of_server, ours = WAYS[way]
    if "public_key" in of_server:
        of_server = {**of_server, "public_key": public_pem(of_server["public_key"])}
        ours = {**ours, "private_key": pem(ours["private_key"])}
    with authorization_server(**of_server) as server:
        server.tokens["t&=+ ü"] = {"active": True}
        assert ask(how, server.url, authorization(**ours)).body == b'{"active": true}'
        assert b"never_sent" not in str(server.server.received if server.server else "").encode()


def test_a_wrong_secret_or_key_is_refused(how: str) -> None:
    wrong = authorization(private_key=pem("p256"), audience=ISSUER)
    options: dict[str, Any] = {
        "method": "private_key_jwt",
        "algorithms": ("ES256",),
        "public_key": public_pem("p384"),
    }
    with authorization_server(**options) as server:
        assert ask(how, server.url, wrong).status == 401
    with authorization_server() as server:
        assert ask(how, server.url, authorization(client_secret="other")).status == 401
        assert ask(how, server.url, authorization(client_secret=SECRET)).status == 200


def test_a_second_attempt_has_an_assertion_of_its_own(how: str, quick_retries: None) -> None:
    """A server that has taken the first one before it failed would take the same one for a replay."""
    key = authorization(private_key=pem("p256"), audience=ISSUER)
    server = AuthorizationServer("private_key_jwt", public_pem("p256"), ("ES256",))
    server.tokens["t&=+ ü"] = {"active": True}

    def script(request: Any) -> bytes:
        answer = server(request)
        return reply(500) if len(server.calls) == 1 else answer

    with scripted(script) as running:
        assert ask(how, f"{running.url}/introspect", key).status == 200
    assert len(server.calls) == 2


def test_an_assertion_is_short_lived_and_made_anew() -> None:
    key = private_key("p256")
    now = [1_900_000_000.0]
    made = SignedAssertion(CLIENT, key, "ES256", "key-1", ISSUER, 60.0, clock=lambda: now[0])
    first, second = (made.members()["client_assertion"] for _ in range(2))
    assert first != second
    claims = jwt.decode(first, options={"verify_signature": False})
    assert jwt.get_unverified_header(first) == {"alg": "ES256", "kid": "key-1", "typ": "JWT"}
    assert {**claims, "jti": ""} == {
        "iss": CLIENT,
        "sub": CLIENT,
        "aud": ISSUER,
        "iat": 1_900_000_000,
        "exp": 1_900_000_060,
        "jti": "",
    }


def test_an_assertion_is_reused_only_where_that_was_agreed_and_well_within_its_life() -> None:
    now = [1_900_000_000.0]
    made = SignedAssertion(
        CLIENT, private_key("p256"), "ES256", None, ISSUER, 60.0, reuse=True, clock=lambda: now[0]
    )
    first = made.members()["client_assertion"]
    now[0] += 29
    assert made.members()["client_assertion"] == first
    now[0] += 2
    second = made.members()["client_assertion"]
    assert second != first
    now[0] -= 3600  # the clock was set back: that one would be from the future
    assert made.members()["client_assertion"] not in (first, second)


ENCRYPTED = str(
    private_key("p256").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase")),
    "ascii",
)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"client_secret": SECRET, "client_id": ""}, "client_id"),
        ({}, "client_secret or private_key"),
        ({"client_secret": SECRET, "private_key": pem(), "audience": ISSUER}, "client_secret or private_key"),
        ({"client_secret": ""}, "client_secret"),
        ({"client_secret": " padded\n"}, "client_secret"),
        ({"client_secret": SECRET, "auth_method": "private_key_jwt"}, "auth_method"),
        ({"client_secret": SECRET, "auth_method": "none"}, "auth_method"),
        ({"client_secret": SECRET, "algorithm": "RS256"}, "algorithm"),
        ({"client_secret": SECRET, "audience": ISSUER}, "assertion_audience"),
        ({"client_secret": SECRET, "key_id": "key-1"}, "key_id"),
        ({"private_key": pem(), "audience": ISSUER, "auth_method": "client_secret_post"}, "auth_method"),
        ({"private_key": pem()}, "assertion_audience"),
        ({"private_key": pem(), "audience": ISSUER, "life": 3600.0}, "assertion_life"),
        ({"private_key": pem(), "audience": ISSUER, "algorithm": "HS256"}, "algorithm"),
        ({"private_key": pem("p256"), "audience": ISSUER, "algorithm": "RS256"}, "algorithm"),
        ({"private_key": pem("short"), "audience": ISSUER}, "too short"),
        ({"private_key": pem("k256"), "audience": ISSUER}, "private_key"),
        ({"private_key": public_pem(), "audience": ISSUER}, "private_key"),
        ({"private_key": ENCRYPTED, "audience": ISSUER}, "private_key"),
        ({"private_key": "/run/secrets/key.pem", "audience": ISSUER}, "private_key"),
        ({"private_key": b"\xff\xfe", "audience": ISSUER}, "private_key"),
    ],
)
def test_what_cannot_work_is_refused_at_once(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named) as caught:
        authorization(**wrong)
    assert caught.value.__cause__ is None
    said = str(caught.value)
    for secret in (SECRET, "BEGIN PRIVATE KEY-----\nM", *pem().splitlines()[1:-1]):
        assert secret not in said


@pytest.mark.parametrize("way", ["basic", "post", "key"])
def test_no_secret_is_shown(way: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ways: dict[str, Callable[[], CallAuthorization]] = {
        "basic": lambda: authorization(client_secret="hunter2-hunter2"),
        "post": lambda: authorization(client_secret="hunter2-hunter2", auth_method="client_secret_post"),
        "key": lambda: authorization(private_key=pem("p256"), audience=ISSUER),
    }
    ours = ways[way]()
    with authorization_server() as server:
        for how in ("sync", "httpx", "aiohttp"):
            ask(how, server.url, ours)
        bodies = [request.body.decode() for request in server.server.received] if server.server else []
        headers = [request.headers.get("authorization", "") for request in server.server.received]  # type: ignore[union-attr]
    fetch = Fetch("POST", server.url, form={"token": "the-token"}, authorization=ours)
    shown = f"{fetch!r} {ours!r} {vars(ours)!r} {caplog.text} {json.dumps(caplog.messages)}"
    secret = [
        part
        for body in bodies
        for part in body.split("&")
        if part.startswith(("client_secret", "client_assertion="))
    ]
    for hidden in ("hunter2", "the-token", *(part.partition("=")[2] for part in secret), *filter(None, headers)):
        assert hidden not in shown
    with pytest.raises(TypeError):
        pickle.dumps(ours)
