"""The services of the demo: MoonKey, an OpenID Connect issuer, and Stytch. All are emulators on this machine."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from moonkey_core import MoonKey
from moonkey_core.emulator import CdpEmulator, Emulator, OidcEmulator, Sent, StytchB2BEmulator, StytchEmulator
from moonkey_core.provider import OIDC, Introspection, Stytch, StytchB2B

DEMO_USER = "demo@example.com"


@dataclass(frozen=True)
class SignIn:
    """A user who has signed in: both credentials by the names that the table has for them, and how to end it."""

    credentials: dict[str, str]
    revoke: Callable[[], object]


@dataclass(frozen=True)
class Service:
    """A running service.

    Attributes:
        url: Its address.
        environ: The settings of an app that uses it.
        how: How its user signs in.
        sign_in: Sign the demo user in.
        emulator: Its emulator, if the app with pages works on it.
    """

    url: str
    environ: dict[str, str]
    how: str
    sign_in: Callable[[], SignIn]
    emulator: Emulator | StytchEmulator | None = None


def sign_in_by_code(client: MoonKey, emulator: Emulator | StytchEmulator) -> SignIn:
    """Sign in with a one-time passcode, as a real app would; the code is read from the emulator."""
    request = client.otps.login_or_create(email=DEMO_USER)
    code = next(sent.code for sent in emulator.outbox() if sent.method_id == request.method_id)
    login = client.otps.verify(code, method_id=request.method_id, session_expires_in=60)
    session, token, jwt = login.session, login.session_token, login.session_jwt
    assert session is not None
    assert token is not None
    assert jwt is not None
    return SignIn(
        {"session token": token, "session JWT": jwt},
        lambda: client.sessions.revoke(session_id=session.id),
    )


@contextmanager
def moonkey(on_sent: Callable[[Sent], None]) -> Iterator[Service]:
    """MoonKey: a session token and a session JWT."""
    with (
        Emulator(on_sent=on_sent) as emulator,
        MoonKey(base_url=emulator.base_url, secret_key=emulator.secret_key) as client,
    ):
        environ = {
            "MOONKEY_BASE_URL": emulator.base_url,
            "MOONKEY_SECRET_KEY": emulator.secret_key,
            "MOONKEY_JWT_ISSUER": emulator.issuer,
        }
        sign_in = partial(sign_in_by_code, client, emulator)
        yield Service(emulator.base_url, environ, "with a one-time passcode", sign_in, emulator)


@contextmanager
def oidc(_: Callable[[Sent], None]) -> Iterator[Service]:
    """An OpenID Connect issuer: an opaque access token, which is introspected (RFC 7662), and a JWT."""
    with OidcEmulator() as emulator:
        introspection = Introspection(
            emulator.introspection_url,
            client_id=emulator.client_id,
            client_secret=emulator.client_secret,
            revocation_url=emulator.revocation_url,
        )
        provider = OIDC(emulator.issuer, emulator.audience, introspection=introspection)
        with MoonKey(provider=provider) as client:

            def sign_in() -> SignIn:
                """Sign in without a login, as the issuer has no page for one."""
                person = emulator.sign_in(DEMO_USER)
                return SignIn(
                    {"opaque token": person.opaque_token, "JWT": person.access_token},
                    lambda: client.sessions.revoke(session_token=person.opaque_token),
                )

            environ = {
                **emulator.preset("generic").settings,
                "MOONKEY_INTROSPECTION_URL": emulator.introspection_url,
                "MOONKEY_INTROSPECTION_CLIENT_ID": emulator.client_id,
                "MOONKEY_INTROSPECTION_CLIENT_SECRET": emulator.client_secret,
            }
            yield Service(emulator.base_url, environ, "at an OpenID Connect issuer", sign_in)


@contextmanager
def stytch(on_sent: Callable[[Sent], None]) -> Iterator[Service]:
    """Stytch: a session token and a session JWT of a consumer project."""
    with StytchEmulator(on_sent=on_sent) as emulator:
        provider = Stytch(emulator.project_id, emulator.secret, emulator.public_token, base_url=emulator.base_url)
        with MoonKey(provider=provider) as client:
            environ = {**emulator.settings, "MOONKEY_CACHE_SECRET": secrets.token_urlsafe(32)}
            yield Service(
                emulator.base_url,
                environ,
                "with a one-time passcode of Stytch",
                partial(sign_in_by_code, client, emulator),
                emulator,
            )


@contextmanager
def stytch_b2b(_: Callable[[Sent], None]) -> Iterator[Service]:
    """Stytch for business apps: a session token and a session JWT of a member of an organization."""
    with StytchB2BEmulator() as emulator:
        provider = StytchB2B(emulator.project_id, emulator.secret, base_url=emulator.base_url)
        with MoonKey(provider=provider) as client:

            def sign_in() -> SignIn:
                """Sign in without a login, as if by Stytch's own front end."""
                person = emulator.sign_in(DEMO_USER)
                return SignIn(
                    {"session token": person.session_token, "session JWT": person.session_jwt},
                    partial(client.sessions.revoke, session_id=person.session_id),
                )

            environ = {**emulator.settings, "MOONKEY_CACHE_SECRET": secrets.token_urlsafe(32)}
            yield Service(emulator.base_url, environ, "as a member of an organization at Stytch", sign_in)


@contextmanager
def cdp(_: Callable[[Sent], None]) -> Iterator[Service]:
    """Coinbase CDP: an access token, and the one that its SDK gets in a browser when that grows old."""
    with CdpEmulator() as emulator:

        def sign_in() -> SignIn:
            """Sign in without a login, as if by CDP's own SDK."""
            person = emulator.sign_in(DEMO_USER)
            newer = emulator.refresh(person.refresh_token)
            return SignIn(
                {"access token": person.access_token, "renewed token": newer.access_token},
                lambda: emulator.revoke(person.access_token),
            )

        yield Service(emulator.base_url, dict(emulator.settings), "at Coinbase CDP", sign_in)


SERVICES = {"moonkey": moonkey, "oidc": oidc, "stytch": stytch, "stytch_b2b": stytch_b2b, "cdp": cdp}
