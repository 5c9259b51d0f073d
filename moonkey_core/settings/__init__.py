"""Settings: one frozen value, from arguments and ``MOONKEY_*`` variables, validated once."""

from moonkey_core.settings.cookie_settings import CookieSettings
from moonkey_core.settings.fields import Secret
from moonkey_core.settings.names import DJANGO_KEYS as DJANGO_KEYS
from moonkey_core.settings.options import Options
from moonkey_core.settings.settings import Settings
from moonkey_core.settings.settings import check_names as check_names
from moonkey_core.settings.settings import has_value as has_value
from moonkey_core.settings.settings import mean_the_same as mean_the_same
from moonkey_core.settings.settings import variables as variables
from moonkey_core.settings.sign_in_settings import SignInSettings

__all__ = ["CookieSettings", "Options", "Secret", "Settings", "SignInSettings"]
