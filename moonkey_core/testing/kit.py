"""The kit: it signs test clients of an app in, at an emulator in the place of the app's provider.

It changes only the clients that it is given, for the time of a test: what carries their calls, and what they
remember. Signatures, issuers, audiences and times are verified as ever. No setting and no variable of an app turns
it on.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

import httpx

from moonkey_core._session_life.mfa import records_among
from moonkey_core.client import AsyncMoonKey, MoonKey
from moonkey_core.errors import ConfigurationError
from moonkey_core.redis.shared import shared_among
from moonkey_core.settings import Settings
from moonkey_core.settings.routes import changed
from moonkey_core.testing import sign_ins
from moonkey_core.testing.apps import AnyClient, clients_of, framework_of
from moonkey_core.testing.assertions import assert_no_secret
from moonkey_core.testing.clients import checked_origin, kind_for, new_client
from moonkey_core.testing.environment import provided_settings
from moonkey_core.testing.faults import Faults
from moonkey_core.testing.services import Emulators, service_for, without_fixed_keys
from moonkey_core.testing.sign_ins import Age, Issued, Wish
from moonkey_core.testing.transport import sleep
from moonkey_core.web.binding import make_binding
from moonkey_core.web.credentials import pair_text

By = Literal["header", "cookies"]
Credential = Literal["token", "jwt", "id"]
_CREDENTIALS = ("token", "jwt", "id")

_FINDING = object()
_GARBAGE = "aGVsbG8.aGVsbG8.aGVsbG8"


@dataclass(frozen=True)
class SignedInUser:
    """Whom a test client is signed in as: ``client.moonkey``.

    Attributes:
        user_id: The user's id.
        session_id: The session's id.
        provider: The name of the provider.
        session_token: The opaque credential; empty where the provider has none.
        session_jwt: The signed one; empty where the provider has none.
        headers: The headers that carry the credential; empty where cookies do.
        cookies: The cookies that do.
    """

    user_id: str
    session_id: str
    provider: str
    session_token: str = field(repr=False)
    session_jwt: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    cookies: Mapping[str, str] = field(repr=False)
    _kit: Any = field(repr=False, compare=False)
    _service: Any = field(repr=False, compare=False)
    _issued: Issued = field(repr=False, compare=False)

    def revoke(self) -> None:
        """End the session as if it were ended elsewhere, and have the app's clients learn of it at once."""
        sign_ins.revoke(self._service, self._issued)
        self._kit.learn_end(self)

    def anonymous(self) -> Any:
        """Return another client of the same app and kind, without a credential."""
        return self._kit.sibling(self)


@dataclass
class _Adopted:
    """A client under test, with what it was before."""

    client: AnyClient
    original: dict[str, Any]
    fresh: AnyClient


class Kit:
    """The kit of one test. Use it as a context manager, or call ``close`` at its end.

    Args:
        app: The app under test, or a function that makes it, called without arguments; ``None`` is the Django
            project of this process.
        emulators: The emulators; those that are shared by all tests of a process.
    """

    def __init__(self, app: Any = None, *, emulators: Emulators) -> None:
        self.app: Any = app
        self.emulators: Emulators = emulators
        self.faults: Faults = Faults(self)
        self.issued: list[str] = []
        self._adopted: list[_Adopted] = []
        self._services: dict[str, Any] = {}
        self._settings: dict[str, Settings] = {}
        self._tables: Any = weakref.WeakValueDictionary()
        self._records: Any = weakref.WeakValueDictionary()
        self._siblings: dict[int, tuple[str, Any, str]] = {}
        self._identity: tuple[object, ...] | None = None
        self._exit = ExitStack()
        self._apps: list[Any] = []
        self._is_over = False
        emulators.begin(self)

    def __enter__(self) -> Kit:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def signed_in(
        self,
        *,
        email: str | None = None,
        user_id: str | None = None,
        roles: Sequence[str] | None = None,
        scopes: Sequence[str] | None = None,
        permissions: Sequence[str] | None = None,
        claims: Mapping[str, Any] | None = None,
        factors: Sequence[str | dict[str, Any]] | None = None,
        factor_age: Age | None = None,
        session_age: Age | None = None,
        mfa: bool = False,
        provider: str | None = None,
        organization: str | None = None,
        shape: str | None = None,
        expired: bool = False,
        revoked: bool = False,
        unavailable: bool = False,
        by: By | None = None,
        credential: Credential | None = None,
        client: str | None = None,
        base_url: str | None = None,
        app: Any = _FINDING,
    ) -> Any:
        """Return a test client of the app that is signed in. ``client.moonkey`` says as whom.

        Args:
            email: The user's address; ``ada@example.com`` if not given. The same one is the same user.
            user_id: The id of a user that exists, instead.
            roles: The roles.
            scopes: The scopes.
            permissions: The permissions.
            claims: Further claims of the session, or of the token.
            factors: How the user has signed in, such as ``["email", "totp"]``; an e-mail code by default.
            factor_age: How long ago the factors were verified: seconds or a ``timedelta``.
            session_age: How long ago the session began.
            mfa: Whether the user has a second factor, too.
            provider: The name of the provider, where the app has several; the first one by default.
            organization: The slug of the organization, at Stytch B2B.
            shape: The shape of an OIDC token, such as ``"entra-v1"``, where the issuer does not say it.
            expired: Whether the session is over.
            revoked: Whether it was ended meanwhile.
            unavailable: Whether the provider cannot be reached from now on, until ``faults.clear()``.
            by: ``"cookies"`` or ``"header"``; by default cookies, if the app has them.
            credential: ``"token"``, ``"jwt"`` or, at an OIDC issuer, ``"id"`` for an ID token. By default the JWT
                where the app verifies it itself, else the token; with cookies both.
            client: The kind of client: ``"django"``, ``"django-async"``, ``"drf"``, ``"flask"``, ``"starlette"``,
                ``"httpx"``, or ``"sync"`` and ``"async"``. By default the framework's usual one.
            base_url: The origin of the app, as the browser sees it.
            app: Another app than the one of the test.

        Raises:
            ConfigurationError: The app has no client, or its provider no such thing.
            ValueError: A value is out of range.
        """
        found = self._use(app)
        name = self._provider(provider)
        wish = Wish(
            email=email,
            user_id=user_id,
            roles=roles,
            scopes=scopes,
            permissions=permissions,
            claims=dict(claims or {}),
            factors=factors,
            factor_age=sign_ins.seconds(factor_age),
            session_age=sign_ins.seconds(session_age) or 0.0,
            mfa=mfa,
            expired=expired,
            organization=organization,
            shape=shape,
        )
        service, settings = self._services[name], self._settings[name]
        issued = sign_ins.sign_in(service, settings, wish)
        self.issued += [one for one in (issued.token, issued.jwt, issued.id_token) if one]
        headers, cookies = _places(settings, issued, by, credential)
        user = SignedInUser(
            issued.user_id,
            issued.session_id,
            name,
            issued.token,
            issued.jwt,
            headers,
            cookies,
            self,
            service,
            issued,
        )
        if revoked:
            user.revoke()
        if unavailable:
            self.faults.down(provider=name)
            self.renew()  # so that no key set is at hand
        kind = kind_for(found, client)
        origin = checked_origin(base_url or _base_url(kind, settings, cookies))
        made = new_client(kind, found, origin, headers, cookies, self._begin)
        made.moonkey = user
        self._siblings[id(user)] = (kind, found, origin)
        return made

    def signed_out(self, *, client: str | None = None, base_url: str | None = None, app: Any = _FINDING) -> Any:
        """Return a test client of the app without a credential.

        Args:
            client: The kind of client, as for :meth:`signed_in`.
            base_url: The origin of the app.
            app: Another app than the one of the test.
        """
        found = self._use(app)
        kind = kind_for(found, client)
        settings = self._settings[self._provider(None)]
        origin = checked_origin(base_url or _base_url(kind, settings, {}))
        made = new_client(kind, found, origin, {}, {}, self._begin)
        made.moonkey = None
        return made

    def adopt(self, client: AnyClient) -> None:
        """Have a client of the app's own call the emulator, and forget what it knows, until the end of the test.

        The kit finds the clients of the usual places by itself.
        """
        if any(one.client is client for one in self._adopted):
            return
        self._take(client, client.settings)

    def assert_no_secret(self, *places: Any) -> None:
        """Assert that no credential and no key of this test stands in a log or a text.

        Args:
            *places: pytest's ``caplog``, the result of ``capsys.readouterr()``, log records, or texts.

        Raises:
            AssertionError: One is there.
        """
        assert_no_secret(*places, secrets=self.issued)

    def learn_end(self, user: SignedInUser) -> None:
        """Tell the app's clients that a session has ended, as a revocation feed or a webhook would."""
        session_id = self._session_of(user)
        if session_id is None:
            return
        for one in self._adopted:
            if user.provider in (one.client.providers or (user.provider,)):
                name = user.provider if one.client.providers else None
                one.client.revocations.add(session_id=session_id, provider=name)

    def _session_of(self, user: SignedInUser) -> str | None:
        """Return the id of a session, as the app's clients have it.

        Tokens without a session's id have one that the client makes of them, so a client like the app's is asked.
        """
        settings = self._settings[user.provider]
        if user.session_id:
            return user.session_id
        transport = self.emulators.transport([user._service])
        with shared_among(weakref.WeakValueDictionary()), httpx.Client(transport=transport) as calls:
            name = settings.credential_headers[0]
            value = f"Bearer {user.session_jwt}" if name == "authorization" else user.session_jwt
            with MoonKey(settings, http_client=calls) as probe:
                session = probe.authenticate({name: value}).session
                return None if session is None else session.id

    def sibling(self, user: SignedInUser) -> Any:
        """Return a client like that of a user, without a credential."""
        kind, app, base_url = self._siblings[id(user)]
        made = new_client(kind, app, base_url, {}, {}, self._begin)  # type: ignore[arg-type]
        made.moonkey = None
        return made

    def renew(self, **changes: Any) -> None:
        """Make the clients under test anew, with other settings. What they have remembered is lost."""
        for one in self._adopted:
            before, one.fresh = one.fresh, self._fresh(one.client, changed(one.fresh.settings, **changes))
            _fill(one.client, vars(one.fresh))
            _release(before)

    def close(self) -> None:
        """Give all clients back what they were, and bring the emulators into their first state."""
        for one in reversed(self._adopted):
            _fill(one.client, one.original)
            _release(one.fresh)
        self._adopted.clear()
        self._exit.close()
        self.faults.clear()
        if not self._is_over:
            self._is_over = True
            self.emulators.end(self)

    def emulator(self, provider: str | None = None) -> Any:
        """Return the emulator that stands in for a provider of the app."""
        self._use(_FINDING)
        return self._services[self._provider(provider)].emulator

    def _use(self, app: Any) -> Any:
        """Adopt the clients of an app, and return the app."""
        self._begin()
        if app is _FINDING:
            if _is_factory(self.app):
                with provided_settings():
                    self.app = self.app()
            app = self.app
        if _is_factory(app):
            raise TypeError(f"{app.__name__} is a function that makes an app. Call it: {app.__name__}()")
        if not any(one is app for one in self._apps):
            self._apps.append(app)
            for client in clients_of(app):
                self.adopt(client)
            if framework_of(app) == "django":
                self._follow_django()
        return app

    def _follow_django(self) -> None:
        """Adopt the clients that Django makes when a test changes the setting ``MOONKEY``."""
        signal = import_module("django.core.signals").setting_changed

        def adopt_new(*, setting: str, **_: object) -> None:
            if not setting.startswith("MOONKEY"):
                return
            made: list[AnyClient] = []
            with suppress(ConfigurationError):  # that is what the test is about
                made = clients_of(None)
            self._identity = None  # those before are not used any more
            for client in made:
                self.adopt(client)

        signal.connect(adopt_new, weak=False)
        self._exit.callback(signal.disconnect, adopt_new)

    def _begin(self) -> None:
        """Check that the test goes on. The app's clients would call the real provider after it."""
        if self._is_over:
            raise RuntimeError(
                "The test of this kit is over, and the app calls its real provider again. Make a client in each "
                "test: a fixture of yours that keeps one must not live longer than the kit that it is of."
            )

    def _provider(self, name: str | None) -> str:
        if name is None:
            return next(iter(self._services))
        if name not in self._services:
            known = ", ".join(map(repr, self._services))
            raise ConfigurationError(f"The app has no provider {name!r}. It has: {known}")
        return name

    def _take(self, client: AnyClient, settings: Settings) -> None:
        given = {"redis_url": None, **without_fixed_keys(settings)}
        if settings.members:
            given = {"redis_url": None}
        own = changed(settings, **given)
        if not isinstance(client, MoonKey | AsyncMoonKey):
            raise TypeError(f"A MoonKey or an AsyncMoonKey can be adopted, not a {type(client).__name__}.")
        for name, one in (own.members or {_name_of(own): own}).items():
            self._check_identity(one)
            self._services[name], self._settings[name] = service_for(one, self.emulators), one
        fresh = self._fresh(client, own)
        self._adopted.append(_Adopted(client, dict(vars(client)), fresh))
        _fill(client, vars(fresh))

    def _check_identity(self, settings: Settings) -> None:
        """Check that all apps of a test have one key and issuer of MoonKey, as there is one emulator of it."""
        if settings.provider is not None:
            return
        self.issued.append(settings.api_key.reveal())
        identity = (settings.api_key.reveal(), settings.jwt_issuer, settings.jwt_audience)
        if self._identity not in (None, identity):
            raise ConfigurationError(
                "The clients of this test have different keys, issuers or audiences of MoonKey. Give them the "
                "same settings, or test them one after another."
            )
        self._identity = identity

    def _fresh(self, client: AnyClient, settings: Settings) -> AnyClient:
        """Return a client of the same kind, with these settings, whose calls reach the emulators."""
        transport = self.emulators.transport(list(self._services.values()))
        with shared_among(self._tables), records_among(self._records):
            if isinstance(client, AsyncMoonKey):
                made: AnyClient = AsyncMoonKey(settings, http_client=httpx.AsyncClient(transport=transport))
                for one in (made, *made.providers.values()):
                    one._exchange._loops._single_loop = False  # this transport is of no loop
                    one._exchange.sleep = sleep
            else:
                made = MoonKey(settings, http_client=httpx.Client(transport=transport))
        made.hooks.all = client.hooks.all
        return made


def _fill(client: AnyClient, attributes: Mapping[str, Any]) -> None:
    own = vars(client)
    kept = dict(attributes)
    own.clear()
    own.update(kept)


def _is_factory(app: Any) -> bool:
    """Return whether something is a function that makes an app: an ASGI app that is a function takes arguments."""
    if not inspect.isfunction(app) or inspect.iscoroutinefunction(app):
        return False
    given = inspect.signature(app).parameters.values()
    return all(one.default is not one.empty or one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in given)


def _release(fresh: AnyClient) -> None:
    """Let go of what a client has opened. Its transport has no connections."""
    for one in (fresh, *fresh.providers.values()):
        core = one._core
        core.endings.close()
        feed, core.closed = core.feed, True
        if feed is not None:
            feed.release(core.hooks)


def _name_of(settings: Settings) -> str:
    return "moonkey" if settings.provider is None else str(settings.provider.name)


def _base_url(kind: str, settings: Settings, cookies: Iterable[str]) -> str:
    """Return the origin of the app: one that its cookies are good for."""
    own = settings.cookies
    if own is not None and own.origin is not None:
        return own.origin
    host = "localhost" if kind == "flask" else "testserver"
    is_plain = own is None or own.insecure_development
    return f"{'http' if is_plain else 'https'}://{host}"


def _places(
    settings: Settings, issued: Issued, by: By | None, credential: Credential | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the headers and the cookies that present a session."""
    for name, given, known in (("by", by, ("header", "cookies")), ("credential", credential, _CREDENTIALS)):
        if given not in (None, *known):
            raise ValueError(f"{name}={given!r} is unknown. Write one of {', '.join(map(repr, known))}.")
    if by is None:
        by = "header" if settings.cookies is None else "cookies"
    if by == "cookies":
        return {}, _cookies(settings, issued, credential)
    verifies = bool(settings.jwt_issuer) or settings.provider is not None
    by_default = issued.jwt if verifies and issued.jwt else issued.token
    provider = settings.provider
    if provider is not None and getattr(provider, "jwt_rules", None) is None and issued.token:
        by_default = issued.token  # a provider that is asked about opaque tokens
    chosen = {"token": issued.token, "jwt": issued.jwt, "id": issued.id_token, None: by_default}[credential]
    if not chosen:
        raise ConfigurationError(f"The provider has no such credential: {credential!r}")
    names = settings.credential_headers
    own = settings.own_name
    if settings.routes is not None and own is not None and chosen == issued.token:
        names = tuple(one for one in names if settings.routes.headers.get(one, own) == own)
    if "authorization" in names:
        return {"Authorization": f"Bearer {chosen}"}, {}
    return {names[0]: chosen}, {}


def _cookies(settings: Settings, issued: Issued, credential: Credential | None) -> dict[str, str]:
    if settings.cookies is None:
        raise ConfigurationError('This app has no cookies: by="cookies" needs the setting `cookies`.')
    token, jwt = settings.cookies.names
    given = {
        token: issued.token if credential in (None, "token") else "",
        jwt: issued.jwt if credential in (None, "jwt") else issued.id_token if credential == "id" else "",
    }
    found = {name: value for name, value in given.items() if value}
    if not found:
        raise ConfigurationError(f"The provider has no such credential: {credential!r}")
    if token not in found and issued.token and not settings.cookies.is_read_only:
        raise ConfigurationError(
            "Cookies of the package carry the token, and beside it the JWT: the JWT alone is no credential. Leave "
            'out `credential`, or present it with by="header".'
        )
    if len(found) == 2 and not settings.cookies.is_read_only:
        pair = pair_text(issued.token, issued.jwt, settings)
        found[settings.cookies.binding_name] = make_binding(pair, settings)
    return found
