"""Refusals for browsers: a page or a redirect, where other clients get a problem body."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlencode

from moonkey_core._repeated_log import log_repeated
from moonkey_core.errors import (
    AuthenticationError,
    CrossSiteRequest,
    MalformedCredentials,
    MoonKeyError,
    StepUpRequired,
)
from moonkey_core.settings import Settings
from moonkey_core.settings.sign_in_settings import safe_target
from moonkey_core.web.request import HeaderView
from moonkey_core.web.responses import Page, Refusal, refuse, vary_on

__all__ = ["PAGE_HEADERS", "TEMPLATES", "Page", "Visit", "refuse_visit", "log_missing_page"]

TEMPLATES = Path(__file__).parent.parent / "templates"
"""Folder for a template engine, with the pages in ``moonkey/``, for Jinja2 and Django. Escaping must be on."""

PAGE_HEADERS = (
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'",
    ),
    ("referrer-policy", "same-origin"),  # "no-referrer" would turn the Origin of our own forms into "null"
    ("x-content-type-options", "nosniff"),
)
"""Headers of every page: it needs no script, and no content of another origin (CSP level 3)."""

_QUALITY = re.compile(r"[ \t]*q[ \t]*=[ \t]*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*", re.IGNORECASE)
_PAGES = ("text/html", "application/xhtml+xml")
_LONGEST_ACCEPT = 2048
_SAFE = ("GET", "HEAD")

_TITLES = {
    400: "That did not work",
    401: "Sign in to continue",
    403: "You may not do that",
    404: "There is no such page",
    429: "Too many tries",
    500: "Something is wrong on our side",
    503: "Sign-in is not available at the moment",
}


@dataclass(frozen=True, slots=True)
class Visit:
    """The request that is refused.

    Attributes:
        method: Its method.
        target: Its path with the query, as the browser sent it.
        routes: The path under which the ready-made routes are mounted in this app, such as ``/auth``; ``None``
            where they are not.
    """

    method: str
    target: str
    routes: str | None


def wants_page(headers: HeaderView) -> bool:
    """Return whether a request prefers HTML to JSON (RFC 9110 section 12.5.1). The default is JSON."""
    accept = ",".join(headers("accept"))[:_LONGEST_ACCEPT].lower()
    best, names_html = {"page": 0.0, "json": 0.0}, "text/html" in accept
    for part in accept.split(","):
        kind, _, parameters = part.partition(";")
        kind = kind.strip(" \t")
        which = (
            "page" if kind in _PAGES else "json" if kind in ("application/json", "*/*", "application/*") else None
        )
        if which is None or (kind == "*/*" and names_html):
            continue
        found = [match for one in parameters.split(";") if (match := _QUALITY.fullmatch(one))]
        best[which] = max(best[which], float(found[0][1]) if found else 1.0)
    return best["page"] > 0 and best["page"] >= best["json"]


def refuse_visit(error: MoonKeyError, settings: Settings, headers: HeaderView, visit: Visit) -> Refusal:
    """Return the response for an error, and log it as :func:`~moonkey_core.web.responses.refuse` does.

    In an app with cookies, a browser that requests a page is redirected to sign in or to step up, and returns
    afterwards; for any other error it gets a page. A request with a credential in a header, or one that does not
    prefer HTML, gets the problem body.
    """
    refusal = refuse(error, settings, headers)
    if settings.cookies is None:
        return refusal
    refusal = _varying(refusal)
    if not wants_page(headers) or any(headers(name) for name in settings.credential_headers):
        return refusal
    target = _page_to_visit(error, settings, visit)
    if target is not None and visit.method in _SAFE:
        found = [pair for pair in refusal.headers if pair[0] not in ("content-type", "www-authenticate")]
        return Refusal(303, (*found, ("location", target)), b"")
    context = {
        "title": _TITLES.get(refusal.status, "That did not work"),
        "status": refusal.status,
        "reason": "step_up" if isinstance(error, StepUpRequired) else _page_reason(error),
        "sign_in_url": target,
        "urls": {} if visit.routes is None else urls(visit.routes),
    }
    return replace(refusal, page=Page("moonkey/error.html", context))


def urls(routes: str) -> dict[str, str]:
    """Return the paths of the ready-made routes, for templates; ``routes`` is where they are mounted."""
    return {
        "style": f"{routes}/style.css",
        "sign_in": f"{routes}/sign-in",
        "send_otp": f"{routes}/sign-in/otp",
        "verify_otp": f"{routes}/sign-in/otp/verify",
        "magic": f"{routes}/sign-in/magic",
        "session": f"{routes}/session",
        "sign_out": f"{routes}/sign-out",
        "sessions": f"{routes}/sessions",
        "revoke_others": f"{routes}/sessions/revoke-others",
        "step_up": f"{routes}/step-up",
        "step_up_send_otp": f"{routes}/step-up/otp",
        "step_up_verify_otp": f"{routes}/step-up/otp/verify",
        "step_up_totp": f"{routes}/step-up/totp",
    }


def _page_reason(error: MoonKeyError) -> str:
    if isinstance(error, CrossSiteRequest):
        return "cross_site"
    return "sign_in" if isinstance(error, AuthenticationError) and error.status == 401 else "refused"


def log_missing_page(error: MoonKeyError) -> None:
    """Log that a refusal has no page, as the app's own layout needs the user, who cannot be determined."""
    log_repeated(logging.WARNING, "no page for a refusal: %s", error.reason, extra={"reason": "page_failed"})


def _page_to_visit(error: MoonKeyError, settings: Settings, visit: Visit) -> str | None:
    """Return the page where the user can sign in or step up, with the way back; ``None`` where there is none."""
    if not isinstance(error, AuthenticationError) or isinstance(error, MalformedCredentials):
        return None
    query: dict[str, str] = {}
    if isinstance(error, StepUpRequired) and not error.sign_in_again:
        page = settings.sign_in.step_up_page or _mounted(visit, "/step-up")
        query = step_up_query(error)
    else:
        page = settings.sign_in.page or _mounted(visit, "/sign-in")
    if page is None or (visit.method in _SAFE and _path(page) == _path(visit.target)):
        return None  # no page; or the page itself is behind a gate, and would redirect to itself for ever
    back = safe_target(visit.target) if visit.method in _SAFE else ""
    query = {**({"next": back} if back else {}), **query}
    joint = "&" if "?" in page else "?"
    return page + (joint + urlencode(query) if query else "")


def _path(target: str) -> str:
    return target.partition("?")[0]


def _mounted(visit: Visit, path: str) -> str | None:
    return None if visit.routes is None else f"{visit.routes}{path}"


def step_up_query(error: StepUpRequired) -> dict[str, str]:
    """Return the query for the step-up page. It has no secret, and the page does not trust it."""
    found = {"acr_values": " ".join(error.acr_values)} if error.acr_values else {}
    return found if error.max_age is None else {**found, "max_age": str(error.max_age)}


def _varying(refusal: Refusal) -> Refusal:
    found = [(name, vary_on(("accept",), value) if name == "vary" else value) for name, value in refusal.headers]
    return replace(refusal, headers=tuple(found))
