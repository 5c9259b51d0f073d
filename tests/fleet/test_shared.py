"""One table and one feed for all clients of an app in a process; and life without redis-py."""

from __future__ import annotations

import gc
import subprocess
import sys
from typing import Any

import pytest

from moonkey_core import ConfigurationError, Settings
from moonkey_core.redis import AsyncRedisStore, RedisStore, shared_revocations
from support.feeds import settings_for
from support.redis_server import RedisServer
from support.scripted import wait_until
from support.together import together


def settings(**options: Any) -> Settings:
    return Settings.load({"secret_key": "sk_test_shared", **options}, {})


class TestSharing:
    def test_equal_settings_share(self) -> None:
        table, feed = shared_revocations(settings())
        assert feed is None
        assert shared_revocations(settings(realm="elsewhere", timeout=1)) == (table, None)
        table.add(session_id="sess_1")
        assert shared_revocations(settings())[0].refuses("sess_1", "user_1", None)

    @pytest.mark.parametrize(
        "other",
        [
            {"secret_key": "sk_test_other"},
            {"base_url": "https://api.example.com"},
        ],
    )
    def test_others_do_not(self, other: Any) -> None:
        table, _ = shared_revocations(settings())
        assert shared_revocations(settings(**other))[0] is not table

    def test_two_clients_of_an_app_share_and_the_longer_time_counts(self) -> None:
        table, _ = shared_revocations(settings())
        usual = table.retention
        assert shared_revocations(settings(grace_seconds=100, leeway=20, cache_secret="c" * 16))[0] is table
        assert table.retention == usual + 100 + 2 * 15
        assert shared_revocations(settings(jwt_max_age=5))[0] is table
        assert table.retention == usual + 130

    @pytest.mark.long
    def test_weakly_held(self) -> None:
        table, _ = shared_revocations(settings(secret_key="sk_test_gone"))
        table.add(session_id="sess_1")
        del table
        gc.collect()
        again, _ = shared_revocations(settings(secret_key="sk_test_gone"))
        assert len(again) == 0

    def test_one_feed_for_two_clients(self, server: RedisServer) -> None:
        table, feed = shared_revocations(settings_for(server))
        assert feed is not None
        pairs = together(8, lambda _: shared_revocations(settings_for(server)))
        assert all(pair == (table, feed) for pair in pairs)
        assert len(table.listeners) == 1
        for _ in range(2):
            feed.acquire()
        assert wait_until(lambda: feed.is_live)
        feed.release()
        assert wait_until(lambda: feed.is_live)
        feed.release()
        assert not feed.is_live


WITHOUT = """
import sys
sys.modules["redis"] = None  # as where it is not installed
from moonkey_core import ConfigurationError, Settings
from moonkey_core.redis import AsyncRedisStore, RedisRevocations, RedisStore, shared_revocations
settings = Settings.load({"secret_key": "sk_test_x", "redis_url": "redis://127.0.0.1:1"}, {})
table, feed = shared_revocations(Settings.load({"secret_key": "sk_test_x"}, {}))
assert feed is None
for make in (RedisStore, AsyncRedisStore, shared_revocations, lambda one: RedisRevocations(one, table)):
    try:
        make(settings)
    except ConfigurationError as error:
        assert "pip install 'moonkey[redis]'" in str(error)
    else:
        raise AssertionError(make)
"""


class TestWithoutTheExtra:
    def run(self, code: str) -> None:
        done = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.long
    def test_says_what_to_install(self) -> None:
        self.run(WITHOUT)

    @pytest.mark.long
    def test_nothing_imports_it_before_it_is_needed(self) -> None:
        self.run("import moonkey_core, moonkey_core.redis, sys; assert 'redis' not in sys.modules")

    @pytest.mark.parametrize("kind", [RedisStore, AsyncRedisStore])
    def test_a_missing_address(self, kind: Any) -> None:
        with pytest.raises(ConfigurationError, match="redis_url"):
            kind(settings())
