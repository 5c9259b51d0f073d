"""The control interface of the emulated CDP, as Python methods. ``control_http`` offers the same over HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from moonkey_core.emulator.cdp import endpoints, mfa, tokens
from moonkey_core.emulator.cdp.api_keys import API, new_key
from moonkey_core.emulator.cdp.errors import unauthorized
from moonkey_core.emulator.cdp.records import (
    ApiKeyRecord,
    CdpSignedIn,
    EndUser,
    MfaKind,
    MfaStarted,
    SignIn,
    utc,
)
from moonkey_core.emulator.cdp.state import CdpState
from moonkey_core.emulator.conditions import ConditionsControl
from moonkey_core.emulator.oidc.keys import PrivateKey
from moonkey_core.emulator.oidc.tokens import Wish
from moonkey_core.emulator.records import Json, random_text

DEMO_EMAIL = "demo@example.com"
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class CdpControl(ConditionsControl):
    """The methods that sign users in and change what the service does. Safe to call from any thread."""

    def __init__(self, state: CdpState, api_key: ApiKeyRecord) -> None:
        super().__init__(state)
        self._state = state
        self._base_url = ""
        state.first_api_key = api_key
        state.add_api_key(api_key)
        self.api_key_id: str = api_key.key_id
        self.api_key_secret: str = api_key.secret

    @property
    def project_id(self) -> str:
        """The id of the project."""
        return self._state.project_id

    @property
    def api_url(self) -> str:
        """The root of the API, for ``CDP(…, base_url=…)`` and ``CdpClient(base_path=…)``; known once started."""
        return f"{self._base_url}{API.removesuffix('/v2')}"

    @property
    def jwks_url(self) -> str:
        """The address of the key set. The real service publishes none."""
        return f"{self._base_url}{endpoints.JWKS}"

    @property
    def settings(self) -> dict[str, str]:
        """The variables of the environment of an app that uses the project."""
        return {
            "MOONKEY_PROVIDER": "cdp",
            "MOONKEY_CDP_BASE_URL": self.api_url,
            "MOONKEY_CDP_PROJECT_ID": self.project_id,
            "MOONKEY_CDP_API_KEY_ID": self.api_key_id,
            "MOONKEY_CDP_API_KEY_SECRET": self.api_key_secret.strip().replace("\n", "\\n"),
        }

    def sign_in(
        self,
        email: str = DEMO_EMAIL,
        *,
        user_id: str | None = None,
        method: Mapping[str, Any] | None = None,
        life: float | None = None,
        age: float = 0,
        claims: Mapping[str, Any] | None = None,
    ) -> CdpSignedIn:
        """Sign a user in, without a login.

        Args:
            email: The user's address. The same one is the same user.
            user_id: The user's id instead of the one that belongs to the address.
            method: How the user signs in, as an object of the API, such as ``{"type": "sms", "phoneNumber": …}``;
                by e-mail if not given.
            life: The seconds from ``iat`` to ``exp`` of the access token; 15 minutes if not given.
            age: How many seconds ago it was issued.
            claims: Claims of the access token, which replace the usual ones.
        """
        state = self._state
        own: Json = dict(method or {"type": "email", "email": email})
        name = user_id or str(uuid.uuid5(uuid.NAMESPACE_URL, f"cdp:{sorted(own.items())}"))
        with state.lock:
            user = state.users.get(name) or EndUser(name, state.now())
            if own not in user.methods:
                user.methods.append(own)
            state.keep_user(user)
            refresh_token = random_text(64)
            sign_in = SignIn(name, str(own.get("type")), state.now() - age + tokens.REFRESH_SECONDS)
            state.keep_sign_in(refresh_token, sign_in)
            return self._signed_in(sign_in, refresh_token, Wish(life=life, age=age, claims=claims or {}))

    def refresh(self, refresh_token: str) -> CdpSignedIn:
        """Renew an access token, as CDP's SDK does in a browser. MFA that was done stays done.

        Raises:
            CdpError: The refresh token is over, signed out or unknown (401).
        """
        with self._state.lock:
            sign_in = self._state.sign_in_of(refresh_token)
            if sign_in is None:
                raise unauthorized()
            return self._signed_in(sign_in, refresh_token, Wish())

    def sign_out(self, refresh_token: str) -> None:
        """End a sign-in, as ``signOut()`` of CDP's SDK does. Its access token stays valid until its ``exp``."""
        with self._state.lock:
            self._state.sign_ins.pop(refresh_token, None)

    def token(
        self,
        email: str = DEMO_EMAIL,
        *,
        user_id: str | None = None,
        algorithm: str | None = None,
        life: float | None = None,
        age: float = 0,
        header: Mapping[str, Any] | None = None,
        key: str = "current",
        drop: Iterable[str] = (),
        claims: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> str:
        """Return a signed token with arbitrary content, of a user who exists.

        Args:
            email: The user's address. The same one is the same user.
            user_id: The user's id instead.
            algorithm: The signature; ES256 if not given.
            life: The seconds from ``iat`` to ``exp``; 15 minutes if not given.
            age: How many seconds ago it was issued.
            header: The members that replace those of its header.
            key: ``"current"``; ``"foreign"`` for one that is not published; ``"imposter"`` for that one under the
                key id of the current one; ``"public"`` with ``HS256`` for the published key used as a secret.
            drop: The names of claims and header members to leave out.
            claims: The claims that replace the usual ones.
            more: The same, as arguments: ``token(project_id="another")``.

        Raises:
            ValueError: There is no such algorithm or key.
        """
        wish = Wish("user", algorithm, life, age, header or {}, key, tuple(drop), {**(claims or {}), **more})
        signed_in = self.sign_in(email, user_id=user_id)
        with self._state.lock:
            return tokens.signed(self._state, signed_in.user_id, "email", wish)

    def revoke(self, token: str) -> None:
        """Call an access token invalid from now on. The real service has no call for that."""
        with self._state.lock:
            self._state.revoke_token(str(tokens.claims_in(token).get("jti")))

    def delete_user(self, user_id: str) -> None:
        """Delete a user, with all sign-ins."""
        with self._state.lock:
            self._state.users.pop(user_id, None)
            for token, one in list(self._state.sign_ins.items()):
                if one.user_id == user_id:
                    del self._state.sign_ins[token]

    def add_wallets(self, user_id: str) -> Json:
        """Give a user an EVM wallet, a smart account that it owns, and a Solana wallet; returns the user.

        Raises:
            KeyError: There is no such user.
        """
        with self._state.lock:
            user = self._state.users[user_id]
            number = uuid.uuid4().int
            made = {"createdAt": utc(self._state.now())}
            owner, smart = f"0x{number:040x}"[:42], f"0x{number ^ 1:040x}"[:42]
            user.evm.append({"address": owner, **made})
            user.evm_smart.append({"address": smart, "ownerAddresses": [owner], **made})
            user.solana.append({"address": _base58(number), **made})
            return user.wire()

    def end_user(self, user_id: str) -> Json:
        """Return a user as the API writes them.

        Raises:
            KeyError: There is no such user.
        """
        with self._state.lock:
            return self._state.users[user_id].wire()

    def end_user_members(self, **members: Any) -> None:
        """Replace members of each user in replies, such as ``userId``. Without arguments they are as usual."""
        with self._state.lock:
            self._state.end_user_members = members

    def enroll_mfa(self, user_id: str, kind: MfaKind = "totp") -> None:
        """Enroll an MFA method of a user.

        Raises:
            KeyError: There is no such user.
        """
        with self._state.lock:
            self._state.users[user_id].mfa[kind] = {"enrolledAt": utc(self._state.now())}

    def begin_mfa(self, refresh_token: str, kind: MfaKind = "totp", *, enroll: bool = False) -> MfaStarted:
        """Begin to verify an MFA method in a browser, or to enroll it.

        Raises:
            CdpError: It is enrolled already, or is not; or the sign-in is over.
        """
        with self._state.lock:
            return mfa.begin(self._state, refresh_token, kind, enroll=enroll)

    def complete_mfa(self, refresh_token: str, challenge_id: str, code: str) -> None:
        """Complete that step by its code.

        Raises:
            CdpError: The code is wrong, or the step too old or unknown; or the sign-in is over.
        """
        with self._state.lock:
            mfa.complete(self._state, refresh_token, challenge_id, code)

    def protected_operation(self, refresh_token: str) -> None:
        """Do in a browser what needs MFA.

        Raises:
            CdpError: MFA has to be done first, or the sign-in is over.
        """
        with self._state.lock:
            mfa.protected(self._state, refresh_token)

    def add_api_key(
        self, algorithm: str = "ES256", *, key_id: str | None = None, audience: str | None = None
    ) -> ApiKeyRecord:
        """Make one more API key of the project.

        Args:
            algorithm: ``ES256`` or ``EdDSA``.
            key_id: Its id; made if not given.
            audience: What the ``aud`` of its JWTs must contain; by default that is not looked at.

        Raises:
            ValueError: CDP has no such keys, or there are too many.
        """
        key = new_key(algorithm, key_id, audience)
        with self._state.lock:
            self._state.add_api_key(key)
        return key

    def revoke_api_key(self, key_id: str | None = None) -> None:
        """Accept an API key no more; the first one if none is named."""
        with self._state.lock:
            self._state.api_keys.pop(key_id or self.api_key_id, None)

    def gateway_refuses(self, times: int | None = None) -> None:
        """Refuse calls as CDP's gateway does (such as by its list of addresses): 403, and no JSON."""
        page = "<html><body>403 Forbidden: access denied</body></html>"
        self.fault(API, status=403, headers={"content-type": "text/html"}, body=page, times=times)

    def jwks(self) -> Json:
        """Return the key set, as it is published now."""
        with self._state.lock:
            return endpoints.key_set(self._state)

    def private_key(self) -> PrivateKey:
        """Return the current private key, for tests that sign unusual tokens themselves."""
        with self._state.lock:
            return self._state.keys.current("ES256").private_key

    def kid(self) -> str:
        """Return the id of the current key."""
        with self._state.lock:
            return self._state.keys.current("ES256").kid

    def rotate_keys(self, keep_old: bool = True) -> None:
        """Sign with a new key from now on; ``keep_old``: tokens of the old one are still valid."""
        with self._state.lock:
            self._state.keys.rotate(keep_old, "ES256")

    def reset(self) -> None:
        """Start over: no users, sign-ins, faults or skew; settings, the first API key and the keys remain."""
        with self._state.lock:
            self._state.reset()

    def _signed_in(self, sign_in: SignIn, refresh_token: str, wish: Wish) -> CdpSignedIn:
        access_token = tokens.signed(self._state, sign_in.user_id, sign_in.auth_type, wish)
        token_id = str(tokens.claims_in(access_token).get("jti"))
        return CdpSignedIn(sign_in.user_id, token_id, access_token, refresh_token)


def _base58(number: int) -> str:
    return "".join(_BASE58[(number >> shift) % 58] for shift in range(44))
