"""The Flask app of the fleet for gevent's workers: an async view, and where log lines and events arrive."""

from __future__ import annotations

import logging
from typing import Any

import gevent
from flask import Flask
from fleet.fleet_app import flask_app
from gevent import monkey

from moonkey_core import MoonKey
from moonkey_core.events import Event, FeedChanged
from moonkey_flask import current_auth, require_auth


def _is_worker_side() -> bool:
    """Whether this is the operating system's thread of the requests, where greenlets take turns."""
    ident: int = monkey.get_original("_thread", "get_ident")()
    return ident == _side[0]


_side: list[int] = []


class _Slow(logging.Handler):
    """A handler that waits by gevent's means, as those do that write to a socket."""

    def __init__(self, heard: list[tuple[str, bool]]) -> None:
        super().__init__()
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        gevent.sleep(0.01)
        self._heard.append((str(record.__dict__.get("reason")), _is_worker_side()))


def app() -> Flask:
    made = flask_app()
    client: MoonKey = made.extensions["moonkey"]
    logged: list[tuple[str, bool]] = []
    told: list[tuple[str, bool]] = []
    logging.getLogger("moonkey").addHandler(_Slow(logged))

    def hook(event: Event) -> None:
        if isinstance(event, FeedChanged):
            gevent.sleep(0.01)
            told.append((event.state, _is_worker_side()))

    client.hooks.add(hook)

    @made.get("/async-me")
    @require_auth
    async def async_me() -> Any:
        assert current_auth.user is not None
        return {"user": current_auth.user.id}

    @made.get("/heard")
    def heard() -> Any:
        return {"logged": logged, "told": told, "patched": monkey.is_module_patched("threading")}

    @made.before_request
    def note_side() -> None:
        _side[:] = [monkey.get_original("_thread", "get_ident")()]

    return made
