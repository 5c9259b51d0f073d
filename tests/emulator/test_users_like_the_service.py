"""Users, factors and logins as the service shows them, through our own client and over HTTP."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest
import segno

from moonkey_core import MoonKey
from moonkey_core.emulator import Emulator
from moonkey_core.emulator.factors import FACTOR_NAMES
from moonkey_core.emulator.records import User
from moonkey_core.emulator.totp import enrolment_uri
from support import quick

EMAIL = "ada@example.com"


@pytest.fixture
def client(emulator: Emulator) -> Iterator[MoonKey]:
    with MoonKey(emulator.secret_key, base_url=emulator.base_url) as client:
        yield client


class TestAnAddress:
    def test_is_verified_where_somebody_signs_in_with_it(
        self, emulator: Emulator, client: MoonKey, api: httpx.Client
    ) -> None:
        cases: list[dict[str, Any]] = [{"email": EMAIL}, {"email": "B@Example.com", "factors": ["totp"]}, {}]
        for arguments in cases:
            person = emulator.sign_in(**arguments)
            user = client.users.get(person.user_id)
            assert user.email == arguments.get("email", "demo@example.com").lower()
            assert api.get(f"users/{person.user_id}").json()["emails"][0]["verified"] is True

    def test_that_was_there_before_is_verified_then(
        self, emulator: Emulator, client: MoonKey, api: httpx.Client
    ) -> None:
        made = api.post("users/create", json={"email": EMAIL, "phone_number": "+14152222222"}).json()
        assert client.users.get(made["user_id"]).email is None
        assert emulator.sign_in(user_id=made["user_id"], factors=["sms"]).user_id == made["user_id"]
        user = client.users.get(made["user_id"])
        assert (user.email, user.phone_number) == (None, "+14152222222")
        emulator.sign_in(EMAIL, factors=[])
        assert client.users.get(made["user_id"]).email == EMAIL

    def test_is_verified_by_a_login_elsewhere(self, emulator: Emulator, client: MoonKey) -> None:
        login = client.oauth.verify(token=emulator.oauth_token("new@example.com", "github"))
        assert client.users.get(login.user.id).email == "new@example.com"

    def test_that_a_factor_names_is_the_users_own(
        self, emulator: Emulator, client: MoonKey, api: httpx.Client
    ) -> None:
        people = [emulator.sign_in(f"p{place}@example.com", factors=["sms", "email"]) for place in range(5)]
        numbers = set()
        for person in people:
            sent, address = client.sessions.verify(session_token=person.session_token).session.factors
            user = client.users.get(person.user_id)
            body = api.get(f"users/{person.user_id}").json()
            assert sent.method_id == body["phone_numbers"][0]["id"]
            assert address.method_id == body["emails"][0]["id"]
            numbers.add(user.phone_number)
        assert len(numbers) == 5
        assert None not in numbers

    def test_of_somebody_without_any(self, emulator: Emulator, client: MoonKey, api: httpx.Client) -> None:
        wallet = {"wallet_type": "ethereum", "public_address": "0xabc"}
        user_id = api.post("wallets/registrations/begin", json=wallet).json()["user_id"]
        emulator.sign_in(user_id=user_id)
        assert (client.users.get(user_id).email or "").endswith("@example.com")


EXPECTED = {
    "totp": ("totp", "totp_authenticator"),
    "TOTP": ("totp", "totp_authenticator"),
    "otp": ("otp", "email"),
    "email otp": ("otp", "email"),
    "sms-otp": ("otp", "sms"),
    "phone": ("otp", "sms"),
    "magic_link": ("magic_link", "email"),
    "oauth": ("oauth", "google_oauth"),
    "github": ("oauth", "github_oauth"),
    "linkedin_oauth": ("oauth", "linkedin_oauth"),
    "wallet": ("wallet", "eth_wallet"),
    "solana": ("wallet", "sol_wallet"),
    "passkey": ("webauthn", "webauthn_credential"),
    "recovery_code": ("totp", "totp_recovery_code"),
}


class TestAFactor:
    @pytest.mark.parametrize(("name", "expected"), EXPECTED.items())
    def test_by_another_name(
        self, emulator: Emulator, client: MoonKey, name: str, expected: tuple[str, str]
    ) -> None:
        person = emulator.sign_in(EMAIL, factors=[name])
        (factor,) = client.sessions.verify(session_token=person.session_token).session.factors
        assert (factor.type, factor.delivery_channel) == expected
        assert factor.last_verified_at is not None
        assert factor.method_id

    @pytest.mark.parametrize("name", FACTOR_NAMES)
    def test_by_every_name(self, emulator: Emulator, name: str) -> None:
        assert emulator.sign_in(EMAIL, factors=[name]).session_token

    def test_whole_beside_a_name(self, emulator: Emulator, client: MoonKey) -> None:
        own = {"type": "new", "delivery_channel": "new_kind", "method": {"method_id": "m"}}
        person = emulator.sign_in(EMAIL, factors=["totp", own])
        factors = client.sessions.verify(session_token=person.session_token).session.factors
        assert [factor.type for factor in factors] == ["totp", "new"]

    @pytest.mark.parametrize("wrong", ["pigeon", "", "_oauth", "x" * 60 + "_oauth", "email,totp"])
    def test_that_nobody_knows(self, emulator: Emulator, control: httpx.Client, wrong: str) -> None:
        with pytest.raises(ValueError, match=r"unknown factor .*; known are email, sms, .*totp"):
            emulator.sign_in(EMAIL, factors=[wrong])
        answer = control.post("sign-in", json={"email": EMAIL, "factors": [wrong]})
        assert answer.status_code == 400
        assert "known are email, sms" in answer.json()["error_message"]

    @pytest.mark.parametrize("wrong", ["totp", [7], [["totp"]], [None]])
    def test_in_another_form(self, emulator: Emulator, wrong: Any) -> None:
        with pytest.raises(ValueError, match="must be a list of names or factor objects"):
            emulator.sign_in(EMAIL, factors=wrong)

    def test_has_the_users_own_registration(self, emulator: Emulator, api: httpx.Client) -> None:
        user_id = emulator.sign_in(EMAIL).user_id
        totp_id = api.post("totps/create", json={"user_id": user_id}).json()["totp_id"]
        wallet = api.post("wallets/create", json={"user_id": user_id, "wallet_type": "solana"}).json()
        api.post("oauth/verify", json={"token": emulator.oauth_token(EMAIL, "slack")})
        (identity,) = api.get(f"users/{user_id}").json()["idp_providers"]
        person = emulator.sign_in(EMAIL, factors=["totp", "sol_wallet", "slack"])
        session = api.post("sessions/verify", json={"session_token": person.session_token}).json()["session"]
        ids = [factor["method"]["method_id"] for factor in session["factors"]]
        assert ids == [totp_id, wallet["id"], identity["id"]]


class TestAnAuthenticatorApp:
    def test_gets_a_picture(self, api: httpx.Client, emulator: Emulator) -> None:
        user_id = emulator.sign_in(EMAIL).user_id
        made = api.post("totps/create", json={"user_id": user_id}).json()
        picture = base64.b64decode(made["qr_base64"], validate=True)
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">II", picture[16:24])
        assert width == height > 100
        uri = urlsplit(enrolment_uri(User(user_id, 0, 0, emails=[{"email": EMAIL}]), made["secret"]))
        assert (uri.scheme, uri.netloc, unquote(uri.path)) == ("otpauth", "totp", f"/MoonKey emulator:{EMAIL}")
        assert parse_qs(uri.query) == {"secret": [made["secret"]], "issuer": ["MoonKey emulator"]}
        assert picture == png_of(uri.geturl())

    def test_of_somebody_without_an_address(self) -> None:
        assert "user_1" in enrolment_uri(User("user_1", 0, 0), "SECRET")


def png_of(text: str) -> bytes:
    import io

    found = io.BytesIO()
    segno.make(text, micro=False).save(found, kind="png", scale=5)
    return found.getvalue()


def test_a_jwt_is_compact_json(emulator: Emulator) -> None:
    """RFC 7515 section 3.3: as other services write theirs."""
    person = emulator.sign_in(claims={"name": "Ada, née Byron: mathematician"})
    for token in (person.session_jwt, emulator.mint(claims={"a": [1, {"b": None}]})):
        for part in token.split(".")[:2]:
            raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()
            assert raw == json.dumps(json.loads(raw), separators=(",", ":"))


class TestAnOAuthLogin:
    BACK = "login_redirect_url=https://app.example/in?a%3D1&registration_redirect_url=https://app.example/new"

    def begin(self, emulator: Emulator, query: str, provider: str = "google") -> httpx.Response:
        """As a browser does, without the secret key."""
        return quick.get(f"{emulator.base_url}/v1/auth/oauth/{provider}/begin?{query}", follow_redirects=False)

    def test_goes_there_and_back(self, emulator: Emulator, client: MoonKey) -> None:
        begun = self.begin(emulator, f"public_token={emulator.public_token}&redirect=true&{self.BACK}")
        assert (begun.status_code, begun.headers["cache-control"]) == (302, "no-store")
        for email, place in (
            ("new@example.com", "https://app.example/new?"),
            (EMAIL, "https://app.example/in?a=1&"),
        ):
            emulator.sign_in(EMAIL)
            url = self.begin(emulator, f"public_token={emulator.public_token}&{self.BACK}").json()["redirect_url"]
            back = quick.get(f"{url}&email={email}", follow_redirects=False)
            assert back.status_code == 302
            assert back.headers["location"].startswith(place + "token=")
            login = client.oauth.verify(
                token=back.headers["location"].rpartition("token=")[2], session_expires_in=60
            )
            assert client.users.get(login.user.id).email == email
            assert login.session is not None
            again = quick.get(url, follow_redirects=False)
            assert (again.status_code, again.json()["error_type"]) == (400, "invalid_oauth_state")

    def test_ends_after_its_time(self, emulator: Emulator) -> None:
        url = self.begin(emulator, f"public_token={emulator.public_token}").json()["redirect_url"]
        assert quick.get(url.replace("google", "github"), follow_redirects=False).status_code == 400
        emulator.set_clock(301)
        assert quick.get(url, follow_redirects=False).status_code == 400

    @pytest.mark.parametrize(
        "query", ["", "public_token=", "public_token=pk_test_another", "public_token=sk_test_x"]
    )
    def test_needs_the_public_token(self, emulator: Emulator, query: str) -> None:
        refused = self.begin(emulator, query)
        assert (refused.status_code, refused.json()["error_type"]) == (401, "unauthorized")
        assert quick.get(f"{emulator.base_url}/v1/auth/oauth/google/callback").status_code == 400

    @pytest.mark.parametrize(
        "query",
        [
            "public_token=",
            "public_token=sk_test_x",
            "public_token=pk_x&login_redirect_url=javascript://x/%0aalert(1)",
            "public_token=pk_x&login_redirect_url=/in",
            "public_token=pk_x&registration_redirect_url=https://app.example/%23top",
            "public_token=pk_x&registration_redirect_url=https://app.example/%0d%0ax:y",
        ],
    )
    def test_that_is_not_well_formed(self, api: httpx.Client, query: str) -> None:
        refused = api.get(f"oauth/google/begin?{query}")
        assert (refused.status_code, refused.json()["error_type"]) == (400, "invalid_request")

    def test_at_an_unknown_provider(self, api: httpx.Client) -> None:
        refused = api.get("oauth/pigeon/begin?public_token=pk_x")
        assert (refused.status_code, refused.json()["error_type"]) == (404, "provider_not_found")


class TestUsers:
    def test_wait_for_a_verified_address_if_told(self, api: httpx.Client, emulator: Emulator) -> None:
        made = api.post("users/create", json={"email": EMAIL, "requires_verification": True}).json()
        assert made["status"] == "pending"
        sent = api.post("otps/email/send", json={"email": EMAIL}).json()
        assert sent["status"] == "pending"
        body = {"method_id": sent["method_id"], "otp": emulator.outbox()[0].code}
        api.post("otps/verify", json=body).raise_for_status()
        found = api.get(f"users/{made['user_id']}").json()
        assert (found["status"], found["active"]) == ("active", True)
        for path in ("otps/email/login_or_create", "magic_links/email/login_or_create"):
            body = {"email": f"{len(path)}@example.com", "requires_verification": True}
            assert api.post(path, json=body).json()["status"] == "pending"
        assert api.post("users/create", json={"email": "c@d.example", "include_user": "yes"}).status_code == 400

    @pytest.mark.parametrize("wallet_type", ["ETH", "ethereum", "solana", "BTC", "DOT", "XLM"])
    def test_have_one_kept_wallet_of_a_type(self, api: httpx.Client, wallet_type: str) -> None:
        body = {"email": EMAIL, "wallet_type": wallet_type, "include_user": True}
        made = api.post("users/create", json=body).json()
        (wallet,) = made["user"]["wallets"]
        again = api.post("wallets/create", json={"user_id": made["user_id"], "wallet_type": wallet_type}).json()
        assert (again["id"], again["wallet_type"], again["is_default"]) == (wallet["id"], wallet_type, True)
        for wrong in ({"wallet_type": "pigeon"}, {"wallet_type": wallet_type, "user_id": "user_x"}):
            assert api.post("wallets/create", json={"user_id": made["user_id"], **wrong}).status_code in (400, 404)

    def test_of_an_unkept_wallet_type_are_not_made(self, api: httpx.Client) -> None:
        assert api.post("users/create", json={"email": EMAIL, "wallet_type": "pigeon"}).status_code == 400
        assert api.post("otps/email/send", json={"email": EMAIL}).status_code == 404

    def test_lose_an_authenticator_app(self, api: httpx.Client, emulator: Emulator) -> None:
        user_id = emulator.sign_in(EMAIL).user_id
        for _ in range(2):
            made = api.post("totps/create", json={"user_id": user_id}).raise_for_status().json()
            body = {"user_id": user_id, "totp": emulator.totp_code(made["secret"])}
            api.post("totps/verify", json=body).raise_for_status()
            api.delete(f"users/totps/{made['totp_id']}/delete").raise_for_status()
            assert api.delete(f"users/totps/{made['totp_id']}/delete").json()["error_type"] == "totp_not_found"


class TestASearch:
    @pytest.fixture
    def people(self, api: httpx.Client, emulator: Emulator) -> list[str]:
        found = []
        for place in range(25):
            body = {"email": f"p{place}@example.com", "first_name": f"First{place}", "last_name": "Last"}
            if place % 2:
                body["phone_number"] = f"+1415555{place:04d}"
            found.append(api.post("users/create", json=body).json()["user_id"])
        emulator.sign_in("p3@example.com")
        api.post("totps/create", json={"user_id": found[4]})
        api.post("wallets/create", json={"user_id": found[5], "wallet_type": "ethereum"})
        emulator.oauth_token("p6@example.com", "slack")
        return found

    def places(self, api: httpx.Client, people: list[str], operator: str, *filters: dict[str, Any]) -> list[int]:
        body = {"limit": 100, "filters": {"operator": operator, "fields": list(filters)}}
        found = api.post("users/search", json=body)
        assert found.status_code == 200, found.text
        users = found.json()["users"]
        assert found.json()["total_count"] == len(users)
        return [people.index(user["user_id"]) for user in users]

    def test_by_each_field(self, api: httpx.Client, people: list[str]) -> None:
        user = api.get(f"users/{people[3]}").json()
        wallet = api.get(f"users/{people[5]}").json()["wallets"][0]
        totp = api.get(f"users/{people[4]}").json()["totps"][0]
        odd = [place for place in range(25) if place % 2]
        eq = {"operator": "eq"}
        cases: list[tuple[dict[str, Any], list[int]]] = [
            ({"field": "user_id", **eq, "value": people[3]}, [3]),
            ({"field": "user_id", "operator": "in", "values": people[3:5]}, [3, 4]),
            ({"field": "status", **eq, "value": "pending"}, []),
            ({"field": "status", "operator": "in", "values": ["active", "pending"]}, list(range(25))),
            ({"field": "full_name_match", **eq, "value": "first3 l"}, [3]),
            ({"field": "phone_number", **eq, "value": "+14155550003"}, [3]),
            ({"field": "phone_number_id", **eq, "value": user["phone_numbers"][0]["id"]}, [3]),
            ({"field": "phone_number_match", **eq, "value": "55500"}, odd),
            ({"field": "phone_number_verified", **eq, "value": True}, []),
            ({"field": "phone_number_verified", **eq, "value": False}, odd),
            ({"field": "email", **eq, "value": "P3@example.com"}, [3]),
            ({"field": "email_id", **eq, "value": user["emails"][0]["id"]}, [3]),
            ({"field": "email_match", **eq, "value": "P2"}, [2, 20, 21, 22, 23, 24]),
            ({"field": "email_verified", **eq, "value": True}, [3]),
            ({"field": "wallet_public_address", **eq, "value": wallet["public_address"]}, [5]),
            ({"field": "wallet_id", "operator": "in", "values": [wallet["id"]]}, [5]),
            ({"field": "totp_id", **eq, "value": totp["id"]}, [4]),
            ({"field": "totp_verified", **eq}, [4]),  # the Node client leaves a false value out
            ({"field": "idp_provider", **eq, "value": "slack"}, [6]),
        ]
        for one, expected in cases:
            assert self.places(api, people, "AND", one) == expected, one
        both = [{"field": "email_match", **eq, "value": "p2"}, {"field": "phone_number_match", **eq, "value": "+"}]
        assert self.places(api, people, "AND", *both) == [21, 23]
        assert self.places(api, people, "OR", *both) == sorted({*odd, 2, 20, 22, 24})

    def test_comes_in_pages(self, api: httpx.Client, people: list[str]) -> None:
        found: list[str] = []
        more, after = True, dict[str, str]()
        while more:
            page = api.post("users/search", json={"limit": 10, **after}).json()
            assert page["total_count"] == 25
            found += [user["user_id"] for user in page["users"]]
            more, after = page["has_more"], {"starting_after": found[-1]}
        assert found == people
        assert len(api.post("users/search", json={}).json()["users"]) == 25

    @pytest.mark.parametrize(
        "body",
        [
            {"limit": 9},
            {"limit": 101},
            {"limit": "10"},
            {"starting_after": "user_unknown"},
            {"filters": []},
            {"filters": {"fields": [{"field": "email", "operator": "eq", "value": "a"}]}},
            {"filters": {"operator": "XOR", "fields": [{"field": "email", "operator": "eq", "value": "a"}]}},
            {"filters": {"operator": "AND"}},
            {"filters": {"operator": "AND", "fields": []}},
            {"filters": {"operator": "AND", "fields": ["email"]}},
            {"filters": {"operator": "AND", "fields": [{"field": "shoe_size", "operator": "eq", "value": "a"}]}},
            {"filters": {"operator": "AND", "fields": [{"field": "email", "operator": "gt", "value": "a"}]}},
            {"filters": {"operator": "AND", "fields": [{"field": "email", "operator": "eq"}]}},
            {"filters": {"operator": "AND", "fields": [{"field": "email", "operator": "in", "values": []}]}},
            {"filters": {"operator": "AND", "fields": [{"field": "email", "operator": "in", "values": [7]}]}},
            {
                "filters": {
                    "operator": "AND",
                    "fields": [{"field": "email_match", "operator": "in", "values": ["a"]}],
                }
            },
            {
                "filters": {
                    "operator": "AND",
                    "fields": [{"field": "totp_verified", "operator": "eq", "value": "no"}],
                }
            },
        ],
    )
    def test_that_is_not_well_formed(self, api: httpx.Client, body: dict[str, Any]) -> None:
        refused = api.post("users/search", json=body)
        assert (refused.status_code, refused.json()["error_type"]) == (400, "invalid_request")
