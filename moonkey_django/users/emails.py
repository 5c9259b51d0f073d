"""Which e-mail address of a MoonKey user may be relied on."""

from __future__ import annotations

from collections.abc import Mapping

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from moonkey_core.models import User


def verified_email(person: User) -> str | None:
    """The e-mail address that the API itself calls verified, or ``None``.

    ``person.email`` may be one that somebody has only claimed: what comes with a session does not say whether it
    is verified. ``get_client().users.get(person.id)`` does.
    """
    entries = person.extra.get("emails")
    found = [
        entry.get("email")
        for entry in (entries if isinstance(entries, list | tuple) else ())
        if isinstance(entry, Mapping) and entry.get("verified") is True
    ]
    sound = [email for email in found if isinstance(email, str) and _is_sound(email)]
    if not sound:
        return None
    return person.email if person.email in sound else sound[0]


def _is_sound(email: str) -> bool:
    try:
        validate_email(email)
    except ValidationError:
        return False
    return len(email) <= 254  # what Django's own EmailField holds
