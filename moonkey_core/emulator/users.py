"""Users: finding, making, changing and deleting them."""

from __future__ import annotations

from moonkey_core.emulator import fields
from moonkey_core.emulator.errors import ApiError, invalid, not_found
from moonkey_core.emulator.records import Json, User, fictional_phone_number, new_id
from moonkey_core.emulator.state import State
from moonkey_core.emulator.wallets import check_managed, managed_wallet
from moonkey_core.emulator.wire import user_body

_NAMES = ("first_name", "middle_name", "last_name")
# For each kind of contact: the list of a user that contains it, and the prefix of its ids.
_LISTS = {"email": ("emails", "em"), "phone_number": ("phone_numbers", "pn")}
MAX_CONTACTS = 20


def contacts(user: User, kind: str) -> list[Json]:
    """Return a user's contacts of a kind: ``email`` or ``phone_number``."""
    found: list[Json] = getattr(user, _LISTS[kind][0])
    return found


def find_by_contact(state: State, kind: str, value: str) -> User | None:
    """Return the user with this email address or phone number."""
    for user in state.store.users.values():
        if any(contact[kind] == value for contact in contacts(user, kind)):
            return user
    return None


def contact_of(user: User, kind: str, value: str) -> Json:
    """Return the wire object of one of the user's contacts."""
    return next(contact for contact in contacts(user, kind) if contact[kind] == value)


def existing(state: State, user_id: str) -> User:
    """Return a user that must exist."""
    user = state.store.users.get(user_id)
    if user is None:
        raise not_found("user")
    return user


def add_contact(state: State, user: User, kind: str, value: str) -> None:
    """Give a user an email address or a phone number. The caller saves the user."""
    now = int(state.now())
    contact = {"id": new_id(_LISTS[kind][1]), kind: value, "verified": False}
    contacts(user, kind).append({**contact, "created_at": now, "updated_at": now})


def verify_contact(state: State, user: User, kind: str, value: str) -> None:
    """Mark a contact of the user as verified, and keep the user."""
    contact_of(user, kind, value)["verified"] = True
    state.store.save_user(user)


def proven_contact(state: State, user: User, kind: str) -> Json:
    """Return the user's first contact of a kind, marked as verified; one is invented where there is none."""
    if not contacts(user, kind):
        add_contact(state, user, kind, _made_up(state, user, kind))
    contact = contacts(user, kind)[0]
    verify_contact(state, user, kind, contact[kind])
    return contact


def _made_up(state: State, user: User, kind: str) -> str:
    if kind == "email":
        return f"{user.user_id.lower()}@example.com"
    return fictional_phone_number(lambda value: find_by_contact(state, kind, value) is not None)


def new_user(state: State, *, requires_verification: bool = False, **known: str) -> User:
    """Make and keep a user with the known ``email``, ``phone_number`` and names."""
    now = int(state.now())
    user = User(new_id("user"), now, now, requires_verification=requires_verification)
    for name, value in known.items():
        if name in _NAMES:
            setattr(user, name, value)
        elif value:
            add_contact(state, user, name, value)
    state.store.save_user(user)
    return user


def find_or_create(state: State, kind: str, value: str, body: Json | None = None) -> tuple[User, bool]:
    """Return the user with this contact, created if need be, and whether the user was created now.

    ``body`` is that of a request. It may have the names of a new user, and demand a verified contact first.
    """
    known = _names(body or {})
    requires_verification = fields.flag(body or {}, "requires_verification")
    user = find_by_contact(state, kind, value)
    if user:
        return user, False
    return new_user(state, requires_verification=requires_verification, **known, **{kind: value}), True


def _names(body: Json) -> dict[str, str]:
    return {name: value for name in _NAMES if (value := fields.optional_text(body, name, 100))}


def _require_free(state: State, kind: str, value: str, owner: User | None = None) -> None:
    if find_by_contact(state, kind, value) not in (None, owner):
        raise ApiError(409, f"duplicate_{kind}", f"Another user has this {kind.replace('_', ' ')}")


def _given_contacts(body: Json) -> dict[str, str]:
    given = {}
    if body.get("email"):
        given["email"] = fields.email(body)
    if body.get("phone_number"):
        given["phone_number"] = fields.phone_number(body)
    return given


def create(state: State, body: Json) -> Json:
    """Answer ``POST /v1/auth/users/create``."""
    names = _names(body)
    requires_verification, whole = (fields.flag(body, name) for name in ("requires_verification", "include_user"))
    wallet_type = fields.optional_text(body, "wallet_type", 20)
    given = _given_contacts(body)
    if not given:
        raise invalid("email or phone_number is required")
    for kind, value in given.items():
        _require_free(state, kind, value)
    if wallet_type:
        check_managed(wallet_type)
    user = new_user(state, requires_verification=requires_verification, **names, **given)
    if wallet_type:
        managed_wallet(state, user, wallet_type)
    ids = {f"{kind}_id": contact_of(user, kind, value)["id"] for kind, value in given.items()}
    made = {"user_id": user.user_id, "status": user.status, "email_id": "", "phone_number_id": "", **ids}
    return {**made, "user": user_body(user)} if whole else made


def get(state: State, user_id: str) -> Json:
    """Answer ``GET /v1/auth/users/{user_id}``."""
    return user_body(existing(state, user_id))


def update(state: State, user_id: str, body: Json) -> Json:
    """Answer ``PUT /v1/auth/users/{user_id}/update``: names are replaced, contacts added."""
    user = existing(state, user_id)
    names = _names(body)
    added = [
        (kind, fields.email(entry) if kind == "email" else fields.phone_number(entry))
        for kind, (list_name, _) in _LISTS.items()
        for entry in _entries(body, list_name)
    ]
    for kind, value in added:
        _require_free(state, kind, value, user)
    if len(added) + len(user.emails) + len(user.phone_numbers) > MAX_CONTACTS:
        raise invalid(f"A user may have {MAX_CONTACTS} email addresses and phone numbers at most")
    for name, value in names.items():
        setattr(user, name, value)
    for kind, value in added:
        if all(contact[kind] != value for contact in contacts(user, kind)):
            add_contact(state, user, kind, value)
    user.updated_at = int(state.now())
    state.store.save_user(user)
    whole = user_body(user)
    return {**{name: whole[name] for name in ("user_id", "emails", "phone_numbers")}, "user": whole}


def _entries(body: Json, name: str) -> list[Json]:
    entries = body.get(name) or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise invalid(f"{name} must be a list of objects")
    return entries


def delete(state: State, user_id: str) -> Json:
    """Answer ``DELETE /v1/auth/users/{user_id}/delete``; the user's sessions end with them."""
    state.store.drop_user(existing(state, user_id).user_id)
    return {"user_id": user_id, "message": "Successfully deleted user"}


def delete_webauthn(state: State, credential_id: str) -> Json:
    """Answer ``DELETE /v1/auth/users/webauthn_credentials/{id}/delete``: there are none here."""
    raise not_found("webauthn_credential")


def delete_part(state: State, list_name: str, part_id: str) -> Json:
    """Answer ``DELETE /v1/auth/users/{emails|phone_numbers|wallets|totps}/{id}/delete``."""
    for user in state.store.users.values():
        parts: list[Json] = getattr(user, list_name)
        kept = [part for part in parts if part["id"] != part_id]
        if len(kept) < len(parts):
            setattr(user, list_name, kept)
            state.store.save_user(user)
            what = list_name.removesuffix("s").replace("_", " ")
            return {"user_id": user.user_id, "message": f"Successfully deleted user {what}"}
    raise not_found(list_name.removesuffix("s"))
