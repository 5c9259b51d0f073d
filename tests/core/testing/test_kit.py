"""The kit: what it changes, what it gives back, and what it refuses."""

from __future__ import annotations

import ast
import gc
import logging
import os
import socket
import subprocess
import sys
import threading
import tomllib
import unittest
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request

from moonkey_core import AsyncMoonKey, ConfigurationError, MoonKey
from moonkey_core.testing import (
    Emulators,
    Kit,
    MoonKeyTestMixin,
    assert_no_secret,
    assert_requires_auth,
    assert_step_up,
    environment,
    identity,
    provide_settings,
)
from moonkey_core.testing import plugin as plugin_module
from moonkey_flask import FlaskMoonKey, current_auth, require_auth

ISSUER = "https://auth.example.com"
ROOT = Path(__file__).parents[3]


def site(**settings: Any) -> Flask:
    app = Flask("site")
    FlaskMoonKey(app, **{"secret_key": "sk_test_of_the_site", "jwt_issuer": ISSUER, **settings})

    @app.route("/me", methods=["GET", "POST"])
    @require_auth
    def me() -> Any:
        seen = {name: request.headers.get(name, "") for name in ("Origin", "Sec-Fetch-Site", "Authorization")}
        assert current_auth.session is not None
        return {"claims": current_auth.session.claims["roles"], **seen}

    @app.get("/strong")
    @require_auth(factors={"totp"}, factor_max_age=timedelta(minutes=10))
    def strong() -> str:
        return "strong"

    @app.get("/open")
    def open_to_all() -> str:
        return "open"

    @app.get("/odd")
    def odd() -> Any:
        return "no challenge", 401

    return app


class TestAdopting:
    def test_the_client_is_the_same_object_and_what_it_was_afterwards(self, emulators: Emulators) -> None:
        app = site()
        client: MoonKey = app.extensions["moonkey"]
        before = dict(vars(client))
        with Kit(app, emulators=emulators) as kit:
            assert kit.signed_in(roles=["a"]).get("/me").status_code == 200
            assert app.extensions["moonkey"] is client
            assert client.settings.jwt_issuer == (ISSUER,)
            assert client.settings.base_url == before["settings"].base_url
        assert vars(client) == before

    def test_no_other_client_is_changed(self, emulators: Emulators) -> None:
        app, other = site(), MoonKey("sk_test_other", base_url="http://127.0.0.1:1")
        before = dict(vars(other))
        with Kit(app, emulators=emulators) as kit:
            kit.signed_in()
            assert vars(other) == before
            made = MoonKey("sk_test_of_the_site", base_url="http://127.0.0.1:1")
            made.revocations.add(user_id="user_1")
            assert len(app.extensions["moonkey"].revocations) == 0
            made.close()
        other.close()

    def test_hooks_stay(self, emulators: Emulators) -> None:
        app, seen = site(), list[str]()
        app.extensions["moonkey"].hooks.add(lambda event: seen.append(type(event).__name__))
        with Kit(app, emulators=emulators) as kit:
            kit.signed_in(roles=["a"]).get("/me")
        assert seen

    def test_a_revocation_is_not_known_in_the_next_test(self, emulators: Emulators) -> None:
        app = site()
        with Kit(app, emulators=emulators) as kit:
            kit.signed_in()
            app.extensions["moonkey"].revocations.add(issued_before=emulators.moonkey.now() + 30)
            assert kit.signed_in(session_age=9, roles=["a"]).get("/me").status_code == 401
        with Kit(app, emulators=emulators) as kit:
            assert kit.signed_in(session_age=9, roles=["a"]).get("/me").status_code == 200

    def test_two_apps_with_different_keys(self, emulators: Emulators) -> None:
        with Kit(site(), emulators=emulators) as kit:
            kit.signed_in()
            with pytest.raises(ConfigurationError, match="different keys"):
                kit.signed_in(app=site(secret_key="sk_test_of_another"))

    def test_what_is_no_app(self, emulators: Emulators) -> None:
        for app, message in ((Flask("plain"), "no MoonKey"), (lambda: None, "Call it"), (7, "no app of")):
            with (
                Kit(site(), emulators=emulators) as kit,
                pytest.raises((ConfigurationError, TypeError), match=message),
            ):
                kit.signed_in(app=app)

    def test_a_kit_within_another_one(self, emulators: Emulators) -> None:
        """As in a fixture of a module: the inner one ends nothing of the outer one, whose app has another key."""
        with Kit(site, emulators=emulators) as outer:
            ada = outer.signed_in(roles=["a"])
            for _ in range(2):
                with Kit(site(secret_key="sk_test_of_another", jwt_issuer=None), emulators=emulators) as inner:
                    grace = inner.signed_in(roles=["b"])
                    for client, role in ((ada, "a"), (grace, "b")):
                        assert client.get("/me").json["claims"] == [role]
                    inner.faults.down()
                    assert grace.get("/me").status_code == 503
                assert ada.get("/me").json["claims"] == ["a"]
                assert outer.signed_in(roles=["c"], credential="token").get("/me").json["claims"] == ["c"]
        assert emulators.moonkey.requests().total() == 0

    def test_an_asynchronous_client(self, emulators: Emulators) -> None:
        client = AsyncMoonKey("sk_test_x", base_url="http://127.0.0.1:1", transport="httpx")
        before = dict(vars(client))
        with Kit(None, emulators=emulators) as kit:
            kit.adopt(client)
            assert vars(client) != before
        assert vars(client) == before

    def test_a_client_does_not_outlive_its_test(self, emulators: Emulators) -> None:
        """The app's client would call the real provider."""
        with Kit(site(), emulators=emulators) as kit:
            ada, visitor = kit.signed_in(), kit.signed_out()
        for use, arguments in ((ada.get, "/me"), (visitor.get, "/me"), (kit.signed_in, ""), (kit.signed_out, "")):
            with pytest.raises(RuntimeError, match="test of this kit is over"):
                use(*filter(None, [arguments]))

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"by": "cookie"}, "by='cookie' is unknown"),
            ({"credential": "cookie"}, "credential='cookie' is unknown"),
            ({"credential": "id"}, "no such credential"),
            ({"credential": "jwt"}, "the JWT alone is no credential"),
            ({"roles": "admin"}, "roles is a list"),
            ({"scopes": "a b"}, r"scopes=\['a', 'b'\]"),
            ({"factors": "totp"}, "factors is a list"),
            ({"email": "a@example.com", "user_id": "user_1"}, "an email or a user_id"),
            ({"session_age": timedelta(days=800)}, "359 days"),
            ({"factor_age": -1}, "0 or more"),
            ({"organization": "acme"}, "Stytch B2B or Clerk"),
            ({"shape": "auth0"}, "OpenID Connect"),
            ({"base_url": "shop.example"}, "is no origin"),
            ({"base_url": "https://shop.example/below"}, "is no origin"),
        ],
    )
    def test_a_wish_that_means_nothing(self, emulators: Emulators, wrong: Any, message: str) -> None:
        """Each would give a client that is signed in as something else, or not at all."""
        with (
            Kit(site(cookies=True), emulators=emulators) as kit,
            pytest.raises((ValueError, ConfigurationError), match=message),
        ):
            kit.signed_in(**wrong)

    def test_an_unknown_kind_of_client(self, emulators: Emulators) -> None:
        with Kit(site(), emulators=emulators) as kit, pytest.raises(ValueError, match="It has: 'flask'"):
            kit.signed_in(client="drf")


class TestSockets:
    def test_one_transport_as_the_other(self) -> None:
        emulators = Emulators()
        try:
            with Kit(site(), emulators=emulators) as kit:
                for credential in ("token", "jwt"):
                    assert kit.signed_in(roles=["a"], credential=credential).get("/me").status_code == 200
                kit.faults.down()
                assert kit.signed_in(credential="token").get("/me").status_code == 503
                kit.faults.clear()
                emulators.moonkey.stop()
                assert kit.signed_in(credential="token").get("/me").status_code == 503
            assert emulators.moonkey.running
        finally:
            emulators.close()

    def test_without_a_socket(self, monkeypatch: pytest.MonkeyPatch) -> None:
        make, here = socket.socket.__init__, threading.get_ident()

        def guarded(*args: Any, **kwargs: Any) -> None:
            if threading.get_ident() == here:  # others may still be at work for an earlier test
                raise AssertionError("a socket was opened")
            make(*args, **kwargs)

        emulators = Emulators(offline=True)
        monkeypatch.setattr(socket.socket, "__init__", guarded)
        with pytest.raises(AssertionError, match="a socket was opened"):
            socket.socket()
        with Kit(site(), emulators=emulators) as kit:
            for credential in ("token", "jwt"):
                assert kit.signed_in(roles=["a"], credential=credential).get("/me").status_code == 200
            emulators.moonkey.stop()
            assert kit.signed_in(credential="token").get("/me").status_code == 503
            emulators.moonkey.start()
            assert kit.signed_in(roles=["a"]).get("/me").status_code == 200
        emulators.close()


class TestPresenting:
    def test_by_header(self, emulators: Emulators) -> None:
        with Kit(site(cookies=True), emulators=emulators) as kit:
            seen = kit.signed_in(by="header", roles=["a"]).post("/me").json
            assert seen["Authorization"].startswith("Bearer ")
            assert (seen["Origin"], seen["Sec-Fetch-Site"]) == ("", "")

    def test_by_cookies_as_a_browser(self, emulators: Emulators) -> None:
        with Kit(site(cookies=True), emulators=emulators) as kit:
            ada = kit.signed_in(roles=["a"])
            assert len(ada.moonkey.cookies) == 3
            get, post = ada.get("/me").json, ada.post("/me").json
            assert (get["Authorization"], get["Origin"], get["Sec-Fetch-Site"]) == ("", "", "same-origin")
            assert (post["Origin"], post["Sec-Fetch-Site"]) == ("https://localhost", "same-origin")
            assert emulators.moonkey.requests()["POST /v1/auth/sessions/verify"] == 0
            evil = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
            assert ada.post("/me", headers=evil).status_code == 403

    def test_no_cookies(self, emulators: Emulators) -> None:
        with Kit(site(), emulators=emulators) as kit, pytest.raises(ConfigurationError, match="no cookies"):
            kit.signed_in(by="cookies")

    def test_another_header(self, emulators: Emulators) -> None:
        with Kit(site(credential_headers=["x-session"]), emulators=emulators) as kit:
            ada = kit.signed_in(roles=["a"])
            assert list(ada.moonkey.headers) == ["x-session"]
            assert ada.get("/me").status_code == 200

    def test_a_repr_shows_no_credential(self, emulators: Emulators) -> None:
        with Kit(site(cookies=True), emulators=emulators) as kit:
            user = kit.signed_in().moonkey
            assert user.user_id in repr(user)
            assert_no_secret(repr(user), secrets=kit.issued)


class TestAssertions:
    def test_requires_auth(self, emulators: Emulators) -> None:
        with Kit(site(), emulators=emulators) as kit:
            assert assert_requires_auth(kit.signed_in(), "/me", method="POST").status_code == 401
            for path, message in (("/open", "answered with 200"), ("/odd", "no challenge"), ("/none", "with 404")):
                with pytest.raises(AssertionError, match=message):
                    assert_requires_auth(kit.signed_out(), path)

    def test_step_up(self, emulators: Emulators) -> None:
        with Kit(site(), emulators=emulators) as kit:
            ada = kit.signed_in(roles=["a"])
            assert_step_up(ada, "/strong", factors={"totp"}, max_age=timedelta(minutes=10))
            for wrong in ({"factors": {"sms"}}, {"max_age": 60}):
                with pytest.raises(AssertionError, match="wanted"):
                    assert_step_up(ada, "/strong", **wrong)
            with pytest.raises(AssertionError, match="not with one for a step-up"):
                assert_step_up(ada, "/me")
            old = kit.signed_in(mfa=True, factor_age=timedelta(hours=1))
            assert_step_up(old, "/strong")
            assert kit.signed_in(mfa=True).get("/strong").status_code == 200

    def test_no_secret(self, emulators: Emulators, caplog: pytest.LogCaptureFixture) -> None:
        with Kit(site(), emulators=emulators) as kit:
            ada = kit.signed_in()
            assert len(kit.issued) == 3
            kit.assert_no_secret(caplog, "text", b"bytes", ["list"])
            caplog.clear()
            logging.getLogger("app").warning("got %s", ada.moonkey.session_token)
            with pytest.raises(AssertionError, match="stands after") as told:
                kit.assert_no_secret(caplog)
            assert ada.moonkey.session_token not in str(told.value)


class TestIdentity:
    def test_what_it_holds(self) -> None:
        auth = identity("user_1", roles=["a"], scopes=["b", "c"], permissions=["d"], claims={"team": "x"})
        assert auth.session is not None
        assert (auth.session.roles, auth.session.scopes, auth.session.claims["team"]) == (("a",), ("b", "c"), "x")


class TestPlugin:
    def test_its_entry_point(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        assert project["entry-points"]["pytest11"] == {"moonkey": plugin_module.__name__}

    def test_it_imports_nothing_of_ours(self) -> None:
        """Not at run time: what is for type checkers, and in functions, does not count."""
        tree = ast.parse(Path(plugin_module.__file__).read_text())
        imported = [ast.unparse(one) for one in tree.body if isinstance(one, ast.Import | ast.ImportFrom)]
        assert imported
        assert [one for one in imported if "moonkey" in one] == []

    @pytest.mark.long
    def test_what_is_loaded_with_it(self) -> None:
        script = "import sys, moonkey_core.testing.plugin\nprint(*sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
        )
        ours = {name for name in done.stdout.split() if name.startswith("moonkey")}
        assert ours == {"moonkey_core", "moonkey_core.testing", "moonkey_core.testing.plugin"}
        assert not {"httpx", "jwt", "cryptography", "starlette"} & {*done.stdout.split()}


class TestEnvironment:
    def test_it_is_set_where_nothing_is(self) -> None:
        environ: dict[str, str] = {"HOME": "/"}
        assert provide_settings(environ) is True
        assert set(environ) == {"HOME", "MOONKEY_SECRET_KEY"}
        assert provide_settings(environ) is False

    def test_an_app_that_has_its_provider(self) -> None:
        assert provide_settings({"MOONKEY_PROVIDER": "auth0"}) is False
        assert provide_settings({"MOONKEY_JWT_ISSUER": ISSUER, "MOONKEY_SECRET_KEY": ""}) is True

    def test_it_is_taken_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for before in (None, ""):
            monkeypatch.delenv("MOONKEY_SECRET_KEY", raising=False)
            if before is not None:
                monkeypatch.setenv("MOONKEY_SECRET_KEY", before)
            with environment.provided_settings():
                made = os.environ["MOONKEY_SECRET_KEY"]
            assert made == environment.usual_settings()["MOONKEY_SECRET_KEY"] != before
            assert os.environ.get("MOONKEY_SECRET_KEY") == before


class TestMixin:
    def test_outside_of_django(self) -> None:
        class MeTest(MoonKeyTestMixin, unittest.TestCase):
            moonkey_offline = True

            def test_me(self) -> None:
                ada = self.signed_in(roles=["a"])
                assert ada.get("/me").status_code == 200
                self.assert_requires_auth(ada, "/me")
                self.assert_step_up(ada, "/strong")
                self.assert_no_secret("nothing")
                self.moonkey_faults.revoked(ada, told=True)
                assert ada.get("/me").status_code == 401

            def setUp(self) -> None:
                """Without that of the mixin."""

            def make_moonkey_app(self) -> Any:
                return site(secret_key=os.environ["MOONKEY_SECRET_KEY"])

        before = os.environ.get("MOONKEY_SECRET_KEY")
        result = unittest.TestResult()
        MeTest("test_me").run(result)
        assert (result.testsRun, result.errors, result.failures) == (1, [], [])
        assert os.environ.get("MOONKEY_SECRET_KEY") == before
        gc.collect()
