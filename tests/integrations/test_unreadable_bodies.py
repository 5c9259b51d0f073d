"""S49. A body that does not come to its end is 400, and nothing is done for it, whatever the server."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from integrations.body_sites import flask_app
from integrations.django_visits import Configure
from integrations.starlette_cookie_site import app_of
from integrations.starlette_visits import drive, on_a_loop, scope
from starlette.types import Message
from werkzeug.serving import make_server
from werkzeug.test import EnvironBuilder

from moonkey_core.emulator import Emulator, SignedIn
from moonkey_starlette import session_routes
from support.bodies import BODIES, CUT, answer_to
from support.fleets import Server
from support.ports import quiet_port
from support.visitors import OURS, SESSION

TESTS = Path(__file__).parent.parent
ROUTES = ["/auth/sign-out", "/auth/sign-in/otp", "/auth/sign-in/magic"]


def environ_of(emulator: Emulator) -> dict[str, str]:
    found = {"SECRET_KEY": emulator.secret_key, "BASE_URL": emulator.base_url, "JWT_ISSUER": emulator.issuer}
    return {f"MOONKEY_{name}": value for name, value in {**found, "COOKIES": "true"}.items()}


def ended(emulator: Emulator) -> bool:
    """Whether any session was ended."""
    return any(call.startswith("DELETE ") for call in emulator.requests())


# --- real servers, each of which raises errors of its own


@contextmanager
def gunicorn(worker: str, app: str, environ: dict[str, str]) -> Iterator[tuple[str, Callable[[], str]]]:
    port = quiet_port()
    command = [
        *("gunicorn", f"--worker-class={worker}", "--threads=2", f"--bind=127.0.0.1:{port}"),
        *("--no-control-socket", f"integrations.body_sites:{app}()"),
    ]
    path = f"{TESTS}:{TESTS.parent}"
    with Server(port, command, {**environ, "PYTHONPATH": path}) as server:
        yield f"http://127.0.0.1:{port}", lambda: server.log(100_000)


@contextmanager
def werkzeug(environ: dict[str, str], log: pytest.LogCaptureFixture) -> Iterator[tuple[str, Callable[[], str]]]:
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environ.items():
            patched.setenv(name, value)
        server = make_server("127.0.0.1", 0, flask_app(), threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", lambda: log.text
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.rule("S49")
@pytest.mark.long
@pytest.mark.parametrize(
    ("worker", "app"), [("sync", "flask_app"), ("gthread", "flask_app"), ("gthread", "django_app"), ("", "")]
)
def test_on_a_server(emulator: Emulator, caplog: pytest.LogCaptureFixture, worker: str, app: str) -> None:
    caplog.set_level(logging.INFO)
    environ = environ_of(emulator)
    with gunicorn(worker, app, environ) if worker else werkzeug(environ, caplog) as (url, log):
        for path in ROUTES:
            for name, body in BODIES.items():
                status = answer_to(url, path, body)
                allowed = {0, 400, 413, 415, 431, 501}
                if path == "/auth/sign-out" and name not in CUT:
                    allowed.add(200)
                assert status in allowed, (path, name, log())
                if name in CUT and "Content-Length" in str(body[0]):
                    assert status == 400, (path, name)
        person = emulator.sign_in()
        cookies = f"Cookie: {SESSION}={person.session_token}\r\n".encode()
        emulator.clear_requests()
        assert answer_to(url, "/auth/sign-out", CUT["shorter than it says"], headers=cookies) == 400
        assert not ended(emulator)
        assert answer_to(url, "/auth/sign-out", (b"", b""), headers=cookies) == 200
        assert ended(emulator)
        for name in CUT:
            answer_to(url, "/auth/sign-out", CUT[name], resets=True)
        assert answer_to(url, "/auth/sign-out", (b"", b"")) == 200  # it is still there
        assert "Traceback" not in log()


# --- whatever a server may raise


class _OfItsOwn(Exception):
    """As gunicorn's are: of no kind that anybody else knows."""


FAULTS = [OSError("reset"), EOFError(), ValueError("I/O operation on closed file"), _OfItsOwn(), TimeoutError()]


class Broken(io.BytesIO):
    """A body that breaks after some bytes of it."""

    def __init__(self, fault: Exception, first: bytes) -> None:
        super().__init__()
        self._fault, self._first = fault, first

    def read(self, size: int | None = -1) -> bytes:
        if not self._first:
            raise self._fault
        first, self._first = self._first, b""
        return first


@pytest.fixture
def wsgi(emulator: Emulator, configure: Configure, settings: Any, framework: str) -> Any:
    if framework == "django":
        settings.ROOT_URLCONF, settings.DEBUG = "integrations.django_browsing_site", False
        configure(COOKIES={})
        return WSGIHandler()
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environ_of(emulator).items():
            patched.setenv(name, value)
        return flask_app()


@pytest.mark.rule("S49")
@pytest.mark.parametrize("framework", ["flask", "django"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("first", [b"", b"a=b"])
@pytest.mark.parametrize("terminated", [True, False])
def test_whatever_a_wsgi_server_raises(
    wsgi: Any, fault: Exception, first: bytes, terminated: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    builder = EnvironBuilder("/auth/sign-out", method="POST", headers=[*OURS.items()])
    environ = {**builder.get_environ(), "wsgi.input": Broken(fault, first), "CONTENT_LENGTH": "20"}
    environ.update({"wsgi.input_terminated": terminated, "CONTENT_TYPE": "application/x-www-form-urlencoded"})
    started: list[str] = []
    list(wsgi(environ, lambda status, headers, error=None: started.append(status)))
    assert [status[:3] for status in started] == ["400"]
    assert_one_line(caplog, type(fault).__name__)


@pytest.mark.rule("S49")
@pytest.mark.parametrize("framework", ["flask", "django"])
@pytest.mark.parametrize(("terminated", "reason"), [(True, "body_malformed"), (False, "body_unreadable")])
def test_chunks_are_never_taken_for_an_empty_body(
    wsgi: Any, terminated: bool, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """PEP 3333 goes by the Content-Length, which they do not have."""
    caplog.set_level(logging.INFO)
    headers = {**OURS, "Transfer-Encoding": "chunked"}
    environ = EnvironBuilder("/auth/sign-in/otp", method="POST", headers=[*headers.items()]).get_environ()
    assert not environ.get("CONTENT_LENGTH")
    environ.update({"wsgi.input": io.BytesIO(b"{"), "wsgi.input_terminated": terminated})
    environ["CONTENT_TYPE"] = "application/json"
    started: list[str] = []
    list(wsgi(environ, lambda status, headers, error=None: started.append(status)))
    assert [status[:3] for status in started] == ["400"]
    ours = [record for record in caplog.records if record.name == "moonkey"]
    (line,) = (record for record in ours if getattr(record, "reason", "") != "clients_unknown")  # at the start
    assert line.__dict__["reason"] == reason


def assert_one_line(caplog: pytest.LogCaptureFixture, *causes: str) -> None:
    """That there is one line of ours, which says what broke, and no traceback."""
    ours = [record for record in caplog.records if record.name == "moonkey"]
    (line,) = (record for record in ours if getattr(record, "reason", "") != "clients_unknown")  # at the start
    assert line.__dict__["reason"] == "body_unreadable"
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.rule("S49")
@pytest.mark.parametrize("events", [[], [{"type": "http.request", "body": b"a=b", "more_body": True}]])
def test_whoever_hangs_up_on_an_asgi_server(
    emulator: Emulator, ada: SignedIn, events: list[Message], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    emulator.clear_requests()

    @on_a_loop
    async def visit() -> None:
        headers = [(b"sec-fetch-site", b"same-origin"), (b"cookie", f"{SESSION}={ada.session_token}".encode())]
        made = scope(method="POST", path="/auth/sign-out", headers=headers)
        sent = await drive(
            app_of(emulator, session_routes(url_prefix="/auth"), trusted_proxies="none"),
            made,
            [*events, {"type": "http.disconnect"}],
        )
        assert [message["status"] for message in sent if message["type"] == "http.response.start"] == [400]

    visit()
    assert_one_line(caplog, "ClientDisconnect")
    assert not ended(emulator)


# --- Django under WSGI


def test_no_event_loop_is_run_for_a_wsgi_request(
    emulator: Emulator, configure: Configure, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the greenlets that share a thread, one alone can have one; all others would be 500."""

    def none(*_: object) -> None:
        raise AssertionError("an event loop was made")

    settings.ROOT_URLCONF, settings.DEBUG = "integrations.django_browsing_site", False
    configure(COOKIES={})
    handler = WSGIHandler()
    monkeypatch.setattr("asyncio.new_event_loop", none)
    monkeypatch.setattr("asyncio.events.new_event_loop", none)
    monkeypatch.setattr("asyncio.runners.events.new_event_loop", none)
    for method, path in (("GET", "/auth/sign-in"), ("POST", "/auth/sign-out"), ("OPTIONS", "/auth/session")):
        environ = EnvironBuilder(path, method=method, headers=[*OURS.items()]).get_environ()
        started: list[str] = []
        list(handler(environ, lambda status, headers, error=None, to=started: to.append(status)))
        assert started == ["200 OK"]
