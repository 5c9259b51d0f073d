"""What type checkers must understand of an ``Auth``. Checked with mypy and pyright, never run.

Each ignored error has to be one: both report a comment that ignores nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from datetime import timedelta
from typing import Literal, assert_type

from moonkey_core import AsyncMoonKey, Auth, AuthenticatedAuth, Machine, MoonKey, Session, User
from moonkey_core.gate import Requirements, admit, optional_user, require
from moonkey_core.streams import abound_items, bound_items


def after_the_check(auth: Auth) -> tuple[str, str]:
    if auth.is_authenticated:
        return auth.user.id, auth.session.id
    return "", ""


def after_an_early_return(auth: Auth) -> tuple[User, Session] | None:
    if not auth.is_authenticated:
        return None
    return auth.user, auth.session


def in_one_expression(auth: Auth) -> str:
    return auth.user.id if auth.is_authenticated and auth.session.factors else "nobody"


def after_the_short_check(auth: Auth) -> str:
    if auth:
        assert_type(auth, AuthenticatedAuth)
        return auth.user.id + auth.session.id
    return ""


def after_the_long_check(auth: Auth) -> str:
    if auth.state == "authenticated":
        assert_type(auth, AuthenticatedAuth)
        return auth.user.id + auth.session.id
    return ""


def after_a_look_at_the_user(auth: Auth) -> str:
    user = auth.user
    return "nobody" if user is None else user.id


def of_anything(thing: object) -> str:
    if isinstance(thing, AuthenticatedAuth):
        return thing.user.id
    return thing.user.id if isinstance(thing, Auth) and thing.is_authenticated else ""


def of_a_known_one(auth: AuthenticatedAuth) -> None:
    assert_type(auth.user, User)
    assert_type(auth.session, Session)
    assert_type(auth.is_authenticated, Literal[True])
    assert_type(auth.state, Literal["authenticated"])
    after_the_check(auth)


def required(auth: Auth) -> str:
    assert_type(require(auth), AuthenticatedAuth)
    assert_type(optional_user(auth), User | None)
    return require(auth).user.id


def of_a_machine(auth: Auth) -> str:
    if auth.machine is not None:
        assert_type(auth.machine, Machine)
        return auth.machine.id
    assert_type(auth.actor, str | None)
    assert_type(auth.principal, Literal["user", "machine"] | None)
    return "" if auth.is_machine else "no machine"


def of_a_user(auth: AuthenticatedAuth) -> None:
    assert_type(auth.machine, None)
    assert_type(auth.principal, Literal["user"])
    assert_type(auth.is_machine, Literal[False])


def admitted(auth: Auth) -> str:
    assert_type(admit(auth, Requirements(allow_machines=True)), Auth)
    assert_type(require(auth, Requirements(allow_machines=True)), AuthenticatedAuth)
    return require(auth).user.id


def bound(client: MoonKey, auth: Auth) -> None:
    tie = client.bind(auth, {})
    assert_type(tie.renew("newer", roles={"admin"}), Auth)
    assert_type(tie.is_over(), bool)
    stream = bound_items(client, auth, [1, 2])
    assert_type(stream.renew("newer"), Auth)
    assert_type(next(stream), int)
    stream.renew(b"newer")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def bound_too(client: AsyncMoonKey, auth: Auth, items: AsyncIterable[str]) -> None:
    tie = client.bind(auth, {})
    assert_type(await tie.renew("newer", max_age=timedelta(minutes=5)), Auth)
    assert_type(await tie.session_end(), Literal["expired", "revoked"])
    stream = abound_items(client, auth, items)
    assert_type(await stream.renew("newer"), Auth)
    assert_type(await anext(stream), str)


def by_a_client(client: MoonKey) -> str:
    auth = client.authenticate({})
    return auth.user.id if auth.is_authenticated else ""


async def by_an_asynchronous_client(client: AsyncMoonKey) -> str:
    auth = await client.authenticate({})
    return auth.user.id if auth.is_authenticated else ""


# pyright takes what `auth.user` may be without a check for anything: it does not narrow by `is_authenticated`.
def without_a_check(auth: Auth) -> tuple[str, str]:
    user = auth.user.id  # type: ignore[union-attr]
    return user, auth.session.id  # type: ignore[union-attr]


def after_the_wrong_check(auth: Auth) -> str:
    return auth.user.id if not auth.is_authenticated else ""  # type: ignore[attr-defined]


def after_the_wrong_short_check(auth: Auth) -> AuthenticatedAuth | None:
    return None if auth else auth  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


def unchecked(auth: Auth) -> AuthenticatedAuth:
    return auth  # type: ignore[return-value]  # pyright: ignore[reportReturnType]
