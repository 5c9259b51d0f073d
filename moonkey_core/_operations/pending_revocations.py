"""What one operation of a client revokes: sent at once, and waited for at its end."""

from __future__ import annotations

from datetime import datetime

from moonkey_core import _clock
from moonkey_core._operations.core import Core
from moonkey_core._plan import AwaitPublished, RevokingPlan
from moonkey_core._verified import SessionIds
from moonkey_core.revocations import RevocationHandle, RevocationState


class PendingRevocations:
    """The revocations of one operation.

    They are on their way to Redis while the provider is called, so that the wait after the call is short or none.
    An operation waits once, at its end, ``publish_timeout`` at most. So it must not be answered before: a process
    that ends right after the answer takes what was not sent with it.

    What is revoked once more after the call (``again``), as JWTs were issued meanwhile, is waited for only if the
    call took longer than ``leeway``: for so long, the first entry holds for these JWTs as well.

    Args:
        core: The parts of the client.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._handles: list[RevocationHandle] = []
        self._since = _clock.elapsed()
        self._until = 0.0

    def add(
        self,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        issued_before: datetime | float | None = None,
        keep: str | None = None,
        issuer: str | None = None,
        of: Core | None = None,
        again: bool = False,
    ) -> None:
        """Revoke a session, or what was issued to a user, as ``revocations.add`` does.

        ``of`` has the parts of the provider whose session it is, where that is another one.
        """
        added = (of or self._core).revocations.add(
            session_id=session_id, user_id=user_id, issued_before=issued_before, keep=keep, issuer=issuer
        )
        self.note(added, again=again)

    def add_session(self, ids: SessionIds, *, is_ended: bool = False, again: bool = False) -> None:
        """Revoke a session, as ``revocations.add_session`` does: ``is_ended`` once the provider has ended it."""
        added = self._core.revocations.add_session(ids.session_id, ids.user_id, scope=ids.scope, is_ended=is_ended)
        self.note(added, again=again)

    def add_record(self, record_id: str, group: str, *, scope: str, of: Core) -> None:
        """End what is recorded of a user, as ``revocations.add_record`` does."""
        self.note(of.revocations.add_record(record_id, group, scope=scope))

    def add_cutoff(
        self,
        user_id: str,
        *,
        keep: str | None = None,
        at: float | None = None,
        is_ended: bool = False,
        again: bool = False,
    ) -> None:
        """Revoke what was issued to a user until now, as ``revocations.add_cutoff`` does."""
        added = self._core.revocations.add_cutoff(user_id, keep=keep, at=at, is_ended=is_ended)
        self.note(added, again=again)

    def note(self, handle: RevocationHandle, *, again: bool = False) -> None:
        """Take in what was revoked in another way."""
        now = _clock.elapsed()
        if again and now - self._since <= self._core.settings.leeway:
            return
        self._handles.append(handle)
        self._until = now + self._core.settings.publish_timeout

    def settled(self) -> RevokingPlan[RevocationState]:
        """Wait until Redis has all of them, for what is left of the time, and return the weakest state.

        Where nothing was revoked that other processes could know, it is ``local``.
        """
        handle = RevocationHandle.joined(self._handles)
        if handle.state == "pending" and (left := self._until - _clock.elapsed()) > 0:
            yield AwaitPublished(handle, left)
        return handle.state
