"""Opaque access tokens of any authorization server, by token introspection (RFC 7662). Flask.

To try it without an account:

    python -m moonkey_core.emulator --provider oidc --secret-key secret
    flask --app providers_introspection run

The opaque token that the emulator prints opens ``/me``, and pays by ``POST /payments``.
"""

import os

from flask import Flask

from moonkey_core.provider import Introspection
from moonkey_flask import FlaskMoonKey, current_user, require_auth

ISSUER = os.environ.get("ISSUER", "http://127.0.0.1:8765")

app = Flask(__name__)
FlaskMoonKey(
    app,
    provider=Introspection(
        f"{ISSUER}/introspect",
        issuer=ISSUER,
        audience="https://api.example.com",
        client_id="demo-api",
        client_secret=os.environ.get("CLIENT_SECRET", "secret"),
    ),
    cache_secret=os.environ.get("CACHE_SECRET", "change me: at least 32 random characters"),
    session_cache_ttl=10,  # ask about one token every 10 seconds at most
)


@app.get("/me")
@require_auth
def me() -> dict[str, str]:
    return {"user_id": current_user.id}


@app.post("/payments")
@require_auth(max_staleness=0)  # a token that was revoked a moment ago pays nothing
def pay() -> dict[str, str]:
    return {"paid_by": current_user.id}
