"""Stytch for business apps: members and organizations, by real calls to a stand-in, blocking and asynchronous."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import (
    Auth,
    AuthorizationCheck,
    InvalidCredentials,
    NotFound,
    NotSupported,
    PermissionDenied,
    ProviderError,
    ProviderUnavailable,
    RequestRefused,
    RevocationIncomplete,
    gate,
)
from moonkey_core.auth import peek_error
from moonkey_core.emulator import StytchB2BEmulator
from moonkey_core.gate import Requirements
from moonkey_core.provider import Stytch, StytchB2B
from moonkey_core.providers.stytch.b2b import MemberClaims
from moonkey_core.providers.stytch.claims import ORGANIZATION_CLAIM, SESSION_CLAIM
from support.any_json import JSON
from support.clients import Both
from support.patience import PATIENT
from support.scripted import Received, reply, scripted

REVOKE, LIST = "POST /v1/b2b/sessions/revoke", "GET /v1/b2b/sessions"
AUTHENTICATE = "POST /v1/b2b/sessions/authenticate"
MEMBER = "GET /v1/b2b/organizations/members/dangerously_get/{id}"


def provider(b2b: StytchB2BEmulator, **options: Any) -> StytchB2B:
    return StytchB2B(b2b.project_id, b2b.secret, **{"base_url": b2b.base_url, **options})


class Client(Both):
    def __init__(self, kind: str, made: Any, **options: Any) -> None:
        super().__init__(kind, {"provider": made, **PATIENT, **options})

    def auth(self, credential: str, **demand: Any) -> Auth:
        found: Auth = self(
            "authenticate", {"authorization": f"Bearer {credential}"}, Requirements(**demand) if demand else None
        )
        return found

    def reason(self, credential: str) -> str:
        """Why it is refused as a credential, with 401."""
        error = peek_error(self.auth(credential))
        assert isinstance(error, InvalidCredentials), error
        assert error.status == 401
        return error.reason


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, b2b: StytchB2BEmulator) -> Iterator[Client]:
    made = Client(request.param, provider(b2b), session_cache_ttl=60)
    yield made
    made.close()


@pytest.fixture
def blocking(b2b: StytchB2BEmulator) -> Iterator[Client]:
    made = Client("sync", provider(b2b))
    yield made
    made.close()


class TestWhoItIs:
    def test_the_same_by_token_and_by_jwt(self, client: Client, b2b: StytchB2BEmulator) -> None:
        ada = b2b.sign_in("ada@acme.example", "acme", claims={"plan": "pro"}, roles=["editor"])
        for credential, source in ((ada.session_jwt, "local"), (ada.session_token, "remote")):
            auth = client.auth(credential)
            assert auth.is_authenticated, auth.error
            assert auth.source == source
            assert (auth.user.id, auth.session.id) == (ada.member_id, ada.session_id)
            assert auth.scope == auth.user.scope == f"stytch_b2b:{b2b.project_id}"
            assert auth.session.organization == ada.organization_id
            assert auth.session.extra["organization_slug"] == "acme"
            assert auth.session.roles == ("stytch_member", "editor")
            assert auth.session.claims["plan"] == "pro"
            assert not auth.session.ends_with_token
            assert [one.delivery_channel for one in auth.session.factors] == ["email"]

    def test_a_reply_describes_the_organization(self, client: Client, b2b: StytchB2BEmulator) -> None:
        ada = b2b.sign_in(organization="acme")
        for _ in range(2):  # also from the cache
            session = client.auth(ada.session_token).session
            assert session is not None
            assert session.extra["organization"]["organization_name"] == "Acme"
            assert "mfa_policy" not in session.extra["organization"]
        assert b2b.requests()[AUTHENTICATE] == 1

    def test_an_address_counts_only_where_it_is_verified(self, blocking: Client, b2b: StytchB2BEmulator) -> None:
        ada = b2b.sign_in("ada@acme.example", factors=["email", "sms"])
        user = blocking.auth(ada.session_token).user
        assert user is not None
        assert (user.email, user.phone_number) == ("ada@acme.example", "+12025550100")
        assert (user.status, user.complete) == ("active", True)
        b2b.member(ada.member_id, email_verified=False)
        user = blocking.auth(ada.session_token).user
        assert user is not None
        assert user.email is None

    def test_the_same_address_in_two_organizations_is_two_users(
        self, blocking: Client, b2b: StytchB2BEmulator
    ) -> None:
        here, there = (b2b.sign_in("ada@acme.example", name) for name in ("acme", "globex"))
        assert here.member_id != there.member_id
        blocking.client.revocations.add(user_id=here.member_id)
        assert blocking.auth(here.session_jwt).is_rejected
        assert blocking.auth(there.session_jwt).is_authenticated

    def test_who_acts_for_the_member_is_said_and_is_no_factor(
        self, blocking: Client, b2b: StytchB2BEmulator
    ) -> None:
        ada = b2b.sign_in(factors=["impersonated"])
        for credential in (ada.session_jwt, ada.session_token):
            auth = blocking.auth(credential)
            assert auth.actor is not None
            assert auth.session is not None
            assert auth.session.factors == ()


ORGANIZATIONS: Mapping[str, object] = {
    "none": None, "a text": "organization-1", "a list": ["organization-1"], "empty": {},
    "an empty id": {"organization_id": "", "slug": "a"},
    "an id of another type": {"organization_id": 7, "slug": "a"},
    "only a slug": {"slug": "acme"}, "a padded id": {"organization_id": " o ", "slug": "a"},
}  # fmt: skip


class TestLookAlikes:
    """Each has a good signature of the project's own key."""

    @pytest.mark.parametrize(
        ("shape", "reason"),
        [
            ("consumer", "token_kind"),
            ("m2m", "jwt_session"),
            ("connected-app", "jwt_session"),
            ("other-project", "jwt_issuer"),
            ("other-audience", "jwt_audience"),
            ("slash", "jwt_issuer"),
            ("https-issuer", "jwt_issuer"),
            ("no-nbf", "jwt_claims"),
            ("no-session", "jwt_session"),
            ("no-session-id", "jwt_session"),
            ("text-session", "jwt_session"),
            ("not-yet", "jwt_not_yet_valid"),
        ],
    )
    def test_are_refused_without_a_call_to_the_service(
        self, client: Client, b2b: StytchB2BEmulator, shape: str, reason: str
    ) -> None:
        token = b2b.token(shape)
        assert client.reason(token) == reason
        assert b2b.requests()[AUTHENTICATE] == 0

    @pytest.mark.parametrize("case", ORGANIZATIONS)
    def test_an_organization_that_cannot_be_read(
        self, blocking: Client, b2b: StytchB2BEmulator, case: str
    ) -> None:
        token = b2b.token(claims={ORGANIZATION_CLAIM: ORGANIZATIONS[case]})
        assert blocking.reason(token) == "jwt_claims"
        assert b2b.requests()[AUTHENTICATE] == 0

    def test_an_old_consumer_token_is_not_renewed(self, blocking: Client, b2b: StytchB2BEmulator) -> None:
        assert blocking.reason(b2b.token("consumer", age=900)) == "token_kind"
        assert blocking.auth(b2b.token(age=900)).is_authenticated
        assert b2b.requests()[AUTHENTICATE] == 1

    def test_those_of_members_are_refused_for_consumers(self, b2b: StytchB2BEmulator) -> None:
        """Even with the same keys, issuer and audience."""
        consumers = Client("sync", Stytch(b2b.project_id, b2b.secret, base_url=b2b.base_url, keys=b2b.jwks()))
        try:
            assert consumers.reason(b2b.token()) == "token_kind"
            assert consumers.auth(b2b.token("consumer")).is_authenticated
            assert b2b.requests() == {}
        finally:
            consumers.close()

    @pytest.mark.parametrize(
        "shape", ["domain", "string-audience", "no-session-end", "null-session-end", "no-roles"]
    )
    def test_other_forms_of_a_session_are_good(self, b2b: StytchB2BEmulator, shape: str) -> None:
        made = Client("sync", provider(b2b, custom_base_url="https://auth.acme.example"))
        b2b.issuer_form("project")
        try:
            claims = {"iss": "https://auth.acme.example"} if shape == "domain" else {}
            auth = made.auth(b2b.token(shape, claims=claims))
            assert auth.is_authenticated, auth.error
            assert auth.scope == f"stytch_b2b:{b2b.project_id}"
        finally:
            made.close()

    @given(JSON | st.fixed_dictionaries({"organization_id": JSON}, optional={"slug": JSON}))
    def test_any_organization_at_all(self, value: object) -> None:
        """It is read, or the token is refused."""
        claims = MemberClaims("stytch_b2b:project-1")
        session = {"id": "s1", "expires_at": "2030-01-01T00:00:00Z", "authentication_factors": []}
        payload = {"sub": "m1", "nbf": 1, "exp": 2, SESSION_CLAIM: session, ORGANIZATION_CLAIM: value}
        try:
            found = claims.session_claims(payload, 2.0)
        except InvalidCredentials:
            return
        assert found.session_id == "s1"
        assert isinstance(value, dict)
        assert isinstance(value["organization_id"], str)


GOOD: dict[str, Any] = {
    "status_code": 200,
    "request_id": "r1",
    "session_token": "t" * 44,
    "session_jwt": "",
    "member_session": {
        "member_session_id": "s1",
        "member_id": "m1",
        "organization_id": "o1",
        "organization_slug": "acme",
        "started_at": "2026-01-01T00:00:00Z",
        "last_accessed_at": "2026-01-01T00:00:00.123456789Z",
        "expires_at": "2090-01-01T00:00:00Z",
        "authentication_factors": [],
        "roles": ["stytch_member"],
    },
    "member": {"member_id": "m1", "organization_id": "o1", "email_address": "a@b.example"},
    "organization": {"organization_id": "o1", "organization_slug": "acme"},
}


@contextmanager
def answering(script: Callable[[Received], bytes]) -> Iterator[Client]:
    with scripted(script) as server:
        made = Client("sync", StytchB2B("project-test-1", "secret-test-1", base_url=server.url))
        try:
            yield made
        finally:
            made.close()


def changed(path: str, value: object) -> dict[str, Any]:
    """A good reply with another value at a path; ``...`` leaves it out."""
    outer, _, inner = path.partition(".")
    found = {**GOOD, outer: {**GOOD[outer], inner: value}} if inner else {**GOOD, outer: value}
    return {
        name: {one: each for one, each in part.items() if each is not ...} if isinstance(part, dict) else part
        for name, part in found.items()
        if part is not ...
    }


class TestReplies:
    def test_a_good_one(self) -> None:
        for body in (
            GOOD,
            changed("member", ...),
            changed("organization", ...),
            changed("member_session.roles", ...),
        ):
            with answering(lambda _, body=body: reply(200, body)) as client:  # type: ignore[misc]
                auth = client.auth("t" * 44)
                assert auth.is_authenticated, auth.error
                assert (auth.user.id, auth.session.id, auth.session.organization) == ("m1", "s1", "o1")

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("member.member_id", "m2"),
            ("member.organization_id", "o2"),
            ("organization.organization_id", "o2"),
            ("member_session.organization_id", "o2"),
            ("member_session.member_id", "m2"),
            ("session_token", "x" * 44),
            ("member_session", ...),
            ("member_session.organization_id", ...),
            ("member_session.organization_id", ""),
            ("member_session.member_session_id", 7),
            ("member_session.expires_at", "tomorrow"),
            ("member", "m1"),
            ("organization", ["o1"]),
        ],
    )
    def test_one_that_contradicts_itself_or_cannot_be_read_signs_nobody_in(self, path: str, value: object) -> None:
        with answering(lambda _: reply(200, changed(path, value))) as client:
            auth = client.auth("t" * 44)
            assert isinstance(auth.error, ProviderUnavailable), auth

    def test_that_of_the_other_api_signs_nobody_in(self) -> None:
        session = {**GOOD["member_session"], "session_id": "s1", "user_id": "m1"}
        consumer = {**GOOD, "session": session, "user": {"user_id": "m1"}, "member_session": None, "member": None}
        with answering(lambda _: reply(200, consumer)) as client:
            assert isinstance(client.auth("t" * 44).error, ProviderUnavailable)

    @pytest.mark.parametrize(
        ("status", "kind", "reason"),
        [(404, "session_not_found", "session_unknown"), (400, "invalid_session_token", "session_refused")],
    )
    def test_a_refusal(self, status: int, kind: str, reason: str) -> None:
        body = {"status_code": status, "request_id": "r", "error_type": kind, "error_message": "", "error_url": ""}
        with answering(lambda _: reply(status, body)) as client:
            assert client.reason("t" * 44) == reason


class TestTheLifeOfASession:
    def test_it_is_extended_by_what_is_asked_for_and_by_nothing_else(
        self, client: Client, b2b: StytchB2BEmulator
    ) -> None:
        ada = b2b.sign_in(minutes=30)
        for kind in ("session_token", "session_jwt"):
            found = client("sessions.verify", **{kind: getattr(ada, kind)}, extend=60)
            assert abs(found.session.expires_in - timedelta(minutes=60)) < timedelta(seconds=40)
        with pytest.raises((ValueError, RequestRefused)):
            client("sessions.verify", session_token=ada.session_token, extend=527_041)

    def test_a_check_asks_for_no_life_and_believes_the_reply(self) -> None:
        """What becomes of a session whose call has no duration is documented in two ways."""
        sent: list[Any] = []

        def script(request: Received) -> bytes:
            sent.append(request.json)
            return reply(200, changed("member_session.expires_at", "2089-01-01T00:00:00Z"))

        with answering(script) as client:
            session = client.auth("t" * 44).session
            assert session is not None
            assert session.expires_at.year == 2089
            extended = client("sessions.verify", session_token="t" * 44, extend=60).session
            assert extended.expires_at.year == 2089
        assert sent == [{"session_token": "t" * 44}, {"session_token": "t" * 44, "session_duration_minutes": 60}]


class TestEnding:
    @pytest.mark.parametrize("kind", ["session_id", "session_token", "session_jwt"])
    def test_one_session(self, client: Client, b2b: StytchB2BEmulator, kind: str) -> None:
        ada, other = (b2b.sign_in("ada@acme.example", "acme") for _ in range(2))
        assert client.auth(ada.session_jwt).is_authenticated
        for _ in range(2):  # one that is gone counts as ended
            client("sessions.revoke", **{kind: getattr(ada, kind)})
        assert client.auth(ada.session_jwt).is_rejected
        assert client.auth(ada.session_token).is_rejected
        assert client.auth(other.session_token).is_authenticated

    def test_all_of_a_member_by_one_call(self, client: Client, b2b: StytchB2BEmulator) -> None:
        people = [b2b.sign_in("ada@acme.example", "acme") for _ in range(3)]
        other = b2b.sign_in("bob@acme.example", "acme")
        ended = client("sessions.revoke_all", people[0].member_id)
        assert set(ended) == {one.session_id for one in people}
        assert b2b.requests()[REVOKE] == 1
        for one in people:
            assert client.auth(one.session_jwt).is_rejected
        assert client.auth(other.session_jwt).is_authenticated

    def test_all_but_one(self, client: Client, b2b: StytchB2BEmulator) -> None:
        people = [b2b.sign_in("ada@acme.example", "acme") for _ in range(3)]
        ended = client("sessions.revoke_all", people[0].member_id, keep=people[0].session_id)
        assert set(ended) == {one.session_id for one in people[1:]}
        assert client.auth(people[0].session_token).is_authenticated
        assert client.auth(people[1].session_jwt).is_rejected

    def test_a_call_that_fails_leaves_them_refused_here(self, blocking: Client, b2b: StytchB2BEmulator) -> None:
        ada = b2b.sign_in()
        b2b.fault("/v1/b2b/sessions/revoke", status=400)
        with pytest.raises(RevocationIncomplete) as incomplete:
            blocking("sessions.revoke_all", ada.member_id)
        assert set(incomplete.value.failed) == {ada.session_id}
        assert blocking.auth(ada.session_jwt).is_rejected

    def test_nobody(self, client: Client, b2b: StytchB2BEmulator) -> None:
        for name in ("sessions.list", "sessions.revoke_all", "users.get"):
            with pytest.raises(NotFound):
                client(name, "member-test-nobody/../x?y=&z#")


class TestListing:
    def test_the_sessions_of_a_member(self, client: Client, b2b: StytchB2BEmulator) -> None:
        people = [b2b.sign_in("ada@acme.example", "acme") for _ in range(2)]
        b2b.sign_in("bob@acme.example", "acme")
        for _ in range(2):
            found = client("sessions.list", people[0].member_id)
            assert {one.id for one in found} == {one.session_id for one in people}
            assert {one.organization for one in found} == {people[0].organization_id}
        assert b2b.requests()[LIST] == 2
        assert b2b.requests()[MEMBER] == 1  # the organization of a member does not change

    def test_a_list_of_another_member_or_organization(self) -> None:
        member = {"member_id": "m1", "member": GOOD["member"], "organization": GOOD["organization"]}

        def script(request: Received) -> bytes:
            if "members" in request.path:
                return reply(200, {"status_code": 200, "request_id": "r", **member})
            return reply(200, {"status_code": 200, "request_id": "r", "member_sessions": [session]})

        for name in ("member_id", "organization_id"):
            session = {**GOOD["member_session"], name: "x"}
            with answering(script) as client, pytest.raises(ProviderUnavailable):
                client("sessions.list", "m1")

    def test_a_member(self, client: Client, b2b: StytchB2BEmulator) -> None:
        ada = b2b.sign_in("ada@acme.example", "acme")
        user = client("users.get", ada.member_id)
        assert (user.id, user.email, user.complete) == (ada.member_id, "ada@acme.example", True)
        assert user.extra["organization_id"] == ada.organization_id
        assert user.scope == f"stytch_b2b:{b2b.project_id}"


READ = {"resource_id": "documents", "action": "read"}


class TestPermissions:
    """The same verdict for a JWT that is verified here or remembered, and for a token that is asked about."""

    def verdicts(self, client: Client, person: Any, **check: Any) -> set[bool]:
        asked, found = AuthorizationCheck(**check), set()
        for kind in ("session_jwt", "session_jwt", "session_token"):
            try:
                client("sessions.verify", **{kind: getattr(person, kind)}, authorization_check=asked)
                found.add(True)
            except PermissionDenied:  # 403
                found.add(False)
        return found

    def test_one_verdict_on_each_way(self, client: Client, b2b: StytchB2BEmulator) -> None:
        ada, bob = b2b.sign_in("ada@acme.example", "acme"), b2b.sign_in("bob@globex.example", "globex")
        pay = {"resource_id": "invoices", "actions": ["pay"]}
        b2b.organization_policy("acme", [{"role_id": "stytch_member", "description": "", "permissions": [pay]}])
        acme, globex = ada.organization_id, bob.organization_id
        table: list[tuple[Any, str, str, str, bool]] = [
            (ada, acme, "documents", "read", True),
            (ada, acme, "documents", "write", False),
            (ada, acme, "invoices", "pay", True),
            (bob, globex, "invoices", "pay", False),
            (bob, globex, "documents", "read", True),
            (ada, globex, "documents", "read", False),
            (ada, "acme", "documents", "read", False),  # its slug
        ]
        for person, organization, resource, action, allowed in table:
            check = {"organization_id": organization, "resource_id": resource, "action": action}
            assert self.verdicts(client, person, **check) == {allowed}, check

    def test_a_route_that_asks_for_permissions(self, client: Client, b2b: StytchB2BEmulator) -> None:
        ada, bob = b2b.sign_in("ada@acme.example", "acme"), b2b.sign_in("bob@globex.example", "globex")
        pay = {"resource_id": "invoices", "actions": ["pay"]}
        b2b.organization_policy("acme", [{"role_id": "stytch_member", "description": "", "permissions": [pay]}])
        wanted = Requirements(permissions={"invoices:pay", "documents:read"})
        for _ in range(2):
            for person, allowed in ((ada, True), (bob, False)):
                for credential in (person.session_jwt, person.session_token):
                    auth = client.auth(credential, permissions={"invoices:pay", "documents:read"})
                    if allowed:
                        assert gate.require(auth, wanted).session.organization == person.organization_id
                    else:
                        with pytest.raises(PermissionDenied):
                            gate.require(auth, wanted)
        requests = b2b.requests()
        assert requests["GET /v1/b2b/rbac/policy"] == 1
        assert requests["GET /v1/b2b/rbac/organizations/{id}"] == 2

    def test_a_policy_that_cannot_be_had_denies_nobody(self, blocking: Client, b2b: StytchB2BEmulator) -> None:
        ada = b2b.sign_in()
        b2b.organization_policies(enabled=False)
        check = AuthorizationCheck(**READ, organization_id=ada.organization_id)
        with pytest.raises(ProviderError) as trouble:
            blocking("sessions.verify", session_jwt=ada.session_jwt, authorization_check=check)
        assert trouble.value.status == 503
        without = Client("sync", provider(b2b, organization_policies=False))
        try:
            without("sessions.verify", session_jwt=ada.session_jwt, authorization_check=check)
        finally:
            without.close()

    def test_the_organization_has_to_be_named(self, blocking: Client, b2b: StytchB2BEmulator) -> None:
        with pytest.raises(ValueError, match="organization_id"):
            blocking("sessions.verify", session_token="t" * 44, authorization_check=AuthorizationCheck(**READ))
        assert b2b.requests() == {}

    def test_custom_claims_are_set_and_deleted(self, client: Client, b2b: StytchB2BEmulator) -> None:
        ada = b2b.sign_in(claims={"plan": "pro"})
        claims = {"plan": None, "seat": 4}
        found = client("sessions.verify", session_token=ada.session_token, custom_claims=claims, extend=60)
        assert found.session.extra["custom_claims"] == {"seat": 4}


def test_members_do_not_sign_in_here(client: Client) -> None:
    for name, arguments in {
        "otps.login_or_create": {"email": "a@b.example"},
        "otps.verify": {"code": "1", "method_id": "m"},
        "magic_links.verify": {"token": "t"},
        "totps.create": {"user_id": "member-test-1"},
    }.items():
        first = arguments.pop("code", None) or arguments.pop("token", None)
        with pytest.raises(NotSupported) as refused:
            client(name, *([first] if first else []), **arguments)
        assert refused.value.status == 501
