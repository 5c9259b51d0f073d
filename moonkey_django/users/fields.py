"""The column of a MoonKey id: one spelling, whichever a document or an app uses."""

from __future__ import annotations

from typing import Any

from django.db import models

from moonkey_core.models import bare_user_id, public_user_id


def bare_id(moonkey_id: str) -> str:
    """The id without its ``user_``, which is missing in some documents. Raises ``ValueError`` if that is all."""
    bare = bare_user_id(moonkey_id)
    if not bare:
        raise ValueError("That is no MoonKey user id.")
    return bare


class MoonKeyIdField(models.CharField):  # type: ignore[type-arg]  # takes no arguments at run time
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

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = super().pre_save(model_instance, add)
        if isinstance(value, str):
            bare = bare_id(value)
            setattr(model_instance, self.attname, _public(bare))
            return bare
        return value


def _public(value: Any) -> Any:
    return public_user_id(value) if isinstance(value, str) and value else value
