"""A user that signs in at Stytch belongs to the scope of the project, in results, events and revocations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from contract.stytch_sites import options

from moonkey_core.emulator import StytchEmulator
from moonkey_core.events import Event, SignedIn
from support.clients import Both
from support.flow_visits import Visitor, events_of, json_of

OPAQUE = "stytch_session"


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, project: StytchEmulator) -> Iterator[Both]:
    both = Both(request.param, options(project))
    yield both
    both.close()


def scope_of(project: StytchEmulator) -> str:
    return f"stytch:{project.project_id}"


def test_of_the_result(call: Both, project: StytchEmulator) -> None:
    sent = call("otps.login_or_create", email="ada@example.com")
    login = call("otps.verify", project.outbox()[0].code, method_id=sent.method_id, session_expires_in=60)
    assert login.user.scope == scope_of(project)
    assert login.user == call("sessions.verify", session_token=login.session_token).user


def signed_in(call: Both, project: StytchEmulator) -> Visitor:
    visitor = Visitor(call, html=False)
    assert json_of(visitor.post("send_otp", {"address": "ada@example.com"}))["sent"]
    assert json_of(visitor.post("verify_otp", {"code": project.outbox()[0].code}))["authenticated"]
    return visitor


def test_of_the_events(call: Both, project: StytchEmulator) -> None:
    seen = events_of(call)
    visitor = signed_in(call, project)
    visitor.post("step_up_send_otp", {"which": "email"})
    assert visitor.post("step_up_verify_otp", {"code": project.outbox()[0].code}).status == 200
    found = [(one.scope, one.provider) for one in seen if isinstance(one, SignedIn)]
    assert found == [(scope_of(project), "stytch")] * 2


def test_a_session_that_is_ended_during_a_step_up_stays_ended(call: Both, project: StytchEmulator) -> None:
    visitor = signed_in(call, project)
    session_id = json_of(visitor.get("session"))["session"]["id"]
    visitor.post("step_up_send_otp", {"which": "email"})

    def end_it(event: Event) -> None:
        if getattr(event, "operation", "") == "otps/authenticate":
            call.client.revocations.add(session_id=session_id)

    call.client.hooks.add(end_it)
    assert visitor.post("step_up_verify_otp", {"code": project.outbox()[0].code}).status == 401
    assert OPAQUE not in visitor.cookies
