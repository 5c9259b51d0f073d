"""``moonkey revoke``: it ends sessions at the provider and in all processes; its exit status says who knows."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from moonkey_core import Client, MoonKey, Settings
from moonkey_core.cli import main
from moonkey_core.emulator import Emulator, OidcEmulator
from support.feeds import begin_long_ago
from support.patience import PATIENCE, PATIENT
from support.redis_server import RedisServer
from support.scripted import wait_until

Run = Callable[..., "Ended"]


class Ended(NamedTuple):
    """What a run of the command has left behind."""

    status: int
    out: str
    error: str


@pytest.fixture
def run(
    emulator: Emulator, server: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """``run("--session", id)``: the command, with the settings of the environment."""
    monkeypatch.setenv("MOONKEY_SECRET_KEY", emulator.secret_key)
    monkeypatch.setenv("MOONKEY_BASE_URL", emulator.base_url)
    monkeypatch.setenv("MOONKEY_JWT_ISSUER", emulator.issuer)
    monkeypatch.setenv("MOONKEY_REDIS_URL", server.url)

    def run(*argv: str) -> Ended:
        try:
            status = main(["revoke", *argv])
        except SystemExit as ended:
            status = int(ended.code or 0)
        shown = capsys.readouterr()
        assert emulator.secret_key not in shown.out + shown.err
        return Ended(status, shown.out, shown.err)

    return run


@pytest.fixture
def other(emulator: Emulator, server: RedisServer) -> Iterator[MoonKey]:
    """Another process of the app, which verifies JWTs by itself."""
    with MoonKey(
        emulator.secret_key,
        base_url=emulator.base_url,
        jwt_issuer=emulator.issuer,
        redis_url=server.url,
        **PATIENT,  # type: ignore[arg-type]
    ) as client:
        assert wait_until(lambda: client.health().feed == "live")
        yield client


def accepts(client: MoonKey, jwt: str) -> bool:
    auth = client.authenticate({"authorization": f"Bearer {jwt}"})
    assert auth.is_authenticated or auth.error is not None
    return auth.is_authenticated


def test_a_session_is_ended_at_the_provider_and_in_the_other_processes(
    run: Run, other: MoonKey, emulator: Emulator
) -> None:
    one, kept = emulator.sign_in(), emulator.sign_in()
    assert accepts(other, one.session_jwt)
    ended = run("--session", one.session_id, "--wait", str(PATIENCE))
    assert (ended.status, ended.out.split(":")[0], ended.error) == (0, "published", "")
    assert one.session_id not in ended.out
    assert wait_until(lambda: not accepts(other, one.session_jwt))
    assert accepts(other, kept.session_jwt)
    assert [session.id for session in other.sessions.list(one.user_id)] == [kept.session_id]


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_session_that_the_provider_does_not_know(run: Run, emulator: Emulator, status: int) -> None:
    """It may be over; but a token in place of an id ends nothing, and the output must not say otherwise."""
    one = emulator.sign_in()
    emulator.dead_session(status)
    for unknown in ("sess_unknown", one.session_token):
        ended = run("--session", unknown, "--wait", str(PATIENCE))
        assert (ended.status, ended.error) == (0, "")
        assert ended.out.startswith("published: The provider knows no such session")
        assert unknown not in ended.out
    ended = run("--session", one.session_id, "--wait", str(PATIENCE))
    assert ended.out.startswith("published: The provider has ended the session.")


def test_all_sessions_of_a_user(run: Run, other: MoonKey, emulator: Emulator) -> None:
    one, two = emulator.sign_in(), emulator.sign_in()
    stranger = emulator.sign_in("someone@example.com")
    assert accepts(other, one.session_jwt)
    ended = run("--user", one.user_id, "--wait", str(PATIENCE))
    assert (ended.status, ended.error) == (0, "")
    assert ended.out.startswith("published: The provider has ended all sessions of the user; 2 were listed.")
    assert wait_until(lambda: not accepts(other, one.session_jwt) and not accepts(other, two.session_jwt))
    assert accepts(other, stranger.session_jwt)
    assert other.sessions.list(one.user_id) == ()


def test_everything_before_a_time_is_refused_only_where_that_is_confirmed(
    run: Run, other: MoonKey, emulator: Emulator
) -> None:
    one = emulator.sign_in()
    held = f"it holds for {other.revocations.retention:.0f} seconds"
    asked = run("--issued-before", "now")
    assert (asked.status, asked.out) == (2, "")
    assert held in asked.error
    assert "--yes" in asked.error
    assert accepts(other, one.session_jwt)
    ahead = str(time.time() + 30)  # JWTs are dated in whole seconds
    ended = run("--issued-before", ahead, "--yes", "--wait", str(PATIENCE))
    assert (ended.status, ended.error) == (0, "")
    assert ended.out.startswith("published: It ends nothing at the provider")
    assert held in ended.out
    assert wait_until(lambda: not accepts(other, one.session_jwt))
    assert [session.id for session in other.sessions.list(one.user_id)] == [one.session_id]


def test_redis_is_away(run: Run, server: RedisServer, emulator: Emulator) -> None:
    one = emulator.sign_in()
    server.kill()
    ended = run("--session", one.session_id, "--wait", "0.1")
    assert (ended.status, ended.out.split(":")[0]) == (3, "pending")
    with MoonKey(emulator.secret_key, base_url=emulator.base_url) as client:
        assert client.sessions.list(one.user_id) == ()
    assert run("--issued-before", "2026-01-01T00:00:00Z", "--yes", "--wait", "0.1").status == 3


def test_there_is_no_feed(run: Run, monkeypatch: pytest.MonkeyPatch, emulator: Emulator) -> None:
    monkeypatch.delenv("MOONKEY_REDIS_URL")
    ended = run("--session", emulator.sign_in().session_id)
    assert (ended.status, ended.out.split(":")[0]) == (4, "local")
    assert "MOONKEY_REDIS_URL" in ended.out
    ended = run("--issued-before", "now", "--yes")
    assert (ended.status, ended.out.split(":")[0]) == (4, "local")
    assert "Nothing was revoked" in ended.out


def test_the_provider_is_away_and_the_other_processes_refuse_it_all_the_same(
    run: Run, other: MoonKey, emulator: Emulator
) -> None:
    one = emulator.sign_in()
    assert accepts(other, one.session_jwt)
    emulator.fault(reset=True)
    ended = run("--session", one.session_id, "--wait", str(PATIENCE))
    assert ended.status == 1
    assert ended.out.startswith("published: The provider has not confirmed it.")
    assert ended.error.startswith("ProviderUnavailable (")
    assert wait_until(lambda: not accepts(other, one.session_jwt))


def test_an_unknown_user_is_no_success(run: Run) -> None:
    ended = run("--user", "user_unknown")
    assert ended.status == 1
    assert ended.error.startswith("NotFound (")


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("--session", "sess_1", "--user", "user_1"),
        ("--session", ""),
        ("--session", "eyJhbGciOiJSUzI1NiJ9.eyJzZWNyZXQiOjF9.c2VjcmV0"),
        ("--session", "sess_1", "--provider", "nobody"),
        ("--session", "sess_1", "--wait", "nan"),
        ("--session", "sess_1", "--wait", "-1"),
        ("--issued-before", "yesterday", "--yes"),
        ("--issued-before", "2026-01-01T00:00:00", "--yes"),
        ("--issued-before", "inf", "--yes"),
        ("--issued-before", "-5", "--yes"),
        ("--issued-before", "9999999999", "--yes"),
    ],
)
def test_a_wrong_command_line(argv: tuple[str, ...], run: Run, server: RedisServer) -> None:
    ended = run(*argv)
    assert (ended.status, ended.out) == (2, "")
    assert "eyJ" not in ended.error
    assert server.client.dbsize() == 0  # nothing was published


def test_a_wrong_setting(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONKEY_REDIS_URL", "nonsense://:secret@here")
    ended = run("--session", "sess_1")
    assert (ended.status, ended.out) == (2, "")
    assert "MOONKEY_REDIS_URL" in ended.error
    assert "secret@" not in ended.error


@pytest.fixture
def several(oidc: OidcEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The app has two providers."""
    monkeypatch.setenv("MOONKEY_PROVIDERS", "moonkey,oidc")
    monkeypatch.setenv("MOONKEY_OIDC_ISSUER", oidc.base_url)
    monkeypatch.setenv("MOONKEY_OIDC_AUDIENCE", "api")
    monkeypatch.setenv("MOONKEY_ON_FEED_LOST", "refuse")
    monkeypatch.setenv("MOONKEY_CACHE_SECRET", "a-long-secret-of-the-fleet-0123456789")


@pytest.mark.usefixtures("several")
def test_several_providers(run: Run, emulator: Emulator) -> None:
    one = emulator.sign_in()
    for what in (("--session", one.session_id), ("--issued-before", "now", "--yes")):
        ended = run(*what)
        assert ended.status == 2
        assert "'moonkey', 'oidc'" in ended.error
    ended = run("--session", one.session_id, "--provider", "moonkey", "--wait", str(PATIENCE))
    assert (ended.status, ended.error) == (0, "")
    ended = run("--issued-before", "now", "--yes", "--provider", "oidc", "--wait", str(PATIENCE))
    assert (ended.status, ended.error) == (0, "")


@pytest.mark.usefixtures("several")
def test_a_provider_by_its_issuer(run: Run, emulator: Emulator, oidc: OidcEmulator) -> None:
    one = emulator.sign_in()
    ended = run("--session", one.session_id, "--issuer", emulator.issuer, "--wait", str(PATIENCE))
    assert (ended.status, ended.error) == (0, "")
    with MoonKey(emulator.secret_key, base_url=emulator.base_url) as client:
        assert client.sessions.list(one.user_id, provider="moonkey") == ()
    ended = run("--issued-before", "now", "--yes", "--issuer", oidc.base_url, "--wait", str(PATIENCE))
    assert (ended.status, ended.error) == (0, "")


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize("what", [("--session", "sess_1"), ("--user", "user_1"), ("--issued-before", "now")])
def test_a_wrong_issuer(
    what: tuple[str, str], run: Run, emulator: Emulator, oidc: OidcEmulator, server: RedisServer
) -> None:
    ended = run(*what, "--yes", "--issuer", "https://stranger.example")
    assert (ended.status, ended.out) == (2, "")
    assert ended.error == (
        "No provider here has the issuer 'https://stranger.example'. There are: "
        f"{emulator.issuer!r}, {oidc.base_url!r}. Nothing was revoked.\n"
    )
    ended = run(*what, "--yes", "--provider", "moonkey", "--issuer", oidc.base_url)
    assert (ended.status, ended.out) == (2, "")
    assert ended.error.startswith(f"'moonkey' has no issuer {oidc.base_url!r}. Its issuers: {emulator.issuer!r}.")
    assert "stream" not in {server.client.type(key).decode() for key in server.client.scan_iter()}


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize("what", ["--session", "--user"])
def test_a_provider_that_ends_no_sessions_needs_a_yes(
    what: str, run: Run, oidc: OidcEmulator, server: RedisServer
) -> None:
    asked = run(what, "some_id", "--issuer", oidc.base_url)
    assert (asked.status, asked.out) == (2, "")
    assert "'oidc' cannot end it" in asked.error
    assert "say --yes to do it" in asked.error
    with MoonKey(redis_url=server.url) as other:
        feed = other.providers["oidc"]
        assert wait_until(lambda: feed.health().feed == "live")
        assert len(feed.revocations) == 0
        ended = run(what, "some_id", "--issuer", oidc.base_url, "--yes", "--wait", str(PATIENCE))
        assert (ended.status, ended.error) == (0, "")
        assert ended.out.startswith("published: It ends nothing at the provider: it holds for ")
        assert wait_until(lambda: len(feed.revocations) == 1)


def test_the_table_is_full(
    run: Run, oidc: OidcEmulator, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PROVIDER": "oidc",
        "OIDC_ISSUER": oidc.base_url,
        "OIDC_AUDIENCE": "api",
        "ON_FEED_LOST": "refuse",
        "CACHE_SECRET": "a-long-secret-of-the-fleet-0123456789",
        "MAX_REVOCATIONS": "1",
    }.items():
        monkeypatch.setenv(f"MOONKEY_{name}", value)
    for name in ("SECRET_KEY", "BASE_URL", "JWT_ISSUER"):
        monkeypatch.delenv(f"MOONKEY_{name}")
    with Client() as other:  # in this process, so it has the table of the command
        other.revocations.add(session_id="sess_1")
        ended = run("--session", "sess_2", "--yes", "--wait", str(PATIENCE))
    assert (ended.status, ended.out) == (1, "")
    assert "no room for one more revocation" in ended.error


@pytest.mark.parametrize("secret", ["", "the-wrong-secret-of-another-fleet"])
def test_a_feed_that_no_process_of_the_app_hears(
    secret: str, run: Run, server: RedisServer, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with another secret than theirs."""
    one = emulator.sign_in()
    begin_long_ago(server, Settings.load({}, os.environ))
    if secret:
        monkeypatch.setenv("MOONKEY_CACHE_SECRET", secret)
    ended = run("--session", one.session_id, "--wait", str(PATIENCE))
    assert (ended.status, ended.out.split(":")[0], ended.error) == (0, "published", "")
    assert ("this command has begun the feed" in ended.out) is bool(secret)
    assert not secret or secret not in ended.out


def test_as_a_module(run: Run, emulator: Emulator) -> None:
    """A process of its own, which ends with what it has published."""
    one = emulator.sign_in()
    argv = [sys.executable, "-m", "moonkey_core", "revoke", "--session", one.session_id, "--wait", str(PATIENCE)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=2 * PATIENCE)
    assert (done.returncode, done.stdout.split(":")[0], done.stderr) == (0, "published", "")
