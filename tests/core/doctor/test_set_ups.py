"""Broken set-ups, each with one fault that the doctor finds by itself; and whole ones, of which it "
"finds nothing wrong."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import pytest

from moonkey_core import Settings, _clock
from moonkey_core._doctor import redis
from moonkey_core.emulator import CdpEmulator, Emulator, OidcEmulator, StytchEmulator
from moonkey_core.settings import Secret
from support.scripted import unused_url
from support.secrets import assert_no_secret
from support.set_ups import PROVIDERS, oidc_provider, report_on, set_up, wrongs

pytestmark = pytest.mark.usefixtures("quick_retries")


def moonkey(emulator: Emulator, **more: Any) -> dict[str, Any]:
    usual = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, "jwt_issuer": emulator.issuer}
    return {**usual, **more}


class TestWhole:
    @pytest.mark.parametrize("provider", PROVIDERS)
    @pytest.mark.parametrize("given", [False, True])
    def test_nothing_is_wrong(self, provider: str, given: bool, request: pytest.FixtureRequest) -> None:
        whole = set_up(provider, request)
        report = report_on(whole.options, credential=whole.credential if given else "")
        assert wrongs(report) == {}
        assert report.exit_status == 0
        assert_no_secret([report, report.to_json()], [*whole.secrets, whole.credential])
        assert {line.check for line in report.lines} >= {
            "settings",
            "key",
            "key set",
            "issuer",
            "audience",
            "clock",
        }
        assert {line.verdict for line in report.lines} == {"ok", "cannot be seen from here"}
        if provider == "several":
            assert {line.provider for line in report.of("key")} == {"moonkey", "oidc"}

    @pytest.mark.parametrize("provider", [one for one in PROVIDERS if one not in ("oidc", "several")])
    def test_the_key_was_tried(self, provider: str, request: pytest.FixtureRequest) -> None:
        (line,) = report_on(set_up(provider, request).options).of("key")
        assert (line.verdict, "accepts the key" in line.text) == ("ok", True)

    def test_a_credential_is_shown_to_its_own_provider_alone(self, emulator: Emulator, oidc: OidcEmulator) -> None:
        options = {**moonkey(emulator), "providers": ["moonkey", oidc_provider(oidc)]}
        before = emulator.requests()
        report = report_on(options, credential=oidc.sign_in().access_token)
        assert wrongs(report) == {}
        assert {line.provider for line in report.of("credential")} == {"oidc"}
        asked = emulator.requests() - before
        assert asked["POST /v1/auth/sessions/verify"] == 1  # a made-up token, for the longest session
        nobodys = report_on(options, credential=emulator.mint({"iss": "https://nobody.example"}))
        assert "none of the providers" in nobodys.of("credential")[0].text

    def test_it_is_data_too(self, emulator: Emulator) -> None:
        report = report_on(moonkey(emulator))
        found = json.loads(report.to_json())
        assert found["ok"] is True
        assert [line["check"] for line in found["lines"]] == [line.check for line in report.lines]

    def test_no_session_is_changed(self, emulator: Emulator) -> None:
        signed_in = emulator.sign_in(minutes=60)
        options = moonkey(emulator, extend_on_activity=86_400)
        report_on(options, credential=signed_in.session_token)
        with_client = emulator.requests()
        assert with_client["POST /v1/auth/sessions/verify"] >= 1
        report = report_on(moonkey(emulator), credential=signed_in.session_jwt)
        assert wrongs(report) == {}


class TestBroken:
    """Each is found by itself: the one check names the fault and its mend, and no other is wrong."""

    def test_the_key_is_not_accepted(self, emulator: Emulator) -> None:
        report = report_on(moonkey(emulator, secret_key="sk_test_anotherapp123456", jwks_auth="none"))
        assert wrongs(report).keys() <= {"key", "key set"}
        assert "Set MOONKEY_SECRET_KEY to a current" in wrongs(report)["key"]
        assert report.exit_status == 1

    @pytest.mark.parametrize("provider", ["stytch", "cdp", "introspection"])
    def test_the_key_of_another_provider_is_not_accepted(
        self, provider: str, request: pytest.FixtureRequest
    ) -> None:
        whole = set_up(provider, request)
        if provider == "stytch":
            stytch: StytchEmulator = request.getfixturevalue("stytch")
            stytch.fault("/v1/sessions/authenticate", status=401, body=_stytch_refusal())
        elif provider == "cdp":
            cdp: CdpEmulator = request.getfixturevalue("cdp")
            cdp.revoke_api_key()
        else:
            oidc: OidcEmulator = request.getfixturevalue("oidc")
            oidc.fault("/introspect", status=401)
        assert wrongs(report_on(whole.options)).keys() == {"key"}

    def test_the_api_is_not_where_it_is_said_to_be(self, emulator: Emulator) -> None:
        found = wrongs(report_on(moonkey(emulator, base_url=unused_url())))
        assert found.keys() == {"key", "key set"}
        assert "refused" in found["key"]
        assert "MOONKEY_BASE_URL" in found["key"]

    def test_the_issuer_has_a_slash_too_many(self, emulator: Emulator) -> None:
        options = moonkey(emulator, jwt_issuer=f"{emulator.issuer}/")
        assert wrongs(report_on(options)) == {}  # it cannot be seen without a JWT
        found = wrongs(report_on(options, credential=emulator.sign_in().session_jwt))
        assert found.keys() == {"issuer"}
        assert f"you expect '{emulator.issuer}/'" in found["issuer"]
        assert f"Set MOONKEY_JWT_ISSUER to '{emulator.issuer}'" in found["issuer"]

    def test_the_audience_is_another_one(self, oidc: OidcEmulator) -> None:
        provider = oidc_provider(oidc, audience="https://other.example")
        found = wrongs(report_on({"provider": provider}, credential=oidc.sign_in().access_token))
        assert found.keys() == {"audience"}
        assert "You expect 'https://other.example'" in found["audience"]

    def test_the_discovery_document_is_that_of_another_issuer(self, oidc: OidcEmulator) -> None:
        oidc.discovery(issuer=f"{oidc.issuer}/")
        found = wrongs(report_on({"provider": oidc_provider(oidc)}))
        assert found.keys() == {"discovery"}
        assert "byte for byte" in found["discovery"]

    @pytest.mark.parametrize("seconds", [120, -120])
    def test_the_clock_is_wrong(self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
        monkeypatch.setattr(_clock, "wall", lambda: time.time() + seconds)
        found = wrongs(report_on(moonkey(emulator)))
        assert found.keys() == {"clock"}
        assert ("ahead of" if seconds > 0 else "behind") in found["clock"]
        assert "NTP" in found["clock"]

    def test_the_key_set_has_a_symmetric_key(self, emulator: Emulator) -> None:
        rsa = {**_public_jwk(emulator), "kid": "one"}
        body = json.dumps({"keys": [rsa, {"kty": "oct", "k": "c2VjcmV0", "kid": "two"}]})
        emulator.fault("/v1/auth/jwks", status=200, body=body)
        report = report_on(moonkey(emulator))
        assert wrongs(report).keys() == {"key set"}
        assert "private or symmetric key" in wrongs(report)["key set"]
        assert "c2VjcmV0" not in str(report)

    def test_the_key_set_has_no_key_for_the_algorithm(self, emulator: Emulator) -> None:
        body = json.dumps({"keys": [{"kty": "RSA", "alg": "RS512", "kid": "one", "n": "AQAB", "e": "AQAB"}]})
        emulator.fault("/v1/auth/jwks", status=200, body=body)
        found = wrongs(report_on(moonkey(emulator)))
        assert found.keys() == {"key set"}
        assert "no usable key" in found["key set"]

    def test_the_longest_session_is_too_long(self, emulator: Emulator) -> None:
        emulator.max_session_minutes(60)
        options = moonkey(emulator)
        signed_in = emulator.sign_in(minutes=30)
        found = wrongs(report_on(options, credential=signed_in.session_token, tries_longest=True))
        assert found.keys() == {"lifetimes"}
        assert "43200 minutes (sign_in.remember_me" in found["lifetimes"]

    def test_secure_cookies_on_http(self, emulator: Emulator) -> None:
        report = report_on(moonkey(emulator, cookies=True), url="http://app.example.com")
        assert wrongs(report).keys() == {"cookies"}
        assert "plain http" in wrongs(report)["cookies"]

    def test_the_domain_of_the_cookies_is_another_one(self, emulator: Emulator) -> None:
        found = wrongs(
            report_on(moonkey(emulator, cookies={"domain": "example.org"}), url="https://app.example.com")
        )
        assert found.keys() == {"cookies"}
        assert "example.org" in found["cookies"]

    def test_the_origin_is_another_one(self, emulator: Emulator) -> None:
        options = moonkey(emulator, cookies={"origin": "https://www.example.com"})
        assert wrongs(report_on(options, url="https://app.example.com/x")).keys() == {"cookies"}

    def test_every_address_is_a_trusted_proxy(self, emulator: Emulator) -> None:
        assert wrongs(report_on(moonkey(emulator, trusted_proxies="0.0.0.0/0"))).keys() == {"proxies"}

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ('"sk_test_abcdefgh12345678"', "stands in quotes"),
            ("sk_test_abcdefgh12345678\n", "line break"),
            ("pk_test_abcdefgh12345678", "public key"),
            ("Bearer sk_test_abcdefgh12345678", "begins with 'Bearer'"),
            ("sk_test_abcdefgh12345678\u201d", "beyond ASCII"),
        ],
    )
    def test_the_secret_is_of_the_wrong_kind(self, value: str, said: str) -> None:
        report = report_on({}, environ={"MOONKEY_SECRET_KEY": value})
        assert wrongs(report).keys() == {"variables", "settings"}
        assert said in wrongs(report)["variables"]
        assert_no_secret([report, report.to_json()], ["abcdefgh12345678"])

    def test_a_secret_key_stands_where_it_does_not_belong(self, emulator: Emulator) -> None:
        environ = {"MOONKEY_JWT_ISSUER": "sk_test_abcdefgh12345678"}
        report = report_on(moonkey(emulator, jwt_issuer=None), environ=environ)
        assert wrongs(report).keys() == {"variables"}
        assert "does not belong there" in wrongs(report)["variables"]
        assert_no_secret([report], ["abcdefgh12345678"])

    def test_a_variable_without_effect(self, emulator: Emulator) -> None:
        environ = {"MOONKEY_DOCTORS_TEST_OF_NOTHING": "1"}
        found = wrongs(report_on(moonkey(emulator), environ=environ))
        assert found.keys() == {"settings"}
        assert "MOONKEY_DOCTORS_TEST_OF_NOTHING" in found["settings"]

    def test_all_faults_of_variables_are_found_at_once(self) -> None:
        environ = {"MOONKEY_SECRET_KEY": "'pk_test_abcdefgh1'", "MOONKEY_BASE_URL": "https://a.example\r\n"}
        report = report_on({}, environ=environ)
        assert len([line for line in report.of("variables") if line.verdict == "wrong"]) == 3


class TestTheIssuer:
    def test_it_is_offered_from_a_jwt_that_the_service_accepts_for_this_key(self, emulator: Emulator) -> None:
        options = moonkey(emulator, jwt_issuer=None)
        signed_in = emulator.sign_in()
        for credential in (signed_in.session_jwt, signed_in.session_token):
            (line,) = report_on(options, credential=credential).of("issuer")
            assert line.verdict == "ok"
            assert f"Set MOONKEY_JWT_ISSUER to '{emulator.issuer}'" in line.mend

    def test_it_is_not_offered_from_one_with_a_good_signature_alone(self, emulator: Emulator) -> None:
        """As that of another customer of the service, whose JWTs the same keys sign."""
        foreign = emulator.mint({"iss": "api.moonkey.fun/another-customer"})
        for issuer in (None, emulator.issuer):
            report = report_on(moonkey(emulator, jwt_issuer=issuer), credential=foreign)
            assert not [line for line in report.lines if "MOONKEY_JWT_ISSUER to" in line.mend]
            assert report.of("credential")[0].verdict == "cannot be seen from here"
            assert report.of("issuer")[0].verdict != "ok"

    def test_it_is_not_offered_where_the_provider_cannot_be_asked(self, oidc: OidcEmulator) -> None:
        token = oidc.token(iss="https://evil.example")
        report = report_on({"provider": oidc_provider(oidc)}, credential=token)
        assert "The service has not vouched" in wrongs(report)["issuer"]


class TestTheLongestSession:
    def test_the_service_says_yes(self, emulator: Emulator) -> None:
        signed_in = emulator.sign_in(minutes=30)
        report = report_on(moonkey(emulator), credential=signed_in.session_token, tries_longest=True)
        assert "has set the session to 43200 minutes" in report.of("lifetimes")[-1].text

    def test_without_a_session_it_is_not_known(self, emulator: Emulator) -> None:
        report = report_on(moonkey(emulator))
        assert report.of("lifetimes")[-1].verdict == "cannot be seen from here"
        assert "--try-longest" in report.of("lifetimes")[-1].mend


def test_rights_that_cannot_be_seen_are_not_called_good(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "moonkey")
    url = Secret(unused_url().replace("http", "redis"))
    (line,) = redis._rights(url, Settings.load({"secret_key": "sk_test_x", "redis_url": url.reveal()}, {}))
    assert line.verdict == "cannot be seen from here"
    assert [one.reason for one in caplog.records if hasattr(one, "reason")] == ["redis_rights_unseen"]


def test_a_check_that_fails_says_where_and_not_what(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("with a secret in it: hunter2hunter2")

    monkeypatch.setattr("moonkey_core._doctor.browser.check_proxies", fail)
    report = report_on(moonkey(emulator))
    assert "RuntimeError at test_set_ups.py" in wrongs(report)["proxies"]
    assert "hunter2" not in str(report)


def _public_jwk(emulator: Emulator) -> dict[str, Any]:
    from jwt.algorithms import RSAAlgorithm

    found: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(emulator.private_key.public_key()))
    return found


def _stytch_refusal() -> str:
    refusal = {"status_code": 401, "error_type": "unauthorized_credentials", "error_message": "Unauthorized"}
    return json.dumps({**refusal, "request_id": "request-id-test-1", "error_url": "https://stytch.com/docs"})
