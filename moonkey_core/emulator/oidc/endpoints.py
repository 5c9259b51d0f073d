"""The issuer's endpoints: discovery, the key set, introspection, revocation, and a login without a password."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from moonkey_core.emulator import fields
from moonkey_core.emulator.endpoints import Answer, endpoint
from moonkey_core.emulator.gateway import is_loopback
from moonkey_core.emulator.oidc import clients, tokens
from moonkey_core.emulator.oidc.errors import OAuthError, invalid_grant, invalid_request
from moonkey_core.emulator.oidc.presets import PRESETS
from moonkey_core.emulator.oidc.records import Client, Issued, SignIn
from moonkey_core.emulator.oidc.state import CODE_SECONDS, OidcState
from moonkey_core.emulator.pkce import proves
from moonkey_core.emulator.records import Json, random_text
from moonkey_core.emulator.redirects import redirection, with_query

DEMO_EMAIL = "demo@example.com"
JWKS, TOKEN, INTROSPECT, REVOKE, AUTHORIZE = "/jwks", "/token", "/introspect", "/revoke", "/authorize"
DISCOVERY = "/.well-known/openid-configuration"
MAX_CODES = 1_000

# The key set and the endpoints stand where each vendor has them, too.
_JWKS_PATHS = (
    JWKS,
    "/.well-known/jwks.json",
    "/{path:path}/.well-known/jwks.json",
    "/{path:path}/protocol/openid-connect/certs",
    "/{path:path}/v1/keys",
    "/{tenant}/discovery/v2.0/keys",
    "/{tenant}/discovery/keys",
    "/sso/jwks/{client}",
    "/service_accounts/v1/jwk/{account}",
    "/v1/sessionCookiePublicKeys",
)
_INTROSPECT_PATHS = (
    INTROSPECT,
    "/{path:path}/v1/introspect",
    "/{path:path}/protocol/openid-connect/token/introspect",
)
_REVOKE_PATHS = (REVOKE, "/{path:path}/v1/revoke", "/{path:path}/protocol/openid-connect/revoke")

Form = Mapping[str, str]


def routes(state: OidcState) -> list[Route]:
    """Return the routes of the issuer."""

    def get(path: str, answer: Answer) -> Route:
        return Route(path, endpoint(state, answer), methods=["GET"])

    def post(path: str, answer: Callable[[OidcState, Client, Form], Json | Response]) -> Route:
        return Route(path, endpoint(state, partial(_from_client, state, answer)), methods=["POST"])

    return [
        get(DISCOVERY, lambda _, __: discovery(state, state.issuer)),
        get(f"/{{path:path}}{DISCOVERY}", lambda request, _: discovery(state, _own_address(state, request))),
        *(get(path, lambda _, __: state.key_set()) for path in _JWKS_PATHS),
        *(post(path, introspection) for path in _INTROSPECT_PATHS),
        *(post(path, revocation) for path in _REVOKE_PATHS),
        post(TOKEN, token),
        get(AUTHORIZE, lambda request, _: authorize(state, request)),
    ]


def _own_address(state: OidcState, request: Request) -> str:
    return f"{state.base_url}/{request.path_params['path']}"


def discovery(state: OidcState, issuer: str) -> Json:
    """Return the discovery document (OpenID Connect Discovery 1.0, section 3), with what was replaced in it."""
    base = state.base_url
    document: Json = {
        "issuer": issuer,
        "authorization_endpoint": f"{base}{AUTHORIZE}",
        "token_endpoint": f"{base}{TOKEN}",
        "jwks_uri": f"{base}{JWKS}",
        "introspection_endpoint": f"{base}{INTROSPECT}",
        "revocation_endpoint": f"{base}{REVOKE}",
        "response_types_supported": ["code"],
        "grant_types_supported": list(_GRANTS),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted({key.algorithm for key in state.keys.published()}),
        "token_endpoint_auth_methods_supported": list(clients.METHODS),
        "introspection_endpoint_auth_methods_supported": list(clients.METHODS),
        "revocation_endpoint_auth_methods_supported": list(clients.METHODS),
        "code_challenge_methods_supported": ["S256"],
        "acr_values_supported": ["1", "2"],
    }
    return {name: value for name, value in {**document, **state.discovery}.items() if value is not None}


def _from_client(
    state: OidcState, answer: Callable[[OidcState, Client, Form], Json | Response], request: Request, raw: bytes
) -> Json | Response:
    """Answer a form that an authenticated client has sent."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise invalid_request("the body must be a form")
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, strict_parsing=bool(raw), max_num_fields=50)
    except ValueError:
        raise invalid_request("the body is not a form") from None
    if len({name for name, _ in pairs}) != len(pairs):
        raise invalid_request("a field is repeated")
    called = f"{state.base_url}{request.url.path}"
    audiences = (state.issuer, f"{state.base_url}{TOKEN}", called)
    form = dict(pairs)
    client = clients.authenticated(state, request.headers.get("authorization"), form, audiences)
    return answer(state, client, form)


def _token_of(form: Form) -> str:
    if not form.get("token"):
        raise invalid_request("token is required")
    return form["token"]


def introspection(state: OidcState, _: Client, form: Form) -> Json:
    """Answer a token introspection request (RFC 7662)."""
    found = state.active(_token_of(form))
    if found is None:
        return {"active": False}
    reply = {**_introspected(found), **state.introspection}
    return {name: value for name, value in reply.items() if value is not None}


def _introspected(issued: Issued) -> Json:
    """Return what introspection says of a token: its claims, and the names of RFC 7662 for what it calls else."""
    claims = issued.claims
    scopes = claims.get("scp")
    client = next((claims[name] for name in ("client_id", "cid", "azp", "appid") if name in claims), None)
    return {
        **({"scope": " ".join(scopes)} if isinstance(scopes, list) else {}),
        **({} if client is None else {"client_id": client}),
        **({} if issued.is_refresh else {"token_type": "Bearer"}),
        **claims,
        "active": True,
    }


def revocation(state: OidcState, _: Client, form: Form) -> Response:
    """Answer a token revocation request (RFC 7009): 200 also for a token that is unknown."""
    tokens.revoke(state, _token_of(form))
    return Response(status_code=200, headers={"cache-control": "no-store"})


def authorize(state: OidcState, request: Request) -> Response:
    """Answer an authorization request as if the user had signed in: ``login_hint``, or ``demo@example.com``.

    The ``acr`` is the first of ``acr_values``. Codes go to addresses of this machine only.
    """
    query = dict(request.query_params)
    back = urlsplit(query.get("redirect_uri", ""))
    if back.scheme not in ("http", "https") or not is_loopback(back.hostname or "") or back.fragment:
        raise invalid_request("redirect_uri must be an address of this machine")
    if query.get("client_id") not in state.clients:
        raise invalid_request("client_id is unknown")
    if query.get("response_type") != "code":
        raise invalid_request("response_type must be code")
    if query.get("code_challenge") and query.get("code_challenge_method") != "S256":
        raise invalid_request("code_challenge_method must be S256")
    email = fields.email({"email": query.get("login_hint") or DEMO_EMAIL})
    acr = query.get("acr_values", "").split()
    claims = {**({"acr": acr[0]} if acr else {}), **({"nonce": query["nonce"]} if query.get("nonce") else {})}
    sign_in = tokens.signing_in("generic", email, None, None, claims)
    code = random_text(40)
    state.codes[code] = (sign_in, query, state.now() + CODE_SECONDS)
    if len(state.codes) > MAX_CODES:
        del state.codes[next(iter(state.codes))]
    answer = {"code": code, **({"state": query["state"]} if "state" in query else {})}
    return redirection(with_query(query["redirect_uri"], **answer))


def token(state: OidcState, client: Client, form: Form) -> Json:
    """Answer a token request (RFC 6749): an authorization code, a refresh token, or a client for itself."""
    grant = _GRANTS.get(form.get("grant_type", ""))
    if grant is None:
        raise OAuthError(400, "unsupported_grant_type", f"grant_type must be one of {', '.join(_GRANTS)}")
    return grant(state, client, form)


def _by_code(state: OidcState, client: Client, form: Form) -> Json:
    sign_in, query, until = state.codes.pop(form.get("code", ""), (None, {}, 0.0))
    if sign_in is None or until <= state.now():
        raise invalid_grant("the code is wrong, used or expired")
    if query["client_id"] != client.client_id or query["redirect_uri"] != form.get("redirect_uri"):
        raise invalid_grant("the code was issued to another client or address")
    if query.get("code_challenge") and not proves(form.get("code_verifier", ""), query["code_challenge"]):
        raise invalid_grant("code_verifier is wrong")
    identity = tokens.Wish(kind="id", claims={"aud": client.client_id})
    access_claims = {name: value for name, value in sign_in.claims.items() if name != "nonce"}
    access = SignIn(sign_in.preset, sign_in.email, sign_in.user_id, sign_in.session_id, access_claims)
    return {
        **_access(state, access, tokens.Wish(claims={"client_id": client.client_id})),
        "id_token": tokens.signed(state, sign_in, identity),
        "refresh_token": tokens.refreshing(state, access),
    }


def _by_refresh_token(state: OidcState, _: Client, form: Form) -> Json:
    given = form.get("refresh_token", "")
    found = state.active(given)
    if found is None or not found.is_refresh:
        raise invalid_grant("the refresh token is wrong, expired or revoked")
    return {**_access(state, found.sign_in, tokens.Wish()), "refresh_token": given}


def _by_client(state: OidcState, client: Client, _: Form) -> Json:
    own = SignIn("generic", "", client.client_id, "", {"sub": client.client_id, "client_id": client.client_id})
    return _access(state, own, tokens.Wish(kind="machine"))


def _access(state: OidcState, sign_in: SignIn, wish: tokens.Wish) -> Json:
    access = tokens.signed(state, sign_in, wish)
    return {"access_token": access, "token_type": "Bearer", "expires_in": PRESETS[sign_in.preset].life}


_GRANTS: dict[str, Callable[[OidcState, Client, Form], Json]] = {
    "authorization_code": _by_code,
    "refresh_token": _by_refresh_token,
    "client_credentials": _by_client,
}
