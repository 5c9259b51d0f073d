"""What the report of a worker says inside of real servers: which kind it is, and what a proxy has sent."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest

from moonkey_core.emulator import Emulator
from support.fleets import Server
from support.patience import PATIENCE
from support.ports import quiet_port
from support.secrets import assert_no_secret
from support.server_commands import COMMANDS

pytestmark = pytest.mark.long

SEEN: list[tuple[str, str, tuple[str, ...]]] = [
    ("gunicorn-gthread", "flask", ("WSGI (gunicorn", "several workers", "several threads")),
    ("gunicorn-sync", "django-wsgi", ("WSGI (gunicorn", "several workers", "one thread")),
    ("gunicorn-gevent", "flask", ("WSGI (gunicorn", "gevent")),
    ("waitress", "flask", ("WSGI (waitress", "one worker", "several threads")),
    ("uwsgi", "django-wsgi", ("WSGI", "several workers")),
    ("uvicorn", "starlette", ("ASGI (uvicorn", "asyncio")),
    ("hypercorn", "django-asgi", ("ASGI", "event loop")),
]


def report_of(server: Server, **headers: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    try:
        connection.request("GET", "/doctor", headers={"Connection": "close", **headers})
        found: dict[str, Any] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return found


@pytest.mark.parametrize(("name", "app", "said"), SEEN, ids=[one[0] for one in SEEN])
def test_what_is_seen(name: str, app: str, said: tuple[str, ...], emulator: Emulator) -> None:
    port = quiet_port()
    environ = {
        "SERVED_APP": app,
        "MOONKEY_SECRET_KEY": emulator.secret_key,
        "MOONKEY_BASE_URL": emulator.base_url,
    }
    with Server(port, COMMANDS[name](port, 2), environ) as server:
        report = report_of(server)
        assert report["ok"] is True, report
        texts = {line["check"]: line["text"] for line in report["lines"]}
        assert all(one in texts["server"] for one in said), texts["server"]
        assert "127.0.0.1" in texts["proxies"]
        proxied = report_of(server, **{"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"})
        wrong = [line["check"] for line in proxied["lines"] if line["verdict"] == "wrong"]
        assert wrong == ([] if name == "waitress" else ["proxies"])  # it removes what a stranger has sent
        assert_no_secret([json.dumps(report), json.dumps(proxied)], [emulator.secret_key])
