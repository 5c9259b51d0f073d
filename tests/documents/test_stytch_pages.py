"""The document on Stytch says what its pages, cookies and the hydrating of its SDK are like."""

from __future__ import annotations

import json
import re

from contract.stytch_sites import options

from moonkey_core import CookieSettings, MoonKey
from moonkey_core.emulator import StytchEmulator
from moonkey_core.flows import HEADER_ROUTES, ROUTES, FlowRequest
from moonkey_core.web.request import RequestInfo, mapped_headers
from support.documents import block, run, text

DOCUMENT = "docs/stytch.md"


def test_the_pages() -> None:
    with run(DOCUMENT, "pages")["client"] as client:
        assert client.settings.cookies.all_names == (
            "stytch_session",
            "stytch_session_jwt",
            "stytch_session_jwt_binding",
        )
        assert "sign_in" in client.capabilities
        assert "hydrate" not in client.capabilities


def test_hydrating(stytch: StytchEmulator) -> None:
    """The answer has the members that are shown, and the script calls the route and reads them."""
    script, shown = block(DOCUMENT, "hydrate").code, json.loads(block(DOCUMENT, "hydrated").code)
    route = next(one for one in ROUTES if one.name == "hydrate")
    assert f'fetch("/auth{route.path}", {{ method: "{route.methods[0]}" }})' in script
    person = stytch.sign_in()
    headers = mapped_headers({"authorization": f"Bearer {person.session_token}"})
    info = RequestInfo(method="POST", scheme="https")
    with MoonKey(**options(stytch, hydrate="tokens")) as client:
        auth = client.authenticate({"authorization": f"Bearer {person.session_token}"})
        asked = FlowRequest(route="hydrate", routes="/auth", info=info, headers=headers, auth=auth)
        answer = json.loads(client.flows.answer(asked).body)
    assert answer.keys() == shown.keys()
    assert {"session_token", "session_jwt"} <= set(re.findall(r"session_\w+", script)) & answer.keys()
    for name in ("user", "session"):
        assert shown[name].keys() <= answer[name].keys()


def test_handing_a_session_over() -> None:
    """The script calls the routes without cookies, and reads what they answer."""
    script = block(DOCUMENT, "hand over").code
    called = re.findall(r'post\("/auth/api(/[^"]+)"', script)
    paths = {one.path for one in HEADER_ROUTES if one.name in ("send_otp", "verify_otp")}
    assert set(called) == paths
    assert 'session_routes(url_prefix="/auth/api", mode="header")' in text(DOCUMENT)


def test_names_that_do_not_meet_those_of_the_sdk() -> None:
    (shown,) = re.findall(r"`(CookieSettings\(session_name=.*?\))`", text(DOCUMENT))
    found = eval(shown, {"CookieSettings": CookieSettings})
    assert found.names == ("__Host-session", "__Host-jwt")
