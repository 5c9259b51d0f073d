"""The authentication backend: permissions, and who a MoonKey user is. The package itself does not import it."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest

from moonkey_core.models import User
from moonkey_django.users.finding import find_user


class MoonKeyBackend(ModelBackend):
    """``"moonkey_django.backend.MoonKeyBackend"`` in ``AUTHENTICATION_BACKENDS``.

    It knows no passwords: without another backend nobody signs in by one. Permissions and groups are Django's own.
    """

    def authenticate(  # type: ignore[override]
        self, request: HttpRequest | None, *, moonkey_user: User
    ) -> AbstractBaseUser | None:
        """The Django user of a verified MoonKey user, by ``MOONKEY["USERS"]``.

        For the app's own use; no request needs it. Starts no session.
        """
        return find_user(moonkey_user)

    async def aauthenticate(  # type: ignore[override]
        self, request: HttpRequest | None, *, moonkey_user: User
    ) -> AbstractBaseUser | None:
        return await sync_to_async(find_user)(moonkey_user)
