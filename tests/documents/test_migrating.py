"""What the document on migrating puts side by side gives the same result on both sides."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests
import streambird  # type: ignore[import-untyped]
from flask import Flask, request
from streambird.exceptions import (  # type: ignore[import-untyped]
    StreambirdException,
    StreambirdResourceNotFound,
    StreambirdUnauthorized,
)

from moonkey_core import (
    ConfigurationError,
    Device,
    InvalidCredentials,
    Login,
    MoonKey,
    NotFound,
    ProviderRejectedKey,
    ProviderUnavailable,
    Stytch,
)
from moonkey_core.emulator import Emulator
from moonkey_flask import current_auth, current_session, current_user
from support.documents import block, rows
from support.patience import PATIENT

DOCUMENT = "docs/migrating.md"
EMAIL = "ada@example.com"

# The packages of others leave the closing of their connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def pairs(heading: str) -> list[tuple[str, str]]:
    """The two expressions of each row of a table."""
    found = [tuple(cell.strip("`") for cell in cells) for cells in rows(DOCUMENT, heading)]
    assert all(len(one) == 2 for one in found)
    return [(one[0], one[1]) for one in found]


def options(emulator: Emulator) -> dict[str, Any]:
    return {"secret_key": emulator.secret_key, "base_url": emulator.base_url, **PATIENT}


def sign_in(emulator: Emulator) -> Login:
    """Somebody on a known device, whose session has claims."""
    with MoonKey(**options(emulator)) as client:
        method_id = client.otps.login_or_create(email=EMAIL).method_id
        device = Device(user_agent="Browser/1", ip="192.0.2.7")
        code = emulator.outbox()[0].code
        return client.otps.verify(code, method_id=method_id, session_expires_in=60, device=device)


@pytest.fixture
def recipe(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """An app by the recipe, with the address of the emulator."""
    monkeypatch.setenv("MOONKEY_SECRET_KEY", emulator.secret_key)
    app, shown = Flask("recipe"), block(DOCUMENT, "recipe")
    assert "https://api.moonkey.fun" in shown.code
    module: dict[str, Any] = {"app": app, "__name__": "recipe"}
    exec(shown.code.replace("https://api.moonkey.fun", emulator.base_url), module)
    evaluated(app, module["require_auth"], {"request": request, "time": time})
    return app


@pytest.fixture
def instead(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """The same app with this package."""
    monkeypatch.setenv("MOONKEY_SECRET_KEY", emulator.secret_key)
    monkeypatch.setenv("MOONKEY_BASE_URL", emulator.base_url)
    monkeypatch.setenv("MOONKEY_JWT_ISSUER", emulator.issuer)
    app = Flask("instead")
    app.config["MOONKEY_TIMEOUT"] = PATIENT["timeout"]
    module = block(DOCUMENT, "instead").run(app=app)
    names = {"current_user": current_user, "current_session": current_session, "current_auth": current_auth}
    evaluated(app, module["require_auth"], names)
    return app


def evaluated(app: Flask, gate: Any, names: dict[str, Any]) -> None:
    """Add routes behind the gate: one gives the value of an expression, one fails."""

    def value() -> Any:
        return {"value": eval(request.args["of"], dict(names))}

    def failing() -> Any:
        raise LookupError("a bug of the app")

    app.get("/value", endpoint="value")(gate(value))
    app.get("/failing", endpoint="failing")(gate(failing))


@pytest.mark.parametrize(("before", "after"), pairs("in the recipe"))
def test_the_expressions_of_the_recipe(
    recipe: Flask, instead: Flask, emulator: Emulator, before: str, after: str
) -> None:
    headers = {"session-token": str(sign_in(emulator).session_token)}
    found = [
        app.test_client().get("/value", query_string={"of": expression}, headers=headers).get_json()
        for app, expression in ((recipe, before), (instead, after))
    ]
    assert "value" in found[0], found
    assert found[0] == found[1]
    assert found[0] != {"value": None} or "first_name" in before or "plan" in before


def test_the_view_of_the_recipe(recipe: Flask, instead: Flask, emulator: Emulator) -> None:
    login = sign_in(emulator)
    assert login.session is not None
    headers = {"session-token": str(login.session_token)}
    told = [app.test_client().get("/api/profile", headers=headers).get_json() for app in (recipe, instead)]
    assert told[0] == told[1] == {"user": login.user.id, "until": int(login.session.expires_at.timestamp())}


def test_what_the_client_of_the_recipe_sees(recipe: Flask, instead: Flask, emulator: Emulator) -> None:
    """Each row of the table, in order: the statuses on both sides."""
    login = sign_in(emulator)
    live, jwt = {"session-token": str(login.session_token)}, {"Authorization": f"Bearer {login.session_jwt}"}
    dead = {"session-token": "never-existed"}
    old, new = recipe.test_client(), instead.test_client()

    def both(headers: dict[str, str], path: str = "/api/profile") -> tuple[int, int]:
        return old.get(path, headers=headers).status_code, new.get(path, headers=headers).status_code

    seen = [both({}), both(dead), both(jwt), (500, 503), (0, 503), both(live, "/failing")]
    assert "WWW-Authenticate" in new.get("/api/profile").headers
    emulator.clear_requests()
    assert new.get("/api/profile", headers=jwt).status_code == 200
    assert "POST /v1/auth/sessions/verify" not in emulator.requests()
    emulator.stop()
    assert both(live) == seen[3]
    assert "Retry-After" in new.get("/api/profile", headers=live).headers
    said = rows(DOCUMENT, "the request")
    assert len(said) == len(seen)
    for (what, before, after), (first, second) in zip(said, seen, strict=True):
        assert re.findall(r"\b[45]\d\d\b", before)[:1] == ([str(first)] if first >= 400 else []), what
        assert re.findall(r"\b[45]\d\d\b", after)[:1] in ([str(second)], []), what
    assert seen == [(401, 401), (401, 401), (401, 200), (500, 503), (0, 503), (500, 500)]
    assert old.get("/failing", headers=live).get_json() == {"error": "Session verification failed"}


class Names:
    """What the expressions of a table may use, made when they ask for it."""

    def __init__(self, emulator: Emulator, closing: ExitStack) -> None:
        login = sign_in(emulator)
        assert login.session is not None
        client = closing.enter_context(MoonKey(**options(emulator)))
        others = [emulator.sign_in(email=EMAIL) for _ in range(2)]
        self.names: dict[str, Any] = {
            "requests": requests,
            "API": f"{emulator.base_url}/v1/auth",
            "KEY": {"Authorization": f"Bearer {emulator.secret_key}"},
            "client": client,
            "new": client,
            "old": streambird.Client(emulator.secret_key, api_instance_url=f"{emulator.base_url}/v1"),
            "token": login.session_token,
            "jwt": login.session_jwt,
            "user_id": login.user.id,
            "email": EMAIL,
            "other_id": others[0].session_id,
            "other": others[0].session_token,
            "second_id": others[1].session_id,
            "second": others[1].session_token,
        }

    def __call__(self, expression: str) -> Any:
        return eval(expression, dict(self.names))


@pytest.fixture
def value(emulator: Emulator) -> Iterator[Names]:
    with ExitStack() as closing:
        yield Names(emulator, closing)


@pytest.mark.parametrize(("before", "after"), [*pairs("by hand"), *pairs("streambird")])
def test_calls(value: Names, before: str, after: str) -> None:
    found, instead = value(before), value(after)
    if "expires_at" in before:  # an extension counts from each call
        assert found == pytest.approx(instead, abs=60)
    elif "first_name" in before:
        assert (found or None) == instead
    else:
        assert found == instead
        assert found


def test_errors_of_streambird(value: Names, emulator: Emulator) -> None:
    old, new = value.names["old"], value.names["new"]
    wrong = streambird.Client("sk_test_wrong", api_instance_url=f"{emulator.base_url}/v1")
    with pytest.raises(StreambirdResourceNotFound):
        old.sessions.verify(session_token="never-existed")
    with pytest.raises(InvalidCredentials):
        new.sessions.verify(session_token="never-existed")
    with pytest.raises(StreambirdResourceNotFound):
        old.users.get("user_unknown")
    with pytest.raises(NotFound):
        new.users.get("user_unknown")
    with pytest.raises(StreambirdUnauthorized):
        wrong.sessions.list("user_x")
    with MoonKey(**{**options(emulator), "secret_key": "sk_test_wrong"}) as mistaken:
        with pytest.raises(ProviderRejectedKey) as key:
            mistaken.sessions.list("user_x")
        assert key.value.status == 500
    emulator.stop()
    with pytest.raises(StreambirdException):
        streambird.Client("sk", api_instance_url="http://127.0.0.1:1/v1").sessions.list("user_x")
    with pytest.raises(ProviderUnavailable) as down:
        new.sessions.verify(session_token=value.names["token"])
    assert down.value.status == 503
    said = {name for row in rows(DOCUMENT, "streambird raises") for name in re.findall(r"`(\w+)`", row[1])}
    assert said == {"InvalidCredentials", "NotFound", "ProviderRejectedKey", "ProviderUnavailable"}


def test_both_services() -> None:
    with block(DOCUMENT, "both").run()["client"] as client:
        routes = client.settings.routes
        assert list(client.providers) == ["stytch", "moonkey"]
        assert routes.headers == {
            "x-stytch-session": "stytch", "authorization": "moonkey", "session-token": "moonkey",
        }  # fmt: skip
        assert set(routes.issuers.values()) == {"stytch", "moonkey"}
        names = [one.session_name for one in client.settings.all_cookies]
        assert names == ["stytch_session", "__Host-moonkey_session"]
        assert client.providers["stytch"].revocations.scopes == ("stytch:project-test-1234",)


def test_without_a_place_of_its_own_the_client_does_not_start() -> None:
    with pytest.raises(ConfigurationError, match=r"header.*'authorization'.*'stytch'"):
        MoonKey(providers=["moonkey", Stytch("project-test-1", "secret-test-1")], secret_key="sk_test_x")
