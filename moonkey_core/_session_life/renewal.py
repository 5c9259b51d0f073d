"""How a connection is renewed by a message of the app's own form: what is a renewal, and what is answered."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Unpack

from moonkey_core._repeated_log import log_repeated
from moonkey_core._strict_json import load_object
from moonkey_core.errors import MoonKeyError
from moonkey_core.gate import RequirementOptions, Requirements

CredentialIn = Callable[[Any], str | None]
"""Returns the newer credential in a message of a client; ``None`` for any other message."""

_LONGEST_MESSAGE = 64 * 1024  # characters or bytes; a credential has 16 Ki at most


class Renewed(NamedTuple):
    """What became of a message with a newer credential: the answer to it, or ``None`` for none."""

    answer: Any


class Renewal:
    """A hook by which a connection goes on with the newer credentials that its client sends in messages.

    Args:
        credential_in: Returns the credential in a message, ``None`` for any other one, which goes to the app.
        answer: Returns what is sent back. It is called with ``None``, or with the error because of which the
            credential was not taken; the connection goes on as before then. ``None`` sends nothing.
        **requirements: What the new identity has to meet, as for a gate.

    Raises:
        TypeError: ``credential_in`` or ``answer`` cannot be called.
        ValueError: A requirement has a wrong value.
    """

    def __init__(
        self,
        credential_in: CredentialIn,
        *,
        answer: Callable[[MoonKeyError | None], Any] | None = None,
        **requirements: Unpack[RequirementOptions],
    ) -> None:
        Requirements(**requirements)  # a wrong one is found here
        functions: tuple[object, ...] = (credential_in,) if answer is None else (credential_in, answer)
        if not all(map(callable, functions)):
            raise TypeError('A renewal takes functions: Renewal(json_member("renew"), answer=…).')
        self.credential_in: CredentialIn = credential_in
        self.requirements: RequirementOptions = requirements
        self._answer = answer

    def outcome(self, error: MoonKeyError | None) -> Renewed:
        """Return what is sent back after a renewal, or after it failed with an error. That is logged else."""
        if self._answer is not None:
            return Renewed(self._answer(error))
        if error is not None:
            log_repeated(
                logging.INFO,
                "a connection was not renewed, and goes on as before: %s",
                error.reason,
                extra={"reason": error.reason},
            )
        return Renewed(None)


def renewal_of(hook: Renewal | CredentialIn | None) -> Renewal | None:
    """Return a hook that may be given as its function alone."""
    return hook if hook is None or isinstance(hook, Renewal) else Renewal(hook)


def json_member(name: str) -> CredentialIn:
    """Return what finds a credential in a JSON object, as text, bytes or decoded: the member of this name.

    A member that is no text is a malformed credential, not another message.
    """

    def credential_in(message: Any) -> str | None:
        found = message
        if isinstance(message, str | bytes):
            try:
                data = message.encode() if isinstance(message, str) else message
                found = load_object(data) if len(data) <= _LONGEST_MESSAGE else None
            except ValueError:
                return None
        if not isinstance(found, Mapping) or name not in found:
            return None
        value = found[name]
        return value if isinstance(value, str) else ""

    return credential_in
