"""What every contract site shares."""

from __future__ import annotations

import threading
from datetime import timedelta

from moonkey_core import CookieSettings, SignInSettings
from support.patience import PATIENCE

ORIGIN = "https://app.example"
PARTNER = "https://partner.example"
ALLOWED = ["authorization", "session-token"]
EXPOSED = ["Retry-After", "Session-Expires-In", "Fresh-JWT"]
"""The lists of the CORS middleware of each site, as the README says."""
BLOCKED = "blocked@example.com"
BROWSING = {
    "cookies": CookieSettings(trusted_origins=(PARTNER,)),
    "sign_in": SignInSettings(max_sends=3, limiter=lambda attempt: attempt.address != BLOCKED),
    "expires_in_header": True,
}
"""The settings of the site that browsers visit."""
STREAM_PAUSE = 0.01
TEN_MINUTES = timedelta(minutes=10)

Runs = list[str]
"""The methods of the requests for which a protected view really ran."""


class Held:
    """A view that waits, so that a test can do something else meanwhile."""

    def __init__(self) -> None:
        self._waits = threading.Event()
        self._may_go = threading.Event()

    def wait(self) -> None:
        """To be called by the view, in a thread that it may block."""
        self._waits.set()
        self._may_go.wait(PATIENCE)

    def arrived(self) -> bool:
        """Whether the view has come so far; for the test, which then lets it go."""
        return self._waits.wait(PATIENCE)

    def let_go(self) -> None:
        self._may_go.set()

    def reset(self) -> None:
        self._waits.clear()
        self._may_go.clear()


HELD = Held()
