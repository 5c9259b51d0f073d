"""Somebody in front of a real browser: clicks, types, and reads the mail that the emulator sends."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from moonkey_core import CookieSettings, Settings
from moonkey_core.emulator import Emulator
from support import quick
from support.bindings import binding
from support.page_checks import check_page, complaints_of
from support.visitors import with_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Response

Role = Literal["button", "heading", "link"]

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"


class Person:
    """A browser with a profile of its own, and one page open in it. ``address`` is where codes come to."""

    def __init__(self, browser: Browser, site: str, emulator: Emulator, address: str, **options: Any) -> None:
        self.site = site
        self.address = address
        self._emulator = emulator
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(10_000)
        self.page = self.context.new_page()
        self.complaints = complaints_of(self.page)

    def open(self, path: str) -> Response:
        """Go there; the answer in the end, after redirects."""
        response = self.page.goto(self.site + path)
        assert response is not None
        check_page(self.page)
        return response

    def click(self, name: str, role: Role = "button") -> None:
        """Click what has this name (or begins with it), and wait for the page it leads to."""
        self.page.get_by_role(role, name=re.compile(re.escape(name))).click()
        self.page.wait_for_load_state()
        check_page(self.page)

    def fill(self, label: str, value: str) -> None:
        self.page.get_by_label(label).fill(value)

    @property
    def path(self) -> str:
        return urlsplit(self.page.url).path

    @property
    def heading(self) -> str:
        return self.page.get_by_role("heading", level=1).inner_text()

    @property
    def text(self) -> str:
        return self.page.locator("main").inner_text()

    def code(self) -> str:
        """The newest code that has come."""
        return next(sent.code for sent in self._emulator.outbox() if sent.to == self.address)

    def sign_in(self, *, remember_me: bool = False) -> None:
        """From the sign-in page to where it leads."""
        self.fill("E-mail address", self.address)
        if remember_me:
            self.page.get_by_label("Keep me signed in").check()
        self.click("Send the code")
        self.fill("Code", self.code())
        self.click("Sign in")

    def cookies(self) -> dict[str, str]:
        """What the browser keeps for the site."""
        return {one.get("name", ""): one.get("value", "") for one in self.context.cookies(self.site)}

    def session_cookies(self) -> dict[str, str]:
        """Those of the session, as far as they are there."""
        return {name: value for name, value in self.cookies().items() if name in CookieSettings().all_names}

    def age_jwt(self, seconds: int) -> None:
        """Put a JWT of the same session into the browser that is so much older, as after that time."""
        name, beside = CookieSettings().jwt_name, CookieSettings().binding_name
        token = self.cookies()[CookieSettings().session_name]
        payload = self.cookies()[name].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        times = {key: claims[key] - seconds for key in ("iat", "nbf", "exp") if key in claims}
        session_id = claims["https://streambird.io/jwt/session"]["id"]
        old = self._emulator.mint(times, session_id=session_id)
        (kept,) = [one for one in self.context.cookies(self.site) if one.get("name") == name]
        app = {"secret_key": self._emulator.secret_key, "base_url": self._emulator.base_url}
        values = {name: old, beside: binding(token, old, Settings.load(app, {}))}
        self.context.add_cookies(
            [
                {
                    "name": each,
                    "value": value,
                    "url": self.site.replace("http:", "https:"),  # for the __Host- prefix
                    "expires": kept.get("expires", -1),
                    "httpOnly": True,
                    "secure": True,
                    "sameSite": "Lax",
                }
                for each, value in values.items()
            ]
        )


def with_authenticator(emulator: Emulator, address: str) -> str:
    """Give a user an authenticator app; its secret."""
    return with_app(emulator, emulator.sign_in(email=address).user_id)


def magic_link(emulator: Emulator, address: str) -> str:
    """The token of a link that is sent to somebody."""
    headers = {"Authorization": f"Bearer {emulator.secret_key}"}
    url = f"{emulator.base_url}/v1/auth/magic_links/email/login_or_create"
    quick.post(url, json={"email": address}, headers=headers).raise_for_status()
    return emulator.outbox()[0].code


MakePerson = Callable[..., Person]
