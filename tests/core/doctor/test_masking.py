"""No secret in any output, wherever it was put: in the right place, in a wrong one, in pieces, or broken."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonkey_core import MoonKeyError, Settings
from moonkey_core._doctor.examination import examine, mask_for
from moonkey_core._doctor.explaining import explain
from moonkey_core._doctor.masking import Mask, named
from moonkey_core._doctor.subject import Asked
from moonkey_core.cli import main
from moonkey_core.client import MoonKey
from moonkey_core.settings.provider_choice import PRESETS, argument_names

ALPHABET = string.ascii_letters + string.digits
BODY = st.text(ALPHABET, min_size=20, max_size=40).filter(lambda text: any(one.isdigit() for one in text))
AROUND = st.sampled_from(
    ["{}", '"{}"', "'{}'", " {}", "{}\n", "Bearer {}", "{}\r\n", "\ufeff{}", "{0} {0}", "a={}"]
)
KEYS = st.sampled_from(["sk_test_{}", "sk_live_{}", "secret-live-{}", "redis://u:{}@127.0.0.1:1/0"])
SETTINGS = sorted(f"MOONKEY_{name.upper()}" for name in Settings.__dataclass_fields__)
ARGUMENTS = sorted({f"MOONKEY_{name.upper()}" for word in PRESETS for name in argument_names(word)})
NOWHERE = "http://127.0.0.1:1"


class _Offline(Exception):
    """No check of this test makes a call."""


@pytest.fixture(scope="module", autouse=True)
def no_calls() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moonkey_core._doctor.subject.run_in_time", _offline)
        patch.setattr("moonkey_core._doctor.redis._TIMEOUT", 0.05)
        patch.setattr("moonkey_core._doctor.redis.BlockingStoreClient", _offline)
        yield


def _offline(*_: object) -> Any:
    raise _Offline("nothing to be shown")


def texts_of(environ: dict[str, str], options: dict[str, Any] | None = None, **asked: Any) -> str:
    report = examine(lambda: Settings.load(options, environ), Asked(environ=environ, **asked))
    return f"{report}\n{report.to_json()}\n{report!r}"


@settings(max_examples=50)
@given(BODY, AROUND, KEYS, st.sampled_from([*SETTINGS, *ARGUMENTS]), st.booleans())
def test_a_secret_in_any_variable(body: str, around: str, key: str, name: str, with_key: bool) -> None:
    environ = {name: around.format(key.format(body))}
    if with_key:
        environ.setdefault("MOONKEY_SECRET_KEY", "sk_test_harmless12345")
    if name in ARGUMENTS and name not in SETTINGS:
        environ["MOONKEY_PROVIDER"] = name.removeprefix("MOONKEY_").lower().split("_")[0]
    assert body not in texts_of(environ)


@settings(max_examples=50)
@given(
    BODY,
    AROUND,
    st.sampled_from([name for name in [*SETTINGS, *ARGUMENTS] if "SECRET" in name or "KEY" in name[8:]]),
)
def test_a_secret_of_any_form_where_secrets_stand(body: str, around: str, name: str) -> None:
    assert body not in texts_of({name: around.format(body), "MOONKEY_JWT_ISSUER": body})


@given(BODY, AROUND, st.sampled_from(sorted(Settings.__dataclass_fields__)))
def test_a_secret_in_any_option(body: str, around: str, name: str) -> None:
    text = around.format(f"sk_test_{body}")
    assert body not in texts_of({}, {"secret_key": "sk_test_harmless12345", name: text})


@settings(max_examples=20)
@given(BODY, AROUND)
def test_a_secret_as_the_credential_or_the_address(body: str, around: str) -> None:
    options = {"secret_key": f"sk_test_{body}", "base_url": NOWHERE, "cookies": True}
    shown = texts_of({}, options, credential=around.format(body), url=f"https://u:{body}@a.example/?token={body}")
    assert body not in shown


@settings(max_examples=20)
@given(BODY, AROUND, KEYS)
def test_what_is_explained(body: str, around: str, key: str) -> None:
    with (
        MoonKey(secret_key="sk_test_harmless12345", base_url=NOWHERE) as client,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(client, "finish", lambda *_: client.authenticate({}))
        for text in (body, key.format(body)):
            found = explain(client, around.format(text))
            assert body not in f"{found}{found!r}{found.to_dict()}"


@given(st.text(min_size=12, max_size=300), st.text(max_size=40), st.text(max_size=40))
def test_what_is_known_is_masked_in_any_text(secret: str, before: str, after: str) -> None:
    secret = secret.strip() or "a secret of blanks"
    if len(secret) >= 4:
        assert secret not in Mask([secret])(f"{before}{secret}{after}") or secret in "***"


@settings(max_examples=20)
@given(BODY)
def test_an_error_of_a_check_is_not_repeated(body: str) -> None:
    def fail() -> Settings:
        raise ValueError(body)

    def fail_with_a_word() -> list[Any]:
        raise MoonKeyError(body)

    report = examine(fail, Asked(environ={}), (fail_with_a_word,))
    assert body not in f"{report}{report.to_json()}"
    assert "ValueError at test_masking.py" in str(report)


@pytest.mark.parametrize(
    "value",
    [
        "api.moonkey.fun/6b5408ef-11b2-4452-89b2-f11a85d9ed1f",
        "https://login.microsoftonline.com/6b5408ef-11b2-4452-89b2-f11a85d9ed1f/v2.0",
        "stytch.com/project-test-11111111-1111-4111-8111-111111111111",
        "https://securetoken.google.com/my-project-1",
        "https://dev-abc.eu.auth0.com/",
        "my-api",
    ],
)
def test_what_is_public_is_shown(value: str) -> None:
    assert named(value) == repr(value)
    assert Mask(["sk_test_harmless12345"])(named(value)) == repr(value)


def test_what_is_cut_off_is_masked_too() -> None:
    secret = "sk_test_" + "q1" * 150
    assert "q1" not in mask_for(None, Asked(credential=secret, environ={}))(secret[:190] + "…")


def test_a_jwt_is_masked_in_its_parts() -> None:
    jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1c2VyMTIzIn0.c2lnbmF0dXJlMTIzNDU2Nzg5"
    shown = mask_for(None, Asked(credential=jwt, environ={}))(f"it is {jwt}, or {jwt.split('.')[2]}")
    assert not any(part in shown for part in jwt.split("."))


def test_a_secret_on_the_command_line_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong place, and not worth a hint: the line that says so shows no argument of the form of a key."""
    status = main(["doctor", "sk_test_abcdefgh12345678"])
    shown = capsys.readouterr()
    assert status == 2
    assert "abcdefgh12345678" not in shown.out + shown.err
