"""The state file: what survives a restart, and who may read it."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from moonkey_core.emulator import Emulator, StateFileError
from support import quick


def verify(emulator: Emulator, **body: str) -> int:
    url = f"{emulator.base_url}/v1/auth/sessions/verify"
    return quick.post(url, json=body, headers={"Authorization": f"Bearer {emulator.secret_key}"}).status_code


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


@pytest.mark.parametrize("content", [b"this is a text, not a database\n" * 100])
def test_a_file_of_another_kind_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "letter.txt"
    path.write_bytes(content)
    with pytest.raises(StateFileError, match=r"letter\.txt"):
        Emulator(state=path)
    assert path.read_bytes() == content


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
