"""Claims of any shape: they are refused as invalid, or what they say has the right types. Nothing else happens."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import InvalidCredentials
from moonkey_core._provider import SessionClaims
from moonkey_core._reasons import CREDENTIAL_REASONS
from moonkey_core._strict_json import load_object
from moonkey_core.gate import Requirements
from moonkey_core.models import Extra
from moonkey_core.provider import OidcProvider
from support.any_json import JSON
from support.oidc_tokens import NOW, PRESETS

NAMES = sorted(
    {name for preset in PRESETS.values() for name in preset.payload()}
    | {"cnf", "act", "events", "acrs", "idtyp", "hasgroups", "_claim_names", "organization", "custom_claims"}
    | {"sub_profile", "sub_type", "nonce", "given_name", "phone_number", "groups", "org_role", "user_id"}
)
PROVIDERS = {
    name: [preset.make(), preset.make(allow_machines=True)]
    if name in ("oidc", "auth0", "okta", "entra", "keycloak", "cognito", "workos")
    else [preset.make()]
    for name, preset in PRESETS.items()
}
DEMANDS = Requirements(roles={"a"}, scopes={"a"}, permissions={"a"}, factors={"otp"}, factor_count=2)


def judged(provider: OidcProvider, payload: dict[str, Any]) -> SessionClaims | InvalidCredentials:
    try:
        return provider.jwt_claims.session_claims(payload, payload["exp"])
    except InvalidCredentials as error:
        return error


@pytest.mark.long
@given(st.sampled_from(sorted(PRESETS)), st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4), st.data())
def test_any_claims(name: str, changes: dict[str, Any], data: st.DataObject) -> None:
    payload = PRESETS[name].payload(**{**changes, "exp": NOW + 290})
    body = json.dumps(payload).encode()
    provider = data.draw(st.sampled_from(PROVIDERS[name]))
    provider.jwt_claims.claimed_ids(payload)
    claims = judged(provider, payload)
    if isinstance(claims, InvalidCredentials):
        assert claims.reason in CREDENTIAL_REASONS
        assert len(claims.evidence) < 600
        assert claims.evidence.isprintable()
        return
    for text in (claims.user_id, claims.session_id, claims.scope):
        assert isinstance(text, str)
        assert text
    assert claims.actor is None or isinstance(claims.actor, str)
    # What has passed can be read later, whatever else is in it.
    user, session = provider.user(body), provider.session(body)
    assert (user.id, session.user_id, session.id) == (claims.user_id, claims.user_id, claims.session_id)
    texts = (*session.scopes, *session.roles, *session.permissions, *session.acr_values)
    assert all(isinstance(one, str) for one in texts)
    assert session.organization is None or isinstance(session.organization, str)
    assert all(isinstance(one.type, str) for one in session.factors)
    assert type(session.claims) is Extra
    assert json.loads(json.dumps(session.to_dict()))
    DEMANDS.check(session, datetime.fromtimestamp(NOW, UTC))


REQUIRED = {
    "oidc": ("sub",),
    "oidc id": ("sub",),
    "auth0": ("sub",),
    "okta": ("uid",),
    "entra": ("oid", "tid", "scp"),
    "entra v1": ("oid", "tid", "scp"),
    "keycloak": ("sub", "typ"),
    "keycloak azp": ("sub", "typ", "azp"),
    "cognito": ("sub", "token_use", "username"),
    "cognito id": ("sub", "token_use"),
    "firebase": ("sub",),
    "clerk": ("sub", "sid", "azp"),
    "supabase": ("sub", "session_id", "role"),
    "workos": ("sub", "sid", "auth_time"),
}


@pytest.mark.long
@pytest.mark.parametrize("name", REQUIRED)
@given(value=JSON)
def test_a_wrong_type_never_passes_for_a_claim_that_is_needed(name: str, value: object) -> None:
    provider = PROVIDERS[name][0]
    for claim in REQUIRED[name]:
        right = (int, float) if claim == "auth_time" else (str,)
        if type(value) in right:
            continue
        with pytest.raises(InvalidCredentials):
            provider.jwt_claims.session_claims(PRESETS[name].payload(**{claim: value}), NOW + 290)


@given(st.sampled_from(sorted(PRESETS)), JSON)
def test_an_unreadable_binding_or_actor_never_goes_unseen(name: str, value: object) -> None:
    """Of a wrong type, ``cnf`` is still a binding, and ``act`` still somebody who acts for the user."""
    provider = PROVIDERS[name][0]
    if value is None:
        return
    with pytest.raises(InvalidCredentials):
        provider.jwt_claims.session_claims(PRESETS[name].payload(cnf=value), NOW + 290)
    if isinstance(value, dict) and isinstance(value.get("sub"), str):
        return
    with pytest.raises(InvalidCredentials):
        provider.jwt_claims.session_claims(PRESETS[name].payload(act=value), NOW + 290)


@given(st.sampled_from(sorted(PRESETS)), JSON)
def test_a_token_is_read_as_its_json_is(name: str, value: object) -> None:
    """Whether claims come decoded (an introspection reply) or as JSON (a JWT), they say the same."""
    provider, payload = PROVIDERS[name][0], PRESETS[name].payload(other=value)
    try:
        decoded = load_object(json.dumps(payload).encode())
    except ValueError:
        return
    assert provider.session(decoded) == provider.session(json.dumps(payload).encode())
