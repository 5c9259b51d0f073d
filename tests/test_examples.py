"""Each example, as a newcomer would run it: a real server, settings from the environment, nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from moonkey_core.emulator import Emulator
from support import quick
from support.examples import PAGES, SERVERS, running
from support.visitors import Visitor

EMAIL = "ada@example.com"


QUICK = {"flask_app:app", "fastapi_app:app", "pages_flask:app"}
"""Of each kind of server one, as each is a process of its own; the rest are long tests."""


def quick_ones(targets: Iterable[str]) -> list[Any]:
    """The examples for ``parametrize``, all but a few marked as long."""
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in targets]


@pytest.mark.parametrize("target", quick_ones(SERVERS))
def test_example(target: str) -> None:
    with Emulator() as emulator, running(target, emulator) as site:
        url = f"{site}/me"
        assert quick.get(url).status_code == 401
        ada = emulator.sign_in(email=EMAIL)
        for credential in (ada.session_token, ada.session_jwt):
            for headers in ({"Authorization": f"Bearer {credential}"}, {"session-token": credential}):
                response = quick.get(url, headers=headers)
                assert (response.status_code, response.json()) == (200, {"user_id": ada.user_id})
        emulator.revoke(ada.session_id)
        assert quick.get(url, headers={"session-token": ada.session_token}).status_code == 401


class Person(Visitor):
    """Also fills in forms of the app's own."""

    def fill_in(self, path: str, **fields: str) -> httpx.Response:
        return self._visit("POST", path, {}, fields)

    @property
    def cookie_header(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}


@contextmanager
def visiting(target: str, emulator: Emulator) -> Iterator[tuple[Person, httpx.Client]]:
    with running(target, emulator) as site, quick.Client(base_url=site) as browser:
        yield Person(browser), browser


def sent_to(response: httpx.Response) -> tuple[str, str]:
    """Where a redirect leads, and the way back from there."""
    assert response.status_code == 303
    parts = urlsplit(response.headers["location"])
    return parts.path, parse_qs(parts.query)["next"][0]


@pytest.mark.parametrize("target", quick_ones(PAGES))
def test_pages(target: str) -> None:
    """Public, protected and sensitive pages; the browser tests do the same by hand."""
    with Emulator() as emulator, visiting(target, emulator) as (visitor, _):
        assert "Sign in" in visitor.get("/").text
        assert sent_to(visitor.get("/account")) == ("/auth/sign-in", "/account")
        emulator.set_clock(-90)
        assert visitor.sign_in(emulator, EMAIL, next="/account").headers["location"] == "/account"
        emulator.set_clock(0)
        assert "You are signed in" in visitor.get("/").text
        assert EMAIL in visitor.get("/account").text
        assert sent_to(visitor.get("/vault")) == ("/auth/step-up", "/vault")
        visitor.post("/step-up/otp", {"which": "email", "next": "/vault"})
        visitor.post("/step-up/otp/verify", {"code": emulator.outbox()[0].code})
        assert "flower pot" in visitor.get("/vault").text
        assert visitor.post("/sign-out").headers["location"] == "/"
        assert visitor.cookies == {}
        assert sent_to(visitor.get("/vault")) == ("/auth/sign-in", "/vault")


@pytest.mark.long
def test_a_changed_address_leaves_one_session() -> None:
    with Emulator() as emulator, visiting("pages_flask:app", emulator) as (visitor, browser):
        phone, thief = Person(browser), Person(browser)
        for one in (visitor, phone, thief):
            one.sign_in(emulator, EMAIL)
        before = dict(visitor.cookies)
        page = visitor.fill_in("/email", email="ada@new.example")
        method_id = re.search(r'name="method_id" value="([^"]+)"', page.text)
        assert method_id is not None
        asked = {"email": "ada@new.example", "method_id": method_id[1]}
        code = emulator.outbox()[0].code
        wrong = visitor.fill_in("/email/confirm", code=f"{(int(code) + 1) % 10**6:06d}", **asked)
        assert wrong.status_code == 400
        assert "That code is wrong" in wrong.text
        assert EMAIL in phone.get("/account").text
        assert visitor.fill_in("/email/confirm", code=code, **asked).status_code == 303
        assert set(visitor.cookies) == set(before)
        assert not set(visitor.cookies.values()) & set(before.values())
        assert "ada@new.example" in visitor.get("/email").text
        for one in (phone, thief):
            assert sent_to(one.get("/account")) == ("/auth/sign-in", "/account")
            assert one.cookies == {}


@pytest.mark.long
def test_a_stream_ends_with_its_session() -> None:
    with Emulator() as emulator, visiting("pages_starlette:app", emulator) as (visitor, browser):
        visitor.sign_in(emulator, EMAIL)
        headers = visitor.cookie_header
        with browser.stream("GET", "/clock", headers=headers) as response:
            lines = response.iter_lines()
            assert next(lines).startswith("It is ")
            visitor.post("/sign-out")
            assert len(list(lines)) < 5


@pytest.mark.long
def test_a_websocket_ends_with_its_session() -> None:
    with Emulator() as emulator, visiting("pages_fastapi:app", emulator) as (visitor, browser):
        visitor.sign_in(emulator, EMAIL)
        own = str(browser.base_url).rstrip("/")
        url = own.replace("http", "ws") + "/echo"
        headers = visitor.cookie_header
        foreign = Origin("https://evil.example")
        with pytest.raises(InvalidStatus), connect(url, additional_headers=headers, origin=foreign):
            pass
        with connect(url, additional_headers=headers, origin=Origin(own)) as socket:
            socket.send("hello")
            assert str(socket.recv(5)).endswith(": hello")
            visitor.post("/sign-out")
            with pytest.raises(ConnectionClosedError) as closed:
                socket.recv(5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401
