"""The demo, as a newcomer would run it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading

import httpx
import pytest

from support import quick
from support.examples import EXAMPLES
from support.patience import PATIENCE
from support.visitors import Visitor

EMAIL = "ada@example.com"


VISIT = re.compile(r"^A browser on (\S+) got: 303 before, 200 signed in, 303 signed out\.$", re.MULTILINE)


@pytest.mark.long
@pytest.mark.parametrize(
    ("provider", "has_pages"),
    [("moonkey", True), ("oidc", False), ("stytch", True), ("stytch_b2b", False), ("cdp", False)],
)
def test_the_demo(provider: str, has_pages: bool) -> None:
    """It ends by itself, with status 0 only if all its cells are as expected, and leaves no process behind."""
    command = [sys.executable, str(EXAMPLES / "demo.py"), "--once", "--provider", provider]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, start_new_session=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(("Flask", "Django", "FastAPI"))]
    assert [(row[0], *row[2:]) for row in rows] == [
        (name, "401", "200", "200", "401") for name in ("Flask", "Django", "FastAPI")
    ]
    visits = VISIT.findall(done.stdout)
    assert len(visits) == has_pages, done.stdout
    for url in (*(row[1] for row in rows), *visits):
        with pytest.raises(httpx.ConnectError):
            quick.get(url)


@pytest.mark.long
def test_the_demo_by_hand() -> None:
    """It ends with the URL of an app to sign in to, and shows the codes that nobody gets by mail."""
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "demo.py")], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        url = next(line.strip() for line in process.stdout if re.fullmatch(r"  http://\S+/\n", line)).rstrip("/")
        with quick.Client(base_url=url) as browser:
            visitor = Visitor(browser)
            visitor.post("/sign-in/otp", {"address": EMAIL})
            code = next(line.split()[-1] for line in process.stdout if line.startswith(f"The code for {EMAIL}: "))
            assert visitor.post("/sign-in/otp/verify", {"code": code}).status_code == 303
            assert EMAIL in visitor.get("/account").text
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        with pytest.raises(httpx.ConnectError):
            quick.get(url)
    finally:
        watchdog.cancel()
        process.terminate()
        process.communicate(timeout=PATIENCE)
