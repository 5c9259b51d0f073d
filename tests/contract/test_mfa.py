"""Second factors that an app records, on every stack: where the handle is kept, the credential, and the scope."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from contract.mfa_clients import MFA, SAME, Client, assert_asked
from contract.mfa_sites import MFA_STACKS
from contract.requests import bearer

from moonkey_core import CookieSettings
from moonkey_core.emulator import Emulator, OidcEmulator
from moonkey_core.provider import OIDC
from support import quick
from support.visitors import SESSION, all_set_by, pair, vary, with_app

WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Case:
    """What is combined: the provider, the place of its credential, where handles are kept, and the scope."""

    provider: str
    place: str
    handles: str | None
    scope: str

    @property
    def carrier(self) -> str:
        if self.scope == "user":
            return "none"
        return self.handles or ("cookie" if self.place == "cookie" else "header")


PLACES = {"oidc": ("jwt", "cookie"), "moonkey": ("token", "jwt", "cookie")}
CASES = [
    Case(provider, place, handles, scope)
    for provider, places in PLACES.items()
    for place, handles, scope in itertools.product(places, ("header", "cookie", None), ("credential", "user"))
    if handles is None or scope == "credential"  # records of a user have no handles: the setting is refused
]
QUICK = {
    ("flask-wsgi", Case("oidc", "jwt", None, "credential")),
    ("django-wsgi", Case("moonkey", "cookie", None, "credential")),
    ("django-asgi", Case("oidc", "jwt", None, "user")),
    ("starlette", Case("moonkey", "token", "cookie", "credential")),
    ("fastapi", Case("oidc", "cookie", None, "user")),
}
EACH = [
    pytest.param(
        (stack, case),
        id="-".join((stack, case.provider, case.place, case.handles or "unset", case.scope)),
        marks=() if (stack, case) in QUICK else pytest.mark.long,
    )
    for stack, case in itertools.product(MFA_STACKS, CASES)
]
each_case = pytest.mark.parametrize("combined", EACH)
on_each_stack = pytest.mark.parametrize(
    "stack", [pytest.param(one, marks=() if one == "starlette" else pytest.mark.long) for one in MFA_STACKS]
)


@dataclass
class Site:
    """A running site, and credentials that it accepts."""

    http: httpx.Client
    case: Case
    new: Callable[[str], dict[str, str]]

    def client(self, email: str = "ada@example.com") -> Client:
        return Client(self.http, self.new(email))


def options_of(case: Case, emulator: Emulator, oidc: OidcEmulator) -> dict[str, Any]:
    usual: dict[str, Any] = {"mfa_lifetime": 3600, "mfa_scope": case.scope, "mfa_handles": case.handles}
    if case.scope == "user":
        usual["mfa_single_process"] = True
    if case.place == "cookie" or case.handles == "cookie":
        usual["cookies"] = CookieSettings()
    if case.provider == "oidc":
        return {**usual, "provider": OIDC(oidc.issuer, oidc.audience), "cache_secret": "c" * 32}
    app = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, "jwt_issuer": emulator.issuer}
    return {**usual, **app, "timeout": 30.0}


def credential(case: Case, emulator: Emulator, oidc: OidcEmulator, email: str) -> dict[str, str]:
    """A new credential of a person: another one each time, and so, for OIDC, of another session."""
    if case.provider == "oidc":
        token = oidc.token(email=email)
        return {"Cookie": f"{SESSION}={token}"} if case.place == "cookie" else bearer(token)
    person = emulator.sign_in(email=email)
    if case.place == "cookie":
        return pair(person)
    return bearer(person.session_token if case.place == "token" else person.session_jwt)


@contextmanager
def open_site(stack: str, case: Case, emulator: Emulator, oidc: OidcEmulator, **more: Any) -> Iterator[Site]:
    options = {name: value for name, value in options_of(case, emulator, oidc).items() if value is not None}
    with MFA_STACKS[stack]({**options, **more}) as url, quick.Client(base_url=url) as http:
        yield Site(http, case, partial(credential, case, emulator, oidc))


@pytest.fixture
def site(combined: tuple[str, Case], emulator: Emulator, oidc: OidcEmulator) -> Iterator[Site]:
    with open_site(*combined, emulator, oidc) as found:
        yield found


@each_case
def test_the_life_of_a_record(site: Site) -> None:
    case, ada = site.case, site.client()
    for path in ("/vault", "/other-vault"):
        assert_asked(ada.get(path))
    recorded = ada.post("/verified")
    assert recorded.status_code == 200, recorded.text
    assert recorded.json()["method"] == "totp"
    assert ("mfa-handle" in recorded.headers) is (case.carrier == "header")
    assert (MFA in all_set_by(recorded)) is (case.carrier == "cookie")
    if case.carrier != "none":
        assert recorded.headers["cache-control"] == "no-store"
    if case.carrier == "cookie":
        line = next(one for one in recorded.headers.get_list("set-cookie") if one.startswith(MFA))
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= {*line.split("; ")}
        assert "Domain" not in line
    for path in ("/vault", "/other-vault"):
        seen = ada.get(path)
        assert seen.status_code == 200, seen.text
        assert seen.json()["mfa"]["id"] == recorded.json()["id"]
        assert ("mfa-handle" in vary(seen)) is (case.scope == "credential" and case.handles != "cookie")
    newer = ada.like(site.new("ada@example.com"))
    assert newer.get("/vault").status_code == 200  # the renewal of the credential changes nothing
    other_tab = site.client()
    if case.scope == "user":
        assert other_tab.get("/vault").status_code == 200
    else:
        assert_asked(other_tab.get("/vault"))
    assert_asked(ada.like(site.new("ben@example.com")).get("/vault"))
    stranger = ada.like({}).get("/vault")
    assert stranger.status_code == 401
    assert "insufficient" not in stranger.text
    held = ada.like(ada.credential)
    assert ada.post("/end").status_code == 200
    assert MFA not in ada.cookies
    for client in (ada, held, newer, other_tab):
        assert_asked(client.get("/vault"))


@each_case
def test_a_sign_out_ends_it(site: Site) -> None:
    ada = site.client()
    assert ada.post("/verified").status_code == 200
    held = ada.like(site.new("ada@example.com"))
    assert held.get("/vault").status_code == 200
    out = ada.post("/auth/sign-out")
    if site.case.handles == "cookie" and site.case.place != "cookie":
        # In the mode with cookies, a client with a header is answered all the same.
        assert out.status_code == 200, out.text
    assert out.status_code in (200, 303), out.text
    assert MFA not in ada.cookies
    assert_asked(held.get("/vault"))


GARBAGE = ["", "x", "a" * 400, "a" * 5000, "ü", "AQ", "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "null", "{}"]


@on_each_stack
def test_hostile_handles_change_nothing(stack: str, emulator: Emulator, oidc: OidcEmulator) -> None:
    case = Case("oidc", "jwt", None, "credential")
    with open_site(stack, case, emulator, oidc, cookies=CookieSettings()) as site:
        ada = site.client()
        assert ada.post("/verified").status_code == 200
        good = ada.handles["mfa-handle"]
        for text in (*GARBAGE, good[:-3], good[::-1], good + good, f"{good},{good}", good.swapcase()):
            sent = {name: value.encode() for name, value in ada.credential.items()}
            sent["mfa-handle"] = text.encode()
            lines = [(name.encode(), value) for name, value in sent.items()]
            assert_asked(site.http.get("/vault", headers=lines))
            assert site.http.get("/me", headers=lines).status_code == 200
            # A handle in the other place does not count there, and hides no good one.
            assert_asked(Client(site.http, ada.credential, {MFA: good}).get("/vault"))
        assert ada.get("/vault").status_code == 200
        assert Client(site.http, ada.credential, {MFA: "junk"}, dict(ada.handles)).get("/vault").status_code == 200


@on_each_stack
def test_a_noted_start(stack: str, emulator: Emulator, oidc: OidcEmulator) -> None:
    case = Case("oidc", "jwt", None, "credential")
    more = {"longest_session": WEEK, "note_starts": True, "expires_in_header": True}
    with open_site(stack, case, emulator, oidc, **more) as site:
        token = oidc.token(drop=["auth_time"])
        ada = Client(site.http, bearer(token))
        unknown = ada.get("/me")
        assert (unknown.json()["started_at"], unknown.json()["soon"]) == (None, None)
        assert "session-expires-in" not in unknown.headers
        assert ada.get("/young").json()["sign_in_again"] is True
        noted = ada.post("/started")
        assert noted.status_code == 200, noted.text
        assert noted.headers["cache-control"] == "no-store"
        newer = ada.like(bearer(oidc.token(drop=["auth_time"])))
        for client in (ada, newer):
            found = client.get("/me")
            assert (found.json()["soon"], found.json()["very_soon"]) == (True, False)
            assert 604_000 < int(found.headers["session-expires-in"]) <= 604_800
            assert client.get("/young").status_code == 200
        assert Client(site.http, bearer(token)).get("/me").json()["started_at"] is None  # of another device
        assert (
            ada.like(bearer(oidc.token(email="ben@example.com", drop=["auth_time"]))).get("/me").json()["soon"]
            is None
        )
        held = newer.like(newer.credential)
        assert newer.post("/auth/sign-out").status_code == 200
        again = held.like(bearer(oidc.token(drop=["auth_time"])))
        assert again.get("/me").json()["started_at"] is None


@on_each_stack
def test_a_step_up_is_recorded(stack: str, emulator: Emulator, oidc: OidcEmulator) -> None:
    """By the ready-made routes, if the factor is a second one."""
    case = Case("moonkey", "cookie", None, "credential")
    with open_site(stack, case, emulator, oidc) as site:
        person = emulator.sign_in(email="ada@example.com")
        ada = Client(site.http, pair(person))
        secret = with_app(emulator, person.user_id)
        assert_asked(ada.get("/vault"))
        sent = site.http.post(
            "/auth/step-up/totp", headers={**SAME, **ada.credential}, json={"code": emulator.totp_code(secret)}
        )
        assert sent.status_code == 200, sent.text
        assert MFA in all_set_by(sent)
        assert sent.headers["cache-control"] == "no-store"
        assert sent.headers.get_list("cache-control") == ["no-store"]
        assert [one.partition("=")[0] for one in sent.headers.get_list("set-cookie")].count(MFA) == 1


def test_a_page_leads_to_the_step_up(emulator: Emulator, oidc: OidcEmulator) -> None:
    case = Case("moonkey", "cookie", None, "credential")
    with open_site("flask-wsgi", case, emulator, oidc) as site:
        sent = site.client().get("/vault", Accept="text/html")
        assert (sent.status_code, sent.headers["location"]) == (303, "/auth/step-up?next=%2Fvault&max_age=600")
