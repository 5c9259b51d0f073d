"""Refusals for browsers: a page or a redirect, where other clients get a problem body."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from moonkey_core._dataclass import dataclass
from moonkey_core._repeated_log import log_repeated
from moonkey_core.errors import (
    AuthenticationError,
    CrossSiteRequest,
    MalformedCredentials,
    MfaNotEnrolled,
    MoonKeyError,
    StepUpRequired,
)
from moonkey_core.settings import Settings
from moonkey_core.settings.checks import setting_error
from moonkey_core.settings.cookie_settings import parse_origin
from moonkey_core.settings.sign_in_settings import safe_target
from moonkey_core.web.origin import own_origin
from moonkey_core.web.request import HeaderView, RequestInfo
from moonkey_core.web.responses import Page, Refusal, refuse, vary_on
from moonkey_core.web.texts import texts_for

__all__ = ["PAGE_HEADERS", "TEMPLATES", "Page", "Visit", "complete_page", "refuse_visit", "log_missing_page"]

TEMPLATES = Path(__file__).parent.parent / "templates"
"""Folder for a template engine, with the pages in ``moonkey/``, for Jinja2 and Django. Escaping must be on."""

PAGE_HEADERS = (
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'",
    ),
    ("referrer-policy", "same-origin"),  # "no-referrer" would turn the Origin of our own forms into "null"
)
"""Further headers of every page: it needs no script, and no content of another origin (CSP level 3)."""

_QUALITY = re.compile(r"[ \t]*q[ \t]*=[ \t]*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*", re.IGNORECASE)
_PAGES = ("text/html", "application/xhtml+xml")
_LONGEST_ACCEPT = 2048
_LONGEST_REFERER = 4096
_SAFE = ("GET", "HEAD")
_FORM_FIELDS = ("next", "remember_me", "acr_values", "max_age")

_ERROR_TITLES = {
    "no_code": "title_no_code",
    "code_expired": "title_no_code",
    "link_broken": "title_link_broken",
    "link_refused": "title_link_refused",
    "link_elsewhere": "title_link_elsewhere",
    "link_unclear": "title_link_unclear",
    "oauth_state": "title_oauth",
    "oauth_declined": "title_oauth",
    "oauth_unclear": "title_oauth",
    "step_up": "title_step_up",  # the user is signed in
    "mfa_not_enrolled": "title_mfa_not_enrolled",
}
"""The titles of error pages with a title of their own, by reason; the others have that of their status."""

_ERROR_DETAILS = {"sign_in": "sign_in_needed"}
"""The texts of error pages by reason, where the text has another name than the reason."""


@dataclass(frozen=True, slots=True)
class Visit:
    """The request that is refused.

    Attributes:
        method: Its method.
        target: Its path with the query, as the browser sent it.
        routes: The path under which the ready-made routes are mounted in this app, such as ``/auth``; ``None``
            where they are not.
        form: The path of the page with the form that was posted, if that is known.
        info: Its other facts. Without them, the page that a refused form came from is not known.
    """

    method: str
    target: str
    routes: str | None
    form: str | None = None
    info: RequestInfo | None = None


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
    form_page = "" if visit.method in _SAFE else _page_of_form(headers, settings, visit)
    target = _page_to_visit(error, settings, visit, form_page)
    if target is not None and visit.method in _SAFE:
        found = [pair for pair in refusal.headers if pair[0] not in ("content-type", "www-authenticate")]
        return Refusal(303, (*found, ("location", target)), b"")
    context = {
        "status": refusal.status,
        "reason": "step_up" if isinstance(error, StepUpRequired) else _page_reason(error),
        "sign_in_url": target,
        "retry_url": _retry_url(error, visit),
        "form_url": visit.form if visit.method not in _SAFE else None,
        "was_sent": visit.method not in _SAFE,
        "comes_back": bool(form_page),
        "urls": {} if visit.routes is None else urls(visit.routes),
    }
    return replace(refusal, page=complete_page(Page("moonkey/error.html", context), settings))


def complete_page(page: Page, settings: Settings) -> Page:
    """Return a page with what all pages share in its context: the texts, the language, the way to the site.

    Completing a page a second time changes nothing.
    """
    if "texts" in page.context:
        return page
    name = page.template.rpartition("/")[2].removesuffix(".html")
    sign_in = settings.sign_in
    texts = texts_for(name, page.context, sign_in.translate)
    context = {
        **page.context,
        "texts": texts,
        "language": sign_in.page_language,
        "site_name": sign_in.site_name,
        "home_url": sign_in.home,
        "has_error": bool(page.context.get("error") or page.context.get("failed")),
        "query": _form_query(page.context),
    }
    if name == "error":
        reason, status = str(page.context["reason"]), page.context["status"]
        context["title"] = texts.get(_ERROR_TITLES.get(reason, f"title_{status}")) or texts["title_400"]
        context["detail"] = texts.get(_ERROR_DETAILS.get(reason, reason)) or texts.get(str(status)) or texts["400"]
    return replace(page, context=context)


def _form_query(context: Mapping[str, Any]) -> str:
    """Return the query of a form's address, with which a ``GET`` of that address leads back to the same form."""
    found = {name: context[name] for name in _FORM_FIELDS if context.get(name)}
    return "?" + urlencode({**found, **({"remember_me": "on"} if "remember_me" in found else {})}) if found else ""


def urls(routes: str) -> dict[str, str]:
    """Return the paths of the ready-made routes, for templates; ``routes`` is where they are mounted."""
    return {
        "style": f"{routes}/style.css",
        "icon": f"{routes}/icon.svg",
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
    if isinstance(error, MfaNotEnrolled):
        return "mfa_not_enrolled"
    return "sign_in" if isinstance(error, AuthenticationError) and error.status == 401 else "refused"


def log_missing_page(error: MoonKeyError) -> None:
    """Log that a refusal has no page, as the app's own layout needs the user, who cannot be determined."""
    log_repeated(logging.WARNING, "no page for a refusal: %s", error.reason, extra={"reason": "page_failed"})


def _page_to_visit(error: MoonKeyError, settings: Settings, visit: Visit, form_page: str) -> str | None:
    """Return the page where the user can sign in or step up, with the way back; ``None`` where there is none.

    The way back leads to the page that was requested or, after a form, to ``form_page``.
    """
    if not isinstance(error, AuthenticationError) or isinstance(error, MalformedCredentials):
        return None
    query: dict[str, str] = {}
    if isinstance(error, MfaNotEnrolled):
        page = error.enrol_url
        if page is not None and not page.startswith("/"):
            return page  # of another site, which has no way back to this one
    elif isinstance(error, StepUpRequired) and not error.sign_in_again:
        page = settings.sign_in.step_up_page or _mounted(settings, visit.routes, "/step-up")
        query = step_up_query(error)
    else:
        page = settings.sign_in.page or mounted_sign_in(settings, visit.routes)
    back = safe_target(visit.target) if visit.method in _SAFE else form_page
    if page is None or (visit.method in _SAFE and _path(page) == _path(visit.target)):
        return None  # no page; or the page itself is behind a gate, and would redirect to itself for ever
    query = {**({"next": back} if back and _path(back) != _path(page) else {}), **query}
    joint = "&" if "?" in page else "?"
    return page + (joint + urlencode(query) if query else "")


def _page_of_form(headers: HeaderView, settings: Settings, visit: Visit) -> str:
    """Return the path and query of the page that a form was sent from, where it is one of this origin; else "".

    Source: the ``Referer`` header (RFC 9110 section 10.1.3), which a browser sends whole within one origin, unless
    the page's ``Referrer-Policy`` forbids that.
    """
    lines = headers("referer")
    if len(lines) != 1 or len(lines[0]) > _LONGEST_REFERER:
        return ""
    try:
        parts = urlsplit(lines[0])
    except ValueError:
        return ""
    origin, own = parse_origin(f"{parts.scheme}://{parts.netloc}"), own_origin(visit.info, headers, settings)
    if origin is None or own is None:
        return ""
    # A proxy may end TLS without our being told. Then the browser itself says that this is one origin.
    is_same = [*headers("sec-fetch-site")] == ["same-origin"] and origin == own.replace("http://", "https://", 1)
    if origin != own and not is_same:
        return ""
    return safe_target((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def _path(target: str) -> str:
    return target.partition("?")[0]


def _retry_url(error: MoonKeyError, visit: Visit) -> str | None:
    """Return where to try again what failed for the moment only; ``None`` where that is not known.

    A cookie that cannot be a credential is removed with the refusal.
    """
    if error.status != 503 and not isinstance(error, MalformedCredentials):
        return None
    return (safe_target(visit.target) or None) if visit.method in _SAFE else visit.form


def mounted_sign_in(settings: Settings, routes: str | None) -> str | None:
    """Return where the ready-made sign-in page is mounted; ``None`` where there is none that can sign users in.

    Args:
        settings: The settings of the client, or of one of its providers.
        routes: Where the ready-made routes are mounted, if they are.
    """
    return _mounted(settings, routes, "/sign-in", sets_cookies=True)


def _mounted(settings: Settings, routes: str | None, path: str, *, sets_cookies: bool = False) -> str | None:
    """Return where a ready-made page is mounted; ``None`` where there is none, or none that can do its work.

    The pages are those of the first provider that can sign users in. Where its own script in the browser sets the
    session cookies, no page does.
    """
    signing_in = _signing_in(settings)
    if routes is None or signing_in is None:
        return None
    return None if sets_cookies and _leaves_cookies_alone(signing_in) else f"{routes}{path}"


def _signing_in(settings: Settings) -> Settings | None:
    """Return the settings of the first provider that can sign users in; ``None`` where there is none."""
    members = (settings,) if settings.routes is None else settings.routes.members.values()
    return next((one for one in members if one.provider is None or "sign_in" in one.provider.capabilities), None)


def _leaves_cookies_alone(settings: Settings) -> bool:
    return settings.cookies is not None and settings.cookies.is_read_only


def check_sign_in_page(settings: Settings) -> None:
    """Check that users can sign in where the ready-made pages are mounted: by these, or on a page of the app.

    Args:
        settings: The settings of the client.

    Raises:
        ConfigurationError: The provider's own script in the browser sets the session cookies, so the sign-in pages
            can set none; and no page of the app is named.
    """
    signing_in = _signing_in(settings)
    if signing_in is not None and _leaves_cookies_alone(signing_in) and settings.sign_in.page is None:
        assert signing_in.provider is not None  # MoonKey's cookies are always set here
        raise setting_error(
            "sign_in",
            f"has no page, and the session cookies of {signing_in.provider.name!r} are set by its own script in "
            'the browser (cookies_by="browser"), so the ready-made pages cannot sign users in. Name the page of '
            'the app where that script does: SignInSettings(page="/login"). Or let the cookies be set here: '
            'cookies_by="server".',
        )


def step_up_query(error: StepUpRequired) -> dict[str, str]:
    """Return the query for the step-up page. It has no secret, and the page does not trust it."""
    found = {"acr_values": " ".join(error.acr_values)} if error.acr_values else {}
    return found if error.max_age is None else {**found, "max_age": str(error.max_age)}


def _varying(refusal: Refusal) -> Refusal:
    found = [(name, vary_on(("accept",), value) if name == "vary" else value) for name, value in refusal.headers]
    return replace(refusal, headers=tuple(found))
