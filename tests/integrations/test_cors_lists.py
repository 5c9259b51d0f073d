"""What a CORS middleware has to list is said at the start: by Django's checks, and in the log of an ASGI app."""

from __future__ import annotations

from typing import Any

import pytest
from corsheaders.defaults import default_headers
from fastapi import FastAPI
from integrations.django_programs import problems
from integrations.django_visits import Configure
from integrations.starlette_visits import options
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from moonkey_core import Settings
from moonkey_core.emulator import Emulator
from moonkey_core.web.cors import headers_to_expose, unlisted_headers
from moonkey_starlette import MoonKeyMiddleware
from support import quick
from support.servers import serve_asgi

ORIGIN = "https://app.example"
OURS, CORS = "moonkey_django.MoonKeyMiddleware", "corsheaders.middleware.CorsMiddleware"
ORIGINS: list[dict[str, Any]] = [
    {"CORS_ALLOWED_ORIGINS": [ORIGIN]},
    {"CORS_ALLOW_ALL_ORIGINS": True},
    {"CORS_ALLOWED_ORIGIN_REGEXES": [r"^https://\w+\.example$"]},
]
ALLOW = (*default_headers, "session-token")


def load(**more: Any) -> Settings:
    return Settings.load({"secret_key": "sk_test_x", **more}, {})


def test_what_a_front_end_reads() -> None:
    assert headers_to_expose(load()) == ("Retry-After",)
    full = load(expires_in_header=True, fresh_jwt_header="X-Fresh")
    assert headers_to_expose(full) == ("Retry-After", "Session-Expires-In", "X-Fresh")


@pytest.mark.parametrize(
    ("allow", "expose", "with_cookies", "expected"),
    [
        ((), (), False, (("authorization", "session-token"), ("Retry-After",))),
        (default_headers, ["retry-after"], False, (("session-token",), ())),
        (["Authorization", " Session-Token "], ["RETRY-AFTER"], True, ((), ())),
        (["*"], ["*"], False, (("authorization",), ())),
        (["*", "authorization"], ["*"], False, ((), ())),
        (["*"], ["*"], True, (("authorization", "session-token"), ("Retry-After",))),
    ],
)
def test_which_are_missing(allow: list[str], expose: list[str], with_cookies: bool, expected: Any) -> None:
    assert unlisted_headers(load(), allow, expose, with_cookies=with_cookies) == expected


def test_only_the_headers_in_use_are_asked_for() -> None:
    settings = load(credential_headers="authorization")
    assert unlisted_headers(settings, default_headers, ["Retry-After"], with_cookies=False) == ((), ())


@pytest.mark.parametrize("origins", ORIGINS, ids=lambda one: next(iter(one)))
@pytest.mark.usefixtures("configure")
def test_djangos_defaults_lack_both(settings: Any, origins: dict[str, Any]) -> None:
    settings.MIDDLEWARE = [CORS, OURS]
    assert problems() == {}  # no origin may do anything
    for name, value in origins.items():
        setattr(settings, name, value)
    found = problems()
    assert list(found) == ["moonkey.W007", "moonkey.W008"]
    assert "lacks session-token" in found["moonkey.W007"].msg
    assert "lacks Retry-After" in found["moonkey.W008"].msg
    settings.CORS_ALLOW_HEADERS = ALLOW
    assert list(problems()) == ["moonkey.W008"]
    settings.CORS_EXPOSE_HEADERS = ["retry-after"]
    assert problems() == {}
    settings.MIDDLEWARE = [OURS]
    del settings.CORS_ALLOW_HEADERS
    assert problems() == {}


def test_django_by_the_settings(configure: Configure, settings: Any) -> None:
    settings.MIDDLEWARE, settings.CORS_ALLOWED_ORIGINS = [CORS, OURS], [ORIGIN]
    settings.CORS_EXPOSE_HEADERS = ["Retry-After"]
    configure(CREDENTIAL_HEADERS="authorization")
    assert problems() == {}
    configure(CREDENTIAL_HEADERS=["authorization", "X-Own"], EXPIRES_IN_HEADER=True, FRESH_JWT_HEADER="X-Fresh")
    found = problems()
    assert "x-own" in found["moonkey.W007"].msg
    assert "Session-Expires-In and X-Fresh" in found["moonkey.W008"].msg
    settings.MOONKEY = {"SECRET_KEY": ""}
    assert list(problems()) == ["moonkey.E001"]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if getattr(one, "reason", "") == "cors_unlisted"]


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
@pytest.mark.parametrize("lifespan", ["on", "off"])
def test_starlettes_defaults_lack_all(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, kind: type[Starlette], lifespan: str
) -> None:
    app = kind()
    app.add_middleware(MoonKeyMiddleware, **options(emulator))
    app.add_middleware(CORSMiddleware, allow_origins=[ORIGIN])
    with serve_asgi(app, lifespan=lifespan) as url:
        for _ in range(2):
            quick.get(url)
    (line,) = lines(caplog)
    assert "allow_headers lacks authorization, session-token" in line
    assert "expose_headers lacks Retry-After" in line


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ({"allow_headers": ["Authorization", "Session-Token"], "expose_headers": ["Retry-After"]}, []),
        ({"allow_headers": ["*"], "expose_headers": ["*"]}, []),
        ({"allow_headers": ["*"], "allow_credentials": True}, ["allow_headers lacks nothing"]),
        ({"allow_headers": ["authorization"], "expose_headers": ["retry-after"]}, ["lacks session-token"]),
    ],
)
def test_what_is_listed_is_not_named(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, lists: dict[str, Any], said: list[str]
) -> None:
    app = Starlette()
    app.add_middleware(MoonKeyMiddleware, **options(emulator))
    app.add_middleware(CORSMiddleware, allow_origin_regex=".*", **lists)
    with serve_asgi(app) as url:
        quick.get(url)
    found = lines(caplog)
    assert len(found) == len(said)
    assert all(one in line for one, line in zip(said, found, strict=True))


def test_a_layer_inside_is_seen_once(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    app = Starlette()
    app.add_middleware(CORSMiddleware, allow_origins=[ORIGIN])
    app.add_middleware(GZipMiddleware)
    app.add_middleware(MoonKeyMiddleware, **options(emulator))
    wrapped = MoonKeyMiddleware(CORSMiddleware(Starlette(), allow_origins=["*"]), **options(emulator))
    listed = Starlette()
    listed.add_middleware(CORSMiddleware, allow_origins=["*"])
    for one in (app, wrapped, MoonKeyMiddleware(listed, **options(emulator))):
        caplog.clear()
        with serve_asgi(one) as url:
            quick.get(url)
        assert len(lines(caplog)) == 1


def test_one_that_allows_no_origin_is_left_alone(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    app = Starlette()
    app.add_middleware(MoonKeyMiddleware, **options(emulator))
    app.add_middleware(CORSMiddleware)
    with serve_asgi(app) as url:
        quick.get(url)
    assert lines(caplog) == []
