"""An app with pages on Stytch, for Flask: sign-in by a code, a link or Google, an authenticator app, step-up.

To try it without an account:

    python -m moonkey_core.emulator --provider stytch
    export …  # the settings that it prints
    export MOONKEY_CACHE_SECRET=…  # a random text of at least 32 characters
    gunicorn --threads 8 pages_stytch:app

At Stytch, register ``https://…/auth/sign-in/magic`` and ``https://…/auth/callback/oauth`` as login and sign-up
URLs, both with ``state`` in their query.
"""

from datetime import timedelta
from urllib.parse import urlencode

from flask import Flask, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue

from moonkey_core import CookieSettings
from moonkey_core.errors import InvalidCredentials
from moonkey_flask import (
    FlaskMoonKey,
    current_auth,
    current_user,
    get_client,
    public,
    require_auth,
    session_routes,
)

app = Flask(__name__)
FlaskMoonKey(app, cookies=CookieSettings())
app.register_blueprint(session_routes())


def page_of(path: str) -> str:
    """Return the whole address of a page. Stytch sends users only to those that are registered there."""
    return request.host_url.rstrip("/") + path


@app.get("/")
@public
def home() -> str:
    return render_template("stytch_home.html", auth=current_auth)


@app.post("/link")
@public
def send_link() -> ResponseReturnValue:
    email = request.form["email"].strip()  # a real app also limits how often it sends something
    start = get_client().flows.magic_link_state(email=email, next="/account")
    link = page_of("/auth/sign-in/magic?") + urlencode({"state": start.state})
    get_client().magic_links.login_or_create(email=email, login_redirect_url=link)
    response = make_response(render_template("stytch_home.html", auth=current_auth, sent_to=email))
    response.headers.add("Set-Cookie", start.set_cookie)
    return response


@app.get("/google")
@public
def google() -> ResponseReturnValue:
    start = get_client().flows.oauth_state(next="/account")
    page = page_of("/auth/callback/oauth")
    response = redirect(get_client().oauth.start_url("google", login_redirect_url=page, state=start.state), 303)
    response.headers.add("Set-Cookie", start.set_cookie)
    response.cache_control.no_store = True
    return response


@app.get("/account")
@require_auth
def account() -> str:
    return render_template("account.html", user=current_user, links=[("/app", "Your authenticator app")])


@app.get("/vault")
@require_auth(factor_max_age=timedelta(minutes=1))
def vault() -> str:
    return render_template("vault.html")


@app.get("/strong-room")
@require_auth(factors={"totp"})
def strong_room() -> str:
    return render_template("vault.html")


@app.route("/app", methods=["GET", "POST"])
@require_auth(factor_max_age=timedelta(minutes=10))
def authenticator_app() -> str:
    if request.method == "GET":
        return render_template("stytch_app.html")
    made = get_client().totps.create(user_id=current_user.id)
    return render_template("stytch_app.html", secret=made.secret, recovery_codes=made.recovery_codes)


@app.post("/app/confirm")
@require_auth(factor_max_age=timedelta(minutes=10))
def confirm_app() -> ResponseReturnValue:
    try:
        get_client().totps.verify(request.form["code"], user_id=current_user.id)
    except InvalidCredentials:
        return render_template("stytch_app.html", error=True), 400
    return redirect("/account", 303)
