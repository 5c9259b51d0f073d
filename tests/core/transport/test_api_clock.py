"""The API's clock, by the ``Date`` of its replies: a difference beyond the leeway is one warning."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from moonkey_core import AsyncMoonKey, Auth, MoonKey
from moonkey_core._plan import Reply
from moonkey_core._transport.replies import retry_after
from support.decisions import presenting, verified_body

TOKEN = "session_" + "t" * 40


class Api:
    """Its clock is ``ahead`` of ours by so many seconds."""

    def __init__(self, ahead: float) -> None:
        self.ahead = ahead
        self.headers: dict[str, str] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = verified_body(session={"expires_at": int(time.time()) + 1000})
        date = formatdate(time.time() + self.ahead, usegmt=True)
        return httpx.Response(200, json=body, headers={"Date": date, **self.headers})


def ask_blocking(api: Api, times: int, **options: Any) -> None:
    with (
        httpx.Client(transport=httpx.MockTransport(api)) as http,
        MoonKey(secret_key="sk_test_x", http_client=http, **options) as client,
    ):
        for _ in range(times):
            assert client.authenticate(presenting(TOKEN)).is_authenticated


def ask_async(api: Api, times: int, **options: Any) -> None:
    async def ask() -> None:
        async with (
            httpx.AsyncClient(transport=httpx.MockTransport(api)) as http,
            AsyncMoonKey(secret_key="sk_test_x", http_client=http, **options) as client,
        ):
            for _ in range(times):
                assert (await client.authenticate(presenting(TOKEN))).is_authenticated

    asyncio.run(ask())


Ask = Callable[..., None]


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.__dict__["reason"] for record in caplog.records if record.name == "moonkey"]


@pytest.mark.parametrize("ask", [ask_blocking, ask_async])
class TestWarning:
    @pytest.mark.parametrize("ahead", [-3600.0, -12.0, 12.0, 3600.0])
    def test_once_and_with_the_difference(self, ask: Ask, ahead: float, caplog: pytest.LogCaptureFixture) -> None:
        ask(Api(ahead), 20)
        assert reasons(caplog) == ["clock_skew_api"]
        assert ("ahead of" if ahead < 0 else "behind") in caplog.text
        (record,) = caplog.records
        assert record.levelname == "WARNING"
        seconds = float(record.getMessage().split(" s ")[0].rsplit(" ", 1)[1])
        assert abs(ahead) - 2.1 <= seconds <= abs(ahead) + 2.1

    @pytest.mark.parametrize("ahead", [-3.0, 0.0, 3.0])
    def test_not_within_the_leeway(self, ask: Ask, ahead: float, caplog: pytest.LogCaptureFixture) -> None:
        ask(Api(ahead), 5)
        assert reasons(caplog) == []

    def test_it_can_be_widened(self, ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
        ask(Api(40), 5, leeway=60)
        assert reasons(caplog) == []

    @pytest.mark.parametrize(
        "headers",
        [{"Age": "4000"}, {"Date": ""}, {"Date": "yesterday"}, {"Date": "Fri, 99 Mar 2026 00:00:00 GMT"}],
    )
    def test_what_says_nothing(self, ask: Ask, headers: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
        api = Api(-4000)
        api.headers = headers
        ask(api, 3)
        assert reasons(caplog) == []


def test_and_back_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "moonkey")
    api = Api(30)
    with (
        httpx.Client(transport=httpx.MockTransport(api)) as http,
        MoonKey(secret_key="sk_test_x", http_client=http) as client,
    ):
        for ahead in (30.0, 30.0, 0.0, 0.0, -30.0):
            api.ahead = ahead
            assert client.authenticate(presenting(TOKEN)).is_authenticated
    assert reasons(caplog) == ["clock_skew_api", "clock_agrees_api", "clock_skew_api"]


class TestARevokedUser:
    """A session that has begun before is refused, though the API, whose clock is ahead, has dated it later."""

    began_at = 0.0

    def api(self, request: httpx.Request) -> httpx.Response:
        now = time.time() + 3
        self.began_at = self.began_at or float(int(now))
        session = {"created_at": int(self.began_at), "expires_at": int(now) + 1000}
        headers = {"Date": formatdate(now, usegmt=True)}
        return httpx.Response(200, json=verified_body(session=session), headers=headers)

    def judge(self, one: Auth, revoke: Callable[[], object], again: Callable[[], Auth]) -> None:
        assert one.session is not None
        assert one.session.started_at is not None
        assert one.session.started_at.timestamp() == self.began_at
        revoke()
        assert again().is_rejected
        self.began_at = float(int(time.time()) + 9)  # a sign-in afterwards, beyond all doubt
        assert again().is_authenticated

    def test_blocking(self) -> None:
        with (
            httpx.Client(transport=httpx.MockTransport(self.api)) as http,
            MoonKey(secret_key="sk_test_x", http_client=http) as client,
        ):
            one = client.authenticate(presenting(TOKEN))
            self.judge(
                one,
                lambda: client.revocations.add(user_id="user_1"),
                lambda: client.authenticate(presenting(TOKEN)),
            )

    def test_async(self) -> None:
        with asyncio.Runner() as runner:

            async def begin() -> tuple[httpx.AsyncClient, AsyncMoonKey, Auth]:
                http = httpx.AsyncClient(transport=httpx.MockTransport(self.api))
                client = AsyncMoonKey(secret_key="sk_test_x", http_client=http)
                return http, client, await client.authenticate(presenting(TOKEN))

            http, client, one = runner.run(begin())
            self.judge(
                one,
                lambda: client.revocations.add(user_id="user_1"),
                lambda: runner.run(client.authenticate(presenting(TOKEN))),
            )
            runner.run(client.aclose())
            runner.run(http.aclose())


def test_a_date_to_come_back_at_is_read_by_the_clock_that_says_it() -> None:
    now = time.time() - 5000  # the API's clock is behind
    headers = {"date": formatdate(now, usegmt=True), "retry-after": formatdate(now + 30, usegmt=True)}
    assert retry_after(Reply(429, headers, b"")) == 30
    assert retry_after(Reply(429, {**headers, "date": "nonsense"}, b"")) == 0
