from datetime import timedelta
from typing import Any

import pytest
from starlette.applications import Starlette

from moonkey_core.audit import assert_all_protected
from moonkey_core.testing import assert_requires_auth


def test_a_user(signed_in: Any) -> None:
    ada = signed_in(email="ada@example.com")
    assert ada.get("/portal/me").json() == {"user_id": ada.moonkey.user_id}
    with ada.websocket_connect("/portal/live") as live:
        assert live.receive_text() == ada.moonkey.user_id


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_by_an_asynchronous_client(signed_in: Any, anyio_backend: str) -> None:
    async with signed_in(client="httpx") as ada:
        assert (await ada.get("/portal/me")).status_code == 200


def test_what_is_closed(signed_out: Any) -> None:
    visitor = signed_out()
    assert visitor.get("/status").text == "up"
    assert_requires_auth(visitor, "/portal/me")
    assert_requires_auth(visitor, "/portal/reports")


def test_no_route_is_open_by_mistake(moonkey_app: Starlette) -> None:
    assert_all_protected(moonkey_app)


def test_roles_and_scopes(signed_in: Any) -> None:
    assert signed_in(roles=["analyst"]).get("/portal/reports").status_code == 403
    analyst = signed_in(roles=["analyst"], scopes=["openid", "reports:read"])
    assert analyst.get("/portal/reports").status_code == 200


def test_tokens_that_are_none(signed_in: Any) -> None:
    assert signed_in(expired=True).get("/portal/me").status_code == 401
    assert signed_in(claims={"aud": "https://other.example"}).get("/portal/me").status_code == 401
    assert signed_in(claims={"iss": "https://evil.eu.auth0.com/"}).get("/portal/me").status_code == 401


def test_a_clock_that_is_wrong(signed_in: Any, moonkey_faults: Any) -> None:
    moonkey_faults.clock(ahead=timedelta(hours=1).total_seconds())
    assert signed_in().get("/portal/me").status_code == 401
