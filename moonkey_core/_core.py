"""What a client is made of, apart from its connections: settings, keys, API, verifier."""

from __future__ import annotations

import time
from collections.abc import Callable

from moonkey_core._keys import KeyRing
from moonkey_core._verifier import Verifier
from moonkey_core.providers.moonkey import MoonKeyApi
from moonkey_core.settings import Settings


class Core:
    """The deciding half of a client, the same for the blocking and the asynchronous one."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.keys = KeyRing(settings, clock)
        self.api = MoonKeyApi(settings, clock)
        self.verifier = Verifier(settings, self.api, self.keys, clock)
