"""Where each credential goes, where a client has several providers. Worked out when the settings are made.

A JWT goes to the provider whose closed list of issuers holds its ``iss``, an opaque credential to the one that
owns the place in which it stands: a header or a cookie. So no credential is shown to a second provider.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from moonkey_core._dataclass import dataclass
from moonkey_core._provider import Provider, cookie_defaults_of
from moonkey_core.errors import ConfigurationError
from moonkey_core.settings.cookie_settings import CookieSettings, cookie_settings
from moonkey_core.settings.fields import header_names
from moonkey_core.settings.provider_choice import MOONKEY, ChosenProvider, name_of

_AUTHORIZATION = ("authorization",)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Routes:
    """Which provider a credential goes to, by the names of the providers.

    Attributes:
        members: The ``Settings`` of each provider, in the configured order.
        issuers: The provider of each issuer.
        headers: The provider to which the opaque credentials in each header belong.
    """

    members: Mapping[str, Any]
    issuers: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def opaque_owners(self) -> frozenset[str]:
        """The providers to which any opaque credential may belong."""
        with_cookies = (name for name, one in self.members.items() if one.cookies is not None)
        return frozenset((*self.headers.values(), *with_cookies))


class Routed:
    """What the settings of a client with several providers know beyond their values.

    Attributes:
        routes: Where each credential goes; ``None`` where there is one provider only.
        own_name: The provider that these settings are for; ``None`` for those of the whole client.
        adds_to_responses: Whether responses may get more than what every response gets that depends on identity.
        identity_headers: The request headers that may hold a credential.
        needs_request_info: Whether more of a request is needed than its headers: method, scheme, peer address.
        records_by_user: Whether a second factor that was recorded counts for all clients of its user.
        session_limit: How long a session lasts at most, where the app notes its start as the tokens of the
            provider do not say it; ``None`` where nothing is noted.
        token_prefix: What session tokens of the provider are written with, and without; empty: with nothing.
    """

    __slots__ = (
        "adds_to_responses", "identity_headers", "needs_request_info", "own_name", "records_by_user", "routes",
        "session_limit", "token_prefix",
    )  # fmt: skip

    routes: Routes | None
    own_name: str | None
    adds_to_responses: bool
    identity_headers: tuple[str, ...]
    needs_request_info: bool
    records_by_user: bool
    session_limit: timedelta | None
    token_prefix: str


def _changes(settings: Any, provider: Provider, moonkey_only: Mapping[str, str]) -> dict[str, Any]:
    """Return what is other for a provider than MoonKey: what it does not know is as if it had not been set."""
    unknown = {name for name, needed in moonkey_only.items() if needed not in provider.capabilities}
    reset = {field.name: field.default for field in dataclasses.fields(settings) if field.name in unknown}
    return {**reset, **_own_secrets(settings), "provider": provider}


def set_routes(settings: Any, moonkey_only: Mapping[str, str]) -> None:
    """Work out the routes of settings with several providers, and the settings of each of these.

    Args:
        settings: The settings, with all their values.
        moonkey_only: The names of settings that have no meaning for another provider than MoonKey, each with the
            capability with which it has one, if any.

    Raises:
        ConfigurationError: Two providers have one issuer, or one place for opaque credentials.
    """
    headers = {name_of(one): _headers_of(one, settings) for one in settings.providers}
    for one in settings.providers:
        check_header_names(headers[name_of(one)], one)
    union = tuple(dict.fromkeys(header for found in headers.values() for header in found))
    cookies = _cookies_by_name(settings)
    members = {
        name_of(one): _member(
            settings,
            {} if one == MOONKEY else _changes(settings, one, moonkey_only),
            providers=(),
            credential_headers=union,
            cookies=cookies.get(name_of(one)),
        )
        for one in settings.providers
    }
    routes = Routes(
        members,
        _owners(
            ((name_of(one), issuer) for one in settings.providers for issuer in _issuers_of(one, settings)),
            "the issuer {place!r} belongs to both {one!r} and {other!r}. A JWT goes to one provider by its iss: "
            "leave one of the two out.",
        ),
        _owners(
            ((name, header) for one in settings.providers if takes_opaque(one) for name in (name_of(one),)
             for header in headers[name]),
            "an opaque credential in the header {place!r} could belong to both {one!r} and {other!r}. Give "
            "{movable!r} a header of its own, and have clients send its credentials there: "
            '….at(credential_headers="x-{word}-session").',
        ),
    )  # fmt: skip
    _owners(
        ((name, cookie) for name, one in cookies.items() for cookie in one.all_names),
        "the cookie {place!r} could belong to both {one!r} and {other!r}. Give one of them other names.",
    )
    for name, member in members.items():
        _set(member, routes=routes, own_name=name)
    lead = members.get(MOONKEY) or next(iter(members.values()))
    first = lead.cookies or next((one.cookies for one in members.values() if one.cookies is not None), None)
    _set(settings, routes=routes, own_name=None, credential_headers=union, cookies=first)


def takes_opaque(chosen: ChosenProvider) -> bool:
    """Return whether a provider can be asked about opaque credentials."""
    if isinstance(chosen, str):
        return True
    return "introspect" in chosen.capabilities and getattr(chosen, "takes_opaque", True)


def own_headers(chosen: ChosenProvider) -> tuple[str, ...]:
    """Return the headers that a provider names as its own; none where it has the usual one.

    Raises:
        ConfigurationError: One of them is no name of a header.
    """
    found = getattr(chosen, "credential_headers", None) or ()
    try:
        return header_names(found) if found else ()
    except ValueError as error:
        raise ConfigurationError(f"The credential_headers of the provider {name_of(chosen)!r}: {error}") from None


def own_cookies(chosen: ChosenProvider) -> CookieSettings | None:
    """Return the cookies that a provider names as its own, if any.

    Raises:
        ConfigurationError: They are of another type.
    """
    try:
        return cookie_settings(getattr(chosen, "cookies", None))
    except ValueError as error:
        raise ConfigurationError(f"The cookies of the provider {name_of(chosen)!r}: {error}") from None


def cookies_of(chosen: object, cookies: CookieSettings) -> CookieSettings:
    """Return the settings of a provider's cookies: with its own names and owner, where it has some.

    Raises:
        ConfigurationError: One of the names is that of a cookie that holds no session.
    """
    defaults = cookie_defaults_of(chosen)
    return cookies if defaults is None else cookies.of_provider(defaults)


def check_header_names(headers: Iterable[str], chosen: object) -> None:
    """Refuse a header of credentials that has the name of something that is no session of this provider.

    Raises:
        ConfigurationError: There is one.
    """
    defaults = cookie_defaults_of(chosen)
    for name in headers:
        if defaults is not None and name.replace("-", "_") in defaults.no_sessions:
            raise ConfigurationError(f"credential_headers: {name} holds no session. Leave it out.")


def _headers_of(chosen: ChosenProvider, settings: Any) -> tuple[str, ...]:
    if not isinstance(chosen, str):
        return own_headers(chosen) or _AUTHORIZATION
    found: tuple[str, ...] = settings.credential_headers
    return found


def _issuers_of(chosen: ChosenProvider, settings: Any) -> tuple[str, ...]:
    if isinstance(chosen, str):
        found: tuple[str, ...] = settings.jwt_issuer
        return found
    found = getattr(chosen, "issuers", ()) if chosen.jwt_rules is None else chosen.jwt_rules.issuers
    return tuple(found)


def _cookies_by_name(settings: Any) -> dict[str, CookieSettings]:
    """Return the cookies of each provider. Those of the ``cookies`` setting are MoonKey's, where it is among them.

    Raises:
        ConfigurationError: It is not clear whose they are.
    """
    chosen = {name_of(one): one for one in settings.providers}
    own = {name: cookies for name, one in chosen.items() if (cookies := own_cookies(one)) is not None}
    found = {name: cookies_of(chosen[name], cookies) for name, cookies in own.items()}
    if settings.cookies is None:
        return found
    free = [name_of(one) for one in settings.providers if name_of(one) not in found and takes_opaque(one)]
    owner = MOONKEY if MOONKEY in free else free[0] if len(free) == 1 else None
    if owner is None:
        raise ConfigurationError(
            "MOONKEY_COOKIES (cookies) could belong to any of several providers, or to none. Pass them to the "
            "provider that they are for: cookies=CookieSettings(…)."
        )
    return {**found, owner: cookies_of(chosen[owner], settings.cookies)}


def _own_secrets(settings: Any) -> dict[str, Any]:
    """Return what protects the data of another provider: the same secrets, but none that MoonKey's API accepts."""
    previous = None if settings.cache_secret is not None else settings.previous_secret_key
    return {
        "secret_key": None,
        "previous_secret_key": None,
        "cache_secret": settings.cache_secret or settings.secret_key,
        "previous_cache_secret": settings.previous_cache_secret or previous,
    }


def _owners(places: Iterable[tuple[str, str]], problem: str) -> dict[str, str]:
    owners: dict[str, str] = {}
    for name, place in places:
        other = owners.setdefault(place, name)
        if other != name:
            movable = other if name == MOONKEY else name  # MoonKey's places are settings
            said = problem.format(
                place=place, one=other, other=name, movable=movable, word=movable.replace("_", "-")
            )
            raise ConfigurationError(f"MOONKEY_PROVIDERS (providers): {said}")
    return owners


def _member(settings: Any, changes: Mapping[str, Any], **more: Any) -> Any:
    """Return a copy of parsed settings with other values, which are parsed as well."""
    made: Any = object.__new__(type(settings))
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    _set(made, **{**values, **changes, **more}, routes=None, own_name=None)
    made.derive()
    return made


def changed(settings: Any, **values: object) -> Any:
    """Return a copy of parsed settings with other parsed values, and so those of each provider among them.

    They are not checked again.
    """
    made = _member(settings, values)
    routes = settings.routes
    if routes is not None and settings.own_name is None:
        routes = dataclasses.replace(
            routes, members={name: changed(one, **values) for name, one in routes.members.items()}
        )
    _set(made, routes=routes, own_name=settings.own_name)
    made.derive()
    return made


def _set(settings: Any, **values: object) -> None:
    for name, value in values.items():
        object.__setattr__(settings, name, value)
