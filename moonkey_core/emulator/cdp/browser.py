"""A browser with CDP's SDK, as far as a server of an app notices it: it renews the access token in time."""

from __future__ import annotations

from moonkey_core.emulator.cdp.control import CdpControl
from moonkey_core.emulator.cdp.records import CdpSignedIn, MfaKind
from moonkey_core.emulator.cdp.tokens import claims_in

RENEW_BEFORE_SECONDS = 60.0


class CdpBrowser:
    """One signed-in browser.

    Args:
        service: The emulated service.
        signed_in: The sign-in; that of the demo user if not given.
    """

    def __init__(self, service: CdpControl, signed_in: CdpSignedIn | None = None) -> None:
        self._service = service
        found = service.sign_in() if signed_in is None else signed_in
        self._now: CdpSignedIn | None = found
        self.user_id: str = found.user_id

    @property
    def is_signed_in(self) -> bool:
        """Whether it has tokens."""
        return self._now is not None

    def access_token(self) -> str:
        """Return an access token that is good for a minute at least, as ``getAccessToken()`` does.

        Raises:
            CdpError: The 7 days of its sign-in are over: the user has to sign in again.
        """
        held = self._held()
        if claims_in(held.access_token)["exp"] - self._service.now() < RENEW_BEFORE_SECONDS:
            held = self._renewed(held)
        return held.access_token

    def renew(self) -> str:
        """Renew the access token at once, and return it."""
        return self._renewed(self._held()).access_token

    def sign_out(self) -> None:
        """Forget both tokens, as ``signOut()`` does. The access token stays valid until its ``exp``."""
        if self._now is not None:
            self._service.sign_out(self._now.refresh_token)
        self._now = None

    def enroll_mfa(self, kind: MfaKind = "totp") -> None:
        """Enroll an MFA method of its user, who types the right code."""
        self._pass_mfa(kind, enroll=True)

    def verify_mfa(self, kind: MfaKind = "totp") -> None:
        """Verify an enrolled MFA method; the user types the right code."""
        self._pass_mfa(kind, enroll=False)

    def protected_operation(self) -> None:
        """Do what needs MFA.

        Raises:
            CdpError: MFA has to be done first (``mfa_required``).
        """
        self._service.protected_operation(self._held().refresh_token)

    def _pass_mfa(self, kind: MfaKind, *, enroll: bool) -> None:
        refresh_token = self._held().refresh_token
        started = self._service.begin_mfa(refresh_token, kind, enroll=enroll)
        self._service.complete_mfa(refresh_token, started.challenge_id, started.code)

    def _renewed(self, held: CdpSignedIn) -> CdpSignedIn:
        self._now = self._service.refresh(held.refresh_token)
        return self._now

    def _held(self) -> CdpSignedIn:
        if self._now is None:
            raise ValueError("the browser is signed out")
        return self._now
