from __future__ import annotations

from collections.abc import Iterator

import pytest

from moonkey_core.testing import Emulators


@pytest.fixture(scope="package")
def emulators() -> Iterator[Emulators]:
    """Emulators that open no socket."""
    made = Emulators(offline=True)
    yield made
    made.close()
