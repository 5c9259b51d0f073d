"""The verified e-mail address of a MoonKey user."""

from __future__ import annotations

from collections.abc import Mapping

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from moonkey_core.models import User


def verified_email(person: User) -> str | None:
    """Return the e-mail address that the API itself reports as verified, or ``None``.

    ``person.email`` may be an address that the user has claimed and not proven: the user that comes with a session
    does not tell whether it is verified. The one of ``get_client().users.get(person.id)`` does.
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
    return len(email) <= 254  # the length of Django's own EmailField
