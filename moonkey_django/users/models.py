"""The mapping of Django users to MoonKey users."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models

from moonkey_django.users.fields import MoonKeyIdField


class MoonKeyUser(models.Model):
    """A Django user who is mapped to a MoonKey user.

    ``MoonKeyUser.objects.create(user=ada, moonkey_id="user_…")`` lets an existing user sign in through MoonKey.
    The id is read with its prefix ``user_``, as the API and ``User.id`` have it. It may be written without the
    prefix, and the table holds it without.
    """

    user: models.OneToOneField[Any, Any] = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="moonkey"
    )
    moonkey_id: models.CharField[str, str] = MoonKeyIdField("MoonKey id", max_length=256, unique=True)

    class Meta:
        """Options of the model."""

        verbose_name = "MoonKey user"

    def __str__(self) -> str:
        return self.moonkey_id
