"""``moonkey revoke``: end a session or all sessions of a user, or refuse what was issued before a time."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from moonkey_core import _clock
from moonkey_core.errors import ConfigurationError, MoonKeyError, NotSupported, RevocationsFull
from moonkey_core.events import Event, UpstreamCall
from moonkey_core.revocations import MAX_CLOCK_AHEAD

if TYPE_CHECKING:
    from moonkey_core import MoonKey
    from moonkey_core.revocations import Revocation, RevocationState

FAILED = 1
"""The provider did not confirm it."""

USAGE = 2
"""The command line or a setting is wrong. Nothing was revoked."""

STATUS: dict[RevocationState, int] = {"published": 0, "pending": 3, "local": 4}
"""The exit status of each verdict."""

_UNKNOWN = (
    "The provider knows no such session: it is over already, or this is not the id of one. A token is no id, and "
    "its session goes on."
)
_UNHEARD = (
    " But this command has begun the feed: no process has used it lately. If the app is running, its processes do "
    "not hear this, as their settings are others: MOONKEY_REDIS_URL, MOONKEY_CACHE_SECRET, MOONKEY_SECRET_KEY and "
    "MOONKEY_BASE_URL say which feed it is."
)
_REFUSALS = range(400, 500)
_POLL_SECONDS = 0.02
_MAX_WAIT = 600.0
_JWT_DOTS = 2
_EPILOG = """\
exit status:
  0  published: every process of the app that hears the feed refuses it
  1  the provider did not confirm it; run the command again
  2  the command line or a setting is wrong; nothing was revoked
  3  pending: Redis did not acknowledge it in time; run the command again
  4  local: there is no feed (MOONKEY_REDIS_URL), so no other process knows

The settings are those of a client: the MOONKEY_* variables of the environment. They have to be those of the app.
"""


def main(argv: list[str] | None = None, *, prog: str = "moonkey revoke") -> int:
    """Run the command and return its exit status; the first word of the output is the verdict."""
    parser = _parser(prog)
    arguments = parser.parse_args(argv)
    from moonkey_core import MoonKey

    try:
        with MoonKey() as client:
            return _run(client, arguments)
    except ConfigurationError as error:
        return _fail(str(error), USAGE)
    except ValueError as error:
        return _fail(f"{error} Nothing was revoked.", USAGE)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="End sessions at the provider, and have all processes of the app refuse them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--session", metavar="ID", type=_id, help="end one session, by its id")
    what.add_argument("--user", metavar="ID", type=_id, help="end all sessions of one user, by their id")
    what.add_argument(
        "--issued-before",
        metavar="TIME",
        type=_moment,
        help="refuse everything issued to any user before then (ISO 8601 with a time zone, Unix seconds, or "
        "'now'); it ends nothing at the provider, holds for a while only, and needs --yes",
    )
    parser.add_argument("--provider", metavar="NAME", help="whose id it is, where the app has several providers")
    parser.add_argument(
        "--issuer",
        metavar="URL",
        type=_id,
        help="the same by one of its issuers, to the last character; needed with an id where it has several",
    )
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=_seconds,
        default=10.0,
        help="how long to wait for Redis to have it (10)",
    )
    parser.add_argument(
        "--yes",
        action="store_true",
        help="do it, although the provider ends nothing: for --issued-before, which signs out all users, and for "
        "the ids of a provider that cannot end sessions",
    )
    return parser


def _id(value: str) -> str:
    if value.count(".") == _JWT_DOTS and value.startswith("eyJ"):
        raise argparse.ArgumentTypeError(
            "this is a JWT, which is not needed here; other users of the machine can read a command line"
        )
    return value


def _moment(value: str) -> float:
    """Return a time in Unix seconds. What is wrong is said without the value."""
    now = _clock.wall()
    try:
        seconds = now if value == "now" else float(value)
    except ValueError:
        seconds = _timestamp(value)
    if not 0 <= seconds <= now + MAX_CLOCK_AHEAD:
        raise argparse.ArgumentTypeError(f"not in the past, nor {MAX_CLOCK_AHEAD:.0f} seconds ahead at most")
    return seconds


def _timestamp(value: str) -> float:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise argparse.ArgumentTypeError("not a time such as 2026-11-30T12:00:00Z") from None
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError("without a time zone: add Z, or an offset such as +01:00")
    return moment.timestamp()


def _seconds(value: str) -> float:
    with_limit = f"not a number of seconds from 0 to {_MAX_WAIT:.0f}"
    try:
        seconds = float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(with_limit) from None
    if not 0 <= seconds <= _MAX_WAIT:
        raise argparse.ArgumentTypeError(with_limit)
    return seconds


def _run(client: MoonKey, arguments: argparse.Namespace) -> int:
    provider = client.revocations.provider_of(arguments.provider, arguments.issuer)
    if arguments.issued_before is not None:
        return _refuse_only(client, provider, arguments)
    added, is_known = _count_entries(client), _watch_replies(client)
    try:
        if arguments.session is not None:
            client.sessions.revoke(session_id=arguments.session, provider=provider)
            done = "The provider has ended the session." if is_known() else _UNKNOWN
        else:
            ended = client.sessions.revoke_all(arguments.user, provider=provider)
            done = f"The provider has ended all sessions of the user; {len(ended)} were listed."
    except ConfigurationError:
        raise
    except NotSupported:  # nothing was done
        return _refuse_only(client, provider, arguments)
    except MoonKeyError as error:
        if added():
            _report(client, arguments.wait, "The provider has not confirmed it.")
        return _fail(f"{type(error).__name__} ({error.reason}): {error}", FAILED)
    return STATUS[_report(client, arguments.wait, done)]


def _refuse_only(client: MoonKey, provider: str, arguments: argparse.Namespace) -> int:
    """Refuse it in the feed alone, as the provider cannot end it, if that was confirmed by ``--yes``."""
    holds = _holds_for(client.providers.get(provider, client))
    if not arguments.yes:
        if arguments.issued_before is None:
            what = f"The provider {provider!r} cannot end it. It can only be refused in the processes of the app"
        else:
            moment = datetime.fromtimestamp(arguments.issued_before, UTC).isoformat(timespec="seconds")
            what = (
                f"This signs out all users: every credential issued before {moment} is refused. It ends nothing "
                "at the provider"
            )
        return _fail(f"{what}: {holds} Nothing was revoked; say --yes to do it.", USAGE)
    if client.health().feed == "none":
        print("local: there is no feed (MOONKEY_REDIS_URL), which this needs. Nothing was revoked.")
        return STATUS["local"]
    try:
        client.revocations.add(
            session_id=arguments.session,
            user_id=arguments.user,
            issued_before=arguments.issued_before,
            provider=provider,
            issuer=arguments.issuer,
        )
    except RevocationsFull as error:
        return _fail(str(error), FAILED)
    return STATUS[_report(client, arguments.wait, f"It ends nothing at the provider: {holds}")]


def _holds_for(client: MoonKey) -> str:
    seconds = client.revocations.retention
    return (
        f"it holds for {seconds:.0f} seconds, until each JWT of that time has expired. After that, the provider's "
        "answer counts again for a session that is not over there."
    )


def _count_entries(client: MoonKey) -> Callable[[], int]:
    """Return a function that counts the revocations of this process from now on."""
    entries: list[Revocation] = []
    for one in client.providers.values() or (client,):
        one.revocations.listeners = (*one.revocations.listeners, entries.append)
    return lambda: len(entries)


def _watch_replies(client: MoonKey) -> Callable[[], bool]:
    """Return a function that says whether the provider's last reply from now on is no refusal, such as 404."""
    statuses = [0]

    def note(event: Event) -> None:
        if isinstance(event, UpstreamCall) and event.status is not None:
            statuses.append(event.status)

    client.hooks.add(note)
    return lambda: statuses[-1] not in _REFUSALS


def _report(client: MoonKey, seconds: float, done: str) -> RevocationState:
    """Wait until Redis has everything, print the verdict, and return it."""
    until = _clock.monotonic() + seconds
    while (health := client.health()).unsent and _clock.monotonic() < until:
        time.sleep(_POLL_SECONDS)
    lag = client.revocation_lag()
    other = max(lag.session_token.elsewhere, lag.session_jwt.elsewhere)
    without = f"the other processes of the app may accept its credentials for up to {other:.0f} seconds."
    if health.feed == "none":
        print(f"local: {done} There is no feed (MOONKEY_REDIS_URL): {without}")
        return "local"
    if health.unsent:
        print(
            f"pending: {done} Redis has not acknowledged it within {seconds:g} seconds: {without} Check "
            "MOONKEY_REDIS_URL and Redis, and run this again."
        )
        return "pending"
    print(
        f"published: {done} Every process of the app that hears the feed refuses it in "
        f"{client.settings.max_revocation_lag:g} seconds at the latest; the others do as on_feed_lost says."
        f"{_UNHEARD if _has_begun_feed(client) else ''}"
    )
    return "published"


def _has_begun_feed(client: MoonKey) -> bool:
    feeds = [one._core.feed for one in client.providers.values() or (client,)]
    return any(feed is not None and feed.has_begun for feed in feeds)


def _fail(message: str, status: int) -> int:
    print(message, file=sys.stderr)
    return status
