"""The emulated issuer and the presets were written apart: what one makes, the other judges."""

from __future__ import annotations

import pytest

from moonkey_core import InvalidCredentials, Settings
from moonkey_core.emulator.oidc.presets import BASE, COMMON_KINDS, JWKS, PRESETS
from moonkey_core.emulator.oidc.state import OidcState
from moonkey_core.emulator.oidc.tokens import Wish, claims_of, signing_in
from moonkey_core.provider import OidcProvider

ADDRESS = "http://127.0.0.1:8080"
GOOD = {"user", "delegated", "impersonated", "organization", "second-factor", "no-session"}
BY_THE_CORE = {"encrypted", "legacy", "refresh", "other-project", "custom", "org", "mfa", "management"}
"""Kinds that are refused before their claims are read: by form, algorithm, issuer or audience."""

REASONS = {
    "dpop": {"sender_constrained"},
    "mtls": {"sender_constrained"},
    "logout": {"logout_token"},
    "id": {"id_token", "machine_token", "token_kind"},
    "machine": {"machine_token", "anonymous_key", "jwt_session"},
    "agent": {"agent_token"},
    "widget": {"agent_token"},
    "no-sign-in": {"token_kind"},
    "overage": {"claims_overage"},
    "other-tenant": {"other_tenant"},
    "lightweight": {"jwt_subject"},
    "anonymous": {"anonymous_user"},
    "tenant": {"other_tenant"},
    "pending": {"session_pending"},
    "no-azp": {"other_client"},
    "anon-key": {"anonymous_key"},
    "service-key": {"anonymous_key"},
}
BY_AUDIENCE = {"account-audience", "no-audience"}
CASES = [
    (name, kind)
    for name, preset in PRESETS.items()
    for kind in {**COMMON_KINDS, **preset.kinds}
    if kind not in BY_THE_CORE | BY_AUDIENCE
]


@pytest.mark.long
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_kind_of_token(name: str, kind: str) -> None:
    preset, state = PRESETS[name], OidcState(None, ["RS256"], None)
    state.base_url = ADDRESS
    environment = {
        key: value.replace(BASE, ADDRESS).replace(JWKS, f"{ADDRESS}/jwks")
        for key, value in preset.settings.items()
    }
    provider = Settings.load({}, environment).provider
    assert isinstance(provider, OidcProvider)
    payload = claims_of(state, signing_in(name, "ada@example.com", None, None, {}), Wish(kind=kind))
    if kind in GOOD:
        claims = provider.jwt_claims.session_claims(payload, payload["exp"])
        assert claims.user_id == payload[preset.user_id]
        assert preset.session_id is None or payload.get(preset.session_id) in (claims.session_id, None)
        assert (claims.actor is not None) is ("act" in payload)
        return
    with pytest.raises(InvalidCredentials) as caught:
        provider.jwt_claims.session_claims(payload, payload["exp"])
    assert caught.value.reason in REASONS[kind]
