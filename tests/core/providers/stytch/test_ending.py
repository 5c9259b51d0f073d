"""Ending a session by a credential: what is not the project's own is not sent, and junk is not tried again."""

from __future__ import annotations

from typing import Any

import pytest

from moonkey_core import CookieSettings, InvalidCredentials
from moonkey_core.emulator import OidcEmulator, StytchEmulator
from support.flow_visits import Visitor, json_of
from support.stytch_clients import StytchClient, stytch_client

HOW = pytest.mark.parametrize("how", ["sync", "async"])
REVOKE = "POST /v1/sessions/revoke"
COOKIES: dict[str, Any] = {"cookies": CookieSettings(), "cache_secret": "c" * 32}


def calls(project: StytchEmulator) -> dict[str, int]:
    """What the service was asked, but for its keys."""
    return {route: count for route, count in project.requests().items() if "jwks" not in route}


def not_its_own(project: StytchEmulator, oidc: OidcEmulator) -> dict[str, str]:
    shapes = ("m2m", "connected-app", "b2b", "other-project", "https-issuer", "other-audience", "no-session")
    return {
        **{shape: project.token(shape) for shape in shapes},
        "expired, of a machine": project.token("m2m", age=7_200),
        "forged": project.token(key="imposter"),
        "unsigned": project.token(algorithm="none"),
        "of another issuer": oidc.sign_in().access_token,
        "garbage": "e30.e30.e30",
    }


def signed_out(client: StytchClient, credential: str, **cookies: str) -> dict[str, Any]:
    """What a program is told that signs out with a credential in a header."""
    visitor = Visitor(client, mode="header" if not cookies else "cookies", html=False)  # type: ignore[arg-type]
    visitor.cookies = cookies
    header = f"Bearer {credential}" if credential else None
    found: dict[str, Any] = json_of(visitor.post("sign_out", authorization=header))
    return found


def waiting(client: StytchClient) -> int:
    return len(client.client._core.endings)


@HOW
def test_what_is_no_session_jwt_of_the_project_is_shown_to_nobody(
    how: str, project: StytchEmulator, oidc: OidcEmulator
) -> None:
    with stytch_client(how, project, **COOKIES) as client:
        for name, jwt in not_its_own(project, oidc).items():
            project.clear_requests()
            with pytest.raises(InvalidCredentials):
                client("sessions.revoke", session_jwt=jwt)
            assert signed_out(client, jwt) == {"signed_out": True, "complete": True, "revocation": "local"}, name
            assert signed_out(client, "", stytch_session=jwt) == {
                "signed_out": True,
                "complete": True,
                "revocation": "local",
            }, name
            assert (calls(project), waiting(client)) == ({}, 0), name


@HOW
def test_without_keys_only_a_jwt_of_another_issuer_is_certain(
    how: str, project: StytchEmulator, oidc: OidcEmulator
) -> None:
    person = project.sign_in()
    project.fault("/v1/sessions/jwks", status=500)
    with stytch_client(how, project) as client:
        with pytest.raises(InvalidCredentials):
            client("sessions.revoke", session_jwt=oidc.sign_in().access_token)
        assert REVOKE not in project.requests()
        client("sessions.revoke", session_jwt=person.session_jwt)
        assert project.requests()[REVOKE] == 1


@HOW
def test_an_old_jwt_ends_its_session(how: str, project: StytchEmulator) -> None:
    with stytch_client(how, project, **COOKIES) as client:
        for way in (lambda jwt: client("sessions.revoke", session_jwt=jwt), lambda jwt: signed_out(client, jwt)):
            person = project.sign_in()
            way(project.token("expired", session_id=person.session_id))
            assert client.auth(person.session_jwt).is_rejected
            assert client.auth(person.session_token).is_rejected


@HOW
def test_what_the_service_refuses_as_no_credential_is_not_tried_again(how: str, project: StytchEmulator) -> None:
    with stytch_client(how, project, **COOKIES) as client:
        assert signed_out(client, "junk") == {"signed_out": True, "complete": False, "revocation": "local"}
        assert (project.requests()[REVOKE], waiting(client)) == (1, 0)
        person = project.sign_in()
        project.fault("/v1/sessions/revoke", status=500)
        assert signed_out(client, person.session_token) == {
            "signed_out": True,
            "complete": False,
            "revocation": "local",
        }
        assert waiting(client) == 1  # as ever
