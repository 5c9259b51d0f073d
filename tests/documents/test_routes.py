"""The document on routes shows what is there."""

from __future__ import annotations

import json
import re
import sys
import types
from typing import Any

import pytest
from django.test import RequestFactory
from flask import Flask
from starlette.testclient import TestClient

from moonkey_core.audit import Verdict, assert_all_protected, audit_routes
from moonkey_core.cli.routes import main
from moonkey_flask import FlaskMoonKey, public, require_auth
from support.documents import block, run, text

DOCUMENT = "docs/routes.md"


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONKEY_SECRET_KEY", "sk_test_docs")


def test_the_verdicts_are_those_of_the_audit() -> None:
    rows = re.findall(r"^\| \*(.+?)\* \|", text(DOCUMENT), re.MULTILINE)
    assert rows == [verdict.value for verdict in Verdict]


@pytest.mark.parametrize("name", ["flask", "starlette", "fastapi"])
def test_the_apps_are_closed_and_their_probe_is_open(name: str) -> None:
    app: Any = run(DOCUMENT, name)["app"]
    verdicts = {one.path: one.verdict for one in assert_all_protected(app).endpoints}
    assert verdicts["/health"] is Verdict.PUBLIC
    client = app.test_client() if name == "flask" else TestClient(app)
    assert client.get("/health").status_code == 200


def test_the_view_of_django_is_open() -> None:
    shown = run(DOCUMENT, "django")
    assert shown["MOONKEY"] == {"REQUIRED": True}
    assert shown["health"](RequestFactory().get("/health")).content == b"ok"
    assert shown["health"].login_required is False


def example() -> Flask:
    app = Flask("shown", static_folder=None)
    FlaskMoonKey(app)
    app.add_url_rule("/me", "me", require_auth(lambda: "me"))
    app.add_url_rule("/admin", "admin", require_auth(roles={"admin"})(lambda: "admin"), methods=["POST"])
    app.add_url_rule("/health", "health", public(reason="a probe")(lambda: "ok"))

    def hole() -> str:
        return "hole"

    app.add_url_rule("/hole", "hole", hole)
    return app


def test_the_table_is_what_the_command_prints() -> None:
    shown = block(DOCUMENT, "What each route demands 2").code.strip().splitlines()
    printed = audit_routes(example()).to_table().splitlines()

    def words(line: str) -> list[str]:
        return re.sub(r"\S*hole \(\S+, line \d+\)", "hole (…)", line).split()

    assert [words(line) for line in printed] == [words(line) for line in shown]


def test_the_assertion_of_a_test() -> None:
    run(DOCUMENT, "In a test", app=example())
    with pytest.raises(AssertionError, match="GET /hole is unprotected"):
        run(DOCUMENT, "In a test", app=example())["test_no_route_is_open_by_mistake"]()


class TestTheCommand:
    @pytest.fixture(autouse=True)
    def _module(self, monkeypatch: pytest.MonkeyPatch) -> None:
        module: Any = types.ModuleType("shown_app")
        module.app, module.create_app = example(), example
        monkeypatch.setitem(sys.modules, "shown_app", module)

    @pytest.mark.parametrize("name", ["shown_app:app", "shown_app:create_app()"])
    def test_it_fails_on_an_unprotected_route(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([name]) == 1
        assert "GET /hole is unprotected" in capsys.readouterr().out

    def test_it_writes_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["shown_app:app", "--json"]) == 1
        written = json.loads(capsys.readouterr().out)
        assert written["ok"] is False
        assert written["counts"]["unprotected"] == 1
        [hole] = [one for one in written["endpoints"] if one["verdict"] == "unprotected"]
        assert (hole["methods"], hole["path"], hole["said_by"]) == ("GET", "/hole", "")

    @pytest.mark.parametrize(
        ("argv", "said"),
        [
            ([], "Name an app"),
            (["json"], "has no 'app'"),
            (["shown_app:nothing"], "has no 'nothing'"),
            (["no_such_module:app"], "there is no module 'no_such_module'"),
            (["json:dumps"], "no app of Flask"),
            (["shown_app:app", "--django"], "not both"),
        ],
    )
    def test_what_is_no_app(
        self,
        argv: list[str],
        said: str,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
        assert main(argv) == 2
        assert said in capsys.readouterr().err

    def test_the_command_of_flask(self) -> None:
        done = example().test_cli_runner().invoke(args=["moonkey", "routes", "--json"])
        assert done.exit_code == 1
        assert json.loads(done.output)["framework"] == "Flask"
