"""What tests of an app need: a kit for the app's own tests, and a suite that a provider of your own has to pass.

The kit is described in ``docs/testing.md``, the suite (:func:`provider_conformance`) in ``docs/providers.md``.
Nothing of this package is loaded before a name of it is used, so that the pytest plugin costs a project nothing
that does not use it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moonkey_core.testing.assertions import assert_no_secret, assert_requires_auth, assert_step_up
    from moonkey_core.testing.conformance import provider_conformance
    from moonkey_core.testing.conformance_subject import Check, Sign
    from moonkey_core.testing.environment import provide_settings
    from moonkey_core.testing.faults import Faults
    from moonkey_core.testing.identities import identity, override_auth
    from moonkey_core.testing.kit import Kit, SignedInUser
    from moonkey_core.testing.services import Emulators
    from moonkey_core.testing.unittest import MoonKeyTestMixin

__all__ = [
    "Check",
    "Emulators",
    "Faults",
    "Kit",
    "MoonKeyTestMixin",
    "Sign",
    "SignedInUser",
    "assert_no_secret",
    "assert_requires_auth",
    "assert_step_up",
    "identity",
    "override_auth",
    "provide_settings",
    "provider_conformance",
]

_MODULES = {
    "Check": "conformance_subject",
    "Emulators": "services",
    "Faults": "faults",
    "Kit": "kit",
    "MoonKeyTestMixin": "unittest",
    "Sign": "conformance_subject",
    "SignedInUser": "kit",
    "assert_no_secret": "assertions",
    "assert_requires_auth": "assertions",
    "assert_step_up": "assertions",
    "identity": "identities",
    "override_auth": "identities",
    "provide_settings": "environment",
    "provider_conformance": "conformance",
}

if not TYPE_CHECKING:  # so that type checkers still report a name that is not there

    def __getattr__(name):
        """Load what is asked for on first use."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        return value
