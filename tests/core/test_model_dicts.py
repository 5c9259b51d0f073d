"""``to_dict()``: one shape, always JSON, never a credential; and what nobody may take apart in another way."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
import pickle
import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, cast, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from moonkey_core import (
    AuthenticationMethod,
    Device,
    Factor,
    Login,
    Machine,
    MagicLinkRequest,
    MfaMethod,
    MfaRecord,
    OtpRequest,
    Session,
    StartRecord,
    TotpRegistration,
    User,
    VerifiedSession,
    Wallet,
    WalletChallenge,
    models,
)
from moonkey_core.models import MODELS, Extra
from support.secrets import assert_no_secret

WHEN = datetime(2025, 11, 21, 16, 1, tzinfo=UTC)
EXTRA = Extra({"internal_note": "x-extra-x", "emails": ({"email": "a@b.c"},)})
USER = User("user_1", "a@b.c", "+1", "Ada", "L", "active", WHEN, complete=True, extra=EXTRA)
DEVICE = Device("Firefox", "192.0.2.1", extra=EXTRA)
FACTOR = Factor("otp", "email", "email", "email_1", WHEN, extra=EXTRA)
SESSION = Session("sess_1", "user_1", WHEN + timedelta(days=7), WHEN, WHEN, (FACTOR,), DEVICE, EXTRA)
TOKEN, JWT, FRESH = "token-of-the-session", "jwt-of-the-session", "fresh-jwt-of-it"
LOGIN = Login(USER, SESSION, TOKEN, JWT, "method_1", EXTRA)
VERIFIED = VerifiedSession(USER, SESSION, TOKEN, JWT, FRESH)
SECRET, PICTURE, RECOVERY_CODE = "secret-of-the-app", "picture-of-the-secret", "recovery-code"
STARTS = (
    OtpRequest("method_1", "user_1", EXTRA),
    MagicLinkRequest("method_1", "user_1", EXTRA),
    WalletChallenge("sign this", "ethereum", "0xabc", "user_1", EXTRA),
    TotpRegistration("totp_1", "user_1", SECRET, PICTURE, (RECOVERY_CODE,), EXTRA),
)
MACHINE = Machine("client_1", WHEN, EXTRA)
HANDLE = "handle-of-the-client"
RECORDED = (
    MfaRecord("mfa_1", "totp", WHEN, WHEN + timedelta(days=7), HANDLE),
    StartRecord("start_1", WHEN, WHEN + timedelta(days=7), HANDLE),
)
WALLET = Wallet("evm_smart", "0xabc", WHEN, ("0xdef",), EXTRA)
METHOD, MFA = AuthenticationMethod("email", "a@b.c", EXTRA), MfaMethod("totp", WHEN)
ALL = (USER, SESSION, DEVICE, FACTOR, LOGIN, VERIFIED, *STARTS, MACHINE, WALLET, METHOD, MFA, *RECORDED)

USER_DICT = {
    "id": "user_1",
    "email": "a@b.c",
    "phone_number": "+1",
    "first_name": "Ada",
    "last_name": "L",
    "status": "active",
    "created_at": "2025-11-21T16:01:00Z",
    "complete": True,
}
DEVICE_DICT = {"user_agent": "Firefox", "ip": "192.0.2.1"}
FACTOR_DICT = {
    "type": "otp",
    "delivery_channel": "email",
    "method_type": "email",
    "method_id": "email_1",
    "last_verified_at": "2025-11-21T16:01:00Z",
}
SESSION_DICT = {
    "id": "sess_1",
    "user_id": "user_1",
    "expires_at": "2025-11-28T16:01:00Z",
    "started_at": "2025-11-21T16:01:00Z",
    "last_active_at": "2025-11-21T16:01:00Z",
    "factors": [FACTOR_DICT],
    "device": DEVICE_DICT,
}
DICTS: list[dict[str, Any]] = [
    USER_DICT,
    SESSION_DICT,
    DEVICE_DICT,
    FACTOR_DICT,
    {"user": USER_DICT, "session": SESSION_DICT, "method_id": "method_1"},
    {"user": USER_DICT, "session": SESSION_DICT},
    {"method_id": "method_1", "user_id": "user_1"},
    {"method_id": "method_1", "user_id": "user_1"},
    {"challenge": "sign this", "wallet_type": "ethereum", "public_address": "0xabc", "user_id": "user_1"},
    {"totp_id": "totp_1", "user_id": "user_1"},
    {"id": "client_1", "expires_at": "2025-11-21T16:01:00Z"},
    {"type": "evm_smart", "address": "0xabc", "created_at": "2025-11-21T16:01:00Z", "owners": ["0xdef"]},
    {"type": "email", "identifier": "a@b.c"},
    {"type": "totp", "enrolled_at": "2025-11-21T16:01:00Z"},
    {"id": "mfa_1", "method": "totp", "verified_at": "2025-11-21T16:01:00Z", "ends_at": "2025-11-28T16:01:00Z"},
    {"id": "start_1", "started_at": "2025-11-21T16:01:00Z", "ends_at": "2025-11-28T16:01:00Z"},
]
HIDDEN = {
    "scope",  # the same for all users of MoonKey, and whose ids these are does not interest a browser
    *("grants", "acr_values", "authenticated_at", "ends_with_token", "must_end_at"),  # for the app to choose
    *("extra", "session_token", "session_jwt", "fresh_jwt"),
    *("secret", "qr_base64", "recovery_codes", "handle"),
}
by_kind = pytest.mark.parametrize("model", ALL, ids=lambda one: type(one).__name__)


def test_all_models_are_here() -> None:
    assert [type(one) for one in ALL] == list(MODELS)
    assert {kind.__name__ for kind in MODELS} == set(models.__all__) - {"AuthorizationCheck"}  # it is a question


def test_the_shape() -> None:
    for model, expected in zip(ALL, DICTS, strict=True):
        found = model.to_dict()
        assert found == expected
        assert [*found] == [*expected]
        assert json.loads(json.dumps(found)) == found


@by_kind
def test_every_field_is_shown_or_hidden_for_a_reason(model: Any) -> None:
    tables = ("shown_fields", "optional_fields")
    fields = [name for name in get_type_hints(type(model)) if not name.startswith("_") and name not in tables]
    shown = {*model.shown_fields, *model.optional_fields}
    assert shown | (HIDDEN & {*fields}) == {*fields}
    assert not HIDDEN & shown


@by_kind
def test_neither_a_credential_nor_an_unknown_member_is_in_it(model: Any) -> None:
    assert assert_no_secret(
        [json.dumps(model.to_dict())], [TOKEN, JWT, FRESH, SECRET, PICTURE, RECOVERY_CODE, HANDLE]
    )
    assert "extra" not in json.dumps(model.to_dict())
    assert "internal_note" not in json.dumps(model.to_dict())


def test_what_only_some_providers_have_is_there_where_it_is_not_empty() -> None:
    user = USER.replace(wallets=(WALLET,), authentication_methods=(METHOD,), mfa_methods=(MFA,))
    lists = {name: [one.to_dict()] for name, one in zip(User.optional_fields, (WALLET, METHOD, MFA), strict=True)}
    assert user.to_dict() == {**USER_DICT, **lists}
    assert pickle.loads(pickle.dumps(user)) == user
    adapter = TypeAdapter(User)
    assert adapter.dump_python(user) == user.to_dict()
    assert adapter.validate_python(user.to_dict()).mfa_methods == (MFA,)
    assert adapter.validate_python(USER_DICT).wallets == ()


def test_what_is_not_known_is_null() -> None:
    assert User("user_1").to_dict() == {**dict.fromkeys(USER_DICT), "id": "user_1", "complete": False}
    assert Login(User("user_1")).to_dict()["session"] is None
    bare = Session("sess_1", "user_1", WHEN).to_dict()
    assert (bare["factors"], bare["device"], bare["started_at"]) == ([], None, None)


def test_a_dict_is_the_callers_own() -> None:
    SESSION.to_dict()["factors"].clear()
    assert SESSION.to_dict()["factors"] == [FACTOR_DICT]


ZONES: st.SearchStrategy[tzinfo] = st.integers(-1439, 1439).map(
    lambda minutes: timezone(timedelta(minutes=minutes))
)


@given(st.datetimes(datetime(1971, 1, 1), datetime(9998, 1, 1), timezones=ZONES))  # noqa: DTZ001
def test_times_are_utc_and_sort(moment: datetime) -> None:
    text = User("user_1", created_at=moment).to_dict()["created_at"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text)
    assert datetime.fromisoformat(text) == moment.replace(microsecond=0)
    later = User("user_1", created_at=moment + timedelta(seconds=1)).to_dict()["created_at"]
    assert text < later


def test_what_is_no_json_is_said() -> None:
    with pytest.raises(ValueError, match="without a time zone"):
        User("user_1", created_at=datetime(2025, 1, 1)).to_dict()  # noqa: DTZ001
    wrong: Any = {1, 2}
    with pytest.raises(TypeError, match="email cannot be written as JSON: it is a set"):
        User("user_1", email=wrong).to_dict()


@by_kind
def test_nobody_takes_it_for_a_dataclass(model: Any) -> None:
    assert not dataclasses.is_dataclass(model)
    with pytest.raises(TypeError):
        dataclasses.asdict(model)
    with pytest.raises(TypeError):
        json.dumps(model)
    with pytest.raises(TypeError):
        dict(model)
    with pytest.raises(TypeError):
        vars(model)


@by_kind
def test_it_is_an_immutable_value(model: Any) -> None:
    name = model.shown_fields[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(model, name, "other")
    with pytest.raises(dataclasses.FrozenInstanceError):
        delattr(model, name)
    with pytest.raises(dataclasses.FrozenInstanceError, match=r"cannot set 'surplus': \w+ is read-only"):
        model.surplus = 1
    for again in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model)), model.replace()):
        assert again == model
        assert hash(again) == hash(model)
        assert type(again) is type(model)
    assert "extra" not in repr(model)
    for secret in (TOKEN, SECRET, PICTURE, RECOVERY_CODE):
        assert secret not in repr(model)


def test_it_is_made_as_a_frozen_dataclass_is() -> None:
    """The same arguments and defaults; each object of its own class, also of a derived one."""
    for kind in cast("tuple[Any, ...]", MODELS):
        names, values = kind._fields, [f"value of {name}" for name in kind._fields]
        fields = [(one.name, one.type, _copied(one)) for one in kind._all_fields]
        like = dataclasses.make_dataclass(kind.__name__, fields, frozen=True)
        assert inspect.signature(kind) == inspect.signature(like)
        # What fills in arguments by their types finds these.
        types = get_type_hints(kind.__init__)
        assert types.pop("return") is type(None)
        assert types == {name: get_type_hints(kind)[name] for name in names}
        assert inspect.signature(kind, eval_str=True).parameters.keys() == set(names)
        derived: Any = type("Derived", (kind,), {"note": "x"})
        required = {
            one.name: values[at]
            for at, one in enumerate(kind._all_fields)
            if one.default is one.default_factory is dataclasses.MISSING
        }
        for made in (kind, derived):
            for model in (made(*values), made(**dict(zip(names, values, strict=True)))):
                assert type(model) is made
                assert [getattr(model, name) for name in names] == values
                with pytest.raises(dataclasses.FrozenInstanceError):
                    setattr(model, names[0], "other")
                if made is derived:  # which has a dict
                    model.surplus = 1
                    assert model.surplus == 1
            one, other = made(**required), made(**required)
            expected = like(**required)
            assert [getattr(one, name) for name in names] == [getattr(expected, name) for name in names]
            for name in names:  # what a default makes is made each time
                factory = vars(like)["__dataclass_fields__"][name].default_factory is not dataclasses.MISSING
                assert not factory or getattr(one, name) is not getattr(other, name)
            for arguments in ({}, {**required, "surplus": 1}):
                if arguments or required:
                    with pytest.raises(TypeError):
                        made(**arguments)


def _copied(one: dataclasses.Field[Any]) -> Any:
    if one.default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=one.default_factory)
    return dataclasses.field() if one.default is dataclasses.MISSING else dataclasses.field(default=one.default)


def test_replace() -> None:
    other = USER.replace(email="new@b.c")
    assert (other.email, other.id, other.extra) == ("new@b.c", "user_1", EXTRA)
    assert USER.email == "a@b.c"
    with pytest.raises(TypeError, match="surplus"):
        USER.replace(surplus=1)


def test_a_pickle_of_before_is_read() -> None:
    """Caches and task queues may hold one that was made when these were dataclasses: a list of all fields."""
    old = object.__new__(User)
    old.__setstate__(["user_1", "a@b.c", None, None, None, "active", WHEN, True, EXTRA])
    assert old == User("user_1", "a@b.c", status="active", created_at=WHEN, complete=True, extra=EXTRA)
    assert old.scope == "moonkey"
    assert USER.__getstate__() == ["user_1", "a@b.c", "+1", "Ada", "L", "active", WHEN, True, EXTRA]
    other = USER.replace(scope="https://idp.example")
    assert pickle.loads(pickle.dumps(other)) == other != USER
