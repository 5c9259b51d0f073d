"""From the arguments of ``signed_in`` to a session at the emulator, for each kind of provider."""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

from moonkey_core.errors import ConfigurationError
from moonkey_core.settings import Settings
from moonkey_core.testing.services import CdpService, MoonKeyService, OidcService, StytchService

Age = float | timedelta
"""Seconds, or a ``timedelta``."""

DEFAULT_EMAIL = "ada@example.com"
_MINUTES = 10_080.0  # a week, as the emulators' own default
_MOST_MINUTES = 527_040.0  # of a session at the emulators
_OVER_FOR = 3_600.0  # seconds since an expired session ended: more than any leeway
_JWT_SECONDS = 300

_SHAPES = (
    (r"https://sts\.windows\.net/", "entra-v1"),
    (r"https://login\.microsoftonline\.com/", "entra-v2"),
    (r"https://cognito-idp\.", "cognito"),
    (r"https://securetoken\.google\.com/", "firebase"),
    (r"https://session\.firebase\.google\.com/", "firebase-session-cookie"),
    (r"https://api\.workos\.com/", "workos"),
    (r".*/oauth2/", "okta"),
    (r".*/realms/", "keycloak"),
    (r".*/auth/v1$", "supabase"),
    (r".*\.auth0\.com/$", "auth0"),
    (r".*(\bclerk\b|/clerk$)", "clerk-v2"),
)
"""The shape of an issuer's tokens, by how the issuer is spelled, as far as it says so."""

_WORDS = {
    "auth0": "auth0",
    "okta": "okta",
    "entra": "entra-v2",
    "keycloak": "keycloak",
    "cognito": "cognito",
    "firebase": "firebase",
    "clerk": "clerk-v2",
    "supabase": "supabase",
    "workos": "workos",
}
"""The same, by the name of the provider."""

_AMR = {"totp": "otp", "totp_authenticator": "otp", "email": "otp", "webauthn": "hwk", "passkey": "hwk"}
"""Authentication methods (RFC 8176) for the names of factors."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a test wants of a session; the arguments of ``signed_in``. Ages are seconds."""

    email: str | None = None
    user_id: str | None = None
    roles: Sequence[str] | None = None
    scopes: Sequence[str] | None = None
    permissions: Sequence[str] | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)
    factors: Sequence[str | dict[str, Any]] | None = None
    factor_age: float | None = None
    session_age: float = 0.0
    mfa: bool = False
    expired: bool = False
    organization: str | None = None
    shape: str | None = None

    def __post_init__(self) -> None:
        """Check what would otherwise be taken for something else.

        Raises:
            ValueError: A value is none.
        """
        for name in ("roles", "scopes", "permissions", "factors"):
            given = getattr(self, name)
            if isinstance(given, str):
                raise ValueError(f"{name} is a list of names, not a text. Write {name}={given.split()!r}.")
        if self.email is not None and self.user_id is not None:
            raise ValueError("Give an email or a user_id: each of them says who the user is.")
        if self.minutes > _MOST_MINUTES:
            most = int((_MOST_MINUTES - _MINUTES) / 1_440)
            raise ValueError(f"session_age is too long: no session is more than {most} days old.")

    @property
    def address(self) -> str:
        """The address of the user."""
        return self.email or DEFAULT_EMAIL

    @property
    def all_factors(self) -> list[str | dict[str, Any]]:
        """The factors, a second one among them where one is wanted."""
        named: list[str | dict[str, Any]] = ["email"] if self.factors is None else [*self.factors]
        return [*named, "totp"] if self.mfa and "totp" not in named else named

    @property
    def minutes(self) -> float:
        """The lifetime of the session, in minutes: a week from now, whatever its age."""
        return _MINUTES + self.session_age / 60

    @property
    def age(self) -> float:
        """How many seconds ago the session began."""
        return self.minutes * 60 + _OVER_FOR if self.expired else self.session_age


class Issued(NamedTuple):
    """A session at the emulator. ``token`` and ``jwt`` may be empty, where the provider has none."""

    user_id: str
    session_id: str
    token: str
    jwt: str
    id_token: str = ""


def seconds(age: Age | None) -> float | None:
    """Return an age in seconds.

    Raises:
        ValueError: It is negative.
    """
    if age is None:
        return None
    found = age.total_seconds() if isinstance(age, timedelta) else float(age)
    if not found >= 0:
        raise ValueError("an age must be 0 or more seconds, or a timedelta")
    return found


def sign_in(service: Any, settings: Settings, wish: Wish) -> Issued:
    """Begin a session at the emulator of a provider.

    Raises:
        ValueError: A value is out of range.
        ConfigurationError: The provider has no such thing.
    """
    is_issuer, is_b2b = isinstance(service, OidcService), hasattr(service.emulator, "organization_policy")
    if wish.shape is not None and not is_issuer:
        raise ConfigurationError("`shape` is that of a token of OpenID Connect: the app's provider has none.")
    if wish.organization is not None and not is_b2b and not (is_issuer and shape_of(settings).startswith("clerk")):
        raise ConfigurationError(
            "`organization` is one of Stytch B2B or Clerk. At other providers, give claims={…}."
        )
    for kind, make in _MAKERS:
        if isinstance(service, kind):
            return make(service, settings, wish)
    raise TypeError(f"no sign-in is known for {type(service).__name__}")


def revoke(service: Any, issued: Issued) -> None:
    """End a session at the emulator, as if it were ended elsewhere."""
    if isinstance(service, MoonKeyService | StytchService):
        service.emulator.revoke(issued.session_id)
    else:
        for credential in (issued.token, issued.jwt):
            if credential:
                service.emulator.revoke(credential)


def _claims(wish: Wish, **as_claims: Any) -> dict[str, Any]:
    given = {
        "roles": None if wish.roles is None else list(wish.roles),
        "scope": None if wish.scopes is None else " ".join(wish.scopes),
        "permissions": None if wish.permissions is None else list(wish.permissions),
        **as_claims,
    }
    return {**{name: value for name, value in given.items() if value is not None}, **wish.claims}


def _at_moonkey(service: MoonKeyService, settings: Settings, wish: Wish) -> Issued:
    service.stand_in()
    emulator = service.emulator
    made = emulator.sign_in(
        None if wish.user_id else wish.address,
        wish.user_id,
        minutes=wish.minutes,
        factors=wish.all_factors,
        claims=_claims(wish),
        age=wish.age,
        factor_age=wish.factor_age,
    )
    jwt = made.session_jwt
    if wish.expired:  # its last JWT, which is over as well
        issued_at = int(emulator.now() - _OVER_FOR) - _JWT_SECONDS
        times = {"iat": issued_at, "nbf": issued_at, "exp": issued_at + _JWT_SECONDS}
        jwt = emulator.mint(times, session_id=made.session_id)
    return Issued(made.user_id, made.session_id, made.session_token, jwt)


def _at_stytch(service: StytchService, settings: Settings, wish: Wish) -> Issued:
    emulator: Any = service.emulator
    is_b2b = hasattr(emulator, "organization_policy")
    owner = {"member_id" if is_b2b else "user_id": wish.user_id} if wish.user_id else {"email": wish.address}
    organization = {"organization": wish.organization} if is_b2b and wish.organization else {}
    made = emulator.sign_in(
        **owner,
        **organization,
        minutes=wish.minutes,
        factors=wish.all_factors,
        claims=_claims(wish, roles=None),
        roles=wish.roles,
        age=wish.age,
        factor_age=wish.factor_age,
    )
    jwt = made.session_jwt
    if wish.expired:
        jwt = emulator.token("session", session_id=made.session_id, age=_OVER_FOR + _JWT_SECONDS)
    return Issued(made.user_id, made.session_id, made.session_token, jwt)


def _at_cdp(service: CdpService, settings: Settings, wish: Wish) -> Issued:
    named = [one for one in ("roles", "scopes", "permissions", "factors") if getattr(wish, one) is not None]
    if named:
        raise ConfigurationError(
            f"The sessions of CDP have no {' and '.join(named)}. Leave them out, or give claims={{…}}."
        )
    emulator, life = service.emulator, 900.0
    age = life + _OVER_FOR if wish.expired else wish.session_age
    claims = dict(wish.claims)
    made = emulator.sign_in(
        wish.address, user_id=wish.user_id, life=life + (0 if wish.expired else age), age=age, claims=claims
    )
    if wish.mfa:
        emulator.enroll_mfa(made.user_id)
    return Issued(made.user_id, made.token_id, "", made.access_token)


def shape_of(settings: Settings) -> str:
    """Return the shape of the tokens of a provider at the emulator, such as ``auth0``; ``generic`` by default."""
    provider: Any = settings.provider
    rules = getattr(provider, "jwt_rules", None)
    for issuer in getattr(rules, "issuers", ()):
        for pattern, shape in _SHAPES:
            if re.match(pattern, issuer):
                return shape
    return _WORDS.get(provider.name, "generic")


def _at_issuer(service: OidcService, settings: Settings, wish: Wish) -> Issued:
    provider: Any = settings.provider
    shape = wish.shape or shape_of(settings)
    if shape == "clerk-v2" and not wish.shape and not (wish.roles is None and wish.permissions is None):
        shape = "clerk-v1"  # whose tokens name them one by one
    own = _own_session(service, shape)
    claims = {
        **own,
        **_places(provider, shape),
        **_grants(provider, shape, wish),
        **_times(shape, wish),
        **wish.claims,
    }
    life = 3_600.0
    made = service.emulator.sign_in(
        wish.address,
        shape,
        user_id=wish.user_id,
        life=life,
        age=life + _OVER_FOR if wish.expired else 0,
        claims=claims,
    )
    return Issued(made.user_id, made.session_id, made.opaque_token, made.access_token, made.id_token)


_sign_ins = itertools.count()


def _own_session(service: OidcService, shape: str) -> dict[str, Any]:
    """Return the claims that make a sign-in a session of its own, where the tokens have no id of one.

    Otherwise a user who signs in twice within a second has one session, and ends both by ending one.
    """
    if shape.startswith("firebase"):  # known by the time of the sign-in, in whole seconds
        return {"auth_time": int(service.emulator.now()) - next(_sign_ins) % 60}
    return {"jti": uuid.uuid4().hex} if shape.startswith("auth0") else {}


def _places(provider: Any, shape: str) -> dict[str, Any]:
    """Return the claims that say for whom a token is: those that the app's provider demands."""
    rules, found = getattr(provider, "jwt_rules", None), dict[str, Any]()
    issuer = next(iter(getattr(rules, "issuers", ())), None) or getattr(provider, "_issuer", None)
    if issuer is not None:
        tenant = re.search(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", issuer)
        if tenant is not None and shape.startswith("entra"):
            found["tid"] = tenant.group()
        found["iss"] = issuer
    audiences: Any = getattr(rules, "audience", None) or getattr(provider, "_audiences", ())
    audience = next(iter(audiences), None)
    if audience is not None:
        found[getattr(rules, "audience_claim", None) or "aud"] = audience
    claim_rules = getattr(getattr(provider, "jwt_claims", None), "rules", None)
    clients = sorted(getattr(claim_rules, "clients", ()) or ())
    if clients and claim_rules is not None:
        _put(found, claim_rules.client[0], clients[0])
    return found


def _grants(provider: Any, shape: str, wish: Wish) -> dict[str, Any]:
    if shape.startswith("clerk"):
        return {**_of_clerk(wish), **(_methods(shape, wish) if wish.factors is not None or wish.mfa else {})}
    found: dict[str, Any] = {}
    rules = getattr(getattr(provider, "jwt_claims", None), "rules", None)
    for name in ("roles", "permissions", "scopes"):
        values = getattr(wish, name)
        if values is None:
            continue
        path = next(iter(getattr(rules, name, ())), None)
        if path is None or (shape == "supabase" and tuple(path) == ("role",)):  # that is its kind of user
            configure = "Configure roles_claim of the provider, or give" if name == "roles" else "Give"
            raise ConfigurationError(
                f"The tokens of the provider {provider.name!r} have no {name}, as it is configured. "
                f"{configure} claims={{…}} here."
            )
        is_text = name == "scopes" and shape != "okta"
        _put(found, path, " ".join(values) if is_text else list(values))
    if wish.factors is not None or wish.mfa:
        found |= _methods(shape, wish)
    return found


def _of_clerk(wish: Wish) -> dict[str, Any]:
    """Return a user's role and permissions in an organization, which the kit makes up."""
    if wish.scopes is not None or len(wish.roles or ()) > 1:
        raise ConfigurationError("A session of Clerk has one role in an organization, and no scopes.")
    if wish.roles is None and wish.permissions is None:
        return {}
    return {
        "org_id": "org_test",
        "org_slug": wish.organization or "test",
        "org_role": next(iter(wish.roles or ()), "org:member"),
        "org_permissions": list(wish.permissions or ()),
    }


def _methods(shape: str, wish: Wish) -> dict[str, Any]:
    named = [one if isinstance(one, str) else str(one.get("type", "")) for one in wish.all_factors]
    if shape.startswith("clerk"):
        minutes = int((wish.factor_age or 0) // 60)
        return {"fva": [minutes, minutes if len(named) > 1 else -1]}
    if shape == "supabase":
        return {"aal": "aal2" if len(named) > 1 else "aal1", "amr": named}
    methods = list(dict.fromkeys([*named, *(_AMR[one] for one in named if one in _AMR)]))
    return {"amr": [*methods, "mfa"] if len(named) > 1 else methods}


def _times(shape: str, wish: Wish) -> dict[str, Any]:
    from moonkey_core import _clock

    if wish.factor_age is None and not wish.session_age:
        return {}
    age = wish.session_age if wish.factor_age is None else wish.factor_age
    if wish.factor_age is not None and wish.session_age and wish.factor_age != wish.session_age:
        raise ConfigurationError(
            "A token of OpenID Connect has one time of authentication, auth_time. Give factor_age or session_age."
        )
    return {"auth_time": int(_clock.wall() - age)}


def _put(found: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        found = found.setdefault(name, {})
    found[path[-1]] = value


_MAKERS: tuple[tuple[type, Callable[[Any, Settings, Wish], Issued]], ...] = (
    (MoonKeyService, _at_moonkey),
    (StytchService, _at_stytch),
    (CdpService, _at_cdp),
    (OidcService, _at_issuer),
)
