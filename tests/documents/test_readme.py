"""What the README shows is what is there."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

from moonkey_core import MoonKey, Settings
from moonkey_core.emulator import Emulator
from moonkey_core.lag import Lag, lag_of
from support.documents import ROOT, between, block, run

EXAMPLES = [
    "examples/flask_app.py",
    "examples/django_app.py",
    "examples/starlette_app.py",
    "examples/fastapi_app.py",
]


@pytest.fixture
def an_account(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that an app needs."""
    monkeypatch.setenv("MOONKEY_SECRET_KEY", emulator.secret_key)
    monkeypatch.setenv("MOONKEY_BASE_URL", emulator.base_url)


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_is_the_tested_file(name: str) -> None:
    assert block("README.md", name).code == (ROOT / name).read_text()


@pytest.mark.usefixtures("an_account")
def test_the_client(emulator: Emulator) -> None:
    """The code is the one that has been sent; all other sessions of its user are over."""
    before = emulator.sign_in(email="ada@example.com")
    shown = block("README.md", "The client")
    assert shown.code.count('"123456"') == 1
    sent = replace(shown, code=shown.code.replace('"123456"', "emulator.outbox()[0].code"))
    login = sent.run(emulator=emulator)["login"]
    assert login.user.id == before.user_id
    with MoonKey() as client:
        assert [one.id for one in client.sessions.list(before.user_id)] == [login.session.id]


@pytest.mark.usefixtures("an_account")
def test_browser_sessions() -> None:
    app = Flask("shown")
    run("README.md", "Browser sessions", app=app)
    assert app.test_client().get("/auth/sign-in", headers={"Accept": "text/html"}).status_code == 200


def test_the_emulator() -> None:
    signed_in = run("README.md", "Develop without an account 2")["signed_in"]
    assert signed_in.session_token
    assert signed_in.session_jwt


def test_the_oidc_issuer() -> None:
    shown = run("README.md", "Develop without an account 3")
    for token in (shown["ada"].access_token, shown["machine"]):
        assert token.count(".") == 2


def test_the_table_of_settings_is_complete() -> None:
    rows = [
        f"| `{field.name}` | `MOONKEY_{field.name.upper()}` | {default(field)} | {field.metadata['help']} |"
        for field in dataclasses.fields(Settings)
    ]
    assert between("README.md", "settings").splitlines()[2:] == rows


def default(field: dataclasses.Field[object]) -> str:
    if field.default is dataclasses.MISSING:
        return "required"
    if field.default is None or field.default == ():
        return "none"
    if isinstance(field.default, bool):
        return "true" if field.default else "false"
    if dataclasses.is_dataclass(field.default):
        return "its own"
    if isinstance(field.default, timedelta):
        return f"{field.default.days} days"
    if isinstance(field.default, tuple):
        return " ".join(f"`{item}`" for item in field.default)
    return f"`{field.default:g}`" if isinstance(field.default, float) else f"`{field.default}`"


_ISSUER: dict[str, object] = {"jwt_issuer": "issuer"}
_REDIS: dict[str, object] = {"redis_url": "redis://127.0.0.1"}
LAG_CASES: list[tuple[str, str, dict[str, object]]] = [
    ("session token", "the default", {}),
    ("session token", "`session_cache_ttl=30`", {"session_cache_ttl": 30}),
    ("session token", "`session_cache_ttl=30`, a feed", {"session_cache_ttl": 30, **_REDIS}),
    ("session JWT", "no `jwt_issuer`", {}),
    ("session JWT", "`jwt_issuer`", _ISSUER),
    ("session JWT", "`jwt_issuer`, a feed", {**_ISSUER, **_REDIS}),
    (
        "session token",
        "`session_cache_ttl=30`, a feed, `on_feed_lost=bounded`",
        {"session_cache_ttl": 30, **_REDIS, "on_feed_lost": "bounded"},
    ),
    (
        "session JWT",
        "`jwt_issuer`, a feed, `on_feed_lost=bounded`",
        {**_ISSUER, **_REDIS, "on_feed_lost": "bounded"},
    ),
    ("session JWT", "`jwt_issuer`, a feed, `on_feed_lost=local`", {**_ISSUER, **_REDIS, "on_feed_lost": "local"}),
    ("either", "a route with `max_staleness=0`", {}),
]


def lag_rows() -> list[str]:
    rows = ["| credential | configuration | here | fleet | elsewhere |", "|---|---|---|---|---|"]
    for kind, words, options in LAG_CASES:
        lag = lag_of(Settings(**{"secret_key": "sk_test_x", **options}))  # type: ignore[arg-type]
        one: Lag = lag.session_jwt if kind == "session JWT" else lag.session_token
        rows.append(f"| {kind} | {words} | {one.here:g} | {one.fleet:g} | {one.elsewhere:g} |")
    return rows


def test_the_table_of_lags_is_what_the_client_computes() -> None:
    assert between("README.md", "lag").splitlines() == lag_rows()


def test_the_changelog_knows_this_version() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert f"## [{version[1]}]" in (ROOT / "CHANGELOG.md").read_text()


def test_rules_that_tests_cite_exist() -> None:
    rules = set(re.findall(r"\*\*(S\d+)\*\*", (ROOT / "SECURITY.md").read_text()))
    cited = {
        (path.name, rule)
        for path in (ROOT / "tests").rglob("*.py")
        for rule in re.findall(r"\bS\d{1,2}\b", path.read_text())
    }
    assert cited
    assert {(name, rule) for name, rule in cited if rule not in rules} == set()


def test_the_wheel_is_under_test_where_that_is_asked_for(request: pytest.FixtureRequest) -> None:
    import os

    import moonkey_core

    from_source = ROOT in Path(moonkey_core.__file__).parents
    assert from_source != bool(os.environ.get("TESTS_OF_WHEEL"))
