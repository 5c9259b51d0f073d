"""What is recorded of a user ends with a sign-in and with a sign-out."""

from __future__ import annotations

import logging

from moonkey_core._operations.core import Core
from moonkey_core._operations.mfa import end_presented, end_records
from moonkey_core._operations.pending_revocations import PendingRevocations
from moonkey_core._repeated_log import log_repeated
from moonkey_core.errors import MoonKeyError
from moonkey_core.flows.routes import FlowRequest, FlowSteps


def drop_records(
    core: Core, request: FlowRequest, pending: PendingRevocations, *, everywhere: bool = False
) -> FlowSteps[None]:
    """End what counts for the identity of a request. An error is logged, and stops nothing.

    Args:
        core: The parts of the client.
        request: The request.
        pending: Takes in what is refused. The caller waits for it.
        everywhere: Whether it signs out, so that the handles of other tabs end too.
    """
    if core.records is None and not core.siblings:
        return
    try:
        if request.auth.is_authenticated:
            yield from end_records(core, request.auth, pending, everywhere=everywhere)
        else:
            end_presented(core, request.headers, pending)
    except MoonKeyError as error:
        log_repeated(
            logging.WARNING,
            "what was recorded of a user could not be ended everywhere: %s",
            error.reason,
            extra={"reason": "record_not_ended"},
        )
