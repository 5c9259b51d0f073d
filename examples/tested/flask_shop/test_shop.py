from datetime import timedelta
from typing import Any

import pytest

from moonkey_core.audit import assert_all_protected
from moonkey_core.testing import Kit, assert_requires_auth, assert_step_up


@pytest.mark.parametrize("by", ["cookies", "header"])
def test_a_user_sees_their_orders(signed_in: Any, by: str) -> None:
    ada = signed_in(email="ada@example.com", by=by)
    assert ada.get("/api/orders").json["of"] == ada.moonkey.user_id


def test_what_is_closed(signed_out: Any) -> None:
    visitor = signed_out()
    for method, path in (("GET", "/api/orders"), ("POST", "/api/orders"), ("DELETE", "/api/account")):
        assert_requires_auth(visitor, path, method=method)
    with pytest.raises(AssertionError, match="GET / without a credential was answered with 200"):
        assert_requires_auth(visitor, "/")


def test_no_route_is_open_by_mistake(moonkey_kit: Kit) -> None:
    assert_all_protected(moonkey_kit.app)


def test_pages(signed_in: Any, signed_out: Any) -> None:
    assert signed_out().get("/").text == "Please sign in"
    assert signed_in().get("/").text == "Hello"


def test_scopes_and_roles(signed_in: Any) -> None:
    assert signed_in().post("/api/orders").status_code == 403
    assert signed_in(scopes=["orders:write", "orders:read"]).post("/api/orders").status_code == 201
    assert signed_in(roles=["reader"]).get("/api/reports").status_code == 403
    assert signed_in(roles=["editor"]).get("/api/reports").status_code == 200
    assert_step_up(signed_in(roles=["editor"], session_age=timedelta(days=2)), "/api/reports")


def test_step_up(signed_in: Any) -> None:
    assert_step_up(signed_in(), "/api/account", method="DELETE", factors={"totp"}, max_age=600)
    old = signed_in(factors=["email", "totp"], factor_age=timedelta(hours=1))
    assert_step_up(old, "/api/account", method="DELETE")
    assert signed_in(mfa=True).delete("/api/account").status_code == 204


def test_another_site_cannot_use_the_cookies(signed_in: Any) -> None:
    ada = signed_in(by="cookies", scopes=["orders:write"])
    evil = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert ada.post("/api/orders", headers=evil).status_code == 403
    assert ada.post("/api/orders").status_code == 201


def test_signing_out(signed_in: Any) -> None:
    ada = signed_in(by="cookies")
    assert ada.post("/auth/sign-out").status_code in (200, 204, 302, 303)
    assert ada.get("/api/orders").status_code == 401


def test_what_ends_a_session(signed_in: Any, moonkey_faults: Any) -> None:
    assert signed_in(expired=True).get("/api/orders").status_code == 401
    assert signed_in(revoked=True).get("/api/orders").status_code == 401
    ada = signed_in()
    assert ada.get("/api/orders").status_code == 200
    moonkey_faults.revoked(ada, told=True)
    assert ada.get("/api/orders").status_code == 401


def test_an_outage_signs_nobody_out(signed_in: Any, moonkey_faults: Any) -> None:
    ada = signed_in(unavailable=True)
    refused = ada.get("/api/orders")
    assert (refused.status_code, "Set-Cookie" in refused.headers) == (503, False)
    moonkey_faults.clear()
    assert ada.get("/api/orders").status_code == 200


def test_nothing_is_told(signed_in: Any, caplog: pytest.LogCaptureFixture, moonkey_kit: Kit) -> None:
    caplog.set_level(0)
    signed_in(unavailable=True).get("/api/orders")
    moonkey_kit.assert_no_secret(caplog)
