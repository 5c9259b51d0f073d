"""Everything that can go wrong, as one tree.

::

    MoonKeyError
    ├── ConfigurationError            ours to mend: a setting is wrong or missing            500
    ├── AuthenticationError           the caller did not prove who they are                  401
    │   ├── MissingCredentials        nothing was presented                                  401
    │   ├── MalformedCredentials      not a credential, or more than one                     400
    │   ├── InvalidCredentials        forged, foreign or unknown                             401
    │   │   ├── ExpiredCredentials    was good once, its time is over                        401
    │   │   └── RevokedCredentials    was good once, ended before its time                   401
    │   └── StepUpRequired            signed in, but not freshly or strongly enough          401
    ├── PermissionDenied              signed in, but not allowed                             403
    ├── CrossSiteRequest              another site's page sent it, with this user's cookies  403
    ├── TooManyAttempts               codes asked for or tried more often than may be        429
    ├── RequestRefused                the API understood a call of ours and said no          400
    │   └── NotFound                  … because there is no such thing                       404
    └── ProviderError                 the API could not do its part
        ├── ProviderUnavailable       down, slow, limiting, or not understood: cannot know   503
        ├── RevocationIncomplete      some of a user's sessions could not be ended           503
        └── ProviderRejectedKey       our own secret key is wrong                            500

Every error has a stable ``reason`` for logs and a ``status`` for HTTP. No message ever holds a credential.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

_OVER = frozenset({"session_unknown", "user_unknown", "expired_credentials", "revoked_credentials"})
"""Reasons of refusals after which it is certain that a session is over."""


class MoonKeyError(Exception):
    """The root of all errors raised by this package.

    ``status`` is the HTTP status an app should answer with, ``reason`` a stable lower-case code for logs.
    ``evidence`` is what was found, in one bounded and printable sentence for the operator; the message ends with
    it. It may name settings of the app, so neither is for the caller.
    """

    status: ClassVar[int] = 500
    default_reason: ClassVar[str] = "error"
    default_message: ClassVar[str] = "Session verification failed."

    def __init__(self, message: str | None = None, *, reason: str | None = None, evidence: str = "") -> None:
        said = message or self.default_message
        super().__init__(f"{said} {evidence}" if evidence else said)
        self.reason: str = reason or self.default_reason
        self.evidence = evidence

    @property
    def reason_and_evidence(self) -> str:
        """Both, for a line of the log."""
        return f"{self.reason} ({self.evidence})" if self.evidence else self.reason


class ConfigurationError(MoonKeyError):
    """A setting is missing or wrong. The message names it and says how to mend it."""

    default_reason = "configuration"
    default_message = "The MoonKey configuration is wrong."


class AuthenticationError(MoonKeyError):
    """The caller did not prove who they are."""

    status = 401
    default_reason = "authentication_failed"
    default_message = "Authentication failed."


class MissingCredentials(AuthenticationError):
    """The request carried no credential at all."""

    default_reason = "no_credentials"
    default_message = "This request carries no session credential."


class MalformedCredentials(AuthenticationError):
    """What was presented is not a credential, or there is more than one (RFC 6750 section 3.1)."""

    status = 400
    default_reason = "malformed_credentials"
    default_message = "The session credential is malformed, or there is more than one."


class InvalidCredentials(AuthenticationError):
    """The credential is forged, foreign, or unknown to the API.

    ``session_is_over`` says that its session has certainly ended, or never was. Only then a stored credential may
    be thrown away: what was refused for any other reason may be good again in a minute.
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
        super().__init__(message, reason=reason, evidence=evidence)
        self.session_is_over: bool = self.reason in _OVER if session_is_over is None else session_is_over


class ExpiredCredentials(InvalidCredentials):
    """The credential was good once; its time is over."""

    default_reason = "expired_credentials"
    default_message = "The session has expired."


class RevokedCredentials(InvalidCredentials):
    """The session was ended before its time."""

    default_reason = "revoked_credentials"
    default_message = "The session has been revoked."


class StepUpRequired(AuthenticationError):
    """Signed in, but a fresher or stronger factor is asked for (RFC 9470).

    ``acr_values`` are the names of the factors that will do, any of them; none where any factor will.
    ``max_age`` is how old the proof may be, in seconds. ``factor_count`` is how many factors there have to be,
    where one is not enough. ``sign_in_again``: the session itself is too old, so that only a new one helps.
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
        super().__init__(message, reason=reason)
        self.acr_values = acr_values
        self.max_age = max_age
        self.factor_count = factor_count
        self.sign_in_again = sign_in_again


class PermissionDenied(MoonKeyError):
    """Signed in, but not allowed to do this.

    ``scope`` are the scopes that it takes, where scopes are what is missing (RFC 6750 section 3.1).
    """

    status = 403
    default_reason = "permission_denied"
    default_message = "This session may not do that."

    def __init__(
        self, message: str | None = None, *, reason: str | None = None, scope: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, reason=reason)
        self.scope = scope


class CrossSiteRequest(MoonKeyError):
    """Another site's page may have sent this request; its cookies prove nothing then."""

    status = 403
    default_reason = "cross_site_request"
    default_message = "The request was not sent by a page of this site."


class TooManyAttempts(MoonKeyError):
    """Codes were asked for, or tried, more often than may be.

    ``retry_after`` is in how many seconds another attempt may go on; ``None`` where that cannot be said.
    """

    status = 429
    default_reason = "too_many_attempts"
    default_message = "That was tried too often."

    def __init__(
        self, message: str | None = None, *, reason: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


class RequestRefused(MoonKeyError):
    """The API understood a call of ours and refused it; ``code`` is its own error code, if it gave one.

    Its own message is the ``evidence``: bounded, printable, and without what was sent.
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
        super().__init__(message, reason=reason, evidence=evidence)
        self.code = code


class NotFound(RequestRefused):
    """The API knows no such user or object."""

    status = 404
    default_reason = "not_found"
    default_message = "The MoonKey API knows no such object."


class ProviderError(MoonKeyError):
    """The API could not do its part."""

    status = 503
    default_reason = "provider_error"
    default_message = "The MoonKey API could not be asked."


class ProviderUnavailable(ProviderError):
    """It cannot be known whether the credential is good: the API is down, slow, limiting or not understood.

    ``retry_after`` is the number of seconds the API asked us to wait, if it did. Where a call has failed,
    ``address`` says whom we called (scheme, host and port) and ``cause`` what went wrong, in plain words; they are
    for logs, not for clients.
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
        found = ": ".join(part for part in (address, cause) if part) if evidence is None else evidence
        super().__init__(message, reason=reason, evidence=found)
        self._message = message
        self.retry_after = retry_after
        self.address: str | None = address or None
        self.cause: str | None = cause or None

    def again(self, retry_after: float | None) -> ProviderUnavailable:
        """A new error that says the same: exceptions collect tracebacks, and some are remembered."""
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

    ``revoked`` are the ids that were ended, ``failed`` says for each other id what went wrong. Calling
    ``revoke_all`` again tries the rest.
    """

    default_reason = "revocation_incomplete"
    default_message = "Some sessions could not be ended and may still be active; try again."

    def __init__(
        self, message: str | None = None, *, revoked: tuple[str, ...], failed: Mapping[str, MoonKeyError]
    ) -> None:
        super().__init__(message)
        self.revoked = revoked
        self.failed = failed

    def __reduce__(self) -> tuple[Callable[..., RevocationIncomplete], tuple[object, ...]]:
        return _incomplete, (str(self), self.revoked, dict(self.failed))


def _incomplete(
    message: str, revoked: tuple[str, ...], failed: Mapping[str, MoonKeyError]
) -> RevocationIncomplete:
    return RevocationIncomplete(message, revoked=revoked, failed=failed)


class ProviderRejectedKey(ProviderError):
    """The API rejected our secret key: every caller would fail, and none of them is to blame."""

    status = 500
    default_reason = "provider_rejected_key"
    default_message = (
        "The MoonKey API rejected the secret key. Check MOONKEY_SECRET_KEY: it must be a current sk_test_ or "
        "sk_live_ key of this app, and MOONKEY_BASE_URL must be the API it belongs to."
    )


def failed_call(error: MoonKeyError) -> dict[str, str]:
    """For the ``extra`` of a log record: ``address`` and ``cause`` of a call that failed, where they are known."""
    found = {"address": error.address, "cause": error.cause} if isinstance(error, ProviderUnavailable) else {}
    return {name: value for name, value in found.items() if value}
