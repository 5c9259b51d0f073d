"""The settings choose a provider: by an object, by a word with its own variables, or several of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from moonkey_core import AsyncMoonKey, ConfigurationError, CookieSettings, MoonKey, Settings, Stytch, provider
from moonkey_core._crypto import fleet_sealers
from moonkey_core.provider import Capability, JwtRules, KeySource, ProviderBase
from moonkey_core.settings import provider_choice
from moonkey_core.settings.checks import MOONKEY_ONLY
from support.foreign_tokens import provider as plain_issuer

OF_B = CookieSettings(session_name="b", jwt_name="b_jwt")
KEY = "sk_test_" + "k" * 30
SECRET = "a random text of the whole fleet"
ISSUER, OTHER_ISSUER = "https://login.example.com/", "https://login.example.org/"


class Plain(ProviderBase):
    """A provider whose JWTs are verified here; with a word it can be asked as well."""

    def __init__(self, name: str = "plain", issuer: str = ISSUER, can: Sequence[Capability] = ()) -> None:
        self.name = name
        self.capabilities = frozenset(can)
        self.jwt_rules = JwtRules(issuers=(issuer,), audience=("api",))
        self.keys = KeySource(jwks={"keys": []})
        self.jwt_claims: Any = object()


class Placed(Plain):
    """One that names the places of its own credentials."""

    def __init__(self, *args: Any, headers: Sequence[str] = (), cookies: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.credential_headers = tuple(headers)
        self.cookies = cookies


def load(environ: Mapping[str, str] | None = None, **options: Any) -> Settings:
    return Settings.load(options, environ or {})


def fails(pattern: str, environ: Mapping[str, str] | None = None, **options: Any) -> str:
    with pytest.raises(ConfigurationError, match=pattern) as caught:
        load(environ, **options)
    text = str(caught.value)
    assert "hushhush" not in text
    assert len(text) < 600
    return text


def test_moonkey_is_the_provider_unless_another_one_is_named() -> None:
    for options in ({}, {"provider": "moonkey"}, {"providers": ["moonkey"]}, {"providers": "moonkey"}):
        settings = load(secret_key=KEY, **options)
        assert (settings.provider, settings.providers, settings.routes) == (None, (), None)
        assert settings.uses_moonkey
        fails("secret_key.* is missing", **options)


def test_another_provider_needs_no_secret_key() -> None:
    one = Plain()
    for options in ({"provider": one}, {"providers": [one]}):
        settings = load(**options)
        assert settings.provider is one
        assert settings.providers == ()
        assert settings.secret_key is None
        assert not settings.uses_moonkey
        assert settings.credential_headers == ("authorization",)
    with pytest.raises(ConfigurationError, match="secret_key"):
        _ = load(provider=one).api_key


@pytest.mark.parametrize("name", sorted(MOONKEY_ONLY))
def test_a_setting_that_only_moonkey_knows_is_refused_beside_another_provider(name: str) -> None:
    values: dict[str, Any] = {
        "base_url": "https://api.example.com",
        "public_token": "pk_test_x",
        "oauth_start_url": "https://api.example.com/{provider}",
        "allow_http": True,
        "jwt_issuer": "x",
        "jwt_audience": "x",
        "jwt_session_claims": "x",
        "strict_subject": True,
        "jwks_url": "https://api.moonkey.fun/x",
        "jwks_auth": "none",
        "jwks": {"keys": []},
        "refresh_jwt": False,
        "load_user": True,
        "extend_on_activity": 3600,
    }
    value = values.get(name, 50 if name == "user_ttl" else 300)
    capability = MOONKEY_ONLY[name]
    problem = "cannot [a-zA-Z ]*[.]" if capability else "only MoonKey knows this"
    message = fails(rf"MOONKEY_{name.upper()} \({name}\): .*{problem}", provider=Plain(), **{name: value})
    assert "'plain'" in message
    assert ("MoonKey knows" in message) is not bool(capability)
    fails(problem, providers=[Plain(), Plain("other", OTHER_ISSUER)], **{name: value})
    if capability and name not in ("extend_every", "session_max_lifetime"):
        assert load(provider=Plain(can=[capability]), **{name: value}).provider is not None  # type: ignore[list-item]
    if name not in (
        "jwt_audience",
        "strict_subject",
        "extend_every",
        "session_max_lifetime",
    ):  # which need another setting
        both = load(secret_key=KEY, providers=["moonkey", Plain()], **{name: value})
        assert both.uses_moonkey


def test_what_is_about_pages_is_for_every_provider_and_the_steps_of_a_sign_in_are_not() -> None:
    pages = {"page": "/login", "step_up_page": "/more", "after_sign_out": "/bye", "home": "/x", "language": "de"}
    for options in ({"provider": Plain()}, {"providers": [Plain(), Plain("other", OTHER_ISSUER)]}):
        found = load(**options, sign_in=pages)
        assert [one.sign_in.page for one in (found, *found.members.values())] == ["/login"] * (
            1 + len(found.members)
        )
        for name, value in {"max_tries": 2, "methods": "phone_number", "after_sign_in": "/a"}.items():
            message = fails(
                r"MOONKEY_SIGN_IN \(sign_in\).*does not sign users in", **options, sign_in={name: value}
            )
            assert name in message
    steps: dict[str, Any] = {"max_tries": 2}
    assert load(provider=Plain(can=["sign_in"]), sign_in=steps).sign_in.max_tries == 2
    assert load(secret_key=KEY, providers=["moonkey", Plain()], sign_in=steps).sign_in.max_tries == 2


def test_each_of_several_such_settings_is_named() -> None:
    message = fails("only MoonKey", provider=Plain(), jwt_issuer="x", base_url="https://api.example.com")
    assert "jwt_issuer" in message
    assert "base_url" in message


@pytest.mark.parametrize(
    ("options", "name"),
    [({"cookies": True}, "cookies"), ({"redis_url": "redis://127.0.0.1"}, "redis_url")],
)
def test_what_has_to_be_sealed_needs_a_secret(options: dict[str, Any], name: str) -> None:
    asked = Plain(can=["introspect"])
    for chosen in ({"provider": asked}, {"providers": [asked, Plain("other", OTHER_ISSUER)]}):
        message = fails("MOONKEY_CACHE_SECRET", **chosen, **options)
        assert name in message
        assert load(cache_secret=SECRET, **chosen, **options).all_cookies or "redis_url" in options
        assert load(secret_key=KEY, **chosen, **options).all_cookies or "redis_url" in options


def test_without_a_secret_nothing_that_stays_in_the_process_fails() -> None:
    sealer = fleet_sealers(load(provider=Plain()), "credential")[0]
    assert sealer.open("x", sealer.seal("x", b"data")) == b"data"


def test_two_providers_seal_with_keys_of_their_own() -> None:
    names = {
        fleet_sealers(load(cache_secret=SECRET, provider=Plain(name)), "store")[0].digest("x")
        for name in ("one", "other")
    }
    moonkey = fleet_sealers(load(cache_secret=SECRET, secret_key=KEY), "store")[0].digest("x")
    assert len({*names, moonkey}) == 3


@pytest.mark.parametrize(
    ("value", "mend"),
    [
        ("auht0", "Did you mean 'auth0'"),
        ("nonsense", "Known words are: moonkey, oidc"),
        (7, "provider"),
        (Plain, r"Write Plain\(…\)"),
        (load, r"Write load\(…\)"),
        (Plain("Not A Name"), "name"),
    ],
)
def test_what_is_no_provider(value: object, mend: str) -> None:
    fails(mend, provider=value)
    fails(mend, providers=["moonkey", value], secret_key=KEY)


def test_one_way_only_and_names_of_their_own() -> None:
    fails("Give one of the two", provider=Plain(), providers=[Plain("a"), Plain("b", OTHER_ISSUER)])
    fails("two providers of the name 'plain'", providers=[Plain(), Plain(issuer=OTHER_ISSUER)])
    fails("is empty", providers=[])
    with pytest.raises(ConfigurationError, match=r"Settings\.load"):
        Settings(provider="auth0")  # type: ignore[arg-type]


# Words


def auth0(
    domain: str,
    audience: str | Sequence[str],
    *,
    allow_machines: bool = False,
    leeway: float | None = None,
    keys: Mapping[str, object] | str | None = None,
    introspection: Any = None,
) -> Plain:
    made = Placed("auth0", f"https://{domain}/")
    made.given = (domain, audience, allow_machines, leeway, keys, introspection)  # type: ignore[attr-defined]
    return made


def introspection(url: str, *, issuer: str, client_secret: str = "") -> Plain:
    made = Placed("introspection", issuer, ["introspect"], headers=["x-opaque"])
    made.given = (url, client_secret)  # type: ignore[attr-defined]
    return made


@pytest.fixture
def makers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "Auth0", auth0, raising=False)
    monkeypatch.setattr(provider, "Introspection", introspection, raising=False)
    monkeypatch.setattr(provider_choice, "_warned", set())


pytestmark = pytest.mark.usefixtures("makers")
AUTH0 = {"MOONKEY_PROVIDER": "auth0", "MOONKEY_AUTH0_DOMAIN": "t.example.com", "MOONKEY_AUTH0_AUDIENCE": "a, b"}


def given_of(settings: Settings) -> Any:
    return settings.provider.given  # type: ignore[union-attr]


def test_a_word_and_the_variables_of_that_provider() -> None:
    more = {
        "MOONKEY_AUTH0_ALLOW_MACHINES": "yes",
        "MOONKEY_AUTH0_LEEWAY": "2.5",
        "MOONKEY_AUTH0_KEYS": '{"keys": []}',
    }
    assert given_of(load({**AUTH0, **more})) == ("t.example.com", ("a", "b"), True, 2.5, {"keys": []}, None)
    pem = {"MOONKEY_AUTH0_KEYS": "-----BEGIN PUBLIC KEY-----\nx"}
    assert given_of(load({**AUTH0, **pem}))[4] == pem["MOONKEY_AUTH0_KEYS"]
    asked = {"MOONKEY_INTROSPECTION_URL": "https://x", "MOONKEY_INTROSPECTION_ISSUER": ISSUER}
    assert given_of(load({**AUTH0, **asked}))[5].given == ("https://x", "")


def test_values_of_code_stay_as_they_are_and_win() -> None:
    settings = load(AUTH0, provider="AUTH0", auth0_audience=["c"], auth0_leeway=1)
    assert given_of(settings) == ("t.example.com", ["c"], False, 1, None, None)
    assert load(AUTH0, provider=(one := Plain())).provider is one
    assert load(AUTH0, provider="moonkey", secret_key=KEY).uses_moonkey


@pytest.mark.parametrize(
    ("environ", "mend"),
    [
        ({"MOONKEY_PROVIDER": "auth0"}, r"MOONKEY_AUTH0_DOMAIN \(auth0_domain\) is missing"),
        ({**AUTH0, "MOONKEY_AUTH0_ALLOW_MACHINES": "hushhush"}, "AUTH0_ALLOW_MACHINES.*true or false"),
        ({**AUTH0, "MOONKEY_AUTH0_LEEWAY": "hushhush"}, "AUTH0_LEEWAY.*number"),
        ({**AUTH0, "MOONKEY_AUTH0_KEYS": "{hushhush"}, "AUTH0_KEYS.*JSON"),
        ({**AUTH0, "MOONKEY_AUTH0_DOMAIN": '"hushhush"'}, "AUTH0_DOMAIN.*quotes"),
        ({**AUTH0, "MOONKEY_AUTH0_DOMIAN": "hushhush"}, "Did you mean MOONKEY_AUTH0_DOMAIN"),
        ({**AUTH0, "MOONKEY_PROVIDER": "auht0"}, "Did you mean 'auth0'"),
        ({"MOONKEY_AUTH0_DOMAIN": "hushhush"}, "secret_key.*AUTH0_DOMAIN has no effect without MOONKEY_PROVIDER"),
        ({**AUTH0, "MOONKEY_JWT_ISSUER": "hushhush"}, "only MoonKey knows"),
    ],
)
def test_wrong_variables_of_a_provider(environ: dict[str, str], mend: str) -> None:
    fails(mend, environ)


def test_the_class_of_a_client_is_no_provider() -> None:
    for one in (MoonKey, AsyncMoonKey):
        fails("is a client, and no provider.*'moonkey'", secret_key=KEY, providers=[one, Plain()])
        fails("is a client, and no provider.*'moonkey'", secret_key=KEY, provider=one)


@pytest.mark.parametrize("kind", [MoonKey, AsyncMoonKey])
def test_a_client_of_moonkey_among_the_providers_lends_its_settings(kind: Any) -> None:
    given: dict[str, Any] = {
        "jwt_issuer": "https://api.moonkey.fun/app",
        "timeout": 3,
        "trusted_proxies": "10.0.0.0/8",
    }
    lending = kind(KEY, cookies={}, sign_in={"page": "/login"}, **given)
    for chosen in ({"providers": [lending, Plain()]}, {"provider": lending}, {"providers": (lending,)}):
        found = load(**chosen)
        assert found.uses_moonkey
        assert found.secret_key is not None
        assert found.secret_key.reveal() == KEY
        assert found.jwt_issuer == ("https://api.moonkey.fun/app",)
        assert (found.timeout, str(found.trusted_proxies[0]), found.sign_in.page) == (3, "10.0.0.0/8", "/login")
        assert found.cookies is not None
    both = load(providers=[Plain(), lending], timeout="3", leeway=2)  # the same, and one more
    assert (both.timeout, both.leeway, list(both.members)) == (3, 2, ["plain", "moonkey"])


def test_a_client_whose_settings_do_not_fit_is_refused() -> None:
    with MoonKey(KEY, timeout=3) as one, MoonKey(provider=plain_issuer()) as other:
        fails(
            r"\(timeout\) is set here, and has another value in the MoonKey", providers=[one, Plain()], timeout=4
        )
        fails(r"\(secret_key\) is set here", secret_key="sk_test_other", provider=one)
        fails("not one of MoonKey alone", secret_key=KEY, providers=[other, Plain()])
        fails("two providers of the name 'moonkey'", providers=[one, one])
        fails(r"\(base_url\): only MoonKey knows this", provider=Plain(), base_url="https://api.example.com")


def test_long_durations_are_written_as_numbers() -> None:
    fails("from 300 to 34560000", secret_key=KEY, note_starts=True, longest_session=1)


def test_wrong_arguments_of_a_provider() -> None:
    fails("auth0_domian.*Did you mean", provider="auth0", auth0_domian="hushhush")
    fails("no effect without provider='auth0'", secret_key=KEY, auth0_domain="hushhush")


def test_variables_of_a_provider_that_is_not_chosen_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        load({"MOONKEY_AUTH0_DOMAIN": "hushhush"}, secret_key=KEY)
    assert [one.getMessage() for one in caplog.records] == [
        "MOONKEY_AUTH0_DOMAIN has no effect: the provider is not auth0"
    ]
    assert [one.__dict__["reason"] for one in caplog.records] == ["provider_not_chosen"]


def test_several_by_their_words() -> None:
    environ = {
        **AUTH0,
        "MOONKEY_PROVIDER": "",
        "MOONKEY_PROVIDERS": "moonkey, auth0 introspection",
        "MOONKEY_SECRET_KEY": KEY,
        "MOONKEY_INTROSPECTION_URL": "https://x",
        "MOONKEY_INTROSPECTION_ISSUER": ISSUER,
    }
    settings = load(environ)
    assert [provider_choice.name_of(one) for one in settings.providers] == ["moonkey", "auth0", "introspection"]


# Several


def routes(*chosen: Any, **options: Any) -> Any:
    return load(secret_key=KEY, providers=chosen, **options).routes


def test_where_each_credential_goes() -> None:
    found = routes(
        "moonkey",
        Plain("a"),
        Placed(
            "b",
            OTHER_ISSUER,
            ["introspect"],
            headers=["X-Token"],
            cookies=CookieSettings(session_name="b", jwt_name="b_jwt"),
        ),
        jwt_issuer=["moon", "old-moon"],
        cookies=True,
    )
    assert found.issuers == {"moon": "moonkey", "old-moon": "moonkey", ISSUER: "a", OTHER_ISSUER: "b"}
    assert found.headers == {"authorization": "moonkey", "session-token": "moonkey", "x-token": "b"}
    members = found.members
    assert list(members) == ["moonkey", "a", "b"]
    assert {one.credential_headers for one in members.values()} == {("authorization", "session-token", "x-token")}
    assert [one.cookies and one.cookies.session_name for one in members.values()] == [
        "__Host-moonkey_session", None, "b",
    ]  # fmt: skip


def test_the_secret_key_is_moonkeys_alone() -> None:
    members = routes("moonkey", Plain(), previous_secret_key="sk_test_before").members
    assert members["moonkey"].secret_key.reveal() == KEY
    other = members["plain"]
    assert (other.secret_key, other.previous_secret_key) == (None, None)
    assert other.cache_secret.reveal() == KEY
    assert other.previous_cache_secret.reveal() == "sk_test_before"
    assert other.jwt_issuer == ()


@pytest.mark.parametrize(
    ("chosen", "mend"),
    [
        ([Plain("a"), Plain("b")], f"issuer '{ISSUER}'.*'a' and 'b'"),
        (["moonkey", Plain("b", "moon")], "issuer 'moon'.*'moonkey' and 'b'"),
        (["moonkey", Plain("b", can=["introspect"])], "header 'authorization'.*'moonkey' and 'b'"),
        (
            [
                Placed("a", headers=["x-token"], can=["introspect"]),
                Placed("b", OTHER_ISSUER, headers=["x-token"], can=["introspect"]),
            ],
            "header 'x-token'.*'a' and 'b'",
        ),
        (
            [
                Placed("a", cookies=CookieSettings(session_name="c", jwt_name="a")),
                Placed("b", OTHER_ISSUER, cookies=CookieSettings(session_name="c", jwt_name="b")),
            ],
            "cookie 'c'.*'a' and 'b'",
        ),
    ],
)
def test_one_place_is_nobodys_or_one_providers(chosen: list[Any], mend: str) -> None:
    fails(mend, secret_key=KEY, providers=chosen, jwt_issuer="moon" if "moonkey" in chosen else None)


def test_cookies_belong_to_the_only_one_that_can_be_asked() -> None:
    found = load(
        cache_secret=SECRET, cookies=True, providers=[Plain("a"), Plain("b", OTHER_ISSUER, ["introspect"])]
    )
    assert found.routes is not None
    assert [one.cookies is not None for one in found.routes.members.values()] == [False, True]
    assert found.needs_request_info
    assert found.identity_headers == ("authorization", "cookie")
    fails("cookies.*several", cache_secret=SECRET, cookies=True, providers=[Plain("a"), Plain("b", OTHER_ISSUER)])


def test_a_place_is_named_once() -> None:
    fails("Set it once", provider=Placed(headers=["x-a"]), credential_headers=["x-b"])
    fails("Set it once", provider=Placed(cookies=CookieSettings()), cookies=True, cache_secret=SECRET)
    settings = load(provider=Placed(headers=["X-A"], cookies=CookieSettings()), cache_secret=SECRET)
    assert settings.credential_headers == ("x-a",)
    assert settings.cookies == CookieSettings()


def test_the_client_takes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="only MoonKey knows"):
        MoonKey(provider=Plain(), jwt_issuer="x")
    with pytest.raises(ConfigurationError, match="providers"):
        MoonKey(provider=Plain(), providers=["moonkey", Plain("b")])


def test_two_services_of_opaque_tokens_need_two_places() -> None:
    """The error says what to write, and with that the client starts."""
    stytch = Stytch("project-test-1", "secret-test-1")
    for chosen in (["moonkey", stytch], [stytch, "moonkey"], [MoonKey(KEY), stytch]):
        told = fails(r"\.at\(credential_headers=", secret_key=KEY, providers=chosen)
        assert "Give 'stytch' a header of its own" in told
        assert '.at(credential_headers="x-stytch-session")' in told
    placed = stytch.at(credential_headers="x-stytch-session")
    assert load(secret_key=KEY, providers=["moonkey", placed]).uses_moonkey
