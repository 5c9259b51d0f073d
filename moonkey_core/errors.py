"""The tree of all errors.

::

    MoonKeyError
    ├── ConfigurationError            a setting of the app is wrong or missing               500
    ├── RevocationsFull               there is no room for one more revocation               500
    ├── AuthenticationError           the request is not authenticated                       401
    │   ├── MissingCredentials        it carries no credential                               401
    │   ├── MalformedCredentials      it carries a malformed one, or more than one           400
    │   ├── InvalidCredentials        the credential is forged, foreign or unknown           401
    │   │   ├── ExpiredCredentials    it was valid, and has expired                          401
    │   │   └── RevokedCredentials    it was valid, and was revoked                          401
    │   ├── StepUpRequired            signed in, but not recently or strongly enough         401
    │   └── MfaNotEnrolled            the same, and there is no second factor to verify      401
    ├── PermissionDenied              signed in, but not allowed                             403
    ├── CrossSiteRequest              another site's page sent it, with this user's cookies  403
    ├── TooManyAttempts               codes were requested or tried too often                429
    ├── RequestRefused                the API understood a call of ours and refused it       400
    │   ├── NotFound                  … because there is no such object                      404
    │   ├── BodyTooLong               the body of a request to a session route is too long   413
    │   └── UnsupportedMediaType      a session route cannot read this kind of body          415
    ├── NotSupported                  the provider cannot do this at all                     501
    └── ProviderError                 the API failed
        ├── ProviderUnavailable       down, slow, limiting, or not understood                503
        ├── RevocationIncomplete      some of a user's sessions could not be ended           503
        └── ProviderRejectedKey       our own key or set-up is wrong                         500

Every error has a stable ``reason`` for logs and a ``status`` for HTTP. No message ever holds a credential.
:mod:`moonkey_core._reasons` has all codes that ``reason`` may be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from moonkey_core._publication import RevocationState
from moonkey_core._reasons import SESSION_OVER_REASONS


class MoonKeyError(Exception):
    """The root of all errors raised by this package.

    Attributes:
        status: The HTTP status to answer with.
        reason: A stable lower-case code for logs.
        evidence: What was found, in one bounded and printable sentence for the operator; the message ends with it.
            It may name settings of the app, so neither is for the client.
    """

    status: ClassVar[int] = 500
    default_reason: ClassVar[str] = "error"
    default_message: ClassVar[str] = "Session verification failed."

    def __init__(self, message: str | None = None, *, reason: str | None = None, evidence: str = "") -> None:
        """Make an error. The class has the defaults for missing arguments."""
        text = message or self.default_message
        super().__init__(f"{text} {evidence}" if evidence else text)
        self.reason: str = reason or self.default_reason
        self.evidence = evidence

    @property
    def reason_and_evidence(self) -> str:
        """The reason, and the evidence where there is some, for a log line."""
        return f"{self.reason} ({self.evidence})" if self.evidence else self.reason


class ConfigurationError(MoonKeyError):
    """A setting is missing or wrong. The message names it and the remedy."""

    default_reason = "configuration"
    default_message = "The MoonKey configuration is wrong."


class RevocationsFull(MoonKeyError):
    """There is no room for one more revocation, so this one was not added.

    Nothing was forgotten, and no other user is refused. Raise the ``max_revocations`` setting.
    """

    default_reason = "too_many_revocations"
    default_message = (
        "There is no room for one more revocation, so this one has no effect. Raise max_revocations "
        "(MOONKEY_MAX_REVOCATIONS)."
    )


class AuthenticationError(MoonKeyError):
    """The request is not authenticated."""

    status = 401
    default_reason = "authentication_failed"
    default_message = "Authentication failed."


class MissingCredentials(AuthenticationError):
    """The request carried no credential at all."""

    default_reason = "no_credentials"
    default_message = "This request carries no session credential."


class MalformedCredentials(AuthenticationError):
    """The request carries a malformed credential, or more than one (RFC 6750 section 3.1)."""

    status = 400
    default_reason = "malformed_credentials"
    default_message = "The session credential is malformed, or there is more than one."


class InvalidCredentials(AuthenticationError):
    """The credential is forged, foreign, or unknown to the API.

    Attributes:
        session_is_over: Whether its session has certainly ended, or never existed. Only then may a stored
            credential be dropped: one that was refused for any other reason may be valid again in a minute.
        session_id: The session that has ended, where the API's answer names it.
    """

    default_reason = "invalid_credentials"
    default_message = "The session credential is not valid."

    def __init__(
        self,
        message: str | None = None,
        *,
        reason: str | None = None,
        evidence: str = "",
        session_is_over: bool | None = None,
    ) -> None:
        """Make an error; unless it is given, the reason decides whether the session is over."""
        super().__init__(message, reason=reason, evidence=evidence)
        self.session_is_over: bool = (
            self.reason in SESSION_OVER_REASONS if session_is_over is None else session_is_over
        )
        self.session_id: str | None = None


class ExpiredCredentials(InvalidCredentials):
    """The credential was valid, and has expired."""

    default_reason = "expired_credentials"
    default_message = "The session has expired."


class RevokedCredentials(InvalidCredentials):
    """The credential was valid, and its session was revoked."""

    default_reason = "revoked_credentials"
    default_message = "The session has been revoked."


class StepUpRequired(AuthenticationError):
    """Signed in, but a more recent or stronger factor is required (RFC 9470).

    Attributes:
        acr_values: Names of factors, any of which is enough; empty where any factor is.
        max_age: How long ago the factor may have been verified, in seconds.
        factor_count: How many factors are required, where one is not enough.
        sign_in_again: Whether the session itself is too old, so that only a new session is enough.
        mfa: Whether a second factor has to be verified (``mfa_max_age``).
    """

    default_reason = "step_up_required"
    default_message = "A fresh or stronger sign-in is required."

    def __init__(
        self,
        message: str | None = None,
        *,
        reason: str | None = None,
        acr_values: tuple[str, ...] = (),
        max_age: int | None = None,
        factor_count: int | None = None,
        sign_in_again: bool = False,
        mfa: bool = False,
    ) -> None:
        """Make an error with what would be enough."""
        super().__init__(message, reason=reason)
        self.acr_values = acr_values
        self.max_age = max_age
        self.factor_count = factor_count
        self.sign_in_again = sign_in_again
        self.mfa = mfa


class MfaNotEnrolled(AuthenticationError):
    """A second factor is required, and the user has enrolled none. The session is good, and stays so.

    Attributes:
        enrol_url: Where the user can enrol one, by the setting ``mfa_enrol_url``; ``None`` where it is not set.
    """

    default_reason = "mfa_not_enrolled"
    default_message = "A second factor is required, and the user has not enrolled any."

    def __init__(
        self, message: str | None = None, *, reason: str | None = None, enrol_url: str | None = None
    ) -> None:
        """Make an error with the address where a factor can be enrolled."""
        super().__init__(message, reason=reason)
        self.enrol_url = enrol_url


class PermissionDenied(MoonKeyError):
    """Signed in, but not allowed to do this.

    Attributes:
        scope: The required scopes, where scopes are missing (RFC 6750 section 3.1).
    """

    status = 403
    default_reason = "permission_denied"
    default_message = "This session may not do that."

    def __init__(
        self, message: str | None = None, *, reason: str | None = None, scope: tuple[str, ...] = ()
    ) -> None:
        """Make an error with the required scopes."""
        super().__init__(message, reason=reason)
        self.scope = scope


class CrossSiteRequest(MoonKeyError):
    """A page of another site may have sent this request, so its cookies prove nothing."""

    status = 403
    default_reason = "cross_site_request"
    default_message = "The request was not sent by a page of this site."


class TooManyAttempts(MoonKeyError):
    """Codes were requested, or tried, too often.

    Attributes:
        retry_after: In how many seconds another attempt is allowed; ``None`` where that is not known.
    """

    status = 429
    default_reason = "too_many_attempts"
    default_message = "That was tried too often."

    def __init__(
        self, message: str | None = None, *, reason: str | None = None, retry_after: float | None = None
    ) -> None:
        """Make an error with the seconds until the next attempt."""
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


class RequestRefused(MoonKeyError):
    """The API understood a call of ours and refused it.

    Attributes:
        code: The API's own error code, if it gave one.
        evidence: The API's own message: bounded, printable, and without what was sent.
    """

    status = 400
    default_reason = "request_refused"
    default_message = "The identity provider refused the request."

    def __init__(
        self,
        message: str | None = None,
        *,
        reason: str | None = None,
        code: str | None = None,
        evidence: str = "",
    ) -> None:
        """Make an error with the API's own error code."""
        super().__init__(message, reason=reason, evidence=evidence)
        self.code = code


class NotFound(RequestRefused):
    """The API has no such user or object.

    Attributes:
        is_gone: Whether the reply certainly means that the object does not exist any more.
    """

    status = 404
    default_reason = "not_found"
    default_message = "The identity provider knows no such object."

    def __init__(
        self,
        message: str | None = None,
        *,
        reason: str | None = None,
        code: str | None = None,
        evidence: str = "",
        is_gone: bool = False,
    ) -> None:
        """Make an error with the API's own error code."""
        super().__init__(message, reason=reason, code=code, evidence=evidence)
        self.is_gone = is_gone


class BodyTooLong(RequestRefused):
    """The body of a request to a ready-made route is longer than they take (RFC 9110 section 15.5.14)."""

    status = 413
    default_reason = "body_too_long"
    default_message = "The body of the request is too long."


class UnsupportedMediaType(RequestRefused):
    """The body of a request to a session route is neither JSON nor a form (RFC 9110 section 15.5.16)."""

    status = 415
    default_reason = "body_type"
    default_message = (
        "The body of the request is neither JSON nor a form, by its Content-Type. Send application/json or "
        "application/x-www-form-urlencoded."
    )


_SPOKEN: Mapping[str, str] = {
    "introspect": "say whether a credential is valid now",
    "refresh_jwt": "refresh a JWT",
    "extend": "extend a session",
    "revoke_session": "end a session",
    "revoke_user": "end all sessions of a user",
    "get_user": "look a user up",
    "sign_in": "sign users in through this app",
    "hydrate": "give the credentials of a session to a front end",
    "custom_claims": "keep claims of the app's own in a session",
    "authorization_check": "say by the roles of a session what its user may do",
    "send_otp": "send a code",
    "send_magic_link": "send a magic link",
    "begin_wallet": "begin a sign-in with a wallet",
    "create_totp": "set up an authenticator app",
    "oauth_start": "begin OAuth",
    "verify_otp": "verify such a code",
    "verify_magic_link": "verify a magic link",
    "verify_oauth": "verify such a proof of OAuth",
    "verify_totp": "verify a code of an authenticator app",
    "recover_totp": "take a recovery code",
    "verify_wallet": "verify the signature of a wallet",
    "create_password": "set a password through this app",
    "verify_password": "verify a password through this app",
    "begin_passkey": "begin a sign-in with a passkey through this app",
    "verify_passkey": "verify a passkey through this app",
    "begin_biometric": "begin a sign-in with biometrics through this app",
    "verify_biometric": "verify biometrics through this app",
}


def spoken(operation: str) -> str:
    """Return what an operation of a provider does, as a sentence says it: "the provider cannot …"."""
    return _SPOKEN.get(operation, operation.replace("_", " "))


class NotSupported(MoonKeyError):
    """The configured provider cannot do what was called. ``client.capabilities`` says so beforehand.

    Attributes:
        provider: The name of the provider.
        operation: What it cannot do.
    """

    status = 501
    default_reason = "not_supported"
    default_message = "The identity provider cannot do this."

    def __init__(
        self,
        message: str | None = None,
        *,
        reason: str | None = None,
        provider: str = "",
        operation: str = "",
        why: str = "",
    ) -> None:
        """Make an error; ``why`` is a sentence about the cause and what to do instead."""
        if message is None and provider:
            message = (
                f"The provider {provider!r} cannot {spoken(operation)}. "
                f"{why or 'Do it at the provider itself; client.capabilities lists what can be done here.'}"
            )
        super().__init__(message, reason=reason)
        self.provider = provider
        self.operation = operation

    @property
    def public_detail(self) -> str:
        """What a client may be told: what cannot be done, and neither by which provider nor what else to call."""
        return (
            f"The identity provider cannot {spoken(self.operation)}." if self.operation else self.default_message
        )


class ProviderError(MoonKeyError):
    """The API failed."""

    status = 503
    default_reason = "provider_error"
    default_message = "The identity provider could not be asked."


class ProviderUnavailable(ProviderError):
    """It cannot be known whether the credential is valid: the API is down, slow, limiting or not understood.

    Attributes:
        retry_after: The number of seconds to wait before another call, if the API has sent it.
        address: The scheme, host and port of the failed call, if a call has failed. For logs, not for clients.
        cause: What went wrong with it, in plain words. For logs, not for clients.
    """

    default_reason = "provider_unavailable"
    default_message = "The identity provider cannot be reached or understood at the moment."

    def __init__(
        self,
        message: str | None = None,
        *,
        reason: str | None = None,
        retry_after: float | None = None,
        evidence: str | None = None,
        address: str | None = None,
        cause: str | None = None,
    ) -> None:
        """Make an error; unless it is given, the evidence is the address and the cause."""
        found = ": ".join(part for part in (address, cause) if part) if evidence is None else evidence
        super().__init__(message, reason=reason, evidence=found)
        self._message = message
        self.retry_after = retry_after
        self.address: str | None = address or None
        self.cause: str | None = cause or None

    def again(self, retry_after: float | None) -> ProviderUnavailable:
        """Return a new error with the same content: an exception that is kept collects tracebacks."""
        return ProviderUnavailable(
            self._message,
            reason=self.reason,
            retry_after=retry_after,
            evidence=self.evidence,
            address=self.address,
            cause=self.cause,
        )


class RevocationIncomplete(ProviderError):
    """Some sessions of a user could not be ended and may still be active.

    Calling ``revoke_all`` again tries the rest.

    Attributes:
        revoked: The ids of the sessions that were ended.
        failed: For each other id, the error.
        state: Whether the other processes of the app refuse all of them, as ``revoke_all`` returns it.
    """

    default_reason = "revocation_incomplete"
    default_message = "Some sessions could not be ended and may still be active; try again."

    def __init__(
        self,
        message: str | None = None,
        *,
        revoked: tuple[str, ...],
        failed: Mapping[str, MoonKeyError],
        state: RevocationState = "local",
    ) -> None:
        """Make an error with the ids of both kinds."""
        super().__init__(message)
        self.revoked = revoked
        self.failed = failed
        self.state: RevocationState = state

    def __reduce__(self) -> tuple[Callable[..., RevocationIncomplete], tuple[object, ...]]:
        """Return how to make a copy, which takes keyword arguments."""
        return _incomplete, (str(self), self.revoked, dict(self.failed), self.state)


def _incomplete(
    message: str, revoked: tuple[str, ...], failed: Mapping[str, MoonKeyError], state: RevocationState
) -> RevocationIncomplete:
    return RevocationIncomplete(message, revoked=revoked, failed=failed, state=state)


class ProviderRejectedKey(ProviderError):
    """The provider rejected our own key, or a correct call: each request would fail, and no client is at fault."""

    status = 500
    default_reason = "provider_rejected_key"
    default_message = (
        "The provider rejected this app's own key. Check the key, and that the configured address is that of the "
        "service that has issued it."
    )


def failed_call(error: MoonKeyError) -> dict[str, str]:
    """Return ``address`` and ``cause`` of a failed call, as far as known, for the ``extra`` of a log record."""
    found = {"address": error.address, "cause": error.cause} if isinstance(error, ProviderUnavailable) else {}
    return {name: value for name, value in found.items() if value}
