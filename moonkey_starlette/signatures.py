"""The check for parameters of FastAPI endpoints that look like an identity and are read from the request."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from types import UnionType
from typing import Annotated, Any, ClassVar, NoReturn, Union, get_args, get_origin

from starlette.requests import HTTPConnection

from moonkey_core.auth import Auth, AuthenticatedAuth
from moonkey_core.errors import ConfigurationError
from moonkey_core.models import Session, User
from moonkey_core.web.placement import described, kind_of

_VALUES: dict[Any, str] = {
    User: "CurrentUser",
    Session: "CurrentSession",
    Auth: "CurrentAuth",
    AuthenticatedAuth: "Annotated[AuthenticatedAuth, Depends(RequireAuth())]",
}
_MARKERS = ("Depends", "Security")
_OURS = re.compile(r"\b(CurrentUser|CurrentSession|CurrentAuth|RequireAuth)\b")
_GATE = "Annotated[Auth, Depends(RequireAuth())]"


class NoParameter:
    """A type that Pydantic refuses to make a field of, with an error that says what to write instead."""

    written: ClassVar[str] = _GATE

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: object) -> NoReturn:
        raise TypeError(
            "This is no dependency by itself, and would be read from the request. Write "
            f"`auth: {cls.written}` as a parameter, or dependencies=[Depends(RequireAuth())]."
        )


class Dependency(NoParameter):
    """The base of all dependencies of this package; ``written`` is the annotation of a parameter for it."""

    @property
    def lets_users_pass_only(self) -> bool:
        """Whether behind it there is a verified user and session for certain."""
        return False

    @property
    def lets_all_users_pass(self) -> bool:
        """Whether it does nothing but let each verified user and session pass, and pass on what it reads."""
        return False

    def read(self, auth: AuthenticatedAuth) -> Any:
        """Return the value of the dependency for a request that it lets pass."""
        return auth

    def __call__(self, connection: HTTPConnection) -> Coroutine[Any, Any, Any]:
        """Return the value for a request that it lets pass."""
        raise NotImplementedError


class Value(Dependency):
    """The base of a dependency that does nothing but pass on a part of an identity, behind a gate for users."""

    @property
    def lets_users_pass_only(self) -> bool:
        """Always: it is behind a gate."""
        return True

    @property
    def lets_all_users_pass(self) -> bool:
        """Always: its gate asks nothing more."""
        return True

    def read(self, auth: AuthenticatedAuth) -> Any:
        """Return the part of the identity."""
        raise NotImplementedError


class Default:
    """The base of a dependency that does nothing but what one that depends on it does without it."""


def check_parameters(dependant: Any, where: str) -> None:
    """Check that no parameter looks like a gate or an identity without being a dependency.

    FastAPI would read such a parameter from the request, where the client can write anything, or leave it at its
    default.

    Args:
        dependant: FastAPI's description of an endpoint, which knows the parameters that are dependencies.
        where: The route, for the error.

    Raises:
        ConfigurationError: There is such a parameter, or a ``Depends()`` around an object that is no gate.
    """
    for one in all_of(dependant):
        dependencies = dependencies_of(one)
        resolved = {inner.name for inner in dependencies}
        for parameter in parameters_of(one.call):
            if parameter.name in resolved or default_of(parameter) is not None:
                continue
            unread = _OURS.search(parameter.annotation) if isinstance(parameter.annotation, str) else None
            if unread is not None:
                raise ConfigurationError(
                    f"{where}: FastAPI could not read the annotation of `{parameter.name}` of "
                    f"{described(one.call)}, so it is no dependency. Import {unread[0]}, and all that stands with "
                    "it, at the top of its module, outside of `if TYPE_CHECKING`."
                )
            written = _dependency_named(parameter.annotation) or _dependency_named(parameter.default)
            if written is None and not _is_explicit(parameter):
                written = _dependency_for_type(parameter.annotation)
            if written is not None:
                raise ConfigurationError(
                    f"{where}: the parameter `{parameter.name}` of {described(one.call)} is no dependency: "
                    "callers may send there what they like, or nothing. Write "
                    f"`{parameter.name}: {written}`, without a default. (Where nobody has to be signed in: "
                    "`auth: CurrentAuth`, and auth.user in it.)"
                )
        for inner in dependencies:
            kind = kind_of(inner.call)
            written = _dependency_named(inner.call) if get_origin(inner.call) is Annotated else None
            if written is not None or (kind is not None and not kind.is_gate):
                raise ConfigurationError(
                    f"{where}: Depends({'require_auth' if written is None else written}) protects nothing. Write "
                    f"Depends(RequireAuth()), or a parameter `{inner.name or 'auth'}: {written or _GATE}`."
                )


def default_of(parameter: inspect.Parameter) -> Default | None:
    """Return the dependency that a parameter of one of ours names as its default, and may be left out."""
    default = parameter.default
    found = default.dependency if type(default).__name__ in _MARKERS else None
    return found if isinstance(found, Default) else None


def all_of(dependant: Any) -> Iterator[Any]:
    """Yield an endpoint and all its dependencies, direct and indirect."""
    yield dependant
    for inner in dependencies_of(dependant):
        yield from all_of(inner)


def dependencies_of(dependant: Any) -> list[Any]:
    """Return the direct dependencies of an endpoint or dependency, also those that requests do without."""
    found = dependant.dependencies
    return found.whole if isinstance(found, Shortened) else list(found)


class Shortened(list[Any]):
    """The dependencies of a route, which leaves some of them out while the app overrides no dependency.

    FastAPI goes through them in each request, and for each OpenAPI document.

    Args:
        whole: All of them.
        few: Those that are left.
        fewest: Those that are left for a request whose user is known, see :data:`entered`.
        provider: The app or router with ``dependency_overrides``, as FastAPI has noted it for the route.
    """

    def __init__(self, whole: Iterable[Any], few: Iterable[Any], fewest: Iterable[Any], provider: Any) -> None:
        super().__init__(whole)
        self._few = list(few)
        self._fewest = list(fewest)
        self._provider = provider

    @property
    def whole(self) -> list[Any]:
        """All of them."""
        return list(super().__iter__())

    @property
    def are_overridden(self) -> bool:
        """Whether the app overrides any dependency, so that none is left out."""
        return self._provider is not None and bool(self._provider.dependency_overrides)

    def __iter__(self) -> Iterator[Any]:
        if self._provider is not None and self._provider.dependency_overrides:
            return super().__iter__()
        if entered.get() is not self:
            return iter(self._few)
        # Once: the endpoint may make the OpenAPI document, which is for all clients.
        entered.set(None)
        return iter(self._fewest)


entered: ContextVar[Shortened | None] = ContextVar("moonkey_entered", default=None)
"""The dependencies of the route that a request of a known user has just entered, until FastAPI begins with them.

It decides what FastAPI goes through, and nothing else: the endpoint is called with what the request itself proves,
or is not called."""


def parameters_of(call: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a callable, with their annotations evaluated if possible; none if it shows none."""
    for eval_str in (True, False):
        with suppress(Exception):  # evaluating an annotation can raise anything
            return list(inspect.signature(call, eval_str=eval_str).parameters.values())
    return []


def _dependency_for_type(annotation: Any) -> str | None:
    """Return the dependency to write for a parameter annotated with a user, session or ``Auth``; else ``None``."""
    if isinstance(annotation, type):
        return _VALUES.get(annotation)
    if get_origin(annotation) not in (Annotated, Union, UnionType):
        return None
    return next((found for one in get_args(annotation) if (found := _dependency_for_type(one)) is not None), None)


def _is_explicit(parameter: inspect.Parameter) -> bool:
    """Return whether a parameter names the source of its value: ``Body()``, ``Query()`` and so on."""
    said = (parameter.default, *get_args(parameter.annotation))
    return any(type(one).__module__ == "fastapi.params" for one in said)


def _dependency_named(thing: Any) -> str | None:
    """Return the dependency to write for an annotation or default that names one of ours; else ``None``."""
    if isinstance(thing, Dependency):
        return thing.written
    if isinstance(thing, type):
        return thing.written if issubclass(thing, Dependency) else None
    kind = kind_of(thing)
    if kind is not None:
        return None if kind.is_gate else _GATE
    if type(thing).__name__ in _MARKERS:
        return _dependency_named(thing.dependency)
    # The metadata first: they are more specific than the type.
    return next(
        (found for one in reversed(get_args(thing)) if (found := _dependency_named(one)) is not None), None
    )
