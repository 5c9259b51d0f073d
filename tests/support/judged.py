"""The verdict on a JWT that is judged without any call."""

from __future__ import annotations

from typing import Any

from moonkey_core import Auth, InvalidCredentials
from support.decisions import Decisions


def refused(token: str, **options: Any) -> str:
    """Refused as invalid, without any call; returns the reason."""
    decisions = Decisions(**options)
    auth = decisions.authenticate(token)
    assert auth.is_rejected, auth
    assert isinstance(auth.error, InvalidCredentials)
    assert decisions.fetches == []
    return auth.error.reason


def accepted(token: str, **options: Any) -> Auth:
    decisions = Decisions(**options)
    auth = decisions.authenticate(token)
    assert auth.is_authenticated, auth
    assert decisions.fetches == []
    return auth
