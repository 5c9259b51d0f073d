"""Wrong variables of the real providers: the error names the variable, and says what it has to be."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from moonkey_core import ConfigurationError, Settings
from moonkey_core.settings.provider_choice import PRESETS, argument_names

AUTH0 = {
    "MOONKEY_PROVIDER": "auth0",
    "MOONKEY_AUTH0_DOMAIN": "tenant.example.com",
    "MOONKEY_AUTH0_AUDIENCE": "api",
}
KEYCLOAK = {
    "MOONKEY_PROVIDER": "keycloak",
    "MOONKEY_KEYCLOAK_URL": "https://id.example.com",
    "MOONKEY_KEYCLOAK_REALM": "shop",
}
STYTCH = {
    "MOONKEY_PROVIDER": "stytch",
    "MOONKEY_STYTCH_PROJECT_ID": "project-test-x",
    "MOONKEY_STYTCH_SECRET": "secret-test-hushhush",
}
BESIDE = {
    "MOONKEY_PROVIDER": "oidc",
    "MOONKEY_OIDC_ISSUER": "https://login.example.com",
    "MOONKEY_OIDC_AUDIENCE": "api",
    "MOONKEY_INTROSPECTION_URL": "https://login.example.com/introspect",
    "MOONKEY_INTROSPECTION_ISSUER": "https://login.example.com",
    "MOONKEY_INTROSPECTION_CLIENT_ID": "api",
    "MOONKEY_INTROSPECTION_CLIENT_SECRET": "hushhush",
}


@pytest.mark.parametrize(
    ("environ", "mend"),
    [
        (
            {**AUTH0, "MOONKEY_AUTH0_DOMAIN": "https://a/x"},
            r"^MOONKEY_AUTH0_DOMAIN \(auth0_domain\) must be a host",
        ),
        ({**AUTH0, "MOONKEY_AUTH0_LONGEST_LIFE": "1"}, "^MOONKEY_AUTH0_LONGEST_LIFE .* must be 60 to 2678400 sec"),
        (KEYCLOAK, "^The provider 'keycloak', made of MOONKEY_KEYCLOAK_…: Give audience"),
        ({**STYTCH, "MOONKEY_STYTCH_COOKIES_BY": "app"}, "^MOONKEY_STYTCH_COOKIES_BY .* must be 'server' or"),
        (
            {**STYTCH, "MOONKEY_STYTCH_PUBLIC_TOKEN": "secret-test-hushhush"},
            "^MOONKEY_STYTCH_PUBLIC_TOKEN .* secret",
        ),
        (
            {**STYTCH, "MOONKEY_STYTCH_SECRET": "public-token-test-x"},
            "^MOONKEY_STYTCH_SECRET .* holds a public token",
        ),
        (
            {**BESIDE, "MOONKEY_INTROSPECTION_CLIENT_IDS": "web"},
            r"^MOONKEY_INTROSPECTION_CLIENT_IDS \(introspection_client_ids\) of Introspection has no effect",
        ),
    ],
)
def test_the_variable_is_named(environ: Mapping[str, str], mend: str) -> None:
    with pytest.raises(ConfigurationError, match=mend) as caught:
        Settings.load({}, environ)
    assert "hushhush" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("word", PRESETS)
def test_each_variable_is_known_once(word: str) -> None:
    names = argument_names(word)
    assert len(set(names)) == len(names)
