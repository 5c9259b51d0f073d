"""Decisions about a session token, with the answer of the API scripted."""

from __future__ import annotations

from typing import Any

from moonkey_core import Auth, ProviderUnavailable
from moonkey_core._plan import Outcome
from support.decisions import Decisions, replied

FLAT = {"status_code": 400, "error_type": "some_error", "error_message": "no"}
TOKEN = "session_" + "Ab3" * 20


class Api(Decisions):
    """Decisions about a session token whose verification gets one answer, and the probe of our key another."""

    def __init__(self, verdict: Outcome, probe: Outcome | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.verdict = verdict
        self.probe = probe or replied(404, {**FLAT, "error_type": "user_not_found"})
        self.answer = lambda fetch: self.probe if "/users/" in fetch.url else self.verdict


def judged(verdict: Outcome, probe: Outcome | None = None) -> Auth:
    return Api(verdict, probe).authenticate(TOKEN)


def unavailable(auth: Auth) -> str:
    """The reason for which it cannot be known."""
    assert isinstance(auth.error, ProviderUnavailable), auth
    assert auth.is_unavailable
    assert auth.error.status == 503
    return auth.error.reason
