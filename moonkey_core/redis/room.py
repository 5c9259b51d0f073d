"""What a stream that is too long can do without: sessions that the provider has ended. What is said instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from moonkey_core.redis.stream import added_at
from moonkey_core.revocations import Revocation

_MOST_OF_A_USER = 16


class Ended(NamedTuple):
    """An entry of the stream on what the provider has ended.

    Attributes:
        entry_id: Its id in the stream.
        scope: Whose ids are in it.
        user: The user in the normal form of the id, where that is known.
        until: The time since which the provider has to be asked instead, by the clock of the server.
        is_session: Whether it is one session, and not all of the user.
    """

    entry_id: bytes
    scope: str
    user: str | None
    until: float
    is_session: bool


def ended_of(entry_id: bytes, entry: Revocation, leeway: float, key_of_user: Callable[[str], str]) -> Ended | None:
    """Return what an entry says, if the provider has ended that; ``None`` for what must stay.

    ``leeway``: seconds that the clock of the issuer of JWTs may be ahead.
    """
    if not entry.is_ended:
        return None
    until = max(added_at(entry_id) + leeway, entry.issued_before or 0.0, entry.confirm_before or 0.0)
    if entry.session_id is None:
        return Ended(entry_id, entry.scope, None, until, is_session=False)
    user = None if entry.owner is None else key_of_user(entry.owner)
    if user is not None and key_of_user(user) != user:  # so this is no spelling of the id
        user = None
    return Ended(entry_id, entry.scope, user, until, is_session=True)


def replacements(
    found: Sequence[Ended], surplus: int, made_at: float
) -> tuple[list[bytes], tuple[Revocation, ...]]:
    """Return which entries make way, and the entries that are added before.

    First go the sessions of users who have many, then the oldest sessions, and last the oldest ends of all
    sessions of a user, which also end what was recorded of that user.

    Args:
        found: What the provider has ended, in the order of the stream.
        surplus: How many entries have to make way, if there are as many.
        made_at: When the new entries are made, by the clock of this machine.
    """
    numbers = Counter((one.scope, one.user) for one in found if one.user is not None)
    of_few: list[Ended] = []
    dropped: list[Ended] = []
    asked: dict[tuple[str, str | None, bool], float] = {}
    for one in found:
        is_of_many = one.user is not None and numbers[one.scope, one.user] > _MOST_OF_A_USER
        if is_of_many:
            _note(asked, one, one.user)
        (dropped if is_of_many else of_few).append(one)
    for one in sorted(of_few, key=lambda one: not one.is_session)[: max(surplus - len(dropped), 0)]:
        _note(asked, one, None)
        dropped.append(one)
    entries = tuple(
        Revocation(None, user, None, made_at, confirm_before=until, scope=scope, ends_records=ends_records)
        for (scope, user, ends_records), until in asked.items()
    )
    return [one.entry_id for one in dropped], entries


def _note(asked: dict[tuple[str, str | None, bool], float], one: Ended, user: str | None) -> None:
    key = (one.scope, user, not one.is_session)
    asked[key] = max(asked.get(key, one.until), one.until)
