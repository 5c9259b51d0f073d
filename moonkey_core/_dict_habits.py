"""What to write where code takes a model for a dict, as the provider's own guide has it, or asks for a wrong name.

Only errors come here: nothing is called where a model is read as it should be.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from moonkey_core._spelling import near_miss

_LIKE = 0.75
"""From this ratio on (``difflib``: 0 to 1) a known name is suggested. Names are short, and many are alike."""

_OTHER_NAMES: Mapping[str, str] = {
    "User.user_id": "id",
    "User.uid": "id",
    "User.sub": "id",
    "User.identity": "id",
    "User.name": "first_name",
    "User.phone": "phone_number",
    "User.emails": "email",
    "User.phone_numbers": "phone_number",
    "Session.created_at": "started_at",
    "Session.session_id": "id",
    "Session.last_accessed_at": "last_active_at",
    "Session.device_info": "device",
    "Session.authentication_factors": "factors",
    "Session.custom_claims": "claims",
    "Session.expires_in_minutes": "expires_in",
    "Device.ip_address": "ip",
    "Factor.delivery_method": "delivery_channel",
    "Factor.method": "method_type",
    "Auth.session_token": "session",
    "Auth.id": "user.id",
    "Auth.user_id": "user.id",
    "Auth.email": "user.email",
}
"""Names of the provider's API and of other libraries, each with that of the model."""

_METHODS_OF_DICTS = frozenset({"get", "keys", "values", "items", "pop", "copy", "setdefault", "update", "json"})
_OF_RESPONSES = frozenset({"status_code", "headers", "set_cookie", "has_header", "is_rendered"})


def item_error(kind: type, key: object) -> TypeError:
    """Return the error of ``user["id"]``.

    Args:
        kind: The class.
        key: What stood between the brackets.
    """
    return TypeError(f"{_not_a_dict(kind)} {_advice(kind, key)}")


def attribute_error(kind: type, name: str) -> AttributeError:
    """Return the error of ``user.get``, ``session.created_at`` and other names that are not there.

    Args:
        kind: The class.
        name: The name.
    """
    said = f"{kind.__qualname__!r} object has no attribute {name[:60]!r}"
    if name.startswith("_"):  # asked by libraries, which look for what an object can do
        return AttributeError(said)
    variable, known = _variable(kind), public_names(kind)
    if name in _METHODS_OF_DICTS:
        text = f", or {variable}.to_dict() for JSON" if "to_dict" in known else ""
        return AttributeError(f"{said}. {_not_a_dict(kind)} Write {variable}.{_example(kind)} and so on{text}.")
    if name in _OF_RESPONSES:
        return AttributeError(f"{said}. It is no response: return {variable}.to_dict() as JSON.")
    meant = _meant(kind, name)
    return AttributeError(said if meant is None else f"{said}. Write {variable}.{meant}.")


@lru_cache(64)  # one entry for each class of ours
def public_names(kind: type) -> frozenset[str]:
    """Return the names of the attributes of a class that are for users."""
    return frozenset(name for name in dir(kind) if not name.startswith("_"))


def _advice(kind: type, key: object) -> str:
    variable, known = _variable(kind), public_names(kind)
    if isinstance(key, str):
        meant = key if key in known else _meant(kind, key)
        if meant is not None:
            return f"Write {variable}.{meant}."
        if "extra" in known:
            return f"Write {variable}.extra.get({key[:60]!r}): all other members are there."
    return f"Read its attributes, such as {variable}.{_example(kind)}."


def _meant(kind: type, name: str) -> str | None:
    return _OTHER_NAMES.get(f"{kind.__qualname__}.{name}") or near_miss(name, public_names(kind), _LIKE)


def _example(kind: type) -> str:
    return next((name for name in ("id", "user") if name in public_names(kind)), "to_dict()")


def _not_a_dict(kind: type) -> str:
    name = kind.__qualname__
    return f"{'An' if name[0] in 'AEIO' else 'A'} {name} is an object and no dict."


def _variable(kind: type) -> str:
    """Return what code usually calls such an object: ``otp_request`` for an ``OtpRequest``."""
    return "".join(f"_{one.lower()}" if one.isupper() else one for one in kind.__qualname__).lstrip("_")
