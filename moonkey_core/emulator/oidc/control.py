"""The control interface of the issuer, as Python methods. ``control_http`` offers the same over HTTP."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from moonkey_core.emulator.conditions import ConditionsControl
from moonkey_core.emulator.oidc import endpoints, tokens
from moonkey_core.emulator.oidc.clients import make_client
from moonkey_core.emulator.oidc.keys import PrivateKey
from moonkey_core.emulator.oidc.presets import BASE, COMMON_KINDS, JWKS, preset_named
from moonkey_core.emulator.oidc.records import OidcSignedIn, PresetInfo, SignIn
from moonkey_core.emulator.oidc.state import DEMO_CLIENT, OidcState
from moonkey_core.emulator.records import Json

DEMO_EMAIL = endpoints.DEMO_EMAIL
MAX_EXTRA_KEYS = 100


class OidcControl(ConditionsControl):
    """The methods that make tokens and change the issuer's behaviour. Safe to call from any thread."""

    def __init__(self, state: OidcState) -> None:
        super().__init__(state)
        self._state = state
        self.client_id: str = DEMO_CLIENT
        self.client_secret: str = state.clients[DEMO_CLIENT].secret or ""

    @property
    def issuer(self) -> str:
        """The ``iss`` of the generic preset; known once started, unless it was given."""
        return self._state.issuer

    @property
    def audience(self) -> str:
        """The audience of the generic preset."""
        return preset_named("generic").audience

    @property
    def jwks_url(self) -> str:
        """The address of the key set. It is the same set for all presets."""
        return f"{self._state.base_url}{endpoints.JWKS}"

    @property
    def discovery_url(self) -> str:
        """The address of the discovery document."""
        return f"{self._state.base_url}{endpoints.DISCOVERY}"

    @property
    def introspection_url(self) -> str:
        """The address of token introspection (RFC 7662)."""
        return f"{self._state.base_url}{endpoints.INTROSPECT}"

    @property
    def revocation_url(self) -> str:
        """The address of token revocation (RFC 7009)."""
        return f"{self._state.base_url}{endpoints.REVOKE}"

    @property
    def token_url(self) -> str:
        """The address of the token endpoint: codes, refresh tokens and client credentials."""
        return f"{self._state.base_url}{endpoints.TOKEN}"

    def preset(self, name: str) -> PresetInfo:
        """Return what an app is configured with, to accept the tokens of a preset.

        Raises:
            ValueError: There is no preset of this name.
        """
        found = preset_named(name)
        base = self._state.base_url
        issuer, jwks_url = tokens.issuer_of(self._state, found), f"{base}{found.jwks_path}"
        settings = {one: value.replace(JWKS, jwks_url) for one, value in found.settings.items()}
        if found.issuer == BASE and issuer != base:  # its discovery document is somewhere else, if it has one
            settings |= {"MOONKEY_OIDC_ISSUER": issuer, "MOONKEY_OIDC_JWKS_URL": jwks_url}
        return PresetInfo(
            issuer,
            found.audience,
            found.client_id,
            found.algorithm,
            jwks_url,
            tuple({**COMMON_KINDS, **found.kinds}),
            {one: value.replace(BASE, base) for one, value in settings.items()},
        )

    def sign_in(
        self,
        email: str = DEMO_EMAIL,
        preset: str = "generic",
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        algorithm: str | None = None,
        life: float | None = None,
        age: float = 0,
        claims: Mapping[str, Any] | None = None,
    ) -> OidcSignedIn:
        """Sign a user in, without a login.

        Args:
            email: The user's address. The same one is the same user.
            preset: The shape of the tokens.
            user_id: The user's id instead of the one that belongs to the address.
            session_id: The id of the session instead of a new one, such as for a newer token of the same session.
            algorithm: The signature; the preset's if not given.
            life: The seconds from ``iat`` to ``exp``; the preset's if not given.
            age: How many seconds ago the tokens were issued.
            claims: Claims of all its tokens, which replace the usual ones.

        Raises:
            ValueError: There is no such preset or algorithm.
        """
        state = self._state
        with state.lock:
            signing_in = tokens.signing_in(preset, email, user_id, session_id, claims or {})
            shape = preset_named(preset)
            wish = tokens.Wish(algorithm=algorithm, life=life, age=age)
            has_id_token = "id" in shape.kinds
            return OidcSignedIn(
                signing_in.user_id,
                signing_in.session_id if shape.session_id else "",
                tokens.signed(state, signing_in, wish),
                tokens.opaque(state, signing_in, wish),
                tokens.signed(state, signing_in, tokens.Wish("id", algorithm, life, age)) if has_id_token else "",
                tokens.refreshing(state, signing_in),
            )

    def token(
        self,
        preset: str = "generic",
        kind: str = "user",
        *,
        email: str = DEMO_EMAIL,
        user_id: str | None = None,
        session_id: str | None = None,
        algorithm: str | None = None,
        life: float | None = None,
        age: float = 0,
        header: Mapping[str, Any] | None = None,
        key: str = "current",
        drop: Iterable[str] = (),
        claims: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> str:
        """Return a signed token with arbitrary content.

        Args:
            preset: The shape, such as ``"auth0"`` or ``"entra-v2"``.
            kind: ``"user"`` for an access token of a user, or what only looks like one: ``"id"``, ``"machine"``,
                ``"logout"``, ``"dpop"``, ``"encrypted"`` and more, by preset: ``preset(name).kinds``.
            email: The user's address. The same one is the same user.
            user_id: The user's id instead.
            session_id: The session's id; a new one if not given.
            algorithm: The signature: also ``"HS256"`` and the like, by a secret, and ``"none"``.
            life: The seconds from ``iat`` to ``exp``; the preset's if not given.
            age: How many seconds ago it was issued.
            header: The members that replace those of its header.
            key: ``"current"``; ``"foreign"`` for one that is not published; ``"imposter"`` for that one under the
                key id of the current one; ``"public"`` with ``HS256`` for the published key used as a secret.
            drop: The names of claims and header members to leave out.
            claims: The claims that replace the usual ones.
            more: The same, as arguments: ``token(iss="https://evil.example")``.

        Raises:
            ValueError: There is no such preset, kind, algorithm or key.
        """
        wish = tokens.Wish(kind, algorithm, life, age, header or {}, key, tuple(drop), {**(claims or {}), **more})
        with self._state.lock:
            return tokens.signed(self._state, self._signing_in(preset, email, user_id, session_id), wish)

    def opaque_token(
        self,
        preset: str = "generic",
        kind: str = "user",
        *,
        email: str = DEMO_EMAIL,
        user_id: str | None = None,
        session_id: str | None = None,
        life: float | None = None,
        age: float = 0,
        drop: Iterable[str] = (),
        claims: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> str:
        """Return a token that only introspection can read. The arguments are those of ``token``."""
        wish = tokens.Wish(kind, life=life, age=age, drop=tuple(drop), claims={**(claims or {}), **more})
        with self._state.lock:
            return tokens.opaque(self._state, self._signing_in(preset, email, user_id, session_id), wish)

    def _signing_in(self, preset: str, email: str, user_id: str | None, session_id: str | None) -> SignIn:
        return tokens.signing_in(preset, email, user_id, session_id, {})

    def revoke(
        self, token: str | None = None, *, session_id: str | None = None, user_id: str | None = None
    ) -> None:
        """End a token, all tokens of a session, or all of a user: introspection calls them inactive from now on.

        The signature of a JWT stays valid. With a refresh token its whole session ends.

        Raises:
            ValueError: Not exactly one of them is named.
        """
        if [token, session_id, user_id].count(None) != 2:
            raise ValueError("name a token, a session_id or a user_id")
        with self._state.lock:
            if token is not None:
                tokens.revoke(self._state, token)
            else:
                tokens.revoke_sessions(self._state, session_id, user_id)

    def jwks(self) -> Json:
        """Return the key set, as it is published now."""
        with self._state.lock:
            return self._state.key_set()

    def pem(self, algorithm: str | None = None) -> str:
        """Return the current public key of an algorithm as PEM; of the first one if not given."""
        with self._state.lock:
            return self._state.keys.current(algorithm or self._state.keys.first).pem()

    def kid(self, algorithm: str | None = None) -> str:
        """Return the id of the current key of an algorithm; of the first one if not given."""
        with self._state.lock:
            return self._state.keys.current(algorithm or self._state.keys.first).kid

    def private_key(self, algorithm: str | None = None) -> PrivateKey:
        """Return the current private key of an algorithm, for tests that sign unusual tokens themselves."""
        with self._state.lock:
            return self._state.keys.current(algorithm or self._state.keys.first).private_key

    def rotate_keys(self, keep_old: bool = True, algorithm: str | None = None) -> None:
        """Sign with new keys from now on; ``keep_old`` still publishes the old ones.

        Args:
            keep_old: Whether tokens of the old keys can still be verified.
            algorithm: The one algorithm that gets a new key; all if not given.

        Raises:
            ValueError: There is no such algorithm.
        """
        with self._state.lock:
            self._state.keys.rotate(keep_old, algorithm)

    def key_set(
        self,
        *,
        alg: bool = True,
        use: bool = True,
        members: Mapping[str, Any] | None = None,
        extra: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Choose how the key set is published from now on.

        Args:
            alg: Whether each key says its algorithm; Entra's keys do not.
            use: Whether each key says that it is for signatures.
            members: Members of each key, such as ``{"issuer": …}``; ``None`` leaves one out.
            extra: Further entries, such as keys of an unknown type.

        Raises:
            ValueError: There are too many further entries.
        """
        if len(extra) > MAX_EXTRA_KEYS:
            raise ValueError(f"there may be at most {MAX_EXTRA_KEYS} further keys")
        silent = {**({} if alg else {"alg": None}), **({} if use else {"use": None})}
        with self._state.lock:
            self._state.key_members = {**silent, **(members or {})}
            self._state.extra_keys = [dict(one) for one in extra]

    def discovery(self, **members: Any) -> None:
        """Replace members of the discovery document, such as ``issuer``; ``None`` leaves one out.

        Without arguments it is as usual again.
        """
        with self._state.lock:
            self._state.discovery = members

    def introspection(self, **members: Any) -> None:
        """Replace members of the replies about active tokens, such as ``iss``; ``None`` leaves one out.

        Without arguments they are as usual again.
        """
        with self._state.lock:
            self._state.introspection = members

    def add_client(
        self,
        client_id: str,
        secret: str | None = None,
        public_key: str | Mapping[str, Any] | None = None,
        methods: Collection[str] | None = None,
        assertion_audience: str | None = None,
    ) -> None:
        """Add a client that may ask for tokens, introspect and revoke, or replace the one with this id.

        Args:
            client_id: Its id. ``demo-api`` is there from the beginning.
            secret: Its secret, for Basic and post.
            public_key: The key of its assertions (private-key JWT): PEM, or a JWK.
            methods: The accepted ones of ``client_secret_basic``, ``client_secret_post`` and ``private_key_jwt``;
                all that it can do if not given.
            assertion_audience: The one ``aud`` that its assertions must have; if not given, the issuer, the token
                endpoint or the endpoint that is called.

        Raises:
            ValueError: A part is missing, or is not what it should be.
        """
        client = make_client(client_id, secret, public_key, methods, assertion_audience)
        with self._state.lock:
            self._state.add_client(client)

    def reset(self) -> None:
        """Start over: no tokens, clients, faults or skew; settings and the current keys remain."""
        with self._state.lock:
            self._state.reset()
