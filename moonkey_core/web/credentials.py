"""The one reader of the credential that a request presents, in headers and in cookies.

The grammar is strict, and checked before any other work. Nothing is ever read from a URL, a form or a body (RFC
9700 section 4.3.2).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NoReturn

from moonkey_core._dataclass import dataclass
from moonkey_core._strict_json import load_object
from moonkey_core._verified import CredentialKind as CredentialKind
from moonkey_core.errors import CrossSiteRequest, MalformedCredentials
from moonkey_core.settings import Settings
from moonkey_core.settings.routes import Routes
from moonkey_core.web.binding import is_binding
from moonkey_core.web.origin import cross_site, may_use_cookies
from moonkey_core.web.request import HeaderNames, HeaderView, RequestInfo

__all__ = ["CredentialKind", "PresentedCredentials", "presents_any", "presents_cookies", "read_credentials"]

_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # b64token, RFC 6750 section 2.1
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9\-._~+/]+=*)")
_SCHEME = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?= |\Z)")  # RFC 9110 section 11.1
# A line that a WSGI server has joined from two: a second scheme after a comma, or any comma in Basic's base64.
_JOINED = re.compile(r",[ \t]*bearer(?:[ \t]|\Z)|\Abasic [^,]*,", re.IGNORECASE)
# Scheme names that may be shown (IANA has the registry). Another name is shown only if it cannot be a credential.
_SCHEMES = frozenset([
    "apikey", "aws4-hmac-sha256", "basic", "bearer", "concealed", "digest", "dpop", "gnap", "hawk", "hoba", "jwt",
    "mutual", "negotiate", "ntlm", "oauth", "privatetoken", "scram-sha-1", "scram-sha-256", "session", "token",
    "vapid",
])  # fmt: skip
_PLAIN_NAME = re.compile(r"[A-Za-z\-]{1,16}(?= )")
_PRINTABLE = re.compile(r"[\x20-\x7e]+")
_SEND_BEARER = "Send: Authorization: Bearer <credential>"
_USUAL_BEARER = "Bearer "
_AFTER_BEARER = len(_USUAL_BEARER)
BEARER = b"Bearer "
"""What stands before a credential in the usual line of ``Authorization``."""
_NO_START = ("", " ", "\t")
_SCHEME_ROOM = 64  # "Bearer" and a few spaces, on top of the longest credential
_LONGEST_COOKIES = 64 * 1024  # bytes of all Cookie lines together; servers and proxies mostly take 8 to 64 KiB
_BETWEEN_COOKIES = "; "  # joins the lines into which HTTP/2 has split one (RFC 9113 section 8.2.3)


@dataclass(slots=True, eq=False, repr=False)
class PresentedCredentials:
    """The one credential that a request presents, if any, and why it cannot be used, if so.

    The cookies of a browser are one credential: a session token, and optionally a session JWT, which is only a
    cache of the token. They count only where no header presents a credential. Immutable by convention.

    Attributes:
        value: The session token or session JWT in a header, or the session token in cookies. Empty where no
            credential is presented.
        source: The name of the header, ``"cookie"``, ``"argument"`` (of a method), or ``""`` for none.
        cached_jwt: The session JWT beside the session token in cookies.
        error: The reason why the credential cannot be used, if it cannot.
        hint: A sentence for the operator about a header without a session credential in it, or empty.
        named_kind: The kind of credential, where the caller of a method has named it, or a cookie holds a JWT by
            itself.
        is_checked: Whether its grammar has been checked, and whether a JWT in cookies is bound to the token.
        cookie_lines: The lines that hold the cookies, with the binding of such a JWT.
        is_loose: Whether nothing binds that JWT to the token, as a script in the browser has set both. It counts
            as long as it is good by itself, and says nothing about the token.
        token_prefix: What session tokens of its provider are written with, and without: these are two spellings of
            one token. Empty: each text is another token.
        provider: Where there are several providers, the name of the one that it belongs to; empty where it belongs
            to none of them, or cannot be read.
    """

    value: str = ""
    source: str = ""
    cached_jwt: str | None = None
    error: MalformedCredentials | CrossSiteRequest | None = None
    hint: str = ""
    named_kind: CredentialKind | None = None
    is_checked: bool = False
    cookie_lines: Sequence[str] = ()
    is_loose: bool = False
    token_prefix: str = ""
    provider: str = ""

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: it holds a credential."""
        raise TypeError("A presented credential cannot be pickled.")

    @property
    def from_cookies(self) -> bool:
        """Whether the credential is in the request's cookies."""
        return self.source == "cookie"

    @property
    def is_pair(self) -> bool:
        """Whether it is a session token in cookies, with a JWT beside it or without."""
        return self.source == "cookie" and self.named_kind is None

    @property
    def kind(self) -> CredentialKind:
        """The kind of ``value``. It decides how the credential is verified."""
        if self.named_kind is not None:
            return self.named_kind
        return "session_jwt" if not self.from_cookies and is_jwt(self.value) else "session_token"

    @property
    def text(self) -> str:
        """The whole credential as one text, for a digest. A session token has no prefix in it.

        The text of a cookie pair contains a line feed, so no header can have the same text.
        """
        if self.cached_jwt is not None:
            return _pair_text(self.value, self.cached_jwt, self.token_prefix)
        return bare_token(self.value, self.token_prefix)

    def cached_text(self, settings: Settings) -> str | None:
        """Return :attr:`text` where a credential with this text may be in the cache; else ``None``.

        A cached credential has passed the grammar, and a cached pair was bound, so a text that is found there need
        not be checked again. That applies to ASCII text within bounds. A cookie with a dot may hold a JWT, which
        is no session token. A line feed stands in the text of a pair only.
        """
        if self.is_checked:
            return self.text
        value, jwt = self.value, self.cached_jwt
        if not value.isascii():
            return None
        if jwt is not None:
            within = len(value) + len(jwt) < 2 * settings.max_credential_length
            return _pair_text(value, jwt, self.token_prefix) if within and jwt.isascii() else None
        if len(value) > settings.max_credential_length or "\n" in value or ("." in value and self.is_pair):
            return None
        return bare_token(value, self.token_prefix)

    def checked(self, settings: Settings) -> PresentedCredentials:
        """Return the credential with its grammar checked.

        A JWT beside a session token is left out where it is malformed, or not bound to that very token.

        Raises:
            MalformedCredentials: It does not have the form of a credential.
        """
        if self.is_checked or not self.source:
            return self
        longest = settings.max_credential_length
        if self.from_cookies:
            is_token = len(self.value) <= longest and _TOKEN.fullmatch(self.value)
            is_other = self.named_kind is None and is_jwt(self.value) and not _is_opaque_in_any_form(settings)
            if not is_token or is_other:
                raise MalformedCredentials(reason="malformed_cookie")
            jwt = self.cached_jwt
            if jwt is not None and (len(jwt) > longest or not _TOKEN.fullmatch(jwt)):
                jwt = None  # the token is enough
            if jwt is not None and not self._is_bound(jwt, settings):
                jwt = None
            return PresentedCredentials(
                self.value,
                self.source,
                jwt,
                named_kind=self.named_kind,
                is_checked=True,
                is_loose=self.is_loose,
                token_prefix=self.token_prefix,
                provider=self.provider,
            )
        if len(self.value) <= longest and _TOKEN.fullmatch(self.value):
            self.is_checked = True
            return self
        line = f"Bearer {self.value}" if self.source == "authorization" else self.value
        value = _value(self.source, line, longest)
        assert value is not None  # a Bearer line holds a credential, or is malformed
        return PresentedCredentials(
            value, self.source, is_checked=True, token_prefix=self.token_prefix, provider=self.provider
        )

    def _is_bound(self, jwt: str, settings: Settings) -> bool:
        """Return whether the binding of this token and JWT is in the cookies. Two that differ bind nothing."""
        if self.is_loose:
            return True
        cookies = settings.cookies
        try:
            binding = None if cookies is None else one_cookie(self.cookie_lines, cookies.binding_name)
        except MalformedCredentials:
            return False
        return binding is not None and is_binding(binding, pair_text(self.value, jwt, settings), settings)


_NOTHING = PresentedCredentials()


def usual_names(settings: Settings) -> HeaderNames | None:
    """Return the headers in which :func:`usual_bearer` looks; ``None`` where there are several providers."""
    return HeaderNames("authorization", settings.credential_headers) if settings.routes is None else None


def usual_bearer(line: bytes | None, longest: int) -> str | None:
    """Return the credential in the headers of a usual request, unchecked; ``""`` where no header may hold one.

    In such a request it stands after ``Bearer``, within bounds and in ASCII, and nothing stands in another header.
    Then :func:`read_credentials` without a check finds the same one, in several times the time.

    Args:
        line: The :func:`~moonkey_core.web.request.sole_line` of the request with :func:`usual_names`.
        longest: The setting ``max_credential_length``.

    Returns:
        The credential; ``""`` where only cookies may hold one; ``None`` where :func:`read_credentials` decides.
    """
    if not line:
        return None if line is None else ""
    if not line.startswith(BEARER) or not line.isascii():
        return None
    found = line[_AFTER_BEARER:].decode("ascii")
    return None if found[:1] in _NO_START or len(found) > longest else found


def read_credentials(
    headers: HeaderView, info: RequestInfo | None, settings: Settings, *, check: bool = True
) -> PresentedCredentials:
    """Return the one credential that a request presents. Every decision about that is made here.

    A header takes precedence over cookies. A request with more than one credential in headers, even equal ones, is
    malformed (RFC 6750 section 3.1), and so is one that repeats a credential header. An empty line, or ``Bearer``
    with nothing after it, holds no credential. Cookies count only where the page of another site did not send the
    request. Each of them may have one value only.

    Args:
        headers: The request's headers.
        info: The facts by which cookies are judged. Without them, cookies are judged as those of an unsafe
            request.
        settings: The settings, which name the headers and cookies that count.
        check: Whether the grammar of the credential is checked. If false, the caller has to do that with
            :meth:`PresentedCredentials.checked` before anything but a look-up of its digest.

    Returns:
        The credential. An error is in it, and is not raised.
    """
    found: PresentedCredentials | None = None
    hint = ""
    try:
        for name in settings.credential_headers:
            lines = headers(name)
            if not lines:
                continue
            if found is not None:
                found = found.checked(settings)
            if len(lines) > 1:
                raise MalformedCredentials(
                    reason="repeated_header", evidence=f"{name} stands there {len(lines)} times."
                )
            line = lines[0]
            if name != "authorization":
                one = PresentedCredentials(line, name)
            elif line.startswith(_USUAL_BEARER):
                one = PresentedCredentials(line[_AFTER_BEARER:], name)
            else:
                value = _value(name, line, settings.max_credential_length)
                if value is None:
                    hint = f"Authorization has {_scheme_of(line)}, not 'Bearer'. {_SEND_BEARER}"
                    continue
                one = PresentedCredentials(value, name, is_checked=True)
            if not one.value.strip(" \t"):
                hint = f"{name} is there, and holds nothing."
                continue
            if found is not None:
                one.checked(settings)
                raise MalformedCredentials(
                    reason="two_credentials", evidence=f"{found.source} and {name} both hold one."
                )
            found = one
        if found is not None and check:
            found = found.checked(settings)
    except MalformedCredentials as error:
        return PresentedCredentials(source="header", error=error)
    if found is not None:
        found.token_prefix = settings.token_prefix
    if settings.routes is not None:
        return _routed(found, hint, headers, info, settings, settings.routes)
    if found is not None:
        return found
    found = cookies_of_request(headers, info, settings)
    if not found.source and hint:
        return PresentedCredentials(hint=hint)
    return _checked_or_refused(found, settings) if check and found.error is None else found


def cookies_of_request(headers: HeaderView, info: RequestInfo | None, settings: Settings) -> PresentedCredentials:
    """Return what :func:`read_credentials` does without a check, for a request without a credential header."""
    found = read_cookies(headers, settings, check=False)
    if found.value and not may_use_cookies(info, headers, settings):
        return PresentedCredentials(source="cookie", error=cross_site(info, headers, settings))
    return found


def presented_cookies(headers: HeaderView, info: RequestInfo | None, settings: Settings) -> PresentedCredentials:
    """Return what :func:`read_credentials` does for a request without what is in its headers for credentials.

    Args:
        headers: The request's headers.
        info: The facts by which cookies are judged.
        settings: The settings of the client, or of one of its providers.
    """
    names = settings.credential_headers
    return read_credentials(lambda name: () if name in names else headers(name), info, settings)


def _routed(
    found: PresentedCredentials | None,
    hint: str,
    headers: HeaderView,
    info: RequestInfo | None,
    settings: Settings,
    routes: Routes,
) -> PresentedCredentials:
    """Return the credential of a request, checked, with the provider that it belongs to, where there are several.

    Where no header presents one, the first provider counts whose session cookie is there. With the settings of one
    provider, a credential of another one is as none.

    Args:
        found: The credential in a header, if there is one.
        hint: What to tell the operator where there is none.
        headers: The request's headers.
        info: The facts by which cookies are judged.
        settings: The settings of the client, or of one of its providers.
        routes: What belongs to which provider.
    """
    if found is None:
        found = _first_cookies(headers, info, routes)
        if found is None:
            return PresentedCredentials(hint=hint) if hint else _NOTHING
    else:
        try:
            found = found.checked(settings)
        except MalformedCredentials as error:
            return PresentedCredentials(source="header", error=error)
        if is_jwt(found.value):
            found.provider = routes.issuers.get(unverified_issuer(found.value), "")
        else:
            found.provider = routes.headers.get(found.source, "")
        owner = routes.members.get(found.provider)
        found.token_prefix = "" if owner is None else owner.token_prefix
    if settings.own_name is None or settings.own_name == found.provider:
        return found
    return PresentedCredentials(hint="The credential belongs to another provider.")


def _first_cookies(headers: HeaderView, info: RequestInfo | None, routes: Routes) -> PresentedCredentials | None:
    """Return the credential in the cookies of the first provider, in the configured order, that has one there."""
    for name, member in routes.members.items():
        found = read_cookies(headers, member, check=False)
        if not found.source:
            continue
        if found.error is None and not may_use_cookies(info, headers, member):
            found = PresentedCredentials(source="cookie", error=cross_site(info, headers, member))
        elif found.error is None:
            found = _checked_or_refused(found, member)
        found.provider = name
        if found.error is None and member.provider is not None and is_jwt(found.value):
            return _jwt_in_cookie(found, routes)
        return found
    return None


def _jwt_in_cookie(found: PresentedCredentials, routes: Routes) -> PresentedCredentials:
    """Return a JWT that stands by itself in a session cookie, with the provider of its issuer.

    The owner of the cookie must not see the JWT of another provider. One of MoonKey's counts only beside the
    session token to which it is bound.
    """
    cookie_of, owner = found.provider, routes.issuers.get(unverified_issuer(found.value), "")
    if owner == cookie_of:
        return found
    if owner and routes.members[owner].provider is None:
        error = MalformedCredentials(reason="malformed_cookie")
        return PresentedCredentials(source="cookie", error=error, provider=cookie_of)
    found.provider, found.named_kind = owner, "session_jwt"
    return found


def unverified_issuer(jwt: str) -> str:
    """Return the ``iss`` of a JWT that nothing is known of; empty where it has none that can be read.

    It only selects the provider that judges the JWT (RFC 7519 section 4.1.1).
    """
    parts = jwt.split(".", 3)
    try:
        body = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        issuer = load_object(body).get("iss")
    except (IndexError, ValueError):
        return ""
    return issuer if isinstance(issuer, str) else ""


def read_cookies(headers: HeaderView, settings: Settings, *, check: bool = True) -> PresentedCredentials:
    """Return the credential in a request's cookies, regardless of its headers and of the page that has sent it.

    It is malformed where a cookie has two different values, one of which may have been set by another host of the
    domain (RFC 6265 section 8.6), where the session token does not have the form of one, and where there are more
    than 64 KiB of cookies. A session JWT counts only beside the session token to which it is bound, and only if
    JWTs are verified here. With another provider than MoonKey, the cookie may hold one of its JWTs by itself.
    Where a script in the browser sets the cookies, nothing binds them, and either may be there alone.

    Args:
        headers: The request's headers.
        settings: The names of the cookies.
        check: As in :func:`read_credentials`; the binding is checked together with the grammar.
    """
    cookies = settings.cookies
    if cookies is None:
        return _NOTHING
    try:
        lines = cookie_lines(headers)
        if not lines:
            return _NOTHING
        is_loose = cookies.is_read_only
        token = one_cookie(lines, cookies.session_name, settings.token_prefix)
        jwt = one_cookie(lines, cookies.jwt_name) if token or is_loose else None
    except MalformedCredentials as error:
        return PresentedCredentials(source="cookie", error=error)
    if not token:
        if not jwt:
            return _NOTHING
        token = jwt  # of a script in the browser, which keeps both
    provider = settings.provider
    rules = None if provider is None else provider.jwt_rules
    if rules is not None and is_jwt(token):
        found = PresentedCredentials(token, "cookie", named_kind="session_jwt")
    else:
        # By position, which takes half as long as by keyword.
        jwt, prefix = (jwt or None) if reads_pairs(settings) else None, settings.token_prefix
        found = PresentedCredentials(token, "cookie", jwt, None, "", None, False, lines, is_loose, prefix)
    return _checked_or_refused(found, settings) if check else found


def reads_pairs(settings: Settings) -> bool:
    """Return whether a JWT beside a session token counts: only if JWTs are verified here."""
    provider = settings.provider
    if provider is None:
        return bool(settings.jwt_issuer)
    return provider.jwt_rules is not None and bool(provider.jwt_rules.issuers)


def renewed_headers(headers: HeaderView | None, credential: str, settings: Settings) -> HeaderView:
    """Return the headers of a connection with a newer credential in the place of the one that they present.

    A JWT in place of a session token in cookies is taken as one in a header, as none may stand in that cookie
    alone. No other credential of the former headers counts any more.

    Args:
        headers: The headers that the connection was begun with, where they are known.
        credential: The new session token or JWT.
        settings: The settings, which name the headers and cookies that count.

    Raises:
        MalformedCredentials: It cannot be a credential.
    """
    found: object = credential  # it comes from a client's message
    if not isinstance(found, str) or not found.strip():
        raise MalformedCredentials(evidence="The new credential is no text, or an empty one.")
    present: HeaderView = (lambda _: ()) if headers is None else headers
    names = settings.credential_headers
    place = next((name for name in names if present(name)), "")
    cookie = None if place or is_jwt(credential) else _present_cookie(present, settings)
    if cookie is not None:
        place, line = "cookie", f"{cookie}={credential}"
        PresentedCredentials(credential, place).checked(settings)  # nothing but a credential is in that line
    else:
        place = place or ("authorization" if "authorization" in names or not names else names[0])
        line = f"Bearer {credential}" if place == "authorization" else credential
    own: dict[str, Sequence[str]] = {name: (line,) if name == place else () for name in (*names, "cookie")}
    own["cookie"] = (*own["cookie"], *_handle_cookies(present, settings))

    def view(name: str) -> Sequence[str]:
        return own[name] if name in own else present(name)

    return view


def _handle_cookies(headers: HeaderView, settings: Settings) -> Sequence[str]:
    """Return a line with the cookies that hold handles, which are no credentials; none where there are none."""
    every = (settings,) if settings.routes is None else settings.routes.members.values()
    names = dict.fromkeys(name for one in every for name in one.handle_cookies)
    if not names:
        return ()
    try:
        lines = cookie_lines(headers)
        found = [f"{name}={value}" for name in names if lines and (value := one_cookie(lines, name))]
    except MalformedCredentials:
        return ()
    return ("; ".join(found),) if found else ()


def _present_cookie(headers: HeaderView, settings: Settings) -> str | None:
    """Return the name of the cookie that holds the session token of a request, if one does."""
    for one in (settings,) if settings.routes is None else settings.routes.members.values():
        if one.cookies is not None and read_cookies(headers, one, check=False).value:
            name: str = one.cookies.session_name
            return name
    return None


def _checked_or_refused(found: PresentedCredentials, settings: Settings) -> PresentedCredentials:
    try:
        return found.checked(settings)
    except MalformedCredentials as error:
        return PresentedCredentials(source=found.source, error=error)


def _is_opaque_in_any_form(settings: Settings) -> bool:
    """Return whether the provider has no rules for JWTs, so that one is as opaque as any other text."""
    return settings.provider is not None and settings.provider.jwt_rules is None


def presents_cookies(headers: HeaderView, info: RequestInfo | None, settings: Settings) -> bool:
    """Return whether the credential that a request presents, valid or not, is in its cookies."""
    return read_credentials(headers, info, settings, check=False).from_cookies


def presents_any(headers: HeaderView, settings: Settings) -> bool:
    """Return whether a request has anything in a place for credentials, valid or not."""
    if any(headers(name) for name in settings.credential_headers):
        return True
    if settings.cookies is None:
        return False
    lines = headers("cookie")
    names = [name for one in settings.all_cookies for name in (one.names if one.is_read_only else one.names[:1])]
    return any(name in line for name in names for line in lines) or _are_too_long(lines)


def cookie_lines(headers: HeaderView) -> Sequence[str]:
    """Return all ``Cookie`` lines.

    Raises:
        MalformedCredentials: They are longer than 64 KiB together.
    """
    lines = headers("cookie")
    if lines and _are_too_long(lines):
        raise MalformedCredentials(reason="cookies_too_long")
    return lines


def _are_too_long(lines: Sequence[str]) -> bool:
    if len(lines) == 1:
        return len(lines[0]) > _LONGEST_COOKIES
    return sum(map(len, lines)) + len(_BETWEEN_COOKIES) * (len(lines) - 1) > _LONGEST_COOKIES


def one_cookie(lines: Sequence[str], name: str, token_prefix: str = "") -> str | None:
    """Return the value of a cookie in the ``Cookie`` lines; ``None`` where it is absent.

    Raises:
        MalformedCredentials: It has two different values, or occurs again after a comma.
    """
    text = lines[0] if len(lines) == 1 else _BETWEEN_COOKIES.join(lines)
    if (usual := _usual_cookie(text, f"{name}=")) is not None:
        return usual
    cookie, joined = _cookie_patterns(name)
    if joined.search(text):
        raise MalformedCredentials(reason="repeated_cookie")
    found: str | None = None
    for match in cookie.finditer(text):
        value: str = match[1].rstrip(" \t")
        if found is not None and not same_token(value, found, token_prefix):
            raise MalformedCredentials(reason="repeated_cookie")
        found = value
    return found


@lru_cache(64)  # names come from settings and from this package, never from a request
def _cookie_patterns(name: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return the patterns of a cookie with its value, and of one in a line that a WSGI server joined by a comma.

    Each of them looks at every character once.
    """
    start = rf"[ \t]*{re.escape(name)}="
    return re.compile(rf"(?:\A|;){start}([^;]*)"), re.compile(f",{start}")


def _usual_cookie(line: str, start: str) -> str | None:
    """Return the value of a cookie in the usual spelling. ``None`` means that the slower search is required."""
    at = line.find(start)
    if at < 0 or "," in line or "\t" in line or line.find(start, at + 1) >= 0:
        return None
    if at and line[at - 2 : at] != "; ":
        return None
    end = line.find(";", at)
    return (line[at + len(start) :] if end < 0 else line[at + len(start) : end]).rstrip(" ")


def _scheme_of(line: str) -> str:
    """Return what may be logged of the scheme in a line. A single word may be the credential itself."""
    start = line.lstrip(" \t")[:_SCHEME_ROOM]
    match = _SCHEME.match(start)
    if match is not None and (match[1].lower() in _SCHEMES or _PLAIN_NAME.match(start)):
        return f"the scheme '{match[1]}'"
    return "no scheme that can be named"


def well_formed(value: object, settings: Settings) -> str:
    """Return a credential that was passed to a method of the client, checked.

    Raises:
        MalformedCredentials: It does not have the form of a credential.
    """
    if not isinstance(value, str) or not value or len(value) > settings.max_credential_length:
        raise MalformedCredentials
    if not _TOKEN.fullmatch(value):
        raise MalformedCredentials
    return value


def _value(name: str, line: str, longest: int) -> str | None:
    """Return the credential in one header line, which may be empty.

    ``None`` where the line uses another authentication scheme.

    Raises:
        MalformedCredentials: The line is malformed, or has more than one credential.
    """
    if len(line) > longest + _SCHEME_ROOM:
        raise _too_long(name, len(line), longest)
    line = line.strip(" \t")  # optional white space around a field value, RFC 9110 section 5.5
    if not line or (name == "authorization" and line.lower() == "bearer"):
        return ""
    if not _PRINTABLE.fullmatch(line):
        raise MalformedCredentials(evidence=f"{name} is empty or holds more than printable ASCII characters.")
    if name == "authorization":
        match = _BEARER.fullmatch(line)
        if match is None:
            scheme = _SCHEME.match(line)
            if scheme is None or scheme[1].lower() == "bearer" or _JOINED.search(line):
                raise MalformedCredentials(
                    evidence=f"{name} has {_scheme_of(line)}, and is not 'Bearer' with one credential after it."
                )
            return None
        value = match[1]
    elif _TOKEN.fullmatch(line):
        value = line
    else:
        raise MalformedCredentials(evidence=f"{name} holds more than one credential, or none.")
    if len(value) > longest:
        raise _too_long(name, len(value), longest)
    return value


def _too_long(name: str, length: int, longest: int) -> MalformedCredentials:
    return MalformedCredentials(
        reason="credential_too_long", evidence=f"{name}: {length} characters; max_credential_length is {longest}."
    )


def bare_token(value: str, prefix: str) -> str:
    """Return a session token without its prefix: the part that both spellings have in common.

    The prefix is removed once. It is kept where nothing or a JWT would remain, as that would be another kind of
    credential.

    Args:
        value: The token.
        prefix: What tokens of its provider are written with, and without; may be empty.
    """
    if not prefix or not value.startswith(prefix):
        return value
    rest = value[len(prefix) :]
    return value if not rest or is_jwt(rest) else rest


def pair_text(token: str, jwt: str, settings: Settings) -> str:
    """Return a pair of cookies as one text, the same for both spellings of its session token.

    A line feed stands in no credential, so no other pair and no header has the same text.
    """
    return _pair_text(token, jwt, settings.token_prefix)


def _pair_text(token: str, jwt: str, prefix: str) -> str:
    token = bare_token(token, prefix) if prefix and token.startswith(prefix) else token
    return f"{token}\n{jwt}"


def same_token(one: str, other: str, prefix: str) -> bool:
    """Return whether two spellings are the same session token."""
    return bare_token(one, prefix) == bare_token(other, prefix)


def is_token(value: str) -> bool:
    """Return whether a text has the grammar of a credential (RFC 6750 section 2.1)."""
    return _TOKEN.fullmatch(value) is not None


def is_jwt(value: str) -> bool:
    """Return whether a credential has the form of a JWT: dots, and a first part that encodes a JSON object.

    It is deliberately lenient about padding, alphabet and encoding: a malformed JWT is judged as a JWT, and never
    sent to the API as if it were an opaque token.
    """
    head, dot, _ = value.partition(".")
    if not dot:
        return False
    head = head.rstrip("=").replace("+", "-").replace("/", "_")
    head = head[: len(head) - (len(head) % 4 == 1)]
    try:
        start = base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))
    except (binascii.Error, ValueError):
        return False
    return start.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").startswith(b"{")
