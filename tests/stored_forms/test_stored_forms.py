"""What the landed version has stored and handed out is read: in Redis, in browsers, in the database.

Old and new processes run side by side while an app is deployed. ``landed.json`` was written by the landed version
itself, see ``write.py``; the time of these tests is that of the file.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import time_machine

from moonkey_core import Auth, CookieSettings, MoonKey, SignInSettings, User
from moonkey_core.events import Event
from moonkey_core.flows import FlowRequest, FlowResponse
from moonkey_core.web.request import HeaderView, RequestInfo
from support.redis_server import RedisServer, need_redis
from support.scripted import wait_until
from support.visitors import JWT, SESSION

LANDED: dict[str, Any] = json.loads(Path(__file__).with_name("landed.json").read_text(encoding="utf-8"))
PERSON: dict[str, str] = LANDED["person"]
GET, POST = RequestInfo("GET", "https", "127.0.0.1"), RequestInfo("POST", "https", "127.0.0.1")
AS_STORED = pytest.mark.parametrize("name", ["redis", "redis_with_cache_secret"])


@pytest.fixture(autouse=True)
def _at_that_time() -> Iterator[None]:
    with time_machine.travel(LANDED["at"], tick=True):
        yield


class Api(httpx.BaseTransport):
    """Answers the calls that the landed version made as they were answered then, and no other."""

    def __init__(self, calls: list[dict[str, Any]] | None = None) -> None:
        self.known = calls or []
        self.asked: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        self.asked.append(path)
        sent = json.loads(request.read() or b"null")
        for call in self.known:
            same = (call["method"], call["path"]) == (request.method, path)
            if same and _proof(call["sent"]) == _proof(sent):
                return httpx.Response(call["status"], json=call["answer"])
        return httpx.Response(503)


def _proof(sent: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a call proves, whatever else it says."""
    names = ("method_id", "otp", "token", "session_token", "session_jwt")
    return {name: value for name, value in (sent or {}).items() if name in names}


def client_of(api: Api, **options: Any) -> MoonKey:
    usual = {"jwt_issuer": LANDED["issuer"], "jwks": LANDED["jwks"]}
    http_client = httpx.Client(transport=api)
    return MoonKey(LANDED["secret_key"], http_client=http_client, **{**usual, **options})


def view(lines: Mapping[str, str]) -> HeaderView:
    return lambda name: [lines[name]] if name in lines else []


# --- Redis


@pytest.fixture
def options(name: str) -> dict[str, Any]:
    return {"cache_secret": LANDED["cache_secret"]} if name == "redis_with_cache_secret" else {}


@pytest.fixture
def server(name: str) -> Iterator[RedisServer]:
    """A Redis with what the landed version has left in one."""
    need_redis()
    with RedisServer() as running:
        for key, left in LANDED[name]["keys"].items():
            if "rows" in left:
                for row in left["rows"]:
                    running.client.xadd(key, {"entry": bytes.fromhex(row)})
            else:
                running.client.set(key, bytes.fromhex(left["value"]), px=left["ttl_ms"])
        yield running


@pytest.mark.rule("S37")
@AS_STORED
def test_what_the_landed_version_revokes_is_refused(
    server: RedisServer, name: str, options: dict[str, Any]
) -> None:
    revoked_at = LANDED[name]["revoked_at"]
    before = set(server.client.keys("*:feed:*"))
    events: list[Event] = []
    with client_of(Api(), redis_url=server.url, **options) as client:
        client.hooks.add(events.append)
        known = client.revocations
        feed = client._core.feed
        assert feed is not None
        assert wait_until(lambda: feed.is_live)
        assert wait_until(lambda: known.refuses("sess_ended", "user_1", LANDED["at"]))
        early, late = revoked_at - 60, revoked_at + 60
        for session, user, issued_at, is_refused in (
            ("sess_1", "user_1", early, False),
            ("sess_1", "user_1", 1_700_000_000.0, True),
            ("sess_1", "user_blocked", early, True),
            ("sess_1", "blocked", early, True),
            ("sess_1", "user_blocked", late, False),
            ("sess_kept", "user_blocked", early, False),
            ("sess_1", "user_é", early, True),
            ("sess_1", "user_cut", early, True),
            ("sess_stays", "user_cut", early, False),
        ):
            assert known.refuses(session, user, issued_at) is is_refused, (session, user, issued_at)
        assert known.needs_introspection("sess_1", "user_cut", revoked_at)
        assert not known.needs_introspection("sess_stays", "user_cut", revoked_at)
        known.add(session_id="sess_new")
        assert wait_until(lambda: feed.unsent == 0)
    assert set(server.client.keys("*:feed:*")) == before  # it goes on in the same stream


@AS_STORED
def test_what_the_landed_version_has_verified_costs_no_call(server: RedisServer, options: dict[str, Any]) -> None:
    api = Api()
    stored = {"redis_url": server.url, "session_cache_ttl": 60, "jwks": None, **options}
    with client_of(api, **stored) as client:
        feed = client._core.feed
        assert feed is not None
        assert wait_until(lambda: feed.is_live)
        for credential in (PERSON["session_token"], PERSON["session_jwt"]):
            auth = client.authenticate({"session-token": credential})
            assert auth.user is not None, auth
            assert auth.session is not None
            assert (auth.user.id, auth.session.id) == (PERSON["user_id"], PERSON["session_id"])
        assert api.asked == []
        client.revocations.add(session_id=PERSON["session_id"])
        assert client.authenticate({"session-token": PERSON["session_token"]}).is_rejected


# --- browsers


def visited(api: Api, name: str, route: str) -> tuple[Auth, FlowResponse, dict[str, str]]:
    """Go on where a browser stood when the landed version was replaced; the cookies that are set, by name."""
    landed = LANDED["cookies"][name]
    with client_of(api, cookies=CookieSettings(), sign_in=SignInSettings()) as client:
        is_form = "fields" in landed
        info = POST if is_form else GET
        lines = {
            "accept": "text/html",
            "sec-fetch-site": "same-origin",
            "host": "app.example.com",
            "cookie": "; ".join(f"{name}={value}" for name, value in landed["cookies"].items()),
            "content-type": "application/x-www-form-urlencoded",
        }
        headers = view(lines)
        auth = client.authenticate(headers, None, info)
        request = FlowRequest(
            route=route,
            routes="/auth",
            info=info,
            headers=headers,
            auth=auth,
            query=landed.get("query", ""),
            body=urlencode(landed["fields"]).encode() if is_form else b"",
        )
        response = client.flows.answer(request)
        cookies = [value for name, value in response.headers if name == "set-cookie"]
        cookies += client.cookies_after(auth, cookies)
    return auth, response, {one.partition("=")[0]: one.partition(";")[0].partition("=")[2] for one in cookies}


@pytest.mark.rule("S48")
@pytest.mark.parametrize(
    ("name", "route"), [("otp", "verify_otp"), ("step_up", "step_up_verify_otp"), ("oauth", "oauth")]
)
def test_a_sign_in_that_was_begun_is_finished(name: str, route: str) -> None:
    landed = LANDED["cookies"][name]
    api = Api(landed["calls"])
    _, response, cookies = visited(api, name, route)
    assert response.status == 303, api.asked
    assert dict(response.headers)["location"] == landed["next"]
    signed_in = [call["answer"] for call in landed["calls"] if "session_jwt" in call["answer"]][-1]
    assert (cookies[SESSION], cookies[JWT]) == (signed_in["session_token"], signed_in["session_jwt"])
    assert cookies[f"__Host-moonkey_{name}"] == ""


@pytest.mark.rule("S45")
def test_a_browser_that_is_signed_in_stays_so() -> None:
    landed = LANDED["cookies"]["pair"]
    api = Api(landed["calls"])
    for known in ({}, {"sec-fetch-site": "same-origin"}):
        with client_of(api, cookies=CookieSettings()) as client:
            cookie = "; ".join(f"{name}={value}" for name, value in landed["cookies"].items())
            auth = client.authenticate(view({"cookie": cookie, **known}), None, GET)
            assert auth.user is not None, auth
            assert auth.session is not None
            assert (auth.user.id, auth.session.id) == (landed["user"], landed["session"])
            cookies = client.cookies_after(auth)
            assert not any(value.startswith(f"{SESSION}=") or "Max-Age=0" in value for value in cookies)
    assert len(api.asked) <= 2  # a call each, at most


def test_an_outage_signs_no_such_browser_out() -> None:
    landed = LANDED["cookies"]["pair"]
    with client_of(Api(), cookies=CookieSettings()) as client:
        cookie = "; ".join(f"{name}={value}" for name, value in landed["cookies"].items())
        auth = client.authenticate(view({"cookie": cookie}), None, GET)
        assert not auth.is_rejected
        assert client.cookies_after(auth) == ()


# --- the database


def test_mapped_users_are_found(tmp_path: Path, django_db_blocker: Any) -> None:
    from django.core.management import call_command
    from django.db import connections

    from moonkey_django.users.finding import mapped_user
    from moonkey_django.users.models import MoonKeyUser

    path = tmp_path / "landed.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(LANDED["database"])
    connections.databases["landed"] = {**connections.databases["default"], "NAME": str(path)}
    try:
        with django_db_blocker.unblock():
            call_command("migrate", database="landed", verbosity=0)
            for moonkey_id, name in (("user_Ada1", "ada"), ("Ada1", "ada"), ("user_Ben2", "ben")):
                found = mapped_user(User(moonkey_id), using="landed")
                assert found is not None
                assert found.get_username() == name
            assert mapped_user(User("user_ada1"), using="landed") is None
            ids = MoonKeyUser.objects.using("landed").order_by("moonkey_id").values_list("moonkey_id", flat=True)
            assert list(ids) == ["user_Ada1", "user_Ben2"]
            call_command("makemigrations", "moonkey_users", check=True, dry_run=True, verbosity=0)
            connections["landed"].close()
    finally:
        del connections["landed"]
        del connections.databases["landed"]
