"""Ways to sign in that no provider begins through the app: each method refuses, and says what to use instead.

Passwords, passkeys and biometrics are begun by the provider's own SDK or page. The methods take any arguments and
look at none: one of them may be a password.
"""

from __future__ import annotations

from typing import Final

from moonkey_core._operations.core import Core
from moonkey_core._plan import Plan
from moonkey_core.errors import NotSupported
from moonkey_core.models import Login

_BY_ITS_SDK: Final = "Begin it with the provider's own SDK, in the browser or in the mobile app."
_ACCEPTED: Final = "Sessions that begin so are accepted here like any other."


def create_password(core: Core, /, *arguments: object, **named: object) -> Plan[None]:
    """Refuse: passwords are set with the provider's own SDK or page.

    Raises:
        NotSupported: Always.
    """
    yield from _refused(core, "create_password")


def verify_password(core: Core, /, *arguments: object, **named: object) -> Plan[Login]:
    """Refuse: passwords are verified by the provider's own SDK or page.

    Raises:
        NotSupported: Always.
    """
    return (yield from _refused(core, "verify_password"))


def begin_passkey(core: Core, /, *arguments: object, **named: object) -> Plan[None]:
    """Refuse: a sign-in with a passkey is begun by the provider's own SDK or page.

    Raises:
        NotSupported: Always.
    """
    yield from _refused(core, "begin_passkey")


def verify_passkey(core: Core, /, *arguments: object, **named: object) -> Plan[Login]:
    """Refuse: passkeys are verified by the provider's own SDK or page.

    Raises:
        NotSupported: Always.
    """
    return (yield from _refused(core, "verify_passkey"))


def begin_biometric(core: Core, /, *arguments: object, **named: object) -> Plan[None]:
    """Refuse: a sign-in with biometrics is begun by the provider's own SDK.

    Raises:
        NotSupported: Always.
    """
    yield from _refused(core, "begin_biometric")


def verify_biometric(core: Core, /, *arguments: object, **named: object) -> Plan[Login]:
    """Refuse: biometrics are verified by the provider's own SDK.

    Raises:
        NotSupported: Always.
    """
    return (yield from _refused(core, "verify_biometric"))


def _refused(core: Core, operation: str) -> Plan[Login]:
    signs_in = "sign_in" in core.provider.capabilities
    how = _BY_ITS_SDK if signs_in else core.instead_of("sign_in")
    raise NotSupported(provider=core.provider.name, operation=operation, why=f"{how} {_ACCEPTED}")
    yield  # a plan, as every operation is: it refuses when it runs
