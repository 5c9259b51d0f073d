"""Loading a project again that could not be imported for want of a key."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

import pytest


def load_again(config: pytest.Config, problem: BaseException, given: Mapping[str, Any]) -> None:
    """Call the hook ``pytest_load_initial_conftests`` of the plugin that has failed, and of those after it.

    Plugins before it are not called again: they have done their part, and may do it once only.

    Args:
        config: The configuration.
        problem: What has been raised.
        given: The arguments of the hook.
    """
    hook = config.pluginmanager.hook.pytest_load_initial_conftests
    waiting = [one for one in reversed(hook.get_hookimpls()) if not (one.wrapper or one.hookwrapper)]
    running = {frame.f_code for frame, _ in traceback.walk_tb(problem.__traceback__)}
    has_failed = False
    for one in waiting:
        has_failed = has_failed or getattr(one.function, "__code__", None) in running
        if has_failed:
            one.function(**{name: given[name] for name in one.argnames})
