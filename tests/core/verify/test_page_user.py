"""Pages have a whole user by default: what is loaded for a pair of cookies, how often, and what trouble does."""

from __future__ import annotations

from typing import Any

import pytest

from moonkey_core import InvalidCredentials
from support.cookie_visits import FRESH, NEW, TOKEN, visit
from support.decisions import replied
from support.scripted_api import KnownToTheApi

GONE = replied(404, {"error_type": "user_not_found"})


def made(**options: Any) -> KnownToTheApi:
    decisions = KnownToTheApi([TOKEN], cookies=True, **options)
    decisions.good[TOKEN] = {"session_token": TOKEN, "session_jwt": NEW}
    return decisions


def loads(decisions: KnownToTheApi) -> int:
    return decisions.calls("/users/")


@pytest.mark.parametrize("jwt", [FRESH, None], ids=["JWT", "token alone"])
def test_a_page_has_the_address(jwt: str | None) -> None:
    decisions = made()
    for _ in range(3):
        auth = visit(decisions, jwt=jwt)
        assert auth.user is not None
        assert (auth.user.id, auth.user.email, auth.user.complete) == ("user_1", "me@example.com", True)


def test_it_is_loaded_once_and_again_when_it_is_old() -> None:
    decisions = made(user_ttl=30)
    for seconds, count in ((0, 1), (10, 1), (19, 1), (2, 2), (1, 2)):
        decisions.now += seconds
        assert visit(decisions, jwt=FRESH).is_authenticated
        assert loads(decisions) == count


def test_what_has_changed_is_seen_when_it_is_old() -> None:
    decisions = made(user_ttl=30)
    assert visit(decisions, jwt=FRESH).is_authenticated
    by_heart = decisions.answer
    changed = replied(200, {"user": {"id": "user_1", "email": "new@example.com"}})
    decisions.answer = lambda fetch: changed if "/users/" in fetch.url else by_heart(fetch)
    decisions.now += 31
    auth = visit(decisions, jwt=FRESH)
    assert auth.user is not None
    assert auth.user.email == "new@example.com"


def test_a_credential_in_a_header_says_only_the_id() -> None:
    decisions = made()
    auth = decisions.read({"authorization": [f"Bearer {FRESH}"]})
    assert auth.user is not None
    assert (auth.user.email, auth.user.complete, loads(decisions)) == (None, False, 0)


@pytest.mark.parametrize(("load_user", "count"), [(False, 0), (True, 2)])
def test_an_app_that_says_so_has_its_way(load_user: bool, count: int) -> None:
    decisions = made(load_user=load_user)
    visit(decisions, jwt=FRESH)
    decisions.read({"authorization": [f"Bearer {FRESH}"]})
    assert loads(decisions) == count


def test_while_the_api_is_down_a_page_has_the_id_and_nobody_is_signed_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    decisions = made()
    decisions.users_down = True
    for _ in range(3):
        auth = visit(decisions, jwt=FRESH)
        assert auth.is_authenticated
        assert auth.user is not None
        assert (auth.user.id, auth.user.complete) == ("user_1", False)
    reasons = [record.reason for record in caplog.records]  # type: ignore[attr-defined]
    assert reasons == ["user_incomplete"]
    assert loads(decisions) == 1  # a page does not wait for it each time
    decisions.users_down = False
    decisions.now += 6
    found = visit(decisions, jwt=FRESH).user
    assert found is not None
    assert found.complete


def test_what_was_known_stays_while_the_api_is_down() -> None:
    decisions = made(user_ttl=30)
    visit(decisions, jwt=FRESH)
    decisions.users_down = True
    decisions.now += 31
    found = visit(decisions, jwt=FRESH).user
    assert found is not None
    assert found.email == "me@example.com"


def test_a_user_that_is_gone_is_signed_out() -> None:
    decisions = made()
    by_heart = decisions.answer
    decisions.answer = lambda fetch: GONE if "/users/" in fetch.url else by_heart(fetch)
    auth = visit(decisions, jwt=FRESH)
    assert isinstance(auth.error, InvalidCredentials)
    assert auth.error.session_is_over


def test_without_cookies_nothing_is_loaded() -> None:
    decisions = KnownToTheApi([TOKEN])
    assert decisions.read({"authorization": [f"Bearer {FRESH}"]}).is_authenticated
    assert loads(decisions) == 0


def test_a_session_in_use_is_extended_all_the_same() -> None:
    decisions = made(extend_on_activity=7 * 86_400)
    for _ in range(3):
        assert visit(decisions, jwt=FRESH).is_authenticated
    extended = [fetch for fetch in decisions.fetches if (fetch.json or {}).get("session_expires_in")]
    assert extended
    assert loads(decisions) == 1
