"""What a check returns: lines, each with a verdict; and a report, which is what is printed."""

from __future__ import annotations

import json
import logging
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

Verdict = Literal["ok", "wrong", "cannot be seen from here"]
"""What a check has found: all is well, something has to be mended, or it cannot be known where it was asked."""

logger: logging.Logger = logging.getLogger("moonkey")

_WIDTH = 110
_MARKS: dict[Verdict, str] = {"ok": "ok", "wrong": "WRONG", "cannot be seen from here": "cannot be seen from here"}


@dataclass(frozen=True, slots=True)
class Line:
    """One finding.

    Attributes:
        check: The name of the check, such as ``"key"``.
        verdict: What was found.
        text: The finding in words.
        mend: What to do about it; empty where nothing is to be done.
        provider: The provider that it is about, where there are several; else empty.
    """

    check: str
    verdict: Verdict
    text: str
    mend: str = ""
    provider: str = ""


def ok(check: str, text: str, mend: str = "") -> Line:
    """Return a line that says that all is well."""
    return Line(check, "ok", text, mend)


def wrong(check: str, text: str, mend: str) -> Line:
    """Return a line that says what is wrong, and how it is mended."""
    return Line(check, "wrong", text, mend)


def unseen(check: str, text: str, mend: str = "") -> Line:
    """Return a line that says what cannot be known here, and where it can be."""
    return Line(check, "cannot be seen from here", text, mend)


@dataclass(frozen=True, slots=True)
class Report:
    """What was found. ``str(report)`` is the text for people, and no secret is in it.

    Attributes:
        lines: The findings, in the order of the checks.
    """

    lines: tuple[Line, ...]

    @property
    def is_good(self) -> bool:
        """Whether nothing was found to be wrong. What cannot be seen may be wrong nevertheless."""
        return not any(line.verdict == "wrong" for line in self.lines)

    @property
    def exit_status(self) -> int:
        """The exit status of the command: 0 where nothing is wrong, else 1."""
        return 0 if self.is_good else 1

    def of(self, check: str) -> tuple[Line, ...]:
        """Return the lines of one check."""
        return tuple(line for line in self.lines if line.check == check)

    def masked(self, mask: Callable[[str], str]) -> Report:
        """Return the same report with every text passed through ``mask``."""
        return Report(
            tuple(
                replace(line, text=mask(line.text), mend=mask(line.mend), provider=mask(line.provider))
                for line in self.lines
            )
        )

    def log(self) -> None:
        """Log each finding: what is wrong as a warning, all else as information."""
        for line in self.lines:
            said = printable(" ".join(part for part in (f"{line.check}: {line.text}", line.mend) if part))
            if line.verdict == "wrong":
                logger.warning("doctor: wrong: %s", said, extra={"reason": "doctor_wrong"})
            else:
                logger.info("doctor: %s: %s", line.verdict, said, extra={"reason": "doctor"})

    def to_dict(self) -> dict[str, object]:
        """Return the report as plain data, for JSON."""
        return {
            "ok": self.is_good,
            "lines": [
                {
                    "check": line.check,
                    "verdict": line.verdict,
                    "text": line.text,
                    "mend": line.mend,
                    "provider": line.provider,
                }
                for line in self.lines
            ],
        }

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def __str__(self) -> str:
        """Return the report for people: one finding after the other, and a count at the end."""
        shown = [_shown(line) for line in self.lines]
        counts = ", ".join(
            f"{sum(line.verdict == verdict for line in self.lines)} {verdict}" for verdict in _MARKS
        )
        return "\n".join([*shown, "", f"{counts}."])


def printable(text: str) -> str:
    """Return a text without control characters, for a terminal or a log line."""
    return "".join(one if one.isprintable() else " " for one in text)


def _shown(line: Line) -> str:
    about = f"{line.check} of {line.provider}" if line.provider else line.check
    first = _wrapped(printable(f"{_MARKS[line.verdict]}: {about}: {line.text}"), "  ")
    return first if not line.mend else f"{first}\n{_wrapped(printable(line.mend), '    ', '  → ')}"


def _wrapped(text: str, indent: str, first: str = "") -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def for_provider(lines: Iterable[Line], provider: str) -> tuple[Line, ...]:
    """Return lines as those about one provider of several."""
    return tuple(replace(line, provider=provider) for line in lines)
