"""The report inside of a worker: by a request with its headers and peer, and what is known of the server."""

from __future__ import annotations

import asyncio
import logging
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from moonkey_core import Health, Settings
from moonkey_core.doctor import Report, Server, worker_report
from moonkey_core.web.request import RequestInfo, mapped_headers
from support.secrets import assert_no_secret
from support.set_ups import wrongs

PROXY = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "app.example.com"}
GOOD: dict[str, Any] = {
    "key_set_age": 3.0, "feed": "none", "feed_lag": None, "unsent": 0, "circuit": "closed", "last_error": None,
    "revocations": 0, "remembered": 0,
}  # fmt: skip


def report_of(
    headers: dict[str, str] | None = None,
    peer: str | None = "10.0.0.7",
    server: Server = Server("WSGI", "gunicorn/23", True, True),  # noqa: B008 frozen
    health: dict[str, Any] | None = None,
    **options: Any,
) -> Report:
    settings = Settings.load({"secret_key": "sk_test_abcdefgh1234", **options}, {})
    view = mapped_headers({"Host": "app.example.com", **(headers or {})})
    return worker_report(
        settings, Health(**{**GOOD, **(health or {})}), view, RequestInfo("GET", "http", peer), server
    )


def test_a_whole_worker() -> None:
    report = report_of()
    assert wrongs(report) == {}
    (server,) = report.of("server")
    assert "WSGI (gunicorn/23)" in server.text
    assert "several workers" in server.text
    assert "fetched 3 s ago" in report.of("key set")[0].text


class TestProxies:
    def test_one_that_is_not_trusted(self) -> None:
        found = wrongs(report_of(PROXY, cookies={"origin": "https://app.example.com"}))
        assert found.keys() == {"proxies"}
        assert "add it to MOONKEY_TRUSTED_PROXIES" in found["proxies"]
        assert "10.0.0.7" in found["proxies"]

    def test_one_that_is_trusted(self) -> None:
        report = report_of(PROXY, trusted_proxies="10.0.0.0/24", cookies=True)
        assert wrongs(report) == {}
        assert "The client's address is known" in report.of("proxies")[0].text
        assert "https://app.example.com" in report.of("cookies")[0].text

    def test_its_address_was_replaced_before(self) -> None:
        found = wrongs(report_of(PROXY, peer="203.0.113.7", trusted_proxies="10.0.0.0/24"))
        assert "--no-proxy-headers" in found["proxies"]
        assert wrongs(report_of(PROXY, peer="203.0.113.7", trusted_proxies="none")) == {}

    def test_one_that_sends_nothing(self) -> None:
        assert wrongs(report_of(trusted_proxies="10.0.0.7")).keys() == {"proxies"}

    def test_one_that_ends_tls_and_is_not_known(self) -> None:
        assert wrongs(report_of(cookies=True)).keys() == {"cookies"}


class TestServers:
    def test_records_of_one_process_in_several(self) -> None:
        found = wrongs(report_of(mfa_lifetime=600, mfa_single_process=True))
        assert found.keys() == {"server"}
        assert "MOONKEY_REDIS_URL" in found["server"]
        one = Server("WSGI", "waitress", True, False)
        assert wrongs(report_of(server=one, mfa_lifetime=600, mfa_single_process=True)) == {}

    def test_uwsgi_without_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        uwsgi = ModuleType("uwsgi")
        monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)
        uwsgi.opt = {"http": b"127.0.0.1:1"}  # type: ignore[attr-defined]
        assert "--enable-threads" in wrongs(report_of())["server"]
        uwsgi.opt = {"enable-threads": True}  # type: ignore[attr-defined]
        assert wrongs(report_of()) == {}

    def test_gevent_without_its_patches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        gevent, monkey = ModuleType("gevent"), ModuleType("gevent.monkey")
        gevent.Greenlet = object  # type: ignore[attr-defined]
        gevent.getcurrent = object  # type: ignore[attr-defined]
        patched: list[str] = []
        monkey.is_module_patched = patched.__contains__  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "gevent", gevent)
        monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)
        assert "patch" in wrongs(report_of())["server"]
        patched.append("socket")
        report = report_of()
        assert wrongs(report) == {}
        assert "gevent" in report.of("server")[0].text

    def test_the_kind_of_event_loop(self) -> None:
        async def report() -> Report:
            return report_of(server=Server("ASGI"))

        assert "asyncio" in asyncio.run(report()).of("server")[0].text

    def test_trio(self, monkeypatch: pytest.MonkeyPatch) -> None:
        trio = ModuleType("trio")
        trio.lowlevel = SimpleNamespace(current_task=object)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "trio", trio)
        assert "trio" in wrongs(report_of(server=Server("ASGI")))["server"]


def test_the_health() -> None:
    found = wrongs(report_of(health={"circuit": "open", "feed": "lost"}))
    assert found.keys() == {"api", "feed"}
    live = report_of(health={"feed": "live", "feed_lag": 0.25})
    assert "0.25 s behind" in live.of("feed")[0].text


def test_it_is_logged_line_by_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "moonkey")
    report_of(PROXY).log()
    reasons = {record.reason: record.levelname for record in caplog.records}  # type: ignore[attr-defined]
    assert reasons == {"doctor_wrong": "WARNING", "doctor": "INFO"}


def test_nothing_of_a_credential_is_in_it() -> None:
    headers = {
        "Authorization": "Bearer abcdefgh12345678abcdefgh",
        "Cookie": "__Host-moonkey_session=abcdefgh87654321",
    }
    report = report_of({**PROXY, **headers}, cookies=True)
    assert_no_secret(
        [report, report.to_json()], ["abcdefgh12345678abcdefgh", "abcdefgh87654321", "sk_test_abcdefgh1234"]
    )
