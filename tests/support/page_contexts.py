"""Every page in each of its states, with hostile text wherever a text may stand."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import quote

from moonkey_core import Settings, SignInSettings
from moonkey_core.web.pages import Page, complete_page, urls

HOSTILE = """"><script>alert('1')</script>{{ 7 * 7 }}{% if 1 %}<b onclick="x()">&amp;&"""
URLS = urls("/auth")
SETTINGS = Settings.load({"secret_key": "sk_test_pages", "sign_in": SignInSettings(site_name=HOSTILE)}, {})


class State(NamedTuple):
    """One page as it may be shown."""

    template: str
    state: str
    bare: dict[str, Any]

    @property
    def context(self) -> dict[str, Any]:
        """The context with what all pages share."""
        return dict(complete_page(Page(f"moonkey/{self.template}.html", self.bare), SETTINGS).context)


def _sign_in(state: str, **changes: Any) -> State:
    usual = {"address": HOSTILE, "next": HOSTILE, "remember_me": False, "signed_in": False, "error": ""}
    usual["methods"] = ("email", "phone_number")
    return State("sign_in", state, {**usual, **changes, "urls": URLS})


def _verify_otp(state: str, **changes: Any) -> State:
    usual = {"address": HOSTILE, "next": HOSTILE, "remember_me": False, "tries_left": 5, "error": ""}
    usual["code_minutes"] = 10
    return State("verify_otp", state, {**usual, **changes, "urls": URLS})


def _error(status: int, reason: str, **changes: Any) -> State:
    usual = {"status": status, "reason": reason, "sign_in_url": HOSTILE, "urls": URLS}
    usual |= {"retry_url": None, "form_url": None, "was_sent": False, "comes_back": False}
    return State("error", f"{status} {reason} {' '.join(changes)}", {**usual, **changes})


def _device(times: str, *, current: bool = False, ip: str | None = None) -> dict[str, Any]:
    moments = ("started_at", "last_active_at", "expires_at")
    shown = dict.fromkeys(moments, HOSTILE if times else None)
    words = {f"{name}_words": HOSTILE if times else "" for name in moments}
    device = {"name": HOSTILE, "user_agent": HOSTILE, "ip": ip}
    url = f"{URLS['sessions']}/{quote(HOSTILE, safe='')}/revoke"
    return {"id": HOSTILE, "device": device, **shown, **words, "current": current, "revoke_url": url}


def _sessions(state: str, *devices: dict[str, Any], **changes: Any) -> State:
    usual = {"sessions": list(devices), "others": 0, "ended": 0, "failed": 0, "retry_url": ""}
    usual |= {"is_pending": False, "urls": URLS}
    return State("sessions", state, {**usual, **changes})


_DEMAND = {"acr_values": HOSTILE, "max_age": HOSTILE, "next": HOSTILE}


def _step_up(state: str, **changes: Any) -> State:
    ways = {"email": HOSTILE, "phone_number": HOSTILE, "totp": True, "nothing": False}
    usual = {**_DEMAND, **ways, "minutes": 10, "sign_in_url": HOSTILE, "tries_left": 5, "error": "", "urls": URLS}
    return State("step_up", state, {**usual, **changes})


def _step_up_verify(state: str, **changes: Any) -> State:
    usual = {**_DEMAND, "to": HOSTILE, "which": HOSTILE, "another_url": HOSTILE, "tries_left": 5, "error": ""}
    usual["code_minutes"] = 1
    return State("step_up_verify", state, {**usual, **changes, "urls": URLS})


_LINK = {"token": HOSTILE, "state": HOSTILE, "next": HOSTILE, "error": ""}

STATES: list[State] = [
    _sign_in("first visit"),
    _sign_in("signed in", signed_in=True, remember_me=True),
    _sign_in("address not understood", error="address"),
    _sign_in("e-mail only", methods=("email",), error="address"),
    _sign_in("phone only", methods=("phone_number",), error="address"),
    _verify_otp("code asked for"),
    _verify_otp("wrong code", error="code", tries_left=3, remember_me=True),
    _verify_otp("wrong code, one try left", error="code", tries_left=1),
    _verify_otp("no code", error="code_form"),
    _verify_otp("not for the code", error="refused"),
    _verify_otp("limited", error="limited"),
    _verify_otp("used up", error="used_up", tries_left=0),
    State(
        "magic",
        "link",
        {**_LINK, "address": "", "remember_me": False, "signed_in": False, "urls": URLS},
    ),
    State(
        "magic",
        "remembered",
        {**_LINK, "address": HOSTILE, "remember_me": True, "signed_in": True, "urls": URLS},
    ),
    State(
        "magic",
        "not now",
        {
            **_LINK,
            "address": HOSTILE,
            "remember_me": True,
            "signed_in": False,
            "error": "unavailable",
            "urls": URLS,
        },
    ),
    *(
        _error(400, reason)
        for reason in (
            "no_code",
            "code_expired",
            "link_elsewhere",
            "link_broken",
            "link_refused",
            "oauth_state",
            "oauth_declined",
            "link_unclear",
            "oauth_unclear",
            HOSTILE,
        )
    ),
    *(_error(status, "refused") for status in (400, 403, 404, 413, 429, 500, 503)),
    *(_error(status, "refused", sign_in_url=None) for status in (400, 403, 404, 413, 500, 503)),
    _error(503, "refused", sign_in_url=None, retry_url=HOSTILE),
    _error(413, "refused", sign_in_url=None, form_url=HOSTILE),
    _error(403, "cross_site"),
    *(_error(429, "refused", sign_in_url=None, urls=shown) for shown in ({}, URLS)),
    _error(401, "sign_in"),
    _error(401, "step_up"),
    _error(401, "step_up", was_sent=True, comes_back=True),
    _error(401, "sign_in", was_sent=True),
    _error(401, "sign_in", sign_in_url=None),
    _error(503, "refused", sign_in_url=None, urls={}),
    *(
        State("sign_out", f"devices {shown}", {"next": HOSTILE, "has_devices": shown, "urls": URLS})
        for shown in (True, False)
    ),
    *(
        State(
            "signed_out",
            f"told again {again}",
            {
                "next": HOSTILE,
                "is_complete": False,
                "is_pending": again,
                "goes_on": again,
                "can_sign_in": again,
                "urls": URLS,
            },
        )
        for again in (True, False)
    ),
    State(
        "signed_out",
        "pending",
        {
            "next": HOSTILE,
            "is_complete": True,
            "is_pending": True,
            "goes_on": True,
            "can_sign_in": True,
            "urls": URLS,
        },
    ),
    _sessions("one device", _device("now", current=True)),
    _sessions("many", _device("now", current=True), _device("then", ip=HOSTILE), _device(""), others=2),
    _sessions("none is this one", _device("now"), others=1),
    _sessions("incomplete", ended=2, failed=1),
    _sessions("incomplete and pending", ended=2, failed=1, is_pending=True),
    _sessions("pending", ended=2, is_pending=True),
    *(
        _step_up(" ".join(changes) or "everything", **changes)
        for changes in (
            {},
            {"totp": False},
            {"totp": False, "email": "", "minutes": 1},
            {"totp": False, "phone_number": "", "minutes": 0},
            {"email": "", "phone_number": "", "error": "code", "tries_left": 2},
            {"error": "code", "tries_left": 1},
            {"error": "code_form"},
            {"error": "refused"},
            {"error": "limited"},
            {"error": "used_up", "tries_left": 0},
            {"email": "", "phone_number": "", "totp": False, "nothing": True},
        )
    ),
    _step_up_verify("code sent"),
    _step_up_verify("wrong code", error="code", tries_left=3),
    _step_up_verify("wrong code, one try left", error="code", tries_left=1),
    _step_up_verify("no code", error="code_form"),
    _step_up_verify("not for the code", error="refused"),
    _step_up_verify("limited", error="limited"),
    _step_up_verify("used up", error="used_up", tries_left=0),
]
"""Every text in a context is hostile; a new page, or a new state of one, gets its entry here."""
