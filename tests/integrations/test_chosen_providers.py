"""Each framework takes a provider, or several, by its own configuration, and serves the users of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.wsgi import WSGIHandler
from fastapi import FastAPI
from flask import Flask
from integrations.django_programs import problems
from integrations.django_visits import visit_asgi, visit_wsgi
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from moonkey_core import AsyncMoonKey, ConfigurationError, MoonKey
from moonkey_core.emulator import Emulator, OidcEmulator
from moonkey_core.emulator.cdp.api_keys import new_key
from moonkey_core.provider import CDP, OIDC, Auth0, Introspection, OidcProvider, Stytch
from moonkey_django import get_async_client, get_client
from moonkey_flask import FlaskMoonKey, current_auth, session_routes
from moonkey_starlette import MoonKeyMiddleware, get_auth
from moonkey_starlette.fastapi import CurrentAuth
from support.patience import PATIENT

ISSUER = "https://tenant.example.com/"
WORDS = {"PROVIDER": "auth0", "AUTH0_DOMAIN": "tenant.example.com", "AUTH0_AUDIENCE": "api, other"}
TWO = "moonkey auth0"
KEY = "sk_test_" + "k" * 20

Configured = Callable[[dict[str, Any]], MoonKey | AsyncMoonKey]


def flask_config(values: dict[str, Any]) -> MoonKey:
    app = Flask("configured")
    app.config.update({f"MOONKEY_{name}": value for name, value in values.items()})
    FlaskMoonKey(app)
    client: MoonKey = app.extensions["moonkey"]
    return client


def flask_arguments(values: dict[str, Any]) -> MoonKey:
    app = Flask("configured")
    FlaskMoonKey(app, **{name.lower(): value for name, value in values.items()})
    client: MoonKey = app.extensions["moonkey"]
    return client


def starlette_arguments(values: dict[str, Any]) -> AsyncMoonKey:
    async def app(*_: object) -> None: ...

    return MoonKeyMiddleware(app, **{name.lower(): value for name, value in values.items()}).client


@pytest.fixture(params=["flask", "flask arguments", "django", "django async", "starlette", "environment", "async"])
def configured(
    request: pytest.FixtureRequest, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Configured]:
    made: list[MoonKey | AsyncMoonKey] = []

    def django(values: dict[str, Any]) -> MoonKey | AsyncMoonKey:
        settings.MOONKEY = values
        return get_async_client() if request.param == "django async" else get_client()

    def environment(values: dict[str, Any]) -> MoonKey | AsyncMoonKey:
        if not all(isinstance(value, str) for value in values.values()):
            pytest.skip("a variable is a text")
        for name, value in values.items():
            monkeypatch.setenv(f"MOONKEY_{name}", value)
        return AsyncMoonKey() if request.param == "async" else MoonKey()

    ways: dict[str, Configured] = {
        "flask": flask_config,
        "flask arguments": flask_arguments,
        "starlette": starlette_arguments,
        "environment": environment,
        "async": environment,
    }
    way = ways.get(request.param, django)

    def make(values: dict[str, Any]) -> MoonKey | AsyncMoonKey:
        made.append(way(values))
        return made[-1]

    yield make
    for client in made:
        if isinstance(client, MoonKey):
            client.close()
        else:
            asyncio.run(client.aclose())


def test_a_word_with_its_variables(configured: Configured) -> None:
    provider = configured(dict(WORDS)).settings.provider
    assert isinstance(provider, OidcProvider)
    assert provider.jwt_rules.issuers == (ISSUER,)
    assert provider.jwt_rules.audience == ("api", "other")


def test_cdp_by_its_word(configured: Configured) -> None:
    key = new_key("ES256")
    values = {
        "PROVIDER": "cdp",
        "CDP_API_KEY_ID": key.key_id,
        "CDP_API_KEY_SECRET": key.secret.replace("\n", "\\n"),
        "CDP_PROJECT_ID": "project-1",
        "CACHE_SECRET": "c" * 32,
    }
    client = configured(values)
    provider = client.settings.provider
    assert isinstance(provider, CDP)
    assert provider.scopes == {"cdp-api": "cdp:project-1"}
    assert client.capabilities == {"introspect", "get_user", "enrolled_mfa"}


def test_stytch_by_its_word(configured: Configured) -> None:
    values = {
        "PROVIDER": "stytch",
        "STYTCH_PROJECT_ID": "project-test-1",
        "STYTCH_SECRET": "secret-of-the-project",
        "STYTCH_PUBLIC_TOKEN": "public-token-1",
        "STYTCH_CUSTOM_BASE_URL": "https://login.example.com",
    }
    client = configured(values)
    provider = client.settings.provider
    assert isinstance(provider, Stytch)
    assert set(provider.scopes.values()) == {"stytch:project-test-1"}
    assert provider.jwt_rules.issuers == ("stytch.com/project-test-1", "https://login.example.com")
    assert {"introspect", "refresh_jwt", "extend", "sign_in", "custom_claims"} <= client.capabilities
    assert "secret-of-the-project" not in repr(client.settings)


def test_an_object(configured: Configured) -> None:
    provider = Auth0("tenant.example.com", "api")
    client = configured({"PROVIDER": provider})
    assert client.settings.provider is provider
    assert client.capabilities == frozenset()


@pytest.mark.parametrize("value", [TWO, TWO.split(), ["moonkey", Auth0("tenant.example.com", "api")]])
def test_several(configured: Configured, value: object) -> None:
    values = {"PROVIDERS": value, "SECRET_KEY": KEY, "BASE_URL": "http://127.0.0.1:1"}
    if not isinstance(value, list) or value == TWO.split():
        values |= {"AUTH0_DOMAIN": "tenant.example.com", "AUTH0_AUDIENCE": "api"}
    client = configured(values)
    assert list(client.providers) == ["moonkey", "auth0"]
    assert client.providers["auth0"].settings.secret_key is None


@pytest.mark.parametrize(
    ("values", "mend"),
    [
        ({"PROVIDER": "auht0"}, "Did you mean 'auth0'"),
        ({**WORDS, "AUTH0_DOMIAN": "x"}, "Did you mean|AUTH0_DOMAIN"),
        ({"PROVIDER": "auth0"}, "AUTH0_DOMAIN"),
        ({**WORDS, "JWT_ISSUER": "x"}, "only MoonKey knows"),
        ({**WORDS, "REDIS_URL": "redis://127.0.0.1:1", "ON_FEED_LOST": "local"}, "MOONKEY_CACHE_SECRET"),
        ({**WORDS, "COOKIES": "true"}, "MOONKEY_CACHE_SECRET"),
        ({**WORDS, "PROVIDERS": TWO}, "one of the two"),
    ],
)
def test_what_is_wrong_is_named(configured: Configured, values: dict[str, Any], mend: str) -> None:
    with pytest.raises(ConfigurationError, match=mend):
        configured(values)


def test_what_is_set_beside_django_s_dict_has_no_effect(settings: Any) -> None:
    settings.MOONKEY = dict(WORDS)
    settings.MOONKEY_AUTH0_DOMAIN = "other.example.com"
    with pytest.raises(ImproperlyConfigured, match="Write it into the dict"):
        WSGIHandler()
    assert list(problems()) == ["moonkey.E001"]


def test_what_is_set_too_late_for_flask_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    app = Flask("late")
    FlaskMoonKey(app, provider=Auth0("tenant.example.com", "api"))
    app.config["MOONKEY_AUTH0_DOMAIN"] = "other.example.com"
    with app.extensions["moonkey"]:
        assert app.test_client().get("/").status_code == 500
    assert "set after FlaskMoonKey" in caplog.text


# Requests


def two_providers(emulator: Emulator, oidc: OidcEmulator, **more: Any) -> dict[str, Any]:
    own = Introspection(
        oidc.introspection_url,
        issuer=oidc.preset("auth0").issuer,
        audience=oidc.preset("auth0").audience,
        client_id=oidc.client_id,
        client_secret=oidc.client_secret,
    ).at(credential_headers="x-token")
    return {
        "secret_key": emulator.secret_key,
        "base_url": emulator.base_url,
        "providers": ["moonkey", OIDC(oidc.issuer, oidc.audience), own],
        "cookies": True,
        **PATIENT,
        **more,
    }


def flask_visit(options: dict[str, Any], headers: dict[str, str]) -> tuple[dict[str, Any], str]:
    app = Flask("visited")
    FlaskMoonKey(app, **options)

    @app.get("/who")
    def who() -> dict[str, Any]:
        return {"user": current_auth.user.id if current_auth.user else None, "provider": current_auth.provider}

    with app.extensions["moonkey"]:
        response = app.test_client(use_cookies=False).get("/who", headers=headers)
    return dict(response.json or {}), response.headers["vary"]


def starlette_visit(options: dict[str, Any], headers: dict[str, str]) -> tuple[dict[str, Any], str]:
    async def who(request: Request) -> Response:
        auth = await get_auth(request)
        return JSONResponse({"user": auth.user.id if auth.user else None, "provider": auth.provider})

    app = Starlette(routes=[Route("/who", who)], middleware=[Middleware(MoonKeyMiddleware, **options)])
    with TestClient(app) as client:
        response = client.get("/who", headers=headers)
    return response.json(), response.headers["vary"]


def fastapi_visit(options: dict[str, Any], headers: dict[str, str]) -> tuple[dict[str, Any], str]:
    app = FastAPI()
    app.add_middleware(MoonKeyMiddleware, **options)

    @app.get("/who")
    async def who(auth: CurrentAuth) -> dict[str, Any]:
        return {"user": auth.user.id if auth.user else None, "provider": auth.provider}

    with TestClient(app) as client:
        response = client.get("/who", headers=headers)
    return response.json(), response.headers["vary"]


@pytest.fixture(params=["flask", "django-wsgi", "django-asgi", "starlette", "fastapi"])
def visited(request: pytest.FixtureRequest, settings: Any) -> Callable[..., tuple[dict[str, Any], str]]:
    def django_visit(options: dict[str, Any], headers: dict[str, str]) -> tuple[dict[str, Any], str]:
        settings.MOONKEY = {name.upper(): value for name, value in options.items()}
        visit = visit_asgi if request.param == "django-asgi" else visit_wsgi
        response = visit("/apeek" if request.param == "django-asgi" else "/peek", **headers)
        return response.json(), response.headers["vary"]

    ways = {"flask": flask_visit, "starlette": starlette_visit, "fastapi": fastapi_visit}
    return ways.get(request.param, django_visit)


@pytest.mark.long
def test_a_user_of_each_provider(
    visited: Callable[..., tuple[dict[str, Any], str]], emulator: Emulator, oidc: OidcEmulator
) -> None:
    options = two_providers(emulator, oidc)
    moon, ada, bob = emulator.sign_in(), oidc.sign_in(), oidc.sign_in(preset="auth0")
    cases: list[tuple[str | None, str, dict[str, str]]] = [
        (ada.user_id, "oidc", {"authorization": f"Bearer {ada.access_token}"}),
        (moon.user_id, "moonkey", {"cookie": f"__Host-moonkey_session={moon.session_token}"}),
        (bob.user_id, "introspection", {"x-token": bob.opaque_token}),
        (None, "none", {"authorization": f"Bearer {oidc.token(iss='https://evil.example')}"}),
        (None, "none", {}),
    ]
    for user_id, provider, headers in cases:
        found, vary = visited(options, headers)
        assert found["user"] == user_id
        assert found.get("provider", provider) == provider
        assert {"authorization", "session-token", "x-token", "cookie"} <= set(
            vary.lower().replace(",", " ").split()
        )


def test_the_session_routes_are_of_the_one_that_signs_users_in(emulator: Emulator, oidc: OidcEmulator) -> None:
    """Of the user of another one they know the name only, and do nothing with its ids."""
    app = Flask("routes")
    FlaskMoonKey(app, **two_providers(emulator, oidc, trusted_proxies="none"))
    app.register_blueprint(session_routes(url_prefix="/auth"))
    visitor = app.test_client(use_cookies=False)
    ada, moon = oidc.sign_in(user_id="user_of_both"), emulator.sign_in()
    headers = {"authorization": f"Bearer {ada.access_token}", "accept": "application/json"}
    with app.extensions["moonkey"]:
        shown = visitor.get("/auth/session", headers=headers).get_json()
        assert (shown["authenticated"], shown["user"]["id"]) == (True, "user_of_both")
        before = emulator.requests()
        assert visitor.get("/auth/sessions", headers=headers).status_code == 501
        for path in ("sessions/x/revoke", "sessions/revoke-others", "step-up/totp"):
            assert visitor.post(f"/auth/{path}", headers=headers, json={"code": "123456"}).status_code == 501, path
        assert visitor.get("/auth/sign-in", headers=headers).get_json()["authenticated"] is False
        assert visitor.post("/auth/sign-out", headers=headers).get_json()["signed_out"] is True  # at its own
        assert visitor.get("/auth/session", headers=headers).get_json() == {"authenticated": False}
        assert emulator.requests() == before
        own = {"cookie": f"__Host-moonkey_session={moon.session_token}", "accept": "application/json"}
        assert len(visitor.get("/auth/sessions", headers=own).get_json()["sessions"]) == 1
        assert visitor.post("/auth/sign-out", headers={**own, "sec-fetch-site": "same-origin"}).status_code == 200


def test_a_websocket_ends_with_the_session_of_its_provider(emulator: Emulator, oidc: OidcEmulator) -> None:
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    client = AsyncMoonKey(**two_providers(emulator, oidc))
    app = Starlette(
        routes=[WebSocketRoute("/ws", echo)], middleware=[Middleware(MoonKeyMiddleware, client=client)]
    )
    ada = oidc.sign_in(session_id="session_of_both")
    headers = {"authorization": f"Bearer {ada.access_token}"}
    with TestClient(app) as visitor, visitor.websocket_connect("/ws", headers=headers) as socket:
        client.revocations.add(session_id="session_of_both", provider="moonkey")
        socket.send_text("still here")
        assert socket.receive_text() == "still here"
        client.revocations.add(session_id="session_of_both", provider="oidc")
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
        assert closed.value.code == 4401
