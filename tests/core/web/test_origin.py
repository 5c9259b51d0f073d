"""May a request use its cookies? Where does it come from, under which name are we known?"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import ConfigurationError, CookieSettings, Settings
from moonkey_core.web.origin import client_address, client_network, may_use_cookies, own_origin
from moonkey_core.web.request import RequestInfo, asgi_request, wsgi_request

KEY = "sk_test_" + "k" * 30
POST = RequestInfo("POST", "https", "203.0.113.9")


def settings(trusted_proxies: Any = (), **cookies: Any) -> Settings:
    return Settings.load(
        {"secret_key": KEY, "cookies": CookieSettings(**cookies), "trusted_proxies": trusted_proxies}
    )


def view(**headers: Any) -> Any:
    lines = {
        name.replace("_", "-"): value if isinstance(value, list) else [value] for name, value in headers.items()
    }
    return lambda name: lines.get(name, [])


TRUSTING = settings(trusted_origins=("https://ok.example",))


@pytest.mark.rule("S43")
@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "none"}, True),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": "Same-Origin"}, False),
        ({"sec_fetch_site": "same-origin, none"}, False),
        ({"sec_fetch_site": ["same-origin", "same-origin"]}, False),
        ({"sec_fetch_site": ["same-origin", "cross-site"], "origin": "https://app.example"}, False),
        ({"sec_fetch_site": "cross-site", "origin": "https://ok.example"}, True),
        ({"sec_fetch_site": "cross-site", "origin": "https://app.example"}, False),
        ({"sec_fetch_site": "same-site", "origin": "https://evil.app.example"}, False),
        ({"sec_fetch_site": "", "origin": "https://app.example"}, False),
        ({"origin": "https://app.example"}, True),
        ({"origin": "https://APP.example:443"}, True),
        ({"origin": "https://app.example:8443"}, False),
        ({"origin": "http://app.example"}, False),
        ({"origin": "https://app.example.evil.example"}, False),
        ({"origin": "https://ok.example"}, True),
        ({"origin": "https://ok.example/"}, True),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"origin": ["https://app.example", "https://evil.example"]}, False),
        ({"origin": "https://app.example, https://evil.example"}, False),
        ({"origin": "https://user@app.example"}, False),
        ({"referer": "https://app.example/"}, False),
        ({}, False),
    ],
)
def test_an_unsafe_request(headers: dict[str, Any], allowed: bool) -> None:
    assert may_use_cookies(POST, view(host="app.example", **headers), TRUSTING) is allowed


@pytest.mark.rule("S43")
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_a_safe_one(method: str) -> None:
    headers = view(host="app.example", sec_fetch_site="cross-site", origin="https://evil.example")
    assert may_use_cookies(RequestInfo(method, "https"), headers, TRUSTING)


@pytest.mark.rule("S43")
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PROPFIND", "get", "", "QUERY"])
def test_every_other_is_unsafe(method: str) -> None:
    assert not may_use_cookies(RequestInfo(method, "https"), view(host="app.example"), TRUSTING)


@pytest.mark.rule("S43")
@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"origin": "https://app.example", "sec_fetch_site": "same-origin"}, True),
        ({"origin": "https://app.example"}, True),
        ({"origin": "https://ok.example"}, True),
        ({"origin": "https://evil.example", "sec_fetch_site": "same-origin"}, False),
        ({"origin": "null"}, False),
        ({"sec_fetch_site": "same-origin"}, False),
        ({}, False),
    ],
)
def test_a_websocket_is_judged_by_its_origin(headers: dict[str, Any], allowed: bool) -> None:
    handshake = RequestInfo("GET", "wss", is_websocket=True)
    assert may_use_cookies(handshake, view(host="app.example", **headers), TRUSTING) is allowed


@pytest.mark.rule("S43")
def test_nothing_known_is_unsafe() -> None:
    assert not may_use_cookies(None, view(host="app.example", origin="https://app.example"), TRUSTING)
    assert may_use_cookies(None, view(sec_fetch_site="same-origin"), TRUSTING)


@pytest.mark.rule("S44")
class TestOwnOrigin:
    def test_from_the_request(self) -> None:
        assert own_origin(RequestInfo("POST", "http"), view(host="app.example:8000"), settings()) == (
            "http://app.example:8000"
        )

    def test_from_settings_before_all(self) -> None:
        ours = settings(origin="https://app.example", trusted_proxies="10.0.0.1")
        headers = view(host="inner:8000", x_forwarded_host="other.example", x_forwarded_proto="http")
        assert own_origin(RequestInfo("POST", "http", "10.0.0.1"), headers, ours) == "https://app.example"

    @pytest.mark.parametrize(
        ("peer", "expected"),
        [("10.0.0.1", "https://app.example"), ("::ffff:10.0.0.1", "https://app.example")]
        + [(peer, "http://inner:8000") for peer in ("10.0.0.2", "", None, "junk")],
    )
    def test_from_a_trusted_proxy_only(self, peer: str | None, expected: str) -> None:
        headers = view(
            host="inner:8000",
            x_forwarded_proto="http, https",
            x_forwarded_host=["evil.example", "other.example, app.example"],
        )
        info = RequestInfo("POST", "http", peer)
        assert own_origin(info, headers, settings(trusted_proxies="10.0.0.1")) == expected

    def test_a_socket_of_the_file_system(self) -> None:
        headers = view(host="inner", x_forwarded_proto="https")
        for peer in ("", None):
            assert own_origin(RequestInfo("POST", "http", peer), headers, settings("unix")) == "https://inner"

    @pytest.mark.parametrize("host", ["", "a b", "a/b", "a@b", "a,b", "a:b", "[::1", ["a", "b"], "é"])
    def test_an_odd_host_is_nobody(self, host: Any) -> None:
        assert own_origin(POST, view(host=host), settings()) is None


@pytest.mark.rule("S44")
class TestClientAddress:
    @pytest.mark.parametrize(
        ("peer", "forwarded", "expected"),
        [
            ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
            ("10.0.0.1", "6.6.6.6, 203.0.113.7", "203.0.113.7"),
            ("10.0.0.1", ["6.6.6.6", "203.0.113.7, 10.0.0.9"], "203.0.113.7"),
            ("10.0.0.1", "203.0.113.7, junk", None),
            ("10.0.0.1", "10.0.0.2, 10.0.0.3", None),
            ("10.0.0.1", [], None),
            ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
            ("203.0.113.5", "6.6.6.6", None),
            (None, "6.6.6.6", None),
        ],
    )
    def test_what_the_nearest_proxies_say(self, peer: str | None, forwarded: Any, expected: str | None) -> None:
        info = RequestInfo("GET", "http", peer)
        assert client_address(info, view(x_forwarded_for=forwarded), settings("10.0.0.0/8")) == expected

    @pytest.mark.parametrize(
        ("peer", "expected"),
        [
            ("203.0.113.7", "203.0.113.7"),
            ("2001:DB8::1", "2001:db8::1"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("fe80::1%eth0", "fe80::1"),
            ("testclient", None),
            ("", None),
            (None, None),
        ],
    )
    @pytest.mark.parametrize("value", ["none", "None", ["none"], ("NONE",)])
    def test_without_a_proxy_it_is_the_peer(self, value: Any, peer: str | None, expected: str | None) -> None:
        info, ours = RequestInfo("GET", "http", peer), settings(value)
        headers = view(x_forwarded_for="6.6.6.6", x_forwarded_host="evil.example", host="app.example")
        assert client_address(info, headers, ours) == expected
        assert own_origin(info, headers, ours) == "http://app.example"
        assert ours.needs_request_info

    @pytest.mark.parametrize("value", ["none, 10.0.0.1", ["unix", "none"]])
    def test_no_proxy_beside_a_proxy(self, value: Any) -> None:
        with pytest.raises(ConfigurationError, match="none"):
            settings(value)

    @pytest.mark.parametrize(
        ("address", "expected"),
        [
            ("203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ],
    )
    def test_what_counts_as_one_client(self, address: str, expected: str) -> None:
        assert client_network(address) == expected

    def test_nobody_is_trusted_by_default(self) -> None:
        assert (
            client_address(RequestInfo("GET", "http", "127.0.0.1"), view(x_forwarded_for="6.6.6.6"), settings())
            is None
        )


LINES = st.lists(
    st.text(max_size=30) | st.sampled_from(["https://app.example", "same-origin", "none"]), max_size=2
)


@pytest.mark.long
@given(
    st.dictionaries(st.sampled_from(["origin", "sec-fetch-site", "host", "x-forwarded-proto"]), LINES),
    st.sampled_from(["POST", "GET", "DELETE"]),
    st.sampled_from(["https", "http", "wss", "junk"]),
    st.text(max_size=10) | st.sampled_from(["10.0.0.1", "::1"]),
)
def test_nothing_raises_and_nothing_foreign_passes(
    headers: dict[str, list[str]], method: str, scheme: str, peer: str
) -> None:
    info = RequestInfo(method, scheme, peer)
    allowed = may_use_cookies(info, lambda name: headers.get(name, []), settings("10.0.0.0/8"))
    client_address(info, lambda name: headers.get(name, []), settings("10.0.0.0/8"))
    if allowed and method != "GET":
        sites, origins = headers.get("sec-fetch-site", []), headers.get("origin", [])
        assert sites in (["same-origin"], ["none"]) or (not sites and len(origins) == 1)


def test_how_the_two_interfaces_say_it() -> None:
    environ = {"REQUEST_METHOD": "POST", "wsgi.url_scheme": "https", "REMOTE_ADDR": "10.0.0.1"}
    scope = {"type": "http", "method": "POST", "scheme": "https", "client": ("10.0.0.1", 5000)}
    assert wsgi_request(environ) == asgi_request(scope) == RequestInfo("POST", "https", "10.0.0.1")
    for upgrade, is_websocket in (
        ("websocket", True),
        ("WebSocket", True),
        ("x, websocket", True),
        ("h2c", False),
    ):
        assert wsgi_request({**environ, "HTTP_UPGRADE": upgrade}).is_websocket is is_websocket
    websocket = {"type": "websocket", "scheme": "wss", "client": None}
    assert asgi_request(websocket) == RequestInfo("GET", "wss", None, is_websocket=True)
