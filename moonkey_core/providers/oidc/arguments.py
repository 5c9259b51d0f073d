"""The checks of arguments that all providers have in common. An error says what to write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import SplitResult, urlsplit

from moonkey_core.errors import ConfigurationError
from moonkey_core.providers.oidc.rules import ClaimPath
from moonkey_core.settings.fields import check_host, is_on_loopback, is_plain_http_off_loopback

_HOST_AND_PATH = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[^@?#]*)?")
# What an issuer publishes about itself, below its own address (OpenID Connect Discovery 1.0, RFC 8414).
_DOCUMENT = re.compile(r"/\.well-known/(openid-configuration|oauth-authorization-server|jwks(?:\.json)?)/?\Z")
_USUAL_PORTS = {"https": 443, "http": 80}
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_MOST_SHOWN = 8  # texts of a list


def text(name: str, value: object) -> str:
    """Return a text without spaces.

    Raises:
        ConfigurationError: It is none, or empty.
    """
    if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
        hint = (
            " Leave out those around it." if isinstance(value, str) and _VISIBLE.fullmatch(value.strip()) else ""
        )
        raise ConfigurationError(f"{name} must be a text without spaces, and not empty.{hint}")
    return value


def words(name: str, value: object, *, can_be_empty: bool = False) -> tuple[str, ...]:
    """Return one text, or several, each without spaces.

    Raises:
        ConfigurationError: There is none, or one is of the wrong form; or one text holds several.
    """
    parts = value.replace(",", " ").split() if isinstance(value, str) else []
    if len(parts) > 1:
        some = ", ".join(ascii(one[:100]) for one in parts[:_MOST_SHOWN])
        more = ", …" if len(parts) > _MOST_SHOWN else ""
        raise ConfigurationError(f"{name} holds several in one text. Write a list: {name}=[{some}{more}].")
    return _texts(name, value, can_be_empty=can_be_empty)


def _texts(name: str, value: object, *, can_be_empty: bool = False) -> tuple[str, ...]:
    found = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else ()
    if not found and not (can_be_empty and value is not None):
        raise ConfigurationError(f"{name} must be a text, or a list of texts that is not empty.")
    return tuple(text(name, one) for one in found)


def address(name: str, value: object, *, with_query: bool = False) -> str:
    """Return a URL: https, or plain http on loopback.

    Args:
        name: The name of the argument.
        value: Its value.
        with_query: Whether it is the address of one document or endpoint, which may have a query.

    Raises:
        ConfigurationError: It is none.
    """
    url = text(name, value)
    if "://" not in url and _HOST_AND_PATH.fullmatch(url):
        raise ConfigurationError(f"{name} has no scheme. Write {name}={'https://' + url!r}.")
    document = None if with_query else _DOCUMENT.search(url)
    if document is not None:
        what = "a key set" if document[1].startswith("jwks") else "a discovery document"
        raise ConfigurationError(f"{name} is the address of {what}. Write {name}={url[: document.start()]!r}.")
    parts = _split(url)
    if not parts.hostname:
        raise ConfigurationError(f"{name} must be a URL such as https://login.example.com.")
    if parts.username is not None or parts.password is not None or "#" in url:
        raise ConfigurationError(f"{name} must hold no user name, password or fragment.")
    if parts.scheme not in ("https", "http") or is_plain_http_off_loopback(url):
        raise ConfigurationError(f"{name} must use https. Plain http is for loopback only.")
    if parts.query and not with_query:
        raise ConfigurationError(f"{name} must have no query.")
    _check_host(name, parts.hostname)
    return url


def own_address(name: str, value: object, *, with_slash: bool = False) -> str:
    """Return a URL as a service writes it in ``iss``: without a slash at the end, its host in small letters.

    Issuers are compared byte for byte.

    Args:
        name: The name of the argument.
        value: Its value.
        with_slash: Whether a slash at the end is left out, as something comes behind the address.

    Raises:
        ConfigurationError: It is none.
    """
    url = address(name, value)
    url = url.rstrip("/") if with_slash else url
    scheme, _, rest = url.partition("://")
    host, slash, below = rest.partition("/")
    usual = f"{scheme.lower()}://{host.lower()}{slash}{below}".rstrip("/")
    if url.endswith("/"):
        raise ConfigurationError(f"{name} must not end with a slash. Write {name}={usual!r}.")
    if url != usual:
        raise ConfigurationError(f"{name} must have its host in small letters. Write {name}={usual!r}.")
    return url


def origin(name: str, value: object) -> str:
    """Return an origin as browsers send it: scheme, host, and an unusual port (RFC 6454 section 6).

    Raises:
        ConfigurationError: It is none, so that it would never be equal to one; or it is that of many pages.
    """
    found = text(name, value)
    if found.lower() == "null":
        raise ConfigurationError(
            f"{name}: 'null' is no origin. It is what browsers send for any page without one: of a file, or in a "
            "sandbox. List the origins of your own pages, such as 'https://app.example.com'."
        )
    if "://" not in found and _HOST_AND_PATH.fullmatch(found):
        scheme = "http" if is_on_loopback(f"http://{found}") else "https"
        raise ConfigurationError(f"{name}: an origin begins with its scheme. Write '{scheme}://{found}'.")
    parts = _split(found)
    host = parts.hostname
    if not host or not parts.scheme or "*" in host:
        raise ConfigurationError(f"{name} must be whole origins, such as 'https://app.example.com'.")
    shown_host = f"[{host}]" if ":" in host else host
    is_usual = parts.port is None or _USUAL_PORTS.get(parts.scheme) == parts.port
    usual = f"{parts.scheme}://{shown_host}{'' if is_usual else f':{parts.port}'}"
    if found != usual:
        raise ConfigurationError(
            f"{name} must be origins as browsers send them, without a path, a slash at the end or the usual port. "
            f"Write {usual!r}."
        )
    if parts.scheme in _USUAL_PORTS:  # another scheme is that of an app or a browser's extension
        _check_host(name, host)
    if parts.scheme == "http" and not is_on_loopback(found) and not host.endswith(".localhost"):
        raise ConfigurationError(
            f"{name} must use https: a page that comes by plain http can be changed on the way. Only on loopback "
            f"it may be http. Write {'https' + found[4:]!r}."
        )
    return found


def host_name(name: str, value: object, example: str) -> str:
    """Return the host in the address of a service, in small letters, with its port.

    Args:
        name: The name of the argument.
        value: Its value: the host alone, or its https address without a path.
        example: Such a host.

    Raises:
        ConfigurationError: It is none.
    """
    found = text(name, value)
    host = found.removeprefix("https://").rstrip("/").lower()
    parts = _split(f"https://{host}")
    if parts.netloc != host or not parts.hostname or "@" in host or parts.query or parts.fragment:
        raise ConfigurationError(f"{name} must be a host name alone, such as {example}.")
    _check_host(name, parts.hostname)
    if "." not in parts.hostname and not is_on_loopback(f"https://{host}") and ":" not in parts.hostname:
        raise ConfigurationError(f"{name} must be the whole host name, such as {example}.")
    return host


def addresses(name: str, value: object) -> tuple[str, ...]:
    """Return one URL, or several."""
    return tuple(address(name, one) for one in words(name, value))


def path(name: str, value: str | Sequence[str]) -> ClaimPath:
    """Return where a claim stands: a name, or for a member of an object the names on the way to it.

    Raises:
        ConfigurationError: It is none, or a place that users can write to themselves.
    """
    found = _texts(name, value)
    if found[0] in ("user_metadata", "unsafe_metadata"):
        raise ConfigurationError(f"{name} must not be in {found[0]}: users can change that themselves.")
    return found


def paths(name: str, value: str | Sequence[str]) -> tuple[ClaimPath, ...]:
    """Return the one path, or none where the value is empty."""
    return (path(name, value),) if value else ()


def _split(url: str) -> SplitResult:
    """Return the parts of a URL; empty ones where it is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return urlsplit("")
    return parts


def _check_host(name: str, host: str) -> None:
    problem = ""
    try:
        check_host(host)
    except ValueError as error:
        problem = str(error)
    if problem:
        raise ConfigurationError(f"{name} {problem}")
