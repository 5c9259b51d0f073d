"""The kit for ``unittest``, and so for Django's ``TestCase``."""

from __future__ import annotations

import atexit
from typing import Any

from moonkey_core.testing import assertions
from moonkey_core.testing.environment import provided_settings
from moonkey_core.testing.faults import Faults
from moonkey_core.testing.kit import Kit
from moonkey_core.testing.services import Emulators

_emulators: dict[bool, Emulators] = {}


def process_emulators(*, offline: bool = False) -> Emulators:
    """Return the emulators that the tests of this process share."""
    found = _emulators.get(offline)
    if found is None:
        found = _emulators[offline] = Emulators(offline=offline)
        atexit.register(found.close)
    return found


class MoonKeyTestMixin:
    """A mixin for test cases, before the base class: ``class MeTest(MoonKeyTestMixin, TestCase)``.

    Attributes:
        moonkey_app: The app under test, unless :meth:`make_moonkey_app` makes it; ``None`` is the Django project.
        moonkey_offline: Whether no socket is opened.
    """

    moonkey_app: Any = None
    moonkey_offline: bool = False

    def make_moonkey_app(self) -> Any:
        """Return the app under test; called once for each test that needs it."""
        return type(self).moonkey_app

    _moonkey_kit: Kit | None = None

    @property
    def moonkey_kit(self) -> Kit:
        """The kit of this test. At its end, the app's clients are what they were."""
        if self._moonkey_kit is None:
            settings = provided_settings()  # for an app that is made now
            settings.__enter__()
            self.addCleanup(settings.__exit__, None, None, None)  # type: ignore[attr-defined]
            emulators = process_emulators(offline=self.moonkey_offline)
            self._moonkey_kit = kit = Kit(self.make_moonkey_app(), emulators=emulators)
            self.addCleanup(self._end_moonkey_kit, kit)  # type: ignore[attr-defined]
        return self._moonkey_kit

    def _end_moonkey_kit(self, kit: Kit) -> None:
        self._moonkey_kit = None
        kit.close()

    @property
    def moonkey_faults(self) -> Faults:
        """What may go wrong with the provider."""
        return self.moonkey_kit.faults

    def signed_in(self, **wish: Any) -> Any:
        """Return a test client that is signed in; see :meth:`moonkey_core.testing.Kit.signed_in`."""
        return self.moonkey_kit.signed_in(**wish)

    def signed_out(self, **wish: Any) -> Any:
        """Return a test client without a credential."""
        return self.moonkey_kit.signed_out(**wish)

    def assert_requires_auth(self, client: Any, path: str, **request: Any) -> Any:
        """Assert that a path is refused without a credential."""
        return assertions.assert_requires_auth(client, path, **request)

    def assert_step_up(self, client: Any, path: str, **request: Any) -> Any:
        """Assert that a path asks for a stronger or fresher sign-in."""
        return assertions.assert_step_up(client, path, **request)

    def assert_no_secret(self, *places: Any) -> None:
        """Assert that no credential and no key of this test stands in a log or a text."""
        self.moonkey_kit.assert_no_secret(*places)
