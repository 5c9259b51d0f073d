"""Users: finding, making, showing, changing and deleting them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moonkey_core.emulator import fields
from moonkey_core.emulator.records import Json, fictional_phone_number
from moonkey_core.emulator.stytch import sessions
from moonkey_core.emulator.stytch.errors import bad
from moonkey_core.emulator.stytch.records import StytchUser
from moonkey_core.emulator.stytch.state import StytchState
from moonkey_core.emulator.stytch.wire import user_body

# For each kind of contact: the list of a user that has it, the name of its id, and how that begins.
_LISTS = {
    "email": ("emails", "email_id", "email"),
    "phone_number": ("phone_numbers", "phone_id", "phone-number"),
}
MAX_CONTACTS = 20
_NAMES = ("first_name", "middle_name", "last_name")
_METADATA = ("trusted_metadata", "untrusted_metadata")


def contacts(user: StytchUser, kind: str) -> list[Json]:
    """Return a user's contacts of a kind: ``email`` or ``phone_number``."""
    found: list[Json] = getattr(user, _LISTS[kind][0])
    return found


def contact_id(kind: str, contact: Json) -> str:
    """Return the id of a contact: its ``email_id`` or ``phone_id``."""
    return str(contact[_LISTS[kind][1]])


def id_name(kind: str) -> str:
    """Return the name of the id of a kind of contact."""
    return _LISTS[kind][1]


def address(body: Json, kind: str) -> str:
    """Return the address of a request: an email address or a phone number."""
    return fields.email(body) if kind == "email" else fields.phone_number(body)


def find_by_contact(state: StytchState, kind: str, value: str) -> StytchUser | None:
    """Return the user with this email address or phone number."""
    return next((user for user in state.users.values() if _contact(user, kind, value) is not None), None)


def _contact(user: StytchUser, kind: str, value: str) -> Json | None:
    return next((one for one in contacts(user, kind) if one[kind] == value), None)


def new_user(state: StytchState, *, pending: bool = False) -> StytchUser:
    """Make and keep a user."""
    user = StytchUser(state.new_id("user"), state.time(), starts_pending=pending)
    state.add_user(user)
    return user


def contact_of(state: StytchState, user: StytchUser, kind: str, value: str) -> Json:
    """Return one of the user's contacts. It is added, unverified, where the user does not have it."""
    found = _contact(user, kind, value)
    if found is None:
        if len(contacts(user, kind)) >= MAX_CONTACTS:
            raise bad("too_many_unverified_factors", "The user has too many contacts.")
        _, name, prefix = _LISTS[kind]
        found = {name: state.new_id(prefix), kind: value, "verified": False}
        contacts(user, kind).append(found)
    return found


def find_or_create(state: StytchState, kind: str, value: str, *, pending: bool = False) -> tuple[StytchUser, bool]:
    """Return the user with this contact, made if need be, and whether the user was made now."""
    user = find_by_contact(state, kind, value)
    if user is not None:
        return user, False
    user = new_user(state, pending=pending)
    contact_of(state, user, kind, value)
    return user, True


def proven_contact(state: StytchState, user: StytchUser, kind: str) -> Json:
    """Return the user's first contact of a kind, verified; one is invented where there is none."""
    if not contacts(user, kind):
        contact_of(state, user, kind, _made_up(state, user, kind))
    contact = contacts(user, kind)[0]
    contact["verified"] = True
    return contact


def _made_up(state: StytchState, user: StytchUser, kind: str) -> str:
    if kind == "email":
        return f"{user.user_id.lower()}@example.com"
    return fictional_phone_number(lambda value: find_by_contact(state, kind, value) is not None)


def named(state: StytchState, body: Json) -> StytchUser | None:
    """Return the user whom a request to send something names by id or by session, if it does."""
    names = ("user_id", "session_token", "session_jwt")
    if not any(body.get(name) for name in names):
        return None
    name, value = sessions.one_argument(
        body, names, "no_user_selection_arguments", "too_many_user_selection_arguments"
    )
    if name == "user_id":
        return state.user(value)
    return state.user(sessions.find(state, name, value).user_id)


def change(state: StytchState, user: StytchUser, body: Mapping[str, Any]) -> None:
    """Take names, metadata and the external id from a body. Metadata is merged by its first keys; null deletes."""
    given = dict(body)
    name = given.get("name") or {}
    if not isinstance(name, dict):
        raise bad("bad_request", "name must be an object.")
    names = {one: fields.text(name, one, 128) for one in _NAMES if name.get(one)}
    for one in _METADATA:
        if not isinstance(given.get(one) or {}, dict):
            raise bad("metadata_invalid_format", f"{one} must be an object.")
    external_id = fields.optional_text(given, "external_id", 128)
    if external_id and any(one.external_id == external_id for one in state.users.values() if one is not user):
        raise bad("duplicate_user_external_id", "Another user has this external id.")
    user.name = {**user.name, **names}
    user.external_id = external_id or user.external_id
    for one in _METADATA:
        merged = {**getattr(user, one), **(given.get(one) or {})}
        setattr(user, one, {key: value for key, value in merged.items() if value is not None})


def create(state: StytchState, body: Json) -> Json:
    """Answer ``POST /v1/users``."""
    given = {kind: address(body, kind) for kind in _LISTS if body.get(kind)}
    for kind, value in given.items():
        if find_by_contact(state, kind, value) is not None:
            raise bad(f"duplicate_{kind}", f"A user with the specified {kind} already exists for this project.")
    user = new_user(state, pending=fields.flag(body, "create_user_as_pending"))
    try:
        change(state, user, body)
    except Exception:
        state.drop_user(user.user_id)
        raise
    ids = {
        _LISTS[kind][1]: contact_id(kind, contact_of(state, user, kind, value)) for kind, value in given.items()
    }
    made = {"user_id": user.user_id, "email_id": "", "phone_id": "", "status": user.status}
    return {**made, **ids, "user": user_body(user)}


def get(state: StytchState, user_id: str) -> Json:
    """Answer ``GET /v1/users/{user_id}``: the user's members stand at the top level."""
    return user_body(state.user(user_id))


def update(state: StytchState, user_id: str, body: Json) -> Json:
    """Answer ``PUT /v1/users/{user_id}``."""
    user = state.user(user_id)
    change(state, user, body)
    if isinstance(body.get("roles"), list):
        set_roles(state, user, [str(one) for one in body["roles"]])
    lists = {name: getattr(user, name) for name in ("emails", "phone_numbers")}
    return {"user_id": user.user_id, **lists, "crypto_wallets": [], "user": user_body(user)}


def set_roles(state: StytchState, user: StytchUser, roles: list[str]) -> None:
    """Give a user these roles, beside the one that every user has. Their sessions have them at once."""
    user.roles = ["stytch_user", *(one for one in roles if one != "stytch_user")]
    for session in state.of_user(user.user_id):
        session.roles = user.roles


def delete(state: StytchState, user_id: str) -> Json:
    """Answer ``DELETE /v1/users/{user_id}``; the user's sessions end with them."""
    found = state.user(user_id).user_id
    state.drop_user(found)
    return {"user_id": found}
