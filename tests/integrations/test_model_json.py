"""What each framework's own way to JSON makes of users, sessions and logins: ``to_dict()``, or an error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.http import JsonResponse
from fastapi import FastAPI
from fastapi.testclient import TestClient
from flask import Flask, jsonify, render_template_string, request
from flask.json.provider import DefaultJSONProvider, JSONProvider
from pydantic import BaseModel, TypeAdapter, ValidationError
from rest_framework.renderers import JSONRenderer
from starlette.responses import JSONResponse

from moonkey_core import Device, Factor, Login, Session, User
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.models import MODELS, Extra
from moonkey_flask import FlaskMoonKey, current_session, current_user, require_auth
from moonkey_starlette import MoonKeyMiddleware
from moonkey_starlette.fastapi import CurrentSession, CurrentUser

WHEN = datetime(2025, 11, 21, 16, 1, tzinfo=UTC)
USER = User("user_1", "a@b.c", created_at=WHEN, extra=Extra({"hidden": 1}))
SESSION = Session(
    "sess_1", "user_1", WHEN, factors=(Factor("otp", last_verified_at=WHEN),), device=Device("Firefox")
)
LOGIN = Login(USER, SESSION, "the-session-token", "the-session-jwt", "method_1")
ALL: dict[str, Any] = {"user": USER, "session": SESSION, "login": LOGIN, "nobody": None}
DICTS = {name: None if one is None else one.to_dict() for name, one in ALL.items()}


class TestFlask:
    @pytest.fixture
    def app(self, emulator: Emulator) -> Flask:
        app = Flask(__name__)
        FlaskMoonKey(app, secret_key=emulator.secret_key, base_url=emulator.base_url)
        return app

    def test_whatever_a_view_returns(self, app: Flask) -> None:
        app.add_url_rule("/dict", view_func=lambda: ALL, endpoint="dict")
        app.add_url_rule("/list", view_func=lambda: [ALL], endpoint="list")
        app.add_url_rule("/jsonify", view_func=lambda: jsonify(**ALL), endpoint="jsonify")
        app.add_url_rule("/one", view_func=lambda: jsonify(LOGIN), endpoint="one")
        app.add_url_rule("/page", view_func=lambda: render_template_string("{{ it | tojson }}", it=ALL))
        browser = app.test_client()
        assert browser.get("/dict").json == DICTS
        assert browser.get("/list").json == [DICTS]
        assert browser.get("/jsonify").json == DICTS
        assert browser.get("/one").json == LOGIN.to_dict()
        assert json.loads(browser.get("/page").text) == DICTS

    def test_the_proxies_and_the_attributes_of_the_request(self, app: Flask, ada: SignedIn) -> None:
        @app.get("/me")
        @require_auth
        def me() -> Any:
            by_request: Any = request
            return jsonify(
                user=current_user,
                session=current_session,
                same=[by_request.user, by_request.session],
                dicts=[current_user.to_dict(), current_session.to_dict()],
            )

        found: Any = app.test_client().get("/me", headers={"session-token": ada.session_token}).json
        assert found["dicts"] == [found["user"], found["session"]] == found["same"]
        assert found["user"]["id"] == ada.user_id

    def test_the_apps_own_hook_is_asked_for_the_rest(self, emulator: Emulator) -> None:
        class Provider(DefaultJSONProvider):
            @staticmethod
            def default(o: Any) -> Any:
                return "mine" if isinstance(o, (set, datetime)) else DefaultJSONProvider.default(o)

        app = Flask(__name__)
        app.json = Provider(app)
        FlaskMoonKey(app, secret_key=emulator.secret_key, base_url=emulator.base_url)
        with app.app_context():
            assert json.loads(app.json.dumps([{1}, WHEN, USER])) == ["mine", "mine", USER.to_dict()]
            with pytest.raises(TypeError, match="not JSON serializable"):
                app.json.dumps(object())

    def test_a_provider_without_a_hook(self, emulator: Emulator) -> None:
        class Provider(JSONProvider):
            def dumps(self, obj: Any, **kwargs: Any) -> str:
                return json.dumps(obj)

            def loads(self, s: str | bytes, **kwargs: Any) -> Any:
                return json.loads(s)

        app = Flask(__name__)
        app.json = Provider(app)
        FlaskMoonKey(app, secret_key=emulator.secret_key, base_url=emulator.base_url)
        assert json.loads(app.json.dumps(LOGIN.to_dict())) == LOGIN.to_dict()
        with pytest.raises(TypeError, match="Login is not JSON serializable"):
            app.json.dumps(LOGIN)


class Me(BaseModel):
    user: User
    session: Session | None = None


def fastapi_routes(app: FastAPI) -> None:
    @app.get("/bare")
    def bare():  # type: ignore[no-untyped-def] # what FastAPI writes by itself
        return ALL

    @app.get("/bare-login")
    async def bare_login():  # type: ignore[no-untyped-def]
        return LOGIN

    @app.get("/any")
    def untyped() -> Any:
        return ALL

    @app.get("/dict-any")
    def dict_any() -> dict[str, Any]:
        return ALL

    @app.get("/login")
    def login() -> Login:
        return LOGIN

    @app.get("/nobody")
    def nobody() -> User | None:
        return None

    @app.get("/sessions")
    def sessions() -> list[Session]:
        return [SESSION]

    @app.get("/model")
    def model() -> Me:
        return Me(user=USER)

    @app.get("/from-dict", response_model=Login)
    def from_dict() -> Any:
        return LOGIN.to_dict()

    @app.get("/less", response_model=Login, response_model_exclude={"user": {"email"}, "session": True})
    def less() -> Any:
        return LOGIN

    @app.get("/known", response_model=User, response_model_exclude_none=True)
    def known() -> Any:
        return USER

    @app.get("/only", response_model=User, response_model_include={"id"})
    def only() -> Any:
        return USER


@pytest.fixture(scope="module")
def browser() -> Iterator[TestClient]:
    app = FastAPI()
    fastapi_routes(app)
    with TestClient(app) as browser:
        yield browser


FASTAPI: dict[str, Any] = {
    "/bare": DICTS,
    "/bare-login": LOGIN.to_dict(),
    "/any": DICTS,
    "/dict-any": DICTS,
    "/login": LOGIN.to_dict(),
    "/nobody": None,
    "/sessions": [SESSION.to_dict()],
    "/model": {"user": USER.to_dict(), "session": None},
    "/from-dict": LOGIN.to_dict(),
    "/less": {
        "user": {name: one for name, one in USER.to_dict().items() if name != "email"},
        "method_id": "method_1",
    },
    "/known": {name: one for name, one in USER.to_dict().items() if one is not None},
    "/only": {"id": "user_1"},
}


class TestFastAPI:
    @pytest.mark.parametrize("path", FASTAPI)
    def test_whatever_an_endpoint_returns(self, browser: TestClient, path: str) -> None:
        assert browser.get(path).json() == FASTAPI[path]

    def test_the_dependencies(self, emulator: Emulator, ada: SignedIn) -> None:
        app = FastAPI()
        app.add_middleware(MoonKeyMiddleware, secret_key=emulator.secret_key, base_url=emulator.base_url)

        @app.get("/me")
        async def me(user: CurrentUser, session: CurrentSession):  # type: ignore[no-untyped-def]
            return {"raw": [user, session], "dicts": [user.to_dict(), session.to_dict()]}

        with TestClient(app) as visitor:
            found = visitor.get("/me", headers={"session-token": ada.session_token}).json()
        assert found["raw"] == found["dicts"]
        assert found["raw"][0]["id"] == ada.user_id

    def test_the_openapi_document(self, browser: TestClient) -> None:
        document = browser.get("/openapi.json").json()
        schemas = document["components"]["schemas"]
        for model in MODELS:
            if model.__name__ in schemas:
                shown = [*model.shown_fields, *model.optional_fields]
                assert list(schemas[model.__name__]["properties"]) == shown
                assert schemas[model.__name__]["required"] == list(model.shown_fields)
        assert {"User", "Session", "Device", "Factor", "Login"} <= schemas.keys()
        assert schemas["Session"]["properties"]["expires_at"]["format"] == "date-time"
        assert schemas["Session"]["properties"]["factors"]["items"] == {"$ref": "#/components/schemas/Factor"}
        answer = document["paths"]["/login"]["get"]["responses"]["200"]["content"]["application/json"]
        assert answer["schema"] == {"$ref": "#/components/schemas/Login"}
        assert "token" not in json.dumps(schemas["Login"])


@pytest.mark.parametrize("model", [USER, SESSION, LOGIN], ids=lambda one: type(one).__name__)
def test_pydantic_writes_the_same_and_reads_it_again(model: Any) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(type(model))
    assert adapter.dump_python(model) == model.to_dict()
    assert json.loads(adapter.dump_json(model)) == model.to_dict()
    assert adapter.json_schema(mode="validation") == adapter.json_schema(mode="serialization")
    for again in (adapter.validate_python(model.to_dict()), adapter.validate_json(json.dumps(model.to_dict()))):
        assert again.to_dict() == model.to_dict()
        assert type(again) is type(model)
    assert adapter.validate_python(model) is model
    with pytest.raises(ValidationError):
        adapter.validate_python({})


BY_HAND: dict[str, Callable[[Any], Any]] = {
    "django": lambda thing: JsonResponse(thing, safe=False).content,
    "starlette": lambda thing: JSONResponse(thing).body,
    "rest framework": JSONRenderer().render,
}


@pytest.mark.parametrize("make", BY_HAND.values(), ids=BY_HAND)
@pytest.mark.parametrize("model", [USER, SESSION, LOGIN], ids=lambda one: type(one).__name__)
def test_who_has_no_hook_refuses_them_and_takes_their_dicts(make: Callable[[Any], Any], model: Any) -> None:
    wrappers: list[Callable[[Any], Any]] = [lambda one: one, lambda one: {"it": one}, lambda one: [one]]
    for wrap in wrappers:
        assert json.loads(make(wrap(model.to_dict()))) == wrap(model.to_dict())
        with pytest.raises(TypeError, match="is not JSON serializable"):
            make(wrap(model))
