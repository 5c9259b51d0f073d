"""What ``import moonkey_core`` does not load: whatever takes long and not everybody needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"aiohttp", "redis", "opentelemetry", "starlette", "fastapi", "flask", "django", "uvicorn", "trio"}
SCRIPT = """
import sys
{}
print(*{{name.split(".")[0] for name in sys.modules}})
"""
MADE = """
from moonkey_core import AsyncMoonKey, MoonKey
MoonKey(secret_key="sk_test_x", base_url="http://127.0.0.1:1").close()
AsyncMoonKey(secret_key="sk_test_x", base_url="http://127.0.0.1:1", transport="httpx")
"""


def loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(code)], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.split())


LAZY = """
import moonkey_core
before = {name for name in sys.modules if name.startswith("moonkey_core.")}
assert not before, before
assert moonkey_core.errors.MoonKeyError is moonkey_core.MoonKeyError
"""
"""Without any name, nothing of the package is loaded; what was an attribute of it still is."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("code", "needs_httpx"),
    [(LAZY, False), ("from moonkey_core import *", False), (MADE, True)],
    ids=["import", "all", "clients"],
)
def test_nothing_heavy_is_loaded(code: str, needs_httpx: bool) -> None:
    loaded = loaded_by(code)
    assert "moonkey_core" in loaded
    assert ("httpx" in loaded) is needs_httpx
    assert loaded & HEAVY == set()


@pytest.mark.long
def test_the_search_would_find_it() -> None:
    assert "starlette" in loaded_by("import moonkey_starlette")


COUNTED = """
import dataclasses
import sys

completed = []
complete = dataclasses._process_class


def counted(cls, *options):
    completed.append(cls.__qualname__)
    return complete(cls, *options)


dataclasses._process_class = counted
from moonkey_core import AsyncMoonKey, MoonKey

own = [name for name in sys.modules if name.startswith("moonkey_core.")]
print(len(own), len(completed), *{name.split(".")[0] for name in sys.modules})
assert "moonkey_core._operations.namespaces" not in own
MoonKey(secret_key="sk_test_x", base_url="http://127.0.0.1:1").close()
assert "JwtRules" in completed, completed
"""
MOST_MODULES = 90
MOST_DATACLASSES = 3
"""Ceilings of what the import of both clients costs: 86 modules, of about 0.15 ms each, and the dataclasses that
a module has an instance of, of about 0.3 ms each. Raise them only for what each process needs at once."""


def test_the_import_of_the_clients_stays_small() -> None:
    command = [sys.executable, "-c", COUNTED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    modules, dataclasses, *loaded = done.stdout.split()
    assert int(modules) <= MOST_MODULES
    assert int(dataclasses) <= MOST_DATACLASSES
    assert "moonkey_core" in loaded
    assert set(loaded) & (HEAVY | {"httpx", "httpcore", "anyio", "certifi", "asyncio"}) == set()
