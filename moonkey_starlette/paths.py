"""The path of a request. With ``required=True``, this is the one place where a path decides about access."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Scope

from moonkey_core.errors import ConfigurationError

_PATTERN_CHARACTERS = "*{}?#"
_UNENCODED = "/:@!$&'()*+,;=~"  # in a path, beside letters and digits (RFC 3986 section 3.3)
_TRANSPARENT_LAYERS = (GZipMiddleware, HTTPSRedirectMiddleware, TrustedHostMiddleware)


def exact_paths(paths: Iterable[str]) -> frozenset[str]:
    """Return the public paths as a set.

    Raises:
        ConfigurationError: A path looks like a pattern and would never match.
    """
    if isinstance(paths, str):
        raise ConfigurationError(f"public_paths is a list of paths; write public_paths=[{paths!r}].")
    found = frozenset(paths)
    for path in found:
        if not path.startswith("/") or any(character in path for character in _PATTERN_CHARACTERS):
            raise ConfigurationError(
                f"public_paths holds exact paths such as '/health', compared letter by letter; {path!r} is none. "
                "To protect single routes, leave required=True out and use @require_auth."
            )
    return found


def route_path(scope: Scope) -> str:
    """Return the path as the app's router sees it: decoded, without the prefix below which the app is mounted.

    It is not taken from ``request.url``, which the client can influence with the Host header.
    """
    return _inside(scope["path"], scope.get("root_path", ""))


def visible_path(path: str, root_path: str) -> str:
    """Return the path as the browser sees it: decoded, with the prefix below which the app is mounted.

    Most servers put the prefix before the path. Behind a proxy that cuts it off, only ``root_path`` may have it.
    """
    return root_path + _inside(path, root_path)


def target_of(scope: Scope, root_path: str) -> str:
    """Return the path and query as the browser sees them, percent-encoded."""
    query = scope["query_string"].decode("latin-1")
    return _encoded(visible_path(scope["path"], root_path)) + (f"?{query}" if query else "")


def _inside(path: str, root_path: str) -> str:
    inside = path.removeprefix(root_path)
    return inside if inside == "" or inside.startswith("/") else path


def as_link(prefix: str) -> str:
    """Return a decoded path prefix percent-encoded, with one slash in front and none at the end."""
    bare = prefix.strip("/")
    return f"/{_encoded(bare)}" if bare else ""


def _encoded(path: str) -> str:
    return quote(path, safe=_UNENCODED, errors="replace")


def is_preflight(scope: Scope) -> bool:
    """Return whether a ``CORSMiddleware`` treats a request as a CORS-preflight request, by the same conditions."""
    if scope["type"] != "http" or scope["method"] != "OPTIONS":
        return False
    headers = Headers(scope=scope)
    return "origin" in headers and "access-control-request-method" in headers


def answers_preflights(app: ASGIApp) -> bool:
    """Return whether a ``CORSMiddleware`` answers every preflight given to this app, so that no endpoint sees one.

    Layers before it count only if they are known to pass a request on unchanged or to answer it themselves.
    """
    layer: Any = app
    while type(layer) in _TRANSPARENT_LAYERS:
        layer = layer.app
    return type(layer) is CORSMiddleware
