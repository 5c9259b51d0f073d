"""The mapping of Django users to MoonKey users, in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from django.contrib import admin

from moonkey_django.users.models import MoonKeyUser

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[MoonKeyUser]
else:  # takes no arguments at run time
    _ModelAdmin = admin.ModelAdmin

_Names: TypeAlias = list[str] | tuple[str, ...]


@admin.register(MoonKeyUser)
class MoonKeyUserAdmin(_ModelAdmin):
    """The list of MoonKey users, by their ids."""

    list_display: Any = ("moonkey_id", "scope", "user")
    list_filter: ClassVar[Any] = ("scope",)
    list_select_related: ClassVar[bool | _Names] = ("user",)
    raw_id_fields: ClassVar[_Names] = ("user",)
    search_fields: ClassVar[_Names] = ("moonkey_id",)
