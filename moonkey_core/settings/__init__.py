"""The settings of a client: one frozen value, from arguments and ``MOONKEY_*`` variables, validated once."""

from moonkey_core.settings.settings import (
    DJANGO_KEYS,
    CookieSettings,
    Options,
    Secret,
    Settings,
    SignInSettings,
    are_equivalent,
    check_names,
    has_value,
    variables,
)

__all__ = [
    "DJANGO_KEYS", "CookieSettings", "Options", "Secret", "Settings", "SignInSettings", "check_names", "has_value",
    "are_equivalent", "variables",
]  # fmt: skip
