"""How a demand that is not met is passed on to whoever has to meet it (RFC 6750 section 3, RFC 9470 section 3)."""

from __future__ import annotations

import json
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import PermissionDenied, Settings, StepUpRequired
from moonkey_core.web.responses import refuse

SETTINGS = Settings.load({"secret_key": "sk_test_x"}, {})


def test_errors_survive_pickling() -> None:
    stepping = StepUpRequired("why", acr_values=("totp",), max_age=5, factor_count=2, sign_in_again=True)
    for error in (stepping, PermissionDenied("why", reason="other", scope=("write",))):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert (str(copy), vars(copy)) == (str(error), vars(error))


@pytest.mark.parametrize("error", [StepUpRequired(), PermissionDenied()])
def test_where_nothing_is_said_nothing_is_passed_on(error: StepUpRequired | PermissionDenied) -> None:
    refusal = refuse(error, SETTINGS)
    assert dict(refusal.headers)["www-authenticate"].count("=") == 2
    members = {"type", "title", "status", "detail", "instance", "error"}
    assert json.loads(refusal.body).keys() == members


def test_zero_seconds_are_said() -> None:
    refusal = refuse(StepUpRequired(max_age=0), SETTINGS)
    assert dict(refusal.headers)["www-authenticate"].endswith(', max_age="0"')
    assert json.loads(refusal.body)["max_age"] == 0


@pytest.mark.long
@given(st.lists(st.text(max_size=8) | st.sampled_from(["totp", 'a"b', "a b", "a\\b", "a\r\nX-Y: z"])))
def test_a_challenge_stays_well_formed_whatever_an_app_names(names: list[str]) -> None:
    errors = (StepUpRequired(acr_values=tuple(names), max_age=7), PermissionDenied(scope=tuple(names)))
    for error in errors:
        refusal = refuse(error, SETTINGS)
        challenge = dict(refusal.headers)["www-authenticate"]
        assert re.fullmatch(r'Bearer [a-z_]+="[ !#-\[\]-~]*"(, [a-z_]+="[ !#-\[\]-~]*")*', challenge)
        (*_, said) = re.findall(r'(?:acr_values|scope)="([^"]*)"', challenge) or [""]
        legal = [name for name in names if re.fullmatch(r"[!#-\[\]-~]+", name)]
        assert said.split(" ") == (legal or [""])
        body = json.loads(refusal.body)
        assert (body.get("acr_values") or body.get("scope", "").split(" ")) == (legal or [""])
