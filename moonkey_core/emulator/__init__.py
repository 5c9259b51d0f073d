"""The MoonKey service on your own machine: a real HTTP server for development and tests.

In a test: ``with Emulator() as emulator: …``. On the command line: ``python -m moonkey_core.emulator``.
It needs the extra: ``pip install 'moonkey[emulator]'``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moonkey_core.emulator.records import Sent, SignedIn
    from moonkey_core.emulator.server import Emulator
    from moonkey_core.emulator.store import StateFileError

__all__ = ["Emulator", "SignedIn", "Sent", "StateFileError"]

_INSTALL = "The emulator's packages are not installed. Install them with: pip install 'moonkey[emulator]'"


def __getattr__(name: str) -> Any:
    """Load the server on first use, so that the error for a missing extra is one clear sentence."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from moonkey_core.emulator import records, server, store
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{_INSTALL} (missing: {error.name})", name=error.name) from error
    for module in (server, records, store):
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(name)
