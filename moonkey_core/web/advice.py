"""Notes (PEP 678) on exceptions of an app that come from a usual mistake, and whose own text does not say which.

A framework package passes on an exception that no code of the app has handled. Its traceback in the log then ends
with the note. The exception itself stays as it is, and nothing here runs for a request that goes well.
"""

from __future__ import annotations

import logging
import re

from moonkey_core._dict_habits import public_names as public_names  # a framework package reads it here
from moonkey_core._repeated_log import log_repeated
from moonkey_core.auth import Auth, BaseAuth, peek_identity
from moonkey_core.models import MODELS, Session, User

_NO_JSON = r"Object of type (\w+) is not JSON serializable"
_NO_RESPONSE = r"(?s)did not return a valid response\b.* but it was an? (\w+)\."
_NAMES = frozenset(one.__name__ for one in MODELS)
_TO_DICT = "If this is MoonKey's {}: call its to_dict(), and return or encode the dict."
_ANONYMOUS = (
    "The request has no verified user, so its user and session are None. Put @require_auth (in FastAPI: the "
    "parameter `user: CurrentUser`) in front of this code, or ask `if auth.user is not None` first."
)
_NO_SESSION = (
    "If this is the session of a login: a session comes only where one is asked for. Pass session_expires_in=… to "
    "verify()."
)


def log_no_app_user(why: str) -> None:
    """Log that a user who is signed in has no user of the app's own. Lines that requests repeat are left out.

    Args:
        why: What has happened, and what to do: a constant text.
    """
    log_repeated(
        logging.WARNING,
        "a user who is signed in at the provider is anonymous for the app: %s",
        why,
        extra={"reason": "no_app_user"},
        sentence=why,
    )


def explain(error: BaseException, auth: Auth | None) -> None:
    """Add a note to an exception that comes from a usual mistake. Any other one is left alone.

    Args:
        error: The exception that the app has not handled.
        auth: The identity of the request, as far as it is known.
    """
    note = _note(error, auth)
    if note and note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def _note(error: BaseException, auth: Auth | None) -> str:
    if isinstance(error, TypeError):
        found = re.search(_NO_JSON, str(error)) or re.search(_NO_RESPONSE, str(error))
        name = "" if found is None else found[1]
        # A stand-in for an identity has a class of its own.
        return _TO_DICT.format(name) if name in _NAMES or name.startswith(("_Current", "Lazy")) else ""
    if not isinstance(error, AttributeError) or not isinstance(error.name, str):
        return ""
    if isinstance(error.obj, BaseAuth) and "Write" not in str(error):
        return _held_by(error.name)
    if error.obj is not None:
        return ""
    if isinstance(auth, BaseAuth) and peek_identity(auth) is None:
        is_ours = error.name in public_names(User) or error.name in public_names(Session)
        return _ANONYMOUS if is_ours else ""
    return _NO_SESSION if error.name in public_names(Session) else ""


def _held_by(name: str) -> str:
    """Return where the attribute is that code has looked for on an ``Auth``."""
    for part, kind in (("user", User), ("session", Session)):
        if name in public_names(kind):
            return f"An Auth has the user and the session. Write auth.{part}.{name}."
    return ""
