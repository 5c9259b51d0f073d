"""What runs two versions side by side (``side_by_side.py``) finds nothing wrong where both are this one."""

from __future__ import annotations

import pytest
from stored_forms.side_by_side import ROOT, wrong

from support.redis_server import need_redis


@pytest.mark.long
def test_two_processes_of_this_version_hear_each_other() -> None:
    need_redis()
    assert list(wrong(ROOT, ROOT)) == []
