"""Variables for an app that reads its settings where it is imported, before there is any fixture.

With a made-up key an app can be made. No real service accepts it, and the kit takes over the clients.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from functools import cache

_CHOSEN = ("MOONKEY_SECRET_KEY", "MOONKEY_PROVIDER")
"""With one of them an app has been told its provider."""


@cache
def _secret_key() -> str:
    return f"sk_test_{secrets.token_hex(20)}"  # one for all apps of a process


def usual_settings() -> Mapping[str, str]:
    """Return variables with which an app of MoonKey can be made."""
    return {"MOONKEY_SECRET_KEY": _secret_key()}


def provide_settings(environ: MutableMapping[str, str] = os.environ) -> bool:
    """Set ``MOONKEY_SECRET_KEY`` to a made-up key, if neither it nor ``MOONKEY_PROVIDER`` is set.

    An app that names its settings itself does not need it, and under pytest it is done where an app cannot be
    imported without a key. It is for a settings module of tests, above what reads ``MOONKEY_SECRET_KEY``.

    Returns:
        Whether it was set.
    """
    if any(environ.get(name) for name in _CHOSEN):
        return False
    environ.update(usual_settings())
    return True


@contextmanager
def provided_settings() -> Iterator[None]:
    """Provide settings for an app that is made in a ``with`` block, and take them back at its end."""
    before = {name: os.environ.get(name) for name in usual_settings()}
    is_set = provide_settings()
    try:
        yield
    finally:
        for name, value in before.items() if is_set else ():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
