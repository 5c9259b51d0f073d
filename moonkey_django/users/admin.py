"""Who is who, in the admin."""

from __future__ import annotations

from django.contrib import admin

from moonkey_django.users.models import MoonKeyUser


@admin.register(MoonKeyUser)
class MoonKeyUserAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # takes no arguments at run time
    list_display = ("moonkey_id", "user")
    list_select_related = ("user",)
    raw_id_fields = ("user",)
    search_fields = ("moonkey_id",)
