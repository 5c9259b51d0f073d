"""The names of the package's entries in ``app.extensions``."""

from __future__ import annotations

EXTENSION = "moonkey"
"""The app's client."""

ROUTES = "moonkey.routes"
"""The path under which the session routes are registered, if they are; ``None`` where it varies."""

PAGES = "moonkey.pages"
"""The Jinja environment for the package's pages."""
