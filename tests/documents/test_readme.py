"""What the README shows is what is there."""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta
from pathlib import Path

import pytest

from moonkey_core import Settings
from moonkey_core.lag import Lag, lag_of

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
EXAMPLES = ["flask_app", "django_app", "starlette_app", "fastapi_app"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_is_the_tested_file(name: str) -> None:
    shown = re.search(rf"<!-- examples/{name}\.py -->\n```python\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    assert shown[1] == (ROOT / "examples" / f"{name}.py").read_text()


def test_the_table_of_settings_is_complete() -> None:
    shown = re.search(r"<!-- settings -->\n(.*?)<!-- /settings -->", README, re.DOTALL)
    assert shown is not None
    rows = [
        f"| `{field.name}` | `MOONKEY_{field.name.upper()}` | {default(field)} | {field.metadata['help']} |"
        for field in dataclasses.fields(Settings)
    ]
    assert shown[1].splitlines()[2:] == rows


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
    shown = re.search(r"<!-- lag -->\n(.*?)<!-- /lag -->", README, re.DOTALL)
    assert shown is not None
    assert shown[1].splitlines() == lag_rows()


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
