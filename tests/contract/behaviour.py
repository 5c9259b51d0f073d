"""What every contract site shares."""

from __future__ import annotations

from datetime import timedelta

ORIGIN = "https://app.example"
STREAM_PAUSE = 0.01
TEN_MINUTES = timedelta(minutes=10)

Runs = list[str]
"""The methods of the requests for which a protected view really ran."""
