"""Write what a version stores and hands out, for the tests of the next one.

Run it with the source of the version that is landed, before a change that touches a stored form is begun::

    git archive <commit> | tar -x -C /tmp/landed
    PYTHONPATH=/tmp/landed:/tmp/landed/tests python tests/stored_forms/write.py > tests/stored_forms/landed.json

A real Redis, the emulator and a database of Django are filled by that version's own code. To see that the landed
version reads what this one stores, write the file with this source, and run the tests beside it with the other.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from moonkey_core import CookieSettings, MoonKey, SignInSettings
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.flows import FlowRequest, FlowResponse
from moonkey_core.web.request import RequestInfo
from support.redis_server import RedisServer

SECRET = "sk_test_stored_forms_0123456789"
CACHE_SECRET = "a cache secret of 32 characters!"
API = "https://api.moonkey.fun"
GET, POST = RequestInfo("GET", "https", "127.0.0.1"), RequestInfo("POST", "https", "127.0.0.1")
_KEPT = ("content-type",)


class Recorder(httpx.BaseTransport):
    """Brings calls of the usual address to an emulator, and keeps them with their answers."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._inner = httpx.HTTPTransport(verify=False)
        self.calls: list[dict[str, Any]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        sent = request.read()
        headers = {name: request.headers[name] for name in ("authorization", *_KEPT) if name in request.headers}
        answer = self._inner.handle_request(
            httpx.Request(request.method, self._url + path, headers=headers, content=sent)
        )
        body = answer.read()
        call = {"method": request.method, "path": path, "status": answer.status_code}
        self.calls.append({**call, "sent": json.loads(sent or b"null"), "answer": json.loads(body or b"null")})
        kept = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
        return httpx.Response(answer.status_code, headers=kept, content=body)

    def close(self) -> None:
        self._inner.close()


def headers_of(lines: dict[str, str]) -> Any:
    return lambda name: [lines[name]] if name in lines else []


class Browser:
    """Sends forms to the routes, and keeps the cookies of each response."""

    def __init__(self, client: Any, cookies: dict[str, str] | None = None) -> None:
        self.client = client
        self.cookies = dict(cookies or {})

    @property
    def headers(self) -> dict[str, str]:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        browser = {"accept": "text/html", "sec-fetch-site": "same-origin", "host": "app.example.com"}
        return {**browser, **({"cookie": cookie} if cookie else {})}

    def send(self, route: str, fields: dict[str, str] | None = None, query: str = "") -> FlowResponse:
        info = GET if fields is None else POST
        body = b"" if fields is None else urlencode(fields).encode()
        lines = {
            **self.headers,
            **({} if fields is None else {"content-type": "application/x-www-form-urlencoded"}),
        }
        view = headers_of(lines)
        auth = self.client.authenticate(view, None, info)
        request = FlowRequest(
            route=route, routes="/auth", info=info, headers=view, auth=auth, query=query, body=body
        )
        response: FlowResponse = self.client.flows.answer(request)
        self.take(value for name, value in response.headers if name == "set-cookie")
        return response

    def take(self, lines: Any) -> None:
        for line in lines:
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies = {**self.cookies, name: value} if value else _without(self.cookies, name)


def _without(cookies: dict[str, str], name: str) -> dict[str, str]:
    return {known: value for known, value in cookies.items() if known != name}


def contents(server: RedisServer) -> dict[str, Any]:
    """All of a Redis: strings with the milliseconds that they last, and rows of streams, in hexadecimal."""
    found: dict[str, Any] = {}
    for key in sorted(server.client.keys()):
        if server.client.type(key) == b"stream":
            rows = [fields[b"entry"].hex() for _, fields in server.client.xrange(key)]
            found[key.decode()] = {"rows": rows}
        else:
            found[key.decode()] = {"value": server.client.get(key).hex(), "ttl_ms": server.client.pttl(key)}
    return found


def redis_of(emulator: Emulator, person: SignedIn, **options: Any) -> dict[str, Any]:
    """What a process leaves in Redis that has verified a token and a JWT, and has revoked in all ways."""
    with RedisServer() as server:
        http_client = httpx.Client(transport=Recorder(emulator.base_url))
        settings: Any = {
            "redis_url": server.url,
            "jwt_issuer": emulator.issuer,
            "session_cache_ttl": 60,
            **options,
        }
        with MoonKey(SECRET, http_client=http_client, **settings) as client:
            feed = client._core.feed
            assert feed is not None
            deadline = time.monotonic() + 30
            while not feed.is_live:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            for credential in (person.session_token, person.session_jwt):
                assert client.authenticate({"session-token": credential}).is_authenticated
            revoked_at = time.time()
            client.revocations.add(session_id="sess_ended")
            client.revocations.add(user_id="user_blocked", keep="sess_kept")
            client.revocations.add(user_id="user_é")
            client.revocations.add(issued_before=1_700_000_000.0)
            client.revocations.add_cutoff("user_cut", keep="sess_stays")
            while feed.unsent:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            found = contents(server)
            assert len(found) == 4, "the epoch, the stream, a key set and a reply about a token"
            return {"revoked_at": revoked_at, "keys": found}


def cookies_of(emulator: Emulator) -> dict[str, Any]:
    """The cookies of a browser in the midst of each way to sign in, and the calls that were made afterwards."""
    found: dict[str, Any] = {}
    recorder = Recorder(emulator.base_url)
    settings: Any = {"cookies": CookieSettings(), "sign_in": SignInSettings(), "jwt_issuer": emulator.issuer}
    with MoonKey(SECRET, http_client=httpx.Client(transport=recorder), **settings) as client:

        def kept(name: str, browser: Browser, **more: Any) -> None:
            found[name] = {"cookies": dict(browser.cookies), **more}
            recorder.calls.clear()

        browser = Browser(client)
        browser.send("send_otp", {"address": "ada@example.com", "next": "/inbox", "remember_me": "on"})
        code = emulator.outbox()[0].code
        kept("otp", browser, fields={"code": code}, next="/inbox")
        assert browser.send("verify_otp", {"code": code}).status == 303
        found["otp"]["calls"] = list(recorder.calls)

        signed_in = dict(browser.cookies)
        kept("pair", browser)
        assert client.authenticate(headers_of(Browser(client, signed_in).headers), None, GET).is_authenticated
        token = signed_in["__Host-moonkey_session"]
        verified = client.sessions.verify(session_token=token)
        found["pair"] |= {"calls": list(recorder.calls), "user": verified.user.id, "session": verified.session.id}

        browser = Browser(client, signed_in)
        browser.send("step_up_send_otp", {"which": "email", "next": "/safe"})
        code = emulator.outbox()[0].code
        kept("step_up", browser, fields={"code": code}, next="/safe")
        assert browser.send("step_up_verify_otp", {"code": code}).status == 303
        found["step_up"]["calls"] = [*found["pair"]["calls"], *recorder.calls]

        browser = Browser(client)
        start = client.flows.oauth_state(next="/welcome", remember_me=True)
        browser.take([start.set_cookie])
        query = urlencode({"state": start.state, "token": emulator.oauth_token("ben@example.com")})
        kept("oauth", browser, query=query, next="/welcome")
        assert browser.send("oauth", query=query).status == 303
        found["oauth"]["calls"] = list(recorder.calls)
    return found


def database() -> str:
    """The tables of a project with mapped users, and two of them, as SQL."""
    import django
    from django.conf import settings
    from django.core.management import call_command

    path = Path(tempfile.mkdtemp(), "landed.sqlite3")
    settings.configure(
        SECRET_KEY="only-for-tests",
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "moonkey_django.users"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        MOONKEY={"SECRET_KEY": SECRET, "USERS": "match"},
        USE_TZ=True,
    )
    django.setup()
    call_command("migrate", verbosity=0)
    from django.contrib.auth.models import User

    from moonkey_django.users.models import MoonKeyUser

    for name, moonkey_id in (("ada", "user_Ada1"), ("ben", "Ben2")):
        MoonKeyUser.objects.create(user=User.objects.create(username=name), moonkey_id=moonkey_id)
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump())


def main() -> None:
    """Write it to the standard output."""
    with Emulator(secret_key=SECRET) as emulator:
        person = emulator.sign_in(email="cy@example.com")
        jwks = httpx.get(
            f"{emulator.base_url}/v1/auth/jwks/default", headers={"authorization": f"Bearer {SECRET}"}
        ).json()
        found = {
            "secret_key": SECRET,
            "cache_secret": CACHE_SECRET,
            "issuer": emulator.issuer,
            "jwks": jwks,
            "person": {
                name: getattr(person, name) for name in ("user_id", "session_id", "session_token", "session_jwt")
            },
            "redis": redis_of(emulator, person),
            "redis_with_cache_secret": redis_of(emulator, person, cache_secret=CACHE_SECRET),
            "cookies": cookies_of(emulator),
            "database": database(),
            "at": time.time(),
        }
    json.dump(found, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
