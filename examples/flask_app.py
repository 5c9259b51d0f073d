from flask import Flask

from moonkey_flask import FlaskMoonKey, current_user, require_auth

app = Flask(__name__)
FlaskMoonKey(app)


@app.get("/me")
@require_auth
def me() -> dict[str, str]:
    return {"user_id": current_user.id}
