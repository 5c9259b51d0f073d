"""The tree of all errors.

::

    MoonKeyError
    ├── ConfigurationError            a setting of the app is wrong or missing               500
    ├── AuthenticationError           the request is not authenticated                       401
    │   ├── MissingCredentials        it carries no credential                               401
    │   ├── MalformedCredentials      it carries a malformed one, or more than one           400
    │   ├── InvalidCredentials        the credential is forged, foreign or unknown           401
    │   │   ├── ExpiredCredentials    it was valid, and has expired                          401
    │   │   └── RevokedCredentials    it was valid, and was revoked                          401
    │   └── StepUpRequired            signed in, but not recently or strongly enough         401
    ├── PermissionDenied              signed in, but not allowed                             403
    ├── CrossSiteRequest              another site's page sent it, with this user's cookies  403
    ├── TooManyAttempts               codes were requested or tried too often                429
    ├── RequestRefused                the API understood a call of ours and refused it       400
    │   └── NotFound                  … because there is no such object                      404
    └── ProviderError                 the API failed
        ├── ProviderUnavailable       down, slow, limiting, or not understood                503
        ├── RevocationIncomplete      some of a user's sessions could not be ended           503
        └── ProviderRejectedKey       our own secret key is wrong                            500

Every error has a stable ``reason`` for logs and a ``status`` for HTTP. No message ever holds a credential.
:mod:`moonkey_core._reasons` has all codes that ``reason`` may be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

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
    ) -> None:
        """Make an error with what would be enough."""
        super().__init__(message, reason=reason)
        self.acr_values = acr_values
        self.max_age = max_age
        self.factor_count = factor_count
        self.sign_in_again = sign_in_again


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
    default_message = "The MoonKey API refused the request."

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
    """The API has no such user or object."""

    status = 404
    default_reason = "not_found"
    default_message = "The MoonKey API knows no such object."


class ProviderError(MoonKeyError):
    """The API failed."""

    status = 503
    default_reason = "provider_error"
    default_message = "The MoonKey API could not be asked."


class ProviderUnavailable(ProviderError):
    """It cannot be known whether the credential is valid: the API is down, slow, limiting or not understood.

    Attributes:
        retry_after: The number of seconds to wait before another call, if the API has sent it.
        address: The scheme, host and port of the failed call, if a call has failed. For logs, not for clients.
        cause: What went wrong with it, in plain words. For logs, not for clients.
    """

    default_reason = "provider_unavailable"
    default_message = "The MoonKey API cannot be reached or understood at the moment."

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
    """

    default_reason = "revocation_incomplete"
    default_message = "Some sessions could not be ended and may still be active; try again."

    def __init__(
        self, message: str | None = None, *, revoked: tuple[str, ...], failed: Mapping[str, MoonKeyError]
    ) -> None:
        """Make an error with the ids of both kinds."""
        super().__init__(message)
        self.revoked = revoked
        self.failed = failed

    def __reduce__(self) -> tuple[Callable[..., RevocationIncomplete], tuple[object, ...]]:
        """Return how to make a copy, which takes keyword arguments."""
        return _incomplete, (str(self), self.revoked, dict(self.failed))


def _incomplete(
    message: str, revoked: tuple[str, ...], failed: Mapping[str, MoonKeyError]
) -> RevocationIncomplete:
    return RevocationIncomplete(message, revoked=revoked, failed=failed)


class ProviderRejectedKey(ProviderError):
    """The API rejected our secret key: every request would fail, and no client is at fault."""

    status = 500
    default_reason = "provider_rejected_key"
    default_message = (
        "The MoonKey API rejected the secret key. Check MOONKEY_SECRET_KEY: it must be a current sk_test_ or "
        "sk_live_ key of this app, and MOONKEY_BASE_URL must be the API it belongs to."
    )


def failed_call(error: MoonKeyError) -> dict[str, str]:
    """Return ``address`` and ``cause`` of a failed call, as far as known, for the ``extra`` of a log record."""
    found = {"address": error.address, "cause": error.cause} if isinstance(error, ProviderUnavailable) else {}
    return {name: value for name, value in found.items() if value}
