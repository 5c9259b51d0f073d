"""Run a process of the landed version beside one of this version, over one Redis: each has to hear the other.

Run it with the source of the version that is landed, before what goes through Redis is changed in a release::

    git archive <commit> | tar -x -C /tmp/landed
    PYTHONPATH=tests python tests/stored_forms/side_by_side.py /tmp/landed

Each of the two revokes in every way, and the other has to refuse it and nothing else; also after Redis has come
back empty, and in a third process that starts later. The exit status is 1 where that is not so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from moonkey_core.emulator import Emulator, SignedIn
from support.patience import PATIENCE, PATIENT
from support.redis_server import RedisServer
from support.scripted import wait_until

ROOT = Path(__file__).parents[2]
_PROGRAM = """
import json, sys
from moonkey_core import MoonKey, __file__ as source
settings = json.loads(sys.argv[1])
with MoonKey(**settings) as client:
    print(json.dumps(source), flush=True)
    for line in sys.stdin:
        what, given = json.loads(line)
        if what == "accepts":
            answer = client.authenticate({"authorization": f"Bearer {given}"}).is_authenticated
        elif what == "health":
            health = client.health()
            answer = [health.feed, health.unsent]
        else:
            parts, target = what.split("."), client
            for part in parts:
                target = getattr(target, part)
            target(**given)
            answer = None
        print(json.dumps(answer), flush=True)
"""
WAYS: dict[str, Callable[[SignedIn], dict[str, Any]]] = {
    "sessions.revoke": lambda person: {"session_id": person.session_id},
    "sessions.revoke_all": lambda person: {"user_id": person.user_id},
    "revocations.add": lambda person: {"session_id": person.session_id},
    "revocations.add ": lambda person: {"user_id": person.user_id, "issued_before": time.time() + 2},
}
"""By the name of a method, and how a person's session is given to it."""


class Process:
    """A process of the app with the source of one version."""

    def __init__(self, source: Path, settings: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=source,
            env={**os.environ, "PYTHONPATH": str(source)},
            text=True,
        )
        found = self._answer()
        if Path(found).resolve().parents[1] != source.resolve():
            raise RuntimeError(f"it runs {found}, not what is in {source}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def tell(self, what: str, given: object = None) -> Any:
        """Have it do something, and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([what.strip(), given]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process has ended")
        return json.loads(line)

    def is_well(self) -> bool:
        """Whether it hears the feed, and Redis has all that it has revoked; soon."""
        return wait_until(lambda: self.tell("health") == ["live", 0], PATIENCE)

    def accepts(self, person: SignedIn) -> bool:
        """Whether a person's JWT is let in."""
        return bool(self.tell("accepts", person.session_jwt))

    def comes_to(self, person: SignedIn, *, accepts: bool) -> bool:
        """Whether a person's JWT is let in, or refused, in time."""
        return wait_until(lambda: self.accepts(person) is accepts, PATIENCE)


def wrong(landed: Path, new: Path) -> Iterator[str]:
    """Run both, and yield a sentence for each thing that is not as it should be."""
    with ExitStack() as stack:
        redis, emulator = stack.enter_context(RedisServer()), stack.enter_context(Emulator())
        settings: dict[str, Any] = {
            "secret_key": emulator.secret_key,
            "base_url": emulator.base_url,
            "jwt_issuer": emulator.issuer,
            "redis_url": redis.url,
            **PATIENT,
        }
        both = {
            name: stack.enter_context(Process(source, settings))
            for name, source in (("landed", landed), ("new", new))
        }
        if not all(one.is_well() for one in both.values()):
            yield "the feed is not live in both"
            return
        innocent = emulator.sign_in(email="innocent@example.com")
        gone = []
        for revoker, hearer in (("landed", "new"), ("new", "landed")):
            for number, (way, given) in enumerate(WAYS.items()):
                person = emulator.sign_in(email=f"{revoker}{number}@example.com")
                if not all(one.accepts(person) for one in both.values()):
                    yield f"{way} by {revoker}: not accepted before it"
                both[revoker].tell(way, given(person))
                if not both[hearer].comes_to(person, accepts=False):
                    yield f"{way} by {revoker}: not refused by {hearer}"
                if both[revoker].accepts(person):
                    yield f"{way} by {revoker}: not refused by itself"
                gone.append(person)
        yield from _judged(both, gone, innocent, "in the end")
        redis.kill()
        redis.start()
        if not all(one.is_well() for one in both.values()):
            yield "the feed is not live in both after Redis came back empty"
        for name, source in (("a later landed", landed), ("a later new", new)):
            later = stack.enter_context(Process(source, settings))
            if not later.is_well():
                yield f"{name} one does not hear the feed"
            both[name] = later
        yield from _judged(both, gone, innocent, "after Redis came back empty")


def _judged(processes: dict[str, Process], gone: list[SignedIn], innocent: SignedIn, when: str) -> Iterator[str]:
    for name, one in processes.items():
        for person in gone:
            if not one.comes_to(person, accepts=False):
                yield f"{when}, {name} accepts what was revoked"
        if not one.comes_to(innocent, accepts=True):
            yield f"{when}, {name} refuses an innocent user"


def main() -> int:
    """Run it for the source that the command line names."""
    found = list(wrong(Path(sys.argv[1]), ROOT))
    print(*(found or ["each hears the other"]), sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
