"""The state file: what survives a restart, and who may read it."""

from __future__ import annotations

import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from moonkey_core.emulator import Emulator, StateFileError
from moonkey_core.emulator.keys import SigningKey
from support import quick


def verify(emulator: Emulator, **body: str) -> int:
    url = f"{emulator.base_url}/v1/auth/sessions/verify"
    return quick.post(url, json=body, headers={"Authorization": f"Bearer {emulator.secret_key}"}).status_code


@pytest.mark.long
def test_everything_pasted_stays_valid(tmp_path: Path) -> None:
    path = tmp_path / "emulator.db"
    with Emulator(state=path) as first:
        old_kid = first.kid
        first.rotate_keys(keep_old=True)
        kept, ended = first.sign_in("ada@example.com"), first.sign_in("ada@example.com")
        first.revoke(ended.session_id)
        before = (first.secret_key, first.issuer, first.app_id, first.wallet_key, first.kid)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    with Emulator(state=path) as second:
        assert (second.secret_key, second.issuer, second.app_id, second.wallet_key, second.kid) == before
        assert verify(second, session_token=kept.session_token) == 200
        assert verify(second, session_jwt=kept.session_jwt) == 200
        assert verify(second, session_token=ended.session_token) == 404
        assert second.sign_in("ada@example.com").user_id == kept.user_id
        url = f"{second.base_url}/v1/auth/jwks/default?api_key={second.secret_key}"
        assert [key["kid"] for key in quick.get(url).json()["keys"]] == [second.kid, old_kid]
        second.reset()

    with Emulator(state=path) as third:
        assert verify(third, session_token=kept.session_token) == 404
        assert third.secret_key == before[0]


def test_memory_alone_forgets() -> None:
    with Emulator() as first:
        kept = first.sign_in()
    with Emulator() as second:
        assert second.secret_key != first.secret_key
        assert verify(second, session_token=kept.session_token) == 404


@pytest.mark.long
def test_settings_given_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "emulator.db"
    Emulator(state=path).close()
    Emulator(state=path, secret_key="sk_test_mine", issuer="api.example/mine").close()
    again = Emulator(state=path)
    again.close()
    assert (again.secret_key, again.issuer) == ("sk_test_mine", "api.example/mine")


def test_a_readable_file_is_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "emulator.db"
    path.touch(0o644)
    path.chmod(0o644)
    Emulator(state=path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "emulator.db"
    first = Emulator(state=path)
    with pytest.raises(StateFileError, match="another emulator"):
        Emulator(state=path)
    first.close()
    first.close()
    Emulator(state=path).close()


@pytest.mark.parametrize("content", [b"this is a text, not a database\n" * 100, b"x", b"SQLite format 2\0"])
def test_a_file_of_another_kind_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "letter.txt"
    path.write_bytes(content)
    path.chmod(0o644)
    with pytest.raises(
        StateFileError, match=r"letter\.txt cannot be opened \(it is no SQLite file\). Name another"
    ):
        Emulator(state=path)
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "emulator.db"
    emulator = Emulator(state=path)
    emulator.sign_in()
    emulator.close()
    database = sqlite3.connect(path)
    database.execute("UPDATE moonkey_emulator SET body = '[]' WHERE kind = 'user'")
    database.commit()
    database.close()
    with pytest.raises(StateFileError, match="damaged"):
        Emulator(state=path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StateFileError, match="cannot be opened"):
        Emulator(state=tmp_path / "nowhere" / "emulator.db")


def test_a_taken_port_lets_go_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "emulator.db"
    with Emulator() as other, pytest.raises(OSError, match="in use"), Emulator(other.port, path):
        pytest.fail("two servers on one port")
    Emulator(state=path).close()


# What version 0.1 has written about one user, as it is; its keys are made anew in the test.
OLDER: list[tuple[str, str, Any]] = [
    (
        "session",
        "sess_LC9Dob1VS2XmQPNnKRXW7drfHoB",
        {
            "id": "sess_LC9Dob1VS2XmQPNnKRXW7drfHoB",
            "user_id": "user_epuE7MrDqXOqGANK0AsmQAsaHji",
            "token": "LuBuhHrgUaZ1u0asgVuQ3LkwN6CAdWdJ8pdRAUGp5dhRLV82QlvHJbLcjfFev1cx",
            "started_at": 1795959811,
            "expires_at": 4_000_000_000,
            "last_active_at": 1795959811,
            "updated_at": 1795959811,
            "factors": [
                {
                    "delivery_channel": "email",
                    "type": "otp",
                    "method": {
                        "method_id": "em_qUQdP53HLEfLBIkMKpxJrP2qjlZ",
                        "method_type": "email",
                        "email_id": "em_qUQdP53HLEfLBIkMKpxJrP2qjlZ",
                        "email": "ada@example.com",
                        "last_verified_at": 1795959811,
                    },
                }
            ],
            "user_agent": "",
            "ip": "",
            "custom_claims": {"plan": "pro"},
        },
    ),
    ("setting", "app_id", "2ed36615-da76-4e99-81ac-05ce3011cebc"),
    ("setting", "issuer", "api.example/older"),
    ("setting", "secret_key", "sk_test_of_an_older_emulator"),
    ("setting", "wallet_key", "8f9e8dd04e5794790109494883acc3bd879e552f2620624473bb5f388e7f5582"),
    (
        "user",
        "user_epuE7MrDqXOqGANK0AsmQAsaHji",
        {
            "user_id": "user_epuE7MrDqXOqGANK0AsmQAsaHji",
            "created_at": 1795959811,
            "updated_at": 1795959811,
            "first_name": "Ada",
            "middle_name": "",
            "last_name": "",
            "emails": [
                {
                    "id": "em_qUQdP53HLEfLBIkMKpxJrP2qjlZ",
                    "email": "ada@example.com",
                    "verified": False,
                    "created_at": 1795959811,
                    "updated_at": 1795959811,
                }
            ],
            "phone_numbers": [
                {
                    "id": "pn_9FA9rK8Dtgd0ZZnxM1JiR9wEo7S",
                    "phone_number": "+14152222222",
                    "verified": False,
                    "created_at": 1795959811,
                    "updated_at": 1795959811,
                }
            ],
            "wallets": [
                {
                    "id": "wlt_3N7HceDKv8C4FBjGaPWb0P7tEli",
                    "app_id": "2ed36615-da76-4e99-81ac-05ce3011cebc",
                    "user_id": "user_epuE7MrDqXOqGANK0AsmQAsaHji",
                    "public_address": "0xabc",
                    "wallet_type": "ethereum",
                    "is_default": True,
                    "created_at": 1795959811,
                    "updated_at": 1795959811,
                }
            ],
            "totps": [
                {
                    "id": "totp_NYnHvPoGeDEazqy8cHZ7nSF4Pmh",
                    "user_id": "user_epuE7MrDqXOqGANK0AsmQAsaHji",
                    "verified": True,
                    "created_at": 1795959811,
                    "updated_at": 1795959811,
                    "secret": "VXACZ5HTSALYHBTTJSPYMV2FDF26N6SV",
                    "recovery_codes": [
                        "wrrj8sbRetUq",
                        "CjWiBzkN9Chu",
                        "VZgwKKdfD34S",
                        "myAQEf5cj2uI",
                        "lKNpfuxaNCLM",
                        "jInSqFDEY040",
                        "ZfedvqLmHK4y",
                        "B19pnmJlt7zz",
                    ],
                    "last_step": 59865327,
                }
            ],
            "idp_providers": [
                {
                    "id": "idp_fkK1S0FnoXln940RhGWsML96Pl0",
                    "provider_type": "github",
                    "provider_subject": "JdiW4v8nngMFtLtvsuVDm",
                }
            ],
        },
    ),
]


def test_a_file_of_an_older_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "emulator.db"
    pem = SigningKey.generate().pem()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE moonkey_emulator"
            " (kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id))"
        )
        rows = [(kind, key, json.dumps(body)) for kind, key, body in OLDER]
        keys = json.dumps(json.dumps([("jwk_older", pem)]))
        database.executemany("INSERT INTO moonkey_emulator VALUES (?, ?, ?)", [*rows, ("setting", "keys", keys)])
    with Emulator(state=path) as emulator:
        assert (emulator.secret_key, emulator.issuer) == ("sk_test_of_an_older_emulator", "api.example/older")
        assert emulator.kid == "jwk_older"
        session, user = OLDER[0][2], OLDER[-1][2]
        assert verify(emulator, session_token=session["token"]) == 200
        headers = {"Authorization": f"Bearer {emulator.secret_key}"}
        url = f"{emulator.base_url}/v1/auth/users/{user['user_id']}"
        found = quick.get(url, headers=headers).raise_for_status().json()
        assert (found["first_name"], found["status"], found["emails"][0]["verified"]) == ("Ada", "active", False)
        assert found["idp_providers"][0].items() >= user["idp_providers"][0].items()
        assert [one["id"] for one in found["wallets"]] == [one["id"] for one in user["wallets"]]
        again = emulator.sign_in("ada@example.com", factors=["totp"])
        assert again.user_id == user["user_id"]
        assert quick.get(url, headers=headers).json()["emails"][0]["verified"] is True
        token = emulator.public_token
    with Emulator(state=path) as emulator:  # and what was written since
        assert verify(emulator, session_token=session["token"]) == 200
        assert verify(emulator, session_token=again.session_token) == 200
        assert emulator.public_token == token
