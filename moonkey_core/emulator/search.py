"""The search for users by filters, a page at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moonkey_core.emulator import fields
from moonkey_core.emulator.errors import invalid
from moonkey_core.emulator.records import Json, User
from moonkey_core.emulator.state import State
from moonkey_core.emulator.wire import user_body

SMALLEST_PAGE, USUAL_PAGE, LARGEST_PAGE = 10, 50, 100
MAX_FILTERS = 50
MAX_VALUES = 100

_Reader = Callable[[User], list[Any]]


def _each(list_name: str, name: str) -> _Reader:
    return lambda user: [one[name] for one in getattr(user, list_name)]


def _full_name(user: User) -> list[str]:
    return [f"{user.first_name} {user.last_name}"]


# The values that a filter is compared with: one match among the user's own values is enough.
_EXACT: dict[str, _Reader] = {
    "user_id": lambda user: [user.user_id],
    "status": lambda user: [user.status],
    "phone_number": _each("phone_numbers", "phone_number"),
    "phone_number_id": _each("phone_numbers", "id"),
    "email": _each("emails", "email"),
    "email_id": _each("emails", "id"),
    "wallet_public_address": _each("wallets", "public_address"),
    "wallet_id": _each("wallets", "id"),
    "totp_id": _each("totps", "id"),
    "idp_provider": _each("idp_providers", "provider_type"),
}
_FLAGS: dict[str, _Reader] = {
    "phone_number_verified": _each("phone_numbers", "verified"),
    "email_verified": _each("emails", "verified"),
    "totp_verified": _each("totps", "verified"),
}
_MATCHED: dict[str, _Reader] = {
    "full_name_match": _full_name,
    "phone_number_match": _each("phone_numbers", "phone_number"),
    "email_match": _each("emails", "email"),
}
_NAMES = (*_EXACT, *_FLAGS, *_MATCHED)


def search(state: State, body: Json) -> Json:
    """Answer ``POST /v1/auth/users/search``; users come in the order in which they were made."""
    limit = fields.whole_number(body, "limit", SMALLEST_PAGE, LARGEST_PAGE) or USUAL_PAGE
    after = fields.optional_text(body, "starting_after", 64)
    wanted = _filters(body.get("filters"))
    found = [user for user in state.store.users.values() if wanted(user)]
    ids = [user.user_id for user in found]
    if after and after not in ids:
        raise invalid("starting_after must be the user_id that ends another page of the same search")
    start = ids.index(after) + 1 if after else 0
    page = [{"app_id": state.app_id, **user_body(user)} for user in found[start : start + limit]]
    return {"users": page, "total_count": len(found), "has_more": start + limit < len(found)}


def _filters(filters: object) -> Callable[[User], bool]:
    if filters is None or filters == {}:
        return lambda _: True
    if not isinstance(filters, dict):
        raise invalid("filters must be an object")
    operator = fields.text(filters, "operator", 3)
    if operator not in ("AND", "OR"):
        raise invalid("filters.operator must be AND or OR")
    entries = filters.get("fields")
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_FILTERS:
        raise invalid(f"filters.fields must be a list of 1 to {MAX_FILTERS} filters")
    tests = [_test(entry) for entry in entries]
    every = all if operator == "AND" else any
    return lambda user: every(test(user) for test in tests)


def _test(entry: object) -> Callable[[User], bool]:
    if not isinstance(entry, dict):
        raise invalid("A filter must be an object")
    name, operator = fields.text(entry, "field", 40), fields.text(entry, "operator", 10)
    if name in _FLAGS:
        return _flag_test(entry, _FLAGS[name], operator)
    if name in _MATCHED:
        _require(operator == "eq", name, "eq")
        part = fields.text(entry, "value", 254).lower()
        return lambda user: any(part in value.lower() for value in _MATCHED[name](user))
    if name not in _EXACT:
        raise invalid(f"Unknown filter; known are {', '.join(_NAMES)}")
    _require(operator in ("eq", "in"), name, "eq or in")
    wanted = {fields.text(entry, "value", 254)} if operator == "eq" else _values(entry)
    if name == "email":
        wanted = {value.lower() for value in wanted}
    return lambda user: any(value in wanted for value in _EXACT[name](user))


def _flag_test(entry: Json, reader: _Reader, operator: str) -> Callable[[User], bool]:
    _require(operator == "eq", entry["field"], "eq")
    wanted = fields.flag(entry, "value")  # the Node client leaves a false value out
    return lambda user: wanted in reader(user)


def _require(is_fit: bool, name: str, operators: str) -> None:
    if not is_fit:
        raise invalid(f"The operator of {name} must be {operators}")


def _values(entry: Json) -> set[str]:
    values = entry.get("values")
    if not isinstance(values, list) or not 0 < len(values) <= MAX_VALUES:
        raise invalid(f"values must be a list of 1 to {MAX_VALUES} texts")
    return {fields.text({"values": value}, "values", 254) for value in values}
