"""The table of mistakes: each is answered with its cause and its mend, at the earliest moment."""

from __future__ import annotations

from mistakes import rows_dicts, rows_gates, rows_identity, rows_settings
from mistakes.lab import Row

AREAS: dict[str, tuple[Row, ...]] = {
    "Settings": rows_settings.ROWS,
    "Gates": rows_gates.ROWS,
    "Identity": rows_identity.ROWS,
    "Dicts": rows_dicts.ROWS,
}
