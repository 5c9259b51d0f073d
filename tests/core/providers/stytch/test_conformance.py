"""Stytch passes the suite that every provider of one's own has to pass."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from moonkey_core import Stytch
from moonkey_core.provider import Fetch, Reply
from moonkey_core.testing import provider_conformance
from support.signed_tokens import key_set, signed
from support.stytch_tokens import CLAIM, PROJECT, SECRET, TOKEN, USER, payload, reply


def answer(fetch: Fetch) -> Reply:
    sent, ids = fetch.json or {}, {"status_code": 200, "user_id": USER, "email_id": "email-test-1"}
    body = reply(time.time(), session_token=sent.get("session_token", TOKEN), **ids)
    if fetch.url.endswith("/login_or_create"):
        body = ids
    elif fetch.url.endswith("/v1/totps"):
        codes = {"recovery_codes": ["recovery-code-0123456789"], "qr_code": "data:image/png;base64,AAAA"}
        body = {**ids, **codes, "totp_id": "totp-test-1", "secret": "a-secret-of-the-app"}
    return Reply(200, {}, json.dumps(body).encode())


CHECKS = provider_conformance(
    lambda: Stytch(PROJECT, SECRET, keys=key_set(), hydrate="tokens"),
    lambda header, claims: signed(dict(claims), {"typ": "JWT", **header}),
    lambda: payload(time.time()),
    id_claims={CLAIM: ..., "nonce": "n-1"},  # those of connected apps
    answer=answer,
)


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_it_passes(check: Any) -> None:
    check()


class Forgetful(Stytch):
    """It does not look for the session claim, nor for that of an organization."""

    def reader(self) -> Any:
        made = super().reader()
        made.check_kind = lambda payload: None  # type: ignore[method-assign]
        return made


def test_a_check_fails_without_its_rule() -> None:
    checks = provider_conformance(
        lambda: Forgetful(PROJECT, SECRET, keys=key_set()),
        lambda header, claims: signed(dict(claims), {"typ": "JWT", **header}),
        lambda: payload(time.time()),
    )
    for name in ("refuses tokens of other kinds", "refuses a token that is bound to a key"):
        (check,) = (one for one in checks if one.name == name)
        with pytest.raises(AssertionError):
            check()
