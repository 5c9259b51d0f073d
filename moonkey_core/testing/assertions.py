"""Assertions about an app: what it asks of a request, and what it keeps to itself."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

_REDIRECTS = (302, 303, 307)
_SHORTEST_SECRET = 8


def assert_requires_auth(client: Any, path: str, *, method: str = "GET", **request: Any) -> Any:
    """Assert that a path is refused without a credential, and with a wrong one.

    It is refused by 401 with a challenge (RFC 9110 section 11.6.1), or by a redirect of a browser to a page where
    to sign in.

    Args:
        client: A test client of the kit. One that is signed in is used without its credential.
        path: The path.
        method: The method.
        **request: Further arguments of the client's request, such as ``json=``.

    Returns:
        The response to the request without a credential; of an asynchronous client, something to await for it.

    Raises:
        AssertionError: The path is open, or refused otherwise.
    """
    user = getattr(client, "moonkey", None)
    visitor = client if user is None else user.anonymous()
    what = f"{method} {path}"

    def check_wrong(response: Any) -> Any:
        _check_refused(response, f"{what} with a credential that is none")
        return first[0]

    def check(response: Any) -> Any:
        _check_refused(response, f"{what} without a credential")
        first.append(response)
        wrong = {"Authorization": "Bearer none-0123456789abcdef"}
        return _then(_request(visitor, method, path, {**request, "headers": wrong}), check_wrong)

    first: list[Any] = []
    return _then(_request(visitor, method, path, request), check)


def assert_step_up(
    client: Any,
    path: str,
    *,
    factors: Iterable[str] | None = None,
    max_age: timedelta | float | None = None,
    method: str = "GET",
    **request: Any,
) -> Any:
    """Assert that a path asks a signed-in user for a stronger or fresher sign-in (RFC 9470 section 3).

    Args:
        client: A test client that is signed in, without what the path requires.
        path: The path.
        factors: The factors that the challenge has to name, as ``acr_values``.
        max_age: The age of a factor that the challenge has to name, in seconds or as a ``timedelta``.
        method: The method.
        **request: Further arguments of the client's request.

    Returns:
        The response; of an asynchronous client, something to await for it.

    Raises:
        AssertionError: The path is open, or refused otherwise.
    """
    what = f"{method} {path}"

    def check(response: Any) -> Any:
        challenge = str(response.headers.get("WWW-Authenticate", ""))
        seen = f"{what} was answered with {response.status_code} and the challenge {challenge!r}"
        _expect('error="insufficient_user_authentication"' in challenge, f"{seen}, not with one for a step-up.")
        if factors is not None:
            named = re.search(r'acr_values="([^"]*)"', challenge)
            found = set() if named is None else set(named[1].split())
            _expect(found == set(factors), f"{seen}; wanted were the factors {sorted(factors)}.")
        if max_age is not None:
            wanted = max_age.total_seconds() if isinstance(max_age, timedelta) else max_age
            age = re.search(r'max_age="?(\d+)', challenge)
            _expect(age is not None and int(age[1]) == int(wanted), f"{seen}; wanted was max_age={int(wanted)}.")
        return response

    return _then(_request(client, method, path, request), check)


def assert_no_secret(*places: Any, secrets: Iterable[str]) -> None:
    """Assert that none of these secrets stands in a log, an output or any other text.

    Args:
        *places: pytest's ``caplog``, the result of ``capsys.readouterr()``, log records, or texts.
        secrets: The secrets. The method of the kit takes the credentials and keys of the test.

    Raises:
        AssertionError: One is there; the message says where, and not which.
    """
    wanted = sorted({one for one in secrets if len(one) >= _SHORTEST_SECRET})
    for text in (text for place in places for text in _texts(place)):
        for secret in wanted:
            at = text.find(secret)
            if at >= 0:
                before = text[max(0, at - 60) : at]
                raise AssertionError(f"A secret of {len(secret)} characters stands after {before!r}.")


def _texts(place: Any) -> Iterable[str]:
    if isinstance(place, str):
        yield place
        return
    if isinstance(place, bytes):
        yield place.decode("utf-8", "replace")
        return
    records = getattr(place, "records", None)
    if records is not None:
        yield str(place.text)
        for record in records:
            yield from _texts(record)
    elif hasattr(place, "getMessage"):
        yield place.getMessage()
        yield repr({name: value for name, value in vars(place).items() if name != "exc_info"})
        if place.exc_info:
            yield "".join(traceback.format_exception(*place.exc_info))
    elif isinstance(place, Iterable):
        for one in place:
            yield from _texts(one)
    else:
        yield repr(place)


def _expect(condition: bool, message: str) -> None:
    if not condition:  # not by `assert`, which python -O leaves out
        raise AssertionError(message)


def _check_refused(response: Any, what: str) -> None:
    status = response.status_code
    if status in _REDIRECTS:
        return
    _expect(status == 401, f"{what} was answered with {status}, not with 401 or a redirect to a sign-in page.")
    _expect(bool(response.headers.get("WWW-Authenticate")), f"{what} was answered with 401 and no challenge.")


def _request(client: Any, method: str, path: str, request: dict[str, Any]) -> Any:
    if hasattr(client, "open"):  # Flask
        return client.open(path, method=method, **request)
    if hasattr(client, "generic"):  # Django
        send = getattr(client, method.lower(), None)
        return client.generic(method, path, **request) if send is None else send(path, **request)
    return client.request(method, path, **{"follow_redirects": False, **request})


def _then(response: Any, check: Callable[[Any], Any]) -> Any:
    if not inspect.isawaitable(response):
        return check(response)

    async def later() -> Any:
        found = check(await response)
        return await found if inspect.isawaitable(found) else found

    return later()
