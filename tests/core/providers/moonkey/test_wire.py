"""Wire bodies to values: both generations of spelling, times in UTC, nothing that can be changed."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import Device, Session
from moonkey_core.providers.moonkey.wire import (
    check_session_members,
    is_deleted,
    parse_login,
    parse_otp_request,
    parse_session,
    parse_user,
    session_span,
    session_start,
)
from support.any_json import JSON

START = 1_643_163_802
WHEN = datetime(2022, 1, 26, 2, 23, 22, tzinfo=UTC)
OLDER: dict[str, Any] = {
    "id": "session_1",
    "user_id": "user_1",
    "created_at": START,
    "updated_at": START + 60,
    "expires_at": START + 3600,
    "device_info": {"user_agent": "browser", "ip_address": "10.0.0.1"},
}
NEWER: dict[str, Any] = {
    "id": "sess_1",
    "user_id": "user_1",
    "started_at": START,
    "created_at": START - 5,
    "last_active_at": START + 60,
    "updated_at": START + 90,
    "expires_at": START + 3600,
    "session_token": "secret-secret",
    "device_fingerprint": {"user_agent": "browser", "ip": "10.0.0.1"},
    "factors": [
        {
            "type": "otp",
            "delivery_channel": "sms",
            "method": {"method_id": "pn_1", "method_type": "phone_number", "last_verified_at": START},
        },
        {"type": "a new one", "delivery_channel": "pigeon", "colour": "grey"},
    ],
    "permissions": ["a"],
}


@pytest.mark.parametrize("body", [OLDER, NEWER], ids=["older", "newer"])
def test_both_spellings_of_a_session(body: dict[str, Any]) -> None:
    session = parse_session(body)
    assert session.started_at == WHEN
    assert session.last_active_at == WHEN + timedelta(seconds=60)
    assert session.expires_at == WHEN + timedelta(hours=1)
    assert session.device == Device("browser", "10.0.0.1")
    assert "session_token" not in repr(session.extra)


def test_factors_and_unknown_fields_are_kept() -> None:
    session = parse_session(NEWER)
    sms, other = session.factors
    assert (sms.type, sms.delivery_channel, sms.method_type, sms.method_id) == (
        "otp",
        "sms",
        "phone_number",
        "pn_1",
    )
    assert sms.last_verified_at == WHEN
    assert (other.type, other.delivery_channel, dict(other.extra)) == ("a new one", "pigeon", {"colour": "grey"})
    assert session.extra["permissions"] == ("a",)


@pytest.mark.rule("S30")
@pytest.mark.parametrize(
    "name", ["session_token", "session_jwt", "access_token", "refresh_token", "recovery_codes"]
)
def test_a_secret_inside_is_stripped_wherever_it_stands(name: str) -> None:
    body = {**NEWER, name: "hidden-hidden", "deep": [{"er": {name: "hidden-hidden"}}]}
    body["factors"] = [{"type": "oauth", name: "hidden-hidden", "method": {name: "hidden-hidden"}}]
    body["device_info"] = {name: "hidden-hidden"}
    session = parse_session(body)
    assert "hidden" not in json.dumps(session.to_dict())
    assert "hidden" not in json.dumps(session.extra)


def test_nothing_can_be_changed() -> None:
    session = parse_session(NEWER)
    with pytest.raises(dataclasses.FrozenInstanceError):
        session.id = "another"  # type: ignore[misc]
    assert not hasattr(session, "__dict__")
    extra: Any = session.extra
    for change in (
        lambda: extra.update(a=1),
        lambda: extra.pop("permissions"),
        lambda: extra.setdefault("a", 1),
        lambda: extra.__setitem__("a", 1),
        lambda: extra.__delitem__("permissions"),
        lambda: extra.__ior__({"a": 1}),
        extra.clear,
        extra.popitem,
    ):
        with pytest.raises(TypeError, match="read-only"):
            change()
    assert pickle.loads(pickle.dumps(session)) == session


def test_the_end_of_a_session() -> None:
    now = datetime.now(UTC)
    session = Session("sess_1", "user_1", now + timedelta(minutes=10))
    assert timedelta(minutes=9) < session.expires_in <= timedelta(minutes=10)
    assert not session.is_expired()
    assert not session.is_expired(session.expires_at - timedelta(microseconds=1))
    assert session.is_expired(session.expires_at)
    assert session.expires_soon(timedelta(minutes=11))
    assert not session.expires_soon(timedelta(minutes=5))
    over = Session("sess_1", "user_1", now - timedelta(seconds=1))
    assert over.expires_in == timedelta(0)
    assert over.is_expired()
    assert over.expires_soon(timedelta(0))


def test_both_spellings_of_a_user() -> None:
    old = parse_user({"id": "user_1", "email": "a@b.c", "first_name": "", "created_at": START})
    assert (old.id, old.email, old.first_name, old.created_at, old.complete) == (
        "user_1",
        "a@b.c",
        None,
        WHEN,
        True,
    )
    new = parse_user(
        {
            "user_id": "user_1",
            "id": "ignored",
            "emails": [{"email": "x@b.c", "verified": False}, {"email": "a@b.c", "verified": True}],
            "phone_numbers": [{"phone_number": "+1", "verified": "yes"}],
            "status": "active",
            "wallets": [{"id": "w"}],
        }
    )
    assert (new.id, new.email, new.phone_number, new.status) == ("user_1", "a@b.c", None, "active")
    assert new.extra["wallets"] == ({"id": "w"},)
    assert "a@b.c" not in repr(new)


def test_a_login_without_a_session() -> None:
    login = parse_login({"user_id": "user_1", "session": None, "session_token": "", "session_jwt": "", "x": 1})
    assert (login.user.id, login.session, login.session_token, login.session_jwt) == ("user_1", None, None, None)
    assert login.extra == {"x": 1}


@pytest.mark.rule("S9")
def test_depth_is_bounded() -> None:
    assert parse_session({**NEWER, "deep": json.loads("[" * 40 + "]" * 40)}).extra["deep"]
    for depth in (200, 400, 900):
        with pytest.raises(ValueError, match="deep"):
            parse_session({**NEWER, "deep": json.loads("[" * depth + "]" * depth)})


NAMES = st.sampled_from(
    [*NEWER, *OLDER, "email", "emails", "phone_numbers", "user", "session", "method_id", "deleted_at"]
)


@pytest.mark.long
@given(st.one_of(JSON, st.dictionaries(NAMES, JSON).map(lambda changes: {**NEWER, **changes})))
def test_any_body_is_a_value_or_a_value_error(body: Any) -> None:
    for parse in (parse_session, parse_user, parse_login, parse_otp_request):
        if parse in (parse_login, parse_otp_request) and not isinstance(body, dict):
            continue
        try:
            found: Any = parse(body)
        except ValueError:
            continue
        assert repr(found)
        assert json.loads(json.dumps(found.to_dict())) == found.to_dict()


_WIRE_TIME = st.sampled_from([START, START, START, 0, -1, None, True, 1.5, "1", 10**12])
_WIRE_IDS = st.sampled_from(["sess_1", "sess_1", "user_1", "", "user_", " a", "a b", "ä", None, 7])
_WIRE_FACTORS: st.SearchStrategy[Any] = st.sampled_from(
    [None, [], [{}], [{"last_verified_at": START}], [{"method": {"last_verified_at": -1}}], [7], {}, "x"]
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "id": _WIRE_IDS,
            "user_id": _WIRE_IDS,
            "expires_at": _WIRE_TIME,
            "started_at": _WIRE_TIME,
            "created_at": _WIRE_TIME,
            "last_active_at": _WIRE_TIME,
            "updated_at": _WIRE_TIME,
            "factors": _WIRE_FACTORS,
            "device_info": st.sampled_from([None, {}, {"ip": "x"}, [], "x", 7]),
            "deleted": st.sampled_from([None, False, True, 7]),
            "deleted_at": _WIRE_TIME,
            "status": st.sampled_from(["active", "revoked", None]),
        },
    )
    | JSON
)
def test_the_span_of_a_session_is_what_the_checks_find(body: Any) -> None:
    now = START + 10.0

    def checked() -> object:
        is_over = is_deleted(body, now)
        ends_at = check_session_members(body)
        return session_start(body), ends_at, is_over

    assert _result(lambda: session_span(body, now)) == _result(checked)


def test_the_span_of_each_spelling() -> None:
    for body in (OLDER, NEWER):
        assert session_span(body, START)[1:] == (START + 3600, False)


def _result(read: Callable[[], object]) -> object:
    try:
        return read()
    except ValueError:
        return "refused"
