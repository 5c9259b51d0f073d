"""Finding the clients of an app that is under test. Frameworks are imported only where the app is of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Literal

from moonkey_core.client import AsyncMoonKey, MoonKey
from moonkey_core.errors import ConfigurationError

AnyClient = MoonKey | AsyncMoonKey
Framework = Literal["flask", "django", "asgi"]

_MOST_LAYERS = 200


class NoClient(ConfigurationError):
    """An app in which no client of MoonKey was found."""


def framework_of(app: Any) -> Framework:
    """Return the framework of an app; ``None`` is the Django project of this process.

    Raises:
        TypeError: It is of none of them.
    """
    if app is None:
        return "django"
    modules = {kind.__module__.partition(".")[0] for kind in type(app).__mro__}
    if "flask" in modules:
        return "flask"
    if "django" in modules:
        return "django"
    if callable(app):
        return "asgi"
    raise TypeError(f"{app!r} is no app of Flask, Django, Starlette or FastAPI.")


def clients_of(app: Any) -> list[AnyClient]:
    """Return the clients of an app.

    Raises:
        NoClient: There is none.
        ConfigurationError: Its settings are wrong.
    """
    framework = framework_of(app)
    if framework == "flask":
        found = app.extensions.get("moonkey")
        if found is None:
            raise NoClient("This Flask app has no MoonKey. Add: FlaskMoonKey(app)")
        return [found]
    if framework == "django":
        import_module("django").setup()
        conf = import_module("moonkey_django.conf")
        return [conf.get_client(), conf.get_async_client()]
    made: list[AnyClient] = []
    for layer in _layers(app):
        problem = getattr(layer, "_problem", None)
        if isinstance(problem, Exception):
            raise problem
        client = getattr(layer, "client", None)
        if isinstance(client, AsyncMoonKey) and not any(client is one for one in made):
            made.append(client)
    if not made:
        raise NoClient(
            "No MoonKeyMiddleware was found in this app. Add: app.add_middleware(MoonKeyMiddleware). Where it is "
            "inside of something that has no attribute `app`, give its client to the kit: kit.adopt(client)."
        )
    return made


def _layers(app: Any) -> Iterator[Any]:
    """Return an app, and all layers and mounted apps in it."""
    waiting, seen = [app], set[int]()
    while waiting and len(seen) < _MOST_LAYERS:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if hasattr(one, "build_middleware_stack"):
            if one.middleware_stack is None:  # as Starlette does when it is first called
                one.middleware_stack = one.build_middleware_stack()
            waiting.append(one.middleware_stack)
        waiting.append(getattr(one, "app", None))
        routes = getattr(one, "routes", None)
        if isinstance(routes, list):
            waiting += [getattr(route, "app", None) for route in routes if hasattr(route, "routes")]


def is_django_configured() -> bool:
    """Return whether there is a Django project in this process."""
    conf = sys.modules.get("django.conf")
    return conf is not None and bool(conf.settings.configured)
