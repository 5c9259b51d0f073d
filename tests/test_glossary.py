"""Words that were replaced do not come back: in names nowhere, as actors not in docstrings and comments either.

To let a name be, add it to ``KEPT`` with its reason."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("moonkey_core", "moonkey_flask", "moonkey_django", "moonkey_starlette")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md")

REPLACED = {
    "Recall": "VerificationCache",
    "Known": "CacheEntry",
    "KnownCredentials": "VerificationCache",
    "Proof": "Verification",
    "Presented": "PresentedCredentials",
    "CookiePair": "PresentedCredentials",
    "unread_pair": "PresentedCredentials",
    "at_once": "begin, or peek",
    "acquaint": "mark_seen",
    "give_back": "deny, deny_briefly",
    "KeyRing": "JwksCache",
    "calm_key": "cached_key",
    "heads": "known_headers",
    "absorb": "store_result",
    "Inquiry": "Introspector",
    "Asker": "ApiClient",
    "Question": "IntrospectionRequest",
    "Answer": "IntrospectionResult",
    "Sharing": "SingleFlight",
    "Lingering": "ReplyCache",
    "linger": "ttl",
    "lingering": "ttl",
    "Era": "the revocation generation",
    "era": "the revocation generation",
    "Endings": "SessionWatcher",
    "Binding": "WatchedSession",
    "Extension": "SlidingExpiration",
    "Activity": "SlidingExpiration",
    "Attempts": "SlidingWindowCounter",
    "outbox": "publish_queue",
    "essence": "entry_key",
    "refusal_of": "check",
    "looked_at": "accessed",
    "spend_answer": "consume_fresh_answer",
    "watches_requests": "needs_request_info",
    "good_at": "last_accepted_at",
    "as_of": "vouched_at",
    "epoch": "stream_epoch",
    "somebody": "the user, the client, the provider, the request",
    "nobody": "the user, the client, the provider, the request",
    "anybody": "the user, the client, the provider, the request",
    "whoever": "the user, the client, the provider, the request",
}
"""Names that were replaced, whatever underscores they begin with, and what takes their place."""

REPLACED_IN = {
    "moonkey_core/_transport/": {
        "Look": "LoadFromStore",
        "Keep": "SaveToStore",
        "Send": "SendRequest",
        "Try": "Attempt",
        "Watch": "CallMonitor",
        "Line": "PriorityLimiter",
        "Place": "Waiter",
        "come": "enqueue",
        "Pace": "LoopThrottle",
        "share": "coalesce_key",
    },
    "moonkey_core/_verify/": {
        "draw": "take_token",
        "until": "reusable_until",
        "checked_at": "revocations_version",
    },
    "moonkey_core/_session_life/": {"ring": "on_timer", "tell": "notify", "look": "refresh"},
    "moonkey_core/redis/": {"places": "serializer", "audience": "hooks", "register": "hooks"},
}
"""Names that are good words elsewhere, and were replaced in these packages."""

PARTS = {
    "recall",
    "acquaint",
    "linger",
    "lingering",
    "essence",
    "asker",
    "outbox",
    "nobody",
    "somebody",
    "whoever",
}
"""Those that are not to be parts of longer names either, such as ``_recall_of`` or ``AskerError``."""

KEPT = {
    ("moonkey_core/auth.py", "as_of"): "Auth.as_of is public",
    ("moonkey_core/gate.py", "as_of"): "reads Auth.as_of",
    ("moonkey_core/redis/", "epoch"): "the attribute and arguments that hold a StreamEpoch",
    ("moonkey_core/emulator/", "outbox"): "what the emulator has sent out, also in its control interface",
    ("moonkey_core/emulator/", "MAX_OUTBOX"): "the same",
    ("moonkey_core/emulator/", "Answer"): "a reply of the emulator",
    ("moonkey_core/emulator/", "SO_LINGER"): "the socket option",
}
"""Names that are right where they are: in a file, or in a folder and below."""

ACTORS = re.compile(r"\b(?:whoever|whomever|(?:no|some|any|every)body)(?:'s)?\b", re.IGNORECASE)
"""Words for an actor. Plain text names it: the user, the client, the provider, the request, the caller."""


@cache
def sources() -> dict[str, str]:
    files = [path for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted(files)}


@cache
def tokens(path: str) -> tuple[tokenize.TokenInfo, ...]:
    return tuple(tokenize.generate_tokens(io.StringIO(sources()[path]).readline))


def replacement(name: str, path: str = "") -> str | None:
    """What takes the place of a name, if it was replaced: everywhere, or in the package that ``path`` lies in."""
    bare = name.lstrip("_")
    for place, words in REPLACED_IN.items():
        if path.startswith(place) and bare in words:
            return words[bare]
    return replacement_everywhere(bare)


@cache
def replacement_everywhere(bare: str) -> str | None:
    if bare in REPLACED:
        return REPLACED[bare]
    parts = {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", bare)}
    return None if PARTS.isdisjoint(parts) else "another word"


def old_names(path: str) -> Iterator[tuple[int, str, str]]:
    """The replaced names in a file, its own included: the line, the name, and what to write instead."""
    names = [(0, Path(path).stem)] + [
        (one.start[0], one.string) for one in tokens(path) if one.type == tokenize.NAME
    ]
    for line, name in names:
        better = replacement(name, path)
        if better is not None:
            yield line, name.lstrip("_"), better


def is_kept(path: str, name: str) -> bool:
    return any(name == kept and path.startswith(place) for place, kept in KEPT)


def actors(path: str) -> Iterator[tuple[int, str]]:
    """The words for an actor in docstrings and comments of a file, each with its line."""
    for line, text in (*comments(path), *docstrings(path)):
        yield from ((line, word) for word in ACTORS.findall(text))


def comments(path: str) -> Iterator[tuple[int, str]]:
    yield from ((one.start[0], one.string) for one in tokens(path) if one.type == tokenize.COMMENT)


def docstrings(path: str) -> Iterator[tuple[int, str]]:
    """Those of modules, classes and functions, and strings that document what stands above them."""
    for node in ast.walk(ast.parse(sources()[path])):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.lineno, node.value.value


def test_no_replaced_name_comes_back() -> None:
    found = [
        f"{path}:{line}: {name}. Write {better}."
        for path in sources()
        for line, name, better in old_names(path)
        if not is_kept(path, name)
    ]
    assert found == []


def test_nothing_is_kept_that_is_not_there() -> None:
    used = {(path, name) for path in sources() for _, name, _ in old_names(path)}
    unused = [
        (place, kept)
        for place, kept in KEPT
        if not any(name == kept and path.startswith(place) for path, name in used)
    ]
    assert unused == []


def test_documents_name_nothing_that_was_replaced() -> None:
    kept = {name for _, name in KEPT}
    found = [
        (path.name, name)
        for pattern in DOCUMENTS
        for path in ROOT.glob(pattern)
        for code in re.findall(r"`([^`\n]+)`", path.read_text(encoding="utf-8"))
        for name in re.findall(r"[A-Za-z_]\w*", code)
        if replacement(name) is not None and name not in kept
    ]
    assert found == []


def test_docstrings_and_comments_name_their_actors() -> None:
    found = [f"{path}:{line}: {word}" for path in sources() for line, word in actors(path)]
    assert found == []


@pytest.mark.parametrize("name", ["Recall", "_Recall", "_recall_of", "AskerError", "as_of"])
def test_how_a_replaced_name_is_told(name: str) -> None:
    assert replacement(name)


@pytest.mark.parametrize("name", ["CacheEntry", "lines", "Pending", "recalled", "answer", "Line"])
def test_how_any_other_name_is_told(name: str) -> None:
    assert replacement(name) is None


def test_some_names_are_replaced_in_one_package_only() -> None:
    assert replacement("Line", "moonkey_core/_transport/limiter.py") == "PriorityLimiter"
    assert replacement("Line", "moonkey_starlette/responses.py") is None


@pytest.mark.parametrize("text", ["Whoever asks", "nobody", "Somebody's", "for anybody", "EVERYBODY"])
def test_how_actors_are_told(text: str) -> None:
    assert ACTORS.search(text)
    assert not ACTORS.search("the user who signs in; a whole body; antibody")
