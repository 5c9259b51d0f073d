"""The authentication backend: permissions, and the Django user of a MoonKey user.

Imported only where the settings name it or, with ``MOONKEY["USERS"]``, by the system checks.
"""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest

from moonkey_core.models import User
from moonkey_django.users.finding import find_user


class MoonKeyBackend(ModelBackend):
    """``"moonkey_django.backend.MoonKeyBackend"`` in ``AUTHENTICATION_BACKENDS``.

    It accepts no passwords: without another backend no user can sign in with one. Permissions and groups are
    Django's own.
    """

    def authenticate(  # type: ignore[override]
        self, request: HttpRequest | None, *, moonkey_user: User
    ) -> AbstractBaseUser | None:
        """Return the Django user of a verified MoonKey user, by ``MOONKEY["USERS"]``; or ``None``.

        For the project's own use: requests are authenticated without it. It starts no session.

        Args:
            request: Not used.
            moonkey_user: The verified MoonKey user.

        Raises:
            ConfigurationError: The project's function returns an object that is not a saved user.
        """
        return find_user(moonkey_user)

    async def aauthenticate(  # type: ignore[override]
        self, request: HttpRequest | None, *, moonkey_user: User
    ) -> AbstractBaseUser | None:
        """Do the same as :meth:`authenticate`, in asynchronous code."""
        return await sync_to_async(find_user)(moonkey_user)
