"""The document on models shows where a JWT has what its user lacks."""

from __future__ import annotations

from moonkey_core import MoonKey
from moonkey_core.emulator import Emulator
from support.documents import run


def test_the_address_in_a_jwt(emulator: Emulator) -> None:
    person = emulator.sign_in(email="ada@example.com")
    with MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url, jwt_issuer=emulator.issuer) as client:
        auth = client.authenticate({"authorization": f"Bearer {person.session_jwt}"})
    assert auth.user is not None
    assert auth.session is not None
    assert (auth.user.email, auth.user.complete) == (None, False)
    assert run("docs/models.md", "Factor")["address_of"](auth.session) == "ada@example.com"
    method = auth.session.factors[0].extra["method"]
    assert method.get("email") == "ada@example.com"  # as the README has it
