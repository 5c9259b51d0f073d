"""The kinds of response that the view ``/kinds/…`` of each contract site makes, as told here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from moonkey_core import CookieSettings

OWN_COOKIE = "theme=dark; Path=/"
OWN_SESSION_COOKIE = f"{CookieSettings().jwt_name}=mine; HttpOnly; Path=/; SameSite=Lax; Secure"
FILE = __file__
TARGETED = (
    ("CDN-Cache-Control", "max-age=600"),
    ("Cloudflare-CDN-Cache-Control", "public, max-age=600"),
    ("X-Some-Cache-Control", "max-age=600"),
    ("Surrogate-Control", "max-age=600"),
    ("X-Accel-Expires", "600"),
)
"""Headers by which an app addresses single caches (RFC 9213, and older ones)."""


@dataclass(frozen=True)
class Kind:
    """A response. What passes for a file in Flask and Django may be a generator of the app's, too."""

    status: int = 200
    body: Literal["whole", "streamed", "file", "generated file"] = "whole"
    text: str = "ab"
    headers: tuple[tuple[str, str], ...] = ()
    cookies: tuple[str, ...] = ()


KINDS = {
    "plain": Kind(),
    "streamed": Kind(body="streamed"),
    "file": Kind(body="file"),
    "generated file": Kind(body="generated file"),
    "no content": Kind(204, text=""),
    "no content, streamed": Kind(204, "streamed", ""),
    "not modified, streamed": Kind(304, "streamed", ""),
    "own headers": Kind(headers=(("Vary", "Accept-Language"), ("Cache-Control", "public, max-age=60"))),
    "own headers, streamed": Kind(
        body="streamed", headers=(("Vary", "Accept-Language"), ("Cache-Control", "public, max-age=60"))
    ),
    "targeted": Kind(headers=TARGETED),
    "targeted, streamed": Kind(body="streamed", headers=TARGETED),
    "own cookie": Kind(cookies=(OWN_COOKIE,)),
    "own cookie, streamed": Kind(body="streamed", cookies=(OWN_COOKIE,)),
    "own session cookie": Kind(cookies=(OWN_SESSION_COOKIE,)),
    "missing, streamed": Kind(404, "streamed"),
    "failed": Kind(500),
}
