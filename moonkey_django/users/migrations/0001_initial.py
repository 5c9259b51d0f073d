"""The table that maps Django users to MoonKey users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

import moonkey_django.users.fields


class Migration(migrations.Migration):
    """Create the table."""

    initial: ClassVar[bool | None] = True

    dependencies: ClassVar[Sequence[tuple[str, str]]] = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]

    operations: ClassVar[Sequence[Operation]] = [
        migrations.CreateModel(
            name="MoonKeyUser",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="moonkey",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "moonkey_id",
                    moonkey_django.users.fields.MoonKeyIdField(
                        max_length=256, unique=True, verbose_name="MoonKey id"
                    ),
                ),
            ],
            options={"verbose_name": "MoonKey user"},
        ),
    ]
