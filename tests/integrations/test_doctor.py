"""What the doctor sees of an app: its settings, the order and lists of its middleware; and from "
"inside of a worker."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import textwrap
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.http import HttpRequest, JsonResponse
from django.test import AsyncRequestFactory, RequestFactory
from fastapi import FastAPI
from flask import Flask
from flask_cors import CORS
from integrations.django_programs import python
from integrations.django_visits import Configure
from integrations.starlette_visits import options
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from werkzeug.middleware.proxy_fix import ProxyFix

import moonkey_django.doctor
import moonkey_flask.doctor
import moonkey_starlette.doctor
from moonkey_core._doctor.apps import AppError, find_app
from moonkey_core.cli import main
from moonkey_core.doctor import Line
from moonkey_core.emulator import Emulator
from moonkey_flask import FlaskMoonKey
from moonkey_starlette import MoonKeyMiddleware
from support.secrets import assert_no_secret

ORIGINS = ["https://spa.example"]
HEADERS = ["authorization", "session-token"]


def wrong(lines: list[Line]) -> dict[str, str]:
    return {line.check: f"{line.text} {line.mend}" for line in lines if line.verdict == "wrong"}


def report_of(shown: str) -> dict[str, str]:
    found = json.loads(shown)
    return {line["check"]: line["text"] for line in found["lines"] if line["verdict"] == "wrong"}


class TestFlask:
    @staticmethod
    def app(emulator: Emulator, **more: Any) -> Flask:
        app = Flask("doctor_app")
        FlaskMoonKey(app, **options(emulator, **more))
        return app

    def test_a_whole_app(self, emulator: Emulator) -> None:
        app = self.app(emulator)
        CORS(app, origins=ORIGINS, allow_headers=HEADERS, expose_headers=["Retry-After"])
        assert wrong(moonkey_flask.doctor.stack_of(app)) == {}
        assert moonkey_flask.doctor.settings_of(app) is app.extensions["moonkey"].settings

    def test_a_layer_around_it(self, emulator: Emulator) -> None:
        app = self.app(emulator)
        assert moonkey_flask.doctor.recognizes(ProxyFix(app.wsgi_app))
        assert wrong(moonkey_flask.doctor.stack_of(ProxyFix(app.wsgi_app))) == {}
        assert not moonkey_flask.doctor.recognizes(object())

    def test_without_the_extension(self) -> None:
        assert "FlaskMoonKey(app)" in wrong(moonkey_flask.doctor.stack_of(Flask("bare")))["stack"]

    def test_the_lists_of_flask_cors(self, emulator: Emulator) -> None:
        app = self.app(emulator)
        CORS(app, origins=ORIGINS, allow_headers=["Content-Type"])
        lines = [line.text for line in moonkey_flask.doctor.stack_of(app) if line.verdict == "wrong"]
        assert len(lines) == 2
        assert "allow_headers of Flask-CORS lacks authorization, session-token" in lines[0]
        assert "expose_headers of Flask-CORS lacks Retry-After" in lines[1]

    def test_proxies_twice(self, emulator: Emulator) -> None:
        for networks, expected in (("10.0.0.7", {"proxies"}), ("none", set[str]())):
            app = self.app(emulator, trusted_proxies=networks)
            app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
            assert wrong(moonkey_flask.doctor.stack_of(app)).keys() == expected

    def test_the_name_of_its_own_session_cookie(self, emulator: Emulator) -> None:
        app = self.app(emulator, cookies={"insecure_development": True, "session_name": "session"})
        assert "SESSION_COOKIE_NAME" in wrong(moonkey_flask.doctor.stack_of(app))["stack"]

    @pytest.mark.parametrize("key", ["right", "wrong"])
    def test_the_command(self, emulator: Emulator, key: str) -> None:
        more = {} if key == "right" else {"secret_key": "sk_test_anotherapp12345"}
        ended = self.app(emulator, **more).test_cli_runner().invoke(args=["moonkey", "doctor", "--json"])
        found = report_of(ended.output)
        assert ended.exit_code == (key == "wrong")
        assert ("key" in found) is (key == "wrong")
        assert_no_secret([ended.output], [emulator.secret_key, "anotherapp12345"])

    def test_the_commands_own_help(self, emulator: Emulator) -> None:
        ended = self.app(emulator).test_cli_runner().invoke(args=["moonkey", "doctor", "--help"])
        assert ended.output.startswith("usage: flask moonkey doctor ")

    def test_the_log_of_a_worker(self, emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "moonkey")
        app = self.app(emulator)
        moonkey_flask.doctor.log_worker_report(app)
        for _ in range(3):
            app.test_client().get("/", headers={"X-Forwarded-For": "203.0.113.7"})
        reports = [one for one in caplog.records if getattr(one, "reason", "").startswith("doctor")]
        assert [one.getMessage() for one in reports if "server:" in one.getMessage()] != []
        assert len([one for one in reports if one.reason == "doctor_wrong"]) == 1  # type: ignore[attr-defined]


class TestStarlette:
    @staticmethod
    def app(emulator: Emulator, *middleware: Middleware | None, kind: Any = Starlette, **more: Any) -> Any:
        ours = Middleware(MoonKeyMiddleware, **options(emulator, **more))
        return kind(middleware=[one or ours for one in middleware])

    @pytest.mark.parametrize("kind", [Starlette, FastAPI])
    def test_a_whole_app(self, emulator: Emulator, kind: Any) -> None:
        cors = Middleware(
            CORSMiddleware, allow_origins=ORIGINS, allow_headers=HEADERS, expose_headers=["Retry-After"]
        )
        app = self.app(emulator, cors, None, Middleware(GZipMiddleware), kind=kind)
        lines = moonkey_starlette.doctor.stack_of(app)
        assert wrong(lines) == {}
        assert "CORSMiddleware → MoonKeyMiddleware → GZipMiddleware" in lines[0].text
        settings = moonkey_starlette.doctor.settings_of(app)
        assert settings is not None
        assert settings.base_url == emulator.base_url

    def test_the_order_and_the_lists(self, emulator: Emulator) -> None:
        found = wrong(
            moonkey_starlette.doctor.stack_of(
                self.app(emulator, None, Middleware(CORSMiddleware, allow_origins=ORIGINS))
            )
        )
        assert "inside of MoonKeyMiddleware" in found["stack"]
        assert "expose_headers lacks Retry-After" in found["cors"]

    def test_made_by_hand_around_an_app(self, emulator: Emulator) -> None:
        inner = Starlette(middleware=[Middleware(CORSMiddleware, allow_origins=ORIGINS)])
        around = MoonKeyMiddleware(inner, **options(emulator))
        assert moonkey_starlette.doctor.recognizes(around)
        assert moonkey_starlette.doctor.settings_of(around) is around.client.settings
        assert "stack" in wrong(moonkey_starlette.doctor.stack_of(around))
        cors = CORSMiddleware(around, allow_origins=ORIGINS, allow_headers=HEADERS, expose_headers=["Retry-After"])
        assert "cors" in wrong(moonkey_starlette.doctor.stack_of(cors))  # the inner one is still there

    def test_twice_and_not_at_all(self, emulator: Emulator) -> None:
        assert (
            "more than once" in wrong(moonkey_starlette.doctor.stack_of(self.app(emulator, None, None)))["stack"]
        )
        assert "add_middleware" in wrong(moonkey_starlette.doctor.stack_of(Starlette()))["stack"]

    def test_inside_of_a_worker(self, emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "moonkey")

        async def doctor(request: Request) -> JSONResponse:
            return JSONResponse(moonkey_starlette.doctor.worker_report(request).to_dict())

        app = Starlette(routes=[Route("/doctor", doctor)])
        app.add_middleware(moonkey_starlette.doctor.LogWorkerReport)
        app.add_middleware(MoonKeyMiddleware, **options(emulator))
        with TestClient(app) as client:
            found = [client.get("/doctor", headers={"X-Forwarded-For": "203.0.113.7"}).json() for _ in range(2)]
        assert {line["check"] for line in found[0]["lines"]} == {"server", "proxies", "key set"}
        assert "asyncio" in found[0]["lines"][0]["text"]
        reasons = [one.reason for one in caplog.records if getattr(one, "reason", "").startswith("doctor")]  # type: ignore[attr-defined]
        assert reasons.count("doctor_wrong") == 1


class TestDjango:
    def test_a_whole_project(self, configure: Configure) -> None:
        configure()
        lines = moonkey_django.doctor.stack_of(None)
        assert wrong(lines) == {}
        assert {line.check for line in lines} == {"stack", "cookies", "cors", "users", "gates"}
        assert moonkey_django.doctor.recognizes(WSGIHandler())
        assert moonkey_django.doctor.recognizes(ProxyFix(WSGIHandler()))
        assert moonkey_django.doctor.recognizes(CORSMiddleware(cast(Any, ASGIHandler())))
        assert not moonkey_django.doctor.recognizes(Starlette())

    def test_the_order(self, configure: Configure, settings: Any) -> None:
        configure()
        settings.MIDDLEWARE = ["moonkey_django.MoonKeyMiddleware", "corsheaders.middleware.CorsMiddleware"]
        assert "moonkey.W004" in wrong(moonkey_django.doctor.stack_of(None))["stack"]

    def test_a_wrong_setting(self, configure: Configure) -> None:
        configure(LEEWAY="much")
        assert "moonkey.E001" in wrong(moonkey_django.doctor.stack_of(None))["settings"]

    @pytest.mark.parametrize("key", ["right", "wrong"])
    def test_the_command(self, configure: Configure, emulator: Emulator, key: str) -> None:
        configure(**({} if key == "right" else {"SECRET_KEY": "sk_test_anotherapp12345"}))
        out = io.StringIO()
        if key == "right":
            call_command("moonkey_doctor", "--json", stdout=out)
        else:
            with pytest.raises(SystemExit) as ended:
                call_command("moonkey_doctor", "--json", stdout=out)
            assert ended.value.code == 1
        assert ("key" in report_of(out.getvalue())) is (key == "wrong")
        assert_no_secret([out.getvalue()], [emulator.secret_key, "anotherapp12345"])

    def test_inside_of_a_worker(self, configure: Configure, caplog: pytest.LogCaptureFixture) -> None:
        configure()
        caplog.set_level(logging.INFO, "moonkey")

        def view(request: HttpRequest) -> JsonResponse:
            return JsonResponse(moonkey_django.doctor.worker_report(request).to_dict())

        async def aview(request: HttpRequest) -> JsonResponse:
            return view(request)

        logged: Any = moonkey_django.doctor.LogWorkerReport(view)
        alogged: Any = moonkey_django.doctor.LogWorkerReport(aview)
        factory, afactory = RequestFactory(), AsyncRequestFactory()
        logged(factory.get("/"))
        wsgi = json.loads(logged(factory.get("/")).content)
        asgi = json.loads(asyncio.run(alogged(afactory.get("/"))).content)
        for found, interface in ((wsgi, "WSGI"), (asgi, "ASGI")):
            assert found["lines"][0]["text"].startswith(interface)
            assert {line["check"] for line in found["lines"]} == {"server", "proxies", "key set"}
        servers = [one for one in caplog.records if "server:" in one.getMessage()]
        assert len(servers) == 2  # one for each worker, which are two here


APPS = {
    "flask": """
        from flask import Flask
        from moonkey_flask import FlaskMoonKey
        def create_app():
            app = Flask(__name__)
            FlaskMoonKey(app)
            return app
        app = create_app()
    """,
    "starlette": """
        from starlette.applications import Starlette
        from starlette.middleware.cors import CORSMiddleware
        from moonkey_starlette import MoonKeyMiddleware
        def create_app():
            app = Starlette()
            app.add_middleware(CORSMiddleware, allow_origins=["https://spa.example"])
            app.add_middleware(MoonKeyMiddleware)
            return app
        app = create_app()
    """,
    "fastapi": """
        from fastapi import FastAPI
        from moonkey_starlette import MoonKeyMiddleware
        def create_app():
            app = FastAPI()
            app.add_middleware(MoonKeyMiddleware)
            return app
        app = create_app()
    """,
}
NUMBERS = count()  # a module of one name is imported once
WRONG = {"flask": set[str](), "starlette": {"stack", "cors"}, "fastapi": set[str]()}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Write a module into the current directory, and return its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(source: str) -> str:
        name = f"doctor_app_{next(NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        return name

    return write


@pytest.fixture
def environment(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONKEY_SECRET_KEY", emulator.secret_key)
    monkeypatch.setenv("MOONKEY_BASE_URL", emulator.base_url)
    monkeypatch.setenv("MOONKEY_TIMEOUT", "30")


@pytest.mark.usefixtures("environment")
class TestByName:
    @pytest.mark.parametrize("kind", APPS)
    @pytest.mark.parametrize("path", [":app", ":create_app()", ""])
    def test_an_app(
        self, module: Callable[[str], str], capsys: pytest.CaptureFixture[str], kind: str, path: str
    ) -> None:
        status = main(["doctor", f"{module(APPS[kind])}{path}", "--json"])
        found = report_of(capsys.readouterr().out)
        assert found.keys() == WRONG[kind]
        assert status == bool(WRONG[kind])

    def test_what_cannot_be_had(self, module: Callable[[str], str], capsys: pytest.CaptureFixture[str]) -> None:
        name = module("def create_app(): raise RuntimeError('hunter2hunter2')\nthing = 3")
        for app, said in (
            ("no_such_module_here:app", "no module"),
            (f"{name}:other", "has no 'other'"),
            (f"{name}:create_app()", "RuntimeError"),
            (f"{name}:create_app", "parentheses"),
            (f"{name}:thing", "is a int"),
        ):
            assert main(["doctor", app]) == 2
            shown = capsys.readouterr()
            assert said in shown.err
            assert "hunter2" not in shown.out + shown.err

    def test_a_setting_that_keeps_the_app_from_loading(
        self, module: Callable[[str], str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MOONKEY_SECRET_KEY", '"sk_test_abcdefgh12345"')
        assert main(["doctor", module(APPS["flask"]), "--json"]) == 1
        shown = capsys.readouterr().out
        assert report_of(shown).keys() == {"variables", "settings"}
        assert "abcdefgh12345" not in shown

    @pytest.mark.parametrize("kind", APPS)
    def test_a_missing_key_is_said_once(
        self,
        module: Callable[[str], str],
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        kind: str,
    ) -> None:
        monkeypatch.delenv("MOONKEY_SECRET_KEY")
        assert main(["doctor", module(APPS[kind]), "--json"]) == 1
        assert report_of(capsys.readouterr().out).keys() == {"settings"}

    def test_routes_that_cannot_be_loaded(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails() -> None:
            raise ValueError("hunter2hunter2")

        monkeypatch.setattr("moonkey_core.cli.routes.find_django", lambda _: None)
        monkeypatch.setattr("moonkey_core.cli.routes.audit_routes", fails)
        assert main(["routes", "--django", "mysite.settings"]) == 2
        assert (
            "The URL configuration of the Django project cannot be loaded: ValueError" in capsys.readouterr().err
        )

    @pytest.mark.parametrize("command", ["doctor", "routes", "explain"])
    def test_django_without_settings(
        self, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        assert main([command, "--django"]) == 2
        assert "DJANGO_SETTINGS_MODULE" in capsys.readouterr().err

    def test_an_object_that_is_no_app(self, module: Callable[[str], str]) -> None:
        with pytest.raises(AppError):
            find_app(f"{module('app = 3')}:app")


@pytest.mark.long
class TestAProjectOfDjango:
    SCRIPT = "import sys; from moonkey_core.cli import main; print(main(sys.argv[1:]))"

    def test_by_its_settings_and_by_its_application(self, tmp_path: Path, emulator: Emulator) -> None:
        (tmp_path / "doctor_site.py").write_text(
            "import os\nSECRET_KEY = 'x'\nROOT_URLCONF = 'doctor_site'\nurlpatterns = []\n"
            "INSTALLED_APPS = ['moonkey_django']\n"
            "MIDDLEWARE = ['moonkey_django.MoonKeyMiddleware']\n"
        )
        (tmp_path / "doctor_wsgi.py").write_text(
            "import os\nos.environ['DJANGO_SETTINGS_MODULE'] = 'doctor_site'\n"
            "from django.core.wsgi import get_wsgi_application\napp = get_wsgi_application()\n"
        )
        environment = {
            "MOONKEY_SECRET_KEY": emulator.secret_key,
            "MOONKEY_BASE_URL": emulator.base_url,
            "MOONKEY_TIMEOUT": "30",
        }
        script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {self.SCRIPT}"
        for arguments in (("--django", "doctor_site"), ("doctor_wsgi:app",)):
            shown = python(script, arguments=("doctor", *arguments), **environment)
            assert shown.strip().endswith("\n0")
            assert "moonkey" not in [line for line in shown.splitlines() if line.startswith("WRONG")]
            assert "MIDDLEWARE has MoonKey's once" in shown
        shown = python(script, arguments=("doctor", "doctor_wsgi:app", "--json"), MOONKEY_SECRET_KEY="")
        assert report_of(shown.strip().removesuffix("\n1")).keys() == {"settings"}  # no ImproperlyConfigured

    def test_what_is_no_module_of_settings(self, tmp_path: Path) -> None:
        (tmp_path / "doctor_single.py").write_text("from django.conf import settings\n")
        script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.stderr = sys.stdout; {self.SCRIPT}"
        shown = python(script, arguments=("routes", "--django", "doctor_single"))
        assert "has no ROOT_URLCONF" in shown
        assert shown.strip().endswith("\n2")
