"""A minute of chaos: the scenarios in which a fleet has broken before, each for a few seconds."""

from __future__ import annotations

import pytest
from chaos.run import play
from chaos.scenarios import MINUTE, SCENARIOS

from support.redis_server import need_redis

pytestmark = pytest.mark.long


@pytest.mark.parametrize("name", MINUTE)
def test_no_answer_is_wrong(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    need_redis()
    is_right = play(SCENARIOS[name], "1", seconds=6.0)
    assert is_right, capsys.readouterr().out


def test_each_scenario_says_what_it_is_about() -> None:
    assert set(MINUTE) <= set(SCENARIOS)
    assert all(one.about and one.seconds > 0 for one in SCENARIOS.values())
