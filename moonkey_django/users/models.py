"""The mapping of Django users to the users of a provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import models

from moonkey_core.revocations import DEFAULT_SCOPE
from moonkey_django.users.fields import MAX_SCOPE_LENGTH, MoonKeyIdField, public_id, stored_id


class MoonKeyUserQuerySet(models.QuerySet["MoonKeyUser"]):
    """The rows, found by the ids of a scope where ``scope`` is given beside them, else by MoonKey's."""

    def filter(self, *args: Any, **kwargs: Any) -> Self:
        """Return the rows that fulfil all conditions."""
        return super().filter(*args, **_stored(kwargs))

    def exclude(self, *args: Any, **kwargs: Any) -> Self:
        """Return the rows that do not fulfil all conditions."""
        return super().exclude(*args, **_stored(kwargs))


def _stored(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Return conditions with the ids as the table holds them, where their scope is another than MoonKey's."""
    scope = conditions.get("scope", conditions.get("scope__exact", DEFAULT_SCOPE))
    if not isinstance(scope, str) or scope == DEFAULT_SCOPE:
        return dict(conditions)
    found = dict(conditions)
    for name in ("moonkey_id", "moonkey_id__exact"):
        if isinstance(found.get(name), str):
            found[name] = stored_id(found[name], scope)
    ids = found.get("moonkey_id__in")
    if isinstance(ids, list | tuple | set | frozenset):
        found["moonkey_id__in"] = [stored_id(one, scope) if isinstance(one, str) else one for one in ids]
    return found


class MoonKeyUser(models.Model):
    """A Django user who is mapped to a user of MoonKey, or of another provider.

    ``MoonKeyUser.objects.create(user=ada, moonkey_id="user_…")`` lets an existing user sign in through MoonKey.
    The id is read with its prefix ``user_``, as the API and ``User.id`` have it. It may be written without the
    prefix, and the table holds it without.

    Of another provider, give the ``scope`` as well, in look-ups too: it is ``User.scope``, the issuer. Such an id
    is never changed. Equal ids of two scopes are two users.
    """

    user: models.OneToOneField[Any, Any] = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="moonkey"
    )
    moonkey_id: models.CharField[str, str] = MoonKeyIdField("MoonKey id", max_length=256)
    scope: models.CharField[str, str] = models.CharField(
        max_length=MAX_SCOPE_LENGTH,
        default=DEFAULT_SCOPE,
        db_default=DEFAULT_SCOPE,  # processes of an earlier version name no scope
    )

    objects: ClassVar[Any] = MoonKeyUserQuerySet.as_manager()

    class Meta:
        """Options of the model."""

        verbose_name = "MoonKey user"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            # The id first: processes of an earlier version look for it alone.
            models.UniqueConstraint(fields=["moonkey_id", "scope"], name="moonkey_users_id_in_scope"),
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        moonkey_id = self.__dict__.get("moonkey_id")  # not there in a query that has left it out
        if isinstance(moonkey_id, str):
            self.moonkey_id = public_id(moonkey_id, self.__dict__.get("scope", DEFAULT_SCOPE))

    def __str__(self) -> str:
        return self.moonkey_id if self.scope == DEFAULT_SCOPE else f"{self.moonkey_id} ({self.scope})"
