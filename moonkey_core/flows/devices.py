"""What a user agent string says in words, such as "Chrome on Windows". A guess: anybody may send anything."""

from __future__ import annotations

_LONGEST = 60

# The order decides: most browsers also name those that they descend from.
_BROWSERS = (
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("YaBrowser/", "Yandex Browser"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Version/", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "Mac"),
    ("Linux", "Linux"),
)


def describe_device(user_agent: str | None) -> str:
    """A device in a few words; the start of the text itself where it is not that of a known browser."""
    text = user_agent or ""
    browser = _first(_BROWSERS, text) if text.startswith("Mozilla/5.0 (") else None
    if browser == "Safari" and "Safari/" not in text:
        browser = None
    system = _first(_SYSTEMS, text)
    if browser is not None:
        return browser if system is None else f"{browser} on {system}"
    plain = "".join(char if char.isprintable() else " " for char in text[: 4 * _LONGEST])
    plain = " ".join(plain.split())
    if not plain:
        return "Unknown device"
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1].rstrip() + "…"


def _first(table: tuple[tuple[str, str], ...], text: str) -> str | None:
    return next((name for mark, name in table if mark in text), None)
