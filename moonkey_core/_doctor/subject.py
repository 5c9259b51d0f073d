"""What the checks look at: the settings of an app, and for each of its providers what carries the calls."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from moonkey_core import _clock
from moonkey_core._doctor.reading import Given, given_in
from moonkey_core._operations.core import Core
from moonkey_core._operations.running import run_in_time
from moonkey_core._plan import Fetch, Plan, Reply
from moonkey_core._provider import IntrospectionRequest
from moonkey_core.client import MoonKey
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import is_jwt, read_credentials
from moonkey_core.web.request import mapped_headers

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user of the command has given, beside the settings.

    Attributes:
        credential: A credential of a user of the app, from stdin; empty where none was given.
        url: The address of the app as a browser sees it; empty where it was not given.
        tries_longest: Whether the session of the credential may be extended to the longest life.
        environ: The environment variables.
    """

    credential: str = field(default="", repr=False)
    url: str = ""
    tries_longest: bool = False
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)


@dataclass(frozen=True, slots=True)
class NotedReply:
    """One reply to a call of a check, and when it was received (Unix seconds)."""

    reply: Reply
    received_at: float


@dataclass(slots=True)
class Subject:
    """One provider of an app.

    Attributes:
        client: The client of this provider alone.
        core: Its core.
        asked: What the user of the command has given.
        replies: The replies to the calls of all checks so far.
    """

    client: MoonKey
    core: Core
    asked: Asked
    replies: list[NotedReply] = field(default_factory=list, repr=False)

    @property
    def settings(self) -> Settings:
        """The settings of this provider."""
        return self.client.settings

    @property
    def service(self) -> str:
        """What the provider is called in a sentence."""
        return "The MoonKey API" if self.core.name == "moonkey" else f"The provider {self.core.name!r}"

    @property
    def jwt(self) -> str:
        """The given credential, if it is a JWT; else empty."""
        return self.asked.credential if is_jwt(self.asked.credential) else ""

    def run(self, plan: Plan[T]) -> T:
        """Run a plan to its result. Its calls are made for this run alone, and their replies are noted.

        Raises:
            MoonKeyError: The plan fails.
        """
        return run_in_time(self.client._exchange, self.settings.timeout, self._noted(plan))

    def _noted(self, plan: Plan[T]) -> Plan[T]:
        try:
            step = next(plan)
            while True:
                outcome = yield _alone(step)
                if isinstance(outcome, Reply):
                    self.replies.append(NotedReply(outcome, _clock.wall()))
                step = plan.send(outcome)
        except StopIteration as ended:
            result: T = ended.value
            return result

    def request_about(self, credential: str, minutes: int | None = None) -> IntrospectionRequest:
        """Return the question to the provider about a credential.

        Args:
            credential: The credential.
            minutes: The new length of its session in minutes, if that is to be tried.
        """
        return IntrospectionRequest(
            "session_jwt" if is_jwt(credential) else "session_token",
            credential,
            secrets.token_bytes(16),
            minutes=minutes,
            wants_jwt=True,
        )


def _alone(fetch: Fetch) -> Fetch:
    """Return the same call without anything that would answer it in place of the service."""
    return replace(fetch, coalesce_key=None, ttl=0.0, store_policy=None, until_revoked=False)


def subjects_of(client: MoonKey, asked: Asked) -> dict[str, Subject]:
    """Return what is looked at for each provider, by its name. No session is extended by looking at it.

    A credential is shown to the provider that it belongs to, and to no other.
    """
    given = given_in(asked.credential, client.settings)
    owner = owner_of(client, given)
    asked = replace(asked, credential=given.value)
    others = replace(asked, credential="", tries_longest=False)
    found: dict[str, Subject] = {}
    for one in client.providers.values() or (client,):
        one._core.sliding_expiration.turn_off()
        is_owner = not client.providers or one._core.name == owner
        found[one._core.name] = Subject(one, one._core, asked if is_owner else others)
    return found


def owner_of(client: MoonKey, given: Given) -> str:
    """Return the name of the provider that a credential belongs to; empty where it is none of several.

    A JWT belongs to its issuer, any other credential to the owner of its header.
    """
    line = f"Bearer {given.value}" if given.header == "authorization" else given.value
    return read_credentials(mapped_headers({given.header: line}), None, client.settings).provider


def made_up_token() -> str:
    """Return a credential that no provider has issued."""
    return f"doctor{secrets.token_hex(24)}"
