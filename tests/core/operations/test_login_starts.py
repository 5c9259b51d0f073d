"""Every way to sign in, from its first call to the session, blocking and asynchronous, against the emulator."""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from moonkey_core import (
    ConfigurationError,
    CookieSettings,
    Device,
    InvalidCredentials,
    Login,
    MoonKey,
    NotFound,
    ProviderUnavailable,
    RequestRefused,
    TotpRegistration,
    WalletChallenge,
)
from moonkey_core.emulator import Emulator
from support import quick
from support.clients import Both, answering
from support.flow_visits import Visitor, flow_client, path_of
from support.scripted import reply, scripted
from support.secrets import assert_no_secret

HERE = "https://app.example/in?from=mail"
NEW = "https://app.example/welcome"
WALLET = {"wallet_type": "ethereum", "public_address": "0xF7E9D631bfBd90C19691566Db4AB96697A2663C6"}


def check_session(call: Both, login: Login, user_id: str) -> None:
    assert login.user.id == user_id
    assert call("sessions.verify", session_token=login.session_token).user.id == user_id


class TestMagicLinks:
    def test_somebody_new_and_again(self, call: Both, emulator: Emulator) -> None:
        pages = {"login_redirect_url": HERE, "registration_redirect_url": NEW}
        sent = call(
            "magic_links.login_or_create", email="New@Example.com", **pages, device=Device("browser", "::1")
        )
        message = emulator.outbox()[0]
        assert (message.to, message.method_id) == ("new@example.com", sent.method_id)
        login = call("magic_links.verify", message.code, session_expires_in=60)
        assert login.method_id == sent.method_id
        check_session(call, login, sent.user_id)
        again = call("magic_links.send", email="new@example.com", login_redirect_url=HERE, login_expires_in=5)
        assert (again.user_id, again.method_id) == (sent.user_id, sent.method_id)
        assert emulator.outbox()[0].link == f"{HERE}&token={emulator.outbox()[0].code}"
        check_session(
            call, call("magic_links.verify", emulator.outbox()[0].code, session_expires_in=5), sent.user_id
        )

    def test_nobody(self, call: Both, emulator: Emulator) -> None:
        with pytest.raises(NotFound) as caught:
            call("magic_links.send", email="nobody@example.com")
        assert caught.value.code == "user_not_found"
        assert emulator.outbox() == []

    @pytest.mark.parametrize(
        "wrong",
        [
            *({"login_expires_in": minutes} for minutes in (4, 10_081, 0, -5, True, 5.0, "60")),
            {"login_redirect_url": ""},
            {"login_redirect_url": "https://app.example/\r\nx: y"},
            {"login_redirect_url": "https://app.example/" + "x" * 2048},
            {"email": ""},
            {"email": None},
        ],
    )
    def test_a_wrong_call(self, call: Both, emulator: Emulator, wrong: dict[str, Any]) -> None:
        for name in ("send", "login_or_create"):
            with pytest.raises(ValueError, match=r"."):
                call(f"magic_links.{name}", **{"email": "me@example.com", **wrong})
        assert not any("magic_links" in path for path in emulator.requests())

    def test_what_goes_out(self) -> None:
        with scripted(reply(200, {"user_id": "user_1", "email_id": "email_1"})) as server:
            with MoonKey(secret_key="sk_test_x", base_url=server.url) as client:
                sent = client.magic_links.login_or_create(
                    email="a@b.c", login_redirect_url=HERE, login_expires_in=10, device=Device("b", "10.0.0.1")
                )
                client.magic_links.login_or_create(
                    email="a@b.c",
                    login_redirect_url=HERE,
                    registration_redirect_url=NEW,
                    login_expires_in=10,
                    registration_expires_in=20,
                )
                client.magic_links.login_or_create(email="a@b.c")
                client.magic_links.send(email="a@b.c", login_redirect_url=HERE)
            assert sent.method_id == "email_1"  # as the API reference has it
            assert [request.path for request in server.received] == [
                *["/v1/auth/magic_links/email/login_or_create"] * 3,
                "/v1/auth/magic_links/email/send",
            ]
            both = {"login_redirect_url": HERE, "registration_redirect_url": HERE}
            assert [request.json for request in server.received] == [
                {
                    "email": "a@b.c",
                    **both,
                    "login_expires_in": 10,
                    "registration_expires_in": 10,
                    "device_fingerprint": {"ip": "10.0.0.1", "user_agent": "b"},
                },
                {
                    "email": "a@b.c",
                    "login_redirect_url": HERE,
                    "registration_redirect_url": NEW,
                    "login_expires_in": 10,
                    "registration_expires_in": 20,
                },
                {"email": "a@b.c"},
                {"email": "a@b.c", "login_redirect_url": HERE},
            ]

    def test_it_is_sent_once(self, emulator: Emulator) -> None:
        """A call whose reply is lost may have sent it: to send another one is for the app to decide."""
        with MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url) as client:
            emulator.fault("/v1/auth/magic_links", status=500)
            with pytest.raises(ProviderUnavailable):
                client.magic_links.login_or_create(email="a@example.com")
        assert emulator.requests()["POST /v1/auth/magic_links/email/login_or_create"] == 1


class TestWallets:
    def test_somebody_new_and_again(self, call: Both, emulator: Emulator) -> None:
        for _ in range(2):
            begun = call("wallets.begin", **WALLET)
            assert isinstance(begun, WalletChallenge)
            assert {"wallet_type": begun.wallet_type, "public_address": begun.public_address} == WALLET
            signature = emulator.sign_wallet(begun.challenge)
            login = call("wallets.verify", **WALLET, signature=signature, session_expires_in=60)
            check_session(call, login, begun.user_id)

    def test_for_a_user(self, call: Both, emulator: Emulator) -> None:
        person, other = emulator.sign_in(), emulator.sign_in(email="other@example.com")
        for user_id in (person.user_id, person.user_id.removeprefix("user_")):
            begun = call("wallets.begin", **WALLET, user_id=user_id)
            assert begun.user_id == person.user_id
        call("wallets.verify", **WALLET, signature=emulator.sign_wallet(begun.challenge))
        with pytest.raises(InvalidCredentials) as caught:
            call("wallets.begin", **WALLET, user_id=other.user_id)
        assert caught.value.reason == "another_user"
        assert not caught.value.session_is_over
        with pytest.raises(NotFound):
            call("wallets.begin", wallet_type="solana", public_address="x" * 44, user_id="user_nobody")

    def test_an_address_in_lower_case_is_the_same(self) -> None:
        answer = {
            "user_id": "user_1",
            "public_address": WALLET["public_address"].lower(),
            "challenge": "Sign\nthis",
        }
        with answering(answer) as (client, server):
            begun = client.wallets.begin(**WALLET)
            assert (begun.public_address, begun.challenge) == (WALLET["public_address"], "Sign\nthis")
            assert server.received[0].json == WALLET

    @pytest.mark.parametrize(
        "answer",
        [
            {},
            {"user_id": "user_1"},
            {"user_id": "user_1", "challenge": ""},
            {"user_id": "user_1", "challenge": 7},
            {"user_id": "user_1", "challenge": "x" * 10_000},
            {"challenge": "Sign this"},
            {"user_id": "", "challenge": "Sign this"},
            {"user_id": "user_1", "challenge": "Sign this", "public_address": "0xother"},
            {"user_id": "user_1", "challenge": "Sign this", "public_address": 7},
        ],
    )
    def test_an_answer_that_is_none(self, answer: dict[str, Any]) -> None:
        with answering(answer) as (client, _), pytest.raises(ProviderUnavailable):
            client.wallets.begin(**WALLET)

    def test_a_wrong_call(self, call: Both, emulator: Emulator) -> None:
        for wrong in ({"wallet_type": ""}, {"public_address": "\n"}, {"user_id": ""}, {"user_id": "user_"}):
            with pytest.raises(ValueError, match=r"."):
                call("wallets.begin", **{**WALLET, **wrong})
        with pytest.raises(RequestRefused):
            call("wallets.begin", wallet_type="paper", public_address="0xabc")


class TestAuthenticatorApps:
    def test_registered_used_and_lost(self, call: Both, emulator: Emulator) -> None:
        person = emulator.sign_in()
        made = call("totps.create", user_id=person.user_id.removeprefix("user_"))
        assert isinstance(made, TotpRegistration)
        assert made.user_id == person.user_id
        assert made.qr_base64
        code = emulator.totp_code(made.secret)
        check_session(
            call, call("totps.verify", code, user_id=person.user_id, session_expires_in=60), person.user_id
        )
        first, second, *_ = made.recovery_codes
        login = call("totps.recover", first, user_id=person.user_id, session_expires_in=60)
        check_session(call, login, person.user_id)
        assert [factor.delivery_channel for factor in login.session.factors] == ["totp_recovery_code"]
        for wrong in (first, "no such code"):
            with pytest.raises(InvalidCredentials) as caught:
                call("totps.recover", wrong, user_id=person.user_id)
            assert caught.value.reason == "login_refused"
            assert wrong not in str(caught.value)
        stepped_up = call("totps.recover", second, user_id=person.user_id, session_token=person.session_token)
        assert stepped_up.session.id == person.session_id
        with pytest.raises(RequestRefused) as taken:
            call("totps.create", user_id=person.user_id)
        assert taken.value.code == "duplicate_totp"

    def test_nobody(self, call: Both) -> None:
        for name, arguments in (("create", ()), ("recover", ("code",))):
            with pytest.raises((NotFound, InvalidCredentials)):
                call(f"totps.{name}", *arguments, user_id="user_nobody")
            with pytest.raises(ValueError, match="user_id"):
                call(f"totps.{name}", *arguments, user_id="")
        with pytest.raises(ValueError, match="recovery_code"):
            call("totps.recover", "", user_id="user_1")

    @pytest.mark.parametrize(
        "change",
        [
            {"user_id": "user_2"},
            {"user_id": None},
            {"totp_id": None},
            {"secret": None},
            {"secret": 7},
            {"recovery_codes": "abc"},
            {"recovery_codes": [7]},
        ],
    )
    def test_an_answer_that_is_none(self, change: dict[str, Any]) -> None:
        good = {"user_id": "user_1", "totp_id": "totp_1", "secret": "ABC", "recovery_codes": ["a-b"]}
        with answering(good) as (client, _):
            assert client.totps.create(user_id="user_1").recovery_codes == ("a-b",)
        with answering({**good, **change}) as (client, _), pytest.raises(ProviderUnavailable):
            client.totps.create(user_id="user_1")

    @pytest.mark.rule("S30")
    def test_its_secrets_are_shown_nowhere(self, call: Both, emulator: Emulator, caplog: Any) -> None:
        person = emulator.sign_in()
        with caplog.at_level(logging.DEBUG, "moonkey"):
            made = call("totps.create", user_id=person.user_id)
            with pytest.raises(InvalidCredentials) as caught:
                call("totps.recover", made.recovery_codes[0] + "x", user_id=person.user_id)
        secrets = [made.secret, made.qr_base64, *made.recovery_codes]
        assert_no_secret([repr(made), json.dumps(made.to_dict()), caught.value, *caplog.records], secrets)
        assert not {"secret", "qr_base64", "recovery_codes"} & made.extra.keys()


class TestOAuth:
    PUBLIC = "pk_test_public"

    def options(self, emulator: Emulator, **more: Any) -> dict[str, Any]:
        return {
            "secret_key": emulator.secret_key,
            "base_url": emulator.base_url,
            "public_token": self.PUBLIC,
            **more,
        }

    @pytest.mark.parametrize("kind", ["sync", "async"])
    @pytest.mark.parametrize("known", [True, False])
    def test_there_and_back(self, kind: str, emulator: Emulator, known: bool) -> None:
        """From the address that the app redirects to, to the session that the ready-made route begins."""
        if known:
            emulator.sign_in(email="demo@example.com")
        with flow_client(kind, emulator, public_token=emulator.public_token) as call:
            start = call.client.flows.oauth_state(next="/account")
            url = call.client.oauth.start_url(
                "google", login_redirect_url="https://app.example/auth/callback/oauth", state=start.state
            )
            assert emulator.secret_key not in url
            to_provider = quick.get(url, follow_redirects=False)
            assert to_provider.status_code == 302
            back = quick.get(to_provider.headers["location"], follow_redirects=False).headers["location"]
            browser = Visitor(call)
            browser.keep([start.set_cookie])
            response = browser.get("oauth", urlsplit(back).query)
            assert (response.status, path_of(response)) == (303, "/account")
            assert "__Host-moonkey_session" in browser.cookies

    def test_the_address(self, emulator: Emulator) -> None:
        for call in (Both("sync", self.options(emulator)), Both("async", self.options(emulator))):
            start_url = call.client.oauth.start_url
            url = urlsplit(start_url("apple", login_redirect_url=HERE, registration_redirect_url=NEW, state="s&t"))
            assert f"{url.scheme}://{url.netloc}" == emulator.base_url
            assert url.path == "/v1/auth/oauth/apple/begin"
            assert parse_qs(url.query) == {
                "public_token": [self.PUBLIC],
                "redirect": ["true"],
                "login_redirect_url": [f"{HERE}&state=s%26t"],
                "registration_redirect_url": [f"{NEW}?state=s%26t"],
            }
            assert parse_qs(urlsplit(start_url("apple")).query).keys() == {"public_token", "redirect"}
            call.close()

    def test_the_address_as_a_setting(self, emulator: Emulator) -> None:
        elsewhere = "https://login.example/{provider}/start?app=1"
        with MoonKey(**self.options(emulator, oauth_start_url=elsewhere)) as client:
            found = client.oauth.start_url("github", login_redirect_url=NEW)
        assert found.startswith("https://login.example/github/start?app=1&public_token=pk_test_public&")

    @pytest.mark.parametrize("provider", ["", "Google", "../users", "a/b", "google?x=", "x" * 80, None])
    def test_no_provider(self, emulator: Emulator, provider: Any) -> None:
        with MoonKey(**self.options(emulator)) as client, pytest.raises(ValueError, match="provider"):
            client.oauth.start_url(provider)

    def test_a_wrong_call(self, emulator: Emulator) -> None:
        with MoonKey(**self.options(emulator)) as client:
            with pytest.raises(ValueError, match="login_redirect_url"):
                client.oauth.start_url("google", state="s")
            with pytest.raises(ValueError, match="login_redirect_url"):
                client.oauth.start_url("google", login_redirect_url="https://app.example/\r\n")
        with MoonKey(secret_key="sk_test_x") as client, pytest.raises(ConfigurationError, match="PUBLIC_TOKEN"):
            client.oauth.start_url("google")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("public_token", value) for value in ("sk_test_secret", "pk test", "", 7, "pk_\n")),
            *(("oauth_start_url", value) for value in ("https://x.example/begin", "{provider}", 7)),
            ("oauth_start_url", "http://x.example/{provider}"),
            ("oauth_start_url", "https://u:p@x.example/{provider}"),
        ],
    )
    def test_a_wrong_setting(self, name: str, value: Any) -> None:
        with pytest.raises(ConfigurationError, match=name) as caught:
            MoonKey(secret_key="sk_test_x", cookies=CookieSettings(), **{name: value})
        assert "sk_test_secret" not in str(caught.value)
