"""Flask views as users write them. Checked with mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_type

from flask import Flask
from flask.typing import ResponseReturnValue
from flask.views import MethodView

from moonkey_core import Session, User
from moonkey_flask import FlaskMoonKey, current_auth, current_session, current_user, optional_auth, require_auth

app = Flask(__name__)
FlaskMoonKey(app)


@app.get("/me")
@require_auth
def me() -> dict[str, str]:
    return {"user_id": current_user.id, "session_id": current_session.id}


@app.get("/users/<int:number>")
@require_auth(max_staleness=0)
async def one(number: int, *, page: str = "") -> dict[str, int]:
    return {current_user.id + page: number}


@optional_auth
def optional() -> str:
    return current_auth.user.id if current_auth.is_authenticated else "nobody"


@optional_auth(grace_seconds=0)
async def optional_too(number: int) -> ResponseReturnValue:
    auth = current_auth
    if not auth.is_authenticated:
        return "nobody", 401
    return {"user_id": auth.user.id, "session_id": auth.session.id, "number": number}


class Listed(MethodView):
    decorators = [require_auth, optional_auth(max_staleness=2)]

    def get(self) -> str:
        return current_user.id


class Single(MethodView):
    @require_auth
    def get(self, number: int) -> str:
        return current_user.id * number


app.before_request(require_auth(lambda: None))
app.add_url_rule("/single", view_func=Single.as_view("single"))

assert_type(current_user, User)
assert_type(current_session, Session)
assert_type(me(), dict[str, str])
assert_type(optional(), str)
# Flask runs the coroutine of an async view.
assert_type(one(1, page="2"), dict[str, int])
assert_type(optional_too(1), ResponseReturnValue)
assert_type(Single().get(1), str)

me_is: Callable[[], dict[str, str]] = me
not_me: Callable[[], int] = me  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
one("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Single().get()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
current_auth.user.id  # type: ignore[union-attr]  # noqa: B018
require_auth(roles=1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
