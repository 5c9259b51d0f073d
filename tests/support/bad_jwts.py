"""JWTs of an emulator's session, each wrong in one respect, for the rules on JWTs in SECURITY.md."""

from __future__ import annotations

import base64
import json
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from moonkey_core.emulator import Emulator, SignedIn
from support.odd_jwts import CLAIM, b64

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def bad_jwts(emulator: Emulator, person: SignedIn) -> dict[str, str]:
    """Return JWTs that name a person's session and must not be accepted, by rule and fault.

    All but the unsigned one have a good signature.
    """
    good, own = person.session_jwt, person.session_id
    head, body, signature = good.split(".")
    claims = _decoded(body)
    members = _decoded(head)
    now = int(time.time())
    return {
        "S4: no signature": f"{head}.{body}.",
        "S5: another algorithm": emulator.mint(header={"alg": "RS384"}, session_id=own),
        "S5: no algorithm": f"{b64(json.dumps({**json.loads(members), 'alg': 'none'}).encode())}.{body}.",
        "S6: crit": emulator.mint(header={"crit": ["exp"]}, session_id=own),
        "S6: b64": emulator.mint(header={"b64": False}, session_id=own),
        "S6: another type": emulator.mint(header={"typ": "at+jwt"}, session_id=own),
        "S7: no key id": emulator.mint(drop=["kid"], session_id=own),
        "S7: a long key id": emulator.mint(header={"kid": "k" * 257}, session_id=own),
        "S8: padded": f"{good}==",
        "S8: bits that mean nothing": f"{head}.{body}.{_respelled(signature)}",
        "S9: a claim twice": _signed(emulator, members, claims[:-1] + f', "sub": "{person.user_id}"}}'),
        "S9: a number that is none": _signed(emulator, members, claims[:-1] + ', "x": NaN}'),
        "S9: two objects": _signed(emulator, members, claims + "{}"),
        "S10: no end": emulator.mint(drop=["exp"], session_id=own),
        "S10: an end that is none": emulator.mint({"exp": True}, session_id=own),
        "S10: not yet": emulator.mint({"nbf": now + 60}, session_id=own),
        "S11: another issuer": emulator.mint({"iss": emulator.issuer + "/"}, session_id=own),
        "S12: nobody": emulator.mint({"sub": "user_"}, session_id=own),
        "S12: a name with a blank": emulator.mint({"sub": f"{person.user_id} "}, session_id=own),
        "S12: no session": emulator.mint(drop=[CLAIM], session_id=own),
        "S13: old, and of another issuer": emulator.mint(
            {"iss": "another", "iat": now - 1000, "nbf": now - 1000, "exp": now - 700}, session_id=own
        ),
    }


def _decoded(part: str) -> str:
    return base64.urlsafe_b64decode(part + "==").decode()


def _respelled(signature: str) -> str:
    """The same bytes in another spelling: the last character has bits that stand for nothing."""
    return signature[:-1] + _ALPHABET[_ALPHABET.index(signature[-1]) + 1]


def _signed(emulator: Emulator, head: str, body: str) -> str:
    """Sign two JSON texts as they are."""
    parts = f"{b64(head.encode())}.{b64(body.encode())}"
    made = emulator.private_key.sign(parts.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{parts}.{b64(made)}"
