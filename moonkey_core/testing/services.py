"""Which emulator stands in the place of which provider, and how a call of an app reaches it.

An emulator takes over what the app is configured with: its API key, its issuer, its project. So the app is tested
with its own settings, and nothing of the verification is different.
"""

from __future__ import annotations

import base64
import copy
import json
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from moonkey_core.emulator import CdpEmulator, Emulator, OidcEmulator, StytchB2BEmulator, StytchEmulator
from moonkey_core.emulator.cdp.records import ApiKeyRecord
from moonkey_core.emulator.gateway import Gateway
from moonkey_core.provider import CDP, Introspection, KeySource, OidcProvider, Stytch, StytchB2B
from moonkey_core.settings import Settings
from moonkey_core.testing.transport import Call, EmulatedReply, KitTransport, Service, origin_of, play_in_process

AnyEmulator = Emulator | OidcEmulator | StytchEmulator | StytchB2BEmulator | CdpEmulator

_DISCOVERY = "/.well-known/openid-configuration"
_CLIENT_FIELDS = frozenset({"client_id", "client_secret", "client_assertion", "client_assertion_type"})


class UnknownProvider(TypeError):
    """A provider that no emulator stands in for."""


class Emulators:
    """The emulators of a process, each made when it is first needed: to make a key takes a moment.

    Args:
        offline: Whether they answer in the process, and open no socket.
    """

    def __init__(self, *, offline: bool = False) -> None:
        self.offline: bool = offline
        self._made: dict[tuple[object, ...], AnyEmulator] = {}
        self._gateways: dict[int, Gateway] = {}
        self._kits: weakref.WeakSet[Any] = weakref.WeakSet()

    def get(self, key: tuple[object, ...], make: Callable[[], AnyEmulator]) -> Any:
        """Return the emulator of a key, started."""
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = make()
            if self.offline:
                gateway = self._gateways[id(found)] = found.in_process()
                gateway.play = play_in_process
            found.start()
        return found

    def transport(self, services: Sequence[Service]) -> KitTransport:
        """Return a transport to services whose emulators are these."""
        return KitTransport(services, (lambda one: self._gateways[id(one)]) if self.offline else None)

    @property
    def moonkey(self) -> Emulator:
        """That of MoonKey."""
        found: Emulator = self.get(("moonkey",), Emulator)
        return found

    def begin(self, kit: object) -> None:
        """Take note that a kit uses these emulators."""
        self._kits.add(kit)

    def end(self, kit: object) -> None:
        """Take note that a kit does not any more, and start over if no other one does."""
        self._kits.discard(kit)
        if not self._kits:
            self.reset()

    def reset(self) -> None:
        """Bring all of them into their first state."""
        for one in self._made.values():
            one.start()
            one.reset()

    def all(self) -> tuple[AnyEmulator, ...]:
        """Return all that were made."""
        return tuple(self._made.values())

    def close(self) -> None:
        """Stop all of them."""
        for one in self._made.values():
            one.close()
        self._made.clear()
        self._gateways.clear()


class MoonKeyService:
    """MoonKey: the emulator accepts the app's key, and issues JWTs of the app's issuer."""

    def __init__(self, settings: Settings, emulators: Emulators) -> None:
        self.emulator: Emulator = emulators.moonkey
        self._origins = {origin_of(url) for url in (settings.base_url, settings.jwks_url) if url}
        self._identity: dict[str, Any] = {
            "secret_key": settings.api_key.reveal(),
            "issuer": next(iter(settings.jwt_issuer), None),
            "audience": next(iter(settings.jwt_audience), ""),
            "session_claim": next(iter(settings.jwt_session_claims), None),
        }
        self.stand_in()

    def stand_in(self) -> None:
        """Have the emulator be the service of this app. A kit of a wider scope may be about another one."""
        self.emulator.stand_in(**self._identity)

    def answers(self, url: str) -> bool:
        """Return whether a call to this address is for this service."""
        return origin_of(url) in self._origins

    def translated(self, url: str, call: Call) -> Call:
        """Return the call below ``/v1``, wherever the app's API or its key set is."""
        self.stand_in()
        path = _from(call.path, "/v1/")
        if path is None:
            query = urlsplit(call.path).query
            path = f"/v1/auth/jwks/default{f'?{query}' if query else ''}"
        return call._replace(path=path)

    def completed(self, url: str, answer: EmulatedReply) -> EmulatedReply:
        """Return the answer as it is."""
        return answer


class StytchService:
    """A Stytch project: the emulator has its id, its secret and its domain."""

    def __init__(self, provider: Any, emulators: Emulators) -> None:
        project, secret = provider.project_id, provider._secret.reveal()
        kind = StytchB2BEmulator if isinstance(provider, StytchB2B) else StytchEmulator
        domain = next((one for one in provider.jwt_rules.issuers if one.startswith("https://")), None)
        self.emulator: StytchEmulator | StytchB2BEmulator = emulators.get(
            (kind, project, secret, domain), lambda: kind(0, project, secret, custom_domain=domain)
        )
        self._origins = {origin_of(one) for one in (provider._root, provider.keys.url or provider._root)}

    def answers(self, url: str) -> bool:
        """Return whether a call to this address is for this service."""
        return origin_of(url) in self._origins

    def translated(self, url: str, call: Call) -> Call:
        """Return the call below ``/v1``; any other address is that of the key set."""
        path = _from(call.path, "/v1/") or urlsplit(self.emulator.jwks_url).path
        return call._replace(path=path)

    def completed(self, url: str, answer: EmulatedReply) -> EmulatedReply:
        """Return the answer as it is."""
        return answer


class CdpService:
    """A CDP project: the emulator knows the public half of the app's API key."""

    def __init__(self, provider: Any, emulators: Emulators) -> None:
        project, key = provider._claims._project_id, provider._api_key
        self.emulator: CdpEmulator = emulators.get((CdpEmulator, project), lambda: CdpEmulator(project_id=project))
        audience = key._audience[0] if key._audience else None
        record = ApiKeyRecord(key._id, "", key._key.public_key(), key._algorithm, audience)
        with self.emulator._state.lock:
            self.emulator._state.add_api_key(record)
        self._key = record
        jwks = provider.keys.url if provider.keys is not None and provider.keys.url else provider._root
        self._origins = {origin_of(provider._root), origin_of(jwks)}

    def answers(self, url: str) -> bool:
        """Return whether a call to this address is for this service."""
        return origin_of(url) in self._origins

    def translated(self, url: str, call: Call) -> Call:
        """Return the call below ``/platform``; any other address is that of the key set."""
        with self.emulator._state.lock:  # a reset forgets it
            self.emulator._state.add_api_key(self._key)
        path = _from(call.path, "/platform/") or urlsplit(self.emulator.jwks_url).path
        return call._replace(path=path)

    def completed(self, url: str, answer: EmulatedReply) -> EmulatedReply:
        """Return the answer as it is."""
        return answer


class OidcService:
    """An OpenID Connect issuer, or a server that is asked about tokens: one emulator for all of them.

    Its tokens get the issuer, the audience and the claims of the app's provider. The app's own authentication at
    the introspection endpoint is replaced by that of the emulator's client, as only the app knows its secret.
    """

    def __init__(self, provider: Any, emulators: Emulators) -> None:
        self.emulator: OidcEmulator = emulators.get((OidcEmulator,), OidcEmulator)
        self._keys: KeySource | None = provider.keys if isinstance(provider, OidcProvider) else None
        asks = provider if isinstance(provider, Introspection) else getattr(provider, "_introspection", None)
        urls = [getattr(asks, name, None) for name in ("_url", "_revocation_url")]
        if self._keys is not None:
            urls += [self._keys.url, self._keys.discovery]
        self._urls = tuple(one for one in urls if isinstance(one, str))

    def answers(self, url: str) -> bool:
        """Return whether a call to this address is for this service."""
        return any(origin_of(one) == origin_of(url) for one in self._urls)

    def translated(self, url: str, call: Call) -> Call:
        """Return the call at the emulator's own paths."""
        path = call.path.partition("?")[0]
        if call.method == "POST":
            form = [pair for pair in parse_qsl(call.body.decode()) if pair[0] not in _CLIENT_FIELDS]
            pair = base64.b64encode(f"{self.emulator.client_id}:{self.emulator.client_secret}".encode()).decode()
            headers = [one for one in call.headers if one[0].lower() != "authorization"]
            own = "/revoke" if "revo" in path else "/introspect"
            return Call("POST", own, [*headers, ("authorization", f"Basic {pair}")], urlencode(form).encode())
        return call._replace(path=_DISCOVERY if path.endswith(_DISCOVERY) else "/jwks")

    def completed(self, url: str, answer: EmulatedReply) -> EmulatedReply:
        """Return a discovery document as that of the provider's issuer."""
        address = url.partition("?")[0]
        if not address.endswith(_DISCOVERY) or answer.status != 200 or self._keys is None:
            return answer
        try:
            document = json.loads(answer.body)
        except ValueError:  # a fault
            return answer
        if document.get("issuer") != self.emulator.issuer:  # a test has replaced it
            return answer
        issuer = self._keys.discovered_issuer or self._keys.discovery
        document |= {"issuer": issuer, "jwks_uri": f"{address.removesuffix(_DISCOVERY)}/jwks"}
        return answer._replace(body=json.dumps(document).encode())


def service_for(settings: Settings, emulators: Emulators) -> Any:
    """Return what stands in the place of the provider of these settings.

    Raises:
        UnknownProvider: There is no emulator of it.
    """
    provider = settings.provider
    if provider is None:
        return MoonKeyService(settings, emulators)
    if isinstance(provider, Stytch | StytchB2B):
        return StytchService(provider, emulators)
    if isinstance(provider, CDP):
        return CdpService(provider, emulators)
    if isinstance(provider, OidcProvider | Introspection):
        return OidcService(provider, emulators)
    raise UnknownProvider(
        f"There is no emulator of the provider {provider.name!r}, which is the app's own. Test the provider with "
        "moonkey_core.testing.provider_conformance, and the app with MoonKey's in its place."
    )


def without_fixed_keys(settings: Settings) -> Mapping[str, Any]:
    """Return the settings to change where the app has a fixed key set: only its owner can sign by that.

    The key set of the emulator is fetched in its place, and JWTs are verified by it as by any other.
    """
    provider = settings.provider
    if provider is None:
        return {} if settings.jwks is None else {"jwks": None}
    keys = getattr(provider, "keys", None)
    if keys is None or not keys.is_fixed:
        return {}
    own: Any = copy.copy(provider)
    own.keys = KeySource(url=f"https://{provider.name.replace('_', '-')}.keys.invalid/jwks")
    return {"provider": own}


def _from(path: str, start: str) -> str | None:
    """Return a path from the place on where ``start`` stands in it."""
    at = path.partition("?")[0].find(start)
    return None if at < 0 else path[at:]
