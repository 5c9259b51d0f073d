"""The reason codes: what an error's ``reason`` and a log line's ``reason`` may be, and what each means.

To add a code: raise or log it, add it here, and add its row to the table in ``docs/observability.md``. Tests hold
the three together. A code is lower-case words, has one meaning, and never changes once it is released.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

__all__ = [
    "CREDENTIAL_REASONS", "ERROR_REASONS", "LOG_REASONS", "OTHER_REASONS", "PROVIDER_REASONS",
    "SESSION_OVER_REASONS", "VERIFICATION_REASONS", "ErrorReason", "LogReason",
]  # fmt: skip


class ErrorReason(NamedTuple):
    """The HTTP status that an error with this code is answered with, and its meaning for the operator."""

    status: int
    meaning: str


class LogReason(NamedTuple):
    """The level of the log lines with this code, and their meaning."""

    level: Literal["info", "warning", "error"]
    meaning: str


CREDENTIAL_REASONS: Mapping[str, ErrorReason] = MappingProxyType(
    {
        "malformed_credentials": ErrorReason(400, "The header that carries a credential holds something else."),
        "repeated_header": ErrorReason(400, "A header that carries a credential stands in the request twice."),
        "two_credentials": ErrorReason(400, "Two headers of the request carry a credential."),
        "malformed_cookie": ErrorReason(400, "The session cookie does not hold a session token."),
        "repeated_cookie": ErrorReason(
            400,
            "A session cookie stands in the request twice, with different values: another host of the domain may "
            "have set one.",
        ),
        "cookies_too_long": ErrorReason(400, "The request has more than 64 KiB of cookies; none was read."),
        "cross_site_request": ErrorReason(
            403,
            "Another site's page sent the request, or no header says where it comes from: its cookies prove "
            "nothing. Behind a proxy: check `trusted_proxies`, or `origin` in the cookie settings.",
        ),
        "credential_too_long": ErrorReason(400, "The credential is longer than `max_credential_length`."),
        "invalid_credentials": ErrorReason(401, "The credential is not valid."),
        "expired_credentials": ErrorReason(401, "The credential has expired."),
        "revoked_credentials": ErrorReason(401, "The session of the credential was revoked."),
        "session_unknown": ErrorReason(401, "The API knows no such session: ended, over, or made up."),
        "session_refused": ErrorReason(
            401,
            "The API refused the call, but not as one about a dead session (another code, or none). The cookies "
            "stay.",
        ),
        "token_replaced": ErrorReason(
            401,
            "The browser stepped up meanwhile, and has a new session token. Its cookies stay.",
        ),
        "user_unknown": ErrorReason(401, "The API does not know the user of the session any more."),
        "jwt_form": ErrorReason(401, "The text is not a JWT that can be read."),
        "jwt_algorithm": ErrorReason(401, "The `alg` of the JWT is not RS256."),
        "jwt_critical": ErrorReason(401, "The JWT has a `crit` header."),
        "jwt_type": ErrorReason(401, "The `typ` of the JWT is not that of a session JWT."),
        "jwt_key_id": ErrorReason(401, "The `kid` of the JWT is missing or malformed."),
        "jwt_unknown_key": ErrorReason(401, "No published key has the `kid` of the JWT."),
        "jwt_signature": ErrorReason(401, "The signature of the JWT is wrong."),
        "jwt_claims": ErrorReason(401, "A claim of the JWT is missing or of the wrong type."),
        "jwt_not_yet_valid": ErrorReason(401, "The JWT is from the future."),
        "jwt_issuer": ErrorReason(401, "The `iss` of the JWT is not `jwt_issuer`."),
        "jwt_audience": ErrorReason(401, "The `aud` of the JWT is not `jwt_audience`."),
        "jwt_subject": ErrorReason(401, "The `sub` of the JWT is missing, or not the session's user."),
        "jwt_session": ErrorReason(401, "The session claim of the JWT is missing or wrong."),
    }
)
"""Why the credential of a request is refused."""


PROVIDER_REASONS: Mapping[str, ErrorReason] = MappingProxyType(
    {
        "api_connect": ErrorReason(503, "No connection to the API."),
        "api_timeout": ErrorReason(503, "No reply of the API in time."),
        "api_broken": ErrorReason(503, "The connection to the API broke."),
        "api_too_large": ErrorReason(503, "The reply of the API was too large."),
        "api_busy": ErrorReason(503, "Too many calls to the API wait already."),
        "api_circuit_open": ErrorReason(503, "The API keeps failing, and is not called for a while."),
        "api_rate_limited": ErrorReason(503, "The API limits our calls (429)."),
        "api_status": ErrorReason(503, "The API replied with a status that says nothing about the credential."),
        "api_content": ErrorReason(503, "The reply of the API cannot be understood."),
        "api_mismatch": ErrorReason(503, "The reply of the API is about another user or session."),
        "jwks_connect": ErrorReason(503, "No connection for the key set."),
        "jwks_timeout": ErrorReason(503, "No key set in time."),
        "jwks_broken": ErrorReason(503, "The connection for the key set broke."),
        "jwks_too_large": ErrorReason(503, "The key set was too large."),
        "jwks_busy": ErrorReason(503, "Too many calls for the key set wait already."),
        "jwks_circuit_open": ErrorReason(
            503, "The key set's server keeps failing, and is not called for a while."
        ),
        "jwks_status": ErrorReason(503, "The key set came with a status other than 200."),
        "jwks_content": ErrorReason(503, "The reply is no key set, or none of its keys is fit for use."),
        "jwks_limited": ErrorReason(503, "An unknown `kid`, after too many fetches for unknown ones."),
        "jwks_rejected_key": ErrorReason(500, "The key set was refused to our secret key."),
        "user_refused": ErrorReason(503, "The API would not show the user (`load_user`)."),
        "provider_unavailable": ErrorReason(
            503,
            "Any other trouble with the API, where it cannot be known whether a credential is valid.",
        ),
        "provider_rejected_key": ErrorReason(500, "The API rejects the secret key."),
        "provider_refused": ErrorReason(500, "The API refuses correct requests: look into its dashboard."),
    }
)
"""Why it cannot be known whether a credential is good."""


OTHER_REASONS: Mapping[str, ErrorReason] = MappingProxyType(
    {
        "no_credentials": ErrorReason(401, "The request carries no credential."),
        "authentication_failed": ErrorReason(401, "Any other failed authentication."),
        "login_refused": ErrorReason(401, "A code, link or signature is wrong, used up or expired."),
        "login_unclear": ErrorReason(
            400,
            "A login was refused without a word about its code, link or signature; where it requested a session, "
            "the length may be the cause.",
        ),
        "duration_refused": ErrorReason(
            400, "The session is valid, but the API would not extend it by that much."
        ),
        "another_user": ErrorReason(401, "A code for `sessions.rotate` was that of another user."),
        "step_up_required": ErrorReason(401, "Signed in, but not recently or strongly enough."),
        "permission_denied": ErrorReason(403, "Signed in, but not allowed."),
        "body_too_long": ErrorReason(
            400,
            "The body of a request to a session route is too long. In the four frameworks that is their own 413.",
        ),
        "body_unreadable": ErrorReason(
            400,
            "The body was cut, or the server could not make sense of its chunks; nothing was done.",
        ),
        "body_malformed": ErrorReason(400, "The body is not the form or JSON that its type says."),
        "body_type": ErrorReason(400, "The body is neither a form nor JSON."),
        "fields_malformed": ErrorReason(400, "A field of the body or of the query cannot be read."),
        "fields_repeated": ErrorReason(400, "A field stands there twice."),
        "address_malformed": ErrorReason(400, "At sign-in: neither an e-mail address nor a phone number."),
        "code_malformed": ErrorReason(400, "At sign-in: the code does not have the form of one."),
        "no_code_asked_for": ErrorReason(400, "A code came without the cookie of the browser that requested one."),
        "no_such_factor": ErrorReason(400, "The user has no authenticator app that was verified before."),
        "no_such_address": ErrorReason(
            400,
            "A code for step-up was requested for an address that the user does not have.",
        ),
        "link_malformed": ErrorReason(400, "A magic link without its token."),
        "oauth_state": ErrorReason(
            400,
            "An OAuth sign-in came back to another browser than started it, or a second time, or too late.",
        ),
        "oauth_declined": ErrorReason(400, "The other provider came back with an error."),
        "oauth_proof": ErrorReason(400, "The other provider came back without a token."),
        "too_many_attempts": ErrorReason(
            429,
            "Codes were requested, or tried, too often; or the app's limiter refused the attempt.",
        ),
        "request_refused": ErrorReason(400, "The API refused a call of the app's own."),
        "not_found": ErrorReason(404, "The API knows no such user or object."),
        "provider_error": ErrorReason(503, "Any other trouble with the API."),
        "revocation_incomplete": ErrorReason(503, "Some sessions of a user could not be ended."),
        "not_tried": ErrorReason(503, "A session of a user that was left out after others could not be ended."),
        "configuration": ErrorReason(500, "A setting is wrong or missing."),
        "error": ErrorReason(500, "Any other error."),
    }
)
"""Why anything else fails: gates, login steps, the ready-made routes, calls by the app."""


ERROR_REASONS: Mapping[str, ErrorReason] = MappingProxyType(
    {**CREDENTIAL_REASONS, **PROVIDER_REASONS, **OTHER_REASONS}
)
"""All codes of errors."""

VERIFICATION_REASONS = frozenset(CREDENTIAL_REASONS) | frozenset(PROVIDER_REASONS)
"""The codes that a verification or a fetch of the key set may end with: the closed set of a metric's label."""

SESSION_OVER_REASONS = frozenset({"session_unknown", "user_unknown", "expired_credentials", "revoked_credentials"})
"""Codes of refusals after which it is certain that the session is over."""


LOG_REASONS: Mapping[str, LogReason] = MappingProxyType(
    {
        "circuit_open": LogReason("warning", "The API keeps failing; only one call a second is let through."),
        "circuit_closed": LogReason("info", "The API answers again."),
        "grace_used": LogReason("warning", "A session was accepted because of an earlier verification."),
        "jwks_private_key": LogReason(
            "error",
            "The key set holds a private or symmetric key. Its publisher must replace it.",
        ),
        "revocations_full": LogReason(
            "error",
            "More than `max_revocations`: everything issued before now is refused.",
        ),
        "feed_lost": LogReason("warning", "The revocation feed is further behind than `max_revocation_lag`."),
        "feed_back": LogReason("warning", "The revocation feed has caught up."),
        "feed_full": LogReason(
            "error",
            "Too many entries in the feed: everything issued before now is refused, everywhere.",
        ),
        "feed_publish_failed": LogReason(
            "error",
            "Redis refused an entry; it is tried again. Other processes do not know of it yet.",
        ),
        "feed_given_up": LogReason(
            "error",
            "Redis goes on refusing entries: until it takes them, the whole fleet does without the feed, and "
            "calls the API.",
        ),
        "feed_ended_unsent": LogReason(
            "error",
            "A process has ended before Redis had its revocations; no other process will hear of them.",
        ),
        "feed_foreign_entry": LogReason(
            "warning",
            "The feed holds an entry that is not ours: another secret, or another writer.",
        ),
        "clock_skew_redis": LogReason(
            "warning",
            "The clocks of this machine and of Redis differ by more than `leeway`; logged once. Revocations are "
            "dated by that of Redis.",
        ),
        "clock_skew_api": LogReason(
            "warning",
            "The clocks of this machine and of the API differ by more than `leeway`, by the `Date` of its "
            "replies; logged once. JWTs are judged by this machine's clock.",
        ),
        "clock_agrees_redis": LogReason("info", "The clocks of this machine and of Redis agree again."),
        "clock_agrees_api": LogReason("info", "The clocks of this machine and of the API agree again."),
        "redis_option_unused": LogReason(
            "warning",
            "The query of `redis_url` has an option that is set elsewhere, such as a timeout.",
        ),
        "store_lost": LogReason("warning", "Redis cannot be reached; each process goes on by itself."),
        "store_back": LogReason("warning", "Redis can be reached again."),
        "setting_unknown": LogReason(
            "warning",
            "A variable or key begins with `MOONKEY_` and is no setting: it has no effect. Logged once.",
        ),
        "extension_refused": LogReason(
            "warning",
            "The API refuses the length that `extend_on_activity` asks for: sessions in use are served, and not "
            "extended. Logged once an hour.",
        ),
        "extension_failed": LogReason(
            "warning",
            "A session in use could not be extended; the next attempt is a minute later.",
        ),
        "jwt_cookie_too_long": LogReason(
            "warning",
            "No browser would keep the session JWT's cookie: the token is verified each time. Logged once.",
        ),
        "secure_cookie_on_http": LogReason(
            "warning",
            "A sign-in over plain http has set a Secure cookie, which most browsers will not keep (on loopback "
            "some, such as Safari). Logged once.",
        ),
        "receiver_failed": LogReason("error", "A receiver of a signal raised an exception."),
        "page_incomplete": LogReason(
            "info",
            "A page is shown without what the app's context processors add: one of them needs the user, who "
            "cannot be determined.",
        ),
        "page_failed": LogReason(
            "warning",
            "The page for a refusal could not be rendered, as the app's layout needs the user, who cannot be "
            "determined: its problem body was sent.",
        ),
        "hook_failed": LogReason("error", "A hook raised an exception."),
        "listener_failed": LogReason("error", "A listener of the revocations raised an exception."),
        "watcher_failed": LogReason("error", "Watched connections could not be notified of a revocation."),
        "session_end_unknown": LogReason(
            "error",
            "An exception while verifying again whether a session goes on: its connection is closed at the known "
            "end.",
        ),
        "limiter_failed": LogReason(
            "error",
            "The app's limiter of sign-in raised an exception; the attempt was refused.",
        ),
        "send_refused": LogReason(
            "warning", "The API would not send a code to an address; the browser was not told."
        ),
        "sign_in_unclear": LogReason(
            "warning",
            "The API refused a sign-in, and its error code does not speak of the code, link or token. The length "
            "asked for (`sign_in.lifetime`, `sign_in.remember_me`) may be too long for it.",
        ),
        "sign_out_incomplete": LogReason(
            "warning",
            "A user signed out and the API could not be told; it is told once more in a moment.",
        ),
        "sign_out_given_up": LogReason(
            "error",
            "The API could not be told of a sign-out a second time: the session is refused here, and may still be "
            "active elsewhere.",
        ),
        "former_session": LogReason(
            "warning",
            "The session that a browser had before a sign-in could not be ended at the API.",
        ),
        "background_failed": LogReason("error", "Work beside the requests raised an exception."),
    }
)
"""The codes that log lines have of their own; others have that of their error."""
