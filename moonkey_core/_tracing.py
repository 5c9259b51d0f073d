"""Where a trace of calls joins in: before an attempt, with headers to add to its request, and at its end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from moonkey_core._plan import Fetch

logger: logging.Logger = logging.getLogger("moonkey")


class CallSpan(Protocol):
    """The span of one attempt."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What goes out with the request, such as ``traceparent`` (W3C Trace Context section 3.2)."""
        ...

    def end(self, seconds: float, status: int | None, failure: str | None) -> None:
        """End it.

        Args:
            seconds: How long the attempt took.
            status: That of the reply, if there was one.
            failure: Why there was none, by a word of a small set.
        """
        ...


class CallTracer(Protocol):
    """Begins the spans of the attempts of a client's calls."""

    def begin(self, fetch: Fetch, provider: str, started_at: float, resend_count: int) -> CallSpan:
        """Begin the span of an attempt.

        Args:
            fetch: The call.
            provider: The name of the provider that is called.
            started_at: When the attempt begins (Unix seconds).
            resend_count: How many attempts of the same call were made before.
        """
        ...


def begin_span(
    tracer: CallTracer, fetch: Fetch, provider: str, started_at: float, resend_count: int
) -> CallSpan | None:
    """Begin a span, or return ``None`` where the tracer fails: that is logged, and no reason not to call."""
    try:
        return tracer.begin(fetch, provider, started_at, resend_count)
    except Exception:
        _log_failure()
        return None


def end_span(span: CallSpan, seconds: float, status: int | None, failure: str | None) -> None:
    """End a span. An exception is logged."""
    try:
        span.end(seconds, status, failure)
    except Exception:
        _log_failure()


def _log_failure() -> None:
    logger.exception("a call is not traced", extra={"reason": "call_untraced"})
