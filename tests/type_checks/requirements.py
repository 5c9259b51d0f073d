"""What type checkers must understand of demands on a session. Checked, never run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, assert_type

from django.http import HttpRequest, HttpResponse
from django.views import View
from starlette.requests import Request
from starlette.responses import Response

import moonkey_django
import moonkey_flask
import moonkey_starlette
from moonkey_core import PermissionDenied, Session, StepUpRequired
from moonkey_core.gate import RequirementOptions, Requirements
from moonkey_starlette.fastapi import RequireAuth

TEN = timedelta(minutes=10)
SHARED: RequirementOptions = {"factors": {"totp"}, "factor_max_age": TEN, "claims": {"plan": {"pro", "team"}}}


@moonkey_flask.require_auth(factors={"totp"}, factor_count=2, scopes=frozenset({"write"}))
def in_flask(number: int) -> str:
    return str(number)


@moonkey_flask.optional_auth(max_staleness=0)
def in_flask_too() -> str:
    return ""


@moonkey_django.require_auth(**SHARED)
def in_django(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


class InDjango(moonkey_django.RequireAuthMixin, View):
    factors = {"totp", "webauthn"}
    factor_max_age = TEN
    claims = {"plan": "pro", "level": {1, 2}, "age": lambda age: age >= 18}
    roles = {"admin"}


@moonkey_starlette.require_auth(session_max_age=TEN, permissions={"pay"})
async def in_starlette(request: Request) -> Response:
    return Response()


@moonkey_flask.require_auth(acr_values=["phr", "mfa"], max_age=TEN, allow_actor=False)
def of_any_provider() -> str:
    return ""


class OfMachines(moonkey_django.RequireAuthMixin, View):
    allow_machines = True
    acr_values = {"mfa"}


@moonkey_starlette.require_auth(allow_machines=True)
async def of_machines(request: Request) -> Response:
    return Response()


def shown(session: Session, error: StepUpRequired, denied: PermissionDenied) -> None:
    RequireAuth(**SHARED)
    Requirements(claims={"plan": "pro", "level": {1, 2}, "beta": True, "age": lambda age: age >= 18})
    assert_type(in_django(HttpRequest()), HttpResponse)
    assert_type(session.claims, Mapping[str, Any])
    assert_type(
        (error.acr_values, error.max_age, error.factor_count), tuple[tuple[str, ...], int | None, int | None]
    )
    assert_type(denied.scope, tuple[str, ...])


def wrong() -> None:
    moonkey_flask.require_auth(factor={"totp"})  # type: ignore[call-overload]
    moonkey_flask.optional_auth(factors={"totp"})  # type: ignore[call-overload]
    moonkey_django.require_auth(factor_max_age=600)  # type: ignore[call-overload]
    moonkey_starlette.require_auth(scopes=["write"])  # type: ignore[call-overload]
    moonkey_flask.require_auth(max_age=600)  # type: ignore[call-overload]
    RequireAuth(allow_machines="yes")  # type: ignore[arg-type]
    RequireAuth(roles=["admin"])  # type: ignore[arg-type]
    RequireAuth(claims={"plan": ["pro"]})  # type: ignore[dict-item]
