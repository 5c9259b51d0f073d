"""Injected trouble, seen by an HTTP client."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from moonkey_core.emulator import Emulator
from support import quick
from support.patience import PATIENCE
from support.scripted import wait_until


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Trouble that was asked for is none of the emulator's own."""
    yield
    assert [record for record in caplog.get_records("call") if record.levelno >= logging.WARNING] == []


def test_a_canned_answer_for_some_requests(api: httpx.Client, control: httpx.Client, emulator: Emulator) -> None:
    fault = {"path": "/v1/auth/users", "status": 429, "headers": {"Retry-After": "7"}, "times": 2}
    control.post("faults", json=fault).raise_for_status()
    answers = [api.get("users/x") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 404]
    assert answers[0].headers["retry-after"] == "7"
    assert answers[0].json()["error_type"] == "injected_fault"
    assert api.get("jwks/default").status_code == 200
    assert emulator.requests()["GET /v1/auth/users/{id}"] == 3


def test_the_newest_fault_is_taken_until_cleared(
    api: httpx.Client, control: httpx.Client, emulator: Emulator
) -> None:
    emulator.fault(status=500)
    emulator.fault("/v1/auth/jwks", status=200, body="<html>", headers={"Content-Type": "text/html"})
    page = api.get("jwks/default")
    assert (page.status_code, page.text, page.headers["content-type"]) == (200, "<html>", "text/html")
    assert api.get("users/x").status_code == 500
    control.delete("faults")
    assert api.get("users/x").status_code == 404


def test_a_fault_needs_no_key_and_gives_bytes(emulator: Emulator) -> None:
    emulator.fault(body=b"\xff\xfe\x00")
    assert quick.get(f"{emulator.base_url}/v1/x").content == b"\xff\xfe\x00"


def test_a_body_shorter_than_announced(api: httpx.Client, emulator: Emulator) -> None:
    emulator.fault(body="short", headers={"Content-Length": "1000"}, times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        api.get("users/x")


def test_an_answer_without_content(api: httpx.Client, emulator: Emulator) -> None:
    emulator.fault(status=204, body="ignored", times=1)
    assert (api.get("users/x").content, api.get("users/x").status_code) == (b"", 404)


def test_a_delay_then_the_real_answer(api: httpx.Client, emulator: Emulator) -> None:
    emulator.fault(delay=0.2, times=1)
    begun = time.monotonic()
    assert api.get("users/x").status_code == 404
    assert time.monotonic() - begun >= 0.2


def test_a_caller_who_hangs_up_is_not_waited_for(api: httpx.Client, emulator: Emulator) -> None:
    emulator.fault(delay=60)
    with pytest.raises(httpx.ReadTimeout):
        api.get("users/x", timeout=0.1)
    emulator.clear_faults()
    assert api.get("users/x").status_code == 404


def test_a_dripping_body(api: httpx.Client, emulator: Emulator) -> None:
    emulator.fault(drip=0.0001, times=1)
    assert api.get("users/x").json()["error_message"] == "User not found"
    emulator.fault(body="x" * 100, drip=0.05, times=1)
    with api.stream("GET", "users/x") as response:
        pieces = response.iter_raw()
        assert [next(pieces), next(pieces)] == [b"x", b"x"]


def test_dripping_headers(api: httpx.Client, emulator: Emulator) -> None:
    emulator.fault(status=418, body="tea", drip_headers=0.001, times=1)
    answer = api.get("users/x")
    assert (answer.status_code, answer.text, answer.reason_phrase) == (418, "tea", "I'm a Teapot")
    assert answer.headers["connection"] == "close"
    emulator.fault(drip_headers=True, drip=0.01, times=1)
    with pytest.raises(httpx.ReadTimeout):
        api.get("users/x", timeout=httpx.Timeout(5, read=0.005))


def test_a_reset_connection(api: httpx.Client, emulator: Emulator) -> None:
    emulator.fault(reset=True, times=1)
    with pytest.raises(httpx.ReadError):
        api.get("users/x")
    assert api.get("users/x").status_code == 404


def test_an_outage_and_its_end(api: httpx.Client, emulator: Emulator) -> None:
    signed_in, base_url = emulator.sign_in(), emulator.base_url
    emulator.stop()
    with pytest.raises(httpx.ConnectError):
        api.get("users/x")
    emulator.start()
    assert emulator.base_url == base_url
    answer = api.post("sessions/verify", json={"session_token": signed_in.session_token})
    assert answer.status_code == 200


def test_stopping_does_not_wait_for_slow_answers() -> None:
    with Emulator() as emulator:
        emulator.fault(delay=60)
        ended: list[Exception] = []

        def call() -> None:
            try:
                quick.get(f"{emulator.base_url}/v1/x")
            except httpx.HTTPError as error:
                ended.append(error)

        caller = threading.Thread(target=call)
        caller.start()
        assert wait_until(lambda: emulator.in_flight_max() > 0)
        emulator.stop()
        caller.join(PATIENCE)
    assert len(ended) == 1


def test_concurrent_calls_are_seen(emulator: Emulator) -> None:
    def call() -> None:
        with contextlib.suppress(httpx.HTTPError):
            quick.get(f"{emulator.base_url}/v1/x")

    emulator.fault(delay=2 * PATIENCE)
    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    seen = wait_until(lambda: emulator.in_flight_max() >= 3)
    emulator.stop()  # which ends the calls
    for caller in callers:
        caller.join(PATIENCE)
    assert seen
