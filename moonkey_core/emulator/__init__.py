"""MoonKey's service, or another provider, on your own machine: HTTP servers for development and tests.

In a test: ``with Emulator() as emulator: …``, or ``OidcEmulator``, ``StytchEmulator``, ``StytchB2BEmulator`` or
``CdpEmulator`` in its place. On the command line: ``python -m moonkey_core.emulator``, with ``--provider`` for
another than MoonKey.
It needs the extra: ``pip install 'moonkey[emulator]'``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moonkey_core.emulator.cdp.browser import CdpBrowser
    from moonkey_core.emulator.cdp.errors import CdpError
    from moonkey_core.emulator.cdp.records import CdpSignedIn
    from moonkey_core.emulator.cdp.server import CdpEmulator
    from moonkey_core.emulator.oidc.records import OidcSignedIn, PresetInfo
    from moonkey_core.emulator.oidc.server import OidcEmulator
    from moonkey_core.emulator.records import Sent, SignedIn
    from moonkey_core.emulator.server import Emulator
    from moonkey_core.emulator.store import StateFileError
    from moonkey_core.emulator.stytch.b2b import StytchB2BEmulator
    from moonkey_core.emulator.stytch.b2b_records import MemberSignedIn
    from moonkey_core.emulator.stytch.records import StytchSignedIn
    from moonkey_core.emulator.stytch.server import StytchEmulator

__all__ = [
    "CdpBrowser",
    "CdpEmulator",
    "CdpError",
    "CdpSignedIn",
    "Emulator",
    "MemberSignedIn",
    "OidcEmulator",
    "OidcSignedIn",
    "PresetInfo",
    "Sent",
    "SignedIn",
    "StateFileError",
    "StytchB2BEmulator",
    "StytchEmulator",
    "StytchSignedIn",
]

_MODULES = {
    "CdpBrowser": "cdp.browser",
    "CdpEmulator": "cdp.server",
    "CdpError": "cdp.errors",
    "CdpSignedIn": "cdp.records",
    "Emulator": "server",
    "MemberSignedIn": "stytch.b2b_records",
    "OidcEmulator": "oidc.server",
    "OidcSignedIn": "oidc.records",
    "PresetInfo": "oidc.records",
    "Sent": "records",
    "SignedIn": "records",
    "StateFileError": "store",
    "StytchB2BEmulator": "stytch.b2b",
    "StytchEmulator": "stytch.server",
    "StytchSignedIn": "stytch.records",
}
_INSTALL = "The emulator's packages are not installed. Install them with: pip install 'moonkey[emulator]'"

if not TYPE_CHECKING:  # so that type checkers still report a name that is not there

    def __getattr__(name):
        """Load the server on first use, so that the error for a missing extra is one clear sentence."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            import_module("moonkey_core.emulator.server")  # which needs all that the extra installs
            module = import_module(f"moonkey_core.emulator.{_MODULES[name]}")
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"{_INSTALL} (missing: {error.name})", name=error.name) from error
        return getattr(module, name)
