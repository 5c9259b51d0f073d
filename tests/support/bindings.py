"""The cookie that binds a JWT to the session token beside it, which the browsers of the tests hold as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moonkey_core import CookieSettings, Settings
from moonkey_core.web.binding import make_binding
from moonkey_core.web.credentials import pair_text

SESSION, JWT = CookieSettings().names
BINDING = CookieSettings().binding_name

usual_app: dict[str, str] = {"secret_key": "sk_test_no_app_yet"}
"""The settings of the apps in front of the emulator that the tests share."""


def binding(token: str, jwt: str, settings: Settings | None = None) -> str:
    """What an app with these settings sets beside a token and a JWT; else one with the usual ones."""
    settings = settings or Settings.load(usual_app, {})
    return make_binding(pair_text(token, jwt, settings), settings)


def bound(cookies: Mapping[str, str], settings: Settings | None = None) -> dict[str, str]:
    """The cookies of a browser, with the binding where both credentials are among them."""
    token, jwt = cookies.get(SESSION), cookies.get(JWT)
    if not token or not jwt or BINDING in cookies:
        return dict(cookies)
    return {**cookies, BINDING: binding(token, jwt, settings)}


def bound_line(line: str, settings: Settings | None = None) -> str:
    """The same for a ``Cookie`` line. Each name counts where it stands first."""
    found: dict[str, str] = {}
    for part in line.split(";"):
        name, _, value = part.partition("=")
        found.setdefault(name.strip(), value.strip(" \t"))
    value = bound(found, settings).get(BINDING, "")
    return line if not value or BINDING in found else f"{line}; {BINDING}={value}"


def bound_lines(lines: Sequence[str], settings: Settings | None = None) -> Sequence[str]:
    """The same for all lines of a request; the binding goes into the last one."""
    if not lines:
        return lines
    whole = "; ".join(lines)
    return [*lines[:-1], lines[-1] + bound_line(whole, settings)[len(whole) :]]


def without_binding(cookies: Mapping[str, str]) -> dict[str, str]:
    """The cookies that a response sets, without the binding, which has to go with the JWT."""
    assert cookies.keys() & {JWT, BINDING} in (set(), {JWT, BINDING})
    assert bool(cookies.get(JWT)) == bool(cookies.get(BINDING))
    return {name: value for name, value in cookies.items() if name != BINDING}
