"""No secret in any output: what is known to be secret, and what looks like it, is masked in every text.

Values are collected where secrets stand (settings, providers, variables), in each spelling in which a text may
repeat them. A secret in the wrong place is recognised by its form.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, unquote, urlsplit

from moonkey_core._doctor.reading import SCHEMES
from moonkey_core._evidence import looks_secret, shown
from moonkey_core._secret import Secret

MASK = "***"
_PREFIX = "MOONKEY_"
_SHORTEST = 4  # characters; what is shorter is no secret, and would mask every text
_SHORTEST_PART = 8  # of a secret that a text repeats in part
_SHORTEST_BEGIN = 12  # of a secret whose end was cut off
_DEEPEST = 4
_WORD = r"[A-Za-z0-9_\-+/=.~%]"
_FORMS = re.compile(
    r"(?<![A-Za-z0-9])(?:[spr]k|whsec)_[A-Za-z0-9_\-]{6,}"  # API keys
    r"|secret-(?:test|live)-" + _WORD + r"+"
    r"|eyJ" + _WORD + r"{12,}"  # JSON in base64url: the first part of a JWT
    r"|-----BEGIN[^-]*-----(?s:.*?)(?:-----END[^-]*-----|\Z)"
)
_USERINFO = re.compile(r"(?<=://)[^/\s@'\"]+@")
_QUERY = re.compile(r"(?<=[a-z0-9/])\?[A-Za-z0-9_.\-]+=[^\s'\"]*")
_HEADER_NAME = re.compile(r"[A-Za-z]+(?:-[A-Za-z]+)*:")
_SECRET_NAME = re.compile(r"SECRET|KEY|TOKEN|PASSWORD|REDIS_URL|CREDENTIAL|ASSERTION|\bDSN\b")
# What issuers and audiences are that have a long form: an address, a name that begins with that of a host, a GUID.
_REST = r"(?::[0-9]+)?(?:[/:][A-Za-z0-9_.\-~]*)*"
_PLAIN = re.compile(
    rf"(?:https?|urn|api):(?://)?[A-Za-z0-9.\-\[\]:]+{_REST}"
    rf"|[a-z0-9\-]+(?:\.[a-z0-9\-]+)+{_REST}"
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)


class Mask:
    """Masks secrets in texts.

    Args:
        secrets: The values that must not be shown.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        spelled = {one for secret in secrets for one in _spellings(secret) if len(one) >= _SHORTEST}
        self._whole = sorted(spelled, key=len, reverse=True)
        begins = {one[:_SHORTEST_BEGIN] for one in spelled if len(one) > _SHORTEST_BEGIN}
        self._begins = [re.compile(re.escape(one) + _WORD + "*", re.IGNORECASE) for one in sorted(begins)]

    def __call__(self, text: str) -> str:
        """Return a text with every secret in it masked."""
        for secret in self._whole:
            if secret in text:
                text = text.replace(secret, MASK)
        for begin in self._begins:
            text = begin.sub(MASK, text)
        text = _FORMS.sub(MASK, text)
        text = _USERINFO.sub(f"{MASK}@", text)
        return _QUERY.sub(f"?{MASK}", text)


def named(value: object) -> str:
    """Return a value that should be public, such as an issuer: masked where it looks like a secret instead."""
    if isinstance(value, list | tuple):
        return ", ".join(named(one) for one in value[:8]) or "none"
    if isinstance(value, str) and not _PLAIN.fullmatch(value) and looks_secret(value):
        return f"'{MASK}' ({len(value)} characters, not shown: it looks like a secret)"
    return shown(value)


def secrets_of(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the values of the variables of this package that are secrets, by their names."""
    for name, value in environ.items():
        if name.startswith(_PREFIX) and _SECRET_NAME.search(name[len(_PREFIX) :]):
            yield value


def parts_of(credential: str) -> Iterator[str]:
    """Yield what is secret in a credential as a user has given it: each word, of a line of cookies each value."""
    for place, word in enumerate(re.split(r"[;\s]+", credential)):
        if (place == 0 and _HEADER_NAME.fullmatch(word)) or (place < 2 and word.lower() in SCHEMES):
            continue
        value = word.partition("=")[2]
        secret = value if len(value.strip("=")) >= _SHORTEST_PART else word
        yield from (secret, *secret.split("."))


def secrets_in(thing: object, depth: int = 0) -> Iterator[str]:
    """Yield the secrets in settings, a provider or a part of them, however deep they stand."""
    if isinstance(thing, Secret):
        yield thing.reveal()
        return
    if depth >= _DEEPEST or isinstance(thing, str | bytes | int | float | None | type):
        return
    inner: Iterable[object] = ()
    if isinstance(thing, Mapping):
        inner = thing.values()
    elif isinstance(thing, list | tuple | set | frozenset):
        inner = thing
    elif type(thing).__module__.partition(".")[0].startswith("moonkey"):
        inner = _members(thing)
    for one in inner:
        yield from secrets_in(one, depth + 1)


def _members(thing: object) -> Iterator[object]:
    if dataclasses.is_dataclass(thing):
        for field in dataclasses.fields(thing):
            yield getattr(thing, field.name, None)
    yield from getattr(thing, "__dict__", {}).values()
    for kind in type(thing).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            yield getattr(thing, name, None)


def _spellings(secret: str) -> Iterator[str]:
    """Yield a secret as a text may repeat it: cut at white space and quotes, escaped, or as a part of a URL."""
    parts = {secret, *secret.split(), *secret.splitlines()}
    if "://" in secret:
        try:
            found = urlsplit(secret)
            parts |= {part for part in (found.password, found.query) if part}
        except ValueError:
            pass
        parts |= {unquote(part) for part in tuple(parts)}
    for part in tuple(parts):
        bare = part.strip().strip("\"'`“”‘’")  # noqa: RUF001 the quotes that editors make
        parts |= {bare, bare.removeprefix("Bearer ").strip()}
        parts.add(re.sub(r"\A[a-z]{2,10}_(?:test|live)_", "", bare))
        parts |= set(bare.split(".")) if bare.startswith("eyJ") else set()
    for part in parts:
        if part == secret or len(part) >= _SHORTEST_PART:  # a word such as "Bearer" is none
            yield part
            yield from (ascii(part)[1:-1], json.dumps(part)[1:-1], quote(part, safe=""))
