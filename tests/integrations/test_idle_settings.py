"""A setting that can have no effect stops the start, however the framework is configured."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.testclient import TestClient

from moonkey_core import OIDC, ConfigurationError
from moonkey_django.conf import configuration
from moonkey_flask import FlaskMoonKey
from moonkey_starlette import MoonKeyMiddleware
from support.foreign_tokens import AUDIENCE, ISSUER, key_set

IDLE: dict[str, Any] = {"session_cache_ttl": 30, "grace_seconds": 0.0, "refresh_jwt": True}


def provider() -> OIDC:
    return OIDC(ISSUER, AUDIENCE, keys=key_set("RS256"))


@pytest.mark.parametrize("name", IDLE)
def test_in_flask(name: str) -> None:
    app = Flask("shop")
    app.config |= {"MOONKEY_PROVIDER": provider(), f"MOONKEY_{name.upper()}": IDLE[name]}
    with pytest.raises(ConfigurationError, match=name):
        FlaskMoonKey(app)
    with pytest.raises(ConfigurationError, match=name):
        FlaskMoonKey(Flask("other"), provider=provider(), **{name: IDLE[name]})


@pytest.mark.parametrize("name", IDLE)
def test_in_django(name: str, settings: Any) -> None:
    settings.MOONKEY = {"PROVIDER": provider(), name.upper(): IDLE[name]}
    with pytest.raises(ConfigurationError, match=name):
        configuration()


@pytest.mark.parametrize("name", IDLE)
def test_in_starlette(name: str) -> None:
    app = Starlette()
    app.add_middleware(MoonKeyMiddleware, provider=provider(), **{name: IDLE[name]})
    with pytest.raises(ConfigurationError, match=name), TestClient(app):
        raise AssertionError


@pytest.mark.parametrize("name", IDLE)
def test_by_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"MOONKEY_{name.upper()}", str(IDLE[name]).lower())
    with pytest.raises(ConfigurationError, match=name):
        FlaskMoonKey(Flask("shop"), provider=provider())
