"""The API with a hand on its answers: chosen ones are kept back until a test lets them go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from moonkey_core.emulator import Emulator
from support import quick
from support.bindings import usual_app
from support.patience import PATIENCE
from support.scripted import Received, reply, scripted

_HANDED_ON = ("authorization", "content-type", "host")


class Relay:
    """Hands calls on to the emulator. An answer to a call that is ``chosen`` waits to be let go.

    ``calls`` are the paths that one site has called, whatever other sites do meanwhile.
    """

    def __init__(self, api: httpx.Client, chosen: Callable[[Received], bool]) -> None:
        self.url = ""
        self.calls: list[str] = []
        self._api = api
        self._chosen = chosen
        self._answered = threading.Event()
        self._may_go = threading.Event()

    def __call__(self, request: Received) -> bytes:
        self.calls.append(request.path)
        is_chosen = self._chosen(request)
        headers = {name: value for name, value in request.headers.items() if name in _HANDED_ON}
        answer = self._api.request(request.method, request.path, headers=headers, content=request.body)
        if is_chosen:
            self._answered.set()
            self._may_go.wait(PATIENCE)
        return reply(answer.status_code, answer.content)

    @property
    def verifications(self) -> int:
        """How often it was asked to verify a session."""
        return self.calls.count("/v1/auth/sessions/verify")

    def has_answered(self) -> bool:
        """Whether the API has given such an answer, which is kept back."""
        return self._answered.wait(PATIENCE)

    def let_go(self) -> None:
        """Hand it over, and keep no other one back."""
        self._may_go.set()


@contextmanager
def relayed(emulator: Emulator, chosen: Callable[[Received], bool] = lambda _: False) -> Iterator[Relay]:
    """Serve one, under its ``url``. The browsers of the tests hold cookies of an app that calls it there."""
    with quick.Client(base_url=emulator.base_url) as api:
        relay = Relay(api, chosen)
        with scripted(relay) as server:
            relay.url = server.url
            usual, usual_app["base_url"] = usual_app["base_url"], server.url
            try:
                yield relay
            finally:
                usual_app["base_url"] = usual
                relay.let_go()
