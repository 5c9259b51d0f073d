"""Members that hold secrets never come out of a reader, whichever they are and wherever they stand (rule S30)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from moonkey_core._plan import run
from moonkey_core.models import Login
from moonkey_core.providers.moonkey.wire import (
    parse_login,
    parse_otp_request,
    parse_session,
    parse_user,
    without_secrets,
)
from moonkey_core.web.request import RequestInfo
from support.decisions import NOW, replied, verified_body
from support.odd_jwts import good
from support.scripted_api import KnownToTheApi

SECRETS = (
    "session_token",
    "session_jwt",
    "access_token",
    "refresh_token",
    "id_token",
    "secret",
    "recovery_codes",
)
TOKEN = "session_" + "t" * 40
HIDDEN = "hidden-value"
SESSION: dict[str, Any] = {"id": "sess_1", "user_id": "user_1", "expires_at": int(NOW) + 86_400}
USER: dict[str, Any] = {"user_id": "user_1", "email": "me@example.com"}

NESTED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "at once": lambda secret: secret,
    "in an object": lambda secret: {"kept": secret},
    "in a list": lambda secret: {"kept": [secret]},
    "in a list of lists": lambda secret: {"kept": [1, [["x"], [secret]]]},
    "in an object of a list of an object": lambda secret: {"kept": {"more": [{"most": secret}]}},
}


def credentials_of(login: Login) -> list[str | None]:
    """A login's own two are what it is for; nothing else of it may hold any."""
    return [login.session_token, login.session_jwt]


READERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "session": lambda more: parse_session({**SESSION, **more}).extra,
    "factor": lambda more: parse_session({**SESSION, "factors": [{"type": "otp", **more}]}).factors[0].extra,
    "device": lambda more: parse_session({**SESSION, "device_fingerprint": {"ip": "::1", **more}}).device,
    "older device": lambda more: parse_session({**SESSION, "device_info": {"ip": "::1", **more}}).device,
    "user": lambda more: parse_user({**USER, **more}).extra,
    "sent code": lambda more: parse_otp_request({"method_id": "em_1", **more}).extra,
    "plain": without_secrets,
}


@pytest.mark.parametrize("nested", NESTED)
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", SECRETS)
def test_it_comes_out_of_no_reader(name: str, reader: str, nested: str) -> None:
    found = READERS[reader](NESTED[nested]({name: HIDDEN, "colour": "grey"}))
    extra = found if isinstance(found, Mapping) else found.extra
    assert HIDDEN not in json.dumps(extra)
    assert name not in json.dumps(extra)
    assert "grey" in json.dumps(extra)


@pytest.mark.parametrize("nested", NESTED)
@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("value", [[HIDDEN], {"a": HIDDEN}, HIDDEN], ids=["list", "object", "text"])
def test_whatever_its_value_is(name: str, nested: str, value: object) -> None:
    body = NESTED[nested]({name: value, "colour": "grey"})
    for found in (parse_session({**SESSION, "more": body}).extra, without_secrets({"more": body})):
        assert HIDDEN not in json.dumps(found)
        assert "grey" in json.dumps(found)


@pytest.mark.parametrize("nested", NESTED)
@pytest.mark.parametrize("name", SECRETS)
def test_nor_out_of_a_login(name: str, nested: str) -> None:
    planted = NESTED[nested]({name: HIDDEN, "colour": "grey"})
    body = {"user": {**USER, "x": planted}, "session": {**SESSION, "x": planted}, "x": planted}
    login = parse_login({**body, "session_token": TOKEN, "session_jwt": "a.b.c"})
    assert login.session is not None
    assert credentials_of(login) == [TOKEN, "a.b.c"]
    for extra in (login.extra, login.user.extra, login.session.extra):
        assert HIDDEN not in json.dumps(extra)
        assert "grey" in json.dumps(extra)


@pytest.mark.parametrize("name", SECRETS)
class TestOfARequest:
    """What the app sees of whoever is signed in, and what is kept of them."""

    def planted(self, name: str) -> dict[str, Any]:
        """One at every depth."""
        return {place: wrap({name: HIDDEN, "colour": "grey"}) for place, wrap in NESTED.items()}

    def check(self, auth: Any) -> None:
        assert auth.session is not None
        for extra in (auth.session.extra, auth.user.extra):
            assert HIDDEN not in json.dumps(extra)
        assert "grey" in json.dumps(auth.session.extra)

    @pytest.mark.parametrize("header", ["session-token", "authorization"])
    def test_with_a_token(self, name: str, header: str) -> None:
        planted = self.planted(name)
        decisions = KnownToTheApi([TOKEN], session_cache_ttl=30)
        decisions.good[TOKEN] = {"session": planted, "user": {**USER, **planted}}
        credential = TOKEN if header == "session-token" else f"Bearer {TOKEN}"
        for source in ("remote", "cache"):
            auth = decisions.authenticate(credential, header)
            assert auth.source == source
            self.check(auth)

    def test_with_a_jwt(self, name: str) -> None:
        planted = self.planted(name)
        decisions, jwt = KnownToTheApi(), good(NOW, session={"id": "sess_1", **planted}, **planted)
        for source in ("local", "cache"):
            auth = decisions.authenticate(jwt)
            assert auth.source == source
            self.check(auth)

    @pytest.mark.parametrize("has_jwt", [True, False])
    def test_with_a_pair(self, name: str, has_jwt: bool) -> None:
        planted = self.planted(name)
        decisions = KnownToTheApi([TOKEN], session_cache_ttl=30, cookies=True)
        decisions.good[TOKEN] = {"session": planted, "user": {**USER, **planted}}
        cookies = f"__Host-moonkey_session={TOKEN}"
        if has_jwt:
            cookies += f"; __Host-moonkey_jwt={good(NOW, session={'id': 'sess_1', **planted})}"
        for _ in range(2):
            self.check(decisions.read({"cookie": [cookies]}, None, RequestInfo("GET", "https")))

    def test_what_is_kept_for_the_fleet(self, name: str) -> None:
        planted = self.planted(name)
        user = {**USER, **planted}
        members: dict[str, Any] = {"session": planted, "user": user, name: HIDDEN, "more": HIDDEN}
        body = verified_body(**members)
        stored = KnownToTheApi().core.provider.without_credentials(body)
        assert isinstance(stored, bytes)
        kept = stored.decode()
        assert HIDDEN not in kept
        assert "grey" in kept

    def test_a_user_and_a_list_of_sessions(self, name: str) -> None:
        planted = self.planted(name)
        decisions = KnownToTheApi()
        body: dict[str, Any] = {"sessions": [{**SESSION, **planted}], "user": {**USER, **planted}}
        decisions.answer = lambda _: replied(200, body)
        user = run(decisions.core.able_to("get_user").get_user("user_1"), decisions.exchange)
        (session,) = run(decisions.core.able_to("list_sessions").list_sessions("user_1"), decisions.exchange)
        for extra in (user.extra, session.extra):
            assert HIDDEN not in json.dumps(extra)
            assert "grey" in json.dumps(extra)
