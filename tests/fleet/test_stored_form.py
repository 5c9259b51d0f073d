"""Processes of the version before and of this one read each other's keys and values in Redis.

The values were made by the version before, under the secret key ``sk_test_fleet``.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from moonkey_core._crypto import fleet_sealer
from moonkey_core._plan import Reply, StorePolicy
from moonkey_core.redis import RedisStore
from moonkey_core.redis.entries import open_entry
from moonkey_core.redis.store import StoreSerializer
from moonkey_core.revocations import Revocation
from support.feeds import MakeProcess, settings_for
from support.redis_server import RedisServer
from support.scripted import wait_until

ROOT = "moonkey:{aa664e01d0f597b7f84f74c21985f3c4}:feed"
EPOCH = b"0123456789abcdef0123456789abcdef.1800000000000"
STREAM = f"{ROOT}:0123456789abcdef0123456789abcdef"
ENTRIES = {
    "018746d993bf262263fad8481dbd5d115e2f0bf2f3370d08c35f743d155e0ff107e9340e53ca1669384492adcff1bd4cb744783857872b"
    "958be6276dbac29fbcbb38c861b83395e433bb16a6": Revocation("sess_1", None, None, 1_800_000_000.5),
    "016421ceb7ee2c0d491d52300f0ecea322a18aa30557f3b8198b5e2bd87530222c930212b3167e55faa364e022447679b352351352881e"
    "e7b4bd330b12ee1551ae86578beb26f2b597a70cdd944136de30ba7841e8a6": Revocation(
        None, "user_é", 1_800_000_000.25, 1_800_000_000.5
    ),
    "01eb8ac14fa377f7929b598e2b014d7e9ec37f778c0fd808cebf9d553f8361684fc7cd67e1b305d5caaa703f946f3b158b713a5b4144af"
    "a7350376d315d0d804b0949db949e445495effcf87293a3494": Revocation(None, None, 1_700_000_000.0, 1_800_000_000.5),
    "016da4fb095d893a4c53c340089f9d25a6f992787cba108529f6b9f04b2a5c225bf4e64367f6c462477a9fb5b62072491ef068025397f2"
    "21bbec58cfb7987f98a1b34ca62ad07fa56a408065c8e61a54f2bcef81370ff472921e3b849fea505b3a6ec2f554d12e706e1e7ab5ef7d"
    "d80909dd564e9c0bcdc0aaf7e496a06ec755e56bf5459599602ba4b2c396a81563": Revocation(
        None, "user_2", 1_799_999_990.999, 1_800_000_000.5, "sess_2", 1_800_000_005.5
    ),
}
SESSION_ENTRY = bytes.fromhex(next(iter(ENTRIES)))

STORED = StorePolicy("0123456789abcdef", 30.0, bytes)
STORE_KEY = "moonkey:store:6fad35dd08aa0d320caad691a6c13363e90dd1f89fbe43965211b51e25fbd609"
STORE_VALUE = bytes.fromhex(
    "01d645000a02a6c570908b3f406ff215d16b3803bc65688c61e1307b1028784e61f09c6d4cbd348862fe7fa4817ffd422b7a3597"
)
ASKED_AT, BODY = 1_799_999_990.0, b'{"session": {}}'


def opened(settings: Any, purpose: str, name: str, sealed: bytes) -> bytes:
    """What the version before finds in a sealed value."""
    info = b"moonkey seal\x00" + f"{purpose} {settings.base_url}".encode()
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(b"sk_test_fleet")
    assert sealed[:1] == b"\x01"
    return AESGCM(key).decrypt(sealed[1:13], sealed[13:], b"\x01" + name.encode())


@pytest.mark.parametrize("place", range(len(ENTRIES)))
def test_an_entry_is_understood(place: int, server: RedisServer) -> None:
    sealed, entry = list(ENTRIES.items())[place]
    sealer = fleet_sealer(settings_for(server), "feed")
    assert open_entry(sealer, STREAM, bytes.fromhex(sealed)) == entry


def test_a_stream_is_read_and_written(make_process: MakeProcess, server: RedisServer) -> None:
    server.client.set(f"{ROOT}:epoch", EPOCH)
    server.client.xadd(STREAM, {"entry": b""})
    server.client.xadd(STREAM, {"entry": SESSION_ENTRY})
    process = make_process()
    assert wait_until(lambda: process.is_live)
    assert process.refuses("sess_1")
    process.known.add(session_id="sess_new")
    process.known.add_cutoff("user_2", keep="sess_2")
    assert wait_until(lambda: process.feed.unsent == 0)
    assert set(server.client.keys()) == {f"{ROOT}:epoch".encode(), STREAM.encode()}
    assert server.client.get(f"{ROOT}:epoch") == EPOCH
    rows = server.client.xrange(STREAM)
    contents = [
        json.loads(opened(settings_for(server), "feed", STREAM, fields[b"entry"])) for _, fields in rows[2:]
    ]
    (session,) = (one for one in contents if one["entry"][0] is not None)
    (user,) = (one for one in contents if one["entry"][0] is None)
    assert session["entry"][:3] == ["sess_new", None, None]
    assert list(session) == ["entry"]
    assert user["entry"][:2] == [None, "user_2"]
    assert user["kept"] == "sess_2"
    assert user["doubt"][0] < user["entry"][2] == user["entry"][3] < user["doubt"][1]


def test_an_epoch_of_ours(make_process: MakeProcess, server: RedisServer) -> None:
    process = make_process()
    process.feed.start()
    assert wait_until(lambda: process.feed.lag() is not None)
    name, _, milliseconds = server.client.get(f"{ROOT}:epoch").partition(b".")
    assert len(bytes.fromhex(name.decode())) == 16
    assert milliseconds.isdigit()
    assert server.client.xrange(f"{ROOT}:{name.decode()}")[0][1] == {b"entry": b""}


def test_a_stored_reply_is_understood(server: RedisServer) -> None:
    serializer = StoreSerializer(settings_for(server), lambda: ASKED_AT + 10)
    found = serializer.deserialize(STORED, STORE_VALUE)
    assert found == Reply(200, {}, BODY, asked_at=ASKED_AT, from_store=True)
    assert serializer.key(STORED) == STORE_KEY


def test_a_reply_is_stored_as_before(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonkey_core.redis.store.TIMEOUT", 5.0)
    settings = settings_for(server)
    store = RedisStore(settings)
    monkeypatch.setattr(store, "_serializer", StoreSerializer(settings, lambda: ASKED_AT + 10))
    store.put(STORED, Reply(200, {}, BODY, asked_at=ASKED_AT))
    assert server.client.keys() == [STORE_KEY.encode()]
    assert 15_000 < server.client.pttl(STORE_KEY) <= 20_000
    value = opened(settings, "store", STORE_KEY, server.client.get(STORE_KEY))
    assert value == struct.pack(">d", ASKED_AT) + BODY
    store.close()
