"""The deciding half of a client under a clock of the test's own, with the outcome of each call scripted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from moonkey_core import Auth, Settings
from moonkey_core._operations.core import Core
from moonkey_core._plan import AwaitPublished, Done, Fetch, Outcome, Plan, Reply, run, step
from moonkey_core.gate import Requirements
from moonkey_core.revocations import RevocationState
from moonkey_core.web.request import HeaderView, RequestInfo
from support.bindings import bound_lines
from support.odd_jwts import ISSUER, key_set

NOW = 1_800_000_000.0


def replied(status: int = 200, body: object = b"", **headers: str) -> Reply:
    """A reply; a body that is not bytes becomes JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


def verified_body(user_id: str = "user_1", **changes: Any) -> dict[str, Any]:
    """What the API answers about a good session."""
    session = {"id": "sess_1", "user_id": user_id, "expires_at": int(NOW) + 86_400}
    return {"session": {**session, **changes.pop("session", {})}, **changes}


def presenting(credential: str, header: str = "session-token") -> HeaderView:
    """The headers of a request that carries this credential and nothing else."""
    return lambda name: [credential] if name == header else []


def bearer(credential: str) -> HeaderView:
    """The same in the ``Authorization`` header."""
    return presenting(f"Bearer {credential}", "authorization")


class Decisions:
    """Authenticates without a socket. ``answer`` is asked for each call's outcome; ``fetches`` remembers them."""

    def __init__(self, *, feed: Any = None, **options: Any) -> None:
        self.now = NOW
        self.fetches: list[Fetch] = []
        self.answer: Callable[[Fetch], Outcome] = self.usual
        chosen = {"secret_key": "sk_test_decisions", "jwt_issuer": ISSUER, "jwks": key_set(), **options}
        if "on_feed_lost" in options:
            chosen.setdefault("redis_url", "redis://127.0.0.1:1/0")  # where nothing listens: ``feed`` counts
        self.settings = Settings.load({name: value for name, value in chosen.items() if value != ""}, {})
        # What a client does off the request's path is done at once.
        self.core = Core(self.settings, lambda: self.now, lambda plan: run(plan, self.exchange), feed=feed)

    @staticmethod
    def usual(fetch: Fetch) -> Outcome:
        return replied(200, key_set() if "jwks" in fetch.url else verified_body())

    def exchange(self, action: Fetch | AwaitPublished) -> Outcome | RevocationState:
        if isinstance(action, AwaitPublished):
            return action.revocation.wait(action.seconds)
        self.fetches.append(action)
        return self.answer(action)

    def authenticate(self, credential: str, header: str = "session-token", **requirements: Any) -> Auth:
        return self.read({header: [credential]}, Requirements(**requirements))

    def read(
        self,
        headers: Mapping[str, Sequence[str]],
        requirements: Requirements | None = None,
        info: RequestInfo | None = None,
    ) -> Auth:
        found = self.core.begin(self.lines(headers), requirements, info)
        if isinstance(found, Auth):
            return found
        return run(self.core.finish(found), self.exchange)

    def known(self, headers: Mapping[str, Sequence[str]], requirements: Requirements | None = None) -> Auth | None:
        """What is said at once; ``None`` where a call may be needed."""
        found = self.core.begin(self.lines(headers), requirements)
        return found if isinstance(found, Auth) else None

    def begin(self, credential: str, **requirements: Any) -> tuple[Plan[Auth], Fetch]:
        """An authentication that has come as far as its first call."""
        asked = Requirements(**requirements)
        found = self.core.begin(presenting(credential), asked)
        assert not isinstance(found, Auth)
        plan = self.core.finish(found)
        return plan, next(plan)

    @staticmethod
    def end(plan: Plan[Auth], outcome: Outcome) -> Auth:
        """The rest of it, where this is the outcome of its last call."""
        found = step(plan, outcome)
        assert isinstance(found, Done)
        return found.value

    def lines(self, headers: Mapping[str, Sequence[str]]) -> HeaderView:
        """The headers of a request; a pair of cookies in them is bound."""
        found = {**headers, "cookie": bound_lines(headers.get("cookie", ()), self.settings)}
        return lambda name: found.get(name, ())

    def calls(self, part: str = "") -> int:
        """How many calls went to addresses with this in them."""
        return sum(part in fetch.url for fetch in self.fetches)
