"""The names of the package's entries in ``app.extensions``, and of one in a WSGI environ."""

from __future__ import annotations

EXTENSION = "moonkey"
"""The app's client."""

ROUTES = "moonkey.routes"
"""The path under which the session routes are registered, if they are; ``None`` where it varies."""

PAGES = "moonkey.pages"
"""The Jinja environment for the package's pages."""

MOUNTED = "moonkey.mounted"
"""There where session routes of any mode are registered."""

RAISER = "moonkey.raiser"
"""What makes the errors that gates raise."""

GATES = "moonkey.gates"
"""What checks the gates of the app, once."""

BOUND = "moonkey.bound"
"""In the environ of a Socket.IO client: by namespace, the stream that is tied to its session."""

RENEWED = "moonkey.renewed"
"""In the environ of a connection whose credential was renewed: the headers that present the newer one."""

FIRST = "moonkey.first"
"""What checks the app at its first request. Signals refer to their receivers weakly."""

OWN_EVENT = "_moonkey_event"
"""An attribute of request classes whose ``event`` is kept by this package."""

CLOSED = "moonkey.closed"
"""There where each view requires a sign-in unless it is marked as public."""
