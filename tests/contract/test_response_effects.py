"""What a response gets: credential by kind of response, one table for all five stacks.

All sites verify lazily here, so that they differ in nothing: a view that reads the identity, or one that does not.
The body of a streamed response may still read it, and a cookie that is renewed then could not be sent any more. So
the credential is verified before the headers go out where it stands in the cookies, and only there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest
from contract.behaviour import BROWSING
from contract.kinds import KINDS, Kind
from contract.stacks import Serving, Site, usual_options

from moonkey_core.emulator import Emulator, SignedIn
from support import quick
from support.bindings import BINDING
from support.visitors import JWT, SESSION, pair, signed_in_long_ago, vary, verifications


@dataclass(frozen=True)
class Row:
    """A credential, and what comes of it.

    ``read`` is what a response gets whose view has read the identity, ``streamed`` what a streamed one gets whose
    view has not: ``"-"`` nothing, else what caches are told (``"private"``, ``"no-store"``). ``sets`` are the
    cookies set then, ``calls`` those to the API in the two cases.
    """

    headers: Callable[[SignedIn], dict[str, str]]
    read: str
    streamed: str
    sets: tuple[str, ...] = ()
    calls: tuple[int, int] = (0, 0)


def cookie(value: str) -> dict[str, str]:
    return {"Cookie": f"{SESSION}={value}"}


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


def dead(person: SignedIn) -> str:
    """A token of no session; each person's is another, as what is known of one is remembered."""
    return "session_" + person.session_token[:7:-1]


BASIC = {"Authorization": "Basic dXNlcjpwYXNz"}
NEW, GONE = (f"{JWT}=…", f"{BINDING}=…"), (f"{SESSION}=", f"{JWT}=", f"{BINDING}=")
ROWS = {
    "anonymous": Row(lambda _: {}, "private", "-"),
    "a cookie of the app": Row(lambda _: {"Cookie": "theme=dark"}, "private", "-"),
    "jwt cookie alone": Row(lambda one: {"Cookie": f"{JWT}={one.session_jwt}"}, "private", "-"),
    "another scheme": Row(lambda _: BASIC, "private", "private"),
    "malformed header": Row(lambda _: bearer("a b"), "private", "private"),
    "token": Row(lambda one: bearer(one.session_token), "private", "private", calls=(1, 0)),
    "old jwt": Row(lambda one: bearer(one.session_jwt), "private", "private", calls=(1, 0)),
    "dead token": Row(lambda one: bearer(dead(one)), "private", "private", calls=(1, 0)),
    "token, old pair beside it": Row(
        lambda one: {**bearer(one.session_token), **pair(one)}, "private", "private", calls=(1, 0)
    ),
    "dead token, pair beside it": Row(
        lambda one: {**bearer(dead(one)), **pair(one)}, "private", "private", calls=(1, 0)
    ),
    "malformed header, pair beside it": Row(lambda one: {**bearer("a b"), **pair(one)}, "private", "private"),
    "jwt, old pair beside it": Row(
        lambda one: {**bearer(one.session_jwt), **pair(one)}, "private", "private", calls=(1, 0)
    ),
    "two headers, pair beside them": Row(
        lambda one: {**bearer(one.session_token), "Session-Token": "x", **pair(one)}, "private", "private"
    ),
    "old pair": Row(pair, "no-store", "no-store", NEW, (1, 1)),
    "old pair, another scheme": Row(lambda one: {**BASIC, **pair(one)}, "no-store", "no-store", NEW, (1, 1)),
    "token cookie": Row(lambda one: cookie(one.session_token), "no-store", "no-store", NEW, (1, 1)),
    "malformed jwt cookie": Row(lambda one: pair(one, jwt='"{"'), "no-store", "no-store", NEW, (1, 1)),
    "jwt in the place of the token": Row(lambda one: cookie(one.session_jwt), "no-store", "no-store", GONE),
    "dead cookie": Row(lambda one: cookie(dead(one)), "no-store", "no-store", GONE, (1, 1)),
    "malformed cookie": Row(lambda _: cookie('"a b"'), "no-store", "no-store", GONE),
    "doubled cookie": Row(
        lambda one: {"Cookie": f"{SESSION}={one.session_token}; {SESSION}=other"}, "no-store", "no-store"
    ),
}
USUAL = (
    "anonymous",
    "token",
    "token, old pair beside it",
    "malformed header, pair beside it",
    "old pair",
    "dead cookie",
)
"""The rows of the quick run; each drift between frameworks so far was seen in one of these."""
BODILESS = (204, 304)
STREAMED = ("streamed", "generated file")


@pytest.fixture(scope="module")
def lazy_site(serving: Serving, shared_emulator: Emulator) -> Iterator[tuple[Site, httpx.Client]]:
    shared_emulator.start()
    with (
        serving({**usual_options(shared_emulator), **BROWSING, "lazy": True}) as site,
        quick.Client(base_url=site.url) as client,
    ):
        yield site, client


def expected(row: Row, kind: Kind, *, is_read: bool) -> tuple[bool, str, list[str], int]:
    """Whether it names the credential in ``Vary``; ``Cache-Control``; all cookies; calls."""
    own = dict(kind.headers).get("Cache-Control", "")
    may_read_later = kind.body in STREAMED and kind.status not in BODILESS
    said = row.read if is_read else row.streamed if may_read_later else "-"
    cookies = [one.split(";")[0] for one in kind.cookies]
    if said == "-":
        return False, own, cookies, 0
    keeps_ours = not any(one.startswith(JWT) for one in kind.cookies)
    return (
        True,
        own if own and said == "private" else said,
        [*cookies, *(row.sets if keeps_ours else ())],
        row.calls[0] if is_read else row.calls[1],
    )


def seen(response: httpx.Response, person: SignedIn, calls: int) -> tuple[bool, str, list[str], int]:
    """The same of a response; the values of a JWT and of its binding are left out."""
    named = {"cookie", "authorization", "session-token"} & vary(response)
    assert len(named) in (0, 3)
    assert len(response.headers.get_list("cache-control")) <= 1
    cookies = [line.split(";")[0] for line in response.headers.get_list("set-cookie")]
    for at, one in enumerate(cookies):
        value = one.removeprefix(f"{JWT}=")
        assert value != person.session_jwt
        if value != one and value.count(".") == 2:
            cookies[at] = f"{JWT}=…"
        if re.fullmatch(f"{BINDING}=[0-9a-f]{{64}}", one):
            cookies[at] = f"{BINDING}=…"
    return bool(named), response.headers.get("cache-control", ""), cookies, calls


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")  # Django says so of a file under ASGI
@pytest.mark.rule("S28", "S40", "S42", "S45")
@pytest.mark.parametrize("is_read", [True, False], ids=["read", "unread"])
@pytest.mark.parametrize(
    "name", [name if name in USUAL else pytest.param(name, marks=pytest.mark.long) for name in ROWS]
)
def test_each_kind_of_response(
    lazy_site: tuple[Site, httpx.Client], emulator: Emulator, name: str, is_read: bool
) -> None:
    client, row = lazy_site[1], ROWS[name]
    found, wanted = {}, {}
    person = signed_in_long_ago(emulator)
    for kind in KINDS:
        client.cookies.clear()
        if any(row.calls) and (is_read or KINDS[kind].body in STREAMED):
            person = signed_in_long_ago(emulator)
        emulator.clear_requests()
        query = "?read=1" if is_read else ""
        response = client.get(f"/kinds/{kind}{query}", headers=row.headers(person))
        assert response.status_code == KINDS[kind].status
        if "Vary" in dict(KINDS[kind].headers):
            assert "accept-language" in vary(response)
        found[kind] = seen(response, person, verifications(emulator))
        wanted[kind] = expected(row, KINDS[kind], is_read=is_read)
    assert found == wanted
