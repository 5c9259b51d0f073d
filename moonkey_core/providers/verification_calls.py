"""The call that validates a credential: how it is shared, stored and made again. The same for every provider."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from moonkey_core._plan import Fetch, Plan, Reply, ReplyJudge, StorePolicy
from moonkey_core._provider import IntrospectionRequest, IntrospectionResult
from moonkey_core.errors import MoonKeyError


def shared_call(
    fetch: Fetch,
    request: IntrospectionRequest,
    clean: Callable[[bytes], bytes],
    judge_refresh: ReplyJudge | None = None,
) -> Fetch:
    """Return the call about a credential as requests with the same credential may share it.

    A call that changes the session, asks what its user may do, or has to be fresh, is made for its request alone.

    Args:
        fetch: The call, made for this request. It is completed in place, as a copy takes as long as all else here.
        request: What it is made for.
        clean: Takes all credentials out of a body that the shared store keeps; see :class:`StorePolicy`.
        judge_refresh: The judge of a refresh, whose reply is kept for a while: an unusable one is trouble then.
            ``None``: that of the call.
    """
    oldest = math.inf if request.max_staleness is None else request.max_staleness
    is_shared = request.minutes is None and request.custom_claims is None and request.authorization_check is None
    if oldest == 0 or not is_shared:
        return fetch
    if request.refresh:
        fetch.ttl = min(request.shared_for, oldest)
        fetch.coalesce_key = f"refresh:{fetch.ttl:g}:{request.extension or 0}:{request.digest.hex()}"
        fetch.until_revoked = True
        fetch.reuse_refusals = False  # a certain one is remembered elsewhere already
        fetch.judge = judge_refresh or fetch.judge
    elif request.extension is None:
        if request.store_name is not None and request.store_ttl > 0:
            fetch.store_policy = StorePolicy(
                request.store_name, min(request.store_ttl, oldest), clean, former_name=request.former_store_name
            )
        fetch.coalesce_key, fetch.until_revoked = request.coalesce_key, True
    return fetch


def result_of(
    reply: Reply,
    request: IntrospectionRequest,
    read: Callable[[], IntrospectionResult],
    introspect: Callable[[IntrospectionRequest], Plan[IntrospectionResult]],
) -> Plan[IntrospectionResult]:
    """Return the result in a reply. One from the shared store that does not hold now is followed by a fresh call.

    Only good replies are stored. Since then the credential may have ended or been extended, or the rules are
    others now.

    Args:
        reply: The reply.
        request: What it was made for.
        read: Reads the reply.
        introspect: Makes the call for a request.

    Raises:
        MoonKeyError: The credential is not valid, or the reply does not show whether it is.
    """
    try:
        return read()
    except MoonKeyError:
        if not reply.from_store:
            raise
    return (yield from introspect(replace(request, max_staleness=0)))
