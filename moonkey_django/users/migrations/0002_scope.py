"""Users of more providers than one: an id belongs to a scope. What is there belongs to MoonKey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from django.db import migrations, models
from django.db.migrations.operations.base import Operation

import moonkey_django.users.fields


class Migration(migrations.Migration):
    """Add the column. It has a default in the database, so that processes of the earlier version go on writing.

    Backwards, the rows of other providers are deleted: without a scope their ids mean nothing. The users stay.
    """

    dependencies: ClassVar[Sequence[tuple[str, str]]] = [("moonkey_users", "0001_initial")]

    operations: ClassVar[Sequence[Operation]] = [
        migrations.AddField(
            model_name="moonkeyuser",
            name="scope",
            field=models.CharField(default="moonkey", db_default="moonkey", max_length=255),
        ),
        # Before the other one goes: not every database does all of this at once.
        migrations.AddConstraint(
            model_name="moonkeyuser",
            constraint=models.UniqueConstraint(fields=("moonkey_id", "scope"), name="moonkey_users_id_in_scope"),
        ),
        migrations.AlterField(
            model_name="moonkeyuser",
            name="moonkey_id",
            field=moonkey_django.users.fields.MoonKeyIdField(max_length=256, verbose_name="MoonKey id"),
        ),
        migrations.RunSQL(
            sql=migrations.RunSQL.noop,
            reverse_sql="DELETE FROM moonkey_users_moonkeyuser WHERE scope <> 'moonkey'",
        ),
    ]
