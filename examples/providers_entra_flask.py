"""Microsoft Entra ID: the access tokens of one tenant. Flask, configured as Flask apps are.

To try it without an account:

    python -m moonkey_core.emulator --provider oidc --preset entra-v2
    export ENTRA_JWKS_URL=http://127.0.0.1:8765/common/discovery/v2.0/keys
    flask --app providers_entra_flask run

The access token that the emulator prints opens ``/me`` and ``/orders``.
"""

import os

from flask import Flask

from moonkey_flask import FlaskMoonKey, current_user, require_auth

CLIENT_ID = "0f2b9c54-8a1d-4d3e-9b7a-6c5d4e3f2a10"  # of the app registration of this API

app = Flask(__name__)
app.config.update(
    MOONKEY_PROVIDER="entra",
    MOONKEY_ENTRA_TENANT_ID="7d3f5a10-94e8-4cf0-b1c6-0a4a5e6f7081",
    MOONKEY_ENTRA_AUDIENCE=[CLIENT_ID, f"api://{CLIENT_ID}"],  # version 2 and version 1 tokens
)
if "ENTRA_JWKS_URL" in os.environ:  # only for a trial: Microsoft's own address is known
    app.config["MOONKEY_ENTRA_JWKS_URL"] = os.environ["ENTRA_JWKS_URL"]
FlaskMoonKey(app)


@app.get("/me")
@require_auth
def me() -> dict[str, str]:
    return {"user_id": current_user.id}


@app.get("/orders")
@require_auth(scopes={"orders.read"})
def orders() -> list[str]:
    return []
