"""Second factors and sign-outs in two processes of an app on Coinbase CDP: what one does, the other knows.

Each process is a server of its own, as it would be on another machine. They share Redis, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from contract.mfa_clients import Client, assert_asked
from contract.requests import bearer

from moonkey_core.emulator import CdpEmulator
from support import quick
from support.fleets import Server
from support.patience import PATIENCE
from support.ports import quiet_port
from support.redis_server import RedisServer
from support.scripted import wait_until

pytestmark = pytest.mark.long

_ROOT = Path(__file__).parents[2]
_STACKS = ["flask-wsgi", "django-wsgi", "django-asgi", "starlette", "fastapi"]


def command(stack: str, port: int) -> list[str]:
    factory = f"mfa_app:{stack.replace('-', '_')}_site"
    if stack.endswith("wsgi"):
        return [
            *("gunicorn", "--workers=1", "--worker-class=gthread", "--threads=4", f"--bind=127.0.0.1:{port}"),
            *("--log-level=error", "--no-control-socket", f"{factory.replace('flask_wsgi', 'flask')}()"),
        ]
    lifespan = "--lifespan=off" if stack == "django-asgi" else "--lifespan=on"
    return ["uvicorn", "--factory", "--host=127.0.0.1", f"--port={port}", "--log-level=error", lifespan, factory]


class Pair:
    """Two processes of an app."""

    def __init__(self, stack: str, environ: dict[str, str], close: ExitStack) -> None:
        self.clients: list[httpx.Client] = []
        for _ in range(2):
            port = quiet_port()
            close.enter_context(Server(port, command(stack, port), environ))
            http = quick.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE)
            self.clients.append(close.enter_context(http))


@pytest.fixture(params=_STACKS)
def stack(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def close() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


def start(stack: str, cdp: CdpEmulator, server: RedisServer, close: ExitStack, scope: str) -> list[httpx.Client]:
    environ = {
        **cdp.settings,
        "PYTHONPATH": f"{_ROOT}:{_ROOT / 'tests'}",
        "MOONKEY_CACHE_SECRET": "c" * 32,
        "MOONKEY_GRACE_SECONDS": "300",
        "MOONKEY_REDIS_URL": server.url,
        "MOONKEY_MFA_LIFETIME": "3600",
        "MOONKEY_MFA_SCOPE": scope,
        "MOONKEY_TIMEOUT": "30",
        "MOONKEY_MAX_REVOCATION_LAG": "2",
    }
    return Pair(stack, environ, close).clients


def enrolled(cdp: CdpEmulator, email: str = "ada@example.com") -> str:
    """A new access token of a user who has enrolled a second factor."""
    found = cdp.sign_in(email)
    cdp.enroll_mfa(found.user_id)
    return found.access_token


def becomes(client: Client, status: int, path: str = "/vault") -> bool:
    return wait_until(lambda: client.get(path).status_code == status, PATIENCE)


def test_a_record_of_a_user(stack: str, cdp: CdpEmulator, server: RedisServer, close: ExitStack) -> None:
    one, other = start(stack, cdp, server, close, "user")
    here, there = Client(one, bearer(enrolled(cdp))), Client(other, bearer(enrolled(cdp)))
    ben = Client(other, bearer(enrolled(cdp, "ben@example.com")))
    assert_asked(there.get("/vault"))
    assert here.post("/verified").status_code == 200
    assert there.get("/vault").status_code == 200
    assert_asked(ben.get("/vault"))
    assert there.post("/end").status_code == 200
    assert_asked(here.get("/vault"))
    assert here.post("/verified").status_code == 200
    assert there.get("/vault").status_code == 200
    assert here.post("/auth/sign-out").status_code == 200
    assert_asked(there.get("/vault"))
    assert becomes(Client(other, here.credential), 401, "/me")  # and its token is refused in the other process

    # Redis is lost while both serve: nobody passes, and nobody is told to verify a factor again.
    assert there.post("/verified").status_code == 200
    fresh = Client(one, bearer(enrolled(cdp)))
    assert fresh.get("/vault").status_code == 200
    server.stop()
    for client in (fresh, there):
        refused = client.get("/vault")
        assert refused.status_code == 503, refused.text
        assert "www-authenticate" not in refused.headers
        assert client.post("/verified").status_code == 503
    server.start()  # with an empty memory: the record is lost
    for client in (fresh, there):
        assert becomes(client, 401)
        assert_asked(client.get("/vault"))


def test_handles_and_sign_outs(stack: str, cdp: CdpEmulator, server: RedisServer, close: ExitStack) -> None:
    one, other = start(stack, cdp, server, close, "credential")
    here, there = Client(one, bearer(enrolled(cdp))), Client(other, bearer(enrolled(cdp)))
    for client in (here, there):
        assert client.post("/verified").status_code == 200
        client.http = other if client is here else one
        assert client.get("/vault").status_code == 200  # in the process that has not made the handle
    signing_out = Client(one, bearer(enrolled(cdp)))  # which sends no handle
    assert signing_out.post("/auth/sign-out").status_code == 200
    for client in (here, there):
        assert becomes(client, 401)
        assert_asked(client.get("/vault"))
        assert client.get("/me").status_code == 200  # only that token was signed out
    assert becomes(Client(other, signing_out.credential), 401, "/me")


@pytest.mark.parametrize("stack", ["django-wsgi", "starlette"])  # what it sends, the core decides
@pytest.mark.parametrize("known", ["in the other process", "in none"])
def test_a_sign_out_while_cdp_is_down(
    stack: str, cdp: CdpEmulator, server: RedisServer, close: ExitStack, known: str
) -> None:
    """The process that signs out has not seen the token before, and cannot ask about it."""
    one, other = start(stack, cdp, server, close, "credential")
    token, untouched = enrolled(cdp), enrolled(cdp)
    there, also_there = Client(other, bearer(token)), Client(other, bearer(untouched))
    for client in (there, also_there) if known == "in the other process" else (also_there,):
        assert client.get("/me").status_code == 200
    cdp.stop()
    try:
        assert Client(one, bearer(token)).get("/me").status_code == 503
        if known == "in the other process":
            assert there.get("/me").status_code == 200  # in the grace period
        out = Client(one, bearer(token)).post("/auth/sign-out")
        assert out.status_code == 200, out.text
        assert out.json()["provider_sign_out"] is True
        if known == "in the other process":
            assert becomes(there, 401, "/me")
        else:
            assert there.get("/me").status_code in (401, 503)
    finally:
        cdp.start()
    assert becomes(there, 401, "/me")
    assert becomes(also_there, 200, "/me")
    assert there.get("/me").status_code == 401
