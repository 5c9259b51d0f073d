"""The short way of a usual request decides as the strict one, whatever its headers and the memory are."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from moonkey_core import Auth, Settings
from moonkey_core._verify.authenticator import Pending
from moonkey_core._verify.jwks_cache import KeySet
from moonkey_core.auth import from_cookies, peek_error, scheme_hint
from moonkey_core.errors import ProviderUnavailable
from moonkey_core.gate import AS_FRESH_AS_POSSIBLE, Requirements
from moonkey_core.web.credentials import pair_text, read_credentials, usual_names
from moonkey_core.web.request import (
    HeaderNames,
    HeaderView,
    RequestInfo,
    asgi_headers,
    mapped_headers,
    sole_line,
    wsgi_headers,
)
from support.bindings import bound_lines
from support.decisions import NOW, Decisions
from support.odd_jwts import claims, good, header, sign
from support.visitors import JWT as JWT_COOKIE
from support.visitors import SESSION

Lines = list[tuple[str, str]]
Begun = Auth | Pending

GET = RequestInfo("GET", "https", "192.0.2.1")
JWT, NEW = good(NOW), good(NOW, sub="user_2", session={"id": "sess_2", "user_id": "user_2"})
FORGED = sign(header(), claims(NOW), "foreign")
TOKEN = "t" * 40


# The headers


def as_wsgi(lines: Lines) -> HeaderView:
    """Repeated lines are joined, as servers do."""
    environ: dict[str, Any] = {}
    for name, value in lines:
        key = "HTTP_" + name.upper().replace("-", "_")
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return wsgi_headers(environ)


def as_asgi(lines: Lines) -> HeaderView:
    return asgi_headers([(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines])


def as_function(lines: Lines) -> HeaderView:
    return lambda wanted: [value for name, value in lines if name.lower() == wanted]


KINDS: dict[str, Callable[[Lines], HeaderView]] = {
    "wsgi": as_wsgi,
    "asgi": as_asgi,
    "mapping": lambda lines: mapped_headers(dict(lines)),
    "function": as_function,
}
OWN = ("authorization", "session-token", "x-session")
ALL_NAMES = (
    *(*OWN, "Authorization", "AUTHORIZATION", "authorizatio\xf1", "authorisation", "Session-Token", "X-Session"),
    *("x-authorization", "proxy-authorization", "host", "accept", "x-sessions", "cookie", "", "\xc4"),
)
TEXTS = st.sampled_from([JWT, NEW, FORGED, TOKEN, f"session_{TOKEN}", JWT[:-1], f"{JWT}=", "a" * 2000, "", "a.b"])
BEFORE = st.sampled_from(["Bearer ", "bearer ", "Bearer", "Bearer  ", "Bearer\t", " Bearer ", "Basic ", ""])
AFTER = st.sampled_from(["", " ", "\t", "\x00", "\xe9", "\r\n", ",", f", Bearer {JWT}", f"\n{JWT}", f" {JWT}"])
VALUES = st.one_of(
    st.just(f"Bearer {JWT}"),
    st.builds("{}{}{}".format, BEFORE, TEXTS, AFTER),
    st.builds(f"{SESSION}={{}}; {JWT_COOKIE}={{}}".format, TEXTS, TEXTS),
    st.text("Bear e\t,\n\xe4\x00=", max_size=9),
)
ALL_LINES = st.lists(st.tuples(st.sampled_from(ALL_NAMES), VALUES), max_size=5)
SETTINGS: list[dict[str, Any]] = [
    {"max_credential_length": 1500, **more}
    for more in (
        {},
        {"cookies": True},
        {"credential_headers": ["x-session", "authorization", "session-token"]},
        {"credential_headers": ["session-token"]},
        {"credential_headers": ["authorization"], "cookies": True},
        {"refresh_jwt": False, "session_cache_ttl": 60},
    )
]


def expected_line(view: HeaderView, settings: Settings) -> bytes | None:
    """What ``sole_line`` is to find, by asking for each header of its own."""
    found = [(name, line) for name in settings.credential_headers for line in view(name)]
    if not found:
        return b""
    name, line = found[0]
    return line.encode("latin-1") if len(found) == 1 and name == "authorization" and line else None


@pytest.mark.rule("S3")
@given(st.sampled_from(sorted(KINDS)), ALL_LINES, st.sampled_from(SETTINGS))
@example("asgi", [("authorization", "Bearer a"), ("Authorization", "Bearer a")], SETTINGS[0])
@example("mapping", [("authorization", "Bearer a"), ("Authorization", "Bearer a")], SETTINGS[0])
def test_all_headers_are_looked_at(kind: str, lines: Lines, chosen: dict[str, Any]) -> None:
    view, settings = KINDS[kind](lines), Settings.load({"secret_key": "sk_test_x", **chosen}, {})
    names = usual_names(settings)
    assert names is not None
    found, expected = sole_line(view, names), expected_line(view, settings)
    if found is not None and not found.isascii():  # a text and bytes differ then, and no such line is usual
        assert expected is not None
        assert not expected.isascii()
    else:
        assert found == expected


@pytest.mark.rule("S3")
@pytest.mark.parametrize("value", [b"Bearer a", 7, "\udc80"])
def test_what_is_no_text_is_no_usual_line(value: Any) -> None:
    names = HeaderNames("authorization", ("authorization", "session-token"))
    for view in (wsgi_headers({"HTTP_AUTHORIZATION": value}), mapped_headers({"Authorization": value})):
        found = sole_line(view, names)
        assert found is None or not found.isascii()


def test_headers_are_as_they_were_when_the_view_was_made() -> None:
    lines = [(b"authorization", b"Bearer a")]
    view = asgi_headers(lines)
    lines.append((b"authorization", b"Bearer b"))
    assert list(view("authorization")) == ["Bearer a"]
    assert sole_line(view, HeaderNames("authorization", ("authorization",))) == b"Bearer a"


# The decision


class Memory:
    """One client that remembers a JWT, and can be asked twice about it with the same memory."""

    def __init__(self, **options: Any) -> None:
        self.made = Decisions(**options)
        for credential in (JWT, TOKEN):
            self.made.authenticate(f"Bearer {credential}", "authorization")
        self._entries = self.made.core.cache._entries
        self._kept = dict(self._entries)

    @property
    def entry(self) -> Any:
        return next(iter(self._kept.values()))

    def _reset(self) -> None:
        self._entries.clear()
        self._entries.update({digest: copy.copy(entry) for digest, entry in self._kept.items()})

    def both(
        self, view: HeaderView, requirements: Requirements | None = None, info: RequestInfo | None = GET
    ) -> tuple[tuple[object, ...], tuple[object, ...]]:
        """What the short way says, and what is said of a credential that was read by the strict reader."""
        core = self.made.core
        self._reset()
        usual = told(core.begin(view, requirements, info))
        self._reset()
        read = read_credentials(view, info, core.settings, check=False)
        return usual, told(core.begin(view, requirements, info, read))


class PairMemory(Memory):
    """One client that remembers a cookie pair, and the line of cookies that it stood in."""

    def __init__(self, **options: Any) -> None:
        self.made = Decisions(cookies=True, **options)
        self.lines = bound_lines([f"theme=dark; {SESSION}={TOKEN}; {JWT_COOKIE}={JWT}"], self.made.settings)
        for _ in range(2):
            self.made.read({"cookie": self.lines}, None, GET)
        self._entries = self.made.core.cache._entries
        self._kept = dict(self._entries)


def told(found: Begun) -> tuple[object, ...]:
    """All that a request can tell by."""
    if isinstance(found, Pending):
        entry, shown = found.entry, found.presented
        known = None if entry is None else (entry.session_id, entry.key_set is None)
        facts = (shown.value, shown.source, shown.cached_jwt, shown.kind, shown.is_checked)
        said = None if found.verification is None else (found.verification.source, found.verification.vouched_at)
        return ("pending", found.digest, found.token_digest, found.jwt is None, known, facts, said)
    error = peek_error(found)
    return (
        *(found.state, found.source, found.as_of, from_cookies(found), scheme_hint(found)),
        *(type(error), getattr(error, "reason", None), getattr(error, "session_is_over", None)),
        *(found.user and found.user.id, found.session and found.session.id),
    )


@pytest.fixture(scope="module")
def memories() -> list[Memory]:
    return [Memory(**chosen) for chosen in SETTINGS]


@pytest.mark.rule("S2", "S3")
@given(number=st.integers(0, len(SETTINGS) - 1), kind=st.sampled_from(sorted(KINDS)), lines=ALL_LINES)
@example(number=0, kind="wsgi", lines=[("authorization", f"Bearer {JWT}")])
@example(number=0, kind="asgi", lines=[("authorization", f"Bearer {JWT}"), ("session-token", "")])
@example(number=5, kind="wsgi", lines=[("authorization", f"Bearer session_{TOKEN}")])
def test_it_decides_as_the_strict_way(memories: list[Memory], number: int, kind: str, lines: Lines) -> None:
    usual, strict = memories[number].both(KINDS[kind](lines))
    assert usual == strict


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_taken(kind: str, memories: list[Memory], monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(*_: object) -> None:
        raise AssertionError("a usual request was read by the strict reader")

    monkeypatch.setattr("moonkey_core._verify.authenticator.read_credentials", unexpected)
    monkeypatch.setattr("moonkey_core._verify.authenticator.Authenticator._if_accepted", unexpected)
    for name in ("authorization", "Authorization"):
        auth = memories[0].made.core.begin(KINDS[kind]([("host", "a"), (name, f"Bearer {JWT}")]), None)
        assert isinstance(auth, Auth)
        assert auth.source == "cache"


@pytest.mark.rule("S2")
def test_a_line_with_the_text_of_a_remembered_pair_is_no_credential() -> None:
    made = Decisions(cookies=True, load_user=False)
    info = {"cookie": [f"{SESSION}={TOKEN}; {JWT_COOKIE}={JWT}"]}
    assert made.read(info, None, GET).is_authenticated
    assert made.read(info, None, GET).source == "cache"
    line = f"Bearer {pair_text(TOKEN, JWT, made.settings)}"
    for view in KINDS.values():
        auth = made.core.begin(view([("authorization", line)]), None, GET)
        assert isinstance(auth, Auth)
        assert getattr(peek_error(auth), "reason", None) == "malformed_credentials"
    assert bound_lines(info["cookie"], made.settings)


# The state of what is remembered


class Feed:
    """A feed that is up or down."""

    is_starting = False

    def __init__(self, is_live: bool) -> None:
        self.is_live = is_live

    def known_for(self) -> float:
        return 0.0 if self.is_live else 500.0


def _without_key(memory: Memory) -> None:
    keys, now = memory.made.core.keys, memory.made.now
    keys.current = KeySet({}, now, 600.0, 600.0)


def _again(memory: Memory) -> None:
    keys, now = memory.made.core.keys, memory.made.now
    assert keys.current is not None
    keys.current = KeySet(keys.current.keys, now, 600.0, 600.0)


def _stale_keys(memory: Memory) -> None:
    keys, now = memory.made.core.keys, memory.made.now
    assert keys.current is not None
    keys.current = KeySet(keys.current.keys, now - 700.0, 600.0, 600.0)


def _no_keys(memory: Memory) -> None:
    memory.made.core.keys.current = None


def _confirmed_each_time(memory: Memory) -> None:
    memory.entry.needs_introspection = True


CHANGES: dict[str, Callable[[Memory], object]] = {
    "nothing": lambda _: None,
    "the session revoked": lambda one: one.made.core.revocations.add(session_id=one.entry.session_id),
    "the user revoked": lambda one: one.made.core.revocations.add(user_id=one.entry.user_id),
    "another revoked": lambda one: one.made.core.revocations.add(session_id="sess_other"),
    "reported": lambda one: one.made.core.revocations.add_report(session_id=one.entry.session_id),
    "key gone": _without_key,
    "key set fetched again": _again,
    "key set too old": _stale_keys,
    "no key set": _no_keys,
    "denied": lambda one: one.made.core.cache.deny(one.made.core.cache.digest(JWT)),
    "another denied": lambda one: one.made.core.cache.deny(one.made.core.cache.digest("other")),
    "to be confirmed": _confirmed_each_time,
}
REQUIRED = [
    *(None, Requirements(), Requirements(max_staleness=0), Requirements(max_staleness=20)),
    *(Requirements(max_staleness=10_000), AS_FRESH_AS_POSSIBLE),
]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"grace_seconds": 60},
    {"load_user": True},
    {"refresh_jwt": False},
    *(
        {"on_feed_lost": how, "feed": up}
        for how in ("refuse", "remote", "local", "bounded")
        for up in (True, False)
    ),
]


@pytest.mark.rule("S2")
@given(
    options=st.sampled_from(OPTIONS),
    change=st.sampled_from(sorted(CHANGES)),
    after=st.sampled_from([0.0, 0.0, -3600.0, 250.0, 301.0, 305.0, 90_000.0]),
    requirements=st.sampled_from(REQUIRED),
    kind=st.sampled_from(sorted(KINDS)),
)
def test_it_accepts_what_the_strict_way_accepts(
    options: dict[str, Any], change: str, after: float, requirements: Requirements | None, kind: str
) -> None:
    memory = Memory(**{**options, **({"feed": Feed(True)} if "feed" in options else {})})
    assume(memory._kept)
    if "feed" in options:
        feed: Any = memory.made.core.feed
        feed.is_live = options["feed"]
    memory.made.now += after
    CHANGES[change](memory)
    usual, strict = memory.both(KINDS[kind]([("authorization", f"Bearer {JWT}")]), requirements)
    assert usual == strict
    if change == "the session revoked" and after == 0.0:
        assert "authenticated" not in usual


OF_PAIRS: dict[str, Callable[[Memory], object]] = {
    **CHANGES,
    "its token dead": lambda one: one.made.core.cache.mark_dead(one.made.core.cache.digest(TOKEN)),
    "its token denied": lambda one: one.made.core.cache.deny(one.made.core.cache.digest(TOKEN)),
    "forgotten": lambda one: one._kept.clear(),
}


@pytest.mark.rule("S2")
@given(
    options=st.sampled_from([*OPTIONS, {"load_user": False}]),
    change=st.sampled_from(sorted(OF_PAIRS)),
    after=st.sampled_from([0.0, 0.0, -3600.0, 250.0, 301.0, 305.0, 90_000.0]),
    requirements=st.sampled_from(REQUIRED),
    info=st.sampled_from([GET, None, GET._replace(method="POST"), GET._replace(is_websocket=True)]),
    kind=st.sampled_from(["wsgi", "asgi", "mapping", "function"]),
    more=st.sampled_from([[], [("cookie", "a=b")], [("authorization", "Bearer x")], [("authorization", "")]]),
)
@example({"load_user": False}, "nothing", 0.0, None, GET, "wsgi", [])
@example({"load_user": False}, "its token dead", 0.0, None, GET, "wsgi", [])
def test_a_known_line_of_cookies_decides_as_the_strict_way(
    options: dict[str, Any],
    change: str,
    after: float,
    requirements: Requirements | None,
    info: RequestInfo | None,
    kind: str,
    more: Lines,
) -> None:
    memory = PairMemory(**{**options, **({"feed": Feed(True)} if "feed" in options else {})})
    assume(memory._kept)
    if options.get("load_user") is False:
        (digest,), (line,) = memory._kept, memory.made.core.cache._pairs.items()
        assert line[1] == digest
        assert len(line[0]) == 16
    if "feed" in options:
        feed: Any = memory.made.core.feed
        feed.is_live = options["feed"]
    memory.made.now += after
    OF_PAIRS[change](memory)
    usual, strict = memory.both(KINDS[kind]([("cookie", memory.lines[0]), *more]), requirements, info)
    assert usual == strict


def test_a_refusal_of_the_usual_way_is_that_of_the_strict_one() -> None:
    """With the settings that refuse each JWT while the feed is lost."""
    memory = Memory(on_feed_lost="refuse", feed=Feed(True))
    feed: Any = memory.made.core.feed
    view = as_wsgi([("authorization", f"Bearer {JWT}")])
    assert memory.both(view)[0][0] == "authenticated"
    feed.is_live = False
    usual, strict = memory.both(view)
    assert usual == strict
    assert usual[5] is ProviderUnavailable
