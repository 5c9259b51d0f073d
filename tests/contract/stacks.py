"""The five stacks, each served by a real server over a socket that keeps connections alive.

Frameworks are imported where they are used: Django wants its settings first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from contract.behaviour import ALLOWED, EXPOSED, ORIGIN, Runs

from moonkey_core.emulator import Emulator
from support.servers import serve_asgi, serve_wsgi

# The servers hand on what proxies say of a request, and leave it to the app whether to believe that.
AS_SENT_WSGI: dict[str, Any] = {"clear_untrusted_proxy_headers": False}
AS_SENT_ASGI: dict[str, Any] = {"proxy_headers": False}


@dataclass(frozen=True)
class Site:
    """A running site: where it is, and which protected views ran."""

    url: str
    runs: Runs


Serving = Callable[[dict[str, Any]], AbstractContextManager[Site]]
OpenSite = Callable[..., Site]


def usual_options(emulator: Emulator) -> dict[str, Any]:
    return {
        "secret_key": emulator.secret_key,
        "base_url": emulator.base_url,
        "jwt_issuer": emulator.issuer,
        "timeout": 30.0,
    }


@contextmanager
def flask_wsgi(options: dict[str, Any]) -> Iterator[Site]:
    from contract import flask_site

    runs: Runs = []
    options = {name: value for name, value in options.items() if name != "lazy"}  # Flask is so always
    with serve_wsgi(flask_site.make_app(runs, options), **AS_SENT_WSGI) as url:
        yield Site(url, runs)


@contextmanager
def starlette_asgi(options: dict[str, Any]) -> Iterator[Site]:
    from contract import starlette_site

    runs: Runs = []
    with serve_asgi(starlette_site.make_app(runs, options), **AS_SENT_ASGI) as url:
        yield Site(url, runs)


@contextmanager
def fastapi_asgi(options: dict[str, Any]) -> Iterator[Site]:
    from contract import fastapi_site

    runs: Runs = []
    with serve_asgi(fastapi_site.make_app(runs, options), **AS_SENT_ASGI) as url:
        yield Site(url, runs)


@contextmanager
def _django_settings(options: dict[str, Any]) -> Iterator[Runs]:
    from contract import django_site
    from django.test import override_settings

    with override_settings(
        ROOT_URLCONF="contract.django_cookie_site" if options.get("cookies") else "contract.django_site",
        MIDDLEWARE=["corsheaders.middleware.CorsMiddleware", "moonkey_django.MoonKeyMiddleware"],
        CORS_ALLOWED_ORIGINS=[ORIGIN],
        CORS_ALLOW_HEADERS=ALLOWED,
        CORS_EXPOSE_HEADERS=EXPOSED,
        ALLOWED_HOSTS=["*"],
        DEBUG=False,
        MOONKEY={name.upper(): value for name, value in options.items()},
    ):
        django_site.runs.clear()
        yield django_site.runs


@contextmanager
def django_wsgi(options: dict[str, Any]) -> Iterator[Site]:
    from django.core.handlers.wsgi import WSGIHandler

    with _django_settings(options) as runs, serve_wsgi(WSGIHandler(), **AS_SENT_WSGI) as url:
        yield Site(url, runs)


@contextmanager
def django_asgi(options: dict[str, Any]) -> Iterator[Site]:
    from django.core.handlers.asgi import ASGIHandler

    with _django_settings(options) as runs, serve_asgi(ASGIHandler(), lifespan="off", **AS_SENT_ASGI) as url:
        yield Site(url, runs)


STACKS: dict[str, Serving] = {
    "flask-wsgi": flask_wsgi,
    "django-wsgi": django_wsgi,
    "django-asgi": django_asgi,
    "starlette": starlette_asgi,
    "fastapi": fastapi_asgi,
}


def lazily(serving: Serving) -> Serving:
    """The same stack, verifying nothing before somebody looks."""

    def serve(options: dict[str, Any]) -> AbstractContextManager[Site]:
        return serving({**options, "lazy": True})

    return serve


LAZY_STACKS: dict[str, Serving] = {
    "django-asgi-lazy": lazily(django_asgi),
    "starlette-lazy": lazily(starlette_asgi),
    "fastapi-lazy": lazily(fastapi_asgi),
}

also_lazy = pytest.mark.parametrize("serving", [*STACKS, *LAZY_STACKS], indirect=True, scope="session")
"""For tests of cookies, which have to come out the same where the app is asynchronous and ``lazy``."""
with_websockets = pytest.mark.parametrize("serving", ["starlette", "fastapi"], indirect=True, scope="session")
"""For tests of what the other stacks do not have."""
