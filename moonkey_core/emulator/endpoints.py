"""From a function that answers with JSON to an HTTP endpoint."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from moonkey_core.emulator.errors import ApiError
from moonkey_core.emulator.records import Json
from moonkey_core.emulator.state import State

Answer = Callable[[Request, bytes], Json | Response]


def json_response(status: int, body: Json) -> Response:
    """Return a JSON response, ASCII only, so that no text can fail to be encoded."""
    return Response(json.dumps(body), status, {"cache-control": "no-store"}, "application/json")


def error_response(state: State, error: ApiError) -> Response:
    """Return an error in its own shape, or in the one that was set for all errors."""
    return json_response(error.status, error.body(state.error_shape))


def endpoint(state: State, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint for a function. It runs under the state's lock and never waits while it has it."""

    async def run(request: Request) -> Response:
        raw = await request.body()
        with state.lock:
            try:
                found = answer(request, raw)
                return found if isinstance(found, Response) else json_response(200, found)
            except ApiError as error:
                return error_response(state, error)

    return run
