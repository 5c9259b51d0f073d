"""Write the handles and the records of users that a version makes, for the tests of the next one.

Run it as ``write.py``, with the source of the version that is landed::

    PYTHONPATH=/tmp/landed:/tmp/landed/tests python tests/stored_forms/write_records.py \
        > tests/stored_forms/landed_records.json
"""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from typing import Any

import httpx

from moonkey_core import OIDC, CookieSettings, MoonKey
from moonkey_core.emulator import OidcEmulator
from support.redis_server import RedisServer

CACHE_SECRET = "a cache secret of 32 characters!"
EMAIL = "ada@example.com"


def main() -> None:
    """Write it to the standard output."""
    with OidcEmulator() as oidc, RedisServer() as server:
        token = oidc.token(email=EMAIL, drop=["auth_time"], claims={"sid": "sid_1"})
        lines = {"authorization": f"Bearer {token}"}
        usual: dict[str, Any] = {
            "provider": OIDC(oidc.issuer, oidc.audience, jwks_url=oidc.jwks_url),
            "cache_secret": CACHE_SECRET,
            "mfa_lifetime": timedelta(hours=8),
            "note_starts": True,
            "longest_session": timedelta(days=7),
            "on_feed_lost": "local",
        }
        found: dict[str, Any] = {
            "cache_secret": CACHE_SECRET,
            "issuer": oidc.issuer,
            "audience": oidc.audience,
            "jwks": httpx.get(oidc.jwks_url).json(),
            "token": token,
            "at": time.time(),
        }
        places: dict[str, dict[str, Any]] = {"header": {}, "cookie": {"cookies": CookieSettings()}}
        for carrier, more in places.items():
            with MoonKey(**{**usual, **more, "mfa_handles": carrier}, mfa_scope="credential") as client:
                auth = client.authenticate(lines)
                mfa, start = client.mfa.record(auth, method="totp"), client.sessions.note_start(auth)
                found[carrier] = {"mfa": mfa.handle, "mfa_id": mfa.id, "start": start.handle, "start_id": start.id}
        with MoonKey(**usual, mfa_scope="user", redis_url=server.url) as client:
            record = client.mfa.record(client.authenticate(lines), method="totp")
        found["user"] = {
            "id": record.id,
            "keys": {
                key.decode(): {"value": server.client.get(key).hex(), "ttl_ms": server.client.pttl(key)}
                for key in sorted(server.client.keys("*:record:*"))
            },
        }
    json.dump(found, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
