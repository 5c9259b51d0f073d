"""Searching whatever could carry a secret out."""

from __future__ import annotations

import contextlib
import io
import logging
import pickle
import traceback
from collections.abc import Iterable, Iterator

_SHORTEST_PIECE = 12


def pieces_of(secret: str) -> set[str]:
    """A secret, and the parts of it that would give it away by themselves."""
    return {piece for piece in (secret, *secret.split(".")[1:]) if len(piece) >= _SHORTEST_PIECE}


def shown(thing: object) -> Iterator[str]:
    """All the ways in which a thing shows itself; an exception with its whole chain and its attributes."""
    if isinstance(thing, logging.LogRecord):
        yield from (thing.getMessage(), repr(thing.__dict__))
        return
    yield from (str(thing), repr(thing), f"{thing}")
    with contextlib.suppress(Exception):
        yield pickle.dumps(thing).decode("latin-1")
    if isinstance(thing, BaseException):
        for error in chain(thing):
            yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
            yield "".join(traceback.format_exception(error))
    elif hasattr(thing, "__dict__"):
        yield repr(vars(thing))


def chain(error: BaseException) -> list[BaseException]:
    """An exception and all that hang on it, hidden contexts too."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__]
    return found


def assert_no_secret(things: Iterable[object], secrets: Iterable[str]) -> int:
    """No secret, nor a telling part of one, is in any way shown by the things. Returns how many were searched."""
    pieces = {piece for secret in secrets for piece in pieces_of(secret)}
    assert pieces
    count = 0
    for thing in things:
        count += 1
        for text in shown(thing):
            leaked = [piece[:6] for piece in pieces if piece in text]
            assert not leaked, f"{type(thing).__name__} shows a secret that begins with {leaked}"
    return count


def printed(error: BaseException) -> str:
    """What a crash report with local variables would hold of an exception's chain."""
    out = io.StringIO()
    for one in chain(error):
        report = traceback.TracebackException.from_exception(one, capture_locals=True)
        out.write("".join(report.format()))
    return out.getvalue()
