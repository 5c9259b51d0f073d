"""The records of the issuer: sign-ins, issued tokens and clients. Times are Unix seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moonkey_core.emulator.records import Json


@dataclass(frozen=True)
class OidcSignedIn:
    """A fresh sign-in, as ``OidcEmulator.sign_in`` returns it.

    Attributes:
        user_id: The user's id, from the claim that the preset identifies users by.
        session_id: The session's id in the tokens; empty for a preset whose tokens have none.
        access_token: A signed JWT.
        opaque_token: An access token of the same sign-in that only introspection can read.
        id_token: The ID token; empty for a preset without one.
        refresh_token: For ``grant_type=refresh_token`` at the token endpoint.
    """

    user_id: str
    session_id: str
    access_token: str = field(repr=False)
    opaque_token: str = field(repr=False)
    id_token: str = field(repr=False)
    refresh_token: str = field(repr=False)


@dataclass(frozen=True)
class SignIn:
    """What the tokens of one sign-in have in common. ``claims`` are put into each of them."""

    preset: str
    email: str
    user_id: str
    session_id: str
    claims: Json


@dataclass
class Issued:
    """A token that has been issued. ``claims`` is what introspection says of it."""

    sign_in: SignIn
    claims: Json
    expires_at: float
    is_refresh: bool = False
    revoked: bool = False


@dataclass(frozen=True)
class Client:
    """A client of the token, introspection and revocation endpoints.

    Attributes:
        client_id: Its id.
        secret: Its secret, for Basic and post; ``None`` where it has none.
        public_key: The key of its assertions (private-key JWT); ``None`` where it has none.
        methods: The accepted methods of authentication.
        assertion_audience: The one ``aud`` that its assertions must have; ``None`` accepts the issuer, the token
            endpoint and the endpoint that is called.
    """

    client_id: str
    secret: str | None = field(repr=False)
    public_key: Any
    methods: frozenset[str]
    assertion_audience: str | None = None


@dataclass(frozen=True)
class PresetInfo:
    """What an app would be configured with, to accept the tokens of a preset.

    Attributes:
        issuer: The ``iss`` of its tokens.
        audience: The identifier of the API, or the project; empty where the tokens have no ``aud``.
        client_id: The client, or the origin of the page, that its tokens name; may be empty.
        algorithm: The signature of its tokens.
        jwks_url: The key set, at the path where the vendor has it.
        kinds: The kinds of tokens that ``token`` makes.
        settings: The same as variables of the app's environment, with which it finds the keys here.
    """

    issuer: str
    audience: str
    client_id: str
    algorithm: str
    jwks_url: str
    kinds: tuple[str, ...]
    settings: Mapping[str, str]
