from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from moonkey_core.audit import assert_all_protected
from moonkey_core.testing import assert_requires_auth, assert_step_up, identity, override_auth


@pytest.mark.parametrize("by", ["cookies", "header"])
def test_notes_of_each_user(signed_in: Any, by: str) -> None:
    ada, grace = signed_in(email="ada@example.com", by=by), signed_in(email="grace@example.com", by=by)
    assert ada.post("/notes", params={"text": "mine"}).status_code == 201
    assert (ada.get("/notes").json(), grace.get("/notes").json()) == (["mine"], [])


async def test_by_an_asynchronous_client(signed_in: Any) -> None:
    async with signed_in(client="async") as ada:
        assert (await ada.post("/notes", params={"text": "mine"})).status_code == 201
        await assert_requires_auth(ada, "/notes")


def test_what_is_closed(signed_out: Any) -> None:
    visitor = signed_out()
    assert_requires_auth(visitor, "/notes")
    assert_requires_auth(visitor, "/notes", method="DELETE")
    with pytest.raises(WebSocketDenialResponse) as refused, visitor.websocket_connect("/live"):
        pass
    assert refused.value.status_code == 401


def test_no_route_is_open_by_mistake(app: FastAPI) -> None:
    assert_all_protected(app)


def test_permissions_and_step_up(signed_in: Any) -> None:
    assert signed_in().delete("/notes").status_code == 403
    assert signed_in(permissions=["notes:delete"]).delete("/notes").status_code == 200
    assert_step_up(signed_in(), "/notes/publish", method="POST", factors={"totp"})
    assert signed_in(mfa=True).post("/notes/publish").status_code == 200


@pytest.mark.parametrize("by", ["cookies", "header"])
def test_the_websocket_ends_with_the_session(signed_in: Any, by: str, moonkey_faults: Any) -> None:
    ada = signed_in(by=by)
    with ada, ada.websocket_connect("/live") as live:
        live.send_text("hello")
        assert live.receive_text() == f"{ada.moonkey.user_id}: hello"
        moonkey_faults.revoked(ada, told=True)
        with pytest.raises(WebSocketDisconnect) as closed:
            live.receive_text()
    assert closed.value.code == 4401


def test_an_override(app: FastAPI, signed_out: Any) -> None:
    visitor = signed_out()
    with override_auth(app, identity("user_ada", permissions=["notes:delete"])):
        assert visitor.delete("/notes").status_code == 200
    assert visitor.delete("/notes").status_code == 401


def test_faults(signed_in: Any, moonkey_faults: Any) -> None:
    for begin in (
        moonkey_faults.down,
        moonkey_faults.failing,
        moonkey_faults.garbage,
        moonkey_faults.rate_limited,
        lambda: moonkey_faults.slow(60),
    ):
        ada = signed_in(credential="token", by="header")
        begin()
        assert ada.get("/notes").status_code == 503
        moonkey_faults.clear()
        assert ada.get("/notes").status_code == 200


def test_new_keys(signed_in: Any, moonkey_faults: Any) -> None:
    before = signed_in(by="header", credential="jwt")
    assert before.get("/notes").status_code == 200
    moonkey_faults.rotate_keys()
    after = signed_in(by="header", credential="jwt")
    assert after.get("/notes").status_code == 200
