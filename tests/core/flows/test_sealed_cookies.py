"""Sealed cookies: nothing in them can be read, changed, moved, or used too late."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import CookieSettings, Settings
from moonkey_core.flows.sealed_cookies import clear_cookie, open_cookie, seal_cookie
from moonkey_core.web.request import asgi_headers

DATA = {"state": "something", "next": "/a"}


def settings_of(**options: Any) -> Settings:
    return Settings.load({"secret_key": "sk_test_sealed", "cookies": CookieSettings(), **options}, {})


SETTINGS = settings_of()


def read(settings: Settings, purpose: str, *lines: str) -> dict[str, str] | None:
    headers = asgi_headers([(b"cookie", line.encode("latin-1")) for line in lines])
    return open_cookie(headers, settings, purpose)


def pair_of(cookie: str) -> str:
    return cookie.split("; ")[0]


@pytest.fixture
def pair() -> str:
    return pair_of(seal_cookie(SETTINGS, "otp", DATA))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [time.time()]
    monkeypatch.setattr("moonkey_core._clock.time.time", lambda: now[0])
    return now


@pytest.mark.rule("S48")
def test_what_goes_in_comes_out(pair: str) -> None:
    assert read(SETTINGS, "otp", pair) == DATA
    assert read(SETTINGS, "otp", f"a=b; {pair}; c=d") == DATA
    assert read(SETTINGS, "otp", "a=b", pair) == DATA
    assert read(SETTINGS, "otp", pair, pair) == DATA


@given(
    st.dictionaries(
        st.text(max_size=10), st.text(st.characters(exclude_categories=["Cs"]), max_size=60), max_size=6
    )
)
def test_whatever_goes_in(data: dict[str, str]) -> None:
    cookie = seal_cookie(SETTINGS, "otp", data)
    assert cookie.isascii()
    assert cookie.isprintable()
    assert read(SETTINGS, "otp", pair_of(cookie)) == data


def test_attributes() -> None:
    cookie = seal_cookie(SETTINGS, "otp", DATA)
    assert cookie.startswith("__Host-moonkey_otp=")
    assert cookie.endswith("; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax")
    assert (
        clear_cookie(SETTINGS, "otp") == "__Host-moonkey_otp=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
    )


def test_attributes_by_settings() -> None:
    shared = settings_of(cookies=CookieSettings(domain="example.com", same_site="Strict"))
    assert "Domain" not in seal_cookie(shared, "otp", DATA)
    assert seal_cookie(shared, "otp", DATA).endswith("SameSite=Lax")
    plain = settings_of(cookies=CookieSettings(insecure_development=True), base_url="http://127.0.0.1:1")
    assert seal_cookie(plain, "otp", DATA).startswith("moonkey_otp=")
    assert read(plain, "otp", pair_of(seal_cookie(plain, "otp", DATA))) == DATA


@pytest.mark.rule("S48")
def test_nothing_can_be_read() -> None:
    data = {"address": "me@example.com", "next": "/secret/place"}
    cookies = [seal_cookie(SETTINGS, "otp", data) for _ in range(2)]
    assert cookies[0] != cookies[1]
    raw = base64.urlsafe_b64decode(pair_of(cookies[0]).partition("=")[2] + "==")
    for piece in (b"example", b"secret", b"address", b"next", b"until"):
        assert piece not in raw


@pytest.mark.rule("S48")
def test_it_cannot_be_moved(pair: str) -> None:
    value = pair.partition("=")[2]
    assert read(SETTINGS, "oauth", f"__Host-moonkey_oauth={value}") is None
    assert read(SETTINGS, "otp", f"moonkey_otp={value}") is None
    plain = settings_of(cookies=CookieSettings(insecure_development=True), base_url="http://127.0.0.1:1")
    assert read(plain, "otp", f"moonkey_otp={value}") is None
    assert read(settings_of(secret_key="sk_test_other"), "otp", pair) is None
    assert read(settings_of(base_url="https://api.example.com"), "otp", pair) is None
    assert read(settings_of(cache_secret="x" * 40), "otp", pair) is None


def test_processes_of_one_app_understand_each_other(pair: str) -> None:
    assert read(settings_of(), "otp", pair) == DATA


@pytest.mark.rule("S48")
def test_its_time(clock: list[float]) -> None:
    pair = pair_of(seal_cookie(SETTINGS, "otp", DATA))
    clock[0] += 599
    assert read(SETTINGS, "otp", pair) == DATA
    clock[0] += 1
    assert read(SETTINGS, "otp", pair) is None


def test_two_of_one_name(pair: str) -> None:
    """One of them may have been planted: neither counts."""
    other = pair_of(seal_cookie(SETTINGS, "otp", DATA))
    assert read(SETTINGS, "otp", f"{pair}; {other}") is None
    assert read(SETTINGS, "otp", pair, other) is None


@pytest.mark.rule("S48")
@given(place=st.integers(0), bit=st.integers(0, 7))
def test_a_changed_bit(place: int, bit: int) -> None:
    name, _, value = pair_of(seal_cookie(SETTINGS, "otp", DATA)).partition("=")
    raw = bytearray(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
    raw[place % len(raw)] ^= 1 << bit
    changed = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")
    assert read(SETTINGS, "otp", f"{name}={changed}") is None


@pytest.mark.rule("S48")
@given(st.text(st.characters(max_codepoint=255), max_size=300))
def test_whatever_comes_in(text: str) -> None:
    assert read(SETTINGS, "otp", f"__Host-moonkey_otp={text}") is None
    assert read(SETTINGS, "otp", text) is None


@pytest.mark.rule("S48")
@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_piece_of_one(pair: str, cut: int) -> None:
    assert read(SETTINGS, "otp", pair[:-cut]) is None
    assert read(SETTINGS, "otp", f"{pair}{'A' * cut}") is None
    assert read(SETTINGS, "otp", f"{pair[:30]}\u00e4{pair[30:]}") is None
    assert read(SETTINGS, "otp", f"{pair[:30]}!{pair[30:]}") is None


def test_one_that_is_too_long() -> None:
    assert read(SETTINGS, "otp", "__Host-moonkey_otp=" + "A" * 1_000_000) is None


def test_a_browser_can_keep_it() -> None:
    data = {**DATA, "address": "x" * 254, "method_id": "\u00e4" * 256, "user_id": "\u00e4" * 256}
    for target in ("/" + "x" * 2047, "/" + '"' * 2047, "/"):
        cookie = seal_cookie(SETTINGS, "otp", {**data, "next": target})
        assert len(cookie) <= 4096
        found = read(SETTINGS, "otp", pair_of(cookie))
        assert found is not None
        assert found["address"] == data["address"]
        assert found["next"] in (target, "")
