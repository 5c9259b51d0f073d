"""Where a session is used from is compared with where it began: observed, and nobody is stopped."""

from __future__ import annotations

from typing import Any

import pytest

from moonkey_core.events import DeviceChanged, Event
from moonkey_core.web.origin import RequestInfo
from support.decisions import NOW
from support.odd_jwts import good
from support.scripted_api import KnownToTheApi

TOKEN = "session_" + "t" * 40
BEGAN = {"device_fingerprint": {"user_agent": "Browser/1", "ip": "203.0.113.7"}}
JWT = good(NOW, session=BEGAN)
BEHIND = RequestInfo("GET", "https", "10.0.0.1")
DIRECT = RequestInfo("GET", "https", "198.51.100.1")


def made(**options: Any) -> tuple[KnownToTheApi, list[DeviceChanged]]:
    decisions = KnownToTheApi([TOKEN], trusted_proxies="10.0.0.0/8", **options)
    decisions.good[TOKEN] = {"session": BEGAN}
    seen: list[DeviceChanged] = []

    def note(event: Event) -> None:
        if isinstance(event, DeviceChanged):
            seen.append(event)

    decisions.core.hooks.add(note)
    return decisions, seen


def visit(
    decisions: KnownToTheApi,
    agent: str | None = "Browser/1",
    address: str | None = "203.0.113.7",
    credential: str = TOKEN,
    info: RequestInfo = BEHIND,
) -> None:
    lines = {"session-token": [credential], "user-agent": [agent], "x-forwarded-for": [address]}
    auth = decisions.read({name: value for name, value in lines.items() if value != [None]}, None, info)  # type: ignore[misc]
    assert auth.is_authenticated


@pytest.mark.parametrize("credential", [TOKEN, JWT])
def test_each_difference_is_told_once(credential: str) -> None:
    decisions, seen = made()
    for _ in range(3):
        visit(decisions, credential=credential)
    assert seen == []
    for _ in range(3):
        visit(decisions, agent="Browser/2", credential=credential)
    assert seen == [DeviceChanged("user_1", "sess_1", address_changed=False, user_agent_changed=True)]
    visit(decisions, address="198.51.100.9", credential=credential)
    visit(decisions, agent=None, address="198.51.100.9", credential=credential)
    assert [(event.address_changed, event.user_agent_changed) for event in seen[1:]] == [
        (True, False),
        (True, True),
    ]


def test_addresses_are_believed_of_trusted_proxies_only() -> None:
    decisions, seen = made()
    visit(decisions, address="198.51.100.9", info=DIRECT)
    visit(decisions, address=None)
    visit(decisions, address="junk")
    assert seen == []


def test_what_a_session_does_not_say_has_not_changed() -> None:
    decisions, seen = made()
    decisions.good[TOKEN] = {}
    visit(decisions, agent="Browser/2", address="198.51.100.9")
    decisions.good[TOKEN] = {"session": {"device_fingerprint": {"user_agent": "", "ip": ""}}}
    visit(decisions, agent="Browser/3", address="198.51.100.9")
    assert seen == []


def test_the_table_is_bounded() -> None:
    decisions, _ = made()
    for number in range(20_000):
        decisions.core.devices._was_seen("sess_1", f"Browser/{number}", None)
    assert len(decisions.core.devices._seen) <= 16_384
