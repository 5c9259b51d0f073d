"""The table of mistakes: each is answered with its cause and its mend, at the earliest moment."""

from __future__ import annotations

from mistakes import (
    rows_around,
    rows_cookies,
    rows_dicts,
    rows_django,
    rows_gates,
    rows_identity,
    rows_rest,
    rows_service,
    rows_settings,
)
from mistakes.lab import Row

AREAS: dict[str, tuple[Row, ...]] = {
    "Settings": rows_settings.ROWS,
    "Gates": rows_gates.ROWS,
    "Identity": rows_identity.ROWS,
    "Cookies and session routes": rows_cookies.ROWS,
    "Keys, issuer, address, clock": rows_service.ROWS,
    "Redis": rows_around.REDIS,
    "Packages": rows_around.EXTRAS,
    "Emulator": rows_around.EMULATOR,
    "Django": rows_django.ROWS,
    "Django REST framework": rows_rest.ROWS,
    "Dicts": rows_dicts.ROWS,
}
