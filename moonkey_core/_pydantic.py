"""The pydantic schema of the models: the shape of ``to_dict()``. Importing this module does not load pydantic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints


@cache
def serializer_of(owner: type) -> Any:
    """Return the serializer for values whose type is not declared to pydantic.

    Raises:
        AttributeError: pydantic is not installed.
    """
    try:
        from pydantic import TypeAdapter
    except ImportError:
        raise AttributeError("__pydantic_serializer__") from None
    return TypeAdapter(owner).serializer


def core_schema_of(cls: Any, schema_of: Callable[[Any], Any]) -> Any:
    """Return the schema of a model class: it reads an instance or a ``to_dict()`` shape, and writes the latter."""
    from pydantic_core import core_schema as core

    def parse(found: Any, checked: Callable[[Any], Mapping[str, Any]]) -> Any:
        return found if isinstance(found, cls) else cls(**checked(found))

    def serialize(one: Any, info: Any) -> Any:
        options = {name: getattr(info, name) for name in ("include", "exclude", "exclude_none")}
        return _writer_of(cls).to_python(one.to_dict(), **options)

    hints = get_type_hints(cls)
    return core.no_info_wrap_validator_function(
        parse,
        core.typed_dict_schema(
            {
                name: core.typed_dict_field(schema_of(hints[name]), required=name in cls.shown_fields)
                for name in (*cls.shown_fields, *cls.optional_fields)
            }
        ),
        ref=f"{cls.__module__}.{cls.__qualname__}:{id(cls)}",
        serialization=core.plain_serializer_function_ser_schema(serialize, info_arg=True),
    )


@cache
def _writer_of(cls: type) -> Any:
    """Return the serializer that applies ``response_model_exclude`` and similar options to a ``to_dict()``."""
    from pydantic_core import SchemaSerializer

    return SchemaSerializer(_plain_schema(cls))


def _plain_schema(hint: Any) -> Any:
    """Return the schema of the plain data that ``to_dict()`` has for a type."""
    from pydantic_core import core_schema as core

    if hasattr(hint, "shown_fields"):
        hints = get_type_hints(hint)
        fields = {
            name: core.typed_dict_field(_plain_schema(hints[name]), required=name in hint.shown_fields)
            for name in (*hint.shown_fields, *hint.optional_fields)
        }
        return core.typed_dict_schema(fields)
    inner = [one for one in map(_plain_schema, get_args(hint)) if one["type"] != "any"]
    if not inner:
        return core.any_schema()
    return core.list_schema(inner[0]) if get_origin(hint) is tuple else core.nullable_schema(inner[0])
