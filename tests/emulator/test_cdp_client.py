"""The vendor's own Python client ``cdp-sdk``, unchanged, against the emulated Coinbase CDP."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Any

import pytest

from moonkey_core import CDP, MoonKey
from moonkey_core.emulator import CdpBrowser, CdpEmulator

# It takes seconds to import, and belongs to an extra of its own.
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

Visit = Callable[[Any], Awaitable[Any]]


@pytest.fixture(autouse=True)
def sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the test where the client is not installed; it must say nothing to anybody else."""
    if find_spec("cdp") is None:
        if os.environ.get("TESTS_SKIP_NOTHING"):
            pytest.fail("cdp-sdk is missing, and TESTS_SKIP_NOTHING is set: pip install -e '.[vendors]'")
        pytest.skip("not installed: cdp-sdk (pip install -e '.[vendors]')")
    for variable in ("DISABLE_CDP_USAGE_TRACKING", "DISABLE_CDP_ERROR_REPORTING"):
        monkeypatch.setenv(variable, "true")


def visit(cdp: CdpEmulator, what: Visit, **key: Any) -> Any:
    """Do something with a client, and close it."""
    from cdp import CdpClient

    async def main() -> Any:
        own = {"api_key_id": cdp.api_key_id, "api_key_secret": cdp.api_key_secret, **key}
        async with CdpClient(base_path=cdp.api_url, **own) as client:
            return await what(client)

    return asyncio.run(main())


def error_of(cdp: CdpEmulator, what: Visit, **key: Any) -> tuple[int, str]:
    from cdp.openapi_client.errors import ApiError

    with pytest.raises(ApiError) as raised:
        visit(cdp, what, **key)
    assert raised.value.correlation_id is None or raised.value.correlation_id.isalnum()
    return raised.value.http_code, raised.value.error_type


def validating(token: str) -> Visit:
    return lambda client: client.end_user.validate_access_token(access_token=token)


def test_it_reads_the_user_of_a_token(cdp: CdpEmulator) -> None:
    ada = cdp.sign_in("ada@example.com")
    cdp.sign_in(user_id=ada.user_id, method={"type": "jwt", "sub": "idp|1", "kid": "k1"})
    cdp.sign_in(user_id=ada.user_id, method={"type": "sms", "phoneNumber": "+14155550100"})
    wire = cdp.add_wallets(ada.user_id)
    cdp.enroll_mfa(ada.user_id)
    user = visit(cdp, validating(ada.access_token))
    assert user.user_id == ada.user_id
    assert [one.address for one in user.evm_account_objects] == wire["evmAccounts"]
    assert user.evm_smart_account_objects[0].owner_addresses == wire["evmAccounts"]
    assert [one.address for one in user.solana_account_objects] == wire["solanaAccounts"]
    assert [one.actual_instance.type for one in user.authentication_methods] == ["email", "jwt", "sms"]
    assert user.mfa_methods.totp.enrolled_at is not None
    assert user.mfa_methods.sms is None


def test_it_sees_what_this_package_sees(cdp: CdpEmulator) -> None:
    """The same user, wallets and methods; so the two read the same reply."""
    browser = CdpBrowser(cdp)
    cdp.add_wallets(browser.user_id)
    browser.enroll_mfa("sms")
    token = browser.renew()
    theirs = visit(cdp, validating(token))
    with MoonKey(provider=CDP(cdp.api_key_id, cdp.api_key_secret, cdp.project_id, base_url=cdp.api_url)) as client:
        ours = client.sessions.verify(session_jwt=token).user
    assert ours.id == theirs.user_id
    addresses = [
        *(one.address for one in theirs.evm_account_objects),
        *(one.address for one in theirs.evm_smart_account_objects),
        *(one.address for one in theirs.solana_account_objects),
    ]
    assert [one.address for one in ours.wallets] == addresses
    assert [(one.type, one.enrolled_at) for one in ours.mfa_methods or ()] == [
        ("sms", theirs.mfa_methods.sms.enrolled_at)
    ]
    assert ours.created_at == theirs.created_at


def test_it_lists_users(cdp: CdpEmulator) -> None:
    users = [cdp.sign_in(f"{name}@example.com").user_id for name in ("ada", "bob", "eve")]

    async def pages(client: Any) -> list[str]:
        found: list[str] = []
        token = None
        while True:
            page = await client.end_user.list_end_users(page_size=2, page_token=token)
            found += [one.user_id for one in page.end_users]
            token = page.next_page_token
            if not token:
                return found

    assert visit(cdp, pages) == users


def test_its_errors(cdp: CdpEmulator) -> None:
    ada = cdp.sign_in()
    good = validating(ada.access_token)
    assert error_of(cdp, validating(cdp.token(age=901))) == (401, "unauthorized")
    assert error_of(cdp, validating("opaque")) == (400, "invalid_request")
    assert error_of(cdp, good, api_key_id="another") == (401, "unauthorized")
    cdp.fault("/platform", status=429, times=1)
    assert error_of(cdp, good) == (429, "rate_limit_exceeded")
    cdp.delete_user(ada.user_id)
    assert error_of(cdp, good) == (404, "not_found")


def test_it_cannot_read_the_answer_of_a_gateway(cdp: CdpEmulator) -> None:
    token = cdp.sign_in().access_token
    cdp.gateway_refuses()
    assert error_of(cdp, validating(token))[1] == "unexpected_error"


def test_a_key_of_the_other_kind(cdp: CdpEmulator) -> None:
    key = cdp.add_api_key("EdDSA")
    ada = cdp.sign_in()
    user = visit(cdp, validating(ada.access_token), api_key_id=key.key_id, api_key_secret=key.secret)
    assert user.user_id == ada.user_id
