"""What the documents read of an identity, a user or a session, it has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from moonkey_core import AuthenticatedAuth, Session, User
from moonkey_core.auth import BaseAuth
from support.documents import ROOT

OF: dict[str, tuple[type, ...]] = {"auth": (BaseAuth, AuthenticatedAuth), "user": (User,), "session": (Session,)}
# Objects of these names that are not ours: Django's, those of MoonKey's replies, and of the vendors' own packages.
OTHERS = {
    *("auth.backends", "auth.middleware", "user.is_authenticated"),
    *("session.created_at", "session.device_info", "session.get"),
    *("user.user_id", "session.session_id", "session.authenticate"),
    "user.moonkey",  # that of REST framework
    *("user.get", "auth.id", "auth.started_at"),  # as mistakes
}
READ = re.compile(r"(?<![A-Za-z_/])(?:current_)?([Aa]uth|user|session)[.](?=([a-z_]+)(?![A-Za-z_]))")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def read_in(text: str) -> Iterator[tuple[str, str]]:
    for found in READ.finditer(text):
        kind, name = found[1].lower(), found[2]
        if name not in ("py", "md") and f"{kind}.{name}" not in OTHERS:
            yield kind, name


def has(kind: str, name: str) -> bool:
    return any(
        hasattr(one, name) or any(name in vars(base).get("__annotations__", {}) for base in one.__mro__)
        for one in OF[kind]
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: one.name)
def test_there_is_what_is_read(document: Path) -> None:
    text = document.read_text()
    assert [f"{kind}.{name}" for kind, name in read_in(text) if not has(kind, name)] == []


def test_what_is_not_there_is_found() -> None:
    shown = "`Auth.fresh`, `current_auth.user.nothing`, `request.moonkey.session.id`"
    assert [one for one in read_in(shown) if not has(*one)] == [("auth", "fresh"), ("user", "nothing")]
