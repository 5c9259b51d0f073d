"""The document on step-up shows what is there."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask

from moonkey_core import PermissionDenied, Session, Settings, StepUpRequired
from moonkey_core.gate import FreshnessOptions, RequirementOptions, Requirements
from moonkey_core.providers.moonkey.wire import parse_session
from moonkey_core.web.responses import refuse
from support.documents import block, run, text

DOCUMENT = "docs/step-up.md"
SETTINGS = Settings.load({"secret_key": "sk_test_docs"}, {})


def bare_session() -> Session:
    return parse_session({"id": "sess_1", "user_id": "user_1", "expires_at": 4_000_000_000})


def refused(**asked: Any) -> StepUpRequired | PermissionDenied:
    session = bare_session()
    refusal = Requirements(**asked).check(session, session.expires_at)
    assert refusal is not None
    return refusal


def test_every_keyword_with_its_status() -> None:
    not_of_a_session = {"allow_actor", "allow_machines"}  # which the gate checks, see test_gates.py
    rows = re.findall(r"^\| `((\w+)=.*)` \| .* \| (40[13]) \|$", text(DOCUMENT), re.MULTILINE)
    assert {
        name for _, name, _ in rows
    } == RequirementOptions.__optional_keys__ - FreshnessOptions.__optional_keys__
    for shown, name, status in rows:
        if name in not_of_a_session:
            assert status == "403"
            continue
        asked = eval(f"dict({shown})", {"timedelta": timedelta})
        assert str(refused(**asked).status) == status


@pytest.mark.parametrize("name", ["flask", "django", "starlette", "fastapi"])
def test_every_example_runs(name: str) -> None:
    apps: dict[str, Any] = {"flask": Flask("shown"), "fastapi": FastAPI()}
    run(DOCUMENT, name, app=apps.get(name))


def test_the_wire_example() -> None:
    asked = {"factors": {"totp", "webauthn"}, "factor_max_age": timedelta(minutes=10)}
    refusal = refuse(refused(**asked), SETTINGS, lambda _: ["1f0c"])
    head, body = block(DOCUMENT, "wire").code.strip().split("\n\n")
    lines = dict(line.split(": ", 1) for line in head.splitlines()[1:])
    sent = dict(refusal.headers)
    assert {name.lower(): value for name, value in lines.items()}.items() <= sent.items()
    assert head.startswith(f"HTTP/1.1 {refusal.status} ")
    assert json.loads(body) == json.loads(refusal.body)
    for name in ("max_age", "factor_count", "sign_in_again", "scope"):
        assert f"`{name}" in text(DOCUMENT) or f'"{name}"' in text(DOCUMENT)
