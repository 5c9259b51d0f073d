"""Which request headers are a credential, which are none, and which are malformed (rules S1 to S4)."""

from __future__ import annotations

import base64
import json
import string
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonkey_core import MalformedCredentials, Settings
from moonkey_core.web.credentials import is_jwt, read_credentials, well_formed
from moonkey_core.web.request import RequestInfo

SETTINGS = Settings.load({"secret_key": "sk_test_x"}, {})
LONG = Settings.load({"secret_key": "sk_test_x", "max_credential_length": 16_384}, {})
TOKEN = "session_" + "Ab3" * 20
JWT = base64.urlsafe_b64encode(json.dumps({"alg": "RS256"}).encode()).decode().rstrip("=") + ".e30.c2ln"


def read(settings: Settings = SETTINGS, **headers: str | Sequence[str]) -> tuple[str, str, str] | None:
    lines = {
        name.replace("_", "-"): [value] if isinstance(value, str) else value for name, value in headers.items()
    }
    found = read_credentials(lambda name: lines.get(name, ()), None, settings)
    if found.error is not None:
        raise found.error
    return (found.value, found.kind, found.source) if found.source else None


def reason(settings: Settings = SETTINGS, **headers: str | Sequence[str]) -> str:
    with pytest.raises(MalformedCredentials) as caught:
        read(settings, **headers)
    assert caught.value.status == 400
    return caught.value.reason


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer    "])
def test_the_scheme_has_any_case_and_any_number_of_spaces(scheme: str) -> None:
    assert read(authorization=scheme + TOKEN) == (TOKEN, "session_token", "authorization")


@pytest.mark.parametrize("padding", [" ", "\t", " \t "])
def test_white_space_around_a_field_value_is_none_of_its_own(padding: str) -> None:
    assert read(session_token=padding + TOKEN + padding) == (TOKEN, "session_token", "session-token")
    assert read(authorization=f"{padding}Bearer {TOKEN}{padding}") is not None


def test_no_header_is_no_credential() -> None:
    assert read() is None
    assert read(cookie=f"session_token={TOKEN}", x_session_token=TOKEN, referer=f"/?session_token={TOKEN}") is None


@pytest.mark.parametrize("value", ["Basic dXNlcjpwYXNz", "Negotiate", "Digest a=b, c=d", "Bearerx abc", "DPoP t"])
def test_another_scheme_is_none_of_ours(value: str) -> None:
    assert read(authorization=value) is None
    found = read(authorization=value, session_token=TOKEN)
    assert found == (TOKEN, "session_token", "session-token")


NOTHING = ["", " ", "\t", " \t "]


@pytest.mark.rule("S2")
@pytest.mark.parametrize("blank", NOTHING)
def test_a_line_with_nothing_in_it_is_no_credential(blank: str) -> None:
    empty = [blank, f"Bearer{blank}", f"{blank}bearer", f"BEARER {blank}", f"Bearer {blank} "]
    for line in empty:
        assert read(authorization=line) is None
        assert read(authorization=line, session_token=blank) is None
        assert read(authorization=line, session_token=TOKEN) == (TOKEN, "session_token", "session-token")
    assert read(authorization=f"Bearer {TOKEN}", session_token=blank) == (TOKEN, "session_token", "authorization")
    own = Settings.load({"secret_key": "sk_test_x", "credential_headers": "X-Session"}, {})
    assert read(own, x_session=blank) is None


@pytest.mark.rule("S2", "S42")
def test_beside_it_cookies_count() -> None:
    settings = Settings.load({"secret_key": "sk_test_x", "cookies": True}, {})
    cookie = f"__Host-moonkey_session={TOKEN}"
    info = RequestInfo("GET", "https")
    for name, line in (("session-token", ""), ("authorization", "Bearer"), ("authorization", "Bearer ")):
        lines = {name: [line], "cookie": [cookie]}
        found = read_credentials(lambda one, lines=lines: lines.get(one, ()), info, settings)  # type: ignore[misc]
        assert (found.value, found.source) == (TOKEN, "cookie")


@pytest.mark.parametrize(
    ("name", "line"), [("session-token", " "), ("authorization", "bearer"), ("authorization", "Bearer ")]
)
def test_the_operator_is_told_of_it(name: str, line: str) -> None:
    found = read_credentials(lambda one: [line] if one == name else [], None, SETTINGS)
    assert (found.source, found.error, found.hint) == ("", None, f"{name} is there, and holds nothing.")


MALFORMED = [
    "Bearer\t" + TOKEN,
    "Bearer \t" + TOKEN,
    "Bearer\xa0" + TOKEN,
    "Bearer\x85" + TOKEN,
    "Bearer\x0b" + TOKEN,
    f"Bearer {TOKEN} {TOKEN}",
    f"Bearer {TOKEN} ,",
    f"Bearer Bearer {TOKEN}",
    f"Bearer {TOKEN},Bearer {TOKEN}",
    f"Bearer {TOKEN}, Basic eA==",
    f"Basic eA==,Bearer {TOKEN}",  # two lines, as a WSGI server joins them
    f"Digest a=b, bearer {TOKEN}",
    "Basic eA==,Basic eA==",
    f'Bearer "{TOKEN}"',
    f"Bearer '{TOKEN}'",
    f"Bearer {TOKEN};",
    "Bearer a=b",
    "Bearer =",
    "Bearer %41bc",
    "Bearer \\101bc",
    f"Bearer,{TOKEN}",
    f"Bearer={TOKEN}",
    f"Bearer:{TOKEN}",
    f"{{{TOKEN}}}",
]


@pytest.mark.rule("S2")
@pytest.mark.parametrize("value", MALFORMED)
def test_a_malformed_bearer_line(value: str) -> None:
    assert reason(authorization=value) == "malformed_credentials"


ODD = ["\r", "\n", "\r\n", "\0", "\x01", "\x1f", "\x7f", "\x80", "\x85", "\xa0", "\xad", "é", "\t", " ", ",", ";"]


@pytest.mark.rule("S2", "token", "jwt")
@pytest.mark.parametrize("character", [*ODD, '"', "'", "\\", "%", "*", "(", "{", "<", "@", "€", "\ud800", "٣"])
@pytest.mark.parametrize("place", [0, 10, -4, 1000])
@pytest.mark.parametrize("credential", [TOKEN, JWT], ids=["token", "jwt"])
def test_no_odd_character_anywhere(credential: str, character: str, place: int) -> None:
    odd = credential[:place] + character + credential[place:]
    if odd.strip(" \t") != credential:
        reason(session_token=odd)
        reason(authorization="Bearer " + odd)
    with pytest.raises(MalformedCredentials):
        well_formed(odd, SETTINGS)


@pytest.mark.rule("S3")
def test_a_repeated_line_is_malformed_even_if_equal() -> None:
    assert reason(authorization=[f"Bearer {TOKEN}", f"Bearer {TOKEN}"]) == "repeated_header"
    assert reason(session_token=[TOKEN, TOKEN]) == "repeated_header"
    assert reason(authorization=["Basic eA==", f"Bearer {TOKEN}"]) == "repeated_header"
    assert reason(session_token=[TOKEN, ""]) == "repeated_header"


@pytest.mark.rule("S3", "token", "jwt")
def test_two_credential_headers_are_malformed_even_if_equal() -> None:
    assert reason(authorization=f"Bearer {TOKEN}", session_token=TOKEN) == "two_credentials"
    assert reason(authorization=f"Bearer {JWT}", session_token=TOKEN) == "two_credentials"


@pytest.mark.rule("S2", "S3")
def test_a_list_in_one_line_is_malformed() -> None:
    for joined in (f"{TOKEN},{TOKEN}", f"{TOKEN}, {TOKEN}", f"{TOKEN},", f",{TOKEN}"):
        reason(session_token=joined)


@pytest.mark.rule("S2")
@pytest.mark.parametrize(("settings", "longest"), [(SETTINGS, 8192), (LONG, 16_384)])
def test_the_longest_credential(settings: Settings, longest: int) -> None:
    fits, too_long = "a" * longest, "a" * (longest + 1)
    assert read(settings, session_token=fits) == (fits, "session_token", "session-token")
    assert read(settings, authorization=f"Bearer {fits}") == (fits, "session_token", "authorization")
    assert well_formed(fits, settings) == fits
    assert reason(settings, session_token=too_long) == "credential_too_long"
    assert reason(settings, authorization=f"Bearer {too_long}") == "credential_too_long"
    assert reason(settings, authorization="Bearer" + " " * 1000 + fits) == "credential_too_long"
    with pytest.raises(MalformedCredentials):
        well_formed(too_long, settings)


@pytest.mark.rule("S1")
def test_only_configured_headers_are_read() -> None:
    settings = Settings.load({"secret_key": "sk_test_x", "credential_headers": "X-Session"}, {})
    assert read(settings, authorization=f"Bearer {TOKEN}", session_token=TOKEN) is None
    assert read(settings, x_session=TOKEN) == (TOKEN, "session_token", "x-session")
    reason(settings, x_session=f"Bearer {TOKEN}")


HEAD = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
UTF16 = base64.urlsafe_b64encode('{"alg":1}'.encode("utf-16")).decode()
BOM = base64.urlsafe_b64encode(b'\xef\xbb\xbf{"a":1}').decode()


@pytest.mark.rule("S4")
@pytest.mark.parametrize(
    "value",
    [JWT, f"{HEAD}.e30.", f"{HEAD}.", f"{HEAD}=.e30.a", f"{HEAD}.a.b.c.d", f"{UTF16}.e30.a", f"{BOM}.e30.a"],
)
def test_what_tries_to_be_a_jwt_is_judged_as_one(value: str) -> None:
    assert is_jwt(value)
    if "=" in value:  # no word of the grammar, so it is refused before anybody asks what it is
        reason(session_token=value)
    else:
        found = read(session_token=value)
        assert found is not None
        assert found[1] == "session_jwt"


@pytest.mark.rule("S4", "token")
@pytest.mark.parametrize(
    "value",
    [TOKEN, "a.b.c", "session_jwt.x.y", "eyJ", "eyJhbGciOiJSUzI1NiJ9", "....", "~._~", "aa.bb"],
)
def test_an_opaque_token_is_told_by_its_form_and_not_by_a_prefix(value: str) -> None:
    assert not is_jwt(value)
    found = read(authorization=f"Bearer {value}")
    assert found is not None
    assert found[1] == "session_token"


@pytest.mark.rule("S30")
def test_a_credential_does_not_show_itself() -> None:
    assert TOKEN not in repr(
        read_credentials(lambda name: [TOKEN] if name == "session-token" else [], None, SETTINGS)
    )


ALPHABET = "ABCXYZabcxyz0189-._~+/"


@pytest.mark.rule("S2")
@given(st.text(ALPHABET, min_size=1, max_size=200), st.integers(0, 3))
def test_every_word_of_the_grammar_is_read_as_it_is(body: str, padding: int) -> None:
    token = body + "=" * padding
    for found in (read(session_token=token), read(authorization=f"Bearer {token}")):
        assert found is not None
        assert found[0] == token


@pytest.mark.rule("S2")
@given(st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=80))
def test_any_line_is_a_credential_none_or_malformed(line: str) -> None:
    for name in ("authorization", "session_token"):
        try:
            found = read(SETTINGS, **{name: line})
        except MalformedCredentials:
            continue
        if found is None:
            shown = line.strip(" \t").lower()
            assert shown in ("", "bearer") or name == "authorization"
            assert not shown.startswith("bearer ")
        else:
            assert found[0] in line
            assert set(found[0]) <= {*string.ascii_letters, *string.digits, *"-._~+/="}


@pytest.mark.rule("S4")
@given(st.text(st.characters(max_codepoint=127), max_size=100))
def test_telling_a_jwt_from_a_token_never_fails(value: str) -> None:
    assert is_jwt(value) in (True, False)
    assert not is_jwt(value.replace(".", ""))
