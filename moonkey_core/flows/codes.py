"""How codes look that people type in."""

from __future__ import annotations

import re
from collections.abc import Mapping

from moonkey_core.errors import MoonKeyError, RequestRefused, TooManyAttempts

_CODE = re.compile(r"[0-9A-Za-z]{4,12}")
_FILLERS = str.maketrans("", "", " -")

CODE_MINUTES = 10
"""How long a code that is sent may be used: as long as the cookie that goes with it."""


def refused_code(error: MoonKeyError, left: int) -> str:
    """What a page tells of a code that was not accepted (its ``error``), with so many tries left."""
    if isinstance(error, TooManyAttempts) or not left:
        return "used_up"
    return "refused" if isinstance(error, RequestRefused) else "code"


def code_in(fields: Mapping[str, str]) -> str | None:
    """The ``code`` in a form, without the spaces and dashes that people add; ``None`` where it cannot be one."""
    code = fields.get("code", "").translate(_FILLERS)
    return code if _CODE.fullmatch(code) else None
