"""An outage is a few lines in the log, however many requests it meets; their ids are there at DEBUG."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import httpx
import pytest
from contract.requests import bearer
from contract.stacks import OpenSite, Site

from moonkey_core._repeated_log import summarize
from moonkey_core.emulator import Emulator

_REQUESTS = 25


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "moonkey" and record.levelno >= level]


def reasons(records: list[logging.LogRecord]) -> Counter[Any]:
    return Counter(getattr(record, "reason", None) for record in records)


def test_the_api_is_away(
    site: Site, browser: httpx.Client, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    signed_in = emulator.sign_in()
    caplog.set_level("DEBUG", "moonkey")
    emulator.stop()
    ids = [f"req-{number}" for number in range(_REQUESTS)]
    for number, request_id in enumerate(ids):
        credential = (signed_in.session_token, "another")[number % 2]
        headers = {**bearer(credential), "X-Request-ID": request_id}
        assert browser.get(site.url + "/protected", headers=headers).status_code == 503
    counted = reasons(lines(caplog))
    # Each reason at most once per interval; the API fails in two ways, then is not asked.
    assert all(count <= 3 for count in counted.values()), counted
    assert sum(counted.values()) <= 10, counted
    assert {getattr(record, "request_id", None) for record in lines(caplog, logging.DEBUG)} >= set(ids)
    others = [
        record for record in caplog.records if record.levelno >= logging.WARNING and record.name != "moonkey"
    ]
    assert not others, others[:3]  # Django would log each 503 as an error, and mail it


def test_the_rest_is_counted_when_it_is_over(
    site: Site, browser: httpx.Client, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.stop()
    caplog.set_level("WARNING", "moonkey")
    for _ in range(_REQUESTS):
        browser.get(site.url + "/protected", headers=bearer("somebody"))
    summarize()
    refused = [record for record in lines(caplog) if "refused with 503" in record.getMessage()]
    left_out = [record for record in lines(caplog) if "more like the last line" in str(record.msg)]
    counts = [record.args[0] for record in left_out if isinstance(record.args, tuple)]
    assert len(refused) + sum(int(str(count)) for count in counts) == _REQUESTS


@pytest.mark.rule("S34")
def test_sessions_in_grace(
    open_site: OpenSite, browser: httpx.Client, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    site = open_site(grace_seconds=60, session_cache_ttl=0)
    signed_in = emulator.sign_in()
    assert browser.get(site.url + "/protected", headers=bearer(signed_in.session_token)).status_code == 200
    emulator.stop()
    for _ in range(_REQUESTS):
        assert browser.get(site.url + "/protected", headers=bearer(signed_in.session_token)).status_code == 200
    assert reasons(lines(caplog))["grace_used"] <= 3


def test_our_key_is_wrong(
    open_site: OpenSite, browser: httpx.Client, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    site = open_site(secret_key="sk_test_wrong")
    for _ in range(_REQUESTS):
        assert browser.get(site.url + "/protected", headers=bearer("somebody")).status_code == 500
    assert 1 <= reasons(lines(caplog))["provider_rejected_key"] <= 3
