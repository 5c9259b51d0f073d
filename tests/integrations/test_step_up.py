"""Demands on a session, where frameworks differ: how they are written, and what is done with a refusal."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.views import View
from fastapi import Depends, FastAPI, Request
from flask import Flask
from integrations.django_visits import Configure
from integrations.starlette_visits import bearer, options, site
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

import moonkey_django
import moonkey_flask
import moonkey_starlette
from moonkey_core import Auth, StepUpRequired
from moonkey_core.emulator import Emulator, SignedIn
from moonkey_core.gate import FreshnessOptions, RequirementOptions, Requirements
from moonkey_django import RequireAuthMixin
from moonkey_django.middleware import MoonKeyMiddleware as DjangoMiddleware
from moonkey_flask import FlaskMoonKey, optional_auth
from moonkey_starlette import MoonKeyMiddleware
from moonkey_starlette.fastapi import RequireAuth
from support import quick
from support.servers import serve_asgi

GATES: list[Callable[..., Any]] = [
    moonkey_flask.require_auth,
    moonkey_django.require_auth,
    moonkey_starlette.require_auth,
    RequireAuth,
]
DEMANDS: dict[str, Any] = {
    "factors": {"totp"},
    "factor_count": 2,
    "factor_max_age": timedelta(minutes=5),
    "session_max_age": timedelta(hours=1),
    "claims": {"plan": "pro"},
    "scopes": {"write"},
    "roles": {"admin"},
    "permissions": {"pay"},
    "acr_values": ("mfa",),
    "max_age": timedelta(minutes=5),
    "mfa_max_age": timedelta(minutes=5),
}
WRONG: dict[str, Any] = {
    "factors": "totp",
    "factor_count": True,
    "factor_max_age": 600,
    "session_max_age": timedelta(0),
    "claims": {},
    "scopes": ["write"],
    "roles": "admin",
    "permissions": set(),
    "acr_values": "mfa",
    "max_age": 300,
    "mfa_max_age": 300,
}
PRINCIPALS = {"allow_actor", "allow_machines"}


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("name", DEMANDS)
def test_each_gate_takes_each_demand_and_finds_a_wrong_one_at_once(gate: Callable[..., Any], name: str) -> None:
    gate(**{name: DEMANDS[name]})
    with pytest.raises(ValueError, match=name):
        gate(**{name: WRONG[name]})
    with pytest.raises(TypeError, match=f"{name}_"):
        gate(**{f"{name}_": DEMANDS[name]})


def test_the_keywords_are_those_of_the_requirements() -> None:
    others = FreshnessOptions.__optional_keys__ | PRINCIPALS
    assert DEMANDS.keys() | others == RequirementOptions.__optional_keys__
    fields = {field.name for field in dataclasses.fields(Requirements) if field.init}
    assert fields == RequirementOptions.__optional_keys__
    assert RequirementOptions.__optional_keys__ <= vars(RequireAuthMixin).keys()


@pytest.mark.parametrize("name", DEMANDS)
def test_who_refuses_nobody_demands_nothing(name: str) -> None:
    with pytest.raises(TypeError, match="require_auth"):
        optional_auth(**{name: DEMANDS[name]})


# --- Flask


def test_an_apps_own_handler_is_told_what_would_do(emulator: Emulator, ada: SignedIn) -> None:
    app = Flask(__name__)
    FlaskMoonKey(app, **options(emulator))

    @app.errorhandler(StepUpRequired)
    def step_up(error: StepUpRequired) -> Any:
        return {"wanted": error.acr_values, "count": error.factor_count}, 302

    @app.get("/")
    @moonkey_flask.require_auth(factors={"totp"}, factor_count=2)
    def index() -> str:
        return "in"

    answer = app.test_client().get("/", headers=bearer(ada))
    assert (answer.status_code, answer.json) == (302, {"wanted": ["totp"], "count": 2})


# --- Django


class Paying(RequireAuthMixin, View):
    claims = {"plan": {"pro", "team"}}
    roles = {"admin"}

    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("in")


class Anybody(Paying):
    claims = None  # type: ignore[assignment]
    roles = None  # type: ignore[assignment]


def visited(view: Any, person: SignedIn) -> int:
    """The status that the view answers with behind the middleware."""
    request = RequestFactory().get("/", headers=bearer(person))
    response: Any = DjangoMiddleware(view)(request)
    status: int = response.status_code
    return status


def test_a_class_asks_by_its_attributes_and_a_route_may_differ(configure: Configure, emulator: Emulator) -> None:
    configure()
    admin, guest = (emulator.sign_in(claims=claims) for claims in ({"plan": "pro", "roles": "admin"}, {}))
    cases: list[tuple[Any, int, int]] = [
        (Paying.as_view(), 200, 403),
        (Anybody.as_view(), 200, 200),
        (Paying.as_view(claims={"plan": "team"}), 403, 403),
        (Paying.as_view(claims=None, roles=None), 200, 200),
        (Anybody.as_view(scopes={"write"}), 403, 403),
    ]
    for view, *expected in cases:
        assert [visited(view, person) for person in (admin, guest)] == expected
    with pytest.raises(ValueError, match="factors"):
        Anybody.as_view(factors="totp")


# --- Starlette


def test_a_websocket_is_refused_before_it_opens(emulator: Emulator) -> None:
    ran: list[str] = []

    @moonkey_starlette.require_auth(factors={"totp"}, scopes={"write"})
    async def feed(websocket: WebSocket) -> None:
        ran.append("ran")
        await websocket.accept()
        await websocket.close()

    people: list[tuple[dict[str, Any], int]] = [({}, 403), ({"scope": "write"}, 401)]
    with serve_asgi(site(emulator, WebSocketRoute("/feed", feed))) as url:
        for claims, status in people:
            headers = bearer(emulator.sign_in(claims=claims))
            with pytest.raises(InvalidStatus) as refused:
                connect(url.replace("http", "ws") + "/feed", additional_headers=headers)
            assert refused.value.response.status_code == status
            body = refused.value.response.body
            assert body is not None
            members = {"scope": "write"} if status == 403 else {"acr_values": ["totp"]}
            assert json.loads(body).items() >= members.items()
        assert ran == []
        with connect(
            url.replace("http", "ws") + "/feed",
            additional_headers=bearer(emulator.sign_in(claims={"scope": "write"}, factors=["totp_authenticator"])),
        ) as websocket:
            assert list(websocket) == []
    assert ran == ["ran"]


# --- FastAPI


def test_gates_that_ask_for_one_and_for_true_are_two(emulator: Emulator) -> None:
    """FastAPI runs equal gates of a request once: 1 and ``True`` are equal in Python, and must not be so here."""
    app = FastAPI()
    app.add_middleware(MoonKeyMiddleware, **options(emulator))

    @app.get("/", dependencies=[Depends(RequireAuth(claims={"level": True}))])
    async def index(request: Request, auth: Annotated[Auth, Depends(RequireAuth(claims={"level": 1}))]) -> str:
        return "in"

    with serve_asgi(app) as url, quick.Client(base_url=url) as browser:
        for level in (1, True):
            headers = bearer(emulator.sign_in(claims={"level": level}))
            assert browser.get("/", headers=headers).status_code == 403
