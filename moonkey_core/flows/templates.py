"""Where the pages are: one set of templates, in what Jinja2 and Django have in common."""

from __future__ import annotations

from pathlib import Path

TEMPLATES = Path(__file__).parent.parent / "templates"
"""The folder for a template engine; the pages are in ``moonkey/`` below it. Escaping must be on."""
