"""How each server that people run is started: for the ``application`` of ``served_app``, in the folder of that."""

from __future__ import annotations

from collections.abc import Callable

Command = Callable[[int, int], list[str]]
"""What follows ``python -m``, for a port and a number of workers."""

_APP = "served_app:application"


def _gunicorn(worker_class: str, *more: str) -> Command:
    def command(port: int, workers: int) -> list[str]:
        return [
            *("gunicorn", f"--worker-class={worker_class}", f"--workers={workers}", f"--bind=127.0.0.1:{port}"),
            *("--graceful-timeout=5", "--log-level=warning", "--no-control-socket", *more, _APP),
        ]

    return command


def _uvicorn(port: int, workers: int) -> list[str]:
    return [
        *("uvicorn", f"--workers={workers}", "--host=127.0.0.1", f"--port={port}", "--log-level=warning"),
        *("--timeout-graceful-shutdown=5", _APP),
    ]


def _hypercorn(port: int, workers: int) -> list[str]:
    return ["hypercorn", f"--workers={workers}", f"--bind=127.0.0.1:{port}", "--log-level=warning", _APP]


def _daphne(port: int, workers: int) -> list[str]:
    return ["daphne", "-b", "127.0.0.1", "-p", str(port), "-v", "0", _APP]


def _waitress(port: int, workers: int) -> list[str]:
    return ["waitress", f"--listen=127.0.0.1:{port}", "--threads=8", _APP]


def _uwsgi(port: int, workers: int) -> list[str]:
    return [
        *("run_uwsgi", f"--http-socket=127.0.0.1:{port}", f"--processes={workers}", "--master", "--need-app"),
        *("--threads=4", "--enable-threads", "--lazy-apps", "--die-on-term", "--disable-logging"),
        *("--buffer-size=32768", "--module", _APP),
    ]


def _uwsgi_forked(port: int, workers: int) -> list[str]:
    return [option for option in _uwsgi(port, workers) if option != "--lazy-apps"]


WSGI: dict[str, Command] = {
    "gunicorn-sync": _gunicorn("sync"),
    "gunicorn-gthread": _gunicorn("gthread", "--threads=8"),
    "gunicorn-gthread-preload": _gunicorn("gthread", "--threads=8", "--preload"),
    "gunicorn-gevent": _gunicorn("gevent"),
    "gunicorn-gevent-preload": _gunicorn("gevent", "--preload"),
    "waitress": _waitress,
    "uwsgi": _uwsgi,
    "uwsgi-forked": _uwsgi_forked,
}
ASGI: dict[str, Command] = {
    "gunicorn-uvicorn": _gunicorn("uvicorn_worker.UvicornWorker"),
    "uvicorn": _uvicorn,
    "hypercorn": _hypercorn,
    "daphne": _daphne,
}
COMMANDS: dict[str, Command] = WSGI | ASGI
