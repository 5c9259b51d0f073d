"""What a view does to its user and session is not seen by the next request, which shares the objects."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from contract import warm_apps
from contract.stacks import usual_options
from contract.warm_apps import Visit, view

from moonkey_core.emulator import Emulator
from support.changes import CLAIMS, refused_changes

Open = Callable[[warm_apps.Options | None], AbstractContextManager[Visit]]
STACKS: dict[str, Open] = {
    "flask-wsgi": warm_apps.flask,
    "django-wsgi": warm_apps.django_wsgi,
    "django-asgi": warm_apps.django_asgi,
    "starlette": warm_apps.starlette,
    "fastapi": warm_apps.fastapi,
}


def all_of(user: Any, session: Any) -> tuple[str, ...]:
    """Everything that a view can read of both."""
    return (
        repr(user.to_dict()),
        repr(user.extra),
        repr(session.to_dict()),
        repr(session.claims),
        str(session.factors),
    )


@pytest.mark.rule("S25", "jwt")
@pytest.mark.parametrize("stack", STACKS)
def test_no_request_changes_what_the_next_one_sees(
    stack: str, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, ...]] = []
    refused: list[int] = []

    def look(user: Any, session: Any) -> None:
        seen.append(all_of(user, session))
        refused.append(sum(refused_changes(one) for one in (user, user.extra, session, session.claims)))

    jwt = emulator.sign_in("ada@example.com", claims=CLAIMS).session_jwt
    monkeypatch.setattr(view, "look", look)
    with STACKS[stack](usual_options(emulator)) as visit:
        assert [visit("/protected", jwt) for _ in range(4)] == [200] * 4
    assert len(set(seen)) == 1
    assert len(seen) == 4
    assert "teams" in seen[0][3]
    assert min(refused) > 100
