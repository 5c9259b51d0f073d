"""A server that cannot prove who it is gets nothing, however the address is spelled."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from moonkey_core import AsyncMoonKey, Auth, MoonKey, ProviderUnavailable
from support.certificates import make_certificate
from support.patience import PATIENCE
from support.scripted import reply

pytestmark = pytest.mark.usefixtures("quick_retries")
GOOD = {"session": {"id": "sess_1", "user_id": "user_1", "expires_at": 4_000_000_000}}
SECRET = "sk_test_" + "s" * 30


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@contextmanager
def tls_server(certificate: Path, seen: list[bytes]) -> Iterator[str]:
    """Answers each connection once; ``seen`` gets what came in behind the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(5)

    def serve() -> None:
        while True:
            try:
                raw, _ = listener.accept()
                raw.settimeout(5)
                with context.wrap_socket(raw, server_side=True) as connection:
                    request = b""
                    while not request.endswith(b"}") and (more := connection.recv(65536)):
                        request += more
                    seen.append(request)
                    connection.sendall(reply(200, GOOD).replace(b"content-length", b"Content-Length"))
            except ssl.SSLError:
                continue
            except OSError:
                return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE)


def asked(url: str, how: str, **options: object) -> Auth:
    def headers(name: str) -> list[str]:
        return ["session_token"] if name == "session-token" else []

    if how == "sync":
        with MoonKey(secret_key=SECRET, base_url=url, timeout=30.0, **options) as client:  # type: ignore[arg-type]
            return client.authenticate(headers)

    async def work() -> Auth:
        async with AsyncMoonKey(secret_key=SECRET, base_url=url, timeout=30.0, **options) as client:  # type: ignore[arg-type]
            return await client.authenticate(headers)

    return asyncio.run(work())


@pytest.mark.parametrize("scheme", ["https", "HTTPS", "Https"])
def test_an_unknown_certificate(certificate: Path, how: str, scheme: str) -> None:
    seen: list[bytes] = []
    with tls_server(certificate, seen) as place:
        auth = asked(f"{scheme}://{place}", how)
    assert isinstance(auth.error, ProviderUnavailable), auth
    assert b"".join(seen) == b""


@pytest.mark.rule("S24")
def test_a_certificate_that_the_environment_vouches_for(
    certificate: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    seen: list[bytes] = []
    with tls_server(certificate, seen) as place:
        assert asked(f"https://{place}", how).is_unavailable
        assert seen == []
        assert asked(f"https://{place}", how, trust_env=True).is_authenticated
    assert len(seen) == 1


@contextmanager
def broken_tls_server(certificate: Path) -> Iterator[str]:
    """Ends each connection with bytes that are no TLS record, right after the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            raw.settimeout(5)
            inside = context.wrap_socket(raw, server_side=True)
            inside.recv(65536)
            with socket.socket(fileno=inside.detach()) as bare:
                bare.sendall(b"garbage, garbage, garbage")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE)


def test_a_broken_record_is_trouble(certificate: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with broken_tls_server(certificate) as url:
        auth = asked(url, how, trust_env=True)
    assert isinstance(auth.error, ProviderUnavailable)
    assert auth.error.reason == "api_broken"
