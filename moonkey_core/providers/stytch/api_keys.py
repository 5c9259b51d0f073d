"""The values of the page "API keys" of a project. One in the place of another is told by how it begins."""

from __future__ import annotations

from collections.abc import Mapping

from moonkey_core.errors import ConfigurationError
from moonkey_core.providers.oidc.arguments import text

_BEGINNINGS: Mapping[str, tuple[str, str]] = {
    "project_id": ("project-", "the id of a project"),
    "secret": ("secret-", "a secret"),
    "public_token": ("public-token-", "a public token"),
}
_NEEDED: Mapping[str, str] = {
    "project_id": "Put the id of the project there, such as project-test-….",
    "secret": "Put a secret of the project there, such as secret-test-….",
    "public_token": "It is shown to browsers: put the public token of the project there.",
}


def api_key(name: str, value: object) -> str:
    """Return the value of one argument, as a text without spaces.

    Args:
        name: ``project_id``, ``secret`` or ``public_token``.
        value: Its value. One of another form than Stytch's own is left as it is.

    Raises:
        ConfigurationError: It is no such text, or begins as the value of another argument does.
    """
    found = text(name, value)
    for other, (beginning, kind) in _BEGINNINGS.items():
        if other != name and found.startswith(beginning):
            raise ConfigurationError(f"{name} holds {kind}. {_NEEDED[name]}")
    return found
