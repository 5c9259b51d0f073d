"""While a secret is being changed, what was sealed or digested with the previous one still counts."""

from __future__ import annotations

from typing import Any

import pytest

from moonkey_core import ConfigurationError, CookieSettings, RequestRefused, Settings
from moonkey_core._crypto import fleet_sealer, rotating_sealer, secrets_of
from moonkey_core._plan import run
from moonkey_core.flows.sealed_cookies import open_cookie, seal_cookie
from moonkey_core.web.binding import is_binding, make_binding
from support.bindings import BINDING, JWT, SESSION, binding
from support.cookie_visits import FRESH, GET, NEW, OLD, TOKEN
from support.decisions import replied
from support.scripted_api import KnownToTheApi

FIRST, SECOND, THIRD = ("sk_test_" + letter * 30 for letter in "abc")
ONE, TWO, OTHER = (letter * 20 for letter in "xyz")

# Settings before the change, during it, and after it.
CHANGES: dict[str, tuple[dict[str, str], dict[str, str], dict[str, str]]] = {
    "the secret key": (
        {"secret_key": FIRST},
        {"secret_key": SECOND, "previous_secret_key": FIRST},
        {"secret_key": SECOND},
    ),
    "the cache secret": (
        {"cache_secret": ONE},
        {"cache_secret": TWO, "previous_cache_secret": ONE},
        {"cache_secret": TWO},
    ),
    "the cache secret, beside a changed key": (
        {"secret_key": FIRST, "cache_secret": ONE},
        {
            "secret_key": SECOND,
            "previous_secret_key": FIRST,
            "cache_secret": TWO,
            "previous_cache_secret": ONE,
        },
        {"secret_key": SECOND, "cache_secret": TWO},
    ),
    "the first cache secret": (
        {"secret_key": FIRST},
        {"secret_key": FIRST, "cache_secret": TWO, "previous_cache_secret": FIRST},
        {"secret_key": FIRST, "cache_secret": TWO},
    ),
    "no cache secret any more": (
        {"secret_key": FIRST, "cache_secret": ONE},
        {"secret_key": FIRST, "previous_cache_secret": ONE},
        {"secret_key": FIRST},
    ),
}
change = pytest.mark.parametrize("names", CHANGES)


def settings_of(given: dict[str, str], **more: Any) -> Settings:
    return Settings.load({"secret_key": THIRD, "cookies": CookieSettings(), **given, **more}, {})


def three(name: str) -> tuple[Settings, Settings, Settings]:
    before, during, after = CHANGES[name]
    return settings_of(before), settings_of(during), settings_of(after)


@change
@pytest.mark.rule("S37", "S48")
def test_what_is_sealed(names: str) -> None:
    before, during, after = three(names)
    old, new = rotating_sealer(before, "x").seal("name", b"old"), rotating_sealer(during, "x").seal("name", b"new")
    assert rotating_sealer(during, "x").open("name", old) == b"old"
    assert rotating_sealer(during, "x").open("name", new) == b"new"
    assert rotating_sealer(after, "x").open("name", new) == b"new"  # sealed with the current one
    for settings, sealed in ((after, old), (before, new)):
        with pytest.raises(ValueError, match="not sealed by us"):
            rotating_sealer(settings, "x").open("name", sealed)
    for wrong in (("other", old), ("name", old[:-1]), ("name", b"")):
        with pytest.raises(ValueError, match="not sealed by us"):
            rotating_sealer(during, "x").open(*wrong)


@change
@pytest.mark.rule("S48")
def test_the_cookies_of_a_sign_in(names: str) -> None:
    before, during, after = three(names)

    def read(settings: Settings, cookie: str) -> dict[str, str] | None:
        line = cookie.partition(";")[0]
        return open_cookie(lambda name: [line] if name == "cookie" else [], settings, "otp")

    old, new = (seal_cookie(one, "otp", {"a": "b"}) for one in (before, during))
    assert read(during, old) == read(during, new) == read(after, new) == {"a": "b"}
    assert read(after, old) is None
    assert read(before, new) is None


@change
@pytest.mark.rule("S40")
def test_the_binding_of_a_pair(names: str) -> None:
    before, during, after = three(names)
    old, new = make_binding("pair", before), make_binding("pair", during)
    assert old != new == make_binding("pair", after)
    assert is_binding(old, "pair", during)
    assert is_binding(new, "pair", during)
    assert not is_binding(old, "pair", after)
    assert not is_binding(new, "pair", before)
    assert not is_binding(make_binding("another", before), "pair", during)


@change
@pytest.mark.rule("S40", "S45")
def test_a_browser_keeps_its_jwt_and_gets_the_next_one_bound_anew(names: str) -> None:
    before, during, after = (
        KnownToTheApi(cookies=True, **{"secret_key": THIRD, **given}) for given in CHANGES[names]
    )
    for one in (before, during, after):
        one.good[TOKEN] = {"session_token": TOKEN, "session_jwt": NEW}

    def visit(decisions: KnownToTheApi, jwt: str, proof: str) -> str:
        line = f"{SESSION}={TOKEN}; {JWT}={jwt}; {BINDING}={proof}"
        return decisions.read({"cookie": [line]}, None, GET).source

    assert visit(during, FRESH, binding(TOKEN, FRESH, before.settings)) == "local"
    assert visit(during, OLD, binding(TOKEN, OLD, before.settings)) == "remote"
    assert visit(after, NEW, binding(TOKEN, NEW, during.settings)) == "local"
    assert visit(after, FRESH, binding(TOKEN, FRESH, before.settings)) == "remote"  # it costs a call
    assert (during.asked, after.asked) == (1, 1)


def test_which_secrets_there_are() -> None:
    for before, during, after in map(three, CHANGES):
        assert secrets_of(during) == (*secrets_of(after), *secrets_of(before))
    assert len(secrets_of(settings_of({"secret_key": FIRST, "previous_secret_key": FIRST}))) == 1
    both = {"secret_key": SECOND, "previous_secret_key": FIRST, "cache_secret": ONE}
    assert [one.fleet.reveal() for one in secrets_of(settings_of(both))] == [ONE, ONE]


@pytest.mark.rule("S37")
def test_a_leaked_key_opens_nothing_that_another_secret_protects() -> None:
    """The previous secret key does not count where ``cache_secret`` was in use."""
    settings = settings_of({"secret_key": SECOND, "previous_secret_key": FIRST, "cache_secret": ONE})
    forged = fleet_sealer(settings_of({"secret_key": FIRST}), "x")
    with pytest.raises(ValueError, match="not sealed by us"):
        rotating_sealer(settings, "x").open("name", forged.seal("name", b"data"))
    assert not rotating_sealer(settings, "x").is_digest(forged.digest("value"), "value")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("previous_secret_key", "pk_test_x", "public key"),
        ("previous_secret_key", " sk_test_x", "white space"),
        ("previous_cache_secret", "short", "16 characters"),
    ],
)
def test_they_are_checked_like_the_current_ones(name: str, value: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}.*{message}") as error:
        settings_of({name: value})
    assert value.strip() not in str(error.value).replace(name, "")


def test_they_come_from_the_environment_and_are_never_shown() -> None:
    variables = {
        "MOONKEY_SECRET_KEY": FIRST,
        "MOONKEY_PREVIOUS_SECRET_KEY": SECOND,
        "MOONKEY_PREVIOUS_CACHE_SECRET": ONE,
    }
    settings = Settings.load({}, variables)
    assert [one.fleet.reveal() for one in secrets_of(settings)] == [FIRST, ONE]
    for secret in (FIRST, SECOND, ONE):
        assert secret not in repr(settings)
    with pytest.raises(ConfigurationError, match="holds the secret key"):
        settings_of({"previous_secret_key": SECOND}, jwks_url=f"https://api.moonkey.fun/x?k={SECOND}")


def test_the_previous_key_is_neither_sent_nor_repeated() -> None:
    from moonkey_core._operations import sessions
    from moonkey_core._transport.messages import request_headers

    decisions = KnownToTheApi(secret_key=FIRST, previous_secret_key=SECOND)
    decisions.answer = lambda _: replied(400, {"error_type": "bad", "error_message": f"no {SECOND} {FIRST}"})
    with pytest.raises(RequestRefused) as error:
        run(sessions.list_sessions(decisions.core, "user_1"), decisions.exchange)
    for secret in (FIRST, SECOND):
        assert secret not in str(error.value)
        assert secret[len("sk_test_") :] not in str(error.value)
    assert SECOND not in repr(request_headers(decisions.fetches[0]))
