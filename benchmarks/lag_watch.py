"""One revocation seen from outside: how long a credential is still accepted, or a connection still open."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

import aiohttp
from lag_fleet import Api, Fleet

Where = Literal["here", "fleet", "elsewhere"]
WHERE: tuple[Where, ...] = ("here", "fleet", "elsewhere")
ALLOWANCE = 0.1  # seconds at least until the end of a connection is known here
MORE = 1.5  # seconds for which an accepted credential is looked at beyond its bound
LEAST = 3.0  # seconds for which any is looked at
SESSION = 15  # seconds that the session of a connection lasts
FAST, SLOW, SLOWEST = 0.05, 0.25, 1.0  # seconds between two requests
_people = count()


@dataclass
class Seen:
    """What was seen after one revocation, in seconds after the call that revoked had returned.

    Attributes:
        lag: When the last answer came that accepted the credential, or when the connection ended; 0 for never.
        allowed: The bound and the allowance for measuring.
        bound: The bound; ``None`` where it is the end of the session.
        state: What the call that revoked has returned.
        asked: How many requests came after it.
        odd: Answers that are neither 200 nor 401.
    """

    lag: float
    allowed: float
    bound: float | None
    state: str = ""
    asked: int = 0
    odd: Counter[int] = field(default_factory=Counter)

    @property
    def is_over(self) -> bool:
        """Whether it was accepted for longer than the bound allows."""
        return self.lag > self.allowed


@dataclass
class Scene:
    """Where something is measured: an app, the API, and a client of both."""

    http: aiohttp.ClientSession
    api: Api
    fleet: Fleet
    leeway: float
    _took: list[tuple[float, float]] = field(default_factory=list)

    def longest(self, since: float) -> float:
        """How long the longest request to the process took that was answered since then, in seconds."""
        return max((took for came, took in self._took if came >= since), default=0.0)

    async def sign_in(self, **how: Any) -> dict[str, str]:
        """Start a session of a new user."""
        return await self.api.order(self.http, "sign-in", email=f"person{next(_people)}@example.com", **how)

    async def revoke(self, where: Where, session_id: str) -> str:
        """End a session: by the process that is asked, by the other one, or at the API."""
        if where == "elsewhere":
            await self.api.order(self.http, "revoke", session_id=session_id)
            return ""
        server = self.fleet.asked if where == "here" else self.fleet.other
        async with self.http.post(f"{server.url}/revoke", json={"session_id": session_id}) as response:
            if response.status != 200:
                raise RuntimeError(f"a revocation is answered {response.status}")
            return str((await response.json())["state"])

    async def status(self, path: str, headers: Mapping[str, str]) -> int:
        """What a request is answered."""
        sent = time.monotonic()
        async with self.http.get(f"{self.fleet.asked.url}{path}", headers=headers) as response:
            await response.read()
        came = time.monotonic()
        self._took.append((came, came - sent))
        return response.status

    async def headers(self, credential: str, person: dict[str, str]) -> dict[str, str]:
        """The headers of a request with a credential that counts for as long as one can."""
        if credential == "token":
            return _bearer(person["session_token"])
        now = time.time()
        issued = now - 400 if credential.startswith("old") else now + max(0.0, self.leeway - 0.3)
        claims = {"iat": issued, "nbf": min(issued, now), "exp": issued + 300}
        made = await self.api.order(self.http, "mint", claims=claims, session_id=person["session_id"])
        if credential.endswith("cookies"):
            return await self._cookies(person["session_token"], made["session_jwt"])
        return _bearer(made["session_jwt"])

    async def _cookies(self, token: str, session_jwt: str) -> dict[str, str]:
        """The cookies of a browser that has signed in."""
        what = {"session_token": token, "session_jwt": session_jwt}
        async with self.http.post(f"{self.fleet.asked.url}/cookies", json=what) as response:
            if response.status != 200:
                raise RuntimeError(f"a sign-in is answered {response.status}")
            lines = (await response.json())["cookies"]
        return {"cookie": "; ".join(line.partition(";")[0] for line in lines)}


def _bearer(credential: str) -> dict[str, str]:
    return {"authorization": f"Bearer {credential}"}


async def unrevoked(scene: Scene, credential: str, seconds: float) -> Counter[int]:
    """The answers to a session that is not revoked: without them, a refusal would mean nothing."""
    person = await scene.sign_in()
    headers = await scene.headers(credential, person)
    answers: Counter[int] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answers[await scene.status("/me", headers)] += 1
        await asyncio.sleep(SLOW)
    return answers


class Requests:
    """The credential of a session in requests, one after another: before the revocation, and after it.

    What was sent before the revoking call had returned does not count.
    """

    def __init__(self, scene: Scene, where: Where, credential: str, path: str, bound: float) -> None:
        self._scene, self._where, self._credential = scene, where, credential
        self._path, self._bound = path, bound
        self._returned = self._end = math.inf
        self._answers: list[tuple[float, float, int]] = []

    async def prepare(self) -> None:
        """Let the process accept the credential, and go on sending it."""
        self._person = await self._scene.sign_in(age=1_000)
        headers = await self._scene.headers(self._credential, self._person)
        if (status := await self._scene.status(self._path, headers)) != 200:
            raise RuntimeError(f"a good credential is answered {status}")
        self._looking = asyncio.create_task(self._look(headers))

    async def revoke(self) -> Seen:
        """Revoke the session, and look on until nothing can be accepted any more."""
        try:
            state = await self._scene.revoke(self._where, self._person["session_id"])
        except BaseException:
            self._looking.cancel()
            raise
        self._returned = time.monotonic()
        self._end = self._returned + max(LEAST, self._bound + MORE)
        await self._looking
        return self._seen(state)

    async def _look(self, headers: Mapping[str, str]) -> None:
        while (sent := time.monotonic()) < self._end:
            status = await self._scene.status(self._path, headers)
            self._answers.append((sent, time.monotonic(), status))
            await asyncio.sleep(self._pause(sent - self._returned))

    def _pause(self, since: float) -> float:
        """Look less often later on, but near the bound."""
        if since < 1:
            return FAST
        return SLOWEST if 20 < since < self._bound - 5 else SLOW

    def _seen(self, state: str) -> Seen:
        after = [one for one in self._answers if one[0] >= self._returned]
        sent, came, _ = max((one for one in after if one[2] == 200), default=(0.0, 0.0, 0))
        lag = came - self._returned if came else 0.0
        odd = Counter(status for *_, status in after if status not in (200, 401))
        return Seen(lag, self._bound + (came - sent), self._bound, state, len(after), odd)


class Connection:
    """A connection of a session that nothing else is sent of. ``bound``: ``None`` for the end of the session."""

    def __init__(
        self, scene: Scene, where: Where, credential: str, bound: float | None, *, is_stream: bool
    ) -> None:
        self._scene, self._where, self._credential = scene, where, credential
        self._bound, self._opens = bound, _stream if is_stream else _websocket

    async def prepare(self) -> None:
        """Open it."""
        self._ends = time.monotonic() + SESSION
        self._person = await self._scene.sign_in(minutes=SESSION / 60)
        headers = await self._scene.headers(self._credential, self._person)
        self._connection = self._opens(self._scene, f"{self._scene.fleet.asked.url}/open", headers)
        await anext(self._connection)

    async def revoke(self) -> Seen:
        """Revoke the session, and wait for the end of the connection."""
        try:
            state = await self._scene.revoke(self._where, self._person["session_id"])
            returned = time.monotonic()
            lag = await self._lasts(returned)
            allowed = self._ends - returned if self._bound is None else self._bound
            return Seen(lag, allowed + max(ALLOWANCE, self._scene.longest(returned)), self._bound, state)
        finally:
            await self._connection.aclose()

    async def _lasts(self, since: float) -> float:
        try:
            async with asyncio.timeout(max(SESSION, self._bound or 0) + 2 * MORE):
                await anext(self._connection, None)
        except TimeoutError:
            return math.inf
        return time.monotonic() - since


Trial = Requests | Connection


async def _websocket(scene: Scene, url: str, headers: Mapping[str, str]) -> Any:
    """Come back when the WebSocket is open, and end when it is closed."""
    async with scene.http.ws_connect(url.replace("http", "ws", 1), headers=headers) as websocket:
        yield await websocket.receive_str()
        message = await websocket.receive()
        if message.type is not aiohttp.WSMsgType.CLOSE or message.data != 4401:
            raise RuntimeError(f"a WebSocket ended with {message.type.name} {message.data}")


async def _stream(scene: Scene, url: str, headers: Mapping[str, str]) -> Any:
    """Come back when the stream has begun, and end when it does."""
    async with scene.http.get(url, headers=headers) as response:
        if response.status != 200:
            raise RuntimeError(f"a stream is answered {response.status}")
        yield await response.content.readany()
        while await response.content.readany():
            """The stream goes on."""
