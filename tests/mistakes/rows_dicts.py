"""The habits of code that was written by the provider's guide, where users and sessions are dicts."""

from __future__ import annotations

import json
from typing import Any

from django.http import JsonResponse
from flask import Flask
from mistakes.lab import FRAMEWORKS, Lab, Row

import moonkey_flask


def body(read: Any) -> Any:
    """A mistake in the body of a view, which gets the ``Auth``."""
    return lambda lab, framework: lab.visit(framework, read)


def returned(lab: Lab, _: str) -> None:
    app = Flask("shop")
    app.testing = True
    moonkey_flask.FlaskMoonKey(app, **lab.base)

    def account() -> Any:
        return moonkey_flask.current_auth.user

    view: Any = moonkey_flask.require_auth(account)
    app.add_url_rule("/", "view", view)
    with lab.at("first request"):
        app.test_client().get("/", headers={"session-token": lab.emulator.sign_in().session_token})


def _habit(mistake: str, read: Any, sentence: str, mend: str) -> Row:
    return Row(mistake, FRAMEWORKS, "first request", sentence, mend, body(read))


ROWS = (
    _habit(
        '`user["id"]`',
        lambda auth: auth.user["id"],
        "A User is an object and no dict. Write user.id.",
        "`user.id`.",
    ),
    _habit(
        '`user["plan"]`: what the provider sends beside its own fields',
        lambda auth: auth.user["plan"],
        "A User is an object and no dict. Write user.extra.get('plan'): all other members are there.",
        '`user.extra.get("plan")`.',
    ),
    _habit(
        '`user.get("email")`',
        lambda auth: auth.user.get("email"),
        "'User' object has no attribute 'get'. A User is an object and no dict. Write user.id and so on, or "
        "user.to_dict() for JSON.",
        "`user.email`.",
    ),
    _habit(
        "`user.user_id`",
        lambda auth: auth.user.user_id,
        "'User' object has no attribute 'user_id'. Write user.id.",
        "`user.id`.",
    ),
    _habit(
        '`session["user_id"]`',
        lambda auth: auth.session["user_id"],
        "A Session is an object and no dict. Write session.user_id.",
        "`session.user_id`.",
    ),
    _habit(
        "`session.created_at`",
        lambda auth: auth.session.created_at,
        "'Session' object has no attribute 'created_at'. Write session.started_at.",
        "`session.started_at`.",
    ),
    _habit(
        "`session.device_info`",
        lambda auth: auth.session.device_info,
        "'Session' object has no attribute 'device_info'. Write session.device.",
        "`session.device`.",
    ),
    _habit(
        '`auth["user"]`',
        lambda auth: auth["user"],
        "An Auth is an object and no dict. Write auth.user.",
        "`auth.user`.",
    ),
    _habit(
        "`auth.id`: the user is a part of it",
        lambda auth: auth.id,
        "Write auth.user.id.",
        "`auth.user.id`.",
    ),
    _habit(
        "`auth.started_at`: the session is a part of it",
        lambda auth: auth.started_at,
        "Write auth.session.started_at.",
        "`auth.session.started_at`.",
    ),
    _habit(
        "`json.dumps(user)`",
        lambda auth: json.dumps(auth.user),
        "Object of type User is not JSON serializable\nIf this is MoonKey's User: call its to_dict(), and return or encode "
        "the dict.",
        "`user.to_dict()`.",
    ),
    _habit(
        '`json.dumps({"session": session})`',
        lambda auth: json.dumps({"session": auth.session}),
        "If this is MoonKey's Session: call its to_dict(), and return or encode the dict.",
        "`session.to_dict()`.",
    ),
    Row(
        "`JsonResponse(user)` of Django",
        ("django",),
        "first request",
        "set the safe parameter to False.\nIf this is MoonKey's User or Session: JsonResponse(user.to_dict()).",
        "`JsonResponse(user.to_dict())`.",
        body(lambda auth: JsonResponse(auth.user)),
    ),
    Row(
        "a view of Flask returns a model",
        ("flask",),
        "first request",
        "If this is MoonKey's User: call its to_dict(), and return or encode the dict.",
        "`return user.to_dict()`.",
        returned,
    ),
)
