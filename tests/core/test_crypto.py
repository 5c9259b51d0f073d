"""What is sealed opens under its name, with its secret, for its purpose, and in no other way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from moonkey_core import Settings
from moonkey_core._crypto import Sealer, fleet_sealer

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SEALER = Sealer("a secret of the fleet", "test")


def refused(sealer: Sealer, name: str, sealed: bytes) -> bool:
    try:
        sealer.open(name, sealed)
    except ValueError:
        return True
    return False


@pytest.mark.rule("S37", "S48")
@given(NAMES, st.binary())
def test_what_was_sealed_opens(name: str, data: bytes) -> None:
    sealed = SEALER.seal(name, data)
    assert SEALER.open(name, sealed) == data
    assert Sealer("a secret of the fleet", "test").open(name, sealed) == data
    assert len(data) < 8 or data not in sealed


@pytest.mark.long
@pytest.mark.rule("S37", "S48")
@given(NAMES, NAMES, st.binary())
def test_not_under_another_name(name: str, other: str, data: bytes) -> None:
    assume(name != other)
    assert refused(SEALER, other, SEALER.seal(name, data))


@pytest.mark.rule("S37", "S48")
@given(st.binary(max_size=40), st.data())
def test_not_with_any_bit_changed_nor_cut_nor_prolonged(data: bytes, draw: st.DataObject) -> None:
    sealed = SEALER.seal("name", data)
    place = draw.draw(st.integers(0, len(sealed) * 8 - 1))
    changed = bytearray(sealed)
    changed[place // 8] ^= 1 << place % 8
    assert refused(SEALER, "name", bytes(changed))
    assert refused(SEALER, "name", sealed[: place // 8])
    assert refused(SEALER, "name", sealed[place // 8 + 1 :])
    assert refused(SEALER, "name", sealed + b"\x00")


@given(st.binary(max_size=100))
def test_anything_at_all(junk: bytes) -> None:
    assert refused(SEALER, "name", junk)
    assert refused(SEALER, "name", b"\x01" + junk)


@pytest.mark.rule("S37")
@pytest.mark.parametrize("other", [("another secret", "test"), ("a secret of the fleet", "tes"), ("", "")])
def test_another_secret_or_purpose(other: tuple[str, str]) -> None:
    stranger = Sealer(*other)
    assert refused(stranger, "name", SEALER.seal("name", b"data"))
    assert refused(SEALER, "name", stranger.seal("name", b"data"))
    assert stranger.digest("value") != SEALER.digest("value")


def test_the_same_is_never_sealed_alike() -> None:
    assert len({SEALER.seal("name", b"data") for _ in range(1000)}) == 1000


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_digests_meet_where_values_are_equal(one: str, other: str) -> None:
    assert (SEALER.digest(one) == SEALER.digest(other)) == (one == other)
    assert len(SEALER.digest(one)) == 64
    assert len(one) < 8 or one not in SEALER.digest(one)


def test_the_fleet_has_one_for_each_app_and_environment() -> None:
    def sealer(**options: Any) -> Sealer:
        return fleet_sealer(Settings.load({"secret_key": "sk_test_one", **options}, {}), "feed")

    usual = sealer()
    assert sealer(jwt_max_age=5, redis_url="redis://elsewhere").digest("x") == usual.digest("x")
    with_secret = sealer(cache_secret="c" * 16)
    assert sealer(secret_key="sk_live_new", cache_secret="c" * 16).digest("x") == with_secret.digest("x")
    settings = Settings.load({"secret_key": "sk_test_one"}, {})
    digests = {
        usual.digest("x"),
        with_secret.digest("x"),
        sealer(secret_key="sk_test_two").digest("x"),
        sealer(base_url="https://api.example.com").digest("x"),
        sealer(cache_secret="c" * 16, base_url="https://api.example.com").digest("x"),
        fleet_sealer(settings, "store").digest("x"),
    }
    assert len(digests) == 6
