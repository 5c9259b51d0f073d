"""Two providers during a migration. All that each of the two services receives is recorded on its way there.

Whatever a client sends, in whichever place, no credential is ever among what two services receive, and none that
belongs to one of them by its form or its place is among what the other one receives.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from contract.relay import Relay
from contract.requests import bearer
from contract.stacks import STACKS, Site
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from moonkey_core import CookieSettings
from moonkey_core.emulator import CdpEmulator, Emulator, OidcEmulator, StytchB2BEmulator, StytchEmulator
from moonkey_core.provider import CDP, OIDC, Introspection, Stytch, StytchB2B
from support import quick
from support.odd_jwts import b64
from support.patience import PATIENT
from support.scripted import Received, scripted, wait_until
from support.visitors import OURS

HEADERS = ("authorization", "session-token", "x-other")
"""The headers of the app: the first two are MoonKey's for session tokens, the last one the other provider's."""
COOKIES = {"moonkey": ("m_session", "m_jwt"), "other": ("o_session", "o_jwt")}
QUICK = {("introspection", "starlette")}
WITH_WEBSOCKETS = ("starlette", "fastapi")


class Upstream(Relay):
    """Hands calls on to a service, and keeps all of each: the address, the headers, the body."""

    def __init__(self, api: httpx.Client) -> None:
        super().__init__(api, lambda _: False)
        self._told: list[str] = []

    def __call__(self, request: Received) -> bytes:
        basic = request.headers.get("authorization", "").partition("Basic ")[2]
        whole = [request.path, *request.headers.values(), request.body.decode("utf-8", "replace")]
        whole.append(base64.b64decode(basic).decode("utf-8", "replace"))
        self._told.append("\n".join([*whole, *map(unquote, whole)]))
        return super().__call__(request)

    def knows(self, text: str) -> bool:
        """Whether this text was in any call since the last :meth:`forget`."""
        return any(text in one for one in self._told)

    def forget(self) -> None:
        self._told.clear()


@contextmanager
def recorded(base_url: str) -> Iterator[Upstream]:
    with quick.Client(base_url=base_url) as api:
        upstream = Upstream(api)
        with scripted(upstream) as server:
            upstream.url = server.url
            yield upstream


@dataclass(frozen=True)
class Person:
    """Somebody who is signed in, and what they can send."""

    token: str
    jwt: str
    old_jwt: str
    bad: Mapping[str, str]
    """Credentials that are forged or malformed, and name the provider where they name any."""

    @property
    def secrets(self) -> list[str]:
        """What may be known to its own provider only. A signature is what makes a JWT a credential."""
        found = [self.token, self.jwt, self.old_jwt, *self.bad.values()]
        return [one for one in found if len(one) > 16]


def broken(jwt: str, token: str) -> dict[str, str]:
    """Forged and malformed credentials made of good ones."""
    head, body, signature = jwt.split(".")
    unsigned, shared = b64(b'{"alg":"none"}'), b64(b'{"alg":"HS256","typ":"JWT"}')
    return {
        "forged": f"{head}.{body}.{signature[:-8]}AAAAAAAA",
        "unsigned": f"{unsigned}.{body}.",
        "a secret as the key": f"{shared}.{body}.{signature}",
        "in two parts": f"{head}.{body}",
        "in five parts": f"{head}.{body}.{signature}.{signature}.{signature}",
        "padded": jwt + "==",
        "a token of nobody": token[:-6] + "000000",
    }


class MoonKeySide:
    """MoonKey, whose app is moving."""

    name, headers, extension = "moonkey", ("authorization", "session-token"), "session_expires_in"

    def __init__(self, emulator: Emulator) -> None:
        self.emulator, self.base_url = emulator, emulator.base_url

    def sign_in(self) -> Person:
        emulator = self.emulator
        found = emulator.sign_in(email="ada@example.com")
        old = emulator.mint({"iat": 1_000, "exp": 2_000}, session_id=found.session_id)
        return Person(found.session_token, found.session_jwt, old, broken(found.session_jwt, found.session_token))


class IntrospectionSide:
    """An OIDC issuer whose tokens are introspected."""

    name, headers, extension = "other", ("x-other",), ""

    def __init__(self, oidc: OidcEmulator) -> None:
        self.oidc, self.base_url = oidc, oidc.base_url

    def provider(self, url: str, cookies: CookieSettings) -> Any:
        oidc = self.oidc
        asked = Introspection(
            oidc.introspection_url.replace(oidc.base_url, url),
            issuer=oidc.issuer,
            client_id=oidc.client_id,
            client_secret=oidc.client_secret,
            revocation_url=oidc.revocation_url.replace(oidc.base_url, url),
        )
        keys = oidc.jwks_url.replace(oidc.base_url, url)
        made = OIDC(oidc.issuer, oidc.audience, jwks_url=keys, introspection=asked, name="other")
        return made.at(credential_headers="x-other", cookies=cookies)

    def sign_in(self) -> Person:
        found = self.oidc.sign_in("bob@example.com", age=30)
        old = self.oidc.token(user_id=found.user_id, session_id=found.session_id, age=900, life=600)
        return Person(found.opaque_token, found.access_token, old, broken(found.access_token, found.opaque_token))


class StytchSide:
    """A consumer project of Stytch."""

    name, headers, extension = "other", ("x-other",), "session_duration_minutes"

    def __init__(self, stytch: StytchEmulator | StytchB2BEmulator) -> None:
        self.stytch, self.base_url = stytch, stytch.base_url

    def provider(self, url: str, cookies: CookieSettings) -> Any:
        made = StytchB2B if isinstance(self.stytch, StytchB2BEmulator) else Stytch
        provider: Any = made(self.stytch.project_id, self.stytch.secret, base_url=url, name="other")
        return provider.at(credential_headers="x-other", cookies=cookies)

    def sign_in(self) -> Person:
        found = self.stytch.sign_in("bob@example.com")
        old = self.stytch.token(session_id=found.session_id, age=900)
        return Person(found.session_token, found.session_jwt, old, broken(found.session_jwt, found.session_token))


class CdpSide:
    """A project of Coinbase CDP: its users have an access token and nothing else."""

    name, headers, extension = "other", ("x-other",), ""

    def __init__(self, cdp: CdpEmulator) -> None:
        self.cdp, self.base_url = cdp, cdp.base_url

    def provider(self, url: str, cookies: CookieSettings) -> Any:
        cdp, root = self.cdp, self.cdp.api_url.replace(self.cdp.base_url, url)
        made = CDP(cdp.api_key_id, cdp.api_key_secret, cdp.project_id, base_url=root, name="other")
        return made.at(credential_headers="x-other", cookies=cookies)

    def sign_in(self) -> Person:
        found = self.cdp.sign_in("bob@example.com")
        old = self.cdp.token("bob@example.com", age=1_800, life=900)
        bad = broken(found.access_token, "opaque-" + "b" * 40)
        return Person(found.access_token, found.access_token, old, bad)


@pytest.fixture(scope="module")
def shared_oidc() -> Iterator[OidcEmulator]:
    with OidcEmulator() as running:
        yield running


SIDES: dict[str, Callable[[pytest.FixtureRequest], Any]] = {
    "introspection": lambda request: IntrospectionSide(request.getfixturevalue("shared_oidc")),
    "stytch": lambda request: StytchSide(request.getfixturevalue("shared_stytch")),
    "stytch_b2b": lambda request: StytchSide(request.getfixturevalue("shared_b2b")),
    "cdp": lambda request: CdpSide(request.getfixturevalue("shared_cdp")),
}


class Two:
    """A site with two providers, and the recorders in front of both."""

    def __init__(self, site: Site, sides: Mapping[str, Any], upstreams: Mapping[str, Upstream]) -> None:
        self.site, self.sides, self.upstreams = site, sides, upstreams

    def other(self, name: str) -> str:
        return next(one for one in self.sides if one != name)


def each_pair() -> pytest.MarkDecorator:
    params = [
        pytest.param((kind, stack), id=f"{kind}-{stack}", marks=() if (kind, stack) in QUICK else pytest.mark.long)
        for kind in SIDES
        for stack in STACKS
    ]
    return pytest.mark.parametrize("two", params, indirect=True, scope="module")


@pytest.fixture(scope="module")
def two(request: pytest.FixtureRequest, shared_emulator: Emulator) -> Iterator[Two]:
    kind, stack = request.param
    shared_emulator.start()
    shared_emulator.reset()
    mine, theirs = MoonKeySide(shared_emulator), SIDES[kind](request)
    with ExitStack() as closing:
        upstreams = {side.name: closing.enter_context(recorded(side.base_url)) for side in (mine, theirs)}
        own, other = (CookieSettings(session_name=session, jwt_name=jwt) for session, jwt in COOKIES.values())
        options = {
            "secret_key": shared_emulator.secret_key,
            "base_url": upstreams["moonkey"].url,
            "jwt_issuer": shared_emulator.issuer,
            "cookies": own,
            "providers": ["moonkey", theirs.provider(upstreams["other"].url, other)],
            "extend_on_activity": 30 * 86_400,
            "expires_in_header": True,
            **({"note_starts": True} if kind == "cdp" else {}),  # a route of the site has a session_max_age
            **PATIENT,
        }
        site = closing.enter_context(STACKS[stack](options))
        yield Two(site, {"moonkey": mine, "other": theirs}, upstreams)


def in_cookies(**values: str) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in values.items() if value)}


def visits(person: Person, name: str, headers: tuple[str, ...]) -> Iterator[tuple[str, str, str, dict[str, str]]]:
    """What a client may send that belongs to this provider: what it is, the method, the path, the headers."""
    session, jwt_name = COOKIES[name]
    opaque = [bearer(person.token) if one == "authorization" else {one: person.token} for one in headers]
    jwts = [bearer(person.jwt), *({one: person.jwt} for one in HEADERS[1:])]
    pair = in_cookies(**{session: person.token, jwt_name: person.jwt})
    alone = in_cookies(**{session: person.token})
    for path in ("/protected", "/strict", "/optional", "/header/session"):
        for sent in (*opaque, *jwts):
            yield "a header", "GET", path, sent
        for sent in (pair, alone):
            yield "cookies", "GET", path, {**OURS, **sent}
    for sent in (bearer(person.old_jwt), {headers[0]: person.old_jwt}):
        yield "an old JWT", "GET", "/protected", sent
    yield "an old pair", "GET", "/protected", in_cookies(**{session: person.token, jwt_name: person.old_jwt})
    for fault, bad in person.bad.items():
        is_opaque = "." not in bad
        for header in headers if is_opaque else HEADERS:
            yield fault, "GET", "/protected", bearer(bad) if header == "authorization" else {header: bad}
        yield f"{fault}, in a cookie", "GET", "/protected", in_cookies(**{session: bad})
        yield f"{fault}, beside a token", "GET", "/protected", in_cookies(**{session: person.token, jwt_name: bad})
    for path in ("/auth/session", "/auth/sessions", "/auth/step-up"):
        yield "a page", "GET", path, {**OURS, **pair}
    for path in ("/header/sessions/revoke-others", "/header/sign-out"):
        yield "a method of the routes", "POST", path, jwts[0]
    for path in ("/auth/sessions/revoke-others", "/auth/sign-out"):
        yield "a form", "POST", path, {**OURS, **pair}
    yield "a session that is over", "GET", "/protected", opaque[0]


@each_pair()
@pytest.mark.parametrize("name", COOKIES)
def test_neither_is_told_a_credential_of_the_other(two: Two, name: str) -> None:
    side, own, other = two.sides[name], two.upstreams[name], two.upstreams[two.other(name)]
    person, bystander = side.sign_in(), two.sides[two.other(name)].sign_in()
    statuses = set()
    with quick.Client(base_url=two.site.url) as web:
        for what, method, path, headers in visits(person, name, side.headers):
            other.forget()
            response = web.request(method, path, headers=headers)
            statuses.add(response.status_code)
            assert response.status_code < 500 or response.status_code == 501, (what, path, response.text)
            found = [one for one in person.secrets if other.knows(one)]
            assert found == [], (what, path, len(found))
        assert own.knows(person.token)  # it is recorded, and was asked
        if side.extension:
            assert wait_until(lambda: own.knows(side.extension))  # it is made beside the requests
        assert {200, 401} <= statuses
        theirs = in_cookies(**{COOKIES[two.other(name)][0]: bystander.token})  # of CDP, the JWT by itself
        assert web.get("/protected", headers=theirs).status_code == 200  # somebody else's session goes on


@each_pair()
@pytest.mark.parametrize("name", COOKIES)
def test_connections(two: Two, name: str, request: pytest.FixtureRequest) -> None:
    if request.node.callspec.params["two"][1] not in WITH_WEBSOCKETS:
        pytest.skip("this stack has no WebSockets")
    side, other = two.sides[name], two.upstreams[two.other(name)]
    person = side.sign_in()
    session, jwt_name = COOKIES[name]
    url = two.site.url.replace("http", "ws")
    credentials = [person.token, person.jwt, person.old_jwt, *person.bad.values()]
    lines = [{header: one} for one in credentials for header in side.headers[-1:]]
    lines += [
        in_cookies(**{session: person.token, jwt_name: one}) | {"Origin": two.site.url} for one in credentials
    ]
    other.forget()
    accepted = 0
    for headers in lines:
        for path in ("/socket", "/socket/strict"):
            with contextlib.suppress(WebSocketException), connect(url + path, additional_headers=headers) as made:
                accepted += made.recv(10) == "hello"
    assert accepted >= 4
    assert [one for one in person.secrets if other.knows(one)] == []


@each_pair()
def test_what_stands_in_a_place_of_the_other_is_told_to_one_of_them_at_most(two: Two) -> None:
    """An opaque credential goes by its place, a JWT by its issuer; a second try there is never."""
    people = {name: side.sign_in() for name, side in two.sides.items()}
    with quick.Client(base_url=two.site.url) as web:
        for name, person in people.items():
            wrong = two.other(name)
            session, jwt_name = COOKIES[wrong]
            sent = [person.token, person.jwt, person.old_jwt, *person.bad.values()]
            for one in sent:
                for headers in (
                    {two.sides[wrong].headers[-1]: one},
                    in_cookies(**{session: one}),
                    in_cookies(**{session: people[wrong].token, jwt_name: one}),
                    in_cookies(**{COOKIES[name][0]: one, session: people[wrong].token}),
                ):
                    for upstream in two.upstreams.values():
                        upstream.forget()
                    assert web.get("/protected", headers=headers).status_code in (200, 401, 400)
                    told = [place for place, upstream in two.upstreams.items() if upstream.knows(one)]
                    assert len(told) < 2, (name, list(headers))
                    if one.count(".") == 2:
                        assert told in ([], [name]), (name, list(headers))


@pytest.mark.parametrize("first", COOKIES)
def test_signing_out_shows_a_jwt_to_its_own_provider_only(
    first: str, emulator: Emulator, stytch: StytchEmulator
) -> None:
    """Whichever of the two has the routes, and whatever stands in which place, genuine or not."""
    sides: dict[str, Any] = {"moonkey": MoonKeySide(emulator), "other": StytchSide(stytch)}
    with ExitStack() as closing:
        upstreams = {name: closing.enter_context(recorded(side.base_url)) for name, side in sides.items()}
        own, other = (CookieSettings(session_name=session, jwt_name=jwt) for session, jwt in COOKIES.values())
        providers = ["moonkey", sides["other"].provider(upstreams["other"].url, other)]
        options = {
            "secret_key": emulator.secret_key,
            "base_url": upstreams["moonkey"].url,
            "jwt_issuer": emulator.issuer,
            "cookies": own,
            "providers": providers if first == "moonkey" else providers[::-1],
            **PATIENT,
        }
        site = closing.enter_context(STACKS["starlette"](options))
        web = closing.enter_context(quick.Client(base_url=site.url))
        people = {name: side.sign_in() for name, side in sides.items()}
        for name, person in people.items():
            for jwt in (person.jwt, person.old_jwt, *(one for one in person.bad.values() if "." in one)):
                places = [{header: jwt} for header in HEADERS[1:]]
                if jwt.count(".") == 2:
                    places.append(bearer(jwt))
                for session, jwt_name in COOKIES.values():
                    places.append(in_cookies(**{session: jwt}))
                    places.append(in_cookies(**{session: "x" * 44, jwt_name: jwt}))
                    places.append({**in_cookies(**{session: jwt}), "Authorization": "Bearer a b"})
                for headers in places:
                    for route in ("/auth/sign-out", "/header/sign-out"):
                        for upstream in upstreams.values():
                            upstream.forget()
                        response = web.post(route, headers={**OURS, **headers})
                        assert response.status_code in (200, 401, 403, 501), (name, route, list(headers))
                        told = [place for place, upstream in upstreams.items() if upstream.knows(jwt)]
                        assert told in ([], [name]), (name, route, list(headers))
