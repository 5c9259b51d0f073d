"""Who is who, in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from moonkey_core.models import bare_user_id
from moonkey_django.users.models import MoonKeyUser


@admin.register(MoonKeyUser)
class MoonKeyUserAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # takes no arguments at run time
    list_display = ("moonkey_id", "user")
    list_select_related = ("user",)
    raw_id_fields = ("user",)
    search_fields = ("moonkey_id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[MoonKeyUser], search_term: str
    ) -> tuple[QuerySet[MoonKeyUser], bool]:
        return super().get_search_results(request, queryset, bare_user_id(search_term.strip()))
