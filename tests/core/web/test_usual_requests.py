"""The short ways for usual requests find what the thorough ones find, whatever a client sends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from moonkey_core import CookieSettings, Settings
from moonkey_core.provider import JwtRules, KeySource, ProviderBase
from moonkey_core.web.credentials import (
    PresentedCredentials,
    cookies_of_request,
    read_credentials,
    usual_bearer,
    usual_names,
)
from moonkey_core.web.origin import may_use_cookies
from moonkey_core.web.request import HeaderView, RequestInfo, asgi_headers, sole_line
from moonkey_core.web.usual_pair import UsualPair

INFO = RequestInfo("GET", "https")
COOKIE = "__Host-moonkey_session"
PLACES = ("authorization", "session-token", "x-own")
ALL_SETTINGS = [
    Settings.load({"secret_key": "sk_test_x", "max_credential_length": 64, **more}, {})
    for more in (
        {},
        {"cookies": True},
        {"credential_headers": ["session-token", "authorization", "x-own"]},
        {"credential_headers": ["session-token"]},
        {"credential_headers": ["authorization"]},
    )
]
TOKENS = st.sampled_from(
    ["a", "session_a", "session_session_a", "e30.e30.c2ln", "a" * 64, "a" * 65, "a b", "\xe4", "a,b"]
)
BLANKS = st.sampled_from(["", " ", "\t", "  ", " \t"])
SCHEMES = st.sampled_from(["Bearer ", "bearer ", "Bearer", "Bearer\t", "Basic ", ""])
LINES = st.one_of(
    st.builds("{}{}{}{}".format, BLANKS, SCHEMES, TOKENS, BLANKS),
    st.builds("{}{}".format, SCHEMES, BLANKS),
    st.text("Bear e\t,\xe4"),
)
HEADERS = st.dictionaries(st.sampled_from(PLACES), st.lists(LINES, max_size=2))


def usual(view: HeaderView, settings: Settings) -> str | None:
    """What the short way finds in the headers of a request."""
    names = usual_names(settings)
    return None if names is None else usual_bearer(sole_line(view, names), settings.max_credential_length)


def facts_of(found: PresentedCredentials) -> tuple[object, ...]:
    return (
        found.value,
        found.source,
        found.cached_jwt,
        found.hint,
        found.is_checked,
        getattr(found.error, "reason", None),
    )


@given(
    st.sampled_from(ALL_SETTINGS), HEADERS, st.sampled_from([(), (f"{COOKIE}=a",), (f"{COOKIE}=a; {COOKIE}=b",)])
)
@example(ALL_SETTINGS[0], {"authorization": ["Bearer session_a"], "session-token": [""]}, ())
def test_the_usual_bearer_is_what_all_headers_hold(
    settings: Settings, headers: dict[str, Sequence[str]], cookies: Sequence[str]
) -> None:
    lines = {**headers, "cookie": cookies}

    def view(name: str) -> Sequence[str]:
        return lines.get(name, ())

    thorough = read_credentials(view, INFO, settings, check=False)
    found = usual(view, settings)
    if found is None:
        return
    if found:
        assert facts_of(thorough) == (found, "authorization", None, "", False, None)
        assert PresentedCredentials(found, "authorization").cached_text(settings) == thorough.cached_text(settings)
        assert thorough.cached_text(settings) is not None
    else:
        assert facts_of(cookies_of_request(view, INFO, settings)) == facts_of(thorough)


def test_it_is_the_way_of_usual_requests() -> None:
    settings = ALL_SETTINGS[1]
    assert usual(lambda name: ["Bearer abc"] if name == "authorization" else (), settings) == "abc"
    assert usual(lambda name: ["a=b"] if name == "cookie" else (), settings) == ""


NAMES = st.sampled_from([b"authorization", b"Authorization", b"session-token", b"host", b"accept", b"x-\xc4", b""])


@given(st.lists(st.tuples(NAMES, st.binary(max_size=3)), max_size=5))
def test_each_line_of_a_name_is_found(lines: list[tuple[bytes, bytes]]) -> None:
    view = asgi_headers(lines)
    for name in ("authorization", "session-token", "host", "accept", "cookie"):
        assert list(view(name)) == [
            value.decode("latin-1") for key, value in lines if key.lower() == name.encode()
        ]


PAIR_SETTINGS = [
    Settings.load({"secret_key": "sk_test_x", "max_credential_length": 128, **more}, {})
    for more in (
        {"cookies": True, "jwt_issuer": "https://a.example"},
        {"cookies": True},
        {"jwt_issuer": "https://a.example"},
        {"cookies": CookieSettings(session_name="s", jwt_name="ss"), "jwt_issuer": "https://a.example"},
    )
]
INFOS = st.one_of(
    st.none(),
    st.builds(RequestInfo, st.sampled_from(["GET", "HEAD", "POST", "get", ""]), st.just("https")),
    st.just(RequestInfo("GET", "wss", is_websocket=True)),
)
VALUES = st.one_of(
    st.sampled_from(
        ["a", "e30.e30.c2ln", "session_a", "a=", "a.b", "", " a", "a ", '"a"', "\xe4", "a\tb", "a\nb", "a" * 99]
    ),
    st.text("a=;, \t.s", max_size=6),
)
SPELLINGS = st.sampled_from(["", "", "", " ", "x_", "\t", "x="])
ENDS = st.sampled_from(["; ", "; ", "; ", ";", ";  ", ", ", " ; ", ""])


@st.composite
def pair_requests(draw: st.DrawFn) -> tuple[Settings, list[str], RequestInfo | None]:
    """Settings, ``Cookie`` lines with cookies of these names or of similar ones, and the facts of a request."""
    settings = draw(st.sampled_from(PAIR_SETTINGS))
    cookies = settings.cookies or PAIR_SETTINGS[0].cookies
    assert cookies is not None
    names = st.sampled_from([*cookies.names, *cookies.names, f"{cookies.jwt_name}_binding", "theme"])
    one = st.builds("{}{}={}{}".format, SPELLINGS, names, VALUES, ENDS)
    return settings, draw(st.lists(st.lists(one, max_size=5).map("".join), max_size=2)), draw(INFOS)


@given(pair_requests())
def test_the_usual_pair_is_what_all_cookies_hold(request: tuple[Settings, list[str], RequestInfo | None]) -> None:
    settings, lines, info = request

    def view(name: str) -> Sequence[str]:
        return lines if name == "cookie" else ()

    found = UsualPair(settings).read(view, info)
    if found is None:
        return
    thorough = cookies_of_request(view, info, settings)
    assert thorough.is_pair
    assert thorough.error is None
    assert thorough.cached_text(settings) == found
    assert may_use_cookies(info, view, settings)


def test_it_is_the_way_of_usual_cookies() -> None:
    reader, names = UsualPair(PAIR_SETTINGS[0]), ("__Host-moonkey_session", "__Host-moonkey_jwt")
    pair = [f"{names[0]}=abc", f"{names[1]}=e30.e30.c2ln"]
    for cookies in (pair, pair[::-1], ["theme=dark", *pair], [*pair, "last=1"], [pair[0], "theme=dark", pair[1]]):
        line = "; ".join(cookies)
        assert reader.read(lambda name, line=line: [line], INFO) == "abc\ne30.e30.c2ln"  # type: ignore[misc]


class Another(ProviderBase):
    def __init__(self) -> None:
        self.name = "another"
        self.jwt_rules = JwtRules(issuers=("https://login.example.com/",), audience=("api",))
        self.keys = KeySource(jwks={"keys": []})
        self.jwt_claims: Any = object()


def test_no_request_is_usual_where_several_providers_share_the_headers() -> None:
    settings = Settings.load(
        {"secret_key": "sk_test_x", "cache_secret": "s" * 32, "providers": ["moonkey", Another()]}, {}
    )
    for line in (["Bearer abc"], ()):
        assert usual(lambda name, line=line: line, settings) is None  # type: ignore[misc]
