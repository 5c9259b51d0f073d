"""Records of second factors and of starts of sessions: for whom they count, and until when."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import logging
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import (
    AsyncMoonKey,
    Auth,
    ConfigurationError,
    CookieSettings,
    Factor,
    MfaNotEnrolled,
    MfaRecord,
    MoonKey,
    ProviderUnavailable,
    Requirements,
    Revocations,
    Session,
    StepUpRequired,
    User,
    VerifiedSession,
    _clock,
)
from moonkey_core._crypto import rotating_sealer
from moonkey_core._plan import RecordReply
from moonkey_core._session_life.mfa import Records
from moonkey_core.auth import new_auth
from moonkey_core.emulator import CdpEmulator, Emulator, OidcEmulator
from moonkey_core.gate import check, is_second_factor
from moonkey_core.provider import CDP, OIDC
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import renewed_headers
from moonkey_core.web.handles import MAX_HANDLE, Carrier, Note, Purpose, holder_of, presented_notes, seal_handle
from support.secrets import assert_no_secret

HOUR = timedelta(hours=1)
ASKED = Requirements(mfa_max_age=HOUR)
CACHE_SECRET = "c" * 32
WEEK = timedelta(days=7)
PURPOSES: tuple[Purpose, ...] = ("mfa", "start")
NOTED: dict[str, Any] = {"note_starts": True, "longest_session": WEEK}


@pytest.fixture
def options(oidc: OidcEmulator) -> dict[str, Any]:
    return {
        "provider": OIDC(oidc.issuer, oidc.audience),
        "cache_secret": CACHE_SECRET,
        "mfa_lifetime": 8 * HOUR,
        "mfa_scope": "credential",
    }


@pytest.fixture
def client(options: dict[str, Any]) -> Iterator[MoonKey]:
    with MoonKey(**options) as found:
        yield found


def bearer(oidc: OidcEmulator, email: str = "ada@example.com", **more: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {oidc.token(email=email, **more)}"}


def recorded(client: MoonKey, headers: dict[str, str]) -> dict[str, str]:
    """The headers with the handle of a new record."""
    handle = client.mfa.record(client.authenticate(headers)).handle
    assert handle is not None
    return {**headers, "mfa-handle": handle}


def refusal(client: MoonKey, headers: dict[str, str], asked: Requirements = ASKED) -> Any:
    return check(client.authenticate(headers, asked), asked)


class TestWhoItCountsFor:
    def test_its_user_only(self, client: MoonKey, oidc: OidcEmulator) -> None:
        mine = recorded(client, bearer(oidc))
        assert refusal(client, mine) is None
        assert refusal(client, {**mine, **bearer(oidc)}) is None
        assert isinstance(refusal(client, {**mine, **bearer(oidc, "ben@example.com")}), StepUpRequired)

    def test_equal_ids_of_two_issuers_are_two_users(self, oidc: OidcEmulator, options: dict[str, Any]) -> None:
        keycloak = oidc.preset("keycloak")
        both = OIDC([oidc.issuer, keycloak.issuer], [oidc.audience, keycloak.audience], jwks_url=oidc.jwks_url)
        with MoonKey(**{**options, "provider": both}) as client:
            mine = recorded(client, bearer(oidc, user_id="u1"))
            assert refusal(client, mine) is None
        assert holder_of("a", "u1") != holder_of("b", "u1")

    @pytest.mark.parametrize(
        "other", [{"cache_secret": "d" * 32}, {"mfa_scope": "user", "mfa_single_process": True}]
    )
    def test_another_app_or_another_scope(
        self, client: MoonKey, options: dict[str, Any], oidc: OidcEmulator, other: dict[str, Any]
    ) -> None:
        mine = recorded(client, bearer(oidc))
        with MoonKey(**{**options, **other}) as stranger:
            assert isinstance(refusal(stranger, mine), StepUpRequired)

    def test_another_secret_while_it_is_changed(
        self, client: MoonKey, options: dict[str, Any], oidc: OidcEmulator
    ) -> None:
        mine = recorded(client, bearer(oidc))
        changed = {**options, "cache_secret": "d" * 32, "previous_cache_secret": CACHE_SECRET}
        with MoonKey(**changed) as later:
            assert refusal(later, mine) is None
            newer = recorded(later, bearer(oidc))
        assert isinstance(refusal(client, newer), StepUpRequired)

    def test_only_a_user(self, client: MoonKey) -> None:
        for auth in (new_auth(), client.authenticate({"authorization": "Bearer x.y.z"})):
            with pytest.raises(ValueError, match="signed-in user"):
                client.mfa.record(auth)
            assert client.mfa.get(auth) is None
            client.mfa.drop(auth)

    @pytest.mark.parametrize("method", ["", "a b", "x" * 65, "ü", 'a"b'])
    def test_a_method_is_a_plain_name(self, client: MoonKey, oidc: OidcEmulator, method: str) -> None:
        with pytest.raises(ValueError, match="plain name"):
            client.mfa.record(client.authenticate(bearer(oidc)), method=method)

    def test_both_spellings_of_a_user(self, emulator: Emulator) -> None:
        person = emulator.sign_in()
        app: dict[str, Any] = {
            "secret_key": emulator.secret_key,
            "base_url": emulator.base_url,
            "jwt_issuer": emulator.issuer,
        }
        with MoonKey(**app, mfa_lifetime=HOUR, mfa_scope="credential") as client:
            mine = recorded(client, {"authorization": f"Bearer {person.session_jwt}"})
            by_token = {**mine, "authorization": f"Bearer {person.session_token}"}
            assert refusal(client, by_token) is None
            client.revocations.add(user_id=person.user_id.removeprefix("user_"))
            again = emulator.sign_in()
            assert isinstance(refusal(client, {**mine, "authorization": f"Bearer {again.session_jwt}"}), Exception)


class TestItsEnd:
    def test_its_clock(self, options: dict[str, Any], oidc: OidcEmulator) -> None:
        time = [_clock.wall()]
        revocations = Revocations(retention=1e6, clock=lambda: time[0], provider="oidc", scopes={"i": "i"})
        settings = Settings.load(options, {})
        records = Records(settings, options["provider"], revocations)
        shorter = Records(Settings.load({**options, "mfa_lifetime": 60}, {}), options["provider"], revocations)
        with MoonKey(**options) as client:
            auth = client.authenticate(bearer(oidc))
        note = records.new_note(auth, "mfa", "totp")
        assert records.ends_at(note, "mfa") == time[0] + 8 * 3600
        for ahead, passes, passes_shorter in ((0, 1, 1), (59, 1, 1), (60, 1, 0), (28_799, 1, 0), (28_800, 0, 0)):
            time[0] = note.made_at + ahead
            assert records.counts(note, auth, "mfa") is bool(passes), ahead
            assert shorter.counts(note, auth, "mfa") is bool(passes_shorter), ahead
        time[0] = note.made_at - 61
        assert not records.counts(note, auth, "mfa")

    def test_a_gate_counts_from_its_verification(self) -> None:
        now = datetime.now(UTC)
        for age, passes in ((timedelta(0), True), (HOUR, True), (HOUR + timedelta(seconds=1), False)):
            record = MfaRecord("mfa_1", "totp", now - age, now + HOUR)
            assert (ASKED.check(session(), now, record) is None) is passes
        assert ASKED.check(session(), now, MfaRecord("mfa_1", "totp", now, now)) is not None

    @pytest.mark.parametrize("how", ["by its id", "the user", "everybody", "end", "end of all"])
    def test_a_revocation(self, client: MoonKey, oidc: OidcEmulator, how: str) -> None:
        mine = recorded(client, bearer(oidc))
        auth = client.authenticate(mine)
        assert auth.user is not None
        assert auth.mfa is not None
        scope = auth.scope
        if how == "by its id":
            client.revocations.add(session_id=auth.mfa.id, issuer=scope)
        elif how == "the user":
            client.revocations.add(user_id=auth.user.id, issuer=scope)
        elif how == "everybody":
            client.revocations.add(issued_before=datetime.now(UTC))
        elif how == "end":
            client.mfa.end(auth)
        else:
            client.mfa.drop(auth)
        assert auth.mfa is None
        later = {**mine, **bearer(oidc, life=600, claims={"iat": int(_clock.wall()) + 2})}
        found = client.authenticate(later)
        if found.is_authenticated:
            assert isinstance(check(found, ASKED), StepUpRequired)

    def test_the_session_that_is_kept_keeps_it(self, client: MoonKey, oidc: OidcEmulator) -> None:
        person = oidc.sign_in("ada@example.com")
        mine = recorded(client, {"authorization": f"Bearer {person.access_token}"})
        client.revocations.add(user_id=person.user_id, keep=person.session_id)
        assert refusal(client, mine) is None

    def test_it_is_remembered_as_revoked_for_as_long_as_it_would_last(self, client: MoonKey) -> None:
        assert client.revocations.retention >= 8 * 3600


def session(*factors: Factor) -> Session:
    now = datetime.now(UTC)
    return Session("s", "u", now + timedelta(days=9), now, factors=factors)


class TestRequirements:
    @pytest.mark.parametrize("beside", [{"factors": {"totp"}}, {"factor_count": 2}, {"factor_max_age": HOUR}])
    def test_two_kinds_on_one_route(self, beside: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match=f"mfa_max_age and {next(iter(beside))} .* leave it out"):
            Requirements(mfa_max_age=HOUR, **beside)

    def test_without_a_lifetime_it_is_refused_at_start(self, oidc: OidcEmulator) -> None:
        with MoonKey(provider=OIDC(oidc.issuer, oidc.audience)) as client:
            with pytest.raises(ConfigurationError, match="mfa_lifetime"):
                client.check_requirements(ASKED)
            with pytest.raises(ConfigurationError, match="mfa_lifetime"):
                client.mfa.record(client.authenticate(bearer(oidc)))
            found = check(client.authenticate(bearer(oidc)), ASKED)
            assert isinstance(found, ConfigurationError)

    def test_a_session_by_itself_never_meets_it(self) -> None:
        assert isinstance(ASKED.check(session(), datetime.now(UTC)), StepUpRequired)
        made = new_auth(verified=VerifiedSession(User("u"), session()))
        assert isinstance(check(made, ASKED), StepUpRequired)

    @pytest.mark.parametrize(
        ("ages", "passes"),
        [
            ({}, False),
            ({"otp email": 1}, False),
            ({"otp email": 90, "totp": 1}, True),
            ({"otp email": 1, "totp": 90}, False),  # a sign-in is no second factor
            ({"otp email": 90, "otp sms": 1}, True),
            ({"otp email": 90, "otp sms": 90}, False),
            ({"totp": 1}, False),
            ({"oauth": 90, "totp": None}, False),
        ],
    )
    def test_factors_with_times_count(self, ages: dict[str, int | None], passes: bool) -> None:
        now = datetime.now(UTC)
        factors = [
            Factor(
                type=name.split(" ")[0],
                delivery_channel=name.split(" ")[1] if " " in name else None,
                method_id=name,
                last_verified_at=None if age is None else now - timedelta(minutes=age),
            )
            for name, age in ages.items()
        ]
        assert (ASKED.check(session(*factors), now) is None) is passes

    def test_what_is_no_factor(self) -> None:
        other = Factor("otp", "email", method_id="1")
        assert not is_second_factor(Factor(), (Factor(), other))
        assert not is_second_factor(Factor("geo", method_type="amr"), (other,))


class TestNotEnrolled:
    @pytest.mark.parametrize("policy", ["refuse", "allow"])
    def test_who_has_none(
        self, options: dict[str, Any], oidc: OidcEmulator, monkeypatch: pytest.MonkeyPatch, policy: Any
    ) -> None:
        monkeypatch.setattr("moonkey_core.gate._is_known_unenrolled", lambda user: user.id != "u2")
        monkeypatch.setattr(options["provider"], "capabilities", frozenset({"enrolled_mfa"}))
        with MoonKey(**options, mfa_unenrolled=policy, mfa_enrol_url="/enrol") as client:
            found = refusal(client, bearer(oidc, user_id="u1"))
            if policy == "allow":
                assert found is None
            else:
                assert isinstance(found, MfaNotEnrolled)
                assert (found.status, found.reason, found.enrol_url) == (401, "mfa_not_enrolled", "/enrol")
            assert isinstance(refusal(client, bearer(oidc, user_id="u2")), StepUpRequired)
            young = Requirements(mfa_max_age=HOUR, max_age=timedelta(seconds=1), acr_values=["9"])
            assert refusal(client, bearer(oidc, user_id="u1"), young) is not None


class TestScopeOfTheUser:
    def test_every_client_of_the_process(self, options: dict[str, Any], oidc: OidcEmulator) -> None:
        by_user = {**options, "mfa_scope": "user", "mfa_single_process": True}
        with MoonKey(**by_user) as one, MoonKey(**by_user) as other:
            record = one.mfa.record(one.authenticate(bearer(oidc)))
            assert record.handle is None
            assert refusal(other, bearer(oidc)) is None
            assert isinstance(refusal(other, bearer(oidc, "ben@example.com")), StepUpRequired)
            assert other.mfa.get(other.authenticate(bearer(oidc))) == record
            other.mfa.end(other.authenticate(bearer(oidc)))
            assert isinstance(refusal(one, bearer(oidc)), StepUpRequired)

    def test_a_gate_that_nobody_has_asked_for(self, options: dict[str, Any], oidc: OidcEmulator) -> None:
        with MoonKey(**{**options, "mfa_scope": "user", "mfa_single_process": True}) as client:
            auth = client.authenticate(bearer(oidc))
            assert not ASKED.are_met_by(auth, client)
            assert isinstance(check(auth, ASKED), ConfigurationError)
            client.mfa.load(auth)
            assert ASKED.are_met_by(auth, client)

    def test_tasks(self, options: dict[str, Any], oidc: OidcEmulator) -> None:
        async def pass_the_gate() -> None:
            async with AsyncMoonKey(**{**options, "mfa_scope": "user", "mfa_single_process": True}) as client:
                await client.mfa.record(await client.authenticate(bearer(oidc)))
                assert check(await client.authenticate(bearer(oidc), ASKED), ASKED) is None

        asyncio.run(pass_the_gate())

    def test_a_lost_store(self, options: dict[str, Any], oidc: OidcEmulator) -> None:
        by_user = {**options, "mfa_scope": "user", "redis_url": "redis://127.0.0.1:1/0", "on_feed_lost": "local"}
        with MoonKey(**by_user) as client:
            found = refusal(client, bearer(oidc))
            assert isinstance(found, ProviderUnavailable)
            assert (found.status, found.reason) == (503, "records_lost")
            auth = client.authenticate(bearer(oidc))
            for call in (client.mfa.record, client.mfa.get, client.mfa.end):
                with pytest.raises(ProviderUnavailable, match="shared store"):
                    call(auth)


class TestHandles:
    def test_it_is_short_and_says_nothing(self, client: MoonKey, oidc: OidcEmulator) -> None:
        auth = client.authenticate(bearer(oidc))
        record = client.mfa.record(auth, method="m" * 64)
        assert record.handle is not None
        assert len(record.handle) < 500 < MAX_HANDLE
        shown = [repr(record), json.dumps(record.to_dict()), repr(auth), repr(auth.mfa), repr(pickle.dumps(auth))]
        assert assert_no_secret(shown, [record.handle])
        assert auth.mfa is not None
        assert auth.mfa.handle is None
        assert copy.copy(auth).mfa is None

    def test_the_log_says_why_and_nothing_more(
        self, client: MoonKey, oidc: OidcEmulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        mine = recorded(client, bearer(oidc))
        caplog.set_level(logging.DEBUG, "moonkey")
        refusal(client, {**mine, **bearer(oidc, "ben@example.com")})
        refusal(client, {**mine, "mfa-handle": "junk"})
        record = client.authenticate(mine).mfa
        assert record is not None
        client.revocations.add(session_id=record.id)
        refusal(client, mine)
        lines = [one for one in caplog.records if getattr(one, "reason", "") == "handle_ignored"]
        said = " ".join(one.getMessage() for one in lines)
        for why in ("another user", "not sealed", "revoked"):
            assert why in said
        assert {one.levelname for one in lines} == {"DEBUG"}
        assert assert_no_secret([one.getMessage() for one in caplog.records], [mine["mfa-handle"]])

    def test_several_headers(self, client: MoonKey, oidc: OidcEmulator) -> None:
        mine = recorded(client, bearer(oidc))
        lines = {"authorization": [mine["authorization"]], "mfa-handle": [mine["mfa-handle"], "another"]}
        auth = client.authenticate(lambda name: lines.get(name, ()))
        assert auth.mfa is None

    @given(st.one_of(st.text(max_size=2000), st.binary(max_size=900).map(lambda one: one.decode("latin-1"))))
    def test_any_text(self, text: str) -> None:
        settings = Settings.load({"secret_key": "sk_test_1", "mfa_lifetime": 600, "mfa_scope": "credential"}, {})
        assert [*presented_notes(lambda name: [text] if name == "mfa-handle" else [], settings, "mfa")] == []

    @given(
        st.one_of(st.dictionaries(st.text(max_size=6), st.integers() | st.text(max_size=9)), st.just({"id": "a"}))
    )
    def test_anything_that_was_sealed(self, content: dict[str, Any]) -> None:
        """A later version may seal another form: it does not count, and breaks nothing."""
        settings = Settings.load({"secret_key": "sk_test_1", "mfa_lifetime": 600, "mfa_scope": "credential"}, {})
        sealed = rotating_sealer(settings, "handle").seal("mfa header", json.dumps(content).encode())
        text = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
        assert [*presented_notes(lambda name: [text] if name == "mfa-handle" else [], settings, "mfa")] == []

    def test_a_handle_of_one_place_or_purpose_is_none_of_another(self) -> None:
        given_settings = {
            "secret_key": "sk_test_1",
            "mfa_lifetime": 600,
            "mfa_scope": "credential",
            "longest_session": 86_400,
            "note_starts": True,
            "cookies": CookieSettings(),
        }
        settings = Settings.load(given_settings, {})
        note = Note("mfa_1", "h", "totp", 1.0, 2.0)
        assert "h'" not in repr(note)
        in_header = seal_handle(settings, "mfa", "header", note)
        in_cookie = seal_handle(settings, "mfa", "cookie", note)
        assert in_header.text not in repr(in_header)
        cookie = CookieSettings().mfa_name

        def found(purpose: Any, header: str, line: str = "") -> list[Note]:
            lines = {"mfa-handle": [header], "session-start": [header], "cookie": [line]}
            return [*presented_notes(lambda name: lines.get(name, ()), settings, purpose)]

        assert found("mfa", in_header.text) == [note]
        assert found("mfa", "", f"{cookie}={in_cookie.text}") == [note]
        assert found("mfa", in_cookie.text) == []
        assert found("mfa", "", f"{cookie}={in_header.text}") == []
        assert found("start", in_header.text) == []
        assert found("mfa", "", f"{cookie}={in_cookie.text}; {cookie}=x") == []


def test_an_open_connection_is_asked_again_when_it_is_renewed(client: MoonKey, oidc: OidcEmulator) -> None:
    mine = recorded(client, bearer(oidc, drop=["sid"]))
    bound = client.bind(client.authenticate(mine, ASKED), mine)
    newer = oidc.token(email="ada@example.com", drop=["sid"], life=7200)
    assert bound.renew(newer, mfa_max_age=HOUR).mfa is not None
    client.mfa.end(bound.auth)
    assert not bound.is_over()
    assert bound.auth.mfa is None
    with pytest.raises(StepUpRequired):
        bound.renew(oidc.token(email="ada@example.com", drop=["sid"], life=9000), mfa_max_age=HOUR)
    assert not bound.is_over()
    assert bound.renew(oidc.token(email="ada@example.com", drop=["sid"], life=9000)).mfa is None


class TestTwoPlaces:
    @pytest.mark.parametrize("newer", ["header", "cookie"])
    def test_the_newest_handle_counts(self, options: dict[str, Any], oidc: OidcEmulator, newer: str) -> None:
        with (
            MoonKey(**options, **NOTED, cookies=CookieSettings()) as client,
            time_machine.travel(_clock.wall(), tick=False) as clock,
        ):
            settings, auth = client.settings, client.authenticate(bearer(oidc, drop=["auth_time"]))
            records = client._core.records
            assert records is not None
            lines: dict[Carrier, str] = {"header": "", "cookie": ""}
            ids: dict[str, str] = {}
            for carrier in sorted(lines, key=lambda one: one == newer):
                notes = [(one, records.new_note(auth, one, "totp")) for one in PURPOSES]
                lines[carrier] = " ".join(seal_handle(settings, one, carrier, note).text for one, note in notes)
                ids[carrier] = notes[0][1].id
                clock.shift(60)
            mfa, start = lines["header"].split()
            mfa_cookie, start_cookie = lines["cookie"].split()
            assert settings.cookies is not None
            cookie = f"{settings.cookies.mfa_name}={mfa_cookie}; {settings.cookies.start_name}={start_cookie}"
            held = {"mfa-handle": mfa, "session-start": start, "cookie": cookie}
            found = client.authenticate({**bearer(oidc, drop=["auth_time"]), **held})
            assert found.mfa is not None
            assert found.mfa.id == ids[newer]
            assert found.session is not None
            assert found.session.started_at is not None
            assert _clock.wall() - found.session.started_at.timestamp() == pytest.approx(60)
            client.mfa.end(found)  # both
            for one in ({"mfa-handle": mfa}, {"cookie": cookie}):
                assert client.authenticate({**bearer(oidc), **one}).mfa is None


class TestStarts:
    def test_both_settings_or_none(self, client: MoonKey, options: dict[str, Any], oidc: OidcEmulator) -> None:
        with pytest.raises(ConfigurationError, match="note_starts"):
            client.sessions.note_start(client.authenticate(bearer(oidc)))
        with pytest.raises(ConfigurationError, match="without longest_session"):
            MoonKey(**options, note_starts=True)
        with pytest.raises(ConfigurationError, match="without note_starts"):
            MoonKey(**options, longest_session=WEEK)

    def test_a_revocation_is_remembered_for_as_long_as_a_start_counts(self, options: dict[str, Any]) -> None:
        with MoonKey(**{**options, "cache_secret": "d" * 32}) as client:
            assert client.revocations.retention < WEEK.total_seconds()
        with MoonKey(**options, **NOTED) as client:
            assert client.revocations.retention >= WEEK.total_seconds()

    @pytest.mark.parametrize("sid", [None, "sid_1"])
    def test_a_second_call_does_not_move_it(
        self, options: dict[str, Any], oidc: OidcEmulator, sid: str | None
    ) -> None:
        def lines(handle: str | None = None, session: str | None = sid) -> dict[str, str]:
            named: dict[str, Any] = {"drop": ["auth_time", "sid"]}
            if session is not None:
                named = {"drop": ["auth_time"], "claims": {"sid": session}}
            return {**bearer(oidc, **named), **({} if handle is None else {"session-start": handle})}

        with MoonKey(**options, **NOTED) as client, time_machine.travel(_clock.wall(), tick=False) as clock:
            auth = client.authenticate(lines())
            first = client.sessions.note_start(auth)
            assert auth.session is not None
            assert auth.session.started_at == first.started_at  # at once
            again = client.sessions.note_start(auth)
            clock.shift(100)
            later = client.sessions.note_start(client.authenticate(lines(str(first.handle))))
            assert first.started_at == again.started_at == later.started_at
            assert first.id == again.id == later.id
            assert later.ends_at == first.ends_at
            auth = client.authenticate(lines(str(later.handle)))
            client.mfa.drop(auth)
            anew = client.sessions.note_start(auth)
            assert (anew.started_at - first.started_at).total_seconds() == 100
            assert auth.session is not None
            assert auth.session.started_at == anew.started_at
            found = client.authenticate(lines(str(later.handle)))
            assert found.session is not None
            assert found.session.started_at is None  # the older handle has ended
            clock.shift(100)
            if sid is not None:  # the provider says that this is another session
                other = client.sessions.note_start(client.authenticate(lines(str(anew.handle), "sid_2")))
                assert (other.started_at - anew.started_at).total_seconds() == 100

    def test_a_provider_that_knows_better(self, options: dict[str, Any], oidc: OidcEmulator) -> None:
        with MoonKey(**options, **NOTED) as client:
            known = bearer(oidc, claims={"auth_time": int(_clock.wall()) - 600})
            record = client.sessions.note_start(client.authenticate(known))
            auth = client.authenticate({**known, "session-start": str(record.handle)})
            assert auth.session is not None
            assert auth.session.started_at is not None
            assert auth.session.started_at < record.started_at - timedelta(minutes=9)
            assert auth.session.must_end_at is None

    def test_of_two_providers_one_states_it(
        self, emulator: Emulator, oidc: OidcEmulator, cdp: CdpEmulator
    ) -> None:
        """An app that notes each sign-in need not know whose it is."""
        providers = ["moonkey", CDP(cdp.api_key_id, cdp.api_key_secret, cdp.project_id, base_url=cdp.api_url)]
        app: dict[str, Any] = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, "timeout": 30.0}
        with MoonKey(
            **{**app, "providers": [*providers, OIDC(oidc.issuer, oidc.audience)]}, note_starts=True
        ) as client:
            auth = client.authenticate({"authorization": f"Bearer {emulator.sign_in().session_token}"})
            assert auth.session is not None
            stated = client.sessions.note_start(auth)
            assert (stated.started_at, stated.ends_at) == (auth.session.started_at, auth.session.expires_at)
            assert stated.handle is None
            noted = client.sessions.note_start(
                client.authenticate({"authorization": f"Bearer {cdp.sign_in().access_token}"})
            )
            assert noted.handle is not None
            assert noted.ends_at - noted.started_at == WEEK
            with pytest.raises(ConfigurationError, match="longest_session"):
                client.sessions.note_start(client.authenticate(bearer(oidc, drop=["auth_time"])))

    def test_one_length_that_is_set_is_that_of_each_of_several(self, oidc: OidcEmulator, cdp: CdpEmulator) -> None:
        """It takes the place of CDP's own, and the others have it too."""
        providers = [
            CDP(cdp.api_key_id, cdp.api_key_secret, cdp.project_id, base_url=cdp.api_url),
            OIDC(oidc.issuer, oidc.audience),
        ]
        length = timedelta(days=2)
        with MoonKey(
            providers=providers, cache_secret="c" * 32, timeout=30.0, note_starts=True, longest_session=length
        ) as client:
            for token in (cdp.sign_in().access_token, oidc.token(drop=["auth_time"])):
                headers = {"authorization": f"Bearer {token}"}
                noted = client.sessions.note_start(client.authenticate(headers))
                assert noted.handle is not None
                assert noted.ends_at - noted.started_at == length
                auth = client.authenticate({**headers, "session-start": str(noted.handle)})
                assert auth.session is not None
                assert auth.session.must_end_at == noted.ends_at

    def test_a_provider_that_never_says(self, options: dict[str, Any], oidc: OidcEmulator) -> None:
        class Silent(OIDC):
            states_session_start = False

        asked = Requirements(session_max_age=HOUR)
        silent = {**options, "provider": Silent(oidc.issuer, oidc.audience)}
        with MoonKey(**silent) as client:
            with pytest.raises(ConfigurationError, match="note_starts"):
                client.check_requirements(asked)
            with pytest.raises(ConfigurationError, match="note_starts"):
                client.authenticate(bearer(oidc), asked)
        with MoonKey(**silent, **NOTED) as client:
            client.check_requirements(asked)

    def test_tasks(self, options: dict[str, Any], oidc: OidcEmulator) -> None:
        async def note_a_start() -> None:
            async with AsyncMoonKey(**options, **NOTED) as client:
                mine = bearer(oidc, drop=["auth_time"])
                record = await client.sessions.note_start(await client.authenticate(mine))
                auth = await client.authenticate({**mine, "session-start": str(record.handle)})
                assert auth.session is not None
                assert auth.session.started_at == record.started_at
                assert auth.session.must_end_at == record.ends_at
                assert auth.session.expires_soon(timedelta(days=8)) is True
                assert auth.session.expires_soon(timedelta(days=6)) is False
                bare = (await client.authenticate(mine)).session
                assert bare is not None
                assert bare.expires_soon(timedelta(days=8)) is None

        asyncio.run(note_a_start())


def test_a_store_that_replies_nothing_finds_nothing() -> None:
    assert RecordReply((None,)).found == (None,)
    assert isinstance(new_auth(), Auth)


def test_a_renewed_connection_keeps_its_handle_cookies() -> None:
    usual = {"secret_key": "sk_test_1", "mfa_lifetime": 600, "mfa_scope": "credential"}
    settings = Settings.load({**usual, "cookies": CookieSettings()}, {})
    name = CookieSettings().mfa_name
    lines = {"authorization": ["Bearer old"], "cookie": [f"theme=dark; {name}=sealed"]}
    view = renewed_headers(lambda one: lines.get(one, ()), "new", settings)
    assert [*view("authorization"), *view("cookie")] == ["Bearer new", f"{name}=sealed"]
