"""How long a revoked session is accepted, measured from outside: ``python benchmarks/lag_table.py``.

Every row of the README's table of lags, on three servers, with every kind of credential. Two processes of an app
listen on ports of their own. A session that one of them has just accepted is revoked through the same process
(here), through the other one (fleet), or at the API itself (elsewhere), and its credential is sent again and
again. The figure is the moment after the revoking call had returned when the last answer that accepted it came.
It is over the bound if that request was sent later than the bound. The bounds are those that the client itself
states (``client.revocation_lag()``). With a feed, all is measured while it is live, in the moment in which Redis
is killed, and after both processes have noticed that.

The long bounds are made short by the settings that they are computed from; ``--full`` takes those of the README,
which needs 17 minutes for each server.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator

import aiohttp
import report
from lag_fleet import SERVERS, Api, Fleet
from lag_results import TITLE, Found, One, findings, table_of
from lag_setups import DIES, FULL, LIVE, LOST, MAX_LAG, SETUPS, SHORT, Line, Setup
from lag_watch import WHERE, Connection, Requests, Scene, Trial, Where, unrevoked
from redis_process import PROGRAM
from results import Section

BETWEEN = 0.08  # seconds between the beginnings of two measurements
TROUBLE = (RuntimeError, OSError, aiohttp.ClientError, TimeoutError)


class Bench:
    """The measurements on one server."""

    def __init__(self, server: str, api: Api, values: dict[str, float], found: Found) -> None:
        self._server, self._api, self._values, self._found = server, api, values, found
        self._is_stream = server == "gunicorn + Flask"
        self._next = 0.0

    async def run(self) -> None:
        """Measure all setups at the same time: first with the feed, then without it."""
        fleets: list[Fleet] = []
        try:
            for setup in SETUPS:
                options = setup.options(self._api, self._values)
                fleets.append(Fleet(self._server, options, self._api, has_feed=setup.feed))
            connector = aiohttp.TCPConnector(limit=0)
            jar = aiohttp.DummyCookieJar()
            timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
            async with aiohttp.ClientSession(connector=connector, cookie_jar=jar, timeout=timeout) as http:
                await asyncio.gather(*(fleet.start(http) for fleet in fleets))
                scenes = [
                    Scene(http, self._api, fleet, self._values["leeway"] if setup.issuer else 0.0)
                    for fleet, setup in zip(fleets, SETUPS, strict=True)
                ]
                with_feed = [place for place, setup in enumerate(SETUPS) if setup.feed]
                await self._phase(dict(enumerate(scenes)), LIVE)
                await self._dying({place: scenes[place] for place in with_feed})
                await asyncio.gather(*(fleets[place].notices(http) for place in with_feed))
                await self._phase({place: scenes[place] for place in with_feed}, LOST)
        finally:
            for fleet in fleets:
                fleet.end()

    async def _phase(self, scenes: dict[int, Scene], phase: int) -> None:
        """Measure each by itself, all at the same time."""
        self._next = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for place, scene in scenes.items():
                for line, where, trial in self._trials(place, scene, phase):
                    group.create_task(self._whole(line, where, trial))
                group.create_task(self._control(SETUPS[place], scene, phase))

    async def _dying(self, scenes: dict[int, Scene]) -> None:
        """Prepare all of a fleet, kill its Redis, and revoke all at once."""
        async with asyncio.TaskGroup() as group:
            for place, scene in scenes.items():
                self._next = time.monotonic()
                trials = list(self._trials(place, scene, DIES))
                ready = await asyncio.gather(*(self._prepare(line, where, trial) for line, where, trial in trials))
                scene.fleet.kill_redis()
                for (line, where, trial), is_ready in zip(trials, ready, strict=True):
                    if is_ready:
                        group.create_task(self._revoke(line, where, trial))

    def _trials(self, place: int, scene: Scene, phase: int) -> Iterator[tuple[Line, Where, Trial]]:
        setup = SETUPS[place]
        for where in WHERE:
            for credential in setup.credentials:
                bound = self._bound(setup, scene.fleet, credential, where, phase)
                yield (
                    Line(place, phase, False, credential),
                    where,
                    Requests(scene, where, credential, "/me", bound),
                )
                if setup.fresh:
                    fresh = Requests(scene, where, credential, "/fresh", 0.0)
                    yield Line(place, phase, True, credential), where, fresh
                if credential in ("token", "JWT"):
                    end = self._bound_of_connection(setup, where, phase)
                    opened = Connection(scene, where, credential, end, is_stream=self._is_stream)
                    yield Line(place, phase, False, f"connection by {credential}"), where, opened

    async def _whole(self, line: Line, where: Where, trial: Trial) -> None:
        if await self._prepare(line, where, trial):
            await self._revoke(line, where, trial)

    async def _prepare(self, line: Line, where: Where, trial: Trial) -> bool:
        await self._turn()
        try:
            await trial.prepare()
        except TROUBLE as error:
            self._failed(line, where, error)
            return False
        return True

    async def _revoke(self, line: Line, where: Where, trial: Trial) -> None:
        try:
            self._found.seen.append(One(line, self._server, where, await trial.revoke()))
        except TROUBLE as error:
            self._failed(line, where, error)

    def _failed(self, line: Line, where: Where, error: Exception) -> None:
        self._found.failed.append(f"{self._server}, {line.words}, {line.what}, {where}: {error!r}")

    async def _control(self, setup: Setup, scene: Scene, phase: int) -> None:
        await self._turn()
        answers = await unrevoked(scene, setup.credentials[0], 10.0)
        if set(answers) != {200}:
            words = f"{self._server}, {setup.words}{'; the feed is lost' if phase == LOST else ''}"
            self._found.failed.append(f"{words}: a session that was not revoked was answered {dict(answers)}")

    async def _turn(self) -> None:
        """Wait, so that not all begin in the same moment."""
        self._next += BETWEEN
        await asyncio.sleep(max(0.0, self._next - time.monotonic()))

    def _bound(self, setup: Setup, fleet: Fleet, credential: str, where: Where, phase: int) -> float:
        """What the client says; while the feed is live, its lag holds with every ``on_feed_lost``."""
        lag = fleet.lag["session_token" if setup.is_token(credential) else "session_jwt"]
        if where == "fleet" and setup.feed and phase == LIVE:
            return min(lag["elsewhere"], MAX_LAG)
        return lag[where]

    def _bound_of_connection(self, setup: Setup, where: Where, phase: int) -> float | None:
        """What docs/long-lived.md says. ``None``: the known end of the session."""
        if where == "here":
            return 0.0
        if phase != LIVE and setup.on_feed_lost == "bounded":
            return self._values["feed_lost_bound"]
        return MAX_LAG if where == "fleet" and setup.feed and phase == LIVE else None


async def _measure(servers: list[str], values: dict[str, float]) -> Section:
    found = Found()
    with Api() as api:
        for server in servers:
            try:
                await Bench(server, api, values, found).run()
            except* TROUBLE as errors:
                found.failed += [f"{server}: {error!r}" for error in errors.exceptions]
    section = findings(found)
    section.tables.append(table_of(found, servers, values))
    return section


def measure(quick: bool) -> Section:
    """Run the section; ``quick``: on one server alone."""
    if PROGRAM is None:
        return Section(TITLE, failed=["no redis-server is installed: skipped"])
    return asyncio.run(_measure(list(SERVERS)[: 1 if quick else None], SHORT))


def main() -> None:
    """Print the table; the exit status is 1 where something is over its bound or could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="with the settings of the README's table, up to 305 s")
    parser.add_argument("--server", action="append", choices=list(SERVERS), help="only this one; may be repeated")
    given = parser.parse_args()
    if PROGRAM is None:
        sys.exit("No redis-server (or valkey-server) is installed.")
    began = time.monotonic()
    section = asyncio.run(_measure(given.server or list(SERVERS), FULL if given.full else SHORT))
    report.show(section, time.monotonic() - began)
    sys.exit(not section.goals[0].met)


if __name__ == "__main__":
    main()
