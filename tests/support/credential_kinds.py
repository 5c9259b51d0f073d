"""Which rule of SECURITY.md concerns which kind of credential: each such pair has a test (``make rules``).

A rule concerns a kind where a fault could break it for that kind alone: because the kind is read, judged or
remembered by other code, or is answered in another way.
"""

from __future__ import annotations

from typing import Final

KINDS: Final = ("token", "jwt", "pair", "connection")
"""A session token in a header, a JWT in a header, a pair of cookies, and a long-lived connection.

A connection is a handshake, with a credential of any of the other kinds, and what becomes of it until its end.
"""

_TOKEN, _JWT, _PAIR, _CONNECTION = KINDS
_REQUESTS: Final = (_TOKEN, _JWT, _PAIR)
_HEADERS: Final = (_TOKEN, _JWT, _CONNECTION)
_JWTS: Final = (_JWT, _PAIR, _CONNECTION)
_COOKIES: Final = (_PAIR, _CONNECTION)
_NONE: Final = ()

CONCERNS: Final[dict[str, tuple[str, ...]]] = {
    "S1": KINDS,
    "S2": KINDS,
    "S3": _HEADERS,  # S41 says it of cookies
    "S4": KINDS,
    **dict.fromkeys(("S5", "S6", "S7", "S8", "S9", "S10", "S11"), _JWTS),
    "S12": KINDS,
    "S13": _JWTS,
    **dict.fromkeys(("S14", "S15", "S16"), _NONE),  # how the key set is fetched and read
    "S17": _JWTS,
    "S18": _JWTS,
    "S19": KINDS,
    "S20": KINDS,
    **dict.fromkeys(("S21", "S22", "S24"), _NONE),  # any call to the API
    "S23": KINDS,
    "S25": KINDS,
    "S26": (_CONNECTION,),  # a handshake has gates of its own; of the others, a gate sees the identity only
    "S27": KINDS,
    "S28": KINDS,
    "S29": KINDS,
    "S30": KINDS,
    "S31": KINDS,
    "S32": KINDS,
    "S33": _REQUESTS,  # a handshake asks the same memory
    "S34": KINDS,
    "S35": KINDS,
    "S36": KINDS,
    **dict.fromkeys(("S37", "S38"), _NONE),  # what lies in Redis; how many calls there are at once
    "S39": KINDS,
    "S40": _COOKIES,
    "S41": _COOKIES,
    "S42": KINDS,
    "S43": _COOKIES,
    "S44": _COOKIES,  # by our own origin
    "S45": _COOKIES,
    "S46": _COOKIES,
    **dict.fromkeys(("S47", "S48", "S49"), _NONE),  # the steps of a sign-in, before there is a credential
    "S50": KINDS,
    "S51": _REQUESTS,
    "S52": (_CONNECTION,),
    "S53": KINDS,
}
