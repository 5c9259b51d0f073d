"""Streamed responses that end when the session of their request ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from flask import Request

from moonkey_core.errors import ConfigurationError, MoonKeyError
from moonkey_core.gate import require_admitted
from moonkey_core.streams import BoundStream, CredentialIn, Renewal, bound_items, renewal_of
from moonkey_flask.identity import current_request, get_client, renew, resolve
from moonkey_flask.names import BOUND
from moonkey_flask.socketio import header_view, is_event, request_info

T = TypeVar("T")


def bound_stream(items: Iterable[T], *, renewal: Renewal | CredentialIn | None = None) -> BoundStream[T]:
    """Return the items of a streamed response, until the session of the current request is over.

    The session is checked before and after each item, also when the request's context has ended. With
    ``stream.renew(credential)``, in any thread, the stream goes on with a newer credential of the same user and
    session, and so do the later events of a Socket.IO client whose handler has made it.

    Args:
        items: The items of the response.
        renewal: Finds a newer credential in an item of the app's own form, which is not sent then: the stream goes
            on with it, as by ``renew``.

    Raises:
        MoonKeyError: The request has no verified user and session; the same error as that of ``require_auth``.
    """
    request = current_request()
    stream = bound_items(
        get_client(),
        require_admitted(resolve(request)),
        items,
        header_view(request.environ),
        request_info(request),
        on_renewed=partial(renew, request),
        renewal=renewal,
    )
    if is_event(request):
        request.environ.setdefault(BOUND, WeakValueDictionary())[_namespace_of(request)] = stream
    return stream


def renewal_handler(renewal: Renewal | CredentialIn | None = None) -> Callable[..., Any]:
    """Return a handler for an event of Flask-SocketIO by which a client renews its connection.

    It renews what the last ``bound_stream`` in a handler of that client, such as ``connect``, has tied to the
    session. What is answered becomes the acknowledgement.

    Args:
        renewal: Finds the newer credential in what the client sends. By default that is the credential itself, and
            the answer is ``{"renewed": true}``, or false with a ``reason``.
    """
    hook = renewal_of(renewal)
    if hook is None:
        hook = Renewal(lambda sent: sent if isinstance(sent, str) else "", answer=_acknowledgement)

    def renewed(*sent: Any) -> Any:
        request = current_request()
        stream: BoundStream[Any] | None = request.environ.get(BOUND, {}).get(_namespace_of(request))
        if stream is None:
            raise ConfigurationError(
                "This Socket.IO client is not bound to its session, so there is nothing to renew. Call "
                "bound_stream in its connect handler."
            )
        found = stream.renew_by(hook, sent[0] if sent else None)
        return None if found is None else found.answer

    return renewed


def _acknowledgement(error: MoonKeyError | None) -> dict[str, Any]:
    return {"renewed": True} if error is None else {"renewed": False, "reason": error.reason}


def _namespace_of(request: Request) -> object:
    return getattr(request, "namespace", None)  # set by Flask-SocketIO
