"""The settings of a client: one frozen value, from arguments and ``MOONKEY_*`` variables, validated once."""

from typing import TYPE_CHECKING

from moonkey_core.settings.cookie_settings import CookieSettings
from moonkey_core.settings.fields import Secret
from moonkey_core.settings.names import DJANGO_KEYS as DJANGO_KEYS
from moonkey_core.settings.settings import Settings
from moonkey_core.settings.settings import are_equivalent as are_equivalent
from moonkey_core.settings.settings import check_names as check_names
from moonkey_core.settings.settings import has_value as has_value
from moonkey_core.settings.settings import variables as variables
from moonkey_core.settings.sign_in_settings import SignInSettings

if TYPE_CHECKING:
    from moonkey_core.settings.options import Options
else:

    def __getattr__(name):
        """Load ``Options`` when it is used: to all but type checkers it is a dict."""
        if name != "Options":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from moonkey_core.settings.options import Options

        globals()[name] = Options
        return Options


__all__ = ["CookieSettings", "Options", "Secret", "Settings", "SignInSettings"]
