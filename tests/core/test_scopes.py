"""Equal ids of two scopes never meet: in tables, in entries of the feed, in what is remembered of a session."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonkey_core import RevocationsFull, Settings, User
from moonkey_core._crypto import Sealer
from moonkey_core._provider import JwtRules, ProviderBase
from moonkey_core._session_life.devices import DeviceMonitor
from moonkey_core._session_life.sliding import SlidingExpiration
from moonkey_core._verified import DEFAULT_SCOPE, Body, CacheEntry, scoped_reader, scoped_user
from moonkey_core.auth import new_auth
from moonkey_core.models import Session
from moonkey_core.providers.moonkey.ids import bare_user_id
from moonkey_core.redis.entries import entry_key, open_entry, seal_entry
from moonkey_core.revocations import Revocation, Revocations, checked_scope, new_table, retention

NOW = 1_800_000_000.0
ONE, TWO = "https://one.example", "https://two.example"
ISSUERS = {ONE: ONE, TWO: TWO}
SEALER = Sealer("a secret of the fleet", "feed")
quick = settings(deadline=None, derandomize=True, max_examples=150)


def table_of(**options: Any) -> Revocations:
    usual = {"retention": 600.0, "clock": lambda: NOW, "provider": "oidc", "scopes": ISSUERS}
    return Revocations(**{**usual, **options})


def moonkey(**options: Any) -> Revocations:
    return table_of(provider="moonkey", scopes=None, key_of_user=bare_user_id, **options)


ADDED: dict[str, Callable[[Revocations, str], object]] = {
    "session": lambda table, scope: table.add(session_id="1", issuer=scope),
    "user": lambda table, scope: table.add(user_id="1", issuer=scope),
    "user but one session": lambda table, scope: table.add(user_id="1", keep="other", issuer=scope),
    "all users": lambda table, scope: table.add(issued_before=NOW, issuer=scope),
    "cutoff": lambda table, scope: table.add_cutoff("1", scope=scope),
}
every_kind = pytest.mark.parametrize("add", ADDED.values(), ids=ADDED)


@every_kind
def test_what_is_revoked_in_one_scope_is_not_in_another(add: Callable[[Revocations, str], object]) -> None:
    table = table_of()
    add(table, ONE)
    assert table.refuses("1", "1", NOW - 60, ONE)
    assert not table.refuses("1", "1", NOW - 60, TWO)
    assert not table.refuses("1", "1", None, DEFAULT_SCOPE)
    assert not table.needs_introspection("1", "1", NOW, scope=TWO)
    add(table, TWO)
    assert table.refuses("1", "1", NOW - 60, TWO)


def test_a_report_is_about_one_scope() -> None:
    table = table_of()
    table.add_report(session_id="1", scope=ONE)
    assert table.reported_until("1", ONE) >= NOW
    assert table.reported_until("1", TWO) == -math.inf
    assert not table.needs_introspection("1", "1", NOW - 1, NOW - 1, TWO)
    unknown = table_of()  # nobody knows whose it is: each that it may be has to be confirmed
    unknown.add_report(session_id="1")
    assert [unknown.reported_until("1", scope) >= NOW for scope in (ONE, TWO)] == [True, True]


def test_the_session_of_a_dead_credential_is_one_of_its_scope() -> None:
    table, digest = table_of(), "0" * 32
    table.note_session([digest], "1", TWO)
    table.add_report(credentials=[digest])
    assert table.reported_until("1", TWO) >= NOW
    assert table.reported_until("1", ONE) == -math.inf


def test_only_moonkey_has_two_spellings_of_a_user() -> None:
    ours, other = moonkey(), table_of()
    ours.add(user_id="user_1")
    assert ours.refuses("s", "1", None)
    other.add(user_id="user_1", issuer=ONE)
    assert other.refuses("s", "user_1", None, ONE)
    assert not other.refuses("s", "1", None, ONE)


IDS = st.sampled_from(["1", "user_1", "user_user_1", "auth0|1", "é", "a b"])
SCOPES = st.sampled_from([DEFAULT_SCOPE, ONE, TWO])


@st.composite
def revocations(draw: st.DrawFn) -> Revocation:
    scope, kind = draw(SCOPES), draw(st.sampled_from(["session", "user", "all", "cutoff", "report"]))
    at = NOW - draw(st.integers(0, 200))
    if kind == "session":
        return Revocation(draw(IDS), None, None, at, scope=scope)
    if kind == "report":
        return Revocation(draw(IDS), None, None, at, confirm_before=at, scope=scope)
    if kind == "all":
        return Revocation(None, None, at, at, scope=scope)
    kept, until = draw(st.none() | IDS), at + 5 if kind == "cutoff" else None
    return Revocation(None, draw(IDS), at, at, kept, until, scope=scope)


@pytest.mark.long
@quick
@given(st.lists(revocations(), max_size=8), st.sampled_from([bare_user_id, lambda user_id: user_id]))
def test_a_table_from_the_entries_of_another_judges_alike(entries: list[Revocation], key_of_user: Any) -> None:
    one, other = (table_of(key_of_user=key_of_user) for _ in range(2))
    for entry in entries:
        one.record(entry)
    for entry in one.entries():
        other.receive(open_entry(SEALER, "stream", seal_entry(SEALER, "stream", entry)))
    for scope in (DEFAULT_SCOPE, ONE, TWO):
        for an_id in ("1", "user_1", "user_user_1", "auth0|1", "é", "a b"):
            for at in (NOW - 300, NOW - 100, NOW - 50, NOW, None):
                facts = ("1", an_id, at) if at != NOW else (an_id, "1", at)
                assert one.refuses(*facts, scope) == other.refuses(*facts, scope)
                assert one.needs_introspection(*facts, at, scope) == other.needs_introspection(*facts, at, scope)
    keys = {entry_key(entry, key_of_user) for entry in one.entries()}
    assert keys == {entry_key(entry, key_of_user) for entry in other.entries()}


@quick
@given(revocations())
def test_the_scope_stands_in_an_entry_unless_it_is_moonkeys(entry: Revocation) -> None:
    sealed = seal_entry(SEALER, "stream", entry)
    content = json.loads(SEALER.open("stream", sealed))
    assert content.get("scope") == (None if entry.scope == DEFAULT_SCOPE else entry.scope)
    assert open_entry(SEALER, "stream", sealed) == entry
    assert len(content["entry"]) == 4


@pytest.mark.parametrize("scope", ["", "a b", "a#b", "é", "x" * 256, 1, None, ["moonkey"], "a\n"])
def test_an_entry_of_no_scope_is_not_read(scope: object) -> None:
    content = {"entry": ["s", None, None, NOW], "scope": scope}
    with pytest.raises(ValueError, match="scope"):
        open_entry(SEALER, "stream", SEALER.seal("stream", json.dumps(content).encode()))
    with pytest.raises(ValueError, match="scope"):
        checked_scope(scope)


class TestWhoseItIs:
    def test_one_issuer_need_not_be_named(self) -> None:
        table = table_of(scopes={ONE: ONE})
        table.add(session_id="1")
        table.add(user_id="2", provider="oidc", issuer=ONE)
        assert table.refuses("1", "x", NOW, ONE)
        assert table.refuses("1", "x", NOW)
        assert table.refuses("x", "2", NOW, ONE)

    def test_of_several_one_is_named(self) -> None:
        table = table_of()
        entries: list[dict[str, Any]] = [{"session_id": "1"}, {"user_id": "1"}]
        for entry in entries:
            with pytest.raises(ValueError, match="issuer=") as raised:
                table.add(**entry)
            assert ONE in str(raised.value)
        table.add(issued_before=NOW)  # all of them
        assert [table.refuses("1", "1", NOW, scope) for scope in (ONE, TWO)] == [True, True]

    def test_an_unknown_name_is_an_error(self) -> None:
        table = table_of()
        with pytest.raises(ValueError, match="no provider 'okta' here; there is 'oidc'"):
            table.add(session_id="1", provider="okta", issuer=ONE)
        with pytest.raises(ValueError, match="no issuer 'https://three"):
            table.add(session_id="1", issuer="https://three.example")
        with pytest.raises(ValueError, match="no issuer"):
            moonkey().add(session_id="1", issuer=ONE)
        assert len(table) == 0

    def test_two_forms_of_an_issuer_are_one_scope(self) -> None:
        table = table_of(scopes={"https://v1.example/": "tenant", "https://v2.example": "tenant"})
        table.add(session_id="1", issuer="https://v1.example/")
        table.add(session_id="2")
        assert table.refuses("1", "x", NOW, "tenant")
        assert table.refuses("2", "x", NOW, "tenant")

    def test_moonkey_may_be_named(self) -> None:
        table = moonkey()
        table.add(session_id="1", provider="moonkey")
        assert table.refuses("1", "x", NOW)


class TestFull:
    """A table of a provider that cannot be asked."""

    def full(self, **options: Any) -> Revocations:
        table = table_of(maxsize=2, raises_when_full=True, scopes={ONE: ONE}, **options)
        table.add(session_id="s1")
        table.add(user_id="u2")
        return table

    def test_the_call_raises_and_nothing_else_happens(self, caplog: pytest.LogCaptureFixture) -> None:
        table = self.full()
        told: list[Revocation] = []
        table.listeners = (told.append,)
        version = table.version
        entries: list[dict[str, Any]] = [{"session_id": "s3"}, {"user_id": "u3"}]
        for entry in entries:
            with pytest.raises(RevocationsFull, match="max_revocations") as raised:
                table.add(**entry)
            assert (raised.value.status, raised.value.reason) == (500, "too_many_revocations")
        with pytest.raises(RevocationsFull):
            table.add_cutoff("u4")
        assert (table.version, len(table), told) == (version, 2, [])
        assert table.refuses("s1", "x", NOW)
        assert table.refuses("x", "u2", NOW)
        assert not table.refuses("s3", "u3", NOW - 300)
        assert not table.is_precautionary("s1", "x", NOW)
        assert caplog.text == ""

    def test_what_is_known_may_be_said_again(self) -> None:
        table = self.full()
        table.add(session_id="s1")
        table.add(user_id="u2")
        table.add(issued_before=NOW - 100)  # one entry, which needs no room
        assert table.refuses("x", "y", NOW - 100)

    def test_what_another_process_had_room_for_is_taken_in(self) -> None:
        table = self.full()
        for number in range(5):
            table.receive(Revocation(f"r{number}", None, None, NOW, scope=ONE))
            table.receive(Revocation(None, f"r{number}", NOW, NOW, scope=ONE))
        assert table.refuses("s1", "x", NOW)
        assert table.refuses("x", "u2", NOW)
        assert all(table.refuses(f"r{number}", "x", NOW) for number in range(5))
        assert all(table.refuses("x", f"r{number}", NOW) for number in range(5))
        assert not table.refuses("x", "y", NOW - 300)

    def test_there_is_room_again_once_entries_are_over(self) -> None:
        now = [NOW]
        table = self.full(clock=lambda: now[0])
        now[0] += 601
        table.add(session_id="s3")
        assert table.refuses("s3", "x", NOW)
        assert not table.refuses("s1", "x", NOW)

    def test_a_feed_without_room_counts_too(self) -> None:
        table = table_of(raises_when_full=True, scopes={ONE: ONE})
        table.is_feed_full = True
        with pytest.raises(RevocationsFull):
            table.add(session_id="s1")
        table.add(issued_before=NOW)
        table.is_feed_full = False
        table.add(session_id="s1")

    def test_with_a_provider_to_ask_it_refuses_too_much_as_ever(self) -> None:
        table = table_of(maxsize=1)
        table.add(session_id="s1", issuer=ONE)
        table.add(session_id="s2", issuer=TWO)
        for scope in (ONE, TWO):
            assert table.refuses("any", "any", NOW, scope)
            assert table.is_precautionary("any", "any", NOW, scope)


class OneOfTwo(ProviderBase):
    name = "oidc"
    jwt_rules: JwtRules | None = JwtRules(issuers=(ONE,), audience=("api",), longest_life=7200.0, leeway=30.0)


def settings_of(**options: Any) -> Settings:
    return Settings.load({"secret_key": "sk_test_x", **options}, {})


class TestTheTableOfAProvider:
    def test_remembers_for_the_longest_life(self) -> None:
        assert retention(settings_of(), OneOfTwo()) == 7200 + 2 * 30
        assert retention(settings_of(leeway=45), OneOfTwo()) == 7200 + 2 * 45
        provider = OneOfTwo()
        provider.jwt_rules = None
        assert retention(settings_of(leeway=0), provider) == 86_400
        plain = JwtRules(issuers=(ONE,), audience=("api",))
        provider.jwt_rules = plain
        assert retention(settings_of(leeway=0), provider) == 86_400

    def test_raises_when_full_unless_it_can_be_asked(self) -> None:
        provider = OneOfTwo()
        table = new_table(settings_of(), provider)
        assert (table.provider, table.scopes, table.raises_when_full) == ("oidc", (ONE,), True)
        provider.capabilities = frozenset({"introspect"})
        assert not new_table(settings_of(), provider).raises_when_full

    def test_scopes_are_the_issuers_else_the_name(self) -> None:
        provider = OneOfTwo()
        assert provider.scopes == {ONE: ONE}
        provider.jwt_rules = None
        assert provider.scopes == {"oidc": "oidc"}


class _Reader:
    def user(self, body: Body) -> User:
        return User("1")

    def session(self, body: Body) -> Session:
        return Session("1", "1", datetime.fromtimestamp(NOW + 600, UTC))


def entry_of(scope: str) -> CacheEntry:
    return CacheEntry(
        body=b"{}",
        reader=scoped_reader(_Reader(), scope),
        session_id="1",
        user_id="1",
        issued_at=NOW,
        starts_at=NOW,
        reusable_until=NOW + 600,
        vouched_at=NOW,
        ends_at=NOW + 600,
        last_accepted_at=NOW,
        started_at=NOW,
        scope=scope,
    )


class TestWhatIsRemembered:
    def test_a_user_has_the_scope(self) -> None:
        users = [entry_of(scope).user() for scope in (DEFAULT_SCOPE, ONE, TWO)]
        assert [user.scope for user in users] == [DEFAULT_SCOPE, ONE, TWO]
        assert len({*users}) == 3
        assert [user.to_dict() for user in users] == [users[0].to_dict()] * 3
        assert scoped_user(users[0], ONE) == users[1]
        assert new_auth(entry_of(ONE)).scope == ONE
        assert new_auth().scope == ""

    def test_a_device_is_one_of_its_session(self) -> None:
        devices = DeviceMonitor(settings_of())
        found = []
        for scope in (ONE, TWO, ONE):
            auth = new_auth(entry_of(scope))
            devices.changed(auth, lambda name: ["ua"] if name == "user-agent" else [], None)
            found.append(len(devices._seen))
        assert found == [1, 2, 2]

    def test_an_end_is_one_of_its_session(self) -> None:
        sliding = SlidingExpiration(settings_of(), lambda: NOW)
        sliding.record_end("1", NOW + 9000, ONE)
        for scope, ends_at in ((ONE, NOW + 9000), (TWO, NOW + 600), (DEFAULT_SCOPE, NOW + 600)):
            entry = entry_of(scope)
            sliding.update_end(entry)
            assert entry.ends_at == ends_at
