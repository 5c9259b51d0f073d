"""A real browser: Debian's Chromium, driven by Playwright, which never downloads one of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")


def need_chromium() -> None:
    """Skip the test where there is no browser to drive; fail where there must be one."""
    missing = [
        name
        for name, is_here in (
            ("Chromium", PROGRAM is not None),
            ("playwright", find_spec("playwright") is not None),
        )
        if not is_here
    ]
    if missing:
        words = " and ".join(missing)
        if os.environ.get("TESTS_SKIP_NOTHING"):
            pytest.fail(f"{words} missing, and TESTS_SKIP_NOTHING is set: install what is missing")
        pytest.skip(f"not installed: {words}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """One browser, for as long as it lasts. No event loop can be run beside it in this thread."""
    from playwright.sync_api import sync_playwright

    # As root, which is what a container's tests are run by, Chromium has no sandbox.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=options)
        try:
            yield browser
        finally:
            browser.close()
