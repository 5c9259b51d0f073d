"""The provider that a suite is about, with what makes its tokens and answers its calls."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from moonkey_core import _clock
from moonkey_core._plan import Done, Fetch, Plan, Reply, step
from moonkey_core._provider import IntrospectionRequest, JwtRules, Provider
from moonkey_core._transport.replies import judge
from moonkey_core.auth import Auth
from moonkey_core.client import MoonKey
from moonkey_core.errors import InvalidCredentials, MoonKeyError
from moonkey_core.events import Event, UpstreamCall

Sign = Callable[[Mapping[str, Any], Mapping[str, Any]], str]
"""Signs with the provider's key: takes what the header has beside ``alg`` and ``kid``, and the claims."""

Service = Callable[[Fetch], Reply]
"""Answers a call of the provider, as its service would where all is well."""

KEY_OPERATIONS: Final = ("jwks", "discovery")
OPAQUE: Final = "an-opaque-credential-0123456789"
_MOST_CALLS = 5


@dataclass(frozen=True, slots=True)
class Check:
    """One check. Call it; it raises ``AssertionError`` where the provider fails."""

    name: str
    run: Callable[[], None]

    def __call__(self) -> None:
        """Run the check.

        Raises:
            AssertionError: The provider fails it.
        """
        try:
            self.run()
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"the provider raised {error!r}.") from error

    def __str__(self) -> str:
        """Return the name."""
        return self.name


class Subject:
    """A provider under test, with what makes its tokens."""

    def __init__(
        self,
        make: Callable[[], Provider],
        sign: Sign,
        claims: Callable[[], Mapping[str, Any]],
        user_claim: str,
        answer: Service | None,
    ) -> None:
        """Take what :func:`provider_conformance` was given."""
        self.make = make
        self.sign = sign
        self.claims = claims
        self.user_claim = user_claim
        self._answer = answer

    def answer(self, fetch: Fetch) -> Reply:
        """Answer a call as the provider's service would.

        Raises:
            AssertionError: The suite was not told how.
        """
        expect(self._answer is not None, "it can be called: give answer, which replies as its service would")
        assert self._answer is not None
        return self._answer(fetch)

    def request(self, **more: Any) -> IntrospectionRequest:
        """Return a request about a good credential: an opaque one, or a token if it takes no opaque ones."""
        value = OPAQUE if getattr(self.make(), "takes_opaque", True) else self.token()
        usual: dict[str, Any] = {"store_name": "name", "store_ttl": 60.0}
        return IntrospectionRequest("session_token", value, b"digest", **{**usual, **more})

    def renewal(self, **more: Any) -> IntrospectionRequest:
        """Return a request to refresh a token that is only too old."""
        now = int(_clock.wall())
        claims = {**self.claims(), "iat": now - 1000, "exp": now - 400}
        if "nbf" in claims:
            claims["nbf"] = now - 1000
        named, users = self.make().jwt_claims.claimed_ids(claims)
        usual: dict[str, Any] = {
            "refresh": True,
            "wants_jwt": True,
            "session_id": named,
            "user_ids": users,
            "claims": json.dumps(claims).encode(),
        }
        return IntrospectionRequest("session_jwt", self.sign({}, claims), b"digest", **{**usual, **more})

    def token(self, header: Mapping[str, Any] | None = None, /, **changes: Any) -> str:
        """Return a good token but for the changes; a change to ``...`` leaves a claim out."""
        claims = {name: value for name, value in {**self.claims(), **changes}.items() if value is not ...}
        return self.sign(header or {}, claims)

    def shown(self, token: str, before: Callable[[MoonKey], object] = lambda _: None) -> Auth:
        """Authenticate a request with a token, and check that no call was made about it."""
        calls: list[str] = []

        def count(event: Event) -> None:
            if isinstance(event, UpstreamCall) and event.operation not in KEY_OPERATIONS:
                calls.append(event.operation)

        provider = self.make()
        # Clients with one secret share their revocations. An old token is not sent anywhere.
        renews: dict[str, Any] = {"refresh_jwt": False} if "refresh_jwt" in provider.capabilities else {}
        with MoonKey(provider=provider, secret_key=f"conformance-{secrets.token_hex(16)}", **renews) as client:
            client.hooks.add(count)
            before(client)
            auth = client.authenticate({"authorization": f"Bearer {token}"})
        expect("introspect" in provider.capabilities or not calls, f"a call was made: {calls}")
        return auth

    def refused(self, token: str, what: str) -> InvalidCredentials:
        """Check that a token is refused without a call, and return the error."""
        auth = self.shown(token)
        expect(not auth.is_authenticated, f"{what} was accepted")
        expect(auth.is_rejected, f"{what} is no outage, but was answered as one: {auth.error!r}")
        error = auth.error
        expect(isinstance(error, InvalidCredentials) and error.status == 401, f"{what} gave {error!r}, not a 401")
        assert isinstance(error, InvalidCredentials)
        expect(token.split(".")[-1] not in str(error), "the error shows the token")
        return error


def expect(holds: bool, problem: str) -> None:
    """Raise ``AssertionError`` with the problem, unless it holds."""
    if not holds:
        raise AssertionError(f"{problem}.")


def rules_of(subject: Subject) -> JwtRules:
    """Return the rules for JWTs, without which there is nothing to check."""
    rules = subject.make().jwt_rules
    expect(rules is not None and bool(rules.issuers), "it has no jwt_rules with issuers")
    assert rules is not None
    return rules


def played(plan: Callable[[], Plan[Any]], answer: Service) -> object:
    """Return the result of a plan, or its error, where these are the replies to its calls."""
    try:
        started = plan()
        found = step(started, None)
        for _ in range(_MOST_CALLS):
            if isinstance(found, Done):
                return found.value
            found = step(started, answer(found))
    except MoonKeyError as error:
        return error
    raise AssertionError(f"it makes more than {_MOST_CALLS} calls about one thing.")


def first_call(plan: Callable[[], Plan[Any]]) -> Fetch:
    """Return the first call of a plan.

    Raises:
        AssertionError: It makes none.
    """
    found = step(plan(), None)
    expect(isinstance(found, Fetch), "it makes no call")
    assert isinstance(found, Fetch)
    return found


def judged(fetch: Fetch, reply: Reply) -> str:
    """Return what the judge of a call says of a reply."""
    return (fetch.judge or judge)(reply)
