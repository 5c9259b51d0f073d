"""Four workers of gunicorn, a real redis-server, and the emulator over real sockets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fleet import promises
from fleet.promises import Fleet, fleet_of, patient_fleet_of

from moonkey_core.emulator import Emulator
from support.fleets import gunicorn

pytestmark = pytest.mark.long


@pytest.fixture
def fleet(emulator: Emulator) -> Iterator[Fleet]:
    with fleet_of(gunicorn, 4, emulator) as fleet:
        yield fleet


@pytest.fixture
def patient_fleet(emulator: Emulator) -> Iterator[Fleet]:
    with patient_fleet_of(gunicorn, 4, emulator) as fleet:
        yield fleet


@pytest.mark.rule("S35")
def test_a_revoked_session_is_refused_by_all(patient_fleet: Fleet) -> None:
    promises.a_revoked_session_is_refused_by_all(patient_fleet)


@pytest.mark.rule("S35")
def test_a_revoked_user_is_refused_by_all(patient_fleet: Fleet) -> None:
    promises.a_revoked_user_is_refused_by_all(patient_fleet)


@pytest.mark.rule("S36")
def test_without_the_feed_the_api_is_asked(fleet: Fleet) -> None:
    promises.without_the_feed_the_api_is_asked(fleet)


def test_a_new_worker_knows_what_was_revoked(patient_fleet: Fleet) -> None:
    promises.a_new_worker_knows_what_was_revoked(patient_fleet)
