"""``redis_url``: what redis-py would read as something else, or not at all, is told when a client is made."""

from __future__ import annotations

import logging
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import ConfigurationError, MoonKey, Settings
from moonkey_core.redis.client import async_client, blocking_client, check_url
from moonkey_core.settings import Secret
from moonkey_core.settings.redis_address import redis_address

KEY = "sk_test_x"


@pytest.mark.parametrize(
    ("url", "mend"),
    [
        ("redis://h/abc", "names a database that is none"),
        ("redis://h/1x", "names a database that is none"),
        ("redis://h/-1", "names a database that is none"),
        ("redis://h/1/2", "names a database that is none"),
        ("redis://h//1", "names a database that is none"),
        ("redis://h/%61", "names a database that is none"),
        ("redis://h/0x1", "names a database that is none"),
        ("redis://h?db=abc", "names a database that is none"),
        ("redis://h?db=-1", "names a database that is none"),
        ("redis://h?db=", "names a database that is none"),
        ("rediss://h/db0", "names a database that is none"),
        ("unix:///run/redis.sock?db=abc", "names a database that is none"),
        ("redis://h/1?db=2", "more than one database"),
        ("redis://h?db=1&db=2", "more than one database"),
        ("redis://:hush#hush@h:6379/0", "%23"),
        ("redis://u:#hushhush@h/0", "%23"),
        ("redis://h/0#hushhush", "%23"),
        ("redis://:hush/hush@h:6379/0", "%2F"),
        ("redis://u:hush?hush@h:6379/0", "%3F"),
        ("redis://u:p@x/hushhush@h/0", "%2F"),
        ("redis://:hush[hush@h/0", "%5B"),
        ("redis://:hush]hush@h/0", "%5D"),
        ("redis://:hush hush@h/0", "%20"),
        ("redis://:hüshhush@h/0", "percent-encoded"),
        ("redis://h:hushhush/0", "port that is no number"),
        ("redis://h:70000/0", "port that is no number"),
        ("unix://", "must name the socket"),
        ("http://h/0", "must begin with redis://"),
        ("unix+sentinel://h/s", "must begin with redis://"),
        ("redis+other://h/s", "must begin with redis://"),
        ("redis+sentinel://h:26379", "must name the service"),
        ("redis+sentinel://h:26379/", "must name the service"),
        ("redis+sentinel://h:26379/my%20master", "must name the service"),
        ("redis+sentinel://h/mymaster/x", "names a database that is none"),
        ("redis+sentinel://h/mymaster/1/2", "names a database that is none"),
        ("redis+sentinel://h/mymaster/1?db=2", "more than one database"),
        ("redis+sentinel:///mymaster", "must name hosts"),
        ("redis+sentinel://h:1,,h:2/mymaster", "must name hosts"),
        ("redis+sentinel://h:1,[::1/mymaster", "must name hosts"),
        ("redis+sentinel://h:hushhush/mymaster", "port that is no number"),
        ("redis+sentinel://:hush/hush@h/mymaster", "%2F"),
        ("redis+sentinel://:hush?hush@h/mymaster", "%3F"),
        ("redis+sentinel://:hush#hush@h/mymaster", "%23"),
        ("redis+cluster://h/1", "database 0 only"),
        ("redis+cluster://h?db=1", "database 0 only"),
        ("redis+cluster://", "must name hosts"),
        ("redis+cluster://" + ",".join(["h"] * 65), "more than 64 hosts"),
    ],
)
def test_a_wrong_one_is_told_with_its_cause(url: str, mend: str) -> None:
    with pytest.raises(ConfigurationError, match=r"MOONKEY_REDIS_URL \(redis_url\)") as caught:
        MoonKey(KEY, redis_url=url)
    assert mend in str(caught.value)
    assert "hush" not in repr((caught.value, caught.value.__context__, caught.value.__cause__))


@pytest.mark.parametrize(
    ("url", "database"),
    [
        ("redis://h", 0),
        ("redis://h/", 0),
        ("redis://h/7", 7),
        ("redis://h/7/", 7),
        ("redis://h/%37", 7),
        ("redis://h?db=7", 7),
        ("redis://h/7?db=7", 7),
        ("redis://[::1]:6379/7", 7),
        ("rediss://u:p@h:6380/7", 7),
        ("unix:///run/a@b.sock?db=7", 7),
        ("unix://u:p@/run/redis.sock?db=7", 7),
    ],
)
def test_a_right_one_means_what_it_says(url: str, database: int) -> None:
    found = Settings.load({"secret_key": KEY, "redis_url": url}, {}).redis_url
    assert found is not None
    check_url(found)
    assert blocking_client(found, 1.0, 1).connection_pool.connection_kwargs.get("db", 0) == database


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis+sentinel://h/mymaster", (("h", 26379),)),
        ("redis+sentinel://u:p@h:1,h2,[::1]:3/my-master_1.x/4", (("h", 1), ("h2", 26379), ("::1", 3))),
        ("rediss+sentinel://h:1/mymaster/?sentinel_password=a%2Bb&sentinel_username=c", (("h", 1),)),
        ("redis+cluster://h", (("h", 6379),)),
        ("rediss+cluster://:p@[::1],h2:7/0", (("::1", 6379), ("h2", 7))),
        ("redis+cluster://h/", (("h", 6379),)),
    ],
)
def test_several_hosts(url: str, expected: tuple[tuple[str, int], ...]) -> None:
    found = Settings.load({"secret_key": KEY, "redis_url": url}, {}).redis_url
    assert found is not None
    check_url(found)
    address = redis_address(found.reveal())
    assert (address.nodes, address.is_tls, address.is_followed) == (expected, url.startswith("rediss"), True)
    assert f"redis+{address.kind}" in url.replace("rediss", "redis")


def test_what_stands_in_the_query_of_sentinels() -> None:
    address = redis_address(
        "rediss+sentinel://u:hush%40@h/mymaster/4?sentinel_username=asker&sentinel_password=a%2Bhush&ssl_ca_certs=/a"
    )
    assert address.service == "mymaster"
    assert address.sentinel_user == "asker"
    assert address.sentinel_password is not None
    assert address.sentinel_password.reveal() == "a+hush"
    arguments = blocking_client(address, 1.0, 1).connection_pool.connection_kwargs
    assert (arguments["username"], arguments["password"], arguments["db"]) == ("u", "hush@", 4)
    assert arguments["ssl_ca_certs"] == "/a"
    assert not [name for name in arguments if name.startswith("sentinel")]
    assert "hush" not in repr(address)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_any_password_percent_encoded(password: str) -> None:
    url = f"redis://:{quote(password, safe='')}@h:6379/3"
    found = Settings.load({"secret_key": KEY, "redis_url": url}, {}).redis_url
    assert found is not None
    arguments = async_client(found, 1.0, 1).connection_pool.connection_kwargs
    assert (arguments["password"], arguments["host"], arguments["db"]) == (password, "h", 3)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20))
def test_any_password_as_it_is_is_itself_or_an_error(password: str) -> None:
    try:
        found = Settings.load({"secret_key": KEY, "redis_url": f"redis://:{password}@h:6379/3"}, {}).redis_url
    except ConfigurationError:
        return
    assert found is not None
    arguments = blocking_client(found, 1.0, 1).connection_pool.connection_kwargs
    assert (arguments["host"], arguments["db"]) == ("h", 3)
    assert "%" in password or arguments.get("password", "") == password


def test_arguments_of_its_query(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigurationError, match="look at health_check_interva in its query"):
        check_url(Secret("redis://h/0?health_check_interva=3"))
    caplog.set_level(logging.DEBUG)
    check_url(Secret("redis://h/0?health_check_interval=3"))
    assert caplog.records == []
    check_url(Secret("redis://h/0?socket_timeout=30&max_connections=7&health_check_interval=3"))
    (record,) = caplog.records
    assert record.__dict__["reason"] == "redis_option_unused"
    assert record.getMessage().endswith(": max_connections, socket_timeout")
