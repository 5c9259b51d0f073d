"""All checks, in their order, and what makes a report of them."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import PurePath

from moonkey_core._doctor import browser, redis, service, tokens, variables
from moonkey_core._doctor.lines import Line, Report, for_provider, ok, unseen, wrong
from moonkey_core._doctor.masking import Mask, parts_of, secrets_in, secrets_of
from moonkey_core._doctor.reading import given_in
from moonkey_core._doctor.subject import Asked, Subject, owner_of, subjects_of
from moonkey_core.client import MoonKey
from moonkey_core.errors import ConfigurationError
from moonkey_core.settings import Settings

_README = "The settings are in README.md, each with its variable."
_OF_PROVIDER: tuple[tuple[str, Callable[[Subject], list[Line]]], ...] = (
    ("key", service.check_key),
    ("key set", service.check_key_set),
    ("issuer", tokens.check_tokens),
    ("lifetimes", tokens.check_lifetimes),
    ("clock", service.check_clock),  # last: it uses the replies of the others
)


def examine(load: Callable[[], Settings], asked: Asked, more: Sequence[Callable[[], list[Line]]] = ()) -> Report:
    """Make all checks, and return what they have found. No secret is in it.

    Args:
        load: Returns the settings of the app, or raises what is wrong with them.
        asked: What the user of the command has given.
        more: Further checks, such as those of a framework.
    """
    lines = _run("variables", lambda: variables.check_variables(asked.environ))
    settings: Settings | None = None
    refused = ""
    heard: list[str] = []
    try:
        with _warnings(heard):
            settings = load()
    except ConfigurationError as error:
        refused = str(error)
        lines.append(wrong("settings", refused, _README))
    except Exception as error:  # of a file of settings of the app
        lines.append(_crashed("settings", error))
    lines += [
        wrong("settings", f"{one[:1].upper()}{one[1:]}.", "Correct the name, or remove it.") for one in heard
    ]
    if settings is not None:
        lines += _examined(settings, asked)
    for check in more:
        lines += _run("app", partial(_more, check, refused))
    return Report(tuple(lines)).masked(mask_for(settings, asked))


def _more(check: Callable[[], list[Line]], refused: str) -> list[Line]:
    """Return what a check of a framework finds; no second time the settings that were ``refused``."""
    try:
        return [line for line in check() if not refused or refused not in line.text]
    except ConfigurationError as error:
        if str(error) == refused:
            return [unseen("app", "Its middleware is not looked at before its settings are valid.")]
        return [wrong("app", str(error), "docs/mistakes.md says what helps.")]


@contextmanager
def _warnings(heard: list[str]) -> Iterator[None]:
    """Take what is logged as a warning while settings are read, such as a variable that has no effect."""
    logger = logging.getLogger("moonkey")
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    before, logger.disabled = logger.disabled, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.disabled = before


def mask_for(settings: Settings | None, asked: Asked) -> Mask:
    """Return what masks all secrets that are known, and all texts that look like one."""
    return Mask([*secrets_of(asked.environ), *secrets_in(settings), *parts_of(asked.credential)])


def _examined(settings: Settings, asked: Asked) -> list[Line]:
    try:
        client = MoonKey(settings)
    except ConfigurationError as error:
        return [wrong("settings", str(error), _README)]
    with client:
        lines = [ok("settings", f"They are valid. {_providers(settings)}")]
        subjects = subjects_of(client, asked)
        if asked.credential and client.providers and not owner_of(client, given_in(asked.credential, settings)):
            said = "The given credential belongs to none of the providers, and was shown to none."
            lines.append(unseen("credential", said, "moonkey explain says why."))
        for name, subject in subjects.items():
            found = [line for check, judge in _OF_PROVIDER for line in _run(check, partial(judge, subject))]
            lines += for_provider(found, name) if len(subjects) > 1 else found
        lines += _run("cookies", lambda: browser.check_cookies(settings, asked.url))
        lines += _run("proxies", lambda: browser.check_proxies(settings))
        lines += _run("redis", lambda: redis.check_redis(client))
        return lines + _run("server", browser.check_server)


def _providers(settings: Settings) -> str:
    names = ", ".join(settings.members) or ("moonkey" if settings.provider is None else settings.provider.name)
    return f"Provider: {names}."


def _run(check: str, judge: Callable[[], Iterable[Line]]) -> list[Line]:
    try:
        return list(judge())
    except Exception as error:
        return [_crashed(check, error)]


def _crashed(check: str, error: Exception) -> Line:
    """Return the line for an exception: where it was raised, and not its text, which may hold anything."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return wrong(
        check,
        f"This could not be checked: {type(error).__name__}{place}.",
        "If the place is in your code, mend it there; else please report it.",
    )
