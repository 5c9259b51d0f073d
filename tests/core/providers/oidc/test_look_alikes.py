"""Tokens with a real signature of the right key, from the header of a request to its ``Auth``, and no call."""

from __future__ import annotations

from typing import Any

import pytest

from moonkey_core import Auth, InvalidCredentials, Settings
from moonkey_core._operations.core import Core
from moonkey_core._session_life.watch_policy import WatchedSession
from moonkey_core.auth import cache_entry, credential_facts
from moonkey_core.web.request import mapped_headers
from support.oidc_tokens import LOOK_ALIKES, MACHINES, NOW, PRESETS, SECOND_TENANT, TENANT
from support.signed_tokens import encrypted, key_set, signed

TENANTS = [TENANT, SECOND_TENANT]
each_preset = pytest.mark.parametrize("name", PRESETS)


class Client:
    """The deciding half of a client with one provider, whose keys are given: any call would be a failure."""

    def __init__(self, name: str, **options: Any) -> None:
        provider = PRESETS[name].make(**{"keys": key_set(), **options})
        self.core = Core(Settings.load({"provider": provider}, {}), lambda: float(NOW))

    def judged(self, token: str) -> Auth:
        found = self.core.begin(mapped_headers({"authorization": f"Bearer {token}"}), None)
        if isinstance(found, Auth):
            return found
        plan = self.core.finish(found)
        try:
            fetch = next(plan)
        except StopIteration as end:
            auth: Auth = end.value
            return auth
        pytest.fail(f"a call: {fetch.operation}")


def token(name: str, changes: dict[str, Any] | None = None, header: dict[str, Any] | None = None) -> str:
    preset = PRESETS[name]
    return signed(preset.payload(**changes or {}), {**preset.header, **(header or {})}, preset.algorithm)


@each_preset
def test_verified(name: str) -> None:
    preset = PRESETS[name]
    auth = Client(name).judged(token(name))
    assert auth.is_authenticated, auth.error
    assert auth.user.id == preset.user_id
    assert auth.source == "local"


@each_preset
def test_look_alikes(name: str) -> None:
    cases = [one for one in LOOK_ALIKES if one.preset == name]
    assert len(cases) > 12
    for one in cases:
        auth = Client(name, **one.options).judged(token(name, one.changes, one.header))
        error = auth.error
        assert isinstance(error, InvalidCredentials), str(one)
        assert (error.reason, error.status) == (one.reason, 401), str(one)
        assert not error.session_is_over  # the cookies of the user stay


@each_preset
def test_an_encrypted_token(name: str) -> None:
    error = Client(name).judged(encrypted()).error
    assert isinstance(error, InvalidCredentials)
    assert error.reason == "jwt_encrypted"


@each_preset
def test_a_token_of_another_key(name: str) -> None:
    good, preset = token(name), PRESETS[name]
    other = good.rpartition(".")[0] + "." + token(name, {"other": 1}).rpartition(".")[2]
    error = Client(name).judged(other).error
    assert error is not None
    assert error.reason == "jwt_signature"
    wrong = "EdDSA" if preset.algorithm not in ("EdDSA",) else "RS256"
    error = Client(name).judged(signed(preset.payload(), preset.header, wrong)).error
    assert error is None if wrong in PRESETS[name].make().jwt_rules.algorithms else error is not None


@each_preset
def test_expired(name: str) -> None:
    times = {"iat": NOW - 7200, "exp": NOW - 3600, "auth_time": NOW - 7300, "amr": ...}
    auth = Client(name).judged(token(name, times))
    assert auth.error is not None
    assert (auth.error.status, auth.error.reason) == (401, "expired_credentials")


def keys_of(tenant: str) -> dict[str, Any]:
    """A key set of Entra ID whose keys are those of one tenant, or with ``{tenantid}`` of each."""
    issuer = f"https://login.microsoftonline.com/{tenant}/v2.0"
    return {"keys": [{**one, "issuer": issuer} for one in key_set()["keys"]]}


@pytest.mark.parametrize("name", ["entra", "entra v1", "entra several"])
def test_a_key_of_one_tenant_signs_for_no_other(name: str) -> None:
    tenant = PRESETS[name].claims["tid"]
    for of, accepted in ((tenant, True), ("{tenantid}", True), (TENANTS[1 - TENANTS.index(tenant)], False)):
        auth = Client(name, keys=keys_of(of)).judged(token(name))
        assert auth.is_authenticated is accepted, of
        assert accepted or (auth.error is not None and auth.error.reason == "jwt_issuer")


@pytest.mark.parametrize("name", MACHINES)
def test_program(name: str) -> None:
    changes, machine_id = MACHINES[name]
    assert Client(name).judged(token(name, changes)).is_rejected
    auth = Client(name, allow_machines=True).judged(token(name, changes))
    assert auth.is_machine
    assert auth.machine.id == machine_id if auth.machine else pytest.fail("no machine")
    assert (auth.user, auth.session, auth.is_authenticated) == (None, None, False)


@each_preset
def test_actor(name: str) -> None:
    auth = Client(name).judged(token(name, {"act": {"sub": "support@example.com", "act": {"sub": "earlier"}}}))
    entry = cache_entry(auth)
    assert entry is not None
    assert (entry.actor, auth.user.id if auth.user else None) == ("support@example.com", PRESETS[name].user_id)


WITHOUT_SESSION = {"auth0", "okta", "entra", "entra several", "cognito id"}
"""The presets whose tokens name no session, as they are here."""


@each_preset
def test_whether_a_newer_token_is_of_the_same_session(name: str) -> None:
    """It renews a connection. Where no session is named, one of the same user does."""
    preset, client = PRESETS[name], Client(name)
    auth = client.judged(token(name))
    facts = credential_facts(auth)
    assert facts is not None
    assert facts.names_session is (name not in WITHOUT_SESSION)
    times = {"iat": NOW - 5, "exp": NOW + 600}
    watched = WatchedSession(auth, NOW, can_verify=True)
    watched.renew(client.judged(token(name, {**times, "jti": "newer"})), NOW, (), client.core.revocations)
    assert watched.ends_at == NOW + 600
    said = preset.payload()
    others: list[dict[str, Any]] = [{one: f"{value}9" for one, value in said.items() if value == preset.user_id}]
    if facts.names_session:
        others.append({one: "another" for one, value in said.items() if value == facts.session_id})
    for other in others:
        changes = {**times, **(other or {"auth_time": NOW - 120})}  # Firebase has no other name of a session
        found = client.judged(token(name, changes))
        assert found.is_authenticated, found.error
        with pytest.raises(InvalidCredentials) as refused:
            watched.renew(found, NOW, (), client.core.revocations)
        assert refused.value.reason == "renewal_refused"


@each_preset
def test_revoked(name: str) -> None:
    client, text = Client(name), token(name)
    auth = client.judged(text)
    assert auth.is_authenticated
    client.core.revocations.add(session_id=auth.session.id, issuer=PRESETS[name].claims["iss"])
    assert client.judged(text).is_rejected
    names = ("sid", "session_id", "origin_jti", "jti", "uti")
    other = token(name, {**dict.fromkeys(names, "another"), "auth_time": NOW - 120})
    assert client.judged(other).is_authenticated
    client.core.revocations.add(user_id=auth.user.id, issuer=PRESETS[name].claims["iss"])
    assert client.judged(token(name, {"other": 1})).is_rejected


def test_a_revocation_holds_for_each_form_of_an_issuer_and_for_no_other_tenant() -> None:
    client = Client("entra several")
    issuers = [f"https://login.microsoftonline.com/{tenant}/v2.0" for tenant in TENANTS]
    mine, other = (
        token("entra several", {"oid": "same", "tid": tenant, "iss": issuer})
        for tenant, issuer in zip(TENANTS, issuers, strict=True)
    )
    old_form = token("entra v1", {"oid": "same"})
    assert all(client.judged(one).is_authenticated for one in (mine, other, old_form))
    client.core.revocations.add(user_id="same", issuer=f"https://sts.windows.net/{TENANTS[0]}/")
    assert client.judged(mine).is_rejected
    assert client.judged(old_form).is_rejected
    assert client.judged(other).is_authenticated
