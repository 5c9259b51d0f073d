"""S26: settings and demands that nobody would obey are told when the app is made, in each framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import RequestFactory, override_settings
from django.views.generic import TemplateView, View
from flask import Flask
from integrations.django_visits import Configure
from integrations.starlette_visits import options
from rest_framework.decorators import action
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

import moonkey_django
import moonkey_flask
import moonkey_starlette
from moonkey_core import ConfigurationError, MoonKey
from moonkey_core.emulator import Emulator
from moonkey_core.gate import RequirementOptions, similar_requirements
from moonkey_core.settings import names as _setting_names
from moonkey_core.settings.provider_choice import PRESETS, argument_names
from moonkey_django import RequireAuthMixin, get_client
from moonkey_django.identity import attach
from moonkey_django.rest_framework import MoonKeyAuthentication
from moonkey_flask import FlaskMoonKey
from moonkey_starlette.fastapi import RequireAuth

NEAR = {
    "role": "roles",
    "Roles": "roles",
    "rols": "roles",
    "scope": "scopes",
    "permission": "permissions",
    "claim": "claims",
    "factor": "factors",
    "factors_count": "factor_count",
    "max_stalenes": "max_staleness",
    "maxstaleness": "max_staleness",
    "grace_second": "grace_seconds",
    "session_maxage": "session_max_age",
}
FAR = {"rolodex": {"admin"}, "model": None, "template_name": "x", "_roles": 1, "http_method_names": ["get"]}
DECORATORS: list[Callable[..., Any]] = [
    moonkey_flask.require_auth,
    moonkey_django.require_auth,
    moonkey_starlette.require_auth,
    RequireAuth,
]


# --- demands


@pytest.mark.rule("S26")
@pytest.mark.parametrize("gate", DECORATORS)
@pytest.mark.parametrize(("name", "meant"), NEAR.items())
def test_a_misspelt_keyword_of_a_gate(gate: Callable[..., Any], name: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"Did you mean '{meant}'"):
        gate(**{name: {"admin"}})


@pytest.mark.rule("S26")
@pytest.mark.parametrize("view", [View, TemplateView, APIView])
@pytest.mark.parametrize(("name", "meant"), NEAR.items())
def test_a_misspelt_demand_of_a_class_of_views(view: type, name: str, meant: str) -> None:
    base = type("Base", (), {name: {"admin"}})
    for bases, attributes in (
        ((RequireAuthMixin, view), {name: {"admin"}}),
        ((RequireAuthMixin, base, view), {}),
        ((base, RequireAuthMixin, view), {}),
        ((type("Above", (RequireAuthMixin, view), {name: {"admin"}}),), {"roles": {"user"}}),
    ):
        made: Any = type("Members", bases, attributes)
        with pytest.raises(ConfigurationError, match=f"Members has '{name}'.*Did you mean '{meant}'"):
            made.as_view()


@pytest.mark.rule("S26")
def test_a_misspelt_keyword_of_as_view() -> None:
    class Members(RequireAuthMixin, View):
        pass

    with pytest.raises(ConfigurationError, match="Did you mean 'roles'"):
        Members.as_view(role={"admin"})
    assert callable(Members.as_view(roles={"admin"}))


@pytest.mark.parametrize("view", [View, TemplateView, APIView])
def test_other_attributes_of_a_class_of_views_are_its_own(view: type) -> None:
    demands = {"roles": {"admin"}, "max_staleness": 0}
    made: Any = type("Members", (RequireAuthMixin, view), {**FAR, **demands, "scoped": 1, "get": lambda *_: None})
    assert callable(made.as_view())


def test_a_method_that_takes_something_is_no_demand() -> None:
    """A view set names its routes by its actions, such as to claim a coupon."""

    def claim(self: object, request: Any, pk: str) -> None:
        raise AssertionError

    an_action: Any = action(detail=True, methods=["post"])

    class Base:
        async def permission(self, request: Any) -> None:
            raise AssertionError

    coupons: Any = type("Coupons", (RequireAuthMixin, Base, ViewSet), {"claim": an_action(claim)})

    class Gate(RequireAuth):
        def scope(self, value: str) -> None:
            raise AssertionError

    assert callable(coupons.as_view({"post": "claim"}))
    assert Gate() is not None

    def roles(self: object) -> set[str]:
        return {"admin"}

    for demand in (roles, property(roles), staticmethod(roles)):
        for bases in ((RequireAuthMixin, View), (RequireAuthMixin, ViewSet)):
            made: Any = type("Members", bases, {"role": demand})
            with pytest.raises(ConfigurationError, match="Did you mean 'roles'"):
                made.as_view()


@pytest.mark.rule("S26")
def test_view_sets(configure: Configure) -> None:
    class Members(RequireAuthMixin, ViewSet):
        max_staleness = 0

        def list(self, request: Any) -> None:
            raise AssertionError

    router = SimpleRouter()
    router.register("members", Members, basename="members")
    (pattern,) = router.urls
    request: Any = RequestFactory().get("/members/")
    attach(request)
    view: Any = pattern.callback
    assert view(request).status_code == 401
    with pytest.raises(ConfigurationError, match="Did you mean 'roles'"):
        Members.as_view({"get": "list"}, role={"admin"})
    with pytest.raises(ConfigurationError, match=r"class Late\(RequireAuthMixin"):
        type("Late", (ViewSet, RequireAuthMixin), {})
    assert type("AfterAView", (APIView, RequireAuthMixin), {}) is not None  # this one asks the next


def test_the_views_of_the_frameworks_have_no_such_attributes() -> None:
    """Where a class of theirs has, nobody could use the mixin with it; ours look at what the app has written."""
    for view in (View, TemplateView, APIView):
        assert similar_requirements(dir(view)) == {}
    known = RequirementOptions.__optional_keys__
    assert set(similar_requirements(dir(RequireAuthMixin))) == known


@pytest.mark.rule("S26")
def test_an_attribute_of_a_gate_of_the_app_s_own() -> None:
    """FastAPI: what a subclass of ``RequireAuth`` does not hand on demands nothing."""

    class Wrong(RequireAuth):
        roles = {"admin"}

    class Misspelt(RequireAuth):
        role = {"admin"}

    class Right(RequireAuth):
        role = "admin"
        roles = {role}

        def __init__(self) -> None:
            super().__init__(roles=self.roles)

    for kind, name in ((Wrong, "roles"), (Misspelt, "role")):
        with pytest.raises(ConfigurationError, match=rf"attribute '{name}'.*super\(\).__init__\(roles=…\)"):
            kind()
    assert Right().requirements.roles == {"admin"}


@pytest.mark.rule("S26")
@pytest.mark.parametrize("name", ["roles", "role"])
def test_an_attribute_of_an_authentication_class(name: str) -> None:
    """Django REST framework: it says who somebody is, and demands nothing."""
    with pytest.raises(ConfigurationError, match="RequireAuthMixin with 'roles'"):
        type("Admins", (MoonKeyAuthentication,), {name: {"admin"}})
    assert type("Other", (MoonKeyAuthentication,), {"realm_name": "x"}) is not None


# --- Flask


@pytest.mark.rule("S26")
def test_settings_beside_a_client_would_be_ignored(emulator: Emulator) -> None:
    with MoonKey(**options(emulator)) as client:
        losses: list[dict[str, Any]] = [{"jwt_issuer": "x", "nonsense": 1}, {"nonsense": 1}, {"realm": None}]
        for lost in losses:
            with pytest.raises(TypeError, match="not both"):
                FlaskMoonKey(Flask(__name__), client=client, **lost)
        app = Flask(__name__)
        app.config.update(MOONKEY_JWT_ISSUER="another")
        with pytest.raises(ConfigurationError, match=r"MOONKEY_JWT_ISSUER in app\.config has no effect"):
            FlaskMoonKey(app, client=client)


def test_the_settings_that_a_client_was_made_of_may_stand_in_the_config(emulator: Emulator) -> None:
    app = Flask(__name__)
    app.config.update(
        MOONKEY_SECRET_KEY=emulator.secret_key, MOONKEY_BASE_URL=emulator.base_url, MOONKEY_TIMEOUT=None
    )
    with MoonKey(app.config["MOONKEY_SECRET_KEY"], base_url=app.config["MOONKEY_BASE_URL"]) as client:
        FlaskMoonKey(app, client=client)
        assert app.extensions["moonkey"] is client


@pytest.mark.rule("S26")
def test_a_key_that_is_set_too_late(emulator: Emulator) -> None:
    app = Flask(__name__)
    app.config.update(MOONKEY_TIMEOUT=3, MOONKEY_REALM=None)
    app.add_url_rule("/", view_func=lambda: "fine")
    app.register_error_handler(ConfigurationError, str)
    FlaskMoonKey(app, **{**options(emulator), "leeway": 4.0})
    visits = app.test_client()
    for name, said in (("JWT_AUDIENCE", "it was set after FlaskMoonKey"), ("JWT_AUDIENC", "Did you mean")):
        app.config[f"MOONKEY_{name}"] = "us"
        for _ in range(2):
            text = visits.get("/").text
            assert f"MOONKEY_{name} " in text
            assert said in text
        del app.config[f"MOONKEY_{name}"]
    app.config.update(MOONKEY_LEEWAY="4", MOONKEY_USER_TTL=None)  # what is in use anyway
    assert visits.get("/").text == "fine"


@pytest.mark.rule("S26")
@pytest.mark.parametrize(
    ("config", "mend"),
    [
        ({"MOONKEY_JWT_ISUER": "x"}, r"MOONKEY_JWT_ISSUER \(jwt_issuer\)"),
        ({"moonkey_jwt_issuer": "x"}, r"MOONKEY_JWT_ISSUER \(jwt_issuer\)"),
        ({"MOONKEY_SAME_SITE": "Lax"}, r"CookieSettings\(same_site"),
        ({"MOONKEY_ROLES": {"admin"}}, "@require_auth"),
        ({"MOONKEY_REQUIRED": "yes"}, "must be True or False"),
        ({"MOONKEY_CLIENT": object()}, "as `client`"),
        ({"MOONKEY": {"JWT_ISSUER": "x"}}, "MOONKEY in app.config has no effect"),
    ],
)
def test_a_key_of_the_config(emulator: Emulator, config: dict[str, Any], mend: str) -> None:
    app = Flask(__name__)
    app.config.update(config)
    with pytest.raises(ConfigurationError, match=mend):
        FlaskMoonKey(app, **options(emulator))
    with MoonKey(**options(emulator)) as client, pytest.raises(ConfigurationError, match=mend):
        FlaskMoonKey(app, client=client)


def test_arguments_are_judged_before_there_is_an_app() -> None:
    for name, mend in (
        ("jwt_isuer", "'jwt_issuer'"),
        ("clinet", "'client'"),
        ("public_paths", "MoonKeyMiddleware"),
    ):
        options: dict[str, Any] = {name: None}
        with pytest.raises(ConfigurationError, match=mend):
            FlaskMoonKey(**options)


def test_other_keys_are_the_app_s_own(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_setting_names, "_warned", set())
    app = Flask(__name__)
    app.config.update(MOONKEY_DASHBOARD="x", MOONKEY_PORT="tcp://10.0.0.1:80", MOONKEY_SERVICE_HOST="10.0.0.1")
    for _ in range(2):
        FlaskMoonKey(app, **options(emulator))
    assert [record.__dict__["reason"] for record in caplog.records] == ["setting_unknown"]
    assert "MOONKEY_DASHBOARD" in caplog.text
    assert "MOONKEY_PORT" not in caplog.text


# --- Django


@pytest.mark.rule("S26")
@pytest.mark.parametrize("handler", [WSGIHandler, ASGIHandler])
@pytest.mark.parametrize(
    ("name", "value", "mend"),
    [
        ("MOONKEY_JWT_ISSUER", "x", "MOONKEY = {'JWT_ISSUER': …}"),
        ("MOONKEY_JWT_ISUER", "x", "MOONKEY = {'JWT_ISSUER': …}"),
        ("MOONKEY_USERS", "create", "MOONKEY = {'USERS': …}"),
        ("MOONKEY_LAZY", True, "MOONKEY = {'LAZY': …}"),
        ("MOONKEY_COOKIES", {}, "MOONKEY = {'COOKIES': …}"),
        ("MOONKEY_SAME_SITE", "Lax", "CookieSettings(same_site=…)"),
        ("MOONKEY_ROLES", {"admin"}, "@require_auth(roles=…)"),
        ("MOONKEYS", {"REALM": "x"}, "Did you mean MOONKEY?"),
        ("MOON_KEY", {"REALM": "x"}, "Did you mean MOONKEY?"),
        ("MONKEY", {"REALM": "x"}, "Did you mean MOONKEY?"),
    ],
)
def test_a_setting_beside_the_dict(configure: Configure, handler: type, name: str, value: Any, mend: str) -> None:
    with override_settings(**{name: value}):
        with pytest.raises(ImproperlyConfigured) as caught:
            handler()
        assert name in str(caught.value)
        assert mend in str(caught.value)
        (found,) = [message for message in run_checks() if str(message.id).startswith("moonkey.")]
        assert (found.id, found.msg) == ("moonkey.E001", str(caught.value))
        with pytest.raises(ConfigurationError):
            get_client()
    assert get_client() is not None


def test_a_name_for_a_value_that_the_dict_uses(
    settings: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOONKEY_BASE_URL", emulator.base_url)
    settings.MOONKEY_SECRET_KEY = emulator.secret_key
    settings.MOONKEY_BASE_URL = emulator.base_url
    settings.MOONKEY = {"SECRET_KEY": django_settings.MOONKEY_SECRET_KEY}
    assert get_client().settings.api_key.reveal() == emulator.secret_key
    settings.MOONKEY = {"SECRET_KEY": "sk_test_other"}
    with pytest.raises(ConfigurationError, match="MOONKEY_SECRET_KEY has no effect"):
        get_client()


@pytest.mark.parametrize(
    ("name", "variable", "value"),
    [
        ("MOONKEY_LEEWAY", "7.5", 7.5),
        ("MOONKEY_LOAD_USER", "true", True),
        ("MOONKEY_JWT_SESSION_CLAIMS", "one,two", ["one", "two"]),
        ("MOONKEY_CACHE_SECRET", "", ""),
        ("MOONKEY_CACHE_SECRET", "", None),
        ("MOONKEY_USER_TTL", "", 60),
    ],
)
def test_a_name_for_a_variable_that_the_project_has_converted(
    configure: Configure, settings: Any, monkeypatch: pytest.MonkeyPatch, name: str, variable: str, value: Any
) -> None:
    monkeypatch.setenv(name, variable)
    setattr(settings, name, value)
    configure()
    WSGIHandler()
    monkeypatch.delenv(name)
    setattr(settings, name, "8")
    with pytest.raises(ImproperlyConfigured, match="has no effect"):
        WSGIHandler()


@pytest.mark.rule("S26")
@pytest.mark.parametrize(
    ("key", "mend"),
    [
        ("MOONKEY_JWT_ISSUER", "'jwt_issuer'"),
        ("JWT_ISUER", "'jwt_issuer'"),
        ("USER", "'users'"),
        ("LAZI", "'lazy'"),
        ("SESSION_NAME", "CookieSettings"),
        ("REQUIRED", "must be True or False"),
        ("ROLES", "@require_auth"),
        ("HOOKS", "as `client`"),
    ],
)
def test_a_key_of_the_dict(configure: Configure, key: str, mend: str) -> None:
    configure(**{key: "x"})
    with pytest.raises(ImproperlyConfigured, match=mend):
        WSGIHandler()


def test_other_django_settings_are_the_project_s_own(
    configure: Configure, settings: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_setting_names, "_warned", set())
    settings.MOONKEY_DASHBOARD = "x"
    settings.MONEY = {"EUR": 1}
    configure()
    WSGIHandler()
    assert [record.__dict__["reason"] for record in caplog.records] == ["setting_unknown"]
    assert "MOONKEY_DASHBOARD" in caplog.text


# --- arguments of a provider, in each place where settings are


def slips() -> list[tuple[str, str, str]]:
    """For each provider: its word, a misspelt name for one of its arguments, and the right one."""
    found = []
    for word in PRESETS:
        right = argument_names(word)[0]
        argument = right.removeprefix(f"{word}_")
        swapped = f"{word}_{argument[:-2]}{argument[-1]}{argument[-2]}"
        joined, doubled = f"{word.replace('_', '')}{argument}", f"{word}__{argument}"
        found += [(word, wrong, right) for wrong in (swapped, joined, doubled)]
    return found


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_setting_names, "_warned", set())


@pytest.mark.rule("S26")
@pytest.mark.parametrize(("word", "wrong", "right"), slips())
def test_a_misspelt_argument_of_a_provider(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, quiet: None, word: str, wrong: str, right: str
) -> None:
    """Whether or not the provider is chosen: a variable for another one of a fleet may stand there too."""
    name, variable = wrong.upper(), f"MOONKEY_{right.upper()}"
    options: dict[str, Any] = {"provider": word, wrong: "hushhush"}
    kept: list[tuple[Callable[[], object], str]] = [
        (lambda: MoonKey(**options), f"'{right}'|'{right.removeprefix(word)[1:]}'"),
        (lambda: FlaskMoonKey(Flask("names"), **options), f"'{right}'|'{right.removeprefix(word)[1:]}'"),
        (lambda: moonkey_starlette.MoonKeyMiddleware(None, **options), f"'{right}'"),  # type: ignore[arg-type]
    ]
    app = Flask("names")
    app.config.update({"MOONKEY_PROVIDER": word, f"MOONKEY_{name}": "hushhush"})
    kept.append((lambda: FlaskMoonKey(app), variable))
    for make, said in kept:
        with pytest.raises(ConfigurationError, match=f"Did you mean.*({said})") as caught:
            make()
        assert "hushhush" not in str(caught.value)
    configure(**{"PROVIDER": word, name: "hushhush"})
    with pytest.raises(ImproperlyConfigured, match=f"Did you mean.*'{right}'"):
        WSGIHandler()
    with (
        override_settings(MOONKEY={"PROVIDER": word}, **{f"MOONKEY_{name}": "hushhush"}),
        pytest.raises(ImproperlyConfigured, match=f"Did you mean MOONKEY = {{'{right.upper()}': …}}"),
    ):
        WSGIHandler()
    for chosen in (word, "moonkey"):
        monkeypatch.setenv("MOONKEY_PROVIDER", chosen)
        monkeypatch.setenv(f"MOONKEY_{name}", "hushhush")
        with pytest.raises(ConfigurationError, match=rf"the environment variable .* Did you mean {variable}"):
            MoonKey()
