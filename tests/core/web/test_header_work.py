"""S3, S41. What a request's headers cost is linear in their bytes: steps are counted, not seconds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import islice, product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from moonkey_core import CookieSettings, CrossSiteRequest, MissingCredentials, RequestRefused
from moonkey_core._plan import Fetch, Outcome, run
from moonkey_core.auth import Auth, peek_error
from moonkey_core.flows.forms import body_fields, request_device
from moonkey_core.flows.routes import FlowRequest
from moonkey_core.flows.sealed_cookies import open_cookie
from moonkey_core.web.credentials import presents_any
from moonkey_core.web.origin import may_use_cookies
from moonkey_core.web.pages import Visit, refuse_visit
from moonkey_core.web.request import HeaderView, RequestInfo, asgi_headers, mapped_headers, wsgi_headers
from support.decisions import Decisions, replied
from support.visitors import SESSION
from support.work import assert_linear

NAMES = (
    *("authorization", "session-token", "cookie", "origin", "sec-fetch-site", "host", "accept", "content-type"),
    *("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "user-agent", "x-request-id"),
)
MANY = 60
MOST_READS = 40  # of the headers, each of which goes through all lines once

DECISIONS = Decisions(cookies=CookieSettings(), trusted_proxies=["127.0.0.1"])
INFOS = (RequestInfo("POST", "http", "127.0.0.1"), RequestInfo("GET", "wss", "127.0.0.1", is_websocket=True))
VISIT = Visit("GET", "/", "/auth")


def all_that_is_read(view: HeaderView) -> None:
    """Whatever our packages do with the headers of a request."""
    core, chosen = DECISIONS.core, DECISIONS.settings
    presents_any(view, chosen)
    for info in INFOS:
        found = core.begin(view, None, info)
        auth = found if isinstance(found, Auth) else run(core.finish(found), usual)
        refuse_visit(peek_error(auth) or MissingCredentials(), chosen, view, VISIT)
        refuse_visit(CrossSiteRequest(), chosen, view, VISIT)
        may_use_cookies(info, view, chosen)
        request = FlowRequest(route="sign_out", routes="/auth", info=info, headers=view, auth=auth, body=b"a=b")
        request_device(request, chosen)
        open_cookie(view, chosen, "otp")
        with suppress(RequestRefused):
            body_fields(request)


def usual(fetch: Fetch) -> Outcome:
    """Whoever is asked about knows nobody."""
    return replied(401, {"code": "session_not_found", "message": "no"})


def held(name: str, values: list[str]) -> HeaderView:
    return lambda asked: values if asked == name else ()


VALUES: dict[str, Callable[[str, int], list[str]]] = {
    "lines": lambda unit, count: [unit] * count,
    "joined by a comma": lambda unit, count: [",".join([unit] * count)],
    "joined by a semicolon": lambda unit, count: ["; ".join([unit] * count)],
    "one long value": lambda unit, count: [unit * count],
}
UNITS = st.text(st.sampled_from("a,; =\t.\"'%:/[]@q*0~-\xff") | st.sampled_from(SESSION), min_size=1, max_size=10)


@pytest.mark.rule("S3", "S41")
@pytest.mark.long
@pytest.mark.parametrize("shape", VALUES)
@settings(max_examples=5)
@given(name=st.sampled_from(NAMES), unit=UNITS)
@example(name="cookie", unit=f"{SESSION}=a")
@example(name="cookie", unit=f",{SESSION}=a")
@example(name="cookie", unit=";")
@example(name="cookie", unit=" ")
@example(name="authorization", unit="Bearer a")
@example(name="authorization", unit=", bearer")
@example(name="authorization", unit="basic ")
@example(name="session-token", unit="a")
@example(name="accept", unit="*/*,text/html;q=")
@example(name="x-forwarded-for", unit="10.0.0.1")
@example(name="host", unit="a.")
def test_what_is_read_costs_each_byte_the_same(shape: str, name: str, unit: str) -> None:
    assert_linear(lambda count: all_that_is_read(held(name, VALUES[shape](unit, count))), MANY)


@pytest.mark.rule("S3", "S41")
@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_lines_are_collected_in_one_pass(name: str) -> None:
    """A tuple that is made anew for each line costs seconds, where there are twenty thousand."""

    def asgi(count: int) -> None:
        assert len(asgi_headers([(name.encode(), b"a")] * count)(name)) == count

    def spelled(count: int) -> None:
        spellings = {"".join(pair) for pair in islice(product(*zip(name, name.upper(), strict=True)), count)}
        assert len(mapped_headers(dict.fromkeys(spellings, "a"))(name)) == len(spellings)

    def joined(count: int) -> None:
        assert len(wsgi_headers({"HTTP_COOKIE": "a," * count})("cookie")) == 1

    for view in (asgi, spelled, joined):
        assert_linear(view, 300)


@pytest.mark.rule("S3")
def test_headers_are_asked_for_a_bounded_number_of_times() -> None:
    """So that what one pass costs is what a request costs."""
    for name in NAMES:
        asked: list[str] = []

        def view(wanted: str, name: str = name, asked: list[str] = asked) -> list[str]:
            asked.append(wanted)
            return ["a"] * MANY if wanted == name else []

        all_that_is_read(view)
        assert len(asked) <= MOST_READS * len(INFOS)


def test_the_meter_sees_what_is_quadratic() -> None:
    """Else the tests above could not fail."""

    def rebuilt(count: int) -> None:
        found: tuple[str, ...] = ()
        for _ in range(count):
            found = (*found, "a")
            wsgi_headers({})  # a step of ours in between, as the meter counts those

    with pytest.raises(AssertionError):
        assert_linear(rebuilt, 300)
