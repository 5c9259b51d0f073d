"""``request.user`` from MoonKey, where ``MOONKEY["USERS"]`` is set; only then are Django's users imported."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import SimpleLazyObject

from moonkey_core.auth import Auth
from moonkey_core.errors import MoonKeyError
from moonkey_core.gate import optional_user
from moonkey_core.web.once import Once
from moonkey_django.conf import configuration
from moonkey_django.identity import Identity

_ATTRIBUTE = "_moonkey_user"
_SERVER_ERROR = 500


class RequestUser:
    """The Django user of one request: determined at the first read, and kept.

    With a MoonKey credential, that is the credential's user; or anonymous, where the credential is rejected or its
    user has no Django user. Without one, it is the user that Django's own middleware has found.

    Attributes:
        trouble: The error of the last read, where the user could not be determined.
    """

    __slots__ = ("__weakref__", "_abefore", "_before", "_identity", "_lazy", "_once", "_request", "trouble")

    def __init__(self, request: HttpRequest, identity: Identity) -> None:
        self.trouble: MoonKeyError | None = None
        self._identity = identity
        self._before: Any = getattr(request, "user", None)
        self._abefore: Callable[[], Awaitable[Any]] | None = getattr(request, "auser", None)
        self._once: Once[Any] = Once()
        lazy: Any = SimpleLazyObject(self.get)
        # Weak, as the request holds both this object and the lazy one.
        self._request, self._lazy = weakref.ref(request), weakref.ref(lazy)
        request.user = lazy
        request.auser = self.aget

    @property
    def is_shown(self) -> bool:
        """Whether ``request.user`` is still the one that this object has put there."""
        request = self._request()
        return request is not None and request.user is self._lazy()

    def get(self) -> Any:
        """Return the user.

        Raises:
            ProviderError: The identity cannot be determined.
        """
        if self._once.value is None:
            with self._noting_trouble():
                auth = self._identity.read()
                self._once.value = self._without_credential() if auth.is_anonymous else _user_of(auth)
        return self._once.value

    async def aget(self) -> Any:
        """Return the user, in asynchronous code.

        Where ``login()`` or ``logout()`` have assigned ``request.user``, that is the user.

        Raises:
            ProviderError: The identity cannot be determined.
        """
        request = self._request()
        if request is not None and not self.is_shown:
            return request.user
        with self._noting_trouble():
            return await self._once.get(self._find)

    async def _find(self) -> Any:
        auth = await self._identity.aread()
        if not auth.is_anonymous:
            return await sync_to_async(_user_of)(auth)
        return self._without_credential() if self._abefore is None else await self._abefore()

    def _without_credential(self) -> Any:
        return _anonymous() if self._before is None else self._before

    @contextmanager
    def _noting_trouble(self) -> Iterator[None]:
        """Note the error of a read: code outside may swallow it (templates do), or make a 500 of it."""
        try:
            yield
        except MoonKeyError as error:
            self.trouble = error
            raise


def check_user_setup() -> None:
    """Check that the project has all that ``MOONKEY["USERS"]`` needs.

    Raises:
        ConfigurationError: A part is missing.
    """
    how = configuration().users
    if how is not None:
        from moonkey_django.users.readiness import check_users

        check_users(how)


def attach_user(request: HttpRequest, identity: Identity) -> None:
    """Give the request its ``user`` and ``auser()``, for ``MOONKEY["USERS"]``.

    The credential is not verified yet.
    """
    known = user_of(request)
    if known is None or not known.is_shown:
        setattr(request, _ATTRIBUTE, RequestUser(request, identity))


def user_of(request: HttpRequest) -> RequestUser | None:
    """Return the user that :func:`attach_user` has put on the request, if it has."""
    found: RequestUser | None = getattr(request, _ATTRIBUTE, None)
    return found


def trouble_of(request: HttpRequest, identity: Identity, response: HttpResponseBase) -> MoonKeyError | None:
    """Return the error with which a request is refused in spite of its response; mostly ``None``.

    So it is where Django has made its 500 of an error of MoonKey, or where code of the project has read a user
    that cannot be determined, and has swallowed the error.

    Args:
        request: The request.
        identity: The identity of the request.
        response: The response of the project.
    """
    user: RequestUser | None = request.__dict__.get(_ATTRIBUTE)
    if user is not None and user.trouble is not None and response.status_code != user.trouble.status:
        return user.trouble
    return identity.uncaught if response.status_code == _SERVER_ERROR else None


def _user_of(auth: Auth) -> Any:
    person = optional_user(auth)
    if person is None:
        return _anonymous()
    from moonkey_django.users.finding import find_user

    return find_user(person) or _anonymous()


def _anonymous() -> Any:
    from django.contrib.auth.models import AnonymousUser

    return AnonymousUser()
