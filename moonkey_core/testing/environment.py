"""Variables for an app that reads its settings where it is imported, before there is any fixture.

With a made-up key an app can be made. No real service accepts it, and the kit takes over the clients.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, MutableMapping


def usual_settings() -> Mapping[str, str]:
    """Return variables with which an app of MoonKey can be made."""
    return {"MOONKEY_SECRET_KEY": f"sk_test_{secrets.token_hex(20)}"}


def provide_settings(environ: MutableMapping[str, str] = os.environ) -> bool:
    """Set the variables that an app of MoonKey needs, if none of its variables is set.

    An app that names its settings itself does not need it. It is for ``conftest.py``, or a settings module of
    tests, above the import of an app that reads ``MOONKEY_SECRET_KEY``; the ini option ``moonkey_env = true`` of
    pytest does the same, before pytest-django loads the project's settings.

    Returns:
        Whether they were set.
    """
    if any(name.startswith("MOONKEY_") and value for name, value in environ.items()):
        return False
    environ.update(usual_settings())
    return True
