"""A step-up, which replaces the session token of a person."""

from __future__ import annotations

from moonkey_core import MoonKey
from moonkey_core.emulator import Emulator, SignedIn


def stepped_up(emulator: Emulator, person: SignedIn) -> str:
    """The token that takes the place of a person's, which is dead from then on."""
    with MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url) as client:
        secret = client.totps.create(user_id=person.user_id).secret
        login = client.totps.verify(
            emulator.totp_code(secret), user_id=person.user_id, session_token=person.session_token
        )
    assert login.session_token is not None
    return login.session_token
