"""Who is who."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models

from moonkey_django.users.fields import MoonKeyIdField


class MoonKeyUser(models.Model):
    """A Django user who is a MoonKey user.

    ``MoonKeyUser.objects.create(user=ada, moonkey_id="user_…")`` lets an existing user in by MoonKey. The id reads
    as the API and ``User.id`` spell it, with ``user_``, and may be given without; the table holds it without.
    """

    user: models.OneToOneField[Any, Any] = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="moonkey"
    )
    moonkey_id: models.CharField[str, str] = MoonKeyIdField("MoonKey id", max_length=256, unique=True)

    class Meta:
        verbose_name = "MoonKey user"

    def __str__(self) -> str:
        return self.moonkey_id
