"""The page on Stytch shows what can be used as it is, and all arguments that there are."""

from __future__ import annotations

import inspect
import re

from moonkey_core import MoonKey, Settings, Stytch
from moonkey_core.emulator import StytchEmulator
from support.documents import block, run, text

DOCUMENT = "docs/stytch.md"


def test_by_an_object_and_by_the_environment() -> None:
    client = run(DOCUMENT, "choose")["client"]
    assert isinstance(client, MoonKey)
    with client:
        chosen = client.settings.provider
        assert isinstance(chosen, Stytch)
        lines = block(DOCUMENT, "environment").code.splitlines()
        variables = dict(line.split("=", 1) for line in lines if line)
        other = Settings.load({}, variables).provider
        assert isinstance(other, Stytch)
        assert (other.project_id, other.jwt_rules) == (chosen.project_id, chosen.jwt_rules)


def test_the_permission_and_the_claims() -> None:
    with StytchEmulator() as project:
        project.policy(
            {
                "roles": [{"role_id": "editor", "permissions": [{"resource_id": "documents", "actions": ["*"]}]}],
                "resources": [],
                "scopes": [],
            }
        )
        editor, other = (
            project.sign_in(roles=["editor"]),
            project.sign_in("other@example.com", claims={"trial": True}),
        )
        with MoonKey(provider=Stytch(project.project_id, project.secret, base_url=project.base_url)) as client:
            shown = run(DOCUMENT, "permissions")
            assert shown["can_write"](client, editor.session_jwt)
            assert not shown["can_write"](client, other.session_jwt)
            jwt = run(DOCUMENT, "claims")["upgrade"](client, other.session_token)
            auth = client.authenticate({"authorization": f"Bearer {jwt}"}, shown["may_write"])
            assert auth.session is not None
            assert auth.session.extra["custom_claims"] == {"plan": "pro"}
            assert auth.session.permissions == ()


def test_each_argument_has_its_row() -> None:
    table = text(DOCUMENT).partition("| argument |")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.+?`) \| ", table, re.MULTILINE)
    shown = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert shown == set(inspect.signature(Stytch).parameters)
