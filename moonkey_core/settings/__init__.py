"""Settings: one frozen value, from arguments and ``MOONKEY_*`` variables, validated once."""

from moonkey_core.settings.settings import (
    DJANGO_KEYS,
    CookieSettings,
    Options,
    Secret,
    Settings,
    SignInSettings,
    check_names,
    has_value,
    mean_the_same,
    variables,
)

__all__ = [
    "DJANGO_KEYS", "CookieSettings", "Options", "Secret", "Settings", "SignInSettings", "check_names", "has_value",
    "mean_the_same", "variables",
]  # fmt: skip
