"""Checks of the variables by themselves: quotes, line breaks, a secret of the wrong kind or in the wrong place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from moonkey_core._doctor.lines import Line, ok, wrong

_QUOTES = "\"'`“”‘’"  # noqa: RUF001 the quotes that editors make
_SECRET_KEY = re.compile(r"sk_(?:test|live)_")
_PUBLIC_KEY = re.compile(r"pk_(?:test|live)_")
_TAKES_KEY = ("MOONKEY_SECRET_KEY", "MOONKEY_PREVIOUS_SECRET_KEY")
_HOLDS_TEXT = ("MOONKEY_JWKS", "MOONKEY_REALM")  # JSON, PEM and quoted texts have line breaks and quotes
_PAIRS = (
    ("MOONKEY_SECRET_KEY", "MOONKEY_PREVIOUS_SECRET_KEY"),
    ("MOONKEY_CACHE_SECRET", "MOONKEY_PREVIOUS_CACHE_SECRET"),
)


def check_variables(environ: Mapping[str, str]) -> list[Line]:
    """Check the ``MOONKEY_*`` variables, each by itself, so that all faults are found at once."""
    ours = {name: value for name, value in environ.items() if name.startswith("MOONKEY_") and value}
    lines = [line for name, value in ours.items() for line in _faults(name, value)]
    for current, previous in _PAIRS:
        if ours.get(current) and ours.get(current) == ours.get(previous):
            lines.append(
                wrong(
                    "variables",
                    f"{previous} has the value of {current}.",
                    f"Leave {previous} out, or set it to the secret that was in use before.",
                )
            )
    if lines:
        return lines
    names = ", ".join(sorted(ours)) or "none"
    return [
        ok("variables", f"Set in the environment: {names}. None has quotes, line breaks or a key of another kind.")
    ]


def _faults(name: str, value: str) -> Iterator[Line]:
    holds_text = name in _HOLDS_TEXT or "-----BEGIN" in value
    if value != value.strip() or (not holds_text and any(one in value for one in "\r\n\0")):
        yield wrong(
            "variables",
            f"{name} has a line break, or white space at an end.",
            "Remove it: cut the line break of a file off (printf instead of echo; $(cat file) in a "
            "shell does it).",
        )
    bare = value.strip()
    if len(bare) > 1 and bare[0] in _QUOTES and bare[-1] in _QUOTES:
        yield wrong(
            "variables",
            f"{name} stands in quotes, which are a part of it.",
            "Leave the quotes out: not everything that reads a file of variables removes them.",
        )
    bare = bare.strip(_QUOTES).strip()
    if "\ufeff" in value or not value.isascii():
        yield wrong(
            "variables",
            f"{name} has characters beyond ASCII, such as a byte order mark or a typographic quote.",
            "Copy the value again as plain text.",
        )
    if name in _TAKES_KEY and _PUBLIC_KEY.match(bare):
        yield wrong(
            "variables",
            f"{name} holds a public key (pk_…).",
            "Set it to the secret key (sk_test_… or sk_live_…) of the app.",
        )
    if name in _TAKES_KEY and bare.lower().startswith("bearer "):
        yield wrong("variables", f"{name} begins with 'Bearer'.", "Put the key alone there.")
    if name not in _TAKES_KEY and _SECRET_KEY.search(bare):
        yield wrong(
            "variables",
            f"{name} holds a secret key (sk_…), which does not belong there. It may have been logged or sent.",
            f"Set MOONKEY_SECRET_KEY to it, {name} to what belongs there, and exchange the key in the dashboard.",
        )
