"""`python -m moonkey_core.emulator`, as a process of its own."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jwt
import pytest

import moonkey_core
from moonkey_core.emulator.__main__ import main
from support import quick
from support.patience import PATIENCE

ROOT = Path(moonkey_core.__file__).parents[1]
MODULE = [sys.executable, "-m", "moonkey_core.emulator"]


def run_to_end(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MODULE, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str], list[str]]]:
    """Start it; yield it with the settings that it printed, and all lines up to them."""
    process = subprocess.Popen(
        [*MODULE, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stderr
    try:
        settings: dict[str, str] = {}
        printed: list[str] = []
        last = {
            "MOONKEY_JWT_ISSUER",
            "MOONKEY_OIDC_AUDIENCE",
            "MOONKEY_KEYCLOAK_AUDIENCE",
            "MOONKEY_STYTCH_BASE_URL",
            "MOONKEY_STYTCH_B2B_BASE_URL",
        }
        while not last & set(settings):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            printed.append(line)
            if found := re.fullmatch(r"export (MOONKEY_\w+)=(\S+)\n", line):
                settings[found[1]] = found[2]
        yield process, settings, printed
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE)
        process.stdout.close()
        process.stderr.close()


@pytest.mark.long
def test_it_works_with_what_it_prints_until_interrupted(tmp_path: Path) -> None:
    state = str(tmp_path / "emulator.db")
    with running("--port", "0", "--state", state) as (process, settings, _):
        headers = {"Authorization": f"Bearer {settings['MOONKEY_SECRET_KEY']}"}
        with quick.Client(base_url=f"{settings['MOONKEY_BASE_URL']}/v1/auth/", headers=headers) as api:
            api.post("otps/email/login_or_create", json={"email": "ada@example.com"}).raise_for_status()
            assert process.stdout
            both = "".join(process.stdout.readline() for _ in range(2))  # and an empty line, before or after it
            shown = re.fullmatch(r"\n?email_otp to ada@example.com: code (\d{6})\n\n?", both)
            assert shown
            body = {"code": shown[1], "email": "ada@example.com", "session_expires_in": 60}
            login = api.post("otps/verify", json=body).raise_for_status().json()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert process.stderr
        assert process.stderr.read() == ""

    with running("--port", "0", "--state", state) as (process, again, _):
        assert {**again, "MOONKEY_BASE_URL": ""} == {**settings, "MOONKEY_BASE_URL": ""}
        url = f"{again['MOONKEY_BASE_URL']}/v1/auth/sessions/verify"
        answer = quick.post(url, json={"session_token": login["session_token"]}, headers=headers)
        assert answer.json()["session"]["id"] == login["session"]["id"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


@pytest.mark.long
def test_the_credential_and_the_line_that_it_prints_work_as_they_are() -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    with running("--port", "0", "--secret-key", "sk_test_it's mine") as (process, _, printed):
        asked, own_app = (line for line in printed if line.startswith("curl "))
        ran = subprocess.run(["sh", "-c", asked], capture_output=True, text=True, timeout=30, check=True)
        answer = json.loads(ran.stdout)
        assert answer["user"]["email"] == "demo@example.com"
        (token,) = [line.removeprefix("SESSION_TOKEN=").strip() for line in printed if "SESSION_TOKEN=" in line]
        (found,) = [line.removeprefix("SESSION_JWT=").strip() for line in printed if "SESSION_JWT=" in line]
        assert answer["session_token"] == token
        assert jwt.decode(found, options={"verify_signature": False})["jti"] == answer["session"]["id"]
        assert shlex.split(own_app)[-2:] == ["-H", f"Authorization: Bearer {token}"]
        process.terminate()


@pytest.mark.long
def test_an_oidc_issuer() -> None:
    with running("--provider", "oidc", "--port", "0", "--secret-key", "it's mine") as (process, settings, printed):
        asked, own_app = (line for line in printed if line.startswith("curl "))
        assert settings["MOONKEY_PROVIDER"] == "oidc"
        discovery = f"{settings['MOONKEY_OIDC_ISSUER']}/.well-known/openid-configuration"
        keys = quick.get(quick.get(discovery).json()["jwks_uri"]).json()
        (token,) = [line.removeprefix("ACCESS_TOKEN=").strip() for line in printed if "ACCESS_TOKEN=" in line]
        found = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(token)["kid"]]
        audience = settings["MOONKEY_OIDC_AUDIENCE"]
        claims = jwt.decode(token, found, issuer=settings["MOONKEY_OIDC_ISSUER"], audience=audience)
        assert shlex.split(own_app)[-1] == f"Authorization: Bearer {token}"
        arguments = shlex.split(asked)
        client = arguments[arguments.index("-u") + 1].split(":")
        assert client == ["demo-api", "it's mine"]
        opaque = arguments[-1].removeprefix("token=")
        reply = quick.post(arguments[1], data={"token": opaque}, auth=(client[0], client[1])).json()
        assert (reply["active"], reply["sub"]) == (True, claims["sub"])
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


@pytest.mark.long
def test_another_shape_of_tokens() -> None:
    with running("--provider", "oidc", "--port", "0", "--preset", "keycloak") as (process, settings, printed):
        (token,) = [line.removeprefix("ACCESS_TOKEN=").strip() for line in printed if "ACCESS_TOKEN=" in line]
        issuer = f"{settings['MOONKEY_KEYCLOAK_URL']}/realms/{settings['MOONKEY_KEYCLOAK_REALM']}"
        assert jwt.decode(token, options={"verify_signature": False})["iss"] == issuer
        process.terminate()


@pytest.mark.long
def test_a_project_of_stytch() -> None:
    arguments = ("--provider", "stytch", "--port", "0", "--secret-key", "secret-test-mine")
    with running(*arguments, "--project-id", "project-test-mine") as (process, settings, printed):
        asked, own_app = (shlex.split(line) for line in printed if line.startswith("curl "))
        assert settings["MOONKEY_PROVIDER"] == "stytch"
        project, secret = (settings[f"MOONKEY_STYTCH_{name}"] for name in ("PROJECT_ID", "SECRET"))
        assert (project, secret) == ("project-test-mine", "secret-test-mine")
        assert asked[asked.index("-u") + 1] == f"{project}:{secret}"
        body = json.loads(asked[asked.index("-d") + 1])
        reply = quick.post(asked[asked.index("-X") + 2], json=body, auth=(project, secret)).json()
        assert reply["user"]["emails"][0]["email"] == "demo@example.com"
        assert own_app[-1] == f"Authorization: Bearer {body['session_token']}"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


@pytest.mark.long
def test_a_b2b_project_of_stytch() -> None:
    with running("--provider", "stytch-b2b", "--port", "0") as (process, settings, printed):
        asked, _ = (shlex.split(line) for line in printed if line.startswith("curl "))
        assert settings["MOONKEY_PROVIDER"] == "stytch_b2b"
        auth = (settings["MOONKEY_STYTCH_B2B_PROJECT_ID"], settings["MOONKEY_STYTCH_B2B_SECRET"])
        body = json.loads(asked[asked.index("-d") + 1])
        reply = quick.post(asked[asked.index("-X") + 2], json=body, auth=auth).json()
        assert reply["member"]["email_address"] == "demo@example.com"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--provider", "stytch", "--issuer", "https://login.example"], "--provider moonkey or oidc"),
        (["--project-id", "project-test-x"], "--provider stytch"),
        (["--provider", "oidc", "--state", "x.db"], "--provider moonkey"),
        (["--provider", "oidc", "--session-claim", "session"], "--provider moonkey"),
        (["--preset", "auth0"], "--provider oidc"),
        (["--provider", "oidc", "--preset", "nobody"], "keycloak"),
    ],
)
def test_options_of_the_other_provider_are_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.long
def test_settings_and_the_warning_off_loopback() -> None:
    arguments = ["--secret-key", "sk_test_mine", "--issuer", "api.example/app", "--session-claim", "session"]
    with running("--port", "0", "--host", "0.0.0.0", "--allow-remote", *arguments) as (process, settings, _):
        assert settings["MOONKEY_SECRET_KEY"] == "sk_test_mine"
        assert settings["MOONKEY_JWT_ISSUER"] == "api.example/app"
        control = f"{settings['MOONKEY_BASE_URL']}/_emulator"
        assert quick.get(control, headers={"Host": "box.example"}).status_code == 200
        assert quick.get(control, headers={"Origin": "http://box.example"}).status_code == 403
        process.terminate()
        assert process.stderr
        assert "Warning: whoever can reach this port" in process.stderr.read()


@pytest.mark.long
def test_off_loopback_needs_the_flag() -> None:
    ended = run_to_end("--host", "0.0.0.0", "--port", "0")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "--allow-remote" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.long
@pytest.mark.parametrize("arguments", [["--port", "99999"], ["--port", "0", "--state", "/nowhere/at/all.db"]])
def test_what_cannot_be_started_is_said_in_a_sentence(arguments: list[str]) -> None:
    ended = run_to_end(*arguments)
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.long
def test_nobody_reads_what_it_prints() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        ended = subprocess.run(
            [*MODULE, "--port", "0"], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, timeout=30, check=False
        )
    finally:
        os.close(write)
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.long
def test_a_taken_port_is_named() -> None:
    with running("--port", "0") as (_, settings, _):
        port = settings["MOONKEY_BASE_URL"].rpartition(":")[2]
        ended = run_to_end("--port", port)
    assert ended.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{port}" in ended.stderr


@pytest.mark.long
@pytest.mark.parametrize("missing", ["uvicorn", "starlette", "segno"])
def test_a_missing_extra_is_named(missing: str) -> None:
    run = "runpy.run_module('moonkey_core.emulator', run_name='__main__')"
    code = f"import sys, runpy; sys.modules[{missing!r}] = None; {run}"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 1
    assert "pip install 'moonkey[emulator]'" in ended.stderr
    assert "Traceback" not in ended.stderr
