"""Mistakes around the app: Redis, packages that are missing, the emulator."""

from __future__ import annotations

import sys
from typing import Any

from mistakes.lab import Lab, Row

from moonkey_core import MoonKey
from moonkey_core.emulator import Emulator
from moonkey_core.emulator.__main__ import main
from support.patience import PATIENCE
from support.redis_server import RedisServer, need_redis
from support.scripted import wait_until

CLIENTS = ("sync", "async")


def address(url: str) -> Any:
    """An address of Redis that is none."""
    return lambda lab, framework: lab.settings(framework, redis_url=url)


def refused(path: str, *, user: str = "", ready: Any = None) -> Any:
    """What Redis itself refuses: the feed says it, and the health of the client."""

    def provoke(lab: Lab, _: str) -> None:
        need_redis()
        with RedisServer() as server:
            if ready is not None:
                ready(server)
            _watch(lab, f"redis://{user}127.0.0.1:{server.port}{path}")

    return provoke


def _watch(lab: Lab, url: str) -> None:
    with lab.at("start"), MoonKey(**lab.base, redis_url=url) as client:
        client.revocations.add(session_id="sess_x")  # the worker starts
        assert wait_until(lambda: client.health().redis_trouble is not None, PATIENCE)
        raise AssertionError(client.health().redis_trouble)


def down(lab: Lab, _: str) -> None:
    with RedisServer() as server:
        port = server.port
    _watch(lab, f"redis://127.0.0.1:{port}/0")


def password(server: RedisServer) -> None:
    server.client.config_set("requirepass", "secret")


def rights(server: RedisServer) -> None:
    server.client.execute_command("ACL", "SETUSER", "shop", "on", ">secret", "~moonkey:*", "+get")


def missing(package: str, what: Any) -> Any:
    """A package that is not installed."""

    def provoke(lab: Lab, _: str) -> None:
        for name in [one for one in sys.modules if one == package or one.startswith(f"{package}.")]:
            lab.monkeypatch.delitem(sys.modules, name)
        for name in [
            one for one in sys.modules if one.startswith(("moonkey_flask", "moonkey_django", "moonkey_starlette"))
        ]:
            lab.monkeypatch.delitem(sys.modules, name)
        lab.monkeypatch.setitem(sys.modules, package, None)
        with lab.at("construction"):
            what(lab)

    return provoke


def imported(module: str) -> Any:
    return lambda _: __import__(module)


def port_in_use(lab: Lab, _: str) -> None:
    with lab.at("start"):
        Emulator(port=lab.emulator.port).start()


def command(*arguments: str) -> Any:
    """The emulator on the command line, which says what is wrong and ends."""

    def provoke(lab: Lab, _: str) -> None:
        said: list[str] = []
        lab.monkeypatch.setattr("sys.stderr", type("_", (), {"write": said.append, "flush": lambda _: None})())
        asked = [one.format(port=lab.emulator.port) for one in arguments]
        with lab.at("start"):
            assert main(asked) != 0
            raise AssertionError("".join(said))

    return provoke


def unknown_factor(lab: Lab, _: str) -> None:
    with lab.at("first request"):
        lab.emulator.sign_in(factors=["totpp"])


def one_factor(lab: Lab, _: str) -> None:
    with lab.at("first request"):
        lab.emulator.sign_in(factors="totp")


REDIS = (
    Row(
        "the database of `redis_url` is a name",
        CLIENTS,
        "construction",
        "MOONKEY_REDIS_URL (redis_url) names a database that is none. It is a number, as in redis://127.0.0.1:6379/0.",
        "Write its number.",
        address("redis://127.0.0.1:6379/prod"),
    ),
    Row(
        "`redis_url` has no scheme",
        CLIENTS,
        "construction",
        "MOONKEY_REDIS_URL (redis_url) must begin with redis://, rediss:// (TLS), unix://, ",
        "`redis://host:6379/0`.",
        address("127.0.0.1:6379"),
    ),
    Row(
        "Redis has no database of that number",
        ("sync",),
        "start",
        "the server has no database of the number in redis_url: correct the number, or raise databases in redis.conf",
        "Correct the number.",
        refused("/99"),
    ),
    Row(
        "Redis wants a password",
        ("sync",),
        "start",
        "the server wants a password, and redis_url has none: write redis://user:password@host:port",
        "`redis://user:password@host:port`.",
        refused("/0", ready=password),
    ),
    Row(
        "the password of Redis is wrong",
        ("sync",),
        "start",
        "the server refuses the user name or password of redis_url: correct them, and write special characters "
        "percent-encoded",
        "Correct it.",
        refused("/0", user=":nope@", ready=password),
    ),
    Row(
        "the user of Redis has too few rights",
        ("sync",),
        "start",
        "Redis refuses {} to the user of redis_url: grant it by ACL SETUSER, with +",
        "Grant the commands that the message names.",
        refused("/0", user="shop:secret@", ready=rights),
    ),
    Row(
        "Redis is down",
        ("sync",),
        "start",
        "nothing listens at the host and port of redis_url: correct them, or start the server",
        "Start it, or correct the address.",
        down,
    ),
    Row(
        "redis-py is not installed",
        ("sync",),
        "construction",
        "MOONKEY_REDIS_URL (redis_url) needs redis-py: pip install 'moonkey[redis]'.",
        "`pip install 'moonkey[redis]'`.",
        missing("redis", lambda lab: MoonKey(**lab.base, redis_url="redis://127.0.0.1:6379/0")),
    ),
)

EXTRAS = tuple(
    Row(
        f"{package} is not installed",
        ("sync",),
        "construction",
        f"{package} is not installed. Install it with: pip install 'moonkey[{extra}]'",
        f"`pip install 'moonkey[{extra}]'`.",
        missing(package, imported(module)),
    )
    for package, extra, module in (
        ("flask", "flask", "moonkey_flask"),
        ("django", "django", "moonkey_django"),
        ("starlette", "starlette", "moonkey_starlette"),
        ("fastapi", "fastapi", "moonkey_starlette.fastapi"),
        ("rest_framework", "drf", "moonkey_django.rest_framework"),
    )
)

EMULATOR = (
    Row(
        "the port of the emulator is in use",
        ("sync",),
        "start",
        "Stop what listens there, or leave the port out: a free one is taken then",
        "`Emulator()` takes a free port.",
        port_in_use,
    ),
    Row(
        "the same on the command line",
        ("sync",),
        "start",
        "Cannot listen on 127.0.0.1:{}. Choose another --port, or --port 0",
        "`--port 0`.",
        command("--port", "{port}"),
    ),
    Row(
        "the state file of the emulator cannot be opened",
        ("sync",),
        "start",
        "The state file /nonexistent/state.db cannot be opened ({}). Name another.",
        "Name a file in a folder that is there.",
        command("--port", "0", "--state", "/nonexistent/state.db"),
    ),
    Row(
        "the emulator does not know a factor",
        ("sync",),
        "first request",
        "unknown factor 'totpp'; known are email, sms, {}totp",
        "Take one of those that it names.",
        unknown_factor,
    ),
    Row(
        "a factor is given in place of a list",
        ("sync",),
        "first request",
        'factors must be a list of names or factor objects, such as ["totp"]',
        '`factors=["totp"]`.',
        one_factor,
    ),
)
