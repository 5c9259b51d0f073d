"""What is remembered of a credential after a method of the client has found its session over, or is not sure.

A request that comes next sees the same as one that had asked itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from moonkey_core import InvalidCredentials, MoonKeyError, RequestRefused
from moonkey_core._operations import logins
from moonkey_core._operations import sessions as operations
from moonkey_core._operations.core import Core
from moonkey_core._plan import Fetch, Outcome, Plan, RevokingPlan, run
from moonkey_core.web.request import RequestInfo
from support.decisions import NOW, replied, verified_body
from support.odd_jwts import good
from support.scripted_api import KnownToTheApi

BARE = "t" * 40
TOKEN = f"session_{BARE}"
JWT, OLD = good(NOW - 20), good(NOW - 400)
GET = RequestInfo("GET", "https")
CERTAIN: dict[str, Outcome] = {
    "flat": replied(404, {"error_type": "invalid_session"}),
    "nested": replied(401, {"error": {"code": "invalid_session", "message": "no"}}),
    "deleted": replied(200, verified_body(session={"deleted": True})),
    "deleted at": replied(200, verified_body(session={"deleted_at": int(NOW) - 60})),
    "past its end": replied(200, verified_body(session={"expires_at": int(NOW) - 60})),
}
NOT_CERTAIN: dict[str, Outcome] = {
    "another code": replied(404, {"error_type": "maintenance"}),
    "no code": replied(400, {"error": {"message": "no"}}),
    "an uncoded 401": replied(401),
}
TROUBLE: dict[str, Outcome] = {
    "down": replied(503),
    "a page": replied(404, b"<html>"),
    "a mix-up": replied(200, verified_body(user={"id": "user_2"}, session_token=TOKEN)),
    "not understood": replied(200, {"session": {"id": 5}}),
    "the wrong key": replied(403, {"error_type": "forbidden"}),
    "our plan": replied(402, {"error_type": "payment"}),
}


class Told(KnownToTheApi):
    """Everything is good until the API is told to say otherwise of sessions."""

    def __init__(self, **options: Any) -> None:
        usual = {"session_cache_ttl": 60, "grace_seconds": 60, "cookies": True}
        super().__init__([BARE, TOKEN, JWT, OLD], **{**usual, **options})
        self.verdict: Outcome | None = None
        self.answer = self.say

    def say(self, fetch: Fetch) -> Outcome:
        if fetch.operation == "key-probe":
            return replied(404, {"error_type": "user_not_found"})
        return self.by_heart(fetch) if self.verdict is None or self.down else self.verdict

    def learns(self, verdict: Outcome, call: Callable[[Core], Plan[Any]]) -> MoonKeyError:
        """The error of a method of the client, whose call gets this answer."""
        self.verdict = verdict
        with pytest.raises(MoonKeyError) as caught:
            run(call(self.core), self.exchange)
        self.verdict = None
        return caught.value


PRESENTED: dict[str, dict[str, list[str]]] = {
    "header": {"session-token": [TOKEN]},
    "bearer": {"authorization": [f"Bearer {TOKEN}"]},
    "bare": {"authorization": [f"Bearer {BARE}"]},
    "cookie": {"cookie": [f"__Host-moonkey_session={TOKEN}"]},
    "bare cookie": {"cookie": [f"__Host-moonkey_session={BARE}"]},
    "with junk": {"cookie": [f"__Host-moonkey_session={TOKEN}; __Host-moonkey_jwt=a.b.c"]},
}

WITH_THE_TOKEN: dict[str, Callable[[Core], Plan[Any]]] = {
    "sessions.verify": lambda core: operations.verify(core, session_token=TOKEN),
    "sessions.verify, bare": lambda core: operations.verify(core, session_token=BARE),
    "sessions.verify, extending": lambda core: operations.verify(core, session_token=TOKEN, extend=60),
    "otps.verify": lambda core: logins.verify_otp(core, "123456", method_id="em_1", session_token=TOKEN),
    "otps.verify, by email": lambda core: logins.verify_otp(core, "123456", email="a@b.c", session_token=BARE),
    "magic_links.verify": lambda core: logins.verify_magic_link(core, "t", session_token=TOKEN),
    "oauth.verify": lambda core: logins.verify_oauth(core, token="t", session_token=TOKEN),
    "totps.verify": lambda core: logins.verify_totp(core, "123456", user_id="user_1", session_token=TOKEN),
    "wallets.verify": lambda core: logins.verify_wallet(
        core, wallet_type="e", public_address="0", signature="0", session_token=TOKEN
    ),
}
CODES = ("flat", "nested")  # all that the reply to a login can say of a session that was given


def ways(names: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, way) for name in names for way in CERTAIN if way in CODES or name.startswith("sessions.")]


class TestAToken:
    @pytest.mark.parametrize(("method", "way"), ways(WITH_THE_TOKEN))
    def test_a_session_that_is_certainly_over(self, method: str, way: str) -> None:
        for headers in PRESENTED.values():
            decisions = Told()
            assert decisions.read(headers, None, GET).is_authenticated
            assert decisions.read(headers, None, GET).source == "cache"
            error = decisions.learns(CERTAIN[way], WITH_THE_TOKEN[method])
            assert isinstance(error, InvalidCredentials)
            assert error.session_is_over
            asked = decisions.asked
            auth = decisions.read(headers, None, GET)
            assert auth.is_rejected, headers
            assert isinstance(auth.error, InvalidCredentials)
            assert auth.error.session_is_over
            assert decisions.asked == asked  # that, too, is remembered for a moment
            decisions.down = True
            decisions.core.cache._denied_briefly.clear()
            assert decisions.read(headers, None, GET).is_unavailable, headers  # no grace either

    @pytest.mark.parametrize("method", WITH_THE_TOKEN)
    def test_one_that_nobody_has_presented_before(self, method: str) -> None:
        decisions = Told()
        assert isinstance(decisions.learns(CERTAIN["flat"], WITH_THE_TOKEN[method]), InvalidCredentials)
        for headers in PRESENTED.values():
            assert decisions.read(headers, None, GET).is_rejected
        assert decisions.asked <= 1

    @pytest.mark.parametrize("method", WITH_THE_TOKEN)
    def test_its_session_may_go_on_with_another_token(self, method: str) -> None:
        """One that was replaced is as dead as one that was ended: what its session is, others have to say."""
        decisions = Told()
        assert decisions.authenticate(TOKEN).is_authenticated
        decisions.learns(CERTAIN["flat"], WITH_THE_TOKEN[method])
        assert not decisions.core.revocations.refuses("sess_1", "user_1", NOW - 60)
        assert decisions.authenticate(JWT).is_authenticated

    @pytest.mark.parametrize("method", [name for name in WITH_THE_TOKEN if name.startswith("sessions.")])
    @pytest.mark.parametrize("way", NOT_CERTAIN)
    def test_a_refusal_that_is_not_certain(self, method: str, way: str) -> None:
        """Nothing is remembered any more, neither as good nor as bad: who comes next has it asked about."""
        for headers in PRESENTED.values():
            decisions = Told()
            assert decisions.read(headers, None, GET).is_authenticated
            assert isinstance(decisions.learns(NOT_CERTAIN[way], WITH_THE_TOKEN[method]), InvalidCredentials)
            assert len(decisions.core.cache._denied_briefly) == 0
            decisions.down = True
            assert decisions.read(headers, None, GET).is_unavailable
            decisions.down = False
            assert decisions.read(headers, None, GET).source == "remote"

    @pytest.mark.parametrize("method", WITH_THE_TOKEN)
    @pytest.mark.parametrize("way", TROUBLE)
    def test_trouble_takes_nothing_away(self, method: str, way: str) -> None:
        for headers in PRESENTED.values():
            decisions = Told()
            assert decisions.read(headers, None, GET).is_authenticated
            assert not isinstance(decisions.learns(TROUBLE[way], WITH_THE_TOKEN[method]), InvalidCredentials)
            assert decisions.read(headers, None, GET).source == "cache"

    @pytest.mark.parametrize("method", [name for name in WITH_THE_TOKEN if not name.startswith("sessions.")])
    def test_a_wrong_code_takes_nothing_away(self, method: str) -> None:
        for headers in PRESENTED.values():
            decisions = Told()
            assert decisions.read(headers, None, GET).is_authenticated
            error = decisions.learns(replied(400, {"error_type": "invalid_otp"}), WITH_THE_TOKEN[method])
            assert isinstance(error, InvalidCredentials)
            assert not error.session_is_over
            assert decisions.read(headers, None, GET).source == "cache"

    def test_a_length_that_is_refused_takes_nothing_away(self) -> None:
        decisions = Told()
        assert decisions.authenticate(TOKEN).is_authenticated

        def say(fetch: Fetch) -> Outcome:
            extends = "session_expires_in" in (fetch.json or {})
            return replied(400, {"error_type": "invalid_duration"}) if extends else decisions.by_heart(fetch)

        decisions.answer = say
        with pytest.raises(RequestRefused):
            run(WITH_THE_TOKEN["sessions.verify, extending"](decisions.core), decisions.exchange)
        assert decisions.authenticate(TOKEN).source == "cache"


WITH_THE_JWT: dict[str, Callable[[Core], Plan[Any]]] = {
    "sessions.verify": lambda core: operations.verify(core, session_jwt=JWT),
    "sessions.verify, extending": lambda core: operations.verify(core, session_jwt=JWT, extend=60),
    "otps.verify": lambda core: logins.verify_otp(core, "123456", method_id="em_1", session_jwt=JWT),
    "magic_links.verify": lambda core: logins.verify_magic_link(core, "t", session_jwt=JWT),
    "oauth.verify": lambda core: logins.verify_oauth(core, code="t", session_jwt=JWT),
    "totps.verify": lambda core: logins.verify_totp(core, "123456", user_id="user_1", session_jwt=JWT),
    "wallets.verify": lambda core: logins.verify_wallet(
        core, wallet_type="e", public_address="0", signature="0", session_jwt=JWT
    ),
}


class TestAJwt:
    @pytest.mark.parametrize("header", ["session-token", "authorization"])
    @pytest.mark.parametrize(("method", "way"), [one for one in ways(WITH_THE_JWT) if one[0] != "sessions.verify"])
    def test_one_that_is_verified_here(self, method: str, way: str, header: str) -> None:
        """Whatever it says of itself, and whatever others of its session do."""
        decisions = Told()
        for source in ("local", "cache"):
            assert decisions.read(presented(JWT, header)).source == source
        assert isinstance(decisions.learns(CERTAIN[way], WITH_THE_JWT[method]), InvalidCredentials)
        for jwt in (JWT, good(NOW - 5)):
            auth = decisions.read(presented(jwt, header))
            assert auth.is_rejected
            assert decisions.known(presented(jwt, header)) is not None  # nobody has to be asked
        decisions.down = True
        decisions.core.cache._denied_briefly.clear()
        assert not decisions.read(presented(JWT, header)).is_authenticated

    @pytest.mark.parametrize(("method", "way"), ways(WITH_THE_JWT))
    def test_one_that_is_asked_about(self, method: str, way: str) -> None:
        decisions = Told(jwt_issuer="")
        for source in ("remote", "cache"):
            assert decisions.authenticate(JWT).source == source
        assert isinstance(decisions.learns(CERTAIN[way], WITH_THE_JWT[method]), InvalidCredentials)
        asked = decisions.asked
        assert decisions.authenticate(JWT).is_rejected
        assert decisions.asked == asked
        decisions.down = True
        decisions.core.cache._denied_briefly.clear()
        assert decisions.authenticate(JWT).is_unavailable

    @pytest.mark.parametrize("method", [name for name in WITH_THE_JWT if not name.startswith("sessions.")])
    def test_one_that_nobody_has_presented_before(self, method: str) -> None:
        decisions = Told(jwt_issuer="")
        assert isinstance(decisions.learns(CERTAIN["flat"], WITH_THE_JWT[method]), InvalidCredentials)
        assert decisions.authenticate(JWT).is_rejected
        assert decisions.asked == 0

    @pytest.mark.parametrize("way", TROUBLE)
    @pytest.mark.parametrize("method", [name for name in WITH_THE_JWT if name != "sessions.verify"])
    def test_trouble_takes_nothing_away(self, method: str, way: str) -> None:
        decisions = Told()
        assert decisions.authenticate(JWT).is_authenticated
        assert not isinstance(decisions.learns(TROUBLE[way], WITH_THE_JWT[method]), InvalidCredentials)
        assert decisions.authenticate(JWT).source == "cache"

    @pytest.mark.parametrize("method", [name for name in WITH_THE_JWT if not name.startswith("sessions.")])
    def test_one_that_was_just_replaced_ends_no_session(self, method: str) -> None:
        decisions = Told()
        assert decisions.authenticate(JWT).is_authenticated
        known = decisions.core.cache
        known.mark_superseded(known.digest(JWT))
        decisions.learns(CERTAIN["flat"], WITH_THE_JWT[method])
        assert decisions.authenticate(good(NOW - 5)).is_authenticated

    @pytest.mark.parametrize("method", [name for name in WITH_THE_JWT if not name.startswith("sessions.")])
    def test_nor_does_one_whose_time_is_over(self, method: str) -> None:
        for after in (280, 400):  # it was issued 20 s before, and is good for 300
            decisions = Told()
            assert decisions.authenticate(JWT).is_authenticated
            decisions.now += after
            decisions.learns(CERTAIN["flat"], WITH_THE_JWT[method])
            decisions.good[good(decisions.now)] = {}
            assert decisions.authenticate(good(decisions.now)).is_authenticated  # as the API confirms

    def test_an_old_one_is_renewed_by_nobody_afterwards(self) -> None:
        decisions = Told()
        error = decisions.learns(CERTAIN["flat"], lambda core: operations.verify(core, session_jwt=OLD))
        assert isinstance(error, InvalidCredentials)
        asked = decisions.asked
        assert decisions.authenticate(OLD).is_rejected
        assert decisions.asked == asked
        assert decisions.authenticate(JWT).is_authenticated  # the session may go on with this one


def presented(credential: str, header: str) -> dict[str, list[str]]:
    return {header: [f"Bearer {credential}" if header == "authorization" else credential]}


ENDS: dict[str, Callable[[Core], RevokingPlan[Any]]] = {
    "by its id": lambda core: operations.revoke(core, session_id="sess_1"),
    "by its token": lambda core: operations.revoke(core, session_token=TOKEN),
    "by its JWT": lambda core: operations.revoke(core, session_jwt=JWT),
    "with all of the user's": lambda core: operations.revoke_all(core, "user_1"),
}


@pytest.mark.parametrize("end", ENDS)
def test_whatever_ends_a_session_ends_what_is_remembered_of_it(end: str) -> None:
    seen = {**PRESENTED, "jwt": {"session-token": [JWT]}, "pair": pair(JWT), "pair with an old one": pair(OLD)}
    session = verified_body()["session"]
    for name, headers in seen.items():
        decisions = Told()
        for changes in decisions.good.values():
            changes["session"] = {"started_at": int(NOW) - 3600}

        def say(fetch: Fetch, decisions: Told = decisions) -> Outcome:
            if fetch.method == "DELETE":
                return replied(200, {})
            return replied(200, {"sessions": [session]}) if "list" in fetch.url else decisions.by_heart(fetch)

        decisions.answer = say
        assert decisions.read(headers, None, GET).is_authenticated
        run(ENDS[end](decisions.core), decisions.exchange)
        assert not decisions.read(headers, None, GET).is_authenticated, name
        decisions.down = True
        assert not decisions.read(headers, None, GET).is_authenticated, name


def pair(jwt: str) -> dict[str, list[str]]:
    return {"cookie": [f"__Host-moonkey_session={TOKEN}; __Host-moonkey_jwt={jwt}"]}
