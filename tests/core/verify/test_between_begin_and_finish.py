"""What happens between ``begin`` and ``finish`` counts: an adapter may keep a ``Pending`` for a long time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from moonkey_core import Auth
from moonkey_core._plan import Fetch, TransportError, run
from moonkey_core._verify.acceptance import Acceptance
from moonkey_core._verify.authenticator import Pending
from moonkey_core.web.request import RequestInfo
from support.decisions import NOW, Decisions, replied, verified_body
from support.odd_jwts import good, key_set
from support.visitors import JWT, SESSION

GET = RequestInfo("GET", "https")
TOKEN = "session_" + "t" * 40
KEYS_OVER_THE_NETWORK = {"jwks": "", "cookies": {}}

Event = Callable[[Decisions], None]


def presented(kind: str) -> Mapping[str, list[str]]:
    jwt = good(NOW)
    return {
        "token": {"session-token": [TOKEN]},
        "jwt": {"session-token": [jwt]},
        "pair": {"cookie": [f"{SESSION}={TOKEN}; {JWT}={jwt}"]},
    }[kind]


def begun(decisions: Decisions, lines: Mapping[str, list[str]]) -> Pending:
    found = decisions.core.begin(decisions.lines(lines), None, GET)
    assert isinstance(found, Pending)
    return found


def finished(decisions: Decisions, pending: Pending) -> Auth:
    return run(decisions.core.finish(pending), decisions.exchange)


def deny(kind: str) -> Event:
    def sign_out(decisions: Decisions) -> None:
        credential = presented(kind)["session-token"][0] if kind != "pair" else TOKEN
        decisions.core.cache.deny(decisions.core.cache.digest(credential))

    return sign_out


def revoke(decisions: Decisions) -> None:
    decisions.core.revocations.add(session_id="sess_1")


@pytest.mark.rule("S33", "S35")
@pytest.mark.parametrize("kind", ["jwt", "pair"])
@pytest.mark.parametrize("event", ["revoked", "signed out", "too old"])
def test_what_begin_has_accepted_is_judged_again(kind: str, event: str) -> None:
    """``load_user`` makes ``finish`` wait for the user where the credential is good already."""
    decisions = Decisions(load_user=True, cookies={})
    decisions.answer = lambda fetch: (
        replied(200, {"user": {"id": "user_1", "email": "a@example.com"}})
        if "/users/" in fetch.url
        else replied(404, {"error": "session_not_found", "error_type": "session_not_found"})
    )
    pending = begun(decisions, presented(kind))
    if event == "revoked":
        revoke(decisions)
    elif event == "signed out":
        deny(kind)(decisions)
    else:
        decisions.now += 4000
    auth = finished(decisions, pending)
    assert not auth.is_authenticated
    again = finished(decisions, begun(decisions, presented(kind))) if event == "too old" else auth
    assert not again.is_authenticated


@pytest.mark.rule("S33", "S46")
@pytest.mark.parametrize("kind", ["jwt", "pair"])
@pytest.mark.parametrize("when", ["before the key set", "while it is fetched"])
def test_a_sign_out_while_the_keys_are_not_there(kind: str, when: str) -> None:
    decisions = Decisions(**KEYS_OVER_THE_NETWORK)
    pending = begun(decisions, presented(kind))
    if when == "before the key set":
        deny(kind)(decisions)
    else:

        def answer(fetch: Fetch) -> object:
            deny(kind)(decisions)
            return replied(200, key_set()) if "jwks" in fetch.url else replied(200, verified_body())

        decisions.answer = answer  # type: ignore[assignment]
    auth = finished(decisions, pending)
    assert auth.is_rejected
    assert auth.error is not None
    assert auth.error.reason == "revoked_credentials"


@pytest.mark.rule("S40", "S45")
def test_a_pair_whose_jwt_is_revoked_at_that_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """That says nothing of the session token, which may be of another session."""
    decisions = Decisions(cookies={})
    original = Acceptance.accepts

    def late(self: Acceptance, *args: object) -> bool:
        revoke(decisions)
        monkeypatch.setattr(Acceptance, "accepts", original)
        return original(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Acceptance, "accepts", late)
    decisions.answer = lambda _: replied(200, verified_body(session={"id": "sess_2"}))
    pending = begun(decisions, presented("pair"))
    auth = finished(decisions, pending)
    assert auth.is_authenticated
    assert auth.session is not None
    assert auth.session.id == "sess_2"


def test_a_pending_that_is_finished_twice() -> None:
    decisions = Decisions(**KEYS_OVER_THE_NETWORK)
    pending = begun(decisions, presented("jwt"))
    assert finished(decisions, pending).source == "local"
    decisions.answer = lambda _: TransportError("connect")
    assert finished(decisions, pending).source == "local"
