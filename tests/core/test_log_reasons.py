"""Every log line has a reason that one can count on, and holds nothing of anybody."""

from __future__ import annotations

import ast
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from moonkey_core import Auth, MoonKey, MoonKeyError, _repeated_log, errors
from moonkey_core._reasons import (
    CREDENTIAL_REASONS,
    ERROR_REASONS,
    LOG_REASONS,
    OTHER_REASONS,
    PROVIDER_REASONS,
    SESSION_OVER_REASONS,
)
from moonkey_core.emulator import Emulator
from moonkey_core.web.responses import refuse
from support.clients import Both, MakeClient
from support.decisions import presenting
from support.reasons import error_reasons, log_calls, log_reasons, modules
from support.scripted import unused_url, wait_until
from support.secrets import assert_no_secret

pytestmark = pytest.mark.usefixtures("quick_retries")
TESTS = Path(__file__).parent.parent
LEVELS = {400: "INFO", 401: "INFO", 503: "WARNING", 500: "ERROR"}


class TestTheSource:
    @pytest.mark.long
    def test_each_line_has_a_reason(self) -> None:
        assert len(log_calls()) > 15
        assert [call.where for call in log_calls() if call.reasons is None] == []

    def test_a_reason_is_a_plain_word_and_means_one_thing(self) -> None:
        everywhere = [reason for call in log_calls() for reason in call.reasons or ()]
        assert len(everywhere) == len(set(everywhere)) > 10
        for reason in log_reasons() | error_reasons():
            assert re.fullmatch("[a-z]+(_[a-z]+)*", reason)
        assert log_reasons() & error_reasons() == set()

    def test_the_registry_holds_each_reason_with_its_level(self) -> None:
        levels = {"exception": "error"}
        logged = {
            (code, levels.get(call.level, call.level)) for call in log_calls() for code in call.reasons or ()
        }
        assert logged == {(code, one.level) for code, one in LOG_REASONS.items()}
        assert error_reasons() == set(ERROR_REASONS)
        groups = (CREDENTIAL_REASONS, PROVIDER_REASONS, OTHER_REASONS)
        assert len(ERROR_REASONS) == sum(map(len, groups))
        assert set(ERROR_REASONS) > SESSION_OVER_REASONS

    def test_the_registry_holds_the_status_of_each_class(self) -> None:
        kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, MoonKeyError)]
        assert len(kinds) > 15
        for kind in kinds:
            assert ERROR_REASONS[kind.default_reason].status == kind.status

    def test_a_message_is_fixed_and_what_varies_is_an_argument(self) -> None:
        for call in log_calls():
            assert isinstance(call.message, ast.Constant), call.where

    @pytest.mark.long
    def test_there_is_one_logger(self) -> None:
        names = [
            (where, ast.literal_eval(node.args[0]))
            for where, tree in modules()
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "getLogger"
            and isinstance(node.args[0], ast.Constant)
        ]
        assert len(names) > 5
        assert {name for _where, name in names} == {"moonkey"}

    @pytest.mark.long
    def test_only_commands_print(self) -> None:
        prints = {
            where
            for where, tree in modules()
            if any(isinstance(node, ast.Name) and node.id == "print" for node in ast.walk(tree))
        }
        assert {where for where in prints if not where.startswith("moonkey_core/cli/")} == set()
        assert prints  # it would be found

    def test_each_reason_is_expected_by_a_test(self) -> None:
        texts = [path.read_text() for path in TESTS.rglob("test_*.py") if path.name != "test_docs.py"]
        for reason in log_reasons():
            assert any(f'"{reason}"' in text for text in texts), reason


def ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "moonkey"]


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Level and reason of our lines so far; forgets them."""
    found = [(record.levelname, record.__dict__["reason"]) for record in ours(caplog)]
    caplog.clear()
    return found


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


class TestRefusals:
    def test_each_is_one_line_at_its_level(
        self, call: Both, emulator: Emulator, log: pytest.LogCaptureFixture
    ) -> None:
        lost = {"status": 503, "headers": {"Retry-After": "60"}}
        cases: list[tuple[str, dict[str, Any], tuple[str, str]]] = [
            ("session_" + "Ab3" * 20, {}, ("INFO", "session_unknown")),
            ("two words", {}, ("INFO", "malformed_credentials")),
            ("session_" + "Ab4" * 20, lost, ("WARNING", "api_status")),
            ("session_" + "Ab5" * 20, {"status": 401, "body": ""}, ("ERROR", "provider_rejected_key")),
        ]
        for credential, fault, expected in cases:
            if fault:
                emulator.fault("/v1/auth", **fault)
            error = refused(call("authenticate", presenting(credential)))
            assert lines(log) == []  # to find out is not yet to refuse
            refuse(error, call.client.settings)
            (record,) = ours(log)
            assert (LEVELS[error.status], error.reason) == expected
            assert record.__dict__["request_id"] in record.getMessage()
            assert lines(log) == [expected]
            emulator.clear_faults()

    @pytest.mark.rule("S32")
    def test_a_request_id_is_logged_only_if_it_is_plain(self, call: Both, log: pytest.LogCaptureFixture) -> None:
        error = refused(call("authenticate", presenting("two words")))
        for given, kept in (("abc-1.2_3", True), ("a\nfaked line", False), ("x" * 500, False), ("", False)):
            refuse(error, call.client.settings, presenting(given, "x-request-id"))
            (record,) = ours(log)
            assert (record.__dict__["request_id"] == given) is kept
            assert "\n" not in record.getMessage()
            log.clear()


def refused(auth: Auth) -> MoonKeyError:
    assert auth.error is not None
    return auth.error


class TestTrouble:
    def test_a_key_set_that_cannot_be_had(
        self, emulator: Emulator, make_client: MakeClient, log: pytest.LogCaptureFixture
    ) -> None:
        emulator.fault("/v1/auth/jwks", body="<html>")
        client, view = make_client(jwt_issuer=emulator.issuer), presenting(emulator.sign_in().session_jwt)
        for _ in range(3):
            assert client.authenticate(view).is_unavailable
        assert lines(log) == [("WARNING", "jwks_content")]  # one for each fetch, not for each request

    def test_a_key_set_that_gives_a_secret_away(
        self, emulator: Emulator, make_client: MakeClient, log: pytest.LogCaptureFixture
    ) -> None:
        secret = "the_private_exponent_itself"
        emulator.fault("/v1/auth/jwks", body=json.dumps({"keys": [{"kty": "oct", "kid": "k", "k": secret}]}))
        client = make_client(jwt_issuer=emulator.issuer)
        client.authenticate(presenting(emulator.sign_in().session_jwt))
        assert_no_secret(ours(log), [secret])
        assert ("ERROR", "jwks_private_key") in lines(log)

    def test_an_api_that_is_away_is_one_line_however_many_ask(self, log: pytest.LogCaptureFixture) -> None:
        with MoonKey(secret_key="sk_test_x", base_url=unused_url()) as client:
            for place in range(20):
                assert client.authenticate(presenting(f"session_{'Ab3' * 20}{place}")).is_unavailable
        assert lines(log) == [("WARNING", "circuit_open")]

    def test_each_use_of_grace_is_a_line(self, emulator: Emulator, log: pytest.LogCaptureFixture) -> None:
        person = emulator.sign_in()
        view = presenting(person.session_token)
        with MoonKey(secret_key=emulator.secret_key, base_url=emulator.base_url, grace_seconds=60) as client:
            assert client.authenticate(view).is_authenticated
            emulator.fault(status=500)
            for _ in range(4):
                _repeated_log.reset()  # as if each were long after the last
                assert client.authenticate(view).source == "grace"
            emulator.clear_faults()
            assert wait_until(lambda: client.authenticate(view).source == "remote")
        assert_no_secret(ours(log), [person.session_token, person.session_id, person.user_id, emulator.secret_key])
        found = lines(log)
        assert found.count(("WARNING", "grace_used")) >= 4
        assert [line for line in found if line[1] != "grace_used"] == [
            ("WARNING", "circuit_open"),
            ("INFO", "circuit_closed"),
        ]
