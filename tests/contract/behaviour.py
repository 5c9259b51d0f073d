"""What every contract site shares."""

from __future__ import annotations

ORIGIN = "https://app.example"
STREAM_PAUSE = 0.01

Runs = list[str]
"""The methods of the requests for which a protected view really ran."""
