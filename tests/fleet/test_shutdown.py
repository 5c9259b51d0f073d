"""The end of a process: a feed does not hold it up, however Redis is."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack

import pytest

from moonkey_core.emulator import Emulator
from moonkey_core.redis.worker import _LAST_PUBLISH_TIMEOUT, STOP_TIMEOUT
from support.feeds import settings_for
from support.fleets import Server, uvicorn, workers_of
from support.ports import quiet_port
from support.redis_server import RedisServer

pytestmark = pytest.mark.long

MORE = 1.0  # seconds that a feed may take
TRIES = 4  # on a machine that is busy an end may take longer now and then, but not each time


def gunicorn(worker_class: str, app: str = "flask_app") -> Callable[..., Server]:
    def serve(environ: Mapping[str, str], *, workers: int) -> Server:
        port = quiet_port()
        command = [
            *("gunicorn", f"--workers={workers}", f"--worker-class={worker_class}", "--keep-alive=60"),
            *(f"--bind=127.0.0.1:{port}", "--log-level=error", "--no-control-socket", f"fleet_app:{app}()"),
        ]
        return Server(port, command, environ)

    return serve


SERVERS = {
    "sync": gunicorn("sync"),
    "gthread": gunicorn("gthread"),
    "gevent": gunicorn("gevent"),
    "uvicorn worker": gunicorn("uvicorn_worker.UvicornWorker", "starlette_app"),
    "uvicorn": uvicorn,
}


def seconds_to_end(kind: str, emulator: Emulator, redis: RedisServer | None, state: str = "") -> float:
    """From the signal to the end of all workers, each of which has been asked for something."""
    environ = {
        "MOONKEY_SECRET_KEY": emulator.secret_key,
        "MOONKEY_BASE_URL": emulator.base_url,
        "MOONKEY_JWT_ISSUER": emulator.issuer,
        **({"MOONKEY_REDIS_URL": redis.url} if redis else {}),
    }
    person = emulator.sign_in(email=f"{time.monotonic_ns()}@example.com")  # the one before was revoked just now
    count = 1 if kind == "sync" else 2  # a sync worker keeps no connection: one cannot tell two of them apart
    with ExitStack() as stack:
        server = stack.enter_context(SERVERS[kind](environ, workers=count))
        workers = workers_of(server, count, stack)
        for worker in workers:
            assert worker.get("/me", person.session_jwt).status == 200
        if redis and state:
            getattr(redis, state)()
            stack.callback(redis.resume if state == "pause" else redis.start)
            for worker in workers:
                assert worker.post("/revoke-user", user_id=person.user_id).status == 200
        for worker in workers:
            worker._line.close()
        began = time.monotonic()
        server.stop()
        return time.monotonic() - began


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_with_a_feed_ends_as_soon_as_one_without(
    kind: str, emulator: Emulator, server: RedisServer
) -> None:
    for state in ("", "pause", "kill"):
        pairs: list[tuple[float, float]] = []  # one after the other: a busy machine delays both
        while not pairs or (pairs[-1][1] > pairs[-1][0] + MORE and len(pairs) < TRIES):
            pairs.append((seconds_to_end(kind, emulator, None), seconds_to_end(kind, emulator, server, state)))
        assert any(found <= without + MORE for without, found in pairs), (state, pairs)


def test_last_words_take_no_second() -> None:
    assert _LAST_PUBLISH_TIMEOUT < STOP_TIMEOUT < 1


MANY = """
import sys, time
from moonkey_core import MoonKey
clients = [MoonKey("sk_test_x", redis_url=sys.argv[1], cache_secret=f"{place:032}") for place in range(8)]
for client in clients:
    client.revocations.add(session_id="sess_1")
time.sleep(0.3)
print(time.monotonic())
"""


def test_many_feeds_take_no_longer_than_one(server: RedisServer) -> None:
    server.pause()
    try:
        command = [sys.executable, "-c", MANY, settings_for(server).redis_url.reveal()]  # type: ignore[union-attr]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        ended_at = time.monotonic()
    finally:
        server.resume()
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("ended before Redis had 8 revocations") == 8
    assert (
        ended_at - float(done.stdout) < 8 * STOP_TIMEOUT - 1
    )  # from the end of the script: the clock is the same
