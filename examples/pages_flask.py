"""An app with pages and sign-in, for Flask. A change of the e-mail address rotates the sessions."""

from datetime import timedelta

from flask import Flask, redirect, render_template, request
from flask.typing import ResponseReturnValue

from moonkey_core import CookieSettings
from moonkey_core.errors import InvalidCredentials
from moonkey_flask import (
    FlaskMoonKey,
    current_auth,
    current_session,
    current_user,
    get_client,
    public,
    require_auth,
    session_routes,
)

app = Flask(__name__)
FlaskMoonKey(app, cookies=CookieSettings())
app.register_blueprint(session_routes())

news_goes_to: dict[str, str] = {}  # a real app uses a database


@app.get("/")
@public
def home() -> str:
    return render_template("home.html", auth=current_auth)


@app.get("/account")
@require_auth
def account() -> str:
    links = [("/email", "Where we write to you")]
    return render_template("account.html", user=current_user, links=links)


@app.get("/vault")
@require_auth(factor_max_age=timedelta(minutes=1))
def vault() -> str:
    return render_template("vault.html")


@app.get("/email")
@require_auth
def show_email() -> str:
    return render_template("email.html", email=news_goes_to.get(current_user.id, current_user.email))


@app.post("/email")
@require_auth
def ask_for_a_code() -> str:
    sent = get_client().otps.send(email=current_user.email)
    asked = {"email": request.form["email"], "method_id": sent.method_id}
    return render_template("email.html", user=current_user, **asked)


@app.post("/email/confirm")
@require_auth
def change_email() -> ResponseReturnValue:
    user, code, method_id = current_user, request.form["code"], request.form["method_id"]
    try:  # begins a new session for this browser, and ends all others
        rotation = get_client().sessions.rotate(
            user_id=user.id, otp=code, method_id=method_id, replaces=current_session
        )
    except InvalidCredentials:
        return render_template("email.html", email=request.form["email"], error=True), 400
    news_goes_to[user.id] = request.form["email"]
    response = redirect("/email" if rotation.is_complete else "/auth/sessions", 303)
    response.cache_control.no_store = True
    for cookie in get_client().sign_in_cookies(rotation.login):
        response.headers.add("Set-Cookie", cookie)
    return response
