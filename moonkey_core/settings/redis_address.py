"""The forms of ``redis_url``: one server, the Sentinels that know it, or nodes of a cluster.

Makes no network call. No message repeats the value, which may hold a password.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

from moonkey_core._dataclass import dataclass
from moonkey_core._secret import Secret

_VISIBLE = r"[\x21-\x7e]+"
_DATABASE = r"[0-9]{1,9}"
_SERVICE = r"[A-Za-z0-9._-]{1,255}"
_SENTINEL_PORT, _PORT = 26379, 6379
_SENTINEL_USER, _SENTINEL_PASSWORD = "sentinel_username", "sentinel_password"  # names in the query
_MOST_NODES = 64
_PERCENT_ENCODING = (
    "In a user name or password, write reserved characters percent-encoded: # as %23, / as %2F, ? as %3F, "
    "[ as %5B, ] as %5D, @ as %40, : as %3A, % as %25, a space as %20."
)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is.

    Attributes:
        kind: What the hosts are.
        url: A URL as redis-py understands it, with the first of them.
        nodes: The host and port of each Sentinel or node; empty for one server.
        service: The name by which Sentinels know the primary.
        sentinel_user: The user at the Sentinels, where there is one.
        sentinel_password: The password at the Sentinels, where there is one.
    """

    kind: Literal["server", "sentinel", "cluster"]
    url: Secret
    nodes: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinel_user: str | None = None
    sentinel_password: Secret | None = None

    @property
    def is_followed(self) -> bool:
        """Whether the server has to be looked for, and may be another one later."""
        return self.kind != "server"

    @property
    def is_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.url.reveal().startswith("rediss://")


def redis_address(text: str) -> RedisAddress:
    """Parse a ``redis_url``.

    Raises:
        ValueError: It is none; the message says what to write.
    """
    if not re.fullmatch(_VISIBLE, text):
        raise ValueError(
            f"must be a URL such as redis://127.0.0.1:6379/0, of ASCII characters. {_PERCENT_ENCODING}"
        )
    scheme = text.split("://")[0]
    if scheme in ("redis", "rediss", "unix"):
        _check(text, is_socket=scheme == "unix")
        return RedisAddress("server", Secret(text))
    plain, _, kind = scheme.partition("+")
    if plain not in ("redis", "rediss") or kind not in ("sentinel", "cluster"):
        raise ValueError(
            "must begin with redis://, rediss:// (TLS), unix://, redis+sentinel:// or redis+cluster:// (with TLS "
            "rediss+sentinel://, rediss+cluster://)."
        )
    return _of_several(plain, kind == "sentinel", text.removeprefix(f"{scheme}://"))


def _of_several(scheme: str, is_sentinel: bool, rest: str) -> RedisAddress:
    """Parse what follows the scheme, where several hosts may stand."""
    if "#" in rest:
        raise ValueError(f"holds a #, and what follows would be lost. {_PERCENT_ENCODING}")
    authority, tail = _split(rest, "/?")
    user, at, hosts = authority.rpartition("@")
    if not at and "@" in tail:
        raise ValueError(f"holds a / or a ? before its @. {_PERCENT_ENCODING}")
    path, query = _split(tail, "?")
    nodes = tuple(_node(one, _SENTINEL_PORT if is_sentinel else _PORT) for one in hosts.split(","))
    if len(nodes) > _MOST_NODES:
        raise ValueError(
            f"names more than {_MOST_NODES} hosts. A few are enough: the others are learnt from them."
        )
    service, database = _service_of(path) if is_sentinel else ("", path.strip("/"))
    pairs = parse_qsl(query.removeprefix("?"), keep_blank_values=True)
    if not is_sentinel and any(
        one not in ("", "0") for one in (database, *(v for name, v in pairs if name == "db"))
    ):
        raise ValueError("names a database, and a cluster has database 0 only. Leave it out.")
    others = [pair for pair in pairs if pair[0] not in (_SENTINEL_USER, _SENTINEL_PASSWORD)]
    host, port = nodes[0]
    shown = f"[{host}]" if ":" in host else host
    url = f"{scheme}://{user}{at}{shown}:{port}/{database or 0}" + (f"?{urlencode(others)}" if others else "")
    _check(url, is_socket=False)
    found = RedisAddress("cluster", Secret(url), nodes)
    if not is_sentinel:
        return found
    given = dict(pairs)
    password = given.get(_SENTINEL_PASSWORD)
    return replace(
        found,
        kind="sentinel",
        service=service,
        sentinel_user=given.get(_SENTINEL_USER),
        sentinel_password=None if password is None else Secret(password),
    )


def _split(text: str, marks: str) -> tuple[str, str]:
    """Split a text before the first of these characters."""
    at = min((place for place in map(text.find, marks) if place >= 0), default=len(text))
    return text[:at], text[at:]


def _node(text: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
        if "[" not in text and "]" not in text:
            raise ValueError(f"has a port that is no number. {_PERCENT_ENCODING}") from None
    if not host or "@" in text:
        raise ValueError(f"must name hosts as in host:6379,host2:6379, or [::1]:6379. {_PERCENT_ENCODING}")
    return host, default_port if port is None else port


def _service_of(path: str) -> tuple[str, str]:
    """Return the service and the database in the path of a Sentinel URL."""
    service, _, database = unquote(path).removeprefix("/").removesuffix("/").partition("/")
    if not re.fullmatch(_SERVICE, service):
        raise ValueError(
            "must name the service that the Sentinels know, as in redis+sentinel://host:26379/mymaster/0."
        )
    if not re.fullmatch(_DATABASE, database or "0"):
        raise ValueError(
            "names a database that is none. It is a number, as in redis+sentinel://host:26379/mymaster/0."
        )
    return service, database


def _check(text: str, *, is_socket: bool) -> None:
    """Refuse what redis-py would read as something else, or would ignore (as any path that is no number)."""
    if "#" in text:
        raise ValueError(f"holds a #, and what follows would be lost. {_PERCENT_ENCODING}")
    try:
        parts = urlsplit(text)
        rest = parts.path if "@" in parts.netloc else parts.path + parts.query
        is_cut = not is_socket and "@" in rest
        _ = None if is_cut else parts.port
    except ValueError:
        raise ValueError(
            f"has a port that is no number, or brackets that are no IPv6 address. {_PERCENT_ENCODING}"
        ) from None
    if is_cut:
        raise ValueError(f"holds a / or a ? before its @. {_PERCENT_ENCODING}")
    if is_socket and not parts.path:
        raise ValueError("must name the socket, as in unix:///run/redis.sock.")
    path = "" if is_socket else unquote(parts.path).removeprefix("/").removesuffix("/")
    databases = {*([path] if path else ()), *parse_qs(parts.query, keep_blank_values=True).get("db", ())}
    if not all(re.fullmatch(_DATABASE, one) for one in databases):
        raise ValueError("names a database that is none. It is a number, as in redis://127.0.0.1:6379/0.")
    if len({int(one) for one in databases}) > 1:
        raise ValueError("names more than one database. Keep one of them.")
