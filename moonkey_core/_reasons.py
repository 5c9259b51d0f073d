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
    "SESSION_OVER_REASONS", "TOKEN_OVER_REASONS", "VERIFICATION_REASONS", "ErrorReason", "LogReason",
]  # fmt: skip


class ErrorReason(NamedTuple):
    """The HTTP status that an error with this code is answered with, and its meaning for the operator."""

    status: int
    meaning: str


class LogReason(NamedTuple):
    """The level of the log lines with this code, and their meaning."""

    level: Literal["debug", "info", "warning", "error"]
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
        "token_inactive": ErrorReason(
            401, "The authorization server says that the token is not active: expired, revoked, or never issued."
        ),
        "token_replaced": ErrorReason(
            401,
            "The browser stepped up meanwhile, and has a new session token. Its cookies stay.",
        ),
        "user_unknown": ErrorReason(401, "The API does not know the user of the session any more."),
        "opaque_credential": ErrorReason(
            401, "The credential is no JWT, and the provider cannot be asked about any other."
        ),
        "jwt_form": ErrorReason(401, "The text is not a JWT that can be read."),
        "jwt_encrypted": ErrorReason(401, "The token is encrypted, for another recipient."),
        "jwt_algorithm": ErrorReason(
            401, "The `alg` of the JWT is not one that is accepted, or not one of its key."
        ),
        "jwt_critical": ErrorReason(401, "The JWT has a `crit` header."),
        "jwt_type": ErrorReason(401, "The `typ` of the JWT is not that of a session JWT."),
        "jwt_key_id": ErrorReason(401, "The `kid` of the JWT is missing or malformed."),
        "jwt_unknown_key": ErrorReason(401, "No published key has the `kid` of the JWT."),
        "jwt_signature": ErrorReason(401, "The signature of the JWT is wrong."),
        "jwt_claims": ErrorReason(401, "A claim of the JWT is missing or of the wrong type."),
        "jwt_not_yet_valid": ErrorReason(401, "The JWT is from the future."),
        "jwt_lifetime": ErrorReason(401, "The JWT is valid for longer than is accepted, from `iat` to `exp`."),
        "jwt_issuer": ErrorReason(401, "The `iss` of the JWT is not a configured issuer."),
        "jwt_audience": ErrorReason(401, "The JWT is for another audience than the configured one."),
        "jwt_subject": ErrorReason(401, "The `sub` of the JWT is missing, or not the session's user."),
        "jwt_session": ErrorReason(401, "The session claim of the JWT is missing or wrong."),
        "id_token": ErrorReason(
            401,
            "The token is an ID token, which tells an app who its user is. Send the access token for this API.",
        ),
        "refresh_token": ErrorReason(401, "The token is a refresh token."),
        "logout_token": ErrorReason(401, "The token is a message about a sign-out or another event."),
        "token_kind": ErrorReason(401, "The token is of another kind than those that are accepted."),
        "machine_token": ErrorReason(401, "The token is that of a program, not of a user (`allow_machines`)."),
        "agent_token": ErrorReason(
            401, "The token is that of an agent or a widget, not of a user (`allow_machines`)."
        ),
        "other_client": ErrorReason(
            401,
            "The token was issued to a client or an origin that is not among the accepted ones, or names none.",
        ),
        "other_tenant": ErrorReason(401, "The token is that of another tenant."),
        "session_pending": ErrorReason(401, "The user has not finished signing in."),
        "anonymous_key": ErrorReason(401, "The token is a key of the project, not the token of a user."),
        "anonymous_user": ErrorReason(
            401, "The user is an anonymous one, who has proved nothing (`allow_anonymous`)."
        ),
        "sender_constrained": ErrorReason(
            401, "The token is bound to a key of its client (`cnf`), and was sent without proof of it."
        ),
        "claims_overage": ErrorReason(
            401, "The token has left out claims because they were too many (`allow_overage`)."
        ),
        "jwt_actor": ErrorReason(401, "The token does not say who acts for its user, although it has an `act`."),
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
        "api_over_budget": ErrorReason(
            503, "`call_budget` is spent: sessions that are known to the process go first."
        ),
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
        "discovery_content": ErrorReason(
            503, "The provider's discovery document cannot be read, or has no address of a key set with https."
        ),
        "discovery_issuer": ErrorReason(
            500, "The provider's discovery document is that of another issuer than the configured one."
        ),
        "provider_scope": ErrorReason(500, "A provider of one's own gave ids of a scope that it does not name."),
        "jwks_limited": ErrorReason(503, "An unknown `kid`, after too many fetches for unknown ones."),
        "feed_refused": ErrorReason(
            503, "The revocation feed is lost, and `on_feed_lost` says that no JWT is accepted meanwhile."
        ),
        "jwks_rejected_key": ErrorReason(500, "The key set was refused to our own key."),
        "permissions_unknown": ErrorReason(
            503, "What the roles of the session permit is not known, and the route asks for permissions."
        ),
        "user_refused": ErrorReason(503, "The API would not show the user (`load_user`)."),
        "records_lost": ErrorReason(
            503,
            "The shared store cannot be reached: it is not known whether the user has verified a second factor.",
        ),
        "provider_unavailable": ErrorReason(
            503,
            "Any other trouble with the API, where it cannot be known whether a credential is valid.",
        ),
        "provider_rejected_key": ErrorReason(500, "The provider rejects our own key."),
        "provider_refused": ErrorReason(500, "The provider refuses correct requests: look into its dashboard."),
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
        "renewal_refused": ErrorReason(
            401,
            "A connection was to be renewed with an older credential, or with that of another user or session. It "
            "goes on as before.",
        ),
        "step_up_required": ErrorReason(401, "Signed in, but not recently or strongly enough."),
        "mfa_not_enrolled": ErrorReason(
            401, "Signed in, and a second factor is required (`mfa_max_age`), but the user has enrolled none."
        ),
        "permission_denied": ErrorReason(403, "Signed in, but not allowed."),
        "actor_refused": ErrorReason(403, "Somebody acts for the user, where the route has `allow_actor=False`."),
        "machine_refused": ErrorReason(403, "A machine has called a route that is for users."),
        "body_too_long": ErrorReason(413, "The body of a request to a session route is too long."),
        "body_unreadable": ErrorReason(
            400,
            "The body was cut, or the server could not make sense of its chunks; nothing was done.",
        ),
        "body_malformed": ErrorReason(400, "The body is not the form or JSON that its type says."),
        "body_type": ErrorReason(
            415, "The body is neither a form nor JSON, by its `Content-Type`, or is compressed."
        ),
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
        "link_state": ErrorReason(
            400,
            "A magic link was opened in another browser than asked for it, or too late, or was changed.",
        ),
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
        "not_supported": ErrorReason(501, "The configured provider cannot do what was called."),
        "provider_error": ErrorReason(503, "Any other trouble with the API."),
        "revocation_incomplete": ErrorReason(503, "Some sessions of a user could not be ended."),
        "not_tried": ErrorReason(503, "A session of a user that was left out after others could not be ended."),
        "configuration": ErrorReason(500, "A setting is wrong or missing."),
        "too_many_revocations": ErrorReason(
            500,
            "A revocation was not added, as there are `max_revocations` already and the provider cannot be asked.",
        ),
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

TOKEN_OVER_REASONS = frozenset({"token_inactive"})
"""Codes of refusals after which a credential is certainly dead, while its session may go on with another one."""

SESSION_OVER_REASONS = TOKEN_OVER_REASONS | frozenset(
    {"session_unknown", "user_unknown", "expired_credentials", "revoked_credentials"}
)
"""Codes of refusals after which it is certain that the session is over, or at least this credential of it."""


LOG_REASONS: Mapping[str, LogReason] = MappingProxyType(
    {
        "circuit_open": LogReason("warning", "The API keeps failing; only one call a second is let through."),
        "call_budget_spent": LogReason(
            "warning", "A credential was not verified, and its request refused with 503: `call_budget` is spent."
        ),
        "circuit_closed": LogReason("info", "The API answers again."),
        "grace_used": LogReason("warning", "A session was accepted because of an earlier verification."),
        "jwks_private_key": LogReason(
            "error",
            "The key set holds a private or symmetric key. Its publisher must replace it.",
        ),
        "revocations_full": LogReason(
            "error",
            "More than `max_untold_revocations`: everything issued before now is refused.",
        ),
        "revocations_folded": LogReason(
            "warning",
            "Nearly `max_untold_revocations`: users with many are refused in all their sessions until now.",
        ),
        "revocations_overflow": LogReason(
            "warning",
            "More than `max_revocations` ended sessions: the API is asked about what it has not vouched for since "
            "the oldest of them.",
        ),
        "feed_lost": LogReason(
            "warning",
            "The revocation feed is further behind than `max_revocation_lag`; the line says how late a revocation "
            "of another process may take effect meanwhile.",
        ),
        "feed_lost_bound": LogReason(
            "info",
            "The provider cannot be asked about a JWT: the line says how late a revocation may take effect "
            "while the feed is lost. Logged at start.",
        ),
        "redis_trouble": LogReason(
            "warning", "Why Redis still cannot be used, where the cause is another one than before."
        ),
        "redis_rights_missing": LogReason(
            "warning",
            "Redis refuses commands, or keys, to the user of `redis_url`: the line names them. Looked at when a "
            "process connects, and now and then.",
        ),
        "redis_rights_unseen": LogReason("debug", "Whether Redis grants all that is needed could not be seen."),
        "feed_back": LogReason("warning", "The revocation feed has caught up."),
        "feed_full": LogReason(
            "error",
            "Too many entries in the feed: everything issued before now is refused, everywhere.",
        ),
        "feed_overflow": LogReason(
            "warning",
            "Too many ended sessions in the feed: the API is asked about what it has not vouched for since.",
        ),
        "feed_takes_no_more": LogReason(
            "error",
            "Too many entries in the feed of a provider that cannot be asked: calls that revoke raise an error.",
        ),
        "feed_command_refused": LogReason(
            "warning",
            "Redis refused a command by which processes share work: each of them does it by itself.",
        ),
        "feed_snapshot_failed": LogReason(
            "warning",
            "The snapshot of the feed could not be read or added to. Processes that start read the whole feed "
            "instead, which takes longer.",
        ),
        "feed_publish_failed": LogReason(
            "error",
            "Redis refused an entry; it is tried again. Other processes do not know of it yet.",
        ),
        "feed_not_replicated": LogReason(
            "warning",
            "Fewer replicas than `redis_replicas` have a revocation. It is pending, and they are asked again.",
        ),
        "feed_given_up": LogReason(
            "error",
            "Redis goes on refusing entries: until it takes them, the whole fleet does without the feed, and "
            "calls the API.",
        ),
        "feed_reader": LogReason(
            "info",
            "With `feed_directory`: this process reads the feed for all of its machine from now on.",
        ),
        "feed_directory": LogReason(
            "warning",
            "`feed_directory` is not what it has to be: a folder of the app's own user, with mode 700. The "
            "process reads the feed by itself.",
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
        "provider_not_chosen": LogReason(
            "warning",
            "A variable is that of a provider that is not chosen: it has no effect. Logged once.",
        ),
        "setting_without_effect": LogReason(
            "warning",
            "A setting is a detail of what never happens with the others: it has no effect. Logged once.",
        ),
        "setting_unknown": LogReason(
            "warning",
            "A variable or key begins with `MOONKEY_` and is no setting: it has no effect. Logged once.",
        ),
        "doctor": LogReason("info", "What the report of a worker has found, where nothing is wrong."),
        "doctor_wrong": LogReason("warning", "What the report of a worker has found to be wrong, with the mend."),
        "cors_unlisted": LogReason(
            "warning",
            "A `CORSMiddleware` of Starlette's does not list the headers that pages of other origins send or "
            "read. Logged once for an app.",
        ),
        "extension_refused": LogReason(
            "warning",
            "The API refuses the length that `extend_on_activity` asks for: sessions in use are served, and not "
            "extended. Logged once an hour. Or it refuses to extend one session, which alone is left as it is.",
        ),
        "extension_failed": LogReason(
            "warning",
            "A session in use could not be extended; the next attempt is a minute later.",
        ),
        "fresh_jwt_held_back": LogReason(
            "warning",
            "The API sent a new session JWT that would not be accepted, or whose key could not be fetched: it was "
            "not handed on. The line names the reason.",
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
        "translation_failed": LogReason(
            "error", "`sign_in.translate` raised an exception, or lost a `{name}`: the text is shown in English."
        ),
        "user_incomplete": LogReason(
            "warning",
            "A page has only the id of its user, as the API could not be asked for the rest.",
        ),
        "hook_failed": LogReason("error", "A hook raised an exception."),
        "call_untraced": LogReason("error", "OpenTelemetry raised an exception; the call was made nevertheless."),
        "listener_failed": LogReason("error", "A listener of the revocations raised an exception."),
        "watcher_failed": LogReason("error", "Watched connections could not be notified of a revocation."),
        "session_end_unknown": LogReason(
            "error",
            "An exception while verifying again whether a session goes on: its connection is closed at the known "
            "end.",
        ),
        "feed_reports_dropped": LogReason(
            "warning",
            "The stream of the feed is half full, so the other processes are not told of dead credentials for "
            "now. A connection with one of them may last until the known end of its session.",
        ),
        "reports_limited": LogReason(
            "warning",
            "So many dead credentials are presented that the other processes are not told of all. A connection "
            "with one of them may last until the known end of its session.",
        ),
        "sign_out_limited": LogReason(
            "warning",
            "So many credentials are signed out while their provider cannot be asked that the other processes are "
            "not told of all. They are refused in the process that was asked.",
        ),
        "limiter_failed": LogReason(
            "error",
            "The app's limiter of sign-in raised an exception; the attempt was refused.",
        ),
        "clients_unknown": LogReason(
            "warning",
            "Without `trusted_proxies` the addresses of clients are not known: there is no limit per client. "
            "Logged at start.",
        ),
        "sms_limit": LogReason(
            "error",
            "The app has sent as many text messages as `sign_in.max_sms` allows; no more are sent for a while.",
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
            "A user signed out and the API could not be told; it is told again later.",
        ),
        "session_end_given_up": LogReason(
            "error",
            "The API could not be told of the end of a session, and is told no more: a day is over, too many wait "
            "already, or the process or its client has ended. The session may still be active.",
        ),
        "former_session": LogReason(
            "warning",
            "The session that a browser had before a sign-in could not be ended at the API.",
        ),
        "background_failed": LogReason("error", "Work beside the requests raised an exception."),
        "record_not_ended": LogReason(
            "warning",
            "A user signed in or out, and what was recorded of a second factor could not be ended in the shared "
            "store: it is refused where the revocation feed is heard.",
        ),
        "step_up_not_recorded": LogReason(
            "warning",
            "A user has stepped up, and that could not be recorded for their other clients, as the shared store "
            "cannot be reached.",
        ),
        "handle_ignored": LogReason(
            "debug",
            "A handle that a client has presented (`client.mfa`, `sessions.note_start`) does not count. The line "
            "says why, and nothing of the handle.",
        ),
    }
)
"""The codes that log lines have of their own; others have that of their error."""
