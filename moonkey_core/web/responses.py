"""Refusals, and the headers and cookies added to other responses, as plain data for the framework packages.

RFC 6750 (challenges), RFC 9110 (401, 503), RFC 9111 (caching), RFC 9457 (problem bodies).
"""

from __future__ import annotations

import json
import logging
import math
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from moonkey_core import _clock
from moonkey_core._dataclass import dataclass
from moonkey_core._repeated_log import log_repeated
from moonkey_core.auth import (
    Auth,
    fresh_jwt,
    from_cookies,
    is_plain,
    is_read_and_plain,
    peek_error,
    peek_identity,
    provider_name,
    session_facts,
)
from moonkey_core.errors import (
    AuthenticationError,
    CrossSiteRequest,
    ExpiredCredentials,
    MalformedCredentials,
    MfaNotEnrolled,
    MissingCredentials,
    MoonKeyError,
    NotSupported,
    PermissionDenied,
    ProviderError,
    ProviderUnavailable,
    RequestRefused,
    StepUpRequired,
    TooManyAttempts,
    failed_call,
)
from moonkey_core.models import fits_challenge
from moonkey_core.settings import Settings
from moonkey_core.web.cookies import has_ended, response_cookies, sets_session_cookie
from moonkey_core.web.credentials import presents_any, presents_cookies
from moonkey_core.web.handles import HandleEffects, handle_effects
from moonkey_core.web.request import HeaderView, RequestInfo

if TYPE_CHECKING:
    from moonkey_core.revocations import Revocations

__all__ = [
    "Page", "Refusal", "ResponseEffects", "ResponseFacts", "must_resolve_first", "refuse", "response_effects",
    "vary_on",
]  # fmt: skip

logger: logging.Logger = logging.getLogger("moonkey")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_RETRY_AFTER = 5.0  # seconds, where the API named none

# The same text for every invalid credential: the client must not learn which check failed. Only that one was good
# and has expired is told, as the client can do something about that.
_DETAILS = {
    400: "The request's credential is malformed, or there is more than one.",
    401: "The session is invalid, has expired or was revoked. Sign in again.",
    403: "This session may not do that.",
    404: "There is no such object.",
    413: "The body of the request is too long.",
    415: "The body has to be JSON (Content-Type: application/json) or a form (application/x-www-form-urlencoded), "
    "uncompressed.",
    429: "That was tried too often. Try again later.",
    500: "The request could not be handled.",
    503: "Whether this session is valid cannot be determined at the moment. Try again later.",
}
_EXPIRED = "The credential has expired. Renew it and repeat the request, or sign in again."
_STEP_UP = "A fresher or stronger proof of who you are is needed for that."
_NOT_ENROLLED = "A second factor is needed for that. Enrol one first, then verify it."
_LOGIN_REFUSED = "The code, link or signature is wrong, used up or too old."
_LOGIN_UNCLEAR = (
    "The sign-in was refused, and not because of the code or link, which may still be good. Try later."
)
_TOLD = frozenset(
    {
        "login_refused",
        "address_malformed",
        "code_malformed",
        "no_code_asked_for",
        "no_such_address",
        "no_such_factor",
        "link_malformed",
        "link_state",
        "body_malformed",
        "fields_malformed",
        "fields_repeated",
        "not_supported",
    }
)
"""The reasons that a client is told, as it can do something about them. None says anything about a user."""

_REQUEST_REFUSED = "The request cannot be carried out as it is."
_SIGN_IN_AGAIN = "This session is too old for that. Sign in again."


@dataclass(frozen=True, slots=True)
class Page:
    """A page to be rendered by the framework's own template engine, as ``text/html; charset=utf-8``.

    Attributes:
        template: The name of the template, such as ``moonkey/sign_in.html``.
        context: Plain data: text, numbers, booleans, lists and dicts of them.
    """

    template: str
    context: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A whole HTTP response, ready to be written.

    Attributes:
        status: The status code.
        headers: The headers, with lower-case names.
        body: The body.
        page: The page that a framework with a template engine renders in place of the body, with the content type
            ``text/html; charset=utf-8``; ``None`` if there is none.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    page: Page | None = None


def refuse(error: MoonKeyError, settings: Settings, headers: HeaderView | None = None) -> Refusal:
    """Return the response for an error, and log the error under a request id that is in the body too.

    Args:
        error: The error.
        settings: The settings.
        headers: The headers of the request. Its ``x-request-id`` is used if it is short and of safe characters.
    """
    request_id = _request_id(headers)
    _log(error, request_id)
    status = error.status
    code = public_code(error)
    problem: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": public_detail(error),
        "instance": f"urn:request:{request_id}",
        **_wanted(error),
    }
    if code:
        problem["error"] = code
    found = (("content-type", "application/problem+json"), *refusal_headers(error, settings))
    return Refusal(status, found, json.dumps(problem).encode())


def refusal_headers(error: MoonKeyError, settings: Settings) -> tuple[tuple[str, str], ...]:
    """Return the headers of the response for an error, without those that describe its body. Nothing is logged."""
    found = [
        ("cache-control", "no-store"),
        ("vary", vary_on(settings.varied_headers)),
        ("x-content-type-options", "nosniff"),
    ]
    if isinstance(error, AuthenticationError | PermissionDenied):
        found.append(("www-authenticate", _challenge(settings.realm, public_code(error), _wanted(error))))
    if isinstance(error, ProviderError) and error.status == 503:
        found.append(("retry-after", _retry_after(error)))
    elif isinstance(error, TooManyAttempts) and error.retry_after is not None:
        found.append(("retry-after", str(max(1, math.ceil(error.retry_after)))))
    return tuple(found)


class ResponseFacts(NamedTuple):
    """The facts of a response that is about to be sent.

    Attributes:
        status: Its status.
        is_streamed: Whether code of the app makes its body while it is sent; a file is not streamed in this sense.
        vary: Its ``Vary``; several lines are joined by a comma.
        cache_control: Its ``Cache-Control``, likewise.
        set_cookies: The values of its ``Set-Cookie`` lines. They count only where cookies are configured.
    """

    status: int
    is_streamed: bool
    vary: str = ""
    cache_control: str = ""
    set_cookies: Sequence[str] = ()


DESCRIBED_HEADERS = frozenset(("vary", "cache-control", "set-cookie"))
"""The headers of a response that :class:`ResponseFacts` describes."""

usual_facts: Callable[[int, bool], ResponseFacts] = lru_cache(128)(ResponseFacts)
"""The facts of a response without caching headers and cookies, by its status and whether it is streamed."""


class ResponseEffects(NamedTuple):
    """The headers and cookies to add to a response. They may hold credentials: never log them.

    Attributes:
        headers: Each takes the place of all headers of that name.
        cookies: Values of further ``Set-Cookie`` lines.
        is_usual: Whether these are the effects on every response that depends on the identity and has no caching
            headers of its own. They hold no credential then, and replace no header.
        is_secret: Whether the response holds a credential, or removes one, so that no cache may store it. Then
            :meth:`against` is to be called, too.
    """

    headers: tuple[tuple[str, str], ...] = ()
    cookies: tuple[str, ...] = ()
    is_usual: bool = False
    is_secret: bool = False

    def against(self, names: Iterable[str]) -> ResponseEffects:
        """Return these effects, with those on targeted cache headers (RFC 9213) of a response that is secret.

        The caches that a header such as ``CDN-Cache-Control`` addresses obey it, and not ``Cache-Control``.

        Args:
            names: The names of all headers that the response has, in any case.
        """
        if not self.is_secret:
            return self
        found = sorted({name.lower() for name in names if _is_targeted(name)})
        if not found:
            return self
        closed = ((name, _NO_STORE.get(name, "no-store")) for name in found)
        return self._replace(headers=(*self.headers, *closed))

    def __repr__(self) -> str:
        """Return the numbers of headers and cookies, without their values."""
        return f"ResponseEffects({len(self.headers)} headers, {len(self.cookies)} cookies)"


_NO_EFFECTS = ResponseEffects()
_TARGETED = "-cache-control"  # the end of the names of targeted fields, RFC 9213 section 2
_NO_STORE = {"x-accel-expires": "0", "surrogate-control": "no-store", "edge-control": "no-store"}
"""Older headers for single caches, with the value that keeps a response out of them."""


def must_resolve_first(
    auth: Auth | None, facts: ResponseFacts, headers: HeaderView, info: RequestInfo | None, settings: Settings
) -> bool:
    """Return whether the identity must be resolved before the headers of a response go out.

    The body of a streamed response may read the identity later, and a cookie that is renewed then could not be
    sent any more. Only for a credential in cookies is that worth a network call.

    Args:
        auth: The identity of the request; ``None`` where it is not resolved yet.
        facts: The response.
        headers: The headers of the request.
        info: The other facts of the request, which decide whether its cookies count.
        settings: The settings.
    """
    return auth is None and _may_read_later(facts) and presents_cookies(headers, info, settings)


def response_effects(
    auth: Auth | None,
    facts: ResponseFacts,
    headers: HeaderView,
    settings: Settings,
    revocations: Revocations,
    *,
    is_asked_for: bool,
) -> ResponseEffects:
    """Return the headers and cookies to add to a response: cookies, a refreshed JWT, and rules for caches.

    A response depends on the identity if the app has read that, or if its body may still read it. A cache
    must learn which request headers the response depends on, and that it is private unless the app has decided
    otherwise (RFC 9111 section 3.5, RFC 9110 section 12.5.5). A response that may set cookies, or that
    carries a refreshed JWT, is stored nowhere. A refreshed JWT goes out in a header only where one is configured.

    Applying the effects a second time changes nothing.

    Args:
        auth: The identity of the request; ``None`` where it is not resolved.
        facts: The response.
        headers: The headers of the request.
        settings: The settings.
        revocations: The revocations of this process.
        is_asked_for: Whether the identity was resolved on behalf of the app, which then counts as reading it. A
            middleware that resolves each identity in advance does not do so on behalf of the app.
    """
    if auth is not None and not facts.set_cookies and has_usual_effects(auth, settings, is_asked_for):
        usual = usual_effects(settings.identity_headers)
        if not (facts.vary or facts.cache_control):
            return usual
        if facts.cache_control == "private" and facts.vary == usual.headers[0][1]:
            return _NO_EFFECTS  # they were applied before
    fresh = None if auth is None else fresh_jwt(auth)
    jwt_header = None if fresh is None else settings.fresh_jwt_header
    if jwt_header is not None and auth is not None and has_ended(auth, revocations):
        jwt_header = None  # a response that is on its way brings no JWT back
    cookies: tuple[str, ...] = ()
    may_set_cookies = False
    if auth is not None and from_cookies(auth) and (fresh is not None or peek_error(auth) is not None):
        may_set_cookies = True
        cookies = response_cookies(auth, settings, revocations, facts.set_cookies)
    given: HandleEffects | None = None
    if settings.adds_to_responses and auth is not None:
        given = handle_effects(auth, settings, facts.set_cookies, has_ended=has_ended(auth, revocations))
    signs_in_or_out = bool(facts.set_cookies) and sets_session_cookie(facts.set_cookies, settings)
    # Without a header for it, the app may hand the fresh JWT on in the body, as one of the ready-made routes does.
    is_secret = may_set_cookies or fresh is not None or signs_in_or_out or given is not None
    is_read = auth is not None and (is_asked_for or auth.accessed)
    if not (is_read or cookies or jwt_header or (_may_read_later(facts) and presents_any(headers, settings))):
        return ResponseEffects(is_secret=True) if signs_in_or_out else _NO_EFFECTS
    found = [("vary", vary_on(settings.varied_headers, facts.vary))]
    if given is not None:
        found += given.headers
        cookies += given.cookies
    if may_set_cookies or given is not None:
        if fresh is not None and jwt_header is not None and not may_set_cookies:
            found.append((jwt_header, fresh))
        found.append(("cache-control", "no-store"))
    elif fresh is not None and jwt_header is not None:
        found += [(jwt_header, fresh), ("cache-control", "no-store")]
    elif not facts.cache_control:
        found.append(("cache-control", "private"))
    left = _seconds_left(auth, facts, settings, revocations) if settings.expires_in_header else None
    if left is not None:
        found.append(("session-expires-in", str(left)))
    return ResponseEffects(tuple(found), cookies, is_secret=is_secret)


def has_usual_effects(auth: Auth, settings: Settings, is_asked_for: bool) -> bool:
    """Return whether an identity has no effects but the usual ones on a response without cookies.

    They are then those of :func:`usual_effects`, unless the response has caching headers of its own.

    Args:
        auth: The identity of the request.
        settings: The settings.
        is_asked_for: As for :func:`response_effects`.
    """
    return usual_check(settings, is_asked_for)(auth)


def usual_check(settings: Settings, is_asked_for: bool) -> Callable[[Auth], bool]:
    """Return what :func:`has_usual_effects` asks of an identity, for a caller that asks it in each request."""
    if settings.adds_to_responses:
        return _is_never_usual
    return is_plain if is_asked_for else is_read_and_plain


def _is_never_usual(_: Auth) -> bool:
    return False


def _is_targeted(name: str) -> bool:
    name = name.lower()
    return name.endswith(_TARGETED) or name in _NO_STORE


def _seconds_left(
    auth: Auth | None, facts: ResponseFacts, settings: Settings, revocations: Revocations
) -> int | None:
    """Return how long the session of a request lasts; ``None`` where the client is left without it.

    That is so after a sign-out, and where the response sets or removes the session cookies itself.
    """
    session = None if auth is None else session_facts(auth)
    if auth is None or session is None or has_ended(auth, revocations):
        return None
    if sets_session_cookie(facts.set_cookies, settings):
        return None
    own = settings.of_provider(provider_name(auth))
    if own.session_limit is None and getattr(own.provider, "states_session_start", True):
        return max(int(session[3] - _clock.wall()), 0)
    identity = peek_identity(auth)
    end = None if identity is None else identity[1].known_end
    return None if end is None else max(int(end.timestamp() - _clock.wall()), 0)


def _may_read_later(facts: ResponseFacts) -> bool:
    """Return whether the body may read the identity after the headers have been sent."""
    return facts.is_streamed and facts.status >= 200 and facts.status not in _WITHOUT_BODY


@lru_cache(64)
def usual_effects(identity_headers: tuple[str, ...]) -> ResponseEffects:
    """Return the effects of a plain identity on a response that has neither caching headers nor cookies.

    Args:
        identity_headers: The request headers that may hold a credential.
    """
    return ResponseEffects((("vary", vary_on(identity_headers)), ("cache-control", "private")), is_usual=True)


@lru_cache(256)  # an app has few of them, and every response needs one
def vary_on(credential_headers: tuple[str, ...], existing: str = "") -> str:
    """Return the ``Vary`` of a response that depends on these request headers and those that it names already."""
    names = [name.strip(" \t") for name in existing.split(",") if name.strip(" \t")]
    if "*" in names:
        return "*"
    present = {name.lower() for name in names}
    missing = [name for name in credential_headers if name.lower() not in present]
    return ", ".join(names + ["-".join(word.capitalize() for word in name.split("-")) for name in missing])


def public_code(error: MoonKeyError) -> str | None:
    """Return the error code of RFC 6750 section 3.1 or RFC 9470; none where no credential was presented."""
    if isinstance(error, MissingCredentials):
        return None
    if isinstance(error, CrossSiteRequest):
        return "cross_site_request"
    if isinstance(error, MalformedCredentials):
        return "invalid_request"
    if isinstance(error, StepUpRequired | MfaNotEnrolled):
        return "insufficient_user_authentication"
    if isinstance(error, AuthenticationError):
        return "invalid_token"
    return "insufficient_scope" if isinstance(error, PermissionDenied) else None


def public_detail(error: MoonKeyError) -> str | None:
    """Return what the client is told of an error."""
    if isinstance(error, CrossSiteRequest):
        return "The request was not sent by a page of this site."
    if isinstance(error, MissingCredentials):
        return "Sign in to continue."
    if isinstance(error, ExpiredCredentials):
        return _EXPIRED
    if isinstance(error, MfaNotEnrolled):
        return _NOT_ENROLLED
    if isinstance(error, StepUpRequired):
        return _SIGN_IN_AGAIN if error.sign_in_again else _STEP_UP
    if isinstance(error, NotSupported):
        return error.public_detail
    if error.reason == "login_refused":
        return _LOGIN_REFUSED
    if error.reason == "login_unclear":
        return _LOGIN_UNCLEAR
    if isinstance(error, RequestRefused) and error.status == 400:
        return _REQUEST_REFUSED
    return _DETAILS.get(error.status)


def _wanted(error: MoonKeyError) -> dict[str, object]:
    """Return what the client can do about an error, as members of a problem body: the unmet requirements.

    Names that could break out of a quoted string are left out. A credential that has merely expired is told apart
    from one that is not valid.
    """
    if isinstance(error, StepUpRequired):
        found: dict[str, object] = {
            "acr_values": [name for name in error.acr_values if fits_challenge(name)] or None,
            "max_age": error.max_age,
            "factor_count": error.factor_count,
            "sign_in_again": error.sign_in_again or None,
            "mfa": error.mfa or None,
        }
    elif isinstance(error, MfaNotEnrolled):
        found = {"reason": error.reason, "enrol_url": error.enrol_url}
    elif isinstance(error, PermissionDenied):
        found = {"scope": " ".join(name for name in error.scope if fits_challenge(name)) or None}
    else:
        if isinstance(error, ExpiredCredentials):
            return {"reason": "expired"}
        if error.reason in _TOLD:
            return {"reason": error.reason}
        return {"reason": "invalid"} if public_code(error) == "invalid_token" else {}
    return {name: value for name, value in found.items() if value is not None}


def _challenge(realm: str, code: str | None, wanted: Mapping[str, object]) -> str:
    """Return the ``WWW-Authenticate`` challenge (RFC 6750 section 3, RFC 9470 section 3)."""
    said = f'Bearer realm="{realm}"' + (f', error="{code}"' if code else "")
    if "scope" in wanted:
        return f'{said}, scope="{wanted["scope"]}"'
    if wanted.get("reason") == "expired":
        return f'{said}, error_description="{_EXPIRED}"'
    if wanted.get("reason") == "mfa_not_enrolled":
        return f'{said}, error_description="{_NOT_ENROLLED}"'
    if wanted and "reason" not in wanted:
        said += f', error_description="{_SIGN_IN_AGAIN if "sign_in_again" in wanted else _STEP_UP}"'
    names, age = wanted.get("acr_values"), wanted.get("max_age")
    if isinstance(names, list):
        said += f', acr_values="{" ".join(names)}"'
    return f'{said}, max_age="{age:d}"' if isinstance(age, int) else said


def _retry_after(error: ProviderError) -> str:
    seconds = error.retry_after if isinstance(error, ProviderUnavailable) else None
    return str(max(1, math.ceil(_RETRY_AFTER if seconds is None else seconds)))


def _request_id(headers: HeaderView | None) -> str:
    given = headers("x-request-id") if headers else ()
    if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        return given[0]
    return secrets.token_hex(8)


def _log(error: MoonKeyError, request_id: str) -> None:
    extra = {"reason": error.reason, "request_id": request_id, **failed_call(error)}
    if error.status >= 500 and error.status != 503:
        # The operator has to correct this, so the whole message is logged; it never contains a secret.
        sentence = str(error)
        log_repeated(
            logging.ERROR,
            "refused: %s [%s] request %s",
            sentence,
            error.reason,
            request_id,
            extra=extra,
            sentence=sentence,
        )
        return
    what = (error.status, error.reason_and_evidence, request_id)
    if error.status == 503:
        log_repeated(logging.WARNING, "refused with %d: %s, request %s", *what, extra=extra)
    else:
        logger.info("refused with %d: %s, request %s", *what, extra=extra)
