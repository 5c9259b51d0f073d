"""Whole set-ups of apps, of every provider, as the options of a client; and what the doctor says of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest

from moonkey_core import CDP, OIDC, Introspection, Settings, Stytch, StytchB2B
from moonkey_core._doctor.examination import examine
from moonkey_core._doctor.lines import Report
from moonkey_core._doctor.subject import Asked
from moonkey_core.emulator import CdpEmulator, Emulator, OidcEmulator, StytchB2BEmulator, StytchEmulator
from support.patience import PATIENT

PROVIDERS = (
    "moonkey",
    "stytch",
    "stytch_b2b",
    "cdp",
    "cdp here",
    "oidc",
    "oidc asked",
    "introspection",
    "several",
)


class SetUp(NamedTuple):
    """The options of a client, a credential of a user, and the issuer that its JWT names."""

    options: dict[str, Any]
    credential: str
    secrets: tuple[str, ...]


def oidc_provider(oidc: OidcEmulator, *, asked: bool = False, **more: Any) -> OIDC:
    introspection = Introspection(
        oidc.introspection_url, client_id=oidc.client_id, client_secret=oidc.client_secret
    )
    options: dict[str, Any] = {"introspection": introspection} if asked else {}
    return OIDC(**{"issuer": oidc.issuer, "audience": oidc.audience, **options, **more})


def _moonkey(request: pytest.FixtureRequest) -> SetUp:
    emulator: Emulator = request.getfixturevalue("emulator")
    options = {"secret_key": emulator.secret_key, "base_url": emulator.base_url, "jwt_issuer": emulator.issuer}
    return SetUp(options, emulator.sign_in().session_jwt, (emulator.secret_key,))


def _stytch(request: pytest.FixtureRequest) -> SetUp:
    stytch: StytchEmulator = request.getfixturevalue("stytch")
    provider = Stytch(stytch.project_id, stytch.secret, base_url=stytch.base_url)
    return SetUp({"provider": provider}, stytch.sign_in().session_jwt, (stytch.secret,))


def _stytch_b2b(request: pytest.FixtureRequest) -> SetUp:
    b2b: StytchB2BEmulator = request.getfixturevalue("b2b")
    provider = StytchB2B(b2b.project_id, b2b.secret, base_url=b2b.base_url)
    return SetUp({"provider": provider}, b2b.sign_in().session_jwt, (b2b.secret,))


def _cdp(request: pytest.FixtureRequest, **more: Any) -> SetUp:
    cdp: CdpEmulator = request.getfixturevalue("cdp")
    provider = CDP(cdp.api_key_id, cdp.api_key_secret, cdp.project_id, base_url=cdp.api_url, **more)
    return SetUp({"provider": provider}, cdp.sign_in().access_token, (cdp.api_key_secret,))


def _cdp_here(request: pytest.FixtureRequest) -> SetUp:
    return _cdp(request, jwks_url=request.getfixturevalue("cdp").jwks_url)


def _oidc(request: pytest.FixtureRequest, *, asked: bool = False) -> SetUp:
    oidc: OidcEmulator = request.getfixturevalue("oidc")
    return SetUp(
        {"provider": oidc_provider(oidc, asked=asked)}, oidc.sign_in().access_token, (oidc.client_secret,)
    )


def _introspection(request: pytest.FixtureRequest) -> SetUp:
    oidc: OidcEmulator = request.getfixturevalue("oidc")
    provider = Introspection(
        oidc.introspection_url,
        client_id=oidc.client_id,
        client_secret=oidc.client_secret,
        issuer=oidc.issuer,
        audience=oidc.audience,
    )
    return SetUp({"provider": provider}, oidc.sign_in().opaque_token, (oidc.client_secret,))


def _several(request: pytest.FixtureRequest) -> SetUp:
    moonkey, oidc = _moonkey(request), _oidc(request)
    options = {**moonkey.options, "providers": ["moonkey", oidc.options["provider"]]}
    return SetUp(options, moonkey.credential, moonkey.secrets)


_MAKERS: Mapping[str, Callable[[pytest.FixtureRequest], SetUp]] = {
    "moonkey": _moonkey,
    "stytch": _stytch,
    "stytch_b2b": _stytch_b2b,
    "cdp": _cdp,
    "cdp here": _cdp_here,
    "oidc": _oidc,
    "oidc asked": lambda request: _oidc(request, asked=True),
    "introspection": _introspection,
    "several": _several,
}


def set_up(provider: str, request: pytest.FixtureRequest) -> SetUp:
    """A whole set-up of one of the ``PROVIDERS``; its emulator is a fixture."""
    return _MAKERS[provider](request)


def report_on(options: Mapping[str, Any], *more: Any, **asked: Any) -> Report:
    """What the doctor says of an app with these settings; ``asked``: what the user of the command gives."""
    environ = asked.pop("environ", {})
    usual = {**PATIENT, **options}
    return examine(lambda: Settings.load(usual, environ), Asked(environ=environ, **asked), more)


def wrongs(report: Report) -> dict[str, str]:
    """The text of each check that has found something wrong."""
    return {line.check: f"{line.text} {line.mend}" for line in report.lines if line.verdict == "wrong"}
