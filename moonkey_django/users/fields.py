"""The column of a MoonKey id: one spelling, whichever a document or an app uses."""

from __future__ import annotations

from typing import Any

from django.db import models

_PREFIX = "user_"


def bare_id(moonkey_id: str) -> str:
    """The id without its ``user_``, which is missing in some documents. Raises ``ValueError`` if that is all."""
    bare = moonkey_id.removeprefix(_PREFIX)
    if not bare:
        raise ValueError("That is no MoonKey user id.")
    return bare


class MoonKeyIdField(models.CharField):  # type: ignore[type-arg]  # takes no arguments at run time
    """Stores, and looks for, the bare id: ``filter(moonkey_id="user_…")`` finds it as well."""

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        return value.removeprefix(_PREFIX) if isinstance(value, str) else value

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = super().pre_save(model_instance, add)
        if isinstance(value, str):
            value = bare_id(value)
            setattr(model_instance, self.attname, value)
        return value
