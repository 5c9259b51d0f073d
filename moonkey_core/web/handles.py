"""Handles: what this app has recorded for one client, sealed, and kept by that client.

A front end keeps a handle of its tab and sends it in a header; a browser keeps one in a ``__Host-`` cookie. Only
this app can read or make one, and it counts only beside a verified credential of the user that it was made for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import math
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import Literal, NamedTuple, TypeGuard

from moonkey_core import _clock
from moonkey_core._crypto import RotatingSealer, Sealer, fleet_sealers, rotating_sealer
from moonkey_core._dataclass import dataclass
from moonkey_core._strict_json import load_object
from moonkey_core.auth import Auth, given_to, provider_name
from moonkey_core.errors import MalformedCredentials
from moonkey_core.settings import Settings
from moonkey_core.web.cookies import set_cookie
from moonkey_core.web.credentials import cookie_lines, one_cookie
from moonkey_core.web.request import HeaderView

logger: logging.Logger = logging.getLogger("moonkey")

Purpose = Literal["mfa", "start"]
"""What was recorded: that a second factor was verified, or that a session has started."""

Carrier = Literal["header", "cookie"]
"""Where a client keeps a handle."""

MAX_HANDLE = 1536
"""The longest handle that is looked at, in characters; ours are shorter than 1000, mostly than 500."""

_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Note:
    """What is sealed in a handle, or in a record of the shared store. The times are Unix seconds.

    Attributes:
        id: The id of the record.
        holder: Stands for the scope and the user, see :func:`holder_of`.
        method: What the user has verified; empty for the start of a session.
        made_at: When that was.
        until: When the record ends.
        session: The id of the session in which it was made; empty where the credential named none. When that is
            revoked, the record ends with it. It counts beside other sessions of the user as well.
    """

    id: str
    holder: str = field(repr=False)
    method: str
    made_at: float
    until: float
    session: str = ""

    def content(self) -> bytes:
        """Return the note as JSON."""
        found = {"id": self.id, "of": self.holder, "method": self.method, "at": self.made_at, "until": self.until}
        return json.dumps({**found, "session": self.session} if self.session else found).encode()


class Handle(NamedTuple):
    """A handle on its way to a client. Never log it."""

    purpose: Purpose
    carrier: Carrier
    text: str
    until: float

    def __repr__(self) -> str:
        """Return what it is for, without its text."""
        return f"Handle({self.purpose!r}, {self.carrier!r})"


def new_id(purpose: Purpose) -> str:
    """Return the id of a new record. It cannot be guessed, and no session has one like it."""
    return f"{purpose}_{secrets.token_urlsafe(_ID_BYTES)}"


def holder_of(scope: str, user_key: str) -> str:
    """Return what stands for a user in a note: of fixed length, and another one in each scope."""
    return hashlib.sha256(f"{scope}\n{user_key}".encode("utf-8", "surrogatepass")).hexdigest()


def seal_handle(settings: Settings, purpose: Purpose, carrier: Carrier, note: Note) -> Handle:
    """Seal a note for a client. What is sealed for a header does not open as a cookie, nor the other way round."""
    sealed = _sealer(settings).seal(_name(purpose, carrier), note.content())
    return Handle(purpose, carrier, base64.urlsafe_b64encode(sealed).decode().rstrip("="), note.until)


def presented_notes(headers: HeaderView, settings: Settings, purpose: Purpose) -> Iterator[Note]:
    """Yield the notes in the handles that a request presents. None is judged yet."""
    for carrier, text in _presented(headers, settings, purpose):
        note = _opened(settings, _name(purpose, carrier), text)
        if note is None:
            ignored(purpose, "it was not sealed by this app")
        else:
            yield note


def presents(headers: HeaderView, settings: Settings, purpose: Purpose) -> bool:
    """Return whether a request has anything in a place for handles of this purpose."""
    return next(_presented(headers, settings, purpose), None) is not None


def ignored(purpose: Purpose, why: str) -> None:
    """Log that a handle does not count, and nothing of the handle."""
    logger.debug("a handle (%s) is ignored: %s", purpose, why, extra={"reason": "handle_ignored"})


def handle_header(settings: Settings, purpose: Purpose) -> str:
    """Return the name of the header in which a handle of this purpose stands."""
    return settings.mfa_header if purpose == "mfa" else settings.start_header


def handle_cookie(settings: Settings, purpose: Purpose) -> str:
    """Return the name of the cookie in which a handle of this purpose stands. There are cookies."""
    assert settings.cookies is not None
    return settings.cookies.mfa_name if purpose == "mfa" else settings.cookies.start_name


def carrier_of(settings: Settings, *, from_cookies: bool) -> Carrier:
    """Return where a client with a credential in that place keeps its handles."""
    if settings.cookies is None:
        return "header"
    return settings.mfa_handles or ("cookie" if from_cookies else "header")


def set_handle_cookie(handle: Handle, settings: Settings) -> str:
    """Return the ``Set-Cookie`` value with a handle. Never log it."""
    left = max(math.ceil(handle.until - _clock.wall()), 0)
    return set_cookie(settings, handle_cookie(settings, handle.purpose), handle.text, left)


class HandleEffects(NamedTuple):
    """The headers and cookies with the handles for a client. Never log them."""

    headers: tuple[tuple[str, str], ...]
    cookies: tuple[str, ...]

    def __repr__(self) -> str:
        """Return the numbers of headers and cookies, without their values."""
        return f"HandleEffects({len(self.headers)} headers, {len(self.cookies)} cookies)"


def handle_effects(
    auth: Auth, settings: Settings, already: Iterable[str] = (), *, has_ended: bool = False
) -> HandleEffects | None:
    """Return what the response to the request of an identity has to carry; ``None`` where that is nothing.

    Args:
        auth: The identity.
        settings: The settings.
        already: The ``Set-Cookie`` values of the response. A handle that one of them sets or removes stays so.
        has_ended: Whether its session has ended meanwhile, so that handles are only removed.
    """
    newest = {one.purpose: one for one in given_to(auth) if not (has_ended and one.text)}
    if not newest:
        return None
    settings = settings.of_provider(provider_name(auth))
    names = {value.partition("=")[0].strip() for value in already}
    headers = tuple(
        (handle_header(settings, one.purpose), one.text)
        for one in newest.values()
        if one.carrier == "header" and one.text
    )
    cookies = tuple(
        set_handle_cookie(one, settings)
        for one in newest.values()
        if one.carrier == "cookie" and settings.cookies is not None
        if handle_cookie(settings, one.purpose) not in names
    )
    return HandleEffects(headers, cookies)


# --- records of users in the shared store, sealed in the same way


def stored_keys(settings: Settings, holder: str) -> tuple[str, ...]:
    """Return the keys of a user's record in the shared store, one for each secret, the current one first."""
    return tuple(_stored_key(one, holder) for one in _store_sealers(settings))


def seal_stored(settings: Settings, holder: str, note: Note) -> tuple[bytes, ...]:
    """Return what is stored under each of the keys: sealed with its secret, under its name.

    While a secret is being changed, processes that know only one of the two find the record as well.
    """
    return tuple(one.seal(_stored_key(one, holder), note.content()) for one in _store_sealers(settings))


def open_stored(settings: Settings, holder: str, found: tuple[bytes | None, ...]) -> Note | None:
    """Return the newest note in what was found under the keys."""
    notes = [
        note
        for sealer, sealed in zip(_store_sealers(settings), found, strict=False)
        if sealed is not None and (note := _read(sealer, _stored_key(sealer, holder), sealed)) is not None
    ]
    return max(notes, key=lambda one: one.made_at, default=None)


def _stored_key(sealer: Sealer, holder: str) -> str:
    return f"moonkey:record:{sealer.digest(holder)}"


def _store_sealers(settings: Settings) -> tuple[Sealer, ...]:
    return fleet_sealers(settings, "record")


def _sealer(settings: Settings) -> RotatingSealer:
    return rotating_sealer(settings, "handle")


def _name(purpose: Purpose, carrier: Carrier) -> str:
    return f"{purpose} {carrier}"


def _presented(headers: HeaderView, settings: Settings, purpose: Purpose) -> Iterator[tuple[Carrier, str]]:
    if settings.mfa_handles != "cookie":
        lines = {line.strip(" \t") for line in headers(handle_header(settings, purpose))} - {""}
        if len(lines) == 1:
            yield "header", lines.pop()
        elif lines:
            ignored(purpose, "there are several")
    if settings.cookies is None or settings.mfa_handles == "header":
        return
    try:
        text = one_cookie(cookie_lines(headers), handle_cookie(settings, purpose))
    except MalformedCredentials:
        ignored(purpose, "its cookie stands in the request twice")
        return
    if text:
        yield "cookie", text


def _opened(settings: Settings, name: str, text: str) -> Note | None:
    if len(text) > MAX_HANDLE:
        return None
    try:
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return None
    return _read(_sealer(settings), name, sealed)


def _read(sealer: Sealer | RotatingSealer, name: str, sealed: bytes) -> Note | None:
    """Return the note in what was sealed under a name; ``None`` for anything else, and for a later form."""
    try:
        content = load_object(sealer.open(name, sealed))
    except ValueError:
        return None
    names = [content.get(one) for one in ("id", "of", "method")]
    names.append(content.get("session", ""))  # which an earlier version did not state
    made_at, until = content.get("at"), content.get("until")
    if not all(isinstance(one, str) for one in names) or not (_is_time(made_at) and _is_time(until)):
        return None
    record_id, holder, method, session = map(str, names)
    return Note(record_id, holder, method, float(made_at), float(until), session)


def _is_time(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
