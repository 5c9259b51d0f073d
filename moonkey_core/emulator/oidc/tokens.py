"""Making tokens: of every preset's shape, of every kind, by every kind of key."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moonkey_core.emulator.oidc import keys
from moonkey_core.emulator.oidc.presets import BASE, DROP, Preset, Subject, changed, kind_of, preset_named
from moonkey_core.emulator.oidc.records import Issued, SignIn
from moonkey_core.emulator.oidc.state import OidcState
from moonkey_core.emulator.records import Json, random_text

MAX_SECONDS = 100 * 366 * 86_400.0
KEYS = ("current", "foreign", "imposter", "public")


@dataclass(frozen=True)
class Wish:
    """What a token shall be like, beside whom it is for.

    Attributes:
        kind: The kind of token.
        algorithm: How it is signed; ``None`` for what the preset and the kind say.
        life: The seconds from ``iat`` to ``exp``; ``None`` for the preset's.
        age: How many seconds ago it was issued.
        header: The header members that replace the usual ones.
        key: One of ``KEYS``.
        drop: The names of claims and header members to leave out.
        claims: The claims that replace the usual ones.
    """

    kind: str = "user"
    algorithm: str | None = None
    life: float | None = None
    age: float = 0
    header: Mapping[str, Any] = field(default_factory=dict)
    key: str = "current"
    drop: Iterable[str] = ()
    claims: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, seconds in (("life", self.life), ("age", self.age)):
            if seconds is not None and not abs(seconds) <= MAX_SECONDS:
                raise ValueError(f"{name} must be at most {MAX_SECONDS:.0f} seconds either way")


def issuer_of(state: OidcState, preset: Preset) -> str:
    """Return the ``iss`` of a preset."""
    return state.issuer if preset.issuer == BASE else preset.issuer.replace(BASE, state.base_url)


def signing_in(
    preset_name: str, email: str, user_id: str | None, session_id: str | None, claims: Mapping[str, Any]
) -> SignIn:
    """Return a sign-in: the same user for the same address, and a new session if none is named."""
    preset = preset_named(preset_name)
    user = user_id or preset.make_user(uuid.uuid5(uuid.NAMESPACE_URL, f"mailto:{email}"))
    session = session_id or f"{preset.session_prefix}{uuid.uuid4()}"
    return SignIn(preset_name, email, user, session, dict(claims))


def claims_of(state: OidcState, sign_in: SignIn, wish: Wish) -> Json:
    """Return the claims of a token."""
    preset = preset_named(sign_in.preset)
    kind = kind_of(preset, wish.kind)
    issued_at = int(state.now() - wish.age)
    life = preset.life if wish.life is None else wish.life
    who = Subject(
        issuer_of(state, preset),
        preset.audience,
        preset.client_id,
        sign_in.user_id,
        sign_in.session_id,
        sign_in.email,
        issued_at,
        issued_at + int(life),
    )
    dropped = dict.fromkeys(wish.drop, DROP)
    return changed(preset.claims(who), kind.claims(who), sign_in.claims, wish.claims, dropped)


def signed(state: OidcState, sign_in: SignIn, wish: Wish) -> str:
    """Return a signed token. Introspection knows it, if a published key or the secret signed it.

    Raises:
        ValueError: The preset has no such kind, or there is no such algorithm or key.
    """
    if wish.key not in KEYS:
        raise ValueError(f"key must be one of {', '.join(KEYS)}")
    preset = preset_named(sign_in.preset)
    kind = kind_of(preset, wish.kind)
    claims = claims_of(state, sign_in, wish)
    algorithm = wish.algorithm or kind.algorithm or preset.algorithm
    if wish.kind == "encrypted":
        key = state.keys.current("RS256")
        token = keys.encrypted_jwt(key, claims, key.kid)
    else:
        header = changed(preset.header, kind.header, wish.header, dict.fromkeys(wish.drop, DROP))
        token = jws(
            state.keys, algorithm, wish.key, header, claims, without_kid="kid" in {*wish.drop, *kind.header}
        )
    if wish.key == "current" and algorithm != "none":
        state.keep(token, _issued(sign_in, claims))
    return token


def _issued(sign_in: SignIn, claims: Json) -> Issued:
    end = claims.get("exp")
    return Issued(sign_in, claims, float(end) if isinstance(end, int | float) else 0.0)


def jws(own: keys.IssuerKeys, algorithm: str, key: str, header: Json, claims: Json, *, without_kid: bool) -> str:
    """Return a signed token of any content.

    Args:
        own: The keys of the issuer.
        algorithm: How it is signed.
        key: One of ``KEYS``.
        header: What its header has beside ``alg`` and ``kid``, or in their place.
        claims: Its claims.
        without_kid: Whether its header does not name the key.
    """
    if algorithm == "none" or algorithm in keys.SECRET_ALGORITHMS:
        secret = own.current(own.first).pem().encode() if key == "public" else own.secret
        kid = own.current(own.first).kid
        signature = keys.secret_signature(algorithm, secret)
    else:
        signing = own.current(algorithm) if key == "current" else own.foreign(algorithm)
        kid = own.current(algorithm).kid if key == "imposter" else signing.kid
        signature = signing.sign
    usual = {"alg": algorithm} if without_kid else {"alg": algorithm, "kid": kid}
    return keys.compact_jws({**usual, **header}, claims, signature)


def opaque(state: OidcState, sign_in: SignIn, wish: Wish) -> str:
    """Return a token without content, of which introspection says what a signed one would have in it."""
    token = random_text(48)
    state.keep(token, _issued(sign_in, claims_of(state, sign_in, wish)))
    return token


def refreshing(state: OidcState, sign_in: SignIn) -> str:
    """Return a refresh token of a sign-in."""
    token = random_text(48)
    who = claims_of(state, sign_in, Wish(life=30 * 86_400))
    issuer = who.get("iss", "")
    claims = {
        "iss": issuer,
        "aud": issuer,
        "sub": sign_in.user_id,
        "iat": who.get("iat"),
        "exp": who.get("exp"),
        "typ": "Refresh",
    }
    issued = _issued(sign_in, claims)
    issued.is_refresh = True
    state.keep(token, issued)
    return token


def revoke(state: OidcState, token: str) -> None:
    """End a token (RFC 7009), and with a refresh token its whole sign-in. An unknown one is no error."""
    found = state.issued.get(token)
    if found is None:
        return
    found.revoked = True
    if found.is_refresh:
        revoke_sessions(state, found.sign_in.session_id)


def revoke_sessions(state: OidcState, session_id: str | None = None, user_id: str | None = None) -> None:
    """End all tokens of a session or of a user."""
    for one in state.issued.values():
        if session_id in (one.sign_in.session_id, None) and user_id in (one.sign_in.user_id, None):
            one.revoked = True
