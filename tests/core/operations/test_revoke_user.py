"""All sessions of a user end in one call where the provider has one, and are refused here whatever comes of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from own_provider import PlainIssuer

from moonkey_core import NotFound, NotSupported, ProviderUnavailable
from moonkey_core._operations import sessions
from moonkey_core._plan import Fetch, Outcome, Plan, TransportError, run
from moonkey_core.events import Event, Revoked
from moonkey_core.models import Session
from moonkey_core.provider import Capability, KeySource
from support.decisions import replied
from support.foreign_tokens import AUDIENCE, ISSUER, ForeignDecisions, key_set, token

URL = "https://login.example.com/users/u/sessions"


class AtOnce(PlainIssuer):
    """Its sessions end by a call for a user, and one by one if ``can`` says so."""

    ends_sessions_by_id = True
    listed = ("s1", "s2")

    def __init__(self, can: Iterable[Capability] = ("revoke_user",)) -> None:
        super().__init__(ISSUER, AUDIENCE, KeySource(jwks=key_set("RS256")))
        self.capabilities = frozenset(can)

    def revoke_user(self, user_id: str, *, pause: float | None = None) -> Plan[None]:
        outcome = yield Fetch("DELETE", URL, revokes=True, operation="users.revoke")
        if isinstance(outcome, TransportError):
            raise ProviderUnavailable(reason="api_connect")
        if outcome.status == 404:
            raise NotFound(is_gone=True)

    def list_sessions(self, user_id: str, *, pause: float | None = None) -> Plan[tuple[Session, ...]]:
        yield Fetch("GET", URL, operation="sessions.list")
        return tuple(Session(one, user_id, datetime.now(UTC) + timedelta(hours=1)) for one in self.listed)

    def revoke(self, kind: str, value: str, *, pause: float | None = None) -> Plan[None]:
        yield Fetch("DELETE", URL, operation="sessions.revoke")


class Revoking(ForeignDecisions):
    def __init__(self, can: Iterable[Capability] = ("revoke_user",), outcome: Outcome | None = None) -> None:
        super().__init__(AtOnce(can))
        self.answer = lambda _: outcome or replied(200)
        self.events: list[Event] = []
        self.core.hooks.add(self.events.append)

    def revoke_all(self, **options: Any) -> tuple[str, ...]:
        return run(sessions.revoke_all(self.core, "u", **options), self.exchange)

    @property
    def accepts(self) -> bool:
        """Whether a JWT of the user from before is accepted."""
        made = token(sub="u", iat=int(self.now) - 60, exp=int(self.now) + 600)
        return self.read({"authorization": [f"Bearer {made}"]}).is_authenticated

    @property
    def calls_made(self) -> list[str]:
        return [fetch.operation for fetch in self.fetches]


def test_one_call_ends_what_cannot_be_listed() -> None:
    decisions = Revoking()
    assert decisions.accepts
    assert decisions.revoke_all() == ()
    assert decisions.calls_made == ["users.revoke"]
    assert not decisions.accepts


def test_one_call_ends_what_was_listed() -> None:
    decisions = Revoking(("revoke_user", "list_sessions"))
    assert decisions.accepts
    assert decisions.revoke_all() == ("s1", "s2")
    assert decisions.calls_made == ["sessions.list", "users.revoke"]
    assert not decisions.accepts
    revoked = [event for event in decisions.events if isinstance(event, Revoked)]
    assert [(event.user_id, event.session_id, event.scope) for event in revoked] == [
        ("u", "s1", ISSUER),
        ("u", "s2", ISSUER),
    ]


def test_whatever_comes_of_the_call_they_are_refused_here() -> None:
    decisions = Revoking(outcome=TransportError("connect"))
    with pytest.raises(ProviderUnavailable):
        decisions.revoke_all()
    assert not decisions.accepts


def test_a_call_that_is_cancelled() -> None:
    decisions = Revoking()
    plan = sessions.revoke_all(decisions.core, "u")
    next(plan)
    plan.close()
    assert not decisions.accepts


def test_a_user_that_does_not_exist() -> None:
    assert Revoking(outcome=replied(404)).revoke_all(missing_ok=True) == ()
    with pytest.raises(NotFound):
        Revoking(outcome=replied(404)).revoke_all()


def test_to_keep_one_they_are_ended_one_by_one() -> None:
    decisions = Revoking(("revoke_user", "list_sessions", "revoke_session"))
    assert decisions.revoke_all(keep="s1") == ("s2",)
    assert decisions.calls_made == ["sessions.list", "sessions.revoke"]


@pytest.mark.parametrize(
    ("can", "options", "said"),
    [
        (("revoke_user",), {"keep": "s"}, "cannot keep one"),
        (("revoke_user", "list_sessions"), {"keep": "s"}, "cannot keep one"),
        (("list_sessions",), {}, "end a session"),
        ((), {}, "list sessions"),
    ],
)
def test_what_it_cannot_do_refuses_nothing(
    can: tuple[Capability, ...], options: dict[str, str], said: str
) -> None:
    decisions = Revoking(can)
    with pytest.raises(NotSupported, match=said):
        decisions.revoke_all(**options)
    assert decisions.accepts
    assert decisions.fetches == []
