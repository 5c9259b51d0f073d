"""The spans of OpenTelemetry for calls of the API, by the semantic conventions for HTTP clients.

See https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span. What can name a person or hold a
secret is left out of the address; all that remains comes from small closed sets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from opentelemetry import baggage, context, propagate
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context

from moonkey_core._plan import Fetch

_PATH_WORD = re.compile(
    r"""v1|v2|v2\.0|api|auth|b2b|rbac|oauth|oauth2|sso|sessions|users|jwks|default|policy|verify|list|delete|revoke
    |authenticate|otps|magic_links|totps|wallets|registrations|email|sms|send|login_or_create|create|recovery|recover
    |begin|organizations|members|dangerously_get|end-users|validate-token|introspect|introspection|revocation|token
    |\.well-known|openid-configuration|jwks\.json|keys|certs|realms|protocol|openid-connect|discovery""",
    re.VERBOSE,
)
"""What a path may show. Anything else can be an id, or belong to an address that the app keeps to itself."""

_QUERY_NAME = re.compile(r"[a-z][a-z_]{0,31}")
_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,64}")
_MAX_HEADER_LENGTH = 8192
_RESERVED_HEADER = re.compile(
    r"""accept|accept-encoding|authorization|connection|content-length|content-type|cookie|expect|host
    |proxy-authorization|te|trailer|transfer-encoding|upgrade|user-agent""",
    re.VERBOSE,
)
"""What says what the request is. No propagator sets one of these."""

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class OpenTelemetryTracer:
    """Begins a CLIENT span for each attempt of a call, as a child of the current span."""

    def __init__(
        self, tracer: Tracer, *, operations: frozenset[str], names_providers: bool, propagates: bool
    ) -> None:
        """Make one.

        Args:
            tracer: Makes the spans.
            operations: The names of calls that a span may show.
            names_providers: Whether spans name the provider.
            propagates: Whether the trace context goes out with the request.
        """
        self._tracer = tracer
        self._operations = operations
        self._names_providers = names_providers
        self._propagates = propagates

    def begin(self, fetch: Fetch, provider: str, started_at: float, resend_count: int) -> OpenTelemetrySpan:
        """Begin the span of an attempt, and ask the global propagator for its headers."""
        parts = urlsplit(fetch.url)
        template = _path(parts.path, "{id}")
        origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        attributes: dict[str, str | int] = {
            "http.request.method": fetch.method,
            "server.address": parts.hostname or "",
            "server.port": parts.port or (443 if parts.scheme == "https" else 80),
            "url.full": f"{origin}{_path(parts.path, 'REDACTED')}{_query(parts.query)}",
            "url.template": template,
            "moonkey.operation": fetch.operation if fetch.operation in self._operations else "other",
        }
        if self._names_providers:
            attributes["provider"] = provider
        if resend_count:
            attributes["http.request.resend_count"] = resend_count
        span = self._tracer.start_span(
            f"{fetch.method} {template}",
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=_nanoseconds(started_at),
        )
        return OpenTelemetrySpan(span, started_at, _headers(span) if self._propagates else _NO_HEADERS)


class OpenTelemetrySpan:
    """The span of one attempt."""

    __slots__ = ("_span", "_started_at", "headers")

    def __init__(self, span: Span, started_at: float, headers: Mapping[str, str]) -> None:
        self._span = span
        self._started_at = started_at
        self.headers: Mapping[str, str] = headers

    def end(self, seconds: float, status: int | None, failure: str | None) -> None:
        """End it. A reply that refuses a credential is no error: of a 4xx, the conventions let us know better."""
        if status is not None:
            self._span.set_attribute("http.response.status_code", status)
        error_type = failure if status is None else str(status) if status >= 500 or status == 429 else None
        if error_type is not None:
            self._span.set_attribute("error.type", error_type)
            self._span.set_status(StatusCode.ERROR)
        self._span.end(_nanoseconds(self._started_at + seconds))


def _headers(span: Span) -> Mapping[str, str]:
    """Return what the configured propagator sends on, without baggage: that is the app's, and no provider's.

    A header that cannot be sent is left out, as the call matters more.
    """
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context=set_span_in_context(span, baggage.clear(context.get_current())))
    return {
        name: value
        for given, value in carrier.items()
        if _HEADER_NAME.fullmatch(name := given.lower())
        and not _RESERVED_HEADER.fullmatch(name)
        and len(value) <= _MAX_HEADER_LENGTH
        and value.isascii()
        and value.isprintable()
        and value == value.strip()
    }


def _path(path: str, replacement: str) -> str:
    return "/".join(part if not part or _PATH_WORD.fullmatch(part) else replacement for part in path.split("/"))


def _query(query: str) -> str:
    """Return the names of a query, without their values."""
    if not query:
        return ""
    names = (part.partition("=") for part in query.split("&"))
    shown = (
        f"{name}=REDACTED" if equals and _QUERY_NAME.fullmatch(name) else "REDACTED" for name, equals, _ in names
    )
    return f"?{'&'.join(shown)}"


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
