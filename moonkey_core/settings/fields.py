"""Parsers of single settings: text or typed value in, typed value out. A ``ValueError`` names what to write.

No message repeats the value: it may be a secret in the wrong place.
"""

from __future__ import annotations

import ipaddress
import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Literal, cast
from urllib.parse import urlsplit

from moonkey_core._provider import Provider
from moonkey_core._secret import Secret as Secret
from moonkey_core.settings.redis_address import redis_address
from moonkey_core.settings.sign_in_settings import safe_target

_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110 section 5.6.2
_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_LONGEST_HOST = 253  # characters
_LONGEST_DIRECTORY = 80  # bytes: an address has 104 on some systems
_VISIBLE = r"[\x21-\x7e]+"
_TOKEN68 = r"[A-Za-z0-9\-._~+/]+=*"  # RFC 9110 section 11.2: what may follow "Bearer"
_QUOTES = ('""', "''", "``", "\u201c\u201d", "\u2018\u2019")
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


_PROVIDER_MEMBERS = (
    "name", "capabilities", "jwt_rules", "keys", "scopes", "jwt_claims", "introspect", "user", "session",
    "verified_session", "without_credentials", "get_user", "same_user", "key_of_user",
)  # fmt: skip

_NETWORKS = (ipaddress.IPv4Network, ipaddress.IPv6Network)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network | Literal["unix", "none"]


class Address(str):
    """A URL whose query, which may hold a secret, is masked in ``repr``."""

    __slots__ = ()

    @property
    def shown(self) -> str:
        """The URL up to its query."""
        return str(self).partition("?")[0]

    def __repr__(self) -> str:
        """Return the URL with its query masked."""
        return repr(self.shown + ("?***" if "?" in self else ""))


def check_unquoted(value: object) -> object:
    """Return the value, unless it is a text in quotes, which would count as a part of it."""
    text = value.reveal() if isinstance(value, Secret) else value
    if isinstance(text, str) and len(text) > 1 and text[0] + text[-1] in _QUOTES:
        raise ValueError(
            "stands in quotes, which would be a part of it. Leave them out: not everything that reads a file of "
            "variables removes them."
        )
    return value


def secret_key(value: object) -> Secret:
    """Parse an API key: it may stand in a header (RFC 9110 section 11.2), and is not a public key."""
    text = value.reveal() if isinstance(value, Secret) else value
    if isinstance(text, str) and text and text != text.strip():
        raise ValueError("has white space before or after it, such as the line break of a file. Remove that.")
    if isinstance(text, str) and text[:7].lower() == "bearer ":
        raise ValueError("begins with 'Bearer', which is added by itself. Put the key alone there.")
    if not isinstance(text, str) or not re.fullmatch(_VISIBLE, text):
        raise ValueError(
            "must be the whole secret key (it begins with sk_test_ or sk_live_): one word of ASCII characters, "
            "without spaces or line breaks."
        )
    if text.startswith("pk_"):
        raise ValueError(
            "holds a public key (pk_…), which cannot verify sessions. "
            "Put the secret key (sk_test_… or sk_live_…) there."
        )
    if not re.fullmatch(_TOKEN68, text):
        raise ValueError(
            "holds what no key has, such as quotes, brackets, $ or =. Put the secret key itself there "
            "(sk_test_… or sk_live_…), and neither the line that sets it nor what stands for it."
        )
    return Secret(text)


def optional_secret_key(value: object) -> Secret | None:
    """Parse the API key; ``None`` where there is none."""
    return None if value is None else secret_key(value)


def previous_secret_key(value: object) -> Secret | None:
    """Parse the API key that was in use before; ``None`` where there is none."""
    return None if value is None else secret_key(value)


def provider(value: object) -> Provider | None:
    """Check an identity provider by its members; ``None`` where there is none."""
    if value is None:
        return None
    lacks = [name for name in _PROVIDER_MEMBERS if not hasattr(value, name)]
    if lacks:
        raise ValueError(
            f"must be a provider such as moonkey_core.provider.OIDC(…); this {type(value).__name__} has no "
            f"{', '.join(lacks)}."
        )
    return cast("Provider", value)


def cache_secret(value: object) -> Secret | None:
    """Parse the secret that the processes of a fleet share; ``None`` where there is none."""
    if value is None:
        return None
    text = value.reveal() if isinstance(value, Secret) else value
    if not isinstance(text, str) or len(text) < 16:
        raise ValueError(
            "must be a random text of at least 16 characters, the same in all processes of the fleet."
        )
    return Secret(text)


def previous_cache_secret(value: object) -> Secret | None:
    """Parse the secret that the processes of a fleet shared before; ``None`` where there is none."""
    return cache_secret(value)


def redis_url(value: object) -> Secret | None:
    """Parse the address of a Redis server, which may hold a password; ``None`` where there is none."""
    if value is None:
        return None
    text = value.reveal() if isinstance(value, Secret) else value
    redis_address(text if isinstance(text, str) else "")  # refuses what is none
    return Secret(str(text))


def directory(value: object) -> str | None:
    """Parse the path of a folder for unix sockets; ``None`` where there is none."""
    if value is None:
        return None
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str) or not os.path.isabs(text) or "\0" in text:
        raise ValueError("must be the absolute path of a folder, such as /run/shop.")
    if len(os.fsencode(text)) > _LONGEST_DIRECTORY:
        raise ValueError(
            f"is longer than {_LONGEST_DIRECTORY} bytes, and the name of a unix socket has no room for it."
        )
    if os.name == "nt":
        raise ValueError("needs unix sockets, which this system does not have. Leave it out.")
    return text


def _url(value: object, *, with_query: bool = False) -> str:
    if not isinstance(value, str) or not re.fullmatch(_VISIBLE, value):
        raise ValueError("must be an absolute https URL.")
    try:
        parts = urlsplit(value)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL. Use the form https://host[:port].") from None
    if parts.scheme not in ("https", "http") or not host:
        raise ValueError("must be an absolute https URL, such as https://api.moonkey.fun.")
    check_host(host)
    if parts.username is not None or parts.password is not None or "#" in value:
        raise ValueError("must hold no user name, password or fragment.")
    if "?" in value and not with_query:
        raise ValueError("must hold no query.")
    url = parts.scheme + value[len(parts.scheme) :]  # the scheme in lower case
    return url if "?" in url else url.rstrip("/")


def check_host(host: str) -> None:
    """Check that a host of a URL is one that a server can have: an IP address, or a name (RFC 1123 section 2.1).

    Args:
        host: The host, without the brackets of an IPv6 address.

    Raises:
        ValueError: It is neither. A name with an underscore is accepted, as internal ones have it.
    """
    labels = host.split(".")
    if "" in labels and ":" not in host:
        raise ValueError("has a host with an empty part: two dots in a row, or one at its begin or end.")
    try:
        if ":" in host or labels[-1].isdigit():
            ipaddress.ip_address(host)
        elif len(host) > _LONGEST_HOST or not all(re.fullmatch(_LABEL, one) for one in labels):
            raise ValueError
        else:
            host.encode("ascii").decode("idna").encode("idna")  # as connecting would encode the name
    except ValueError:
        raise ValueError("has a host that no server can have.") from None


def base_url(value: object) -> str:
    """Parse the root URL of the API."""
    url = _url(value)
    if url.endswith("/v1"):
        raise ValueError("ends in /v1. It is the root before that: leave /v1 out.")
    return url


def key_set_url(value: object) -> Address | None:
    """Parse the URL of a key set, which may have a query; ``None`` where there is none."""
    return None if value is None else Address(_url(value, with_query=True))


def oauth_start_url(value: object) -> str | None:
    """Parse the address that OAuth begins at, with ``{provider}`` in it; ``None`` where there is none."""
    if value is None:
        return None
    text = value if isinstance(value, str) else ""
    if "{provider}" not in text:
        raise ValueError("must hold {provider}, in whose place the provider is put.")
    if is_plain_http_off_loopback(_url(text.replace("{provider}", "provider"), with_query=True)):
        raise ValueError("uses plain http off loopback. Use https.")
    return text


def public_token(value: object) -> str | None:
    """Parse the public token of the app; ``None`` where there is none. It is shown to browsers."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.startswith("pk_") or not re.fullmatch(_TOKEN68, value):
        raise ValueError("must be the public token of the app, which begins with pk_. It is shown to browsers.")
    return value


def is_plain_http_off_loopback(url: str) -> bool:
    """Return whether credentials sent to ``url`` could be read on the way."""
    return urlsplit(url).scheme != "https" and not is_on_loopback(url)


def is_on_loopback(url: str) -> bool:
    """Return whether ``url`` is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def flag(value: object) -> bool:
    """Parse a boolean, or one of the usual words for it."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in _TRUE | _FALSE:
        raise ValueError("must be true or false.")
    return word in _TRUE


def seconds(low: float, high: float) -> Callable[[object], float]:
    """Make a parser of a finite number of seconds from ``low`` to ``high``."""

    def parse(value: object) -> float:
        number = _number_of(value)
        if not low <= number <= high:  # also false for NaN
            raise ValueError(f"must be a number of seconds from {low:.15g} to {high:.15g}.")
        return number

    return parse


def optional_number(low: float, high: float) -> Callable[[object], float | None]:
    """Make a parser of a finite number from ``low`` to ``high``, or of none."""

    def parse(value: object) -> float | None:
        if value is None:
            return None
        number = _number_of(value)
        if not low <= number <= high:  # also false for NaN
            raise ValueError(f"must be a number from {low:.15g} to {high:.15g}.")
        return number

    return parse


def _number_of(value: object) -> float:
    """Return a value as a number; NaN for what is none."""
    try:
        return math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan


def duration(low: float, high: float) -> Callable[[object], timedelta | None]:
    """Make a parser of a ``timedelta``, or its seconds, from ``low`` to ``high`` seconds."""
    number = seconds(low, high)

    def parse(value: object) -> timedelta | None:
        return None if value is None else timedelta(seconds=number(_seconds_of(value)))

    return parse


def _seconds_of(value: object) -> object:
    return value.total_seconds() if isinstance(value, timedelta) else value


def networks(value: object) -> tuple[Network, ...]:
    """Parse IP addresses and networks, and the word ``unix`` for sockets of the file system.

    The word ``none`` stands alone: there is no proxy, and the peer of a connection is the client.
    """
    found: list[Network] = []
    given = [value] if isinstance(value, _NETWORKS) else value
    if isinstance(given, Sequence) and not isinstance(given, str):
        given = [str(one) if isinstance(one, _NETWORKS) else one for one in given]
    for word in words(given) if given else ():
        try:
            found.append(_network(word))
        except ValueError:
            raise ValueError(
                "must be addresses such as 10.0.0.7, networks such as 10.0.0.0/8, or unix; or none, where there "
                "is no proxy."
            ) from None
    if "none" in found and len(found) > 1:
        raise ValueError("holds none, which says that there is no proxy, beside proxies. Keep one of the two.")
    return tuple(found)


def _network(word: str) -> Network:
    if word.lower() in ("unix", "none"):
        return "unix" if word.lower() == "unix" else "none"
    return ipaddress.ip_network(word)


def whole_number(low: int, high: int) -> Callable[[object], int]:
    """Make a parser of an integer from ``low`` to ``high``."""

    def parse(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip()):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}.")
        return value

    return parse


def words(value: object) -> tuple[str, ...]:
    """Parse one string, several separated by commas or spaces, or a sequence of strings."""
    items: Sequence[object]
    if isinstance(value, str):
        items = value.replace(",", " ").split()
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        items = value
    else:
        raise ValueError("must be a string or a list of strings.")
    found = tuple(
        item for item in map(check_unquoted, items) if isinstance(item, str) and re.fullmatch(_VISIBLE, item)
    )
    if not found or len(found) != len(items):
        raise ValueError("must be one or more non-empty words without spaces.")
    return found


def header_names(value: object) -> tuple[str, ...]:
    """Parse names of request headers; returns them in lower case."""
    names = tuple(name.lower() for name in words(value))
    if not all(re.fullmatch(_NAME, name) and "_" not in name for name in names):
        raise ValueError("must be HTTP header names (letters, digits and hyphens).")
    if "cookie" in names or len(set(names)) != len(names):
        raise ValueError("must name each header once, and never Cookie.")
    return names


def header_name(value: object) -> str | None:
    """Parse one header name; ``None`` where there is none."""
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(_NAME, value):
        raise ValueError("must be an HTTP header name (letters, digits and hyphens).")
    return value


def handle_header(value: object) -> str:
    """Parse the name of a header that holds a handle; returns it in lower case."""
    (name, *others) = header_names(value) or ("",)
    if others or name in ("", "authorization"):
        raise ValueError("must be one HTTP header name (letters, digits and hyphens), and not Authorization.")
    return name


def page_address(value: object) -> str | None:
    """Parse the address of a page: a path of this site, or an http(s) URL; ``None`` where there is none."""
    if value is None:
        return None
    is_path = isinstance(value, str) and re.fullmatch(_VISIBLE, value) and safe_target(value) == value
    if is_path:
        return str(value)
    return _url(value, with_query=True)


def quoted_text(value: object) -> str:
    """Parse a text that may stand between quotes in a header (RFC 9110 section 5.6.4, without escapes)."""
    if not isinstance(value, str) or not re.fullmatch(r"[\x20\x21\x23-\x5b\x5d-\x7e]{1,100}", value):
        raise ValueError("must be 1 to 100 printable ASCII characters without quotes and backslashes.")
    return value


def choice(*allowed: str) -> Callable[[object], str]:
    """Make a parser of one of these words."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"must be one of: {', '.join(allowed)}.")
        return value

    return parse


def optional_choice(*allowed: str) -> Callable[[object], str | None]:
    """Make a parser of one of these words, or of none."""
    parse = choice(*allowed)
    return lambda value: None if value is None else parse(value)


def key_set(value: object) -> Mapping[str, object] | None:
    """Parse a JWK set (RFC 7517), as a mapping or JSON text; its keys are parsed where they are used."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("is not JSON.") from None
    if not isinstance(value, Mapping) or not isinstance(value.get("keys"), list):
        raise ValueError('must be a JWK set: {"keys": [...]}.')
    return value
