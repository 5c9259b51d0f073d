"""All that the official Node client asks, as its source builds the requests and declares the replies.

``users.get`` and the like are its names. The paths are below ``/v1/``; it sends names in snake case, leaves out
what is empty, and sends its secret key with every call, those that only need a public token as well.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from moonkey_core.emulator import Emulator
from support import quick

EMAIL, PHONE = "ada@example.com", "+14152222222"
DEVICE = {"user_agent": "node", "ip": "192.0.2.1"}
SESSION = {"id", "user_id", "started_at", "expires_at", "last_active_at", "factors", "device_fingerprint"}
LOGIN = {"user_id", "session_token", "session_jwt", "session"}
USER = {
    *("user_id", "first_name", "middle_name", "last_name", "active", "status", "created_at", "updated_at"),
    *("emails", "phone_numbers", "wallets", "totps", "idp_providers"),
}
WALLET = {
    *("id", "app_id", "user_id", "public_address", "wallet_type", "is_default"),
    *("is_read_only", "is_imported", "created_at", "updated_at"),
}
DELETED = {"user_id", "message"}


class Node:
    """Sends what the client sends, and checks that a reply has all that the client declares."""

    def __init__(self, emulator: Emulator, http: httpx.Client) -> None:
        self.emulator = emulator
        self.called: set[str] = set()
        self._http = http

    def call(self, name: str, method: str, path: str, body: Any = None, reply: set[str] | None = None) -> Any:
        answer = self.raw(name, method, path, body)
        assert answer.status_code == 200, (name, answer.text)
        assert answer.headers["content-type"].startswith("application/json")
        found = answer.json()
        assert (reply or set()) <= found.keys(), (name, (reply or set()) - found.keys())
        return found

    def raw(self, name: str, method: str, path: str, body: Any = None) -> httpx.Response:
        self.called.add(name)
        return self._http.request(method, path, json=body)

    @property
    def code(self) -> str:
        return self.emulator.outbox()[0].code


METHODS = {
    *("users.create", "users.update", "users.get", "users.delete", "users.deleteEmail", "users.deletePhoneNumber"),
    *("users.deleteWallet", "users.search", "users.deleteWebAuthn", "users.deleteTOTP"),
    *("magicLinks.loginOrCreate", "magicLinks.invite", "magicLinks.create", "magicLinks.verify"),
    *("otps.email.loginOrCreate", "otps.email.send", "otps.sms.loginOrCreate", "otps.sms.send", "otps.verify"),
    *("wallets.beginRegistration", "wallets.verify", "wallets.create"),
    *("totps.create", "totps.verify", "totps.recoveryCodes", "totps.recovery"),
    *("sessions.list", "sessions.verify", "sessions.delete", "sessions.jwks"),
    *("oauth.google", "oauth.apple", "oauth.microsoft", "oauth.discord", "oauth.github", "oauth.verify"),
}


def users(node: Node) -> None:
    names = {"first_name": "Ada", "middle_name": "King", "last_name": "Lovelace"}
    body: dict[str, Any] = {
        "requires_verification": True,
        "email": EMAIL,
        "phone_number": PHONE,
        **names,
        "include_user": True,
    }
    reply = {"user_id", "status", "email_id", "phone_number_id", "user"}
    made = node.call("users.create", "POST", "auth/users/create", body, reply)
    assert made["status"] == "pending"
    assert made["user"].items() >= names.items()
    user_id = made["user_id"]
    found = node.call("users.get", "GET", f"auth/users/{user_id}", reply=USER)
    assert (found["status"], found["active"]) == ("pending", False)
    body = {"first_name": "Augusta", "emails": [{"email": "second@example.com"}], "phone_numbers": []}
    changed = node.call(
        "users.update", "PUT", f"auth/users/{user_id}/update", body, {"user_id", "emails", "phone_numbers", "user"}
    )
    assert [one["email"] for one in changed["emails"]] == [EMAIL, "second@example.com"]
    filters = [{"field": "email", "operator": "eq", "value": EMAIL}, {"field": "email_verified", "operator": "eq"}]
    body = {"limit": 10, "filters": {"operator": "AND", "fields": filters}}
    page = node.call("users.search", "POST", "auth/users/search", body, {"users", "total_count", "has_more"})
    assert [one["user_id"] for one in page["users"]] == [user_id]
    assert page["users"][0].keys() >= {*USER, "app_id"}
    totp_id = node.call("totps.create", "POST", "auth/totps/create", {"user_id": user_id})["totp_id"]
    assert node.call("users.deleteTOTP", "DELETE", f"auth/users/totps/{totp_id}/delete", reply=DELETED) == {
        "user_id": user_id,
        "message": "Successfully deleted user totp",
    }
    assert node.call("users.get", "GET", f"auth/users/{user_id}")["totps"] == []
    wallet = {"wallet_type": "ethereum", "user_id": user_id}
    kept = node.call("wallets.create", "POST", "auth/wallets/create", wallet, {*WALLET, "verified"})
    assert node.call("wallets.create", "POST", "wallets/create", wallet)["id"] == kept["id"]
    node.call("users.deleteWallet", "DELETE", f"auth/users/wallets/{kept['id']}/delete", reply=DELETED)
    node.call("users.deleteEmail", "DELETE", f"auth/users/emails/{made['email_id']}/delete", reply=DELETED)
    node.call(
        "users.deletePhoneNumber",
        "DELETE",
        f"auth/users/phone_numbers/{made['phone_number_id']}/delete",
        reply=DELETED,
    )
    missing = node.raw("users.deleteWebAuthn", "DELETE", "auth/users/webauthn_credentials/wac_x/delete")
    assert (missing.status_code, missing.json()["error_type"]) == (404, "webauthn_credential_not_found")
    node.call("users.delete", "DELETE", f"auth/users/{user_id}/delete", reply=DELETED)
    gone = node.raw("users.get", "GET", f"auth/users/{user_id}")
    assert (gone.status_code, gone.json()["error_type"]) == (404, "user_not_found")


def magic_links(node: Node) -> None:
    body: dict[str, Any] = {
        "email": EMAIL,
        "login_redirect_url": "https://app.example/in",
        "device_fingerprint": DEVICE,
    }
    reply = {"user_id", "status", "user_created", "created_at", "updated_at", "email_id"}
    node.call("magicLinks.loginOrCreate", "POST", "auth/magic_links/email/login_or_create", body, reply)
    names = {"first_name": "Grace", "middle_name": "Brewster", "last_name": "Hopper"}
    for path, email in (
        ("auth/magic_links/invite", "g1@example.com"),
        ("auth/magic_links/email/invite", "g2@x.example"),
    ):
        asked = {"invite_redirect_url": "https://app.example/welcome", "invite_expires_in": 60}
        body = {"email": email, **names, **asked, "device_fingerprint": DEVICE}
        invited = node.call(
            "magicLinks.invite", "POST", path, body, {"user_id", "status", "user_created", "email_id"}
        )
        assert invited["user_created"] is True
        assert node.call("users.get", "GET", f"auth/users/{invited['user_id']}").items() >= names.items()
        message = node.emulator.outbox()[0]
        assert (message.to, message.link) == (email, f"https://app.example/welcome?token={message.code}")
        body = {"token": message.code, "session_expires_in": 60, "device_fingerprint": DEVICE}
        reply = {*LOGIN, "method_id", "method_type"}
        login = node.call("magicLinks.verify", "POST", "auth/magic_links/verify", body, reply)
        assert login["user_id"] == invited["user_id"]
        assert login["session"].keys() >= SESSION
    body = {"user_id": login["user_id"], "expires_in": 5, "device_fingerprint": DEVICE}
    node.call("magicLinks.create", "POST", "auth/magic_links/create", body, {"user_id", "token"})


def otps(node: Node) -> None:
    for channel, contact in (("email", {"email": EMAIL}), ("sms", {"phone_number": PHONE})):
        kind = next(iter(contact))
        body = {**contact, "expires_in": 5, "device_fingerprint": DEVICE}
        reply = {f"{kind}_id", "user_created", "user_id", "status"}
        made = node.call(
            f"otps.{channel}.loginOrCreate", "POST", f"auth/otps/{channel}/login_or_create", body, reply
        )
        sent = node.call(
            f"otps.{channel}.send", "POST", f"auth/otps/{channel}/send", body, {f"{kind}_id", "user_id"}
        )
        assert sent["user_id"] == made["user_id"]
        body = {"otp": node.code, "method_id": sent[f"{kind}_id"], "session_expires_in": 60}
        reply = {*LOGIN, "method_id", "method_type"}
        login = node.call("otps.verify", "POST", "auth/otps/verify", body, reply)
        assert (login["method_type"], login["session"]["factors"][0]["type"]) == (kind, "otp")


def wallets(node: Node) -> None:
    address = {"wallet_type": "ETH", "public_address": "0xabc"}
    reply = {*WALLET, "challenge"} - {"is_default", "is_read_only", "is_imported"}
    begun = node.call("wallets.beginRegistration", "POST", "auth/wallets/registrations/begin", address, reply)
    body: dict[str, Any] = {
        **address,
        "signature": node.emulator.sign_wallet(begun["challenge"]),
        "session_expires_in": 60,
    }
    login = node.call("wallets.verify", "POST", "auth/wallets/verify", body, {*WALLET, *LOGIN})
    assert login["user_id"] == begun["user_id"]


def totps(node: Node) -> None:
    user_id = node.emulator.sign_in().user_id
    reply = {"user_id", "secret", "totp_id", "recovery_codes", "qr_base64"}
    body: dict[str, Any] = {"user_id": user_id, "expires_in": 60}
    made = node.call("totps.create", "POST", "auth/totps/create", body, reply)
    body = {"user_id": user_id, "totp": node.emulator.totp_code(made["secret"]), "session_expires_in": 60}
    node.call("totps.verify", "POST", "auth/totps/verify", body, {*LOGIN, "totp_id"})
    left = node.call("totps.recoveryCodes", "POST", "auth/totps/recovery_codes", {"user_id": user_id})
    assert left["totps"][0].keys() >= {"id", "verified", "recovery_codes"}
    body = {"user_id": user_id, "totp": made["recovery_codes"][0], "session_expires_in": 60}
    node.call("totps.recovery", "POST", "auth/totps/recovery", body, {*LOGIN, "totp_id"})


def sessions(node: Node) -> None:
    person = node.emulator.sign_in(minutes=60)
    listed = node.call("sessions.list", "GET", f"auth/sessions/list?user_id={person.user_id}", reply={"sessions"})
    assert listed["sessions"][0].keys() >= SESSION
    body: dict[str, Any] = {"session_token": person.session_token, "session_expires_in": 90}
    reply = {"session_token", "session_jwt", "session"}
    verified = node.call("sessions.verify", "POST", "auth/sessions/verify", body, reply)
    assert verified["session"].keys() >= SESSION
    node.call("sessions.verify", "POST", "auth/sessions/verify", {"session_jwt": person.session_jwt}, reply)
    keys = node.call("sessions.jwks", "GET", "auth/jwks/default", reply={"keys"})["keys"]
    assert keys[0].keys() >= {"alg", "e", "key_ops", "kid", "kty", "n", "use"}
    in_its_url = quick.get(f"{node.emulator.base_url}/v1/auth/jwks/default?api_key={node.emulator.secret_key}")
    assert in_its_url.json()["keys"] == keys
    body = {"session_id": person.session_id}
    node.call("sessions.delete", "DELETE", "auth/sessions/delete", body, {"message"})
    dead = node.raw("sessions.verify", "POST", "auth/sessions/verify", {"session_token": person.session_token})
    # All that the client reads of an error; it knows no other shape.
    error = {
        "status_code": 404,
        "error_type": "invalid_session",
        "error_message": "Session not found or has expired",
    }
    assert (dead.status_code, dead.json()) == (404, error)


def oauth(node: Node) -> None:
    for provider in ("google", "apple", "microsoft", "discord", "github"):
        back = "login_redirect_url=https://app.example/in&registration_redirect_url=https://app.example/new"
        path = f"auth/oauth/{provider}/begin?public_token=pk_live_of_the_app&{back}"
        begun = node.call(f"oauth.{provider}", "GET", path, reply={"redirect_url"})
        consented = quick.get(begun["redirect_url"], follow_redirects=False)
        place, _, token = consented.headers["location"].partition("?token=")
        assert place == ("https://app.example/new" if provider == "google" else "https://app.example/in")
        body = {"token": token, "session_expires_in": 60}
        reply = {*LOGIN, "provider", "provider_subject", "idp_session"}
        login = node.call("oauth.verify", "POST", "auth/oauth/verify", body, reply)
        assert login["provider"] == provider
        assert login["session"]["factors"][0]["delivery_channel"] == f"{provider}_oauth"
        assert login["idp_session"].keys() >= {"access_token", "refresh_token"}
    (known,) = node.call("users.get", "GET", f"auth/users/{login['user_id']}")["emails"]
    assert known["verified"] is True
    providers = node.call("users.get", "GET", f"auth/users/{login['user_id']}")["idp_providers"]
    assert {one["provider"] for one in providers} == {"google", "apple", "microsoft", "discord", "github"}
    wanted = {
        "id",
        "provider",
        "provider_subject",
        "idp_type",
        "method_id",
        "method_type",
        "created_at",
        "updated_at",
    }
    assert all(one.keys() >= wanted for one in providers)


JOURNEYS: list[Callable[[Node], None]] = [users, magic_links, otps, wallets, totps, sessions, oauth]


@pytest.fixture
def node(emulator: Emulator) -> Iterator[Node]:
    headers = {"Authorization": f"Bearer {emulator.secret_key}", "User-Agent": "streambird-node/1.0.9"}
    with quick.Client(base_url=f"{emulator.base_url}/v1/", headers=headers, trust_env=False) as http:
        yield Node(emulator, http)


@pytest.mark.parametrize("journey", JOURNEYS, ids=lambda one: one.__name__)
def test_what_the_client_asks_is_answered_as_it_declares(node: Node, journey: Callable[[Node], None]) -> None:
    journey(node)


def test_no_method_is_left_out(node: Node) -> None:
    for journey in JOURNEYS:
        node.emulator.reset()
        journey(node)
    assert node.called == METHODS


SCRIPT = """
const { Streambird, StreambirdApiError } = require("streambird");
const { STREAMBIRD_URL: apiHostUrl, STREAMBIRD_KEY: apiKey } = process.env;
const client = new Streambird({ apiKey, apiHostUrl });
(async () => {
  const made = await client.users.create({ email: "ada@example.com", requiresVerification: false });
  const said = { made };
  said.found = await client.users.search({
    limit: 10,
    filters: { operator: "AND", fields: [{ field: "email", operator: "eq", value: "ada@example.com" }] },
  });
  const totp = await client.totps.create({ userId: made.userId });
  said.qr = totp.qrBase64;
  said.deleted = await client.users.deleteTOTP(totp.totpId);
  said.invited = await client.magicLinks.invite({ email: "grace@example.com", firstName: "Grace" });
  said.begun = {};
  for (const provider of ["google", "apple", "microsoft", "discord", "github"]) {
    said.begun[provider] = await client.oauth[provider]({ publicToken: "pk_test_of_the_app" });
  }
  try {
    await client.sessions.verify({ sessionToken: "never-existed" });
  } catch (error) {
    said.dead = [error instanceof StreambirdApiError, error.statusCode, error.errorType, error.errorMessage];
  }
  console.log(JSON.stringify(said));
})().catch((error) => { console.error(error); process.exit(1); });
"""


@pytest.fixture(scope="module")
def node_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the client installed; skips where that cannot be had."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed; apt-get install nodejs npm")
    folder = tmp_path_factory.mktemp("node")
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "streambird"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    if installed.returncode:
        pytest.skip(f"npm cannot install streambird: {installed.stderr.strip().splitlines()[:1]}")
    return folder


@pytest.mark.long
def test_the_client_itself(emulator: Emulator, node_package: Path) -> None:
    environ = {**os.environ, "STREAMBIRD_URL": f"{emulator.base_url}/v1/", "STREAMBIRD_KEY": emulator.secret_key}
    command = ["node", "-e", SCRIPT]
    ran = subprocess.run(
        command, cwd=node_package, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    user_id = said["made"]["userId"]
    assert [one["userId"] for one in said["found"]["users"]] == [user_id]
    assert (said["found"]["totalCount"], said["found"]["hasMore"]) == (1, False)
    assert said["qr"].startswith("iVBORw0KGgo")  # PNG, in base64
    assert said["deleted"]["userId"] == user_id
    assert said["invited"]["userCreated"] is True
    assert all(one["redirectUrl"].startswith(emulator.base_url) for one in said["begun"].values())
    assert said["dead"] == [True, 404, "invalid_session", "Session not found or has expired"]
