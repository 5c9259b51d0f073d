"""How long a test waits for what is sure to come: so long that even a very busy machine gets there."""

from __future__ import annotations

PATIENCE = 60.0
"""Seconds. Only a failure takes as long; nothing that a test asserts may depend on it."""

PATIENT = {"timeout": 30.0, "jwks_timeout": 30.0}
"""Settings of a client whose calls are sure to be answered, however busy the machine is."""

PATIENT_LAG = PATIENCE / 2
"""Seconds; ``max_revocation_lag`` where a test counts what a process does whose feed is live: with the usual
second, a process of a busy machine that gets no turn for a moment rightly asks the API. See
``feeds.begin_long_ago``."""
