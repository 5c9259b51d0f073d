"""Session tokens are written with and without ``session_``: one token, wherever two are compared."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import Auth, InvalidCredentials, MalformedCredentials, ProviderUnavailable, Settings
from moonkey_core._verify.cache import VerificationCache
from moonkey_core.emulator import Emulator
from moonkey_core.web import credentials
from moonkey_core.web.credentials import PresentedCredentials, is_jwt, one_cookie
from moonkey_core.web.request import RequestInfo
from support.clients import Both
from support.decisions import NOW, Decisions, replied, verified_body
from support.flow_visits import Visitor, flow_client, json_of
from support.odd_jwts import good
from support.scripted_api import DEAD, KnownToTheApi
from support.secrets import assert_no_secret
from support.visitors import SESSION

PREFIX = "session_"
bare_token = partial(credentials.bare_token, prefix=PREFIX)
same_token = partial(credentials.same_token, prefix=PREFIX)
TOKEN = "vy9YGpubKjVn98cw1nT25Msj7jaIpHBinUfD45KLdAOgn9NqEuE4qGHOEchEG5Ue"
PREFIXED = f"session_{TOKEN}"
SPELLINGS = (TOKEN, PREFIXED)
GET = RequestInfo("GET", "https")
TOKENS = st.from_regex(r"(session_){0,3}[A-Za-z0-9\-._~+/]{0,12}=?", fullmatch=True)


class TestOneToken:
    @pytest.mark.long
    @given(TOKENS, TOKENS)
    def test_exactly_one_prefix_makes_no_difference(self, one: str, other: str) -> None:
        """Against the definition: equal, or one is the other with ``session_`` in front."""
        equal = one == other or (one and f"session_{one}" == other) or (other and f"session_{other}" == one)
        both = [text for text in (one, other) if text.startswith("session_session_")]
        if not any(is_jwt(bare_token(text)) for text in (one, other)) and not both:
            assert same_token(one, other) == bool(equal)

    @given(TOKENS)
    def test_it_is_an_equivalence(self, one: str) -> None:
        assert same_token(one, one)
        assert bare_token(one) in (one, one.removeprefix("session_"))
        assert bare_token(one) or not one

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("session_", ""),
            ("session_session_X", "X"),
            ("session_session_X", "session_X"),
            ("Session_X", "X"),
            ("xsession_X", "X"),
            ("session-X", "X"),
            ("session_X", "session_Y"),
            ("session_X", "x"),
            (f"session_{good(NOW)}", good(NOW)),
        ],
    )
    def test_these_are_two(self, one: str, other: str) -> None:
        assert not same_token(one, other)
        assert not same_token(other, one)

    @pytest.mark.rule("S31")
    @pytest.mark.rule("S33", "token", "pair")
    def test_what_stands_for_them(self) -> None:
        def pair(token: str, jwt: str | None = None) -> str:
            return PresentedCredentials(token, "cookie", jwt, token_prefix=PREFIX).text

        known = VerificationCache(Settings.load({"secret_key": "sk_test_x"}, {}))
        texts = ["X", "session_session_X", "session_", "Y", "session_session_session_X", good(NOW)]
        texts.append(f"session_{good(NOW)}")
        digests = [known.digest(text) for text in texts]
        digests += [known.text_digest(pair(text, good(NOW))) for text in texts]
        assert len(set(digests)) == len(digests)
        assert known.digest("session_X") == known.digest("X") == known.text_digest(pair("session_X"))
        assert known.text_digest(pair("session_X", "j")) == known.text_digest(pair("X", "j"))
        for text in (*texts, "session_X", "session_session_session_session_X"):
            digest, _ = known.find(f"Bearer {text}".encode())  # as the line came, with its prefix
            assert digest == known.digest(text) or digest not in digests


@pytest.mark.parametrize("echoed", SPELLINGS, ids=["bare", "prefixed"])
@pytest.mark.parametrize("presented", SPELLINGS, ids=["bare", "prefixed"])
class TestTheApiEchoes:
    def made(self, echoed: str, **options: Any) -> KnownToTheApi:
        decisions = KnownToTheApi(**options)
        decisions.good = {spelling: {"session_token": echoed} for spelling in SPELLINGS}
        return decisions

    @pytest.mark.rule("S23", "token", "pair")
    @pytest.mark.parametrize("header", ["session-token", "cookie"])
    def test_either(self, presented: str, echoed: str, header: str) -> None:
        decisions = self.made(echoed, cookies=True)
        decisions.good["another"] = {"session_token": PREFIXED}

        def visit(token: str) -> Auth:
            return decisions.read({header: [f"{SESSION}={token}" if header == "cookie" else token]}, None, GET)

        assert visit(presented).is_authenticated
        assert (decisions.asked, decisions.fetches[0].json) == (1, {"session_token": presented})
        error = visit("another").error
        assert isinstance(error, ProviderUnavailable)
        assert error.reason == "api_mismatch"

    @pytest.mark.rule("S33")
    def test_what_was_good_is_remembered_for_both(self, presented: str, echoed: str) -> None:
        decisions = self.made(echoed, session_cache_ttl=60)
        assert decisions.authenticate(presented).source == "remote"
        assert [decisions.authenticate(one).source for one in SPELLINGS] == ["cache", "cache"]

    @pytest.mark.rule("S33")
    def test_what_was_refused_is_refused_in_both(self, presented: str, echoed: str) -> None:
        decisions = self.made(echoed)
        decisions.answer = lambda _: DEAD
        assert decisions.authenticate(presented).is_rejected
        decisions.answer = decisions.by_heart
        assert all(decisions.authenticate(one).is_rejected for one in SPELLINGS)
        assert decisions.calls("sessions/verify") == 1


@pytest.mark.rule("S4")
def test_a_jwt_is_no_token_with_a_prefix() -> None:
    decisions = Decisions()
    jwt = good(NOW)
    assert decisions.authenticate(jwt).source == "local"
    decisions.answer = lambda _: DEAD
    assert decisions.authenticate(f"session_{jwt}").is_rejected
    assert decisions.authenticate(jwt).is_authenticated
    decisions = Decisions()
    decisions.answer = lambda _: replied(200, verified_body(session_token=jwt))
    error = decisions.authenticate(f"session_{jwt}").error
    assert isinstance(error, ProviderUnavailable)


@pytest.mark.rule("S41")
def test_a_cookie_that_stands_twice() -> None:
    for lines in ([f"s={TOKEN}; s={PREFIXED}"], [f"s={PREFIXED}", f"s={TOKEN}"]):
        found = one_cookie(lines, "s", PREFIX)
        assert found is not None
        assert same_token(found, TOKEN)
    for wrong in ("s=session_; s=", f"s={PREFIXED}; s={TOKEN}x", f"s=session_{PREFIXED}; s={TOKEN}"):
        with pytest.raises(MalformedCredentials):
            one_cookie([wrong], "s", PREFIX)
    with pytest.raises(MalformedCredentials):
        one_cookie([f"s={TOKEN}; s={PREFIXED}"], "s")  # of a provider whose tokens have no prefix: they are two


class TestWithTheEmulator:
    @pytest.fixture(params=[False, True], ids=["echoes bare", "echoes prefixed"], autouse=True)
    def _spelling(self, request: pytest.FixtureRequest, emulator: Emulator) -> None:
        emulator.token_prefix(request.param)

    @pytest.mark.parametrize("presented", ["{}", "session_{}"])
    def test_every_method(self, call: Both, emulator: Emulator, presented: str) -> None:
        person = emulator.sign_in(email="me@example.com")
        token = presented.format(bare_token(person.session_token))
        found = call("sessions.verify", session_token=token, extend=60)
        assert found.session.id == person.session_id
        assert same_token(found.session_token, token)
        method_id = call("otps.send", email="me@example.com").method_id
        login = call("otps.verify", emulator.outbox()[0].code, method_id=method_id, session_token=token)
        assert login.session.id == person.session_id
        with pytest.raises(InvalidCredentials):
            call("sessions.verify", session_token=token)  # it was replaced
        token = presented.format(bare_token(login.session_token))
        call("sessions.revoke", session_token=token)
        for spelling in (bare_token(token), f"session_{bare_token(token)}"):
            with pytest.raises(InvalidCredentials):
                call("sessions.verify", session_token=spelling)
        assert call("authenticate", {"authorization": f"Bearer {person.session_jwt}"}).is_rejected

    @pytest.mark.rule("S33")
    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_signing_out_without_the_api(self, kind: str, emulator: Emulator) -> None:
        """The token is given back in one spelling, and no good in the other."""
        person = emulator.sign_in()
        bare = bare_token(person.session_token)
        with flow_client(kind, emulator) as call:
            emulator.fault("/v1/auth", status=500)
            browser = Visitor(call, html=False)
            browser.cookies = {SESSION: f"session_{bare}"}
            assert json_of(browser.post("sign_out")) == {
                "signed_out": True,
                "complete": False,
                "revocation": "local",
            }
            emulator.clear_faults()
            for spelling in (bare, f"session_{bare}"):
                assert call("authenticate", {"session-token": spelling}).is_rejected

    @pytest.mark.rule("S30")
    def test_no_spelling_is_shown(self, emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
        person = emulator.sign_in()
        bare = bare_token(person.session_token)
        decisions = Decisions()
        decisions.answer = lambda _: replied(200, verified_body(session_token="session_other"))
        auths = [decisions.authenticate(spelling) for spelling in (bare, f"session_{bare}")]
        assert_no_secret([*caplog.records, *map(repr, auths)], [bare])
        assert not re.search("session_o", caplog.text + repr(auths))
