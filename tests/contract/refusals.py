"""The ways in which a request may be refused, and what no layer may take from the response."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from contract.requests import bearer

from moonkey_core.emulator import Emulator

VERIFY = "/v1/auth/sessions/verify"
REALM = 'Bearer realm="moonkey"'
FORBIDDEN_CHALLENGE = f'{REALM}, error="insufficient_scope", scope="write"'
WRONG_KEY = '{"status_code": 401, "error_type": "unauthorized", "error_message": "no"}'

Sent = dict[str, str]


@dataclass(frozen=True)
class Refused:
    """A situation, and what a client is told of it."""

    arrange: Callable[[Emulator], Sent]
    status: int
    challenge: str | None = None
    retry_after: str | None = None
    asks_for: str = "me"


def _signed_in(emulator: Emulator) -> Sent:
    return bearer(emulator.sign_in().session_token)


def _forged(emulator: Emulator) -> Sent:
    return bearer(emulator.sign_in().session_jwt[:-8] + "AAAAAAAA")


def _outage(emulator: Emulator) -> Sent:
    sent = _signed_in(emulator)
    emulator.fault(VERIFY, status=503, headers={"Retry-After": "70"})
    return sent


def _wrong_key(emulator: Emulator) -> Sent:
    sent = _signed_in(emulator)
    emulator.fault(status=401, body=WRONG_KEY)
    return sent


REFUSALS = {
    "no credential": Refused(lambda emulator: {}, 401, REALM),
    "bad credential": Refused(lambda emulator: bearer("dead"), 401, f'{REALM}, error="invalid_token"'),
    "bad JWT": Refused(_forged, 401, f'{REALM}, error="invalid_token"'),
    "forbidden": Refused(_signed_in, 403, FORBIDDEN_CHALLENGE, asks_for="write"),
    "outage": Refused(_outage, 503, retry_after="70"),
    "configuration fault": Refused(_wrong_key, 500),
}


def assert_kept(response: Any, refused: Refused, where: object = "") -> None:
    """Status, challenge and ``Retry-After`` have come through, in the response of any HTTP client."""
    assert response.status_code == refused.status, where
    assert response.headers.get("www-authenticate") == refused.challenge, where
    wait = response.headers.get("retry-after")
    assert (wait is None) == (refused.retry_after is None), where
    assert wait is None or int(wait) in (5, 70), where  # while calls are held back, the API names no time


def assert_whole(response: Any, refused: Refused, where: object = "") -> None:
    """The response is the one that MoonKey makes: nothing of it is another layer's."""
    assert_kept(response, refused, where)
    assert response.headers["content-type"] == "application/problem+json", where
    assert response.headers["cache-control"] == "no-store", where
    problem = response.json()
    assert problem["status"] == refused.status, where
    assert problem["instance"].startswith("urn:request:"), where
