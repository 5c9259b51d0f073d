"""What a user can prove on the step-up page, and what of it a route has asked for (RFC 9470)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from moonkey_core.models import User, fits_challenge
from moonkey_core.settings.sign_in_settings import safe_target

_LONGEST = 512
_MAX_NAMES = 16
_MAX_SECONDS = 34_560_000  # 400 days: nobody asks for less than that

# By what a gate calls a factor: its type, and its delivery channel.
_NAMES = {
    "email": frozenset({"otp", "email"}),
    "phone_number": frozenset({"otp", "sms"}),
    "totp": frozenset({"totp", "totp_authenticator"}),
}


@dataclass(frozen=True, slots=True)
class Demand:
    """What a browser says that it was sent here for. It is shown and handed on, and nothing relies on it."""

    acr_values: tuple[str, ...] = ()
    max_age: int | None = None
    target: str = ""

    def fields(self) -> dict[str, str]:
        """The same as the fields of a form."""
        age = "" if self.max_age is None else str(self.max_age)
        return {"acr_values": " ".join(self.acr_values), "max_age": age, "next": self.target}

    def link(self, page: str) -> str:
        """The address of a page that is told the same."""
        query = urlencode({name: value for name, value in self.fields().items() if value})
        return page + ("?" if query else "") + query

    @property
    def minutes(self) -> int:
        """How old a proof may be, in whole minutes, for people; 0 where nothing is said."""
        return 0 if self.max_age is None else max(self.max_age // 60, 1)


def demand_in(fields: Mapping[str, str]) -> Demand:
    """What a query or a form says; whatever is not sound is left out."""
    names = fields.get("acr_values", "")
    words = names.split(" ") if len(names) <= _LONGEST else []
    sound = tuple(dict.fromkeys(word for word in words if fits_challenge(word)))
    age = fields.get("max_age", "")
    is_number = 0 < len(age) <= 9 and age.isascii() and age.isdigit()
    seconds = int(age) if is_number and int(age) <= _MAX_SECONDS else None
    return Demand(sound[:_MAX_NAMES], seconds, safe_target(fields.get("next")))


@dataclass(frozen=True, slots=True)
class Option:
    """One way to prove who one is. ``address`` is where a code is sent; never log it."""

    which: str
    address: str | None = field(default=None, repr=False)

    def view(self) -> dict[str, str]:
        """What is shown of it."""
        return {"which": self.which} if self.address is None else {"which": self.which, "to": masked(self.address)}


def options_of(user: User, demand: Demand | None = None) -> tuple[Option, ...]:
    """What a user has, which is known completely; with a ``demand``, only what meets it."""
    found = [Option("email", user.email)] if user.email else []
    found += [Option("phone_number", user.phone_number)] if user.phone_number else []
    found += [Option("totp")] if _has_totp(user) else []
    asked = () if demand is None else demand.acr_values
    return tuple(one for one in found if not asked or not _NAMES[one.which].isdisjoint(asked))


def masked(address: str) -> str:
    """An address that its owner recognizes, and nobody else learns."""
    name, at, host = address.rpartition("@")
    return f"{name[:1]}•••@{host}" if at else f"•••{address[-2:]}"


def _has_totp(user: User) -> bool:
    totps = user.extra.get("totps")
    entries = totps if isinstance(totps, list | tuple) else ()
    return any(isinstance(one, Mapping) and one.get("verified") is True for one in entries)
