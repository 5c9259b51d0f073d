"""Client authentication at the issuer's endpoints: Basic, post, or a signed assertion."""

from __future__ import annotations

import hmac
import json
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import unquote_plus

import jwt

from moonkey_core.emulator.guarded import basic_credentials
from moonkey_core.emulator.oidc.errors import OAuthError, invalid_client, invalid_request
from moonkey_core.emulator.oidc.keys import ALGORITHMS
from moonkey_core.emulator.oidc.records import Client
from moonkey_core.emulator.oidc.state import OidcState

BASIC, POST, PRIVATE_KEY = "client_secret_basic", "client_secret_post", "private_key_jwt"
METHODS: tuple[str, ...] = (BASIC, POST, PRIVATE_KEY)
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_ASSERTION_SECONDS = 3_600.0


def make_client(
    client_id: str,
    secret: str | None,
    public_key: str | Mapping[str, Any] | None,
    methods: Collection[str] | None,
    assertion_audience: str | None,
) -> Client:
    """Check the parts of a client and put them together.

    Raises:
        ValueError: A part is missing, or is not what it should be.
    """
    if not client_id or (secret is None and public_key is None):
        raise ValueError("a client has an id, and a secret or a public key")
    accepted = frozenset(
        methods or ([BASIC, POST] if secret is not None else []) + ([PRIVATE_KEY] if public_key else [])
    )
    if not accepted <= set(METHODS):
        raise ValueError(f"methods must be of {', '.join(METHODS)}")
    if (PRIVATE_KEY in accepted and public_key is None) or (secret is None and accepted & {BASIC, POST}):
        raise ValueError("a client that uses a secret has one, and one that signs has a public key")
    key = public_key
    if isinstance(public_key, Mapping):
        try:
            key = jwt.PyJWK(dict(public_key)).key
        except jwt.PyJWTError as error:
            raise ValueError(f"public_key is not a key: {error}") from None
    return Client(client_id, secret, key, accepted, assertion_audience)


def authenticated(
    state: OidcState, authorization: str | None, form: Mapping[str, str], audiences: Collection[str]
) -> Client:
    """Return the client that makes a request.

    Args:
        state: The state of the issuer.
        authorization: The ``Authorization`` header, if there is one.
        form: The fields of the body.
        audiences: What the ``aud`` of an assertion may be where its client has no setting for it.

    Raises:
        OAuthError: It is unknown or not authenticated, or uses more than one method (RFC 6749, section 2.3).
    """
    ways = [authorization is not None, "client_secret" in form, "client_assertion" in form]
    if sum(ways) > 1:
        raise invalid_request("more than one method of client authentication")
    if authorization is not None:
        return _by_secret(state, BASIC, *_basic(authorization))
    if "client_assertion" in form:
        return _by_assertion(state, form, audiences)
    if "client_secret" in form:
        return _by_secret(state, POST, form.get("client_id", ""), form["client_secret"])
    raise invalid_client("the client is not authenticated", challenge=True)


def _basic(authorization: str) -> tuple[str, str]:
    """Return id and secret of a Basic header: each form-encoded first (RFC 6749, section 2.3.1)."""
    found = basic_credentials(authorization)
    if found is None:
        raise invalid_client("the Authorization header is not Basic", challenge=True)
    name, secret = found
    return unquote_plus(name), unquote_plus(secret)


def _by_secret(state: OidcState, method: str, name: str, secret: str) -> Client:
    client = state.clients.get(name)
    if (
        client is None
        or client.secret is None
        or method not in client.methods
        or not hmac.compare_digest(client.secret.encode(), secret.encode("utf-8", "replace"))
    ):
        raise invalid_client("unknown client, wrong secret, or another method", challenge=method == BASIC)
    return client


def _by_assertion(state: OidcState, form: Mapping[str, str], audiences: Collection[str]) -> Client:
    """Return the client of an assertion, with all checks of RFC 7523, section 3."""
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        raise invalid_request(f"client_assertion_type must be {ASSERTION_TYPE}")
    assertion = form["client_assertion"]
    client = state.clients.get(_claimed_subject(assertion))
    if client is None or client.public_key is None or PRIVATE_KEY not in client.methods:
        raise invalid_client("unknown client, or another method", challenge=False)
    if form.get("client_id", client.client_id) != client.client_id:
        raise invalid_client("client_id is not the assertion's subject", challenge=False)
    claims = _checked(state, client, assertion, audiences)
    if state.is_replay(client.client_id, claims["jti"], claims["exp"]):
        raise invalid_client("the assertion was used before", challenge=False)
    return client


def _claimed_subject(assertion: str) -> str:
    try:
        subject = jwt.decode(assertion, options={"verify_signature": False}).get("sub")
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise invalid_client("the assertion is not a JWT", challenge=False) from None
    return subject if isinstance(subject, str) else ""


def _checked(state: OidcState, client: Client, assertion: str, audiences: Collection[str]) -> dict[str, Any]:
    wanted = list(audiences) if client.assertion_audience is None else [client.assertion_audience]
    try:
        claims = jwt.decode(
            assertion,
            client.public_key,
            algorithms=list(ALGORITHMS),
            audience=wanted,
            issuer=client.client_id,
            subject=client.client_id,
            # Its times are judged by the emulator's clock below.
            options={
                "require": ["iss", "sub", "aud", "exp", "jti"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise _bad_assertion(str(error)) from None
    end = claims["exp"]
    if isinstance(end, bool) or not isinstance(end, int | float):
        raise _bad_assertion("exp is not a number")
    if not state.now() < end <= state.now() + MAX_ASSERTION_SECONDS:
        raise _bad_assertion("exp is over, or more than an hour away")
    return claims


def _bad_assertion(why: str) -> OAuthError:
    return invalid_client(f"the assertion is not valid: {json.dumps(why)}", challenge=False)
