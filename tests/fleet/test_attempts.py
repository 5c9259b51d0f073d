"""Attempts to sign in are counted for the whole fleet, over a real Redis; and losing it is never an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from moonkey_core import SignInSettings
from moonkey_core._plan import CountAttempt, Counts, Limit
from moonkey_core.emulator import Emulator
from moonkey_core.redis import attempts as attempts_module
from support.clients import Both
from support.feeds import settings_for
from support.flow_visits import Visitor, code_of, flow_client, wrong
from support.patience import PATIENCE
from support.redis_server import RedisServer
from support.stores import Store
from support.together import together

VERIFY = "POST /v1/auth/otps/verify"
ME = {"address": "me@example.com"}
MakeWorker = Callable[..., Both]


@pytest.fixture(autouse=True)
def a_patient_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a round trip may take longer than sign-in waits for it."""
    monkeypatch.setattr("moonkey_core.redis.store.TIMEOUT", PATIENCE)


@pytest.fixture(params=["sync", "async"])
def make_worker(request: pytest.FixtureRequest, server: RedisServer, emulator: Emulator) -> Iterator[MakeWorker]:
    """``make_worker(**settings)``: one more process of the fleet, as far as its counts go."""
    with ExitStack() as stack:

        def make(**options: Any) -> Both:
            return stack.enter_context(flow_client(request.param, emulator, redis_url=server.url, **options))

        yield make


@pytest.fixture(params=["sync", "async"])
def store(request: pytest.FixtureRequest, server: RedisServer) -> Iterator[Store]:
    made = Store(request.param, settings_for(server))
    yield made
    made.close()


def carry_out(store: Store, action: CountAttempt) -> Counts:
    found = store.count(action)
    assert isinstance(found, Counts)
    return found


def attempt(number: int, *limits: Limit) -> CountAttempt:
    return CountAttempt("count", limits, str(number))


@pytest.mark.rule("S48")
class TestWorkers:
    def test_codes_are_sent_for_all(self, make_worker: MakeWorker) -> None:
        workers = [make_worker() for _ in range(2)]
        statuses = [Visitor(workers[number % 2]).post("send_otp", ME).status for number in range(8)]
        assert statuses == [303] * 5 + [429] * 3

    def test_codes_are_tried_for_all(self, make_worker: MakeWorker, emulator: Emulator) -> None:
        workers = [make_worker() for _ in range(3)]
        browsers = [Visitor(one) for one in workers]
        browsers[0].post("send_otp", ME)
        code = code_of(emulator)
        statuses = []
        for number in range(12):
            browser = browsers[number % 3]
            browser.cookies = dict(browsers[0].cookies)
            statuses.append(browser.post("verify_otp", {"code": wrong(code)}).status)
        assert statuses == [401] * 5 + [429] * 7
        assert emulator.requests()[VERIFY] == 5
        browsers[2].post("send_otp", ME)  # another code is tried anew, by whichever worker
        browsers[1].cookies = dict(browsers[2].cookies)
        assert browsers[1].post("verify_otp", {"code": code_of(emulator)}).status == 303

    def test_text_messages_and_clients(self, make_worker: MakeWorker) -> None:
        settings = SignInSettings(methods=("phone_number",), max_sms=4, max_sends_per_client=2)
        workers = [make_worker(sign_in=settings, trusted_proxies="none") for _ in range(2)]
        statuses = [
            Visitor(workers[number % 2], peer=f"203.0.113.{number // 3}")
            .post("send_otp", {"address": f"+1415222000{number}"})
            .status
            for number in range(9)
        ]
        assert statuses == [303, 303, 429, 303, 303, 429, 429, 429, 429]

    def test_an_app_and_another(self, make_worker: MakeWorker, emulator: Emulator) -> None:
        """Two apps in one Redis do not count each other's."""
        one, other = make_worker(cache_secret="a" * 16), make_worker(cache_secret="b" * 16)
        for worker in (one, other):
            assert [Visitor(worker).post("send_otp", ME).status for _ in range(6)] == [303] * 5 + [429]

    def test_without_redis_each_counts_by_itself(
        self, make_worker: MakeWorker, server: RedisServer, emulator: Emulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        workers = [make_worker() for _ in range(2)]
        server.kill()
        statuses = [Visitor(workers[number % 2]).post("send_otp", ME).status for number in range(12)]
        assert statuses == [303] * 10 + [429] * 2
        assert "store_lost" in [getattr(record, "reason", "") for record in caplog.records]
        assert "me@example.com" not in caplog.text

    @pytest.mark.rule("S37")
    def test_no_address_lies_in_redis(
        self, make_worker: MakeWorker, server: RedisServer, emulator: Emulator
    ) -> None:
        browser = Visitor(make_worker(trusted_proxies="none"), peer="203.0.113.7")
        browser.post("send_otp", ME)
        browser.post("verify_otp", {"code": wrong(code_of(emulator))})
        method_id = emulator.outbox()[0].method_id
        names = [name for name in server.client.scan_iter() if b"attempts" in name]
        assert len(names) > 3
        for name in names:
            held = repr([name, *server.client.zrange(name, 0, -1)])
            assert not any(one in held for one in ("example", "203.0.113", method_id))
            assert 0 < server.client.pttl(name) <= 86_400_000


class TestTheScript:
    def test_all_or_nothing(self, store: Store) -> None:
        one, other = Limit("send", "a", 2, 60.0), Limit("send", "b", 1, 60.0)
        assert carry_out(store, attempt(1, one, other)) == Counts((1, 1))
        refused = carry_out(store, attempt(2, one, other))
        assert (refused.used, refused.reached) == ((1, 1), other)
        assert 59 < refused.wait <= 60
        assert carry_out(store, attempt(3, one)).used == (2,)
        assert carry_out(store, attempt(4, one)).reached == one

    def test_undo_read_and_forget(self, store: Store) -> None:
        limit = Limit("try", "a", 5, 60.0)
        first, second = attempt(1, limit), attempt(2, limit)
        assert carry_out(store, first).used == (1,)
        assert carry_out(store, second).used == (2,)
        assert carry_out(store, replace(first, step="undo")).used == (1,)
        assert carry_out(store, replace(first, step="undo")).used == (1,)
        assert carry_out(store, CountAttempt("read", (limit,))).used == (1,)
        assert carry_out(store, CountAttempt("forget", (limit,))).used == (0,)
        assert carry_out(store, CountAttempt("read", (limit, replace(limit, value="b")))).used == (0, 0)

    def test_the_window(self, store: Store) -> None:
        limit = Limit("try", "a", 1, 0.001)
        for number in range(20):  # each takes longer than the window, or is refused
            counts = carry_out(store, attempt(number, limit))
            assert counts.reached is None or 0 <= counts.wait <= 0.001

    def test_kinds_are_counted_apart(self, store: Store) -> None:
        assert carry_out(store, attempt(1, Limit("send", "a", 1, 60.0))).reached is None
        assert carry_out(store, attempt(1, Limit("try", "a", 1, 60.0))).reached is None

    def test_many_at_once_are_no_more(self, server: RedisServer) -> None:
        store = Store("sync", settings_for(server))
        limit = Limit("try", "a", 5, 60.0)
        found = together(16, lambda number: carry_out(store, attempt(number, limit)))
        assert [one.reached for one in found].count(None) == 5
        store.close()

    @pytest.mark.rule("S48")
    def test_there_is_a_bound(self, store: Store, server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(attempts_module, "MAX_COUNTS", 10)
        sms = Limit("sms", "app", 1, 60.0, is_of_app=True)
        carry_out(store, attempt(0, sms))
        for number in range(50):
            carry_out(store, attempt(number, Limit("send", str(number), 1, 60.0)))
        assert len([name for name in server.client.scan_iter() if b"attempts" in name]) == 12
        assert carry_out(store, attempt(1, sms)).reached == sms  # nothing pushes that out
        assert carry_out(store, attempt(1, Limit("send", "49", 1, 60.0))).reached is not None
        assert carry_out(store, attempt(1, Limit("send", "0", 1, 60.0))).reached is None

    def test_a_server_that_runs_no_scripts(self, store: Store, server: RedisServer) -> None:
        """It goes on as a store."""
        server.client.execute_command("ACL", "SETUSER", "default", "-eval")
        assert store.count(attempt(1, Limit("send", "a", 1, 60.0))) is None
        assert store.store._availability.allows_call()
