"""``moonkey explain``: every kind of credential, at every provider, and what is no credential at all."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from moonkey_core import MoonKey
from moonkey_core._doctor.explaining import Explanation, explain
from moonkey_core.cli import main
from moonkey_core.emulator import CdpEmulator, Emulator, OidcEmulator
from moonkey_core.web.handles import Note, holder_of, new_id, seal_handle
from support.decisions import presenting
from support.patience import PATIENT
from support.scripted import unused_url
from support.secrets import assert_no_secret
from support.set_ups import PROVIDERS, oidc_provider, set_up

pytestmark = pytest.mark.usefixtures("quick_retries")


def explained(text: str, **options: Any) -> Explanation:
    usual: dict[str, Any] = {**PATIENT, **options}
    with MoonKey(**usual) as client:
        found = explain(client, text)
    if len(text) >= 12:
        assert_no_secret([found, json.dumps(found.to_dict())], [text])
    return found


@pytest.fixture
def here(emulator: Emulator) -> Callable[..., Explanation]:
    """``here(credential)``: what would happen to it at an app of the emulator's, which verifies JWTs by itself."""
    usual = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, "jwt_issuer": emulator.issuer}
    return lambda text, **more: explained(text, **{**usual, **more})


Here = Callable[..., Explanation]


class TestEveryProvider:
    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_a_good_credential(self, provider: str, request: pytest.FixtureRequest) -> None:
        whole = set_up(provider, request)
        found = explained(whole.credential, **whole.options)
        assert found.outcome == "accepted", str(found)
        assert "The request is accepted" in found.steps[-1]
        assert_no_secret([found], [*whole.secrets, whole.credential])

    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_garbage(self, provider: str, request: pytest.FixtureRequest) -> None:
        whole = set_up(provider, request)
        for text in ("garbage", "no.jwt.atall", "eyJhbGciOiJub25lIn0.e30.", "two words", "{}", "\x00", "é" * 20):
            assert explained(text, **whole.options).outcome == "refused", text

    def test_a_token_belongs_to_the_owner_of_its_header(self, emulator: Emulator, oidc: OidcEmulator) -> None:
        options = {"secret_key": emulator.secret_key, "base_url": emulator.base_url}
        providers = ["moonkey", oidc_provider(oidc).at(credential_headers=["x-oidc"])]
        token = emulator.sign_in().session_token
        assert explained(token, providers=providers, **options).outcome == "accepted"
        assert explained(f"Session-Token: {token}", providers=providers, **options).outcome == "accepted"
        before = emulator.requests()
        assert explained(f"X-OIDC: {token}", providers=providers, **options).outcome == "refused"
        assert emulator.requests() == before

    def test_a_jwt_of_nobody_at_an_app_with_several(self, request: pytest.FixtureRequest) -> None:
        whole = set_up("several", request)
        emulator: Emulator = request.getfixturevalue("emulator")
        found = explained(emulator.mint({"iss": "https://nobody.example"}), **whole.options)
        assert "belongs to none of them" in str(found)
        assert "'https://nobody.example'" in str(found)
        assert found.outcome == "refused"


class TestJwts:
    def test_the_issuer_is_named_beside_the_expected_one(self, emulator: Emulator, here: Here) -> None:
        found = here(emulator.mint({"iss": "https://other.example"}))
        says = f"It is signed by key '{emulator.kid}' of issuer 'https://other.example'"
        assert any(says in step and f"you expect '{emulator.issuer}'" in step for step in found.steps)
        assert "jwt_issuer" in found.steps[-1]
        assert found.outcome == "refused"

    def test_only_the_slash_differs(self, emulator: Emulator, here: Here) -> None:
        assert "differ in the slash" in str(here(emulator.mint({"iss": f"{emulator.issuer}/"})))

    def test_a_key_that_is_not_published(self, emulator: Emulator, here: Here) -> None:
        found = here(emulator.mint(key="foreign"))
        assert f"It has '{emulator.kid}'" in str(found)
        assert "jwt_unknown_key" in found.steps[-1]

    def test_a_signature_that_was_changed(self, emulator: Emulator, here: Here) -> None:
        jwt = emulator.sign_in().session_jwt
        head, body, tail = jwt.split(".")
        found = here(f"{head}.{body}.{tail[:-60]}{'B' * 59}A")
        assert "is not one of the key" in str(found)
        assert "jwt_signature" in found.steps[-1]

    def test_another_algorithm(self, emulator: Emulator, here: Here) -> None:
        found = here(emulator.mint(header={"alg": "HS256"}))
        assert "alg 'HS256'" in str(found)
        assert "jwt_algorithm" in found.steps[-1]

    def test_an_old_one_is_refreshed(self, emulator: Emulator, here: Here) -> None:
        emulator.set_clock(-400)
        old = emulator.sign_in().session_jwt
        emulator.set_clock(0)
        found = here(old)
        assert "iat 40" in str(found)
        assert "confirmed by the provider" in found.steps[-1]
        assert found.outcome == "accepted"

    def test_one_that_was_revoked(self, emulator: Emulator, here: Here) -> None:
        signed_in = emulator.sign_in()
        emulator.revoke(signed_in.session_id)
        assert here(signed_in.session_token).outcome == "refused"
        assert here(signed_in.session_jwt, jwt_issuer=None).outcome == "refused"

    def test_the_audience(self, oidc: OidcEmulator) -> None:
        provider = oidc_provider(oidc, audience="https://other.example")
        found = explained(oidc.sign_in().access_token, provider=provider)
        assert f"It is for the audience '{oidc.audience}' (aud); you expect 'https://other.example'" in str(found)
        assert "jwt_audience" in found.steps[-1]

    def test_an_id_token(self, oidc: OidcEmulator) -> None:
        found = explained(oidc.sign_in().id_token, provider=oidc_provider(oidc))
        assert found.outcome == "refused"

    def test_a_token_of_another_project(self, cdp: CdpEmulator, request: pytest.FixtureRequest) -> None:
        whole = set_up("cdp", request)
        assert explained(cdp.token(key="foreign"), **whole.options).outcome == "refused"


class TestOthers:
    def test_what_stands_around_it_is_left_out(self, emulator: Emulator, here: Here) -> None:
        jwt = emulator.sign_in().session_jwt
        for text in (f"Bearer {jwt}", f"Authorization: Bearer {jwt}\n", f'"{jwt}"', f"  {jwt}\r\n"):
            assert here(text).outcome == "accepted", text[:9]

    def test_a_session_token(self, emulator: Emulator, here: Here) -> None:
        found = here(emulator.sign_in().session_token)
        assert "opaque token" in str(found)
        assert found.outcome == "accepted"

    def test_an_api_key_goes_nowhere(self, emulator: Emulator, here: Here) -> None:
        for key in (
            emulator.secret_key,
            "sk_live_anotherapp1234",
            "secret-live-abcdefgh12345",
            "pk_test_12345678",
        ):
            found = here(key)
            assert "API key" in str(found)
            assert found.outcome == "refused"
        assert not emulator.requests()

    def test_nothing(self, here: Here) -> None:
        assert here(" \n").outcome == "no credential"

    def test_a_line_of_cookies(self, emulator: Emulator, make_client: Callable[..., MoonKey]) -> None:
        client = make_client(jwt_issuer=emulator.issuer, cookies={"insecure_development": True})
        signed_in = emulator.sign_in()
        login = client.sessions.verify(session_token=signed_in.session_token)
        line = "; ".join(value.partition(";")[0] for value in client.sign_in_cookies(login))
        for text in (line, f"Cookie: {line}"):
            found = explain(client, text)
            assert "moonkey_session" in found.steps[0]
            assert found.outcome == "accepted", str(found)
            assert_no_secret([found], [signed_in.session_token, signed_in.session_jwt])

    @pytest.mark.parametrize(
        "line", ["Authorization: Token {}", "Token {}", "authorization: DPoP {}", "Authorization: {}"]
    )
    def test_another_scheme_is_anonymous_as_for_the_app(self, emulator: Emulator, here: Here, line: str) -> None:
        token = emulator.sign_in().session_token
        found = here(line.format(token))
        assert "Send: Authorization: Bearer" in str(found)
        assert found.outcome == "no credential"
        assert_no_secret([found], [token])
        header = line.partition(":")[2].strip() or line
        with MoonKey(emulator.secret_key, base_url=emulator.base_url) as client:
            assert client.authenticate({"authorization": header.format(token)}).is_anonymous

    def test_the_header_is_named(self, emulator: Emulator, here: Here) -> None:
        found = here(f"Session-Token: {emulator.sign_in().session_token}")
        assert "as in the header session-token." in found.steps[0]
        assert found.outcome == "accepted"

    @pytest.mark.parametrize("line", ["Session-Token: Token {}", "Cookie: Token {}"])
    def test_a_scheme_in_another_header_is_none(self, emulator: Emulator, here: Here, line: str) -> None:
        token = emulator.sign_in().session_token
        found = here(line.format(token))
        assert "Authorization header without" not in str(found)
        assert found.outcome != "accepted"
        assert_no_secret([found], [token])

    def test_no_cookies_are_read_where_there_are_none(self, here: Here) -> None:
        assert "none, as the settings have no cookies" in here("Cookie: moonkey_session=abcdefghijkl").steps[0]

    def test_a_provider_is_not_asked_about_what_is_too_long(self, here: Here) -> None:
        found = here("a" * 9000)
        assert "is asked" not in str(found)
        assert "credential_too_long" in found.steps[-1]

    @pytest.mark.parametrize("carrier", ["header", "cookie"])
    def test_a_handle(self, make_client: Callable[..., MoonKey], carrier: Any) -> None:
        options = {"mfa_lifetime": 600, "mfa_scope": "credential", "cookies": {"insecure_development": True}}
        client = make_client(**options)
        note = Note(new_id("mfa"), holder_of("moonkey", "u"), "totp", 1e9, 1e9 + 600)
        text = seal_handle(client.settings, "mfa", carrier, note).text
        found = explain(client, text)
        assert "It is a handle that this app has made" in str(found)
        assert "'totp'" in str(found)
        assert "it is over" in str(found)
        assert_no_secret([found], [text])

    def test_the_provider_cannot_be_reached(self, emulator: Emulator, here: Here) -> None:
        found = here(emulator.sign_in().session_token, base_url=unused_url())
        assert found.outcome == "unavailable"
        assert "no word about the credential" in str(found)

    def test_no_session_is_extended(self, emulator: Emulator, here: Here) -> None:
        signed_in = emulator.sign_in(minutes=60)
        here(signed_in.session_token, extend_on_activity=86_400)
        here(signed_in.session_jwt, extend_on_activity=86_400)
        options: dict[str, Any] = {"base_url": emulator.base_url, **PATIENT}
        with MoonKey(emulator.secret_key, **options) as client:
            session = client.authenticate(presenting(signed_in.session_token)).session
        assert session is not None
        assert session.started_at is not None
        assert session.expires_at is not None
        assert (session.expires_at - session.started_at).total_seconds() <= 3660


class TestTheCommand:
    @pytest.mark.parametrize(
        ("credential", "status"),
        [("token", 0), ("jwt", 0), ("garbage", 1), ("", 1)],
    )
    def test_it_reads_stdin_and_ends_with_the_outcome(
        self,
        emulator: Emulator,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        credential: str,
        status: int,
    ) -> None:
        signed_in = emulator.sign_in()
        text = {"token": signed_in.session_token, "jwt": signed_in.session_jwt}.get(credential, credential)
        monkeypatch.setenv("MOONKEY_SECRET_KEY", emulator.secret_key)
        monkeypatch.setenv("MOONKEY_BASE_URL", emulator.base_url)
        monkeypatch.setenv("MOONKEY_TIMEOUT", "30")
        for options in ([], ["--json"]):
            monkeypatch.setattr("sys.stdin", io.StringIO(text))
            assert main(["explain", *options]) == status
            shown = capsys.readouterr()
            assert shown.err == ""
            if options:
                assert json.loads(shown.out)["steps"]
            assert_no_secret([shown.out], [emulator.secret_key, signed_in.session_token, signed_in.session_jwt])

    def test_a_wrong_setting(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setenv("MOONKEY_SECRET_KEY", "pk_test_12345678")
        monkeypatch.setattr("sys.stdin", io.StringIO("x"))
        assert main(["explain"]) == 2
        assert "public key" in capsys.readouterr().err

    def test_the_credential_is_no_argument(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["explain", "module:app", "eyJhbGciOiJub25lIn0.e30."])
        assert ended.value.code == 2
        capsys.readouterr()
