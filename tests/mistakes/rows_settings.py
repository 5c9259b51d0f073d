"""Mistakes in settings."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from django.test import override_settings
from flask import Flask
from mistakes.lab import EVERYWHERE, MADE, Lab, Row
from starlette.applications import Starlette
from starlette.testclient import TestClient

from moonkey_core import AsyncMoonKey, MoonKey
from moonkey_core.settings import Settings
from moonkey_flask import FlaskMoonKey
from moonkey_starlette import MoonKeyMiddleware


def given(**options: Any) -> Any:
    """A mistake that is one setting."""
    return lambda lab, framework: lab.settings(framework, **options)


def variable(name: str, value: str, *, key: bool = True) -> Any:
    """A mistake that is one variable of the environment."""

    def provoke(lab: Lab, framework: str) -> None:
        lab.monkeypatch.delenv("MOONKEY_SECRET_KEY", raising=False)
        lab.monkeypatch.setenv(name, value)
        lab.settings(framework, **({} if key else {"secret_key": None}))

    return provoke


def key_of_config(lab: Lab, _: str) -> None:
    app = Flask("shop")
    app.config["MOONKEY_LEWAY"] = 3
    with lab.at("construction"):
        FlaskMoonKey(app, **lab.base)


def dict_in_config(lab: Lab, _: str) -> None:
    app = Flask("shop")
    app.config["MOONKEY"] = {"SECRET_KEY": "sk_test_x"}
    with lab.at("construction"):
        FlaskMoonKey(app)


def late_config(lab: Lab, _: str) -> None:
    app = Flask("shop")
    app.testing = True
    FlaskMoonKey(app, **lab.base)
    app.config["MOONKEY_LEEWAY"] = 3
    with lab.at("first request"):
        app.test_client().get("/")


def beside_the_dict(lab: Lab, _: str) -> None:
    usual = {name.upper(): value for name, value in lab.base.items()}
    with override_settings(MOONKEY=usual, MOONKEY_LEEWAY=3), lab.at("start"):
        lab.django_handler()


def client_and_settings(lab: Lab, framework: str) -> None:
    made: Any = {"flask": MoonKey}.get(framework, AsyncMoonKey)(**lab.base)
    if framework in ("sync", "async"):
        kind: Any = MoonKey if framework == "sync" else AsyncMoonKey
        with lab.at("construction"):
            kind(Settings.load(lab.base), leeway=3)
    elif framework == "flask":
        with lab.at("construction"):
            FlaskMoonKey(Flask("shop"), client=made, leeway=3)
    else:
        app = Starlette()
        app.add_middleware(MoonKeyMiddleware, client=made, leeway=3)
        with lab.at("start"), TestClient(app):
            pass


def wrong_client(lab: Lab, framework: str) -> None:
    if framework == "flask":
        with lab.at("construction"):
            FlaskMoonKey(Flask("shop"), client=AsyncMoonKey(**lab.base))  # type: ignore[arg-type]
    app = Starlette()
    app.add_middleware(MoonKeyMiddleware, client=MoonKey(**lab.base))  # type: ignore[arg-type]
    with lab.at("start"), TestClient(app):
        pass


def no_app(lab: Lab, _: str) -> None:
    made: Any = MoonKey(**lab.base)
    with lab.at("construction"):
        FlaskMoonKey(made)


_in = partial(Row, frameworks=EVERYWHERE, moment=MADE)

ROWS = (
    _in(
        "a setting is misspelt",
        sentence="There is no setting 'leway'. Did you mean 'leeway'?",
        mend="Write the name that the message suggests.",
        provoke=given(leway=3),
    ),
    _in(
        "the setting has the name that another library gives it",
        sentence="There is no setting 'api_key'. Did you mean 'secret_key'?",
        mend="Write `secret_key`.",
        provoke=given(api_key="sk_test_x"),
    ),
    _in(
        "a demand of a single route is given as a setting",
        sentence="There is no setting 'roles'. It is what a single route asks: @require_auth(roles=…).",
        mend="Give it to the gate of the route.",
        provoke=given(roles={"admin"}),
    ),
    _in(
        "a variable of the environment is misspelt",
        sentence="There is no setting 'jwt_isuer': the environment variable MOONKEY_JWT_ISUER is wrong. Did you mean "
        "MOONKEY_JWT_ISSUER (jwt_issuer)?",
        mend="Rename the variable.",
        provoke=variable("MOONKEY_JWT_ISUER", "x"),
    ),
    _in(
        "the secret key is in a variable of another name",
        sentence="MOONKEY_SECRET_KEY (secret_key) is missing. Set it to the secret key (sk_test_… or sk_live_…) of your "
        "app. 'MONKEY_SECRET_KEY' is set, which is read by nothing: call it MOONKEY_SECRET_KEY.",
        mend="Rename the variable to `MOONKEY_SECRET_KEY`.",
        provoke=variable("MONKEY_SECRET_KEY", "sk_test_x", key=False),
    ),
    Row(
        "a key of `app.config` is misspelt",
        ("flask",),
        "construction",
        "There is no setting 'leway': the key of app.config MOONKEY_LEWAY is wrong. Did you mean MOONKEY_LEEWAY "
        "(leeway)?",
        "Rename the key.",
        key_of_config,
    ),
    Row(
        "`app.config` has a dict named `MOONKEY`, as Django has it",
        ("flask",),
        "construction",
        "A dict named MOONKEY in app.config has no effect. Name each setting by itself: "
        'app.config["MOONKEY_JWT_ISSUER"] = …',
        "One key for each setting.",
        dict_in_config,
    ),
    Row(
        "a key of `app.config` is set after the extension was made",
        ("flask",),
        "first request",
        "MOONKEY_LEEWAY in app.config has no effect: it was set after FlaskMoonKey had read its settings. Set it before "
        "FlaskMoonKey(app), or call init_app(app) later.",
        "Set it earlier.",
        late_config,
    ),
    Row(
        "a Django setting stands beside the `MOONKEY` dict",
        ("django",),
        "start",
        "The Django setting MOONKEY_LEEWAY has no effect. Write it into the dict: MOONKEY = {'LEEWAY': …}.",
        "Write it into the dict.",
        beside_the_dict,
    ),
    _in(
        "a setting has a value of another type",
        sentence="MOONKEY_LEEWAY (leeway) must be a number of seconds from 0 to 60.",
        mend="Write a number of seconds.",
        provoke=given(leeway="five"),
    ),
    _in(
        "a `timedelta` stands where seconds are wanted",
        sentence="MOONKEY_LEEWAY (leeway) must be a number of seconds from 0 to 60. Write the total_seconds() of the "
        "timedelta.",
        mend="`duration.total_seconds()`.",
        provoke=given(leeway=timedelta(seconds=5)),
    ),
    _in(
        "milliseconds stand where seconds are wanted",
        sentence="MOONKEY_TIMEOUT (timeout) must be a number of seconds from 0.05 to 60. If these are milliseconds, "
        "divide them by 1000.",
        mend="Write seconds.",
        provoke=given(timeout=5000),
    ),
    _in(
        "minutes stand where seconds are wanted",
        sentence="MOONKEY_EXTEND_ON_ACTIVITY (extend_on_activity) must be a number of seconds from 300 to 34560000. If "
        "these are minutes, write timedelta(minutes=…).",
        mend="`timedelta(minutes=60)`.",
        provoke=given(extend_on_activity=60),
    ),
    _in(
        "a number is out of its range",
        sentence="MOONKEY_MAX_CONNECTIONS (max_connections) must be a whole number from 1 to 1000.",
        mend="Choose one in the range.",
        provoke=given(max_connections=0),
    ),
    _in(
        "the public token is given for the secret key",
        sentence="MOONKEY_SECRET_KEY (secret_key) holds a public key (pk_…), which cannot verify sessions. Put the secret "
        "key (sk_test_… or sk_live_…) there.",
        mend="Take the secret key of the dashboard.",
        provoke=given(secret_key="pk_test_abc"),
    ),
    _in(
        "a value stands in quotes",
        sentence="MOONKEY_SECRET_KEY (secret_key) stands in quotes, which would be a part of it. Leave them out",
        mend="Leave the quotes out: `docker --env-file` and systemd keep them.",
        provoke=given(secret_key="'sk_test_abc'"),
    ),
    _in(
        "the secret key is no text",
        sentence="MOONKEY_SECRET_KEY (secret_key) must be the secret key (sk_test_… or sk_live_…), a text, not of the "
        "type int.",
        mend="Pass the key as a text.",
        provoke=given(secret_key=7),
    ),
    _in(
        "`base_url` ends in `/v1`",
        sentence="MOONKEY_BASE_URL (base_url) ends in /v1. It is the root before that: leave /v1 out.",
        mend="`https://api.moonkey.fun`.",
        provoke=given(base_url="https://api.moonkey.fun/v1"),
    ),
    _in(
        "`base_url` is the address of a single endpoint",
        sentence="MOONKEY_BASE_URL (base_url) holds /v1/auth. It is the root before that: leave /v1 out, and what "
        "follows.",
        mend="`https://api.moonkey.fun`.",
        provoke=given(base_url="https://api.moonkey.fun/v1/auth"),
    ),
    _in(
        "`base_url` is plain http",
        sentence="MOONKEY_BASE_URL (base_url) uses plain http off loopback. Use https, or set allow_http=True for a test.",
        mend="Use https.",
        provoke=given(base_url="http://api.moonkey.fun"),
    ),
    _in(
        "two settings are at odds",
        sentence="MOONKEY_MIN_SESSION_MINUTES (min_session_minutes) is greater than max_session_minutes. Swap or correct "
        "them.",
        mend="Correct one of them.",
        provoke=given(min_session_minutes=20, max_session_minutes=10),
    ),
    Row(
        "a client is given, and settings beside it",
        ("sync", "async", "flask", "starlette"),
        MADE,
        "Give {}either a {} or single settings, not both.",
        "Give the settings to the client.",
        client_and_settings,
    ),
    Row(
        "the client is of the other kind",
        ("flask", "starlette"),
        MADE,
        " needs a{}MoonKey, not a",
        "`MoonKey` for Flask, `AsyncMoonKey` for Starlette and FastAPI.",
        wrong_client,
    ),
    Row(
        "the extension gets something else than the app",
        ("flask",),
        "construction",
        "FlaskMoonKey needs the Flask app first, not a MoonKey. Write: FlaskMoonKey(app, client=client).",
        "`FlaskMoonKey(app, client=client)`.",
        no_app,
    ),
    *(
        _in(
            f"`{name}` is set where it has no effect",
            sentence=f"MOONKEY_{name.upper()} ({name}) has no effect {why}",
            mend=mend,
            provoke=given(**{name: value}),
        )
        for name, value, why, mend in (
            (
                "jwt_max_age",
                60,
                "without jwt_issuer: no JWT is verified here. Set both, or leave it out.",
                "Set `jwt_issuer`.",
            ),
            (
                "jwt_session_claims",
                "session",
                "without jwt_issuer: no JWT is verified here. Set both",
                "Set `jwt_issuer`.",
            ),
            (
                "strict_subject",
                True,
                "without jwt_issuer: no JWT is verified here then. Set both.",
                "Set `jwt_issuer`.",
            ),
            (
                "leeway",
                3,
                "on JWTs without jwt_issuer, as none is verified here: {} Set both, or leave it out.",
                "Set `jwt_issuer`.",
            ),
            (
                "allow_http",
                True,
                "here: base_url and jwks_url are https, or on loopback. Leave it out.",
                "Leave it out.",
            ),
            (
                "previous_secret_key",
                "sk_test_old",
                "here: nothing is sealed, as there are no cookies, no Redis and no handles. Leave it out.",
                "Leave it out.",
            ),
            (
                "previous_cache_secret",
                "o" * 32,
                "here: nothing is sealed, as there are no cookies, no Redis and no handles. Leave it out.",
                "Leave it out.",
            ),
            (
                "cache_secret",
                "c" * 32,
                "here: nothing is sealed, as there are no cookies, no Redis and no handles. Leave it out.",
                "Leave it out.",
            ),
            ("feed_lost_bound", 20, "without redis_url: there is no feed to lose. Set both.", "Set `redis_url`."),
            ("user_ttl", 30, "here: no user is loaded. Set load_user=True, or cookies.", "Set `load_user=True`."),
        )
    ),
)
