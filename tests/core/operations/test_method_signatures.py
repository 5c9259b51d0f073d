"""What the clients' methods say of themselves to ``help()``, ``inspect`` and whoever calls them wrongly."""

from __future__ import annotations

import asyncio
import inspect
import pydoc
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, get_type_hints

import pytest

from moonkey_core import (
    AsyncMoonKey,
    Login,
    MagicLinkRequest,
    MfaRecord,
    MoonKey,
    OtpRequest,
    RevocationState,
    RevokedSessions,
    Session,
    StartRecord,
    TotpRegistration,
    User,
    VerifiedSession,
    WalletChallenge,
)
from moonkey_core.flows import FlowResponse, MagicLinkStart, OAuthStart, Rotation

RESULTS: Mapping[str, object] = {
    "sessions.verify": VerifiedSession,
    "sessions.list": tuple[Session, ...],
    "sessions.revoke": RevocationState,
    "sessions.revoke_all": RevokedSessions,
    "sessions.rotate": Rotation,
    "sessions.note_start": StartRecord,
    "mfa.record": MfaRecord,
    "mfa.get": MfaRecord | None,
    "mfa.load": type(None),
    "mfa.end": RevocationState,
    "mfa.drop": RevocationState,
    "otps.send": OtpRequest,
    "otps.login_or_create": OtpRequest,
    "otps.verify": Login,
    "magic_links.send": MagicLinkRequest,
    "magic_links.login_or_create": MagicLinkRequest,
    "magic_links.verify": Login,
    "oauth.start_url": str,
    "oauth.verify": Login,
    "totps.create": TotpRegistration,
    "totps.verify": Login,
    "totps.recover": Login,
    "wallets.begin": WalletChallenge,
    "wallets.verify": Login,
    "passwords.create": type(None),
    "passwords.verify": Login,
    "passkeys.begin": type(None),
    "passkeys.verify": Login,
    "biometrics.begin": type(None),
    "biometrics.verify": Login,
    "users.get": User,
    "flows.answer": FlowResponse,
    "flows.oauth_state": OAuthStart,
    "flows.magic_link_state": MagicLinkStart,
}
NOT_AWAITED = {"flows.oauth_state", "flows.magic_link_state", "oauth.start_url"}
PLAIN = {*NOT_AWAITED, "flows.answer"}  # methods that are written out, and not made of a plan
REFUSED = {"passwords", "passkeys", "biometrics"}  # whose methods take any arguments, and look at none
CLIENTS: dict[str, type[MoonKey | AsyncMoonKey]] = {"sync": MoonKey, "async": AsyncMoonKey}


@pytest.fixture(params=CLIENTS)
def kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
def client(kind: str) -> Iterator[MoonKey | AsyncMoonKey]:
    made = CLIENTS[kind](secret_key="sk_test_x", base_url="http://127.0.0.1:1")
    yield made
    if isinstance(made, MoonKey):
        made.close()
    else:
        asyncio.run(made.aclose())


def namespaces(client: object) -> dict[str, object]:
    """Whatever a client has its methods on."""
    kinds = {name: found for base in type(client).__mro__ for name, found in vars(base).items()}
    names = [name for name, found in kinds.items() if isinstance(found, cached_property)]
    found = {name: getattr(client, name) for name in sorted(names)}
    assert len(found) == 12
    return found


def methods(client: object) -> dict[str, Callable[..., Any]]:
    """All methods on them, by how they are called."""
    return {
        f"{namespace}.{name}": method
        for namespace, owner in namespaces(client).items()
        for name, method in inspect.getmembers(owner, callable)
        if not name.startswith("_")
    }


def takes_any(name: str) -> bool:
    return name.partition(".")[0] in REFUSED


def own_methods(client: object) -> dict[str, Callable[..., Any]]:
    return {
        name: method
        for name, method in inspect.getmembers(type(client), inspect.isfunction)
        if not name.startswith("_") or name in ("__init__", "__enter__", "__aenter__")
    }


def test_every_method_names_its_result(client: MoonKey | AsyncMoonKey) -> None:
    found = methods(client)
    assert {name: get_type_hints(method)["return"] for name, method in found.items()} == RESULTS
    for name, method in found.items():
        signature = inspect.signature(method, eval_str=True)
        expected = RESULTS[name]
        assert signature.return_annotation == (None if expected is type(None) else expected), name
        assert not {"core", "self"} & signature.parameters.keys()
        assert any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values()) == takes_any(name)
        assert get_type_hints(method) == {
            **{one.name: one.annotation for one in signature.parameters.values()},
            "return": expected,
        }


def test_every_method_is_called_what_it_is(client: MoonKey | AsyncMoonKey) -> None:
    owners = namespaces(client)
    for name, method in methods(client).items():
        namespace, own = name.split(".")
        assert method.__qualname__ == f"{type(owners[namespace]).__qualname__}.{own}"
        assert method.__module__ == type(owners[namespace]).__module__
        assert method.__name__ == own
        assert inspect.unwrap(method) == method


def test_who_has_to_be_awaited(client: MoonKey | AsyncMoonKey, kind: str) -> None:
    for name, method in methods(client).items():
        assert inspect.iscoroutinefunction(method) is (kind == "async" and name not in NOT_AWAITED), name


def test_help_shows_the_result_and_a_docstring(client: MoonKey | AsyncMoonKey) -> None:
    for name, method in methods(client).items():
        text = pydoc.plain(pydoc.render_doc(method))
        assert "Plan[" not in text, name
        assert "core:" not in text, name
        assert inspect.getdoc(method), name
    shown = pydoc.plain(pydoc.render_doc(client.sessions.verify))
    assert "-> moonkey_core.models.VerifiedSession" in shown
    assert "Verify one credential and return its user and session." in shown


def test_both_clients_have_the_same_methods() -> None:
    async_client = AsyncMoonKey(secret_key="sk_test_x", base_url="http://127.0.0.1:1")
    with MoonKey(secret_key="sk_test_x", base_url="http://127.0.0.1:1") as client:
        ours, theirs = methods(client), methods(async_client)
        assert {name: inspect.signature(one) for name, one in ours.items()} == {
            name: inspect.signature(one) for name, one in theirs.items()
        }
        docs = {name: inspect.getdoc(one) for name, one in ours.items() if name not in NOT_AWAITED}
        assert docs == {name: inspect.getdoc(one) for name, one in theirs.items() if name not in NOT_AWAITED}
    asyncio.run(async_client.aclose())


def test_the_clients_own_methods_have_types_that_can_be_read(client: MoonKey | AsyncMoonKey) -> None:
    found = own_methods(client)
    assert len(found) > 8
    for name, method in found.items():
        hints = get_type_hints(method)
        assert hints.keys() == {*inspect.signature(method).parameters, "return"} - {"self"}, name


async def called(method: Callable[..., Any], /, *args: object, **kwargs: object) -> None:
    found = method(*args, **kwargs)
    if inspect.isawaitable(found):
        await found


def refused(method: Callable[..., Any], /, *args: object, **kwargs: object) -> str:
    """What a method says to arguments that it does not take, called and awaited as it wants."""
    with pytest.raises(TypeError) as caught:
        asyncio.run(called(method, *args, **kwargs))
    return str(caught.value)


@pytest.mark.parametrize("wrong", ["wrong", "core", "self", "plan", "method", "owner", "args"])
def test_a_wrong_keyword_names_the_method(client: MoonKey | AsyncMoonKey, wrong: str) -> None:
    for name, method in methods(client).items():
        if wrong in inspect.signature(method).parameters or takes_any(name):
            continue
        message = refused(method, **{wrong: "x"})
        if name in PLAIN and wrong == "self":
            assert message.startswith(f"{method.__qualname__}() ")  # Python's own: it has two values
            continue
        assert message == f"{method.__qualname__}() got an unexpected keyword argument {wrong!r}"


def test_missing_and_surplus_arguments_name_the_method(client: MoonKey | AsyncMoonKey) -> None:
    for name, method in methods(client).items():
        if takes_any(name):
            continue
        surplus = refused(method, *range(len(inspect.signature(method).parameters) + 1))
        assert surplus.startswith(f"{method.__qualname__}() takes "), surplus
        required = [one.name for one in inspect.signature(method).parameters.values() if one.default is one.empty]
        if required:
            message = refused(method)
            assert message.startswith(f"{method.__qualname__}() missing "), message
            assert repr(required[0]) in message


def test_an_error_of_the_method_itself_is_its_own(client: MoonKey | AsyncMoonKey) -> None:
    for arguments in ({}, {"email": "a@example.com", "phone_number": "+1"}):
        with pytest.raises(ValueError, match="exactly one of email and phone_number"):
            asyncio.run(called(client.otps.send, **arguments))
