"""A browser that meets a gate, proves more and passes, on every stack: the new factor counts at once."""

from __future__ import annotations

import httpx

from moonkey_core.emulator import Emulator
from support.visitors import JWT, SESSION, Visitor, verifications, with_app


def test_to_the_page_and_back(web: httpx.Client, emulator: Emulator) -> None:
    ada = Visitor(web)
    assert ada.sign_in(emulator).status_code == 303
    before = dict(ada.cookies)
    secret = with_app(emulator, emulator.outbox()[0].user_id)
    for _ in range(2):
        sent = ada.get("/totp")
        assert sent.status_code == 303
        assert sent.headers["location"] == "/auth/step-up?next=%2Ftotp&acr_values=totp"
    page = ada.get(sent.headers["location"])
    assert page.status_code == 200
    assert 'value="/totp"' in page.text
    done = ada.post("/step-up/totp", {"code": emulator.totp_code(secret), "next": "/totp"})
    assert (done.status_code, done.headers["location"]) == (303, "/totp")
    for name in (SESSION, JWT):
        assert ada.cookies[name] != before[name]
    emulator.clear_requests()
    for _ in range(2):
        assert ada.get("/totp").status_code == 200
    assert verifications(emulator) == 0  # by the new JWT, here
