"""The column of a MoonKey id: stored in one spelling, whichever of the two an app uses."""

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
    """Return the id without its prefix ``user_``, which some documents leave out.

    Raises:
        ValueError: The id is empty, or is the prefix alone.
    """
    bare = bare_user_id(moonkey_id)
    if not bare:
        raise ValueError(_NO_ID)
    return bare


class MoonKeyIdField(_CharField):
    """A field that accepts both spellings of an id, and returns the one that the API documents.

    That is ``user_…``, as in :class:`User`. The table holds the bare id.
    """

    def from_db_value(self, value: Any, _expression: Any, _connection: Any) -> Any:
        """Return a value of the table in the documented spelling."""
        return _public(value)

    def to_python(self, value: Any) -> Any:
        """Return a value of a form or a fixture in the documented spelling."""
        return _public(super().to_python(value))

    def get_prep_value(self, value: Any) -> Any:
        """Return a value as the table holds it."""
        value = super().get_prep_value(value)
        return bare_user_id(value) if isinstance(value, str) else value

    def validate(self, value: Any, model_instance: models.Model | None) -> None:
        """Check a value.

        Args:
            value: The value, in the documented spelling.
            model_instance: The model instance, as Django passes it.

        Raises:
            ValidationError: The value is not a MoonKey user id.
        """
        super().validate(value, model_instance)
        if value == public_user_id(""):
            raise ValidationError(_NO_ID)

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Return the value to save; the instance then has it in the documented spelling.

        Args:
            model_instance: The model instance.
            add: Whether the row is new.

        Raises:
            ValueError: The id is empty, or is the prefix alone.
        """
        value = super().pre_save(model_instance, add)
        if isinstance(value, str):
            bare = bare_id(value)
            setattr(model_instance, self.attname, _public(bare))
            return bare
        return value


class _TakesBoth:
    """A look-up by a part of an id, or without regard to case, for which Django does not call the field."""

    def get_prep_lookup(self) -> Any:
        value = super().get_prep_lookup()  # type: ignore[misc]  # of the look-up it is mixed into
        return bare_user_id(value) if isinstance(value, str) else value


_PARTS = (lookups.Contains, lookups.StartsWith, lookups.EndsWith)
_ANY_CASE = (lookups.IExact, lookups.IContains, lookups.IStartsWith, lookups.IEndsWith)
for _lookup in (*_PARTS, *_ANY_CASE):
    MoonKeyIdField.register_lookup(type(_lookup.__name__, (_TakesBoth, _lookup), {}))


def _public(value: Any) -> Any:
    return public_user_id(value) if isinstance(value, str) and value else value
