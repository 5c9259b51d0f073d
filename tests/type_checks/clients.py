"""What type checkers must understand of the clients. Checked, never run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

from moonkey_core import (
    AsyncMoonKey,
    Auth,
    Login,
    MagicLinkRequest,
    MoonKey,
    OtpRequest,
    RevocationHandle,
    RevocationState,
    RevokedSessions,
    Rotation,
    Session,
    TotpRegistration,
    User,
    VerifiedSession,
    WalletChallenge,
)


def blocking(client: MoonKey) -> None:
    assert_type(client.authenticate(lambda name: []), Auth)
    assert_type(client.authenticate({"Authorization": "Bearer t"}), Auth)
    assert_type(client.sessions.verify(session_token="t", extend=timedelta(days=1)), VerifiedSession)
    assert_type(client.sessions.list("user_1"), tuple[Session, ...])
    assert_type(client.sessions.revoke_all("user_1", keep=None), RevokedSessions)
    assert_type(client.sessions.revoke(session_id="s"), RevocationState)
    assert_type(client.revocations.add(session_id="s"), RevocationHandle)
    assert_type(client.otps.login_or_create(email="a@example.com"), OtpRequest)
    assert_type(client.otps.verify("123456", method_id="m", session_expires_in=60), Login)
    assert_type(client.users.get("user_1"), User)
    assert_type(client.magic_links.login_or_create(email="a@example.com"), MagicLinkRequest)
    assert_type(client.wallets.begin(wallet_type="ethereum", public_address="a"), WalletChallenge)
    assert_type(client.oauth.start_url("google"), str)
    login = client.magic_links.verify("token", session_expires_in=60)
    assert_type(client.sessions.rotate(user_id="user_1", login=login), Rotation)
    assert_type(client.users.get("user_1").to_dict(), dict[str, Any])
    assert_type(client.users.get("user_1").replace(email=None), User)
    client.otps.verify("123456", method_id="m", lifetime=60)  # type: ignore[call-arg]
    client.sessions.verify("t")  # type: ignore[call-arg] # credentials are named
    client.users.get(1)  # type: ignore[arg-type]


async def asynchronous(client: AsyncMoonKey) -> None:
    assert_type(await client.authenticate(lambda name: []), Auth)
    assert_type(await client.sessions.verify(session_jwt="j"), VerifiedSession)
    assert_type(await client.sessions.list("user_1"), tuple[Session, ...])
    assert_type(await client.wallets.verify(wallet_type="ethereum", public_address="a", signature="s"), Login)
    assert_type(await client.totps.create(user_id="user_1"), TotpRegistration)
    assert_type(client.oauth.start_url("google"), str)


def states(auth: Auth) -> None:
    assert_type(auth.user, User | None)
    assert_type(auth.session, Session | None)
    MoonKey(secret_key="sk_test_1", jwt_issuer=["one", "two"], leeway=3)
    MoonKey("sk_test_1", jwt_issuer="one")
    MoonKey(secret_key="sk_test_1", leway=3)  # type: ignore[call-arg]
