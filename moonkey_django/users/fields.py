"""The column of a MoonKey id: one spelling, whichever a document or an app uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import lookups

from moonkey_core.models import bare_user_id, public_user_id

if TYPE_CHECKING:
    _CharField = models.CharField[str, str]
else:  # takes no arguments at run time
    _CharField = models.CharField

_NO_ID = "That is no MoonKey user id."


def bare_id(moonkey_id: str) -> str:
    """The id without its ``user_``, which is missing in some documents. Raises ``ValueError`` if that is all."""
    bare = bare_user_id(moonkey_id)
    if not bare:
        raise ValueError(_NO_ID)
    return bare


class MoonKeyIdField(_CharField):
    """Takes both spellings, and gives the one that the API documents: ``user_…``, as :class:`User` does.

    The table holds the bare id, as it always did.
    """

    def from_db_value(self, value: Any, _expression: Any, _connection: Any) -> Any:
        return _public(value)

    def to_python(self, value: Any) -> Any:
        return _public(super().to_python(value))

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        return bare_user_id(value) if isinstance(value, str) else value

    def validate(self, value: Any, model_instance: models.Model | None) -> None:
        super().validate(value, model_instance)
        if value == public_user_id(""):
            raise ValidationError(_NO_ID)

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = super().pre_save(model_instance, add)
        if isinstance(value, str):
            bare = bare_id(value)
            setattr(model_instance, self.attname, _public(bare))
            return bare
        return value


class _TakesBoth:
    """A look-up by a part of an id, or without regard to case: these do not ask the field for the bare id."""

    def get_prep_lookup(self) -> Any:
        value = super().get_prep_lookup()  # type: ignore[misc]  # of the look-up it is mixed into
        return bare_user_id(value) if isinstance(value, str) else value


_PARTS = (lookups.Contains, lookups.StartsWith, lookups.EndsWith)
_ANY_CASE = (lookups.IExact, lookups.IContains, lookups.IStartsWith, lookups.IEndsWith)
for _lookup in (*_PARTS, *_ANY_CASE):
    MoonKeyIdField.register_lookup(type(_lookup.__name__, (_TakesBoth, _lookup), {}))


def _public(value: Any) -> Any:
    return public_user_id(value) if isinstance(value, str) and value else value
