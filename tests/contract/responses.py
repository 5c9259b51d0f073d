"""What is true of every refusal and of every page, on every stack."""

from __future__ import annotations

from collections.abc import Set

import httpx

from support.pages import Read
from support.visitors import vary

HEADERS = frozenset({"authorization", "session-token"})
"""Those in which MoonKey's credentials may come. Tokens of other providers come in the first alone."""


def assert_refused(
    response: httpx.Response, status: int, error: str | None = None, headers: Set[str] = HEADERS
) -> None:
    """A refusal is complete: status, challenge, problem body, and nothing for caches."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert headers <= vary(response)
    body = response.json() if response.request.method != "HEAD" else {}
    if body:
        assert body["status"] == status
        assert body["title"]
        assert body["instance"].startswith("urn:request:")
        assert body.get("error") == error
    challenge = response.headers.get("www-authenticate")
    if status in (400, 401):
        assert challenge == 'Bearer realm="moonkey"' + (f', error="{error}"' if error else "")
    else:
        assert challenge is None
    assert ("retry-after" in response.headers) == (status == 503)


def assert_page(response: httpx.Response, status: int = 200) -> Read:
    """A whole page: nothing in it needs a script, and nobody stores it."""
    assert (response.status_code, response.headers["content-type"]) == (status, "text/html; charset=utf-8")
    policy = response.headers["content-security-policy"]
    assert {"default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"} <= set(policy.split("; "))
    assert "script-src" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "same-origin"
    assert response.headers["cache-control"] == "no-store"
    assert {"accept", "cookie"} <= vary(response)
    page = Read(response.text)
    assert page.all("script") == []
    assert not any(name.startswith("on") or name == "style" for one in page.elements for name in one.attributes)
    assert page.one("html").attributes["lang"] == "en"
    return page
