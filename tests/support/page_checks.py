"""What every page has to be: quiet under its own policy, usable on a small phone, readable by a screen reader."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page

ROOT = Path(__file__).parents[2]
SCREENSHOTS = Path(os.environ.get("MOONKEY_SCREENSHOTS") or ROOT / "build" / "screenshots")
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
SMALLEST = (320, 640)

# Chromium notes each answer of 400 and more on its console; what they are is checked by the tests.
_REFUSED = re.compile(r"Failed to load resource: the server responded with a status of [45][0-9]{2} ")

_UNLABELLED = """() => [...document.querySelectorAll("input:not([type=hidden]), select, textarea")]
  .filter((one) => !one.labels.length || ![...one.labels].some((label) => label.textContent.trim()))
  .map((one) => one.outerHTML)"""
_TOO_WIDE = """() => {
  const width = document.documentElement.clientWidth;
  const wide = [...document.querySelectorAll("body *")].filter((one) =>
    !one.classList.contains("hidden") && one.getBoundingClientRect().right > width + 0.5);
  return document.documentElement.scrollWidth > width ? ["the page"] : wide.map((one) => one.outerHTML);
}"""
_HEADINGS = """() => [document.documentElement.lang, document.title.trim() !== "",
  document.querySelectorAll("h1").length, document.querySelectorAll("main").length]"""


def complaints_of(page: Page) -> list[str]:
    """What the browser complains of from now on: violated policies, errors of scripts, what cannot be loaded."""
    found: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not _REFUSED.match(message.text):
            found.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def check_page(page: Page) -> None:
    """The structure of a page, and that all its fields have labels."""
    assert page.evaluate(_HEADINGS) == ["en", True, 1, 1]
    assert page.evaluate(_UNLABELLED) == []


def check_small(page: Page) -> None:
    """On the smallest of screens nothing has to be scrolled sideways."""
    width, height = SMALLEST
    before = page.viewport_size
    page.set_viewport_size({"width": width, "height": height})
    assert page.evaluate(_TOO_WIDE) == []
    if before is not None:
        page.set_viewport_size(before)


def photograph(page: Page, name: str) -> None:
    """Keep what a page looks like: at each size, light and dark."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
            page.screenshot(path=SCREENSHOTS / f"{name}-{size}-{scheme}.png", full_page=True)
    page.emulate_media(color_scheme="light")
