"""From a function that answers with JSON to an HTTP endpoint."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from moonkey_core.emulator.conditions import Conditions
from moonkey_core.emulator.errors import ApiError, invalid
from moonkey_core.emulator.records import Json

Answer = Callable[[Request, bytes], Json | Response]


def json_response(status: int, body: Json, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON response, ASCII only, so that no text can fail to be encoded."""
    return Response(json.dumps(body), status, {"cache-control": "no-store", **(headers or {})}, "application/json")


def error_response(conditions: Conditions, error: ApiError) -> Response:
    """Return an error in its own shape, or in the one that was set for all errors."""
    return json_response(error.status, conditions.error_body(error), error.headers)


def endpoint(conditions: Conditions, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint for a function. It runs under the state's lock and never waits while it has it."""

    async def run(request: Request) -> Response:
        raw = await request.body()
        with conditions.lock:
            try:
                found = answer(request, raw)
                return found if isinstance(found, Response) else json_response(200, found)
            except ApiError as error:
                return error_response(conditions, error)
            except RecursionError:  # a body that the parser took, and that is too deep for what is done with it
                return error_response(conditions, invalid("The body is nested too deeply"))

    return run
