"""MoonKey for Django REST framework. Imported only where its settings, or a view, name it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from django.apps import apps
from django.http import HttpRequest

from moonkey_core.extras import needs

with needs("rest_framework", extra="drf"):
    from rest_framework import exceptions

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.settings import api_settings

from moonkey_core.auth import Auth, scheme_hint
from moonkey_core.errors import ConfigurationError, MissingCredentials, MoonKeyError
from moonkey_core.gate import own_attributes, similar_requirements
from moonkey_core.models import User
from moonkey_core.provider import key_of_user
from moonkey_core.revocations import DEFAULT_SCOPE
from moonkey_core.web.advice import public_names
from moonkey_core.web.responses import Refusal, refuse
from moonkey_django.conf import configuration
from moonkey_django.identity import header_view, identity_of
from moonkey_django.refused import rest_code
from moonkey_django.user import user_of

_REFUSAL = "_moonkey_refusal"


@dataclass(frozen=True, slots=True, eq=False)
class RestUser:
    """``request.user`` where ``MOONKEY["USERS"]`` is not set: signed in, and without any of Django's permissions.

    Attributes:
        moonkey: The verified MoonKey user.
        pk: The MoonKey id without its prefix, which some documents leave out. Throttles count by it. Of
            another provider, it is the issuer and the id, so that equal ids of two issuers are two users.
    """

    moonkey: User
    pk: str = field(init=False)
    is_authenticated = True
    is_anonymous = False
    is_active = True
    is_staff = False
    is_superuser = False

    def __post_init__(self) -> None:
        person = self.moonkey
        is_ours = person.scope == DEFAULT_SCOPE
        object.__setattr__(self, "pk", key_of_user(person.id) if is_ours else f"{person.scope}#{person.id}")

    @property
    def id(self) -> str:
        """The same as ``pk``."""
        return self.pk

    def get_username(self) -> str:
        """Return ``pk``."""
        return self.pk

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        """Return ``False``: the user has no permissions."""
        return False

    def has_perms(self, perm_list: Any, obj: Any = None) -> bool:
        """Return ``False``: the user has no permissions."""
        return False

    def has_module_perms(self, module: str) -> bool:
        """Return ``False``: the user has no permissions."""
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RestUser) and (other.moonkey.scope, other.pk) == (self.moonkey.scope, self.pk)

    def __hash__(self) -> int:
        return hash(self.pk)

    def __str__(self) -> str:
        return self.pk

    if not TYPE_CHECKING:  # only errors come here

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(f"request.user has no attribute {name[:60]!r}. {_advice(name)}")

        def __getitem__(self, key: object) -> NoReturn:
            raise TypeError(f"request.user is an object and no dict. {_advice(key)}")


def _advice(name: object) -> str:
    shown = name if isinstance(name, str) and name in public_names(User) else "id"
    return (
        "It is REST framework's user, with is_authenticated and pk. MoonKey's is request.user.moonkey: write "
        f"request.user.moonkey.{shown}."
    )


class Refused(exceptions.APIException):
    """A refusal with a status for which REST framework has no exception: 400, 503, or 500."""

    def __init__(self, detail: str, code: str, status: int) -> None:
        super().__init__(detail, code)
        self.status_code = status


class MoonKeyAuthentication(BaseAuthentication):
    """``request.user`` and ``request.auth`` (the :class:`~moonkey_core.auth.Auth`) from MoonKey.

    Put it first in ``authentication_classes``: REST framework takes the challenge of a 401 from the first class.
    As with its other classes, an invalid credential is refused even where no sign-in is required; so is one that
    cannot be checked (503). A request without a credential is left to the next class. Cookies are judged by
    MoonKey's own rule for requests from other sites, which does not rely on Django's CSRF middleware.

    The class authenticates a request and enforces no requirements.

    Raises:
        ConfigurationError: A subclass has an attribute with the name of a requirement, or a near miss of one.
    """

    def __init__(self) -> None:
        _describe_in_spectacular()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, demand in similar_requirements(own_attributes(cls, "rest_framework", "moonkey_django")).items():
            raise ConfigurationError(
                f"{cls.__qualname__} has an attribute {name!r}, which demands nothing. Use "
                f"RequireAuthMixin with {demand!r} on the view."
            )

    if not TYPE_CHECKING:  # only errors come here

        def __getattr__(self, name: str) -> NoReturn:
            where = ""
            if name in ("has_permission", "has_object_permission"):
                where = ". MoonKeyAuthentication is no permission: put it into authentication_classes"
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{where}")

    def authenticate(self, request: Request) -> tuple[Any, Auth] | None:
        """Return the user and the ``Auth`` of a request; ``None`` where it carries no credential.

        A machine comes with an anonymous user.

        Args:
            request: REST framework's request.

        Raises:
            APIException: The credential is invalid or cannot be checked.
            ImproperlyConfigured: The request has not passed the middleware.
        """
        inner = request._request
        try:
            auth = identity_of(inner).read()
            if auth.error is not None:
                raise auth.error
            if auth.is_machine:  # it has no user; what is for users refuses it, and no other class is asked
                return _anonymous_user(), auth
            user = _user(inner, auth)
        except MoonKeyError as error:
            raise _refused(inner, error) from None
        return None if user is None else (user, auth)

    def authenticate_header(self, request: Request) -> str:
        """Return the value of ``WWW-Authenticate`` for a 401."""
        inner = request._request
        found: Refusal | None = getattr(inner, _REFUSAL, None)
        if found is None:
            auth = identity_of(inner).auth
            found = _refusal(inner, MissingCredentials(evidence=scheme_hint(auth) if auth is not None else ""))
        return _header(found, "www-authenticate") or "Bearer"


def _anonymous_user() -> Any:
    """Return the anonymous user of REST framework's settings."""
    make: Any = api_settings.UNAUTHENTICATED_USER
    return None if make is None else make()


@cache
def _describe_in_spectacular() -> None:
    """Have drf-spectacular find its extension, where it is installed.

    It cannot be imported with this module: REST framework imports this one while it is imported itself.
    """
    if apps.is_installed("drf_spectacular"):
        import_module("moonkey_django.spectacular")


def _user(request: HttpRequest, auth: Auth) -> Any:
    """Return the user who is signed in.

    ``None`` for an anonymous request, or where ``MOONKEY["USERS"]`` gives no active Django user.
    """
    if auth.user is None:
        return None
    django_user = user_of(request)
    if django_user is None:
        return RestUser(auth.user)
    found = django_user.get()
    return found if found.is_authenticated else None


def _refusal(request: HttpRequest, error: MoonKeyError) -> Refusal:
    return refuse(error, configuration().settings, header_view(request))


def _refused(request: HttpRequest, error: MoonKeyError) -> exceptions.APIException:
    """Return the usual refusal as an exception, from which REST framework makes the response."""
    refusal = _refusal(request, error)
    setattr(request, _REFUSAL, refusal)
    identity_of(request).refused_with = refusal.status
    problem = json.loads(refusal.body)
    detail, code, status = problem["detail"], rest_code(error), refusal.status
    made: Any
    if status == 401:  # REST framework adds the challenge itself
        said = {"detail": detail, "reason": problem["reason"]} if "reason" in problem else detail
        return exceptions.AuthenticationFailed(said, code)
    made = exceptions.PermissionDenied(detail, code) if status == 403 else Refused(detail, code, status)
    made.auth_header = _header(refusal, "www-authenticate")
    made.wait = int(_header(refusal, "retry-after") or 0)
    return made  # type: ignore[no-any-return]


def _header(refusal: Refusal, name: str) -> str | None:
    return next((value for key, value in refusal.headers if key == name), None)
