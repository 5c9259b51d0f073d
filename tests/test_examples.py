"""Each example, as a newcomer would run it: a real server, settings from the environment, nothing else."""

from __future__ import annotations

import json
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

from moonkey_core.emulator import CdpEmulator, Emulator, OidcEmulator, StytchEmulator
from support import quick
from support.examples import CDP, PAGES, PROVIDERS, SERVERS, STYTCH, running, running_with
from support.patience import PATIENCE
from support.visitors import Visitor

EMAIL = "ada@example.com"


QUICK = {"flask_app:app", "fastapi_app:app", "pages_flask:app", "providers_oidc:app"}
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


PROVIDER_EXAMPLES: dict[str, tuple[str, dict[str, str], dict[str, int]]] = {
    "providers_oidc:app": ("generic", {}, {"/orders": 200}),
    "providers_introspection:app": ("opaque", {"ISSUER": "{base}", "CLIENT_SECRET": "{secret}"}, {}),
    "providers_auth0_fastapi:app": ("auth0", {"AUTH0_JWKS_URL": "{jwks}"}, {"/orders": 200}),
    "providers_keycloak_django:application": ("keycloak", {"KEYCLOAK_URL": "{base}"}, {"/reports": 200}),
    "providers_entra_flask:app": ("entra-v2", {"ENTRA_JWKS_URL": "{jwks}"}, {"/orders": 200}),
    "providers_clerk_websocket:app": ("clerk-v2", {"CLERK_ISSUER": "{base}/clerk"}, {}),
    "providers_several:app": ("entra-v2", {"ENTRA_JWKS_URL": "{jwks}", "ISSUER": "{base}"}, {}),
}
"""The preset whose tokens an example accepts, the variables in its documentation, and its other pages."""


@pytest.mark.parametrize("target", quick_ones(PROVIDERS))
def test_providers(target: str, oidc: OidcEmulator) -> None:
    """With the emulator's address in the place of the one that the example has, as its first lines say."""
    preset, variables, pages = PROVIDER_EXAMPLES[target]
    is_opaque, shape = preset == "opaque", "generic" if preset == "opaque" else preset
    info = oidc.preset(shape)
    places = {"base": oidc.base_url, "jwks": info.jwks_url, "secret": oidc.client_secret}
    environ = {name: value.format(**places) for name, value in variables.items()}
    if not variables:
        environ = dict(info.settings)
    with running_with(target, environ) as site:
        ada = oidc.sign_in(EMAIL, shape)
        token = ada.opaque_token if is_opaque else ada.access_token
        bearer = {"Authorization": f"Bearer {token}"}
        assert quick.get(f"{site}/me").status_code == 401
        response = quick.get(f"{site}/me", headers=bearer)
        assert (response.status_code, response.json()["user_id"]) == (200, ada.user_id)
        for path, status in pages.items():
            assert quick.get(site + path, headers=bearer).status_code == status
        lookalike = "id" if "id" in info.kinds else "pending"
        wrong = oidc.opaque_token(shape, lookalike) if is_opaque else oidc.token(shape, lookalike)
        assert quick.get(f"{site}/me", headers={"Authorization": f"Bearer {wrong}"}).status_code == 401
        if is_opaque:
            oidc.revoke(token)
            assert quick.post(f"{site}/payments", headers=bearer).status_code == 401
        if target == "providers_several:app":
            customer = oidc.sign_in(EMAIL)
            response = quick.get(f"{site}/me", headers={"Authorization": f"Bearer {customer.access_token}"})
            assert (response.json()["user_id"], response.json()["scope"]) == (customer.user_id, oidc.issuer)


@pytest.mark.long
@pytest.mark.parametrize("target", list(STYTCH))
def test_stytch(target: str, stytch: StytchEmulator) -> None:
    with running_with(target, stytch.settings) as site:
        ada = stytch.sign_in(EMAIL, claims={"plan": "pro"})
        assert quick.get(f"{site}/me").status_code == 401
        for credential in (ada.session_token, ada.session_jwt):
            bearer = {"Authorization": f"Bearer {credential}"}
            response = quick.get(f"{site}/me", headers=bearer)
            assert (response.status_code, response.json()) == (200, {"user_id": ada.user_id, "plan": "pro"})
            assert quick.get(f"{site}/documents", headers=bearer).status_code == 200
            assert quick.post(f"{site}/payments", headers=bearer).json() == {"paid_by": ada.user_id}
        acted = {"Authorization": f"Bearer {stytch.sign_in(EMAIL, factors=['impersonated']).session_jwt}"}
        assert quick.post(f"{site}/payments", headers=acted).status_code in (401, 403)
        stytch.revoke(ada.session_id)
        bearer = {"Authorization": f"Bearer {ada.session_jwt}"}
        assert quick.post(f"{site}/payments", headers=bearer).status_code == 401


@pytest.mark.long
@pytest.mark.parametrize("target", list(CDP))
def test_cdp(target: str, cdp: CdpEmulator) -> None:
    with running_with(target, cdp.settings) as site:
        ada = cdp.sign_in(EMAIL)
        wire = cdp.add_wallets(ada.user_id)
        cdp.enroll_mfa(ada.user_id)
        assert quick.get(f"{site}/me").status_code == 401
        bearer = {"Authorization": f"Bearer {ada.access_token}"}
        assert quick.get(f"{site}/me", headers=bearer).json() == {"user_id": ada.user_id, "mfa_methods": ["totp"]}
        assert set(quick.get(f"{site}/wallets", headers=bearer).json().values()) == {"evm", "evm_smart", "solana"}
        assert wire["evmAccounts"][0] in quick.get(f"{site}/wallets", headers=bearer).json()
        assert quick.post(f"{site}/payments", headers=bearer).json() == {"paid_by": ada.user_id}
        cdp.revoke(ada.access_token)
        assert quick.get(f"{site}/me", headers=bearer).status_code == 200  # it is remembered for a minute
        assert quick.post(f"{site}/payments", headers=bearer).status_code == 401
        newer = {"Authorization": f"Bearer {cdp.refresh(ada.refresh_token).access_token}"}
        assert quick.post(f"{site}/auth/sign-out", headers=newer).json()["provider_sign_out"] is True
        assert quick.get(f"{site}/me", headers=newer).status_code == 401


@pytest.mark.long
def test_a_websocket_goes_on_with_a_newer_token(oidc: OidcEmulator) -> None:
    """And without one it ends with its token."""
    with running_with("providers_clerk_websocket:app", {"CLERK_ISSUER": f"{oidc.base_url}/clerk"}) as site:
        ada = oidc.sign_in(EMAIL, "clerk-v2", life=4)
        newer = oidc.token("clerk-v2", email=EMAIL, session_id=ada.session_id, life=3_600)
        other = oidc.token("clerk-v2", email=EMAIL)
        url = site.replace("http", "ws") + "/live"
        headers = {"Authorization": f"Bearer {ada.access_token}"}
        with connect(url, additional_headers=headers) as renewed, connect(url, additional_headers=headers) as left:

            def answer(message: dict[str, str]) -> dict[str, Any]:
                renewed.send(json.dumps(message))
                found: dict[str, Any] = json.loads(renewed.recv(PATIENCE))
                return found

            assert answer({"renew": other})["renewed"] is False
            assert answer({"renew": newer}) == {"renewed": True}
            with pytest.raises(ConnectionClosedError) as closed:
                left.recv(PATIENCE)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4401, "expired")
            assert answer({"say": "hello"})["user_id"] == ada.user_id


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
