"""Injected faults, and the requests that get them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

MAX_FAULTS = 32
MAX_DELAY_SECONDS = 120.0
DEFAULT_DRIP_SECONDS = 0.05

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


@dataclass(frozen=True)
class Fault:
    """A fault that requests get; ``make_fault`` makes it. Durations are seconds.

    Attributes:
        path: The beginning of the paths that get it; ``*`` for all.
        answer: The status, headers and body of the answer, or ``None`` for the real answer.
        delay: The wait before the answer.
        drip: The pause between the bytes of the body.
        drip_headers: The pause between all bytes, status line included.
        reset: Whether the connection is closed without an answer.
    """

    path: str
    answer: tuple[int, dict[str, str], bytes] | None
    delay: float
    drip: float
    drip_headers: float
    reset: bool

    def matches(self, path: str) -> bool:
        """Return whether a request for this path gets it."""
        return self.path == "*" or path.startswith(self.path)


def make_fault(
    path: str = "*",
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    body: str | bytes | None = None,
    delay: float = 0,
    drip: float = 0,
    drip_headers: float | bool = False,
    reset: bool = False,
) -> Fault:
    """Check the parts of a fault and put them together.

    Raises:
        ValueError: A part is out of range; the message names it.
    """
    for name, seconds in (("delay", delay), ("drip", drip), ("drip_headers", float(drip_headers))):
        if not 0 <= seconds <= MAX_DELAY_SECONDS:
            raise ValueError(f"{name} must be from 0 to {MAX_DELAY_SECONDS:.0f} seconds")
    if drip_headers is True:
        drip_headers = drip or DEFAULT_DRIP_SECONDS
    answer = None
    if status is not None or headers is not None or body is not None:
        answer = _answer(200 if status is None else status, dict(headers or {}), body)
    return Fault(path, answer, delay, drip, float(drip_headers), reset)


def _answer(status: int, headers: dict[str, str], body: str | bytes | None) -> tuple[int, dict[str, str], bytes]:
    if not 200 <= status <= 599:
        raise ValueError("status must be from 200 to 599")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError("headers must be names and values that HTTP allows")
    if status in (204, 304):
        body = b""
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else (body or b"")
    names = {name.lower() for name in headers}
    return (
        status,
        {**({} if "content-type" in names else {"content-type": "application/json"}), **headers},
        raw,
    )


class FaultBoard:
    """The faults that wait for requests. The newest one that matches is used. Not thread-safe by itself."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Fault, int | None]] = []

    def add(self, fault: Fault, times: int | None = None) -> None:
        """Post a fault for the next ``times`` requests that match, or until cleared."""
        if times is not None and times < 1:
            raise ValueError("times must be at least 1")
        self._waiting = [(fault, times), *self._waiting][:MAX_FAULTS]

    def take(self, path: str) -> Fault | None:
        """Return the fault that a request for this path gets, counting it down."""
        for place, (fault, times) in enumerate(self._waiting):
            if fault.matches(path):
                if times == 1:
                    del self._waiting[place]
                elif times is not None:
                    self._waiting[place] = (fault, times - 1)
                return fault
        return None

    def clear(self) -> None:
        """Remove all faults."""
        self._waiting.clear()
