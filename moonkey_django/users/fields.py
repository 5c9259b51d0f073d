"""The column of a user's id at a provider: of MoonKey's two spellings one is stored, any other id as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import lookups

from moonkey_core.provider import key_of_user, public_user_id
from moonkey_core.revocations import DEFAULT_SCOPE

if TYPE_CHECKING:
    _CharField = models.CharField[str, str]
else:  # takes no arguments at run time
    _CharField = models.CharField

MAX_SCOPE_LENGTH = 255
"""With an id of 256 characters, that fits into an index of each database."""

_NO_ID = "That is no MoonKey user id."
_NO_OTHER_ID = "That is no user id."
_MARK = " "
"""In front of an id of another scope: no bare id of MoonKey begins with a blank, so none is taken for one."""


class OtherId(str):
    """An id of another scope, as a row of the table has it in memory: a fixture is saved without looking at it."""

    __slots__ = ()


def bare_id(moonkey_id: str) -> str:
    """Return MoonKey's id in the spelling of the table, without its prefix, which some documents leave out.

    Raises:
        ValueError: The id is empty, or is the prefix alone.
    """
    bare = key_of_user(moonkey_id)
    if not bare:
        raise ValueError(_NO_ID)
    return bare


def stored_id(user_id: str, scope: str) -> str:
    """Return an id as the table holds it.

    Args:
        user_id: The id of a user.
        scope: The scope that it belongs to.

    Raises:
        ValueError: It is no id.
    """
    if scope == DEFAULT_SCOPE:
        return bare_id(user_id)
    if not user_id:
        raise ValueError(_NO_OTHER_ID)
    return _MARK + user_id


def is_id(user_id: str, scope: str) -> bool:
    """Return whether an id names a user of that scope.

    Args:
        user_id: The id of a user.
        scope: The scope that it belongs to.
    """
    try:
        return bool(stored_id(user_id, scope))
    except ValueError:
        return False


def public_id(user_id: str, scope: str) -> str:
    """Return an id as a row has it: MoonKey's in the spelling that the API documents, any other as it is.

    Args:
        user_id: The id of a user.
        scope: The scope that it belongs to.
    """
    if not user_id:
        return user_id
    return public_user_id(user_id) if scope == DEFAULT_SCOPE else OtherId(user_id)


class MoonKeyIdField(_CharField):
    """A field that accepts both spellings of a MoonKey id, and returns the one that the API documents.

    That is ``user_…``, as in :class:`User`. The table holds the bare id. An id of another scope is returned as it
    is; the table holds it with a mark, so a look-up by an id alone finds MoonKey's only.
    """

    def from_db_value(self, value: Any, _expression: Any, _connection: Any) -> Any:
        """Return a value of the table as it reads."""
        if not isinstance(value, str) or not value:
            return value
        return value.removeprefix(_MARK) if value.startswith(_MARK) else public_user_id(value)

    def get_prep_value(self, value: Any) -> Any:
        """Return a value as the table holds it for MoonKey, and one with a mark as it is."""
        value = super().get_prep_value(value)
        if isinstance(value, OtherId):
            return _MARK + value
        return key_of_user(value) if isinstance(value, str) else value

    def validate(self, value: Any, model_instance: models.Model | None) -> None:
        """Check a value.

        Args:
            value: The value, as it reads.
            model_instance: The model instance, as Django passes it.

        Raises:
            ValidationError: The value is not a user id.
        """
        super().validate(value, model_instance)
        if scope_of(model_instance) == DEFAULT_SCOPE and not key_of_user(value):
            raise ValidationError(_NO_ID)

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Return the value to save; the instance then has it as it reads.

        Args:
            model_instance: The model instance.
            add: Whether the row is new.

        Raises:
            ValueError: The id is empty, or is the prefix alone.
        """
        value, scope = super().pre_save(model_instance, add), scope_of(model_instance)
        if not isinstance(value, str):
            return value
        stored = stored_id(value, scope)
        setattr(model_instance, self.attname, public_id(value, scope))
        return stored


def scope_of(instance: models.Model | None) -> str:
    """Return the scope of a row; the default one for a row of an earlier state of the table."""
    scope = getattr(instance, "scope", DEFAULT_SCOPE)
    return scope if isinstance(scope, str) else DEFAULT_SCOPE  # else an expression: the database's own default


class _TakesBoth:
    """A look-up by a part of an id, or without regard to case, for which Django does not call the field."""

    def get_prep_lookup(self) -> Any:
        value = super().get_prep_lookup()  # type: ignore[misc]  # of the look-up it is mixed into
        return key_of_user(value) if isinstance(value, str) else value


_PARTS = (lookups.Contains, lookups.StartsWith, lookups.EndsWith)
_ANY_CASE = (lookups.IExact, lookups.IContains, lookups.IStartsWith, lookups.IEndsWith)
for _lookup in (*_PARTS, *_ANY_CASE):
    MoonKeyIdField.register_lookup(type(_lookup.__name__, (_TakesBoth, _lookup), {}))
