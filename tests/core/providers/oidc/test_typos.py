"""A slip of the pen in the arguments of a provider is found when it is made, and the error says what to write."""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Callable
from typing import Any

import pytest

from moonkey_core import ConfigurationError, provider
from moonkey_core.provider import (
    CDP,
    OIDC,
    Auth0,
    Clerk,
    Cognito,
    EntraID,
    Firebase,
    Introspection,
    Keycloak,
    OidcProvider,
    Okta,
    Stytch,
    StytchB2B,
    Supabase,
    WorkOS,
)
from moonkey_core.settings.provider_choice import PRESETS

CLERK = "https://clerk.example.com"
TENANT = "11111111-2222-4333-8444-555555555555"
APP = "https://app.example.com"

TYPOS: list[tuple[Callable[[], object], str]] = [
    (lambda: Keycloak("https://id.example.com", " acme", audience="api"), "Leave out those around it"),
    (lambda: Keycloak("https://id.example.com", "my realm", audience="api"), "without spaces"),
    (lambda: Keycloak("https://id.example.com", "acme/", audience="api"), "realm='acme'"),
    (lambda: Keycloak("https://id.example.com", "/realms/acme", audience="api"), "realm='acme'"),
    (lambda: Keycloak("https://id.example.com", "https://id.example.com", audience="api"), "realm='acme'"),
    (lambda: Keycloak("id.example.com", "acme", audience="api"), "url='https://id.example.com'"),
    (lambda: Keycloak("https://id.example.com ", "acme", audience="api"), "Leave out those around it"),
    (
        lambda: Keycloak("https://id.example.com/realms/acme", "acme", audience="api"),
        "url='https://id.example.com'",
    ),
    (lambda: Clerk(CLERK + "/", APP), f"issuer={CLERK!r}"),
    (lambda: Clerk("clerk.example.com", APP), f"issuer={CLERK!r}"),
    (lambda: Clerk(f" {CLERK}", APP), "Leave out those around it"),
    (lambda: Clerk(CLERK, APP + "/"), f"Write {APP!r}"),
    (lambda: Clerk(CLERK, APP + "/sign-in"), f"Write {APP!r}"),
    (lambda: Clerk(CLERK, [APP, "https://App.example.com"]), f"Write {APP!r}"),
    (lambda: Clerk(CLERK, APP + ":443"), f"Write {APP!r}"),
    (lambda: Clerk(CLERK, "app.example.com"), f"Write {APP!r}"),
    (lambda: Clerk(CLERK, "localhost:3000"), "Write 'http://localhost:3000'"),
    (lambda: Clerk(CLERK, "null"), "'null' is no origin"),
    (lambda: Clerk(CLERK, [APP, "null"]), "'null' is no origin"),
    (
        lambda: Clerk(CLERK, f"{APP},https://b.example.com"),
        f"authorized_parties=[{APP!r}, 'https://b.example.com']",
    ),
    (
        lambda: Clerk(CLERK, f"{APP}, https://b.example.com"),
        f"authorized_parties=[{APP!r}, 'https://b.example.com']",
    ),
    (lambda: Clerk(CLERK, "http://app.example.com"), "Write 'https://app.example.com'"),
    (lambda: Clerk(CLERK, "https://app..example.com"), "two dots in a row"),
    (lambda: Clerk("https://Clerk.example.com", APP), f"issuer={CLERK!r}"),
    (lambda: Clerk(CLERK + "/.well-known/jwks.json", APP), f"address of a key set. Write issuer={CLERK!r}"),
    (lambda: Clerk("http://clerk.example.com", APP), "issuer must use https"),
    (lambda: Clerk(CLERK, APP + " "), "Leave out those around it"),
    (lambda: Clerk(CLERK, "https://"), "must be whole origins, such as"),
    (lambda: Clerk(CLERK, "https://*.example.com"), "must be whole origins, such as"),
    (lambda: Clerk(CLERK, "*"), "must be whole origins, such as"),
    (lambda: Auth0("acme.eu.auth0.com/authorize", "api"), "such as acme.eu.auth0.com"),
    (lambda: Auth0("acme.eu.auth0.com ", "api"), "Leave out those around it"),
    (lambda: Auth0("http://acme.eu.auth0.com", "api"), "such as acme.eu.auth0.com"),
    (lambda: Auth0("acme..auth0.com", "api"), "two dots in a row"),
    (lambda: Auth0("acme", "api"), "such as acme.eu.auth0.com"),
    (lambda: Auth0("acme.eu.auth0.com?x", "api"), "such as acme.eu.auth0.com"),
    (lambda: Auth0("me@acme.eu.auth0.com", "api"), "such as acme.eu.auth0.com"),
    (lambda: Auth0("acme.eu.auth0.com:x", "api"), "such as acme.eu.auth0.com"),
    (lambda: Auth0("acme.eu.auth0.com", "one,two"), "audience=['one', 'two']"),
    (
        lambda: EntraID(f"{TENANT} {TENANT}", "api"),
        f"Write a list: tenant_id=[{TENANT!r}, {TENANT!r}]",
    ),
    (lambda: Cognito("eu-central-1_AbCdEfGhI", "a,b"), "client_ids=['a', 'b']"),
    (
        lambda: Keycloak("https://id.example.com", "acme", authorized_parties="a,b"),
        "authorized_parties=['a', 'b']",
    ),
    (lambda: Keycloak("https://ID.example.com", "acme", audience="api"), "url='https://id.example.com'"),
    (
        lambda: WorkOS("client_1", "https://a.example,https://b.example"),
        "issuers=['https://a.example', 'https://b",
    ),
    (lambda: Firebase("acme", tenant_ids="a b"), "tenant_ids=['a', 'b']"),
    (
        lambda: Introspection("https://id..example/x", client_id="c", client_secret="s"),
        "url has a host with an empty",
    ),
    (
        lambda: Introspection(
            "https://id.example/x", issuer="https://id.example", audience="a,b", client_id="c", client_secret="s"
        ),
        "audience=['a', 'b']",
    ),
    (
        lambda: Stytch("project-test-1", "s", base_url="https://test..stytch.com"),
        "base_url has a host with an empty",
    ),
    (lambda: CDP("key", "secret", "p", base_url="https://api..example.com"), "base_url has a host with an"),
    (lambda: CDP("key", "secret", "p", audience="a,b"), "audience=['a', 'b']"),
    (lambda: Okta("https://acme.okta.com/oauth2/default/", "api"), "'https://acme.okta.com/oauth2/default'"),
    (lambda: Okta("acme.okta.com/oauth2/default", "api"), "'https://acme.okta.com/oauth2/default'"),
    (lambda: Supabase("ref.supabase.co"), "url='https://ref.supabase.co'"),
    (lambda: Supabase("https://ref.supabase.co/rest/v1"), "write 'https://ref.supabase.co'"),
    (lambda: Supabase("https://supabase.com/dashboard/project/ref"), "Write that of the project"),
    *(
        (lambda host=host: OIDC(f"https://{host}", "api"), "issuer has a host")
        for host in (
            "a..b",
            ".a.b",
            "a.b.",
            "-a.b",
            "a-.b",
            "a$.b",
            f"{'a' * 64}.b",
            "1.2.3",
            "1.2.3.456",
            "a.1",
        )
    ),
    (
        lambda: OIDC("https://login.example.com/.well-known/oauth-authorization-server", "api"),
        "issuer='https://login.example.com'",
    ),
    (lambda: OIDC("https://login.example.com", "api", jwks_url="https://a..b/keys"), "jwks_url has a host with"),
    (lambda: OIDC("login.example.com", "api"), "issuer='https://login.example.com'"),
    (
        lambda: OIDC("https://login.example.com/.well-known/openid-configuration", "api"),
        "issuer='https://login.example.com'",
    ),
]


@pytest.mark.parametrize(("make", "said"), TYPOS, ids=range(len(TYPOS)))
def test_what_to_write_is_said(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("make", "issuer"),
    [
        (
            lambda: Keycloak("https://id.example.com/", "acme", audience="api"),
            "https://id.example.com/realms/acme",
        ),
        (
            lambda: Keycloak("https://id.example.com/auth", "a.c-m_e", audience="api"),
            "https://id.example.com/auth/realms/a.c-m_e",
        ),
        (
            lambda: Clerk(
                CLERK,
                [
                    "http://localhost:3000",
                    "http://app.localhost",
                    "chrome-extension://abcdef",
                    "http://[::1]:3000",
                ],
            ),
            CLERK,
        ),
        (lambda: Clerk("https://example.com/__clerk", APP), "https://example.com/__clerk"),
        (lambda: Auth0("https://ACME.eu.auth0.com/", "api"), "https://acme.eu.auth0.com/"),
        (lambda: Supabase("https://ref.supabase.co/auth/v1/"), "https://ref.supabase.co/auth/v1"),
        (lambda: Supabase("http://127.0.0.1:54321"), "http://127.0.0.1:54321/auth/v1"),
        (lambda: OIDC("https://acme.eu.auth0.com/", "api"), "https://acme.eu.auth0.com/"),
        (lambda: OIDC("https://my_id.example.com:8443", ["a,b"]), "https://my_id.example.com:8443"),
        (lambda: OIDC("https://192.0.2.1", "api"), "https://192.0.2.1"),
        (lambda: OIDC("https://[2001:db8::1]:444", "api"), "https://[2001:db8::1]:444"),
    ],
)
def test_what_is_right_is_taken(make: Callable[[], OidcProvider], issuer: str) -> None:
    assert make().jwt_rules.issuers == (issuer,)


MADE: list[Callable[..., object]] = [getattr(provider, name) for name in PRESETS.values()]


@pytest.mark.parametrize("make", MADE, ids=PRESETS)
class TestNames:
    """Of arguments, whose values never are in the error."""

    def test_a_misspelt_one(self, make: Callable[..., object]) -> None:
        known = [*inspect.signature(make).parameters]
        with pytest.raises(ConfigurationError) as caught:
            make(**{f"{known[0]}x": "hush"})
        assert isinstance(caught.value, TypeError)  # as Python says it
        assert f"has no argument '{known[0]}x'. Did you mean '{known[0]}'?" in str(caught.value)
        assert "hush" not in str(caught.value)

    def test_an_unknown_one(self, make: Callable[..., object]) -> None:
        with pytest.raises(TypeError, match=r"has no argument 'qqqq'. Known are: .*leeway"):
            make(qqqq=1)

    def test_a_missing_one(self, make: Callable[..., object]) -> None:
        parameters = inspect.signature(make).parameters.values()
        if all(one.default is not one.empty for one in parameters):
            return
        first = next(one.name for one in parameters if one.default is one.empty)
        with pytest.raises(ConfigurationError, match=rf" needs {first}"):
            make()

    def test_too_many_by_place(self, make: Callable[..., object]) -> None:
        with pytest.raises(ConfigurationError, match=r"Write the others by name: .*name\.") as caught:
            make(*["hush"] * 20)
        assert "hush" not in str(caught.value)

    @pytest.mark.parametrize("value", ["false", "", 1, None])
    def test_a_flag_is_true_or_false(self, make: Callable[..., object], value: object) -> None:
        """A text such as "false" would switch it on."""
        parameters = inspect.signature(make).parameters.values()
        needed = {one.name: "x" for one in parameters if one.default is one.empty}
        for flag in (one.name for one in parameters if isinstance(one.default, bool)):
            with pytest.raises(ConfigurationError, match=rf"{flag} must be True or False, not a "):
                make(**needed, **{flag: value})

    def test_the_signature_is_the_real_one(self, make: Any) -> None:
        shown = pydoc.plain(pydoc.render_doc(make))
        assert "leeway: 'float | None' = None" in shown or "leeway: float | None = None" in shown
        assert "_Words" not in shown
        assert "*args" not in shown.partition("\n\n")[2].partition("\n")[0]


def test_a_copy_can_be_placed() -> None:
    placed = Auth0("acme.eu.auth0.com", "api").at(credential_headers="x-token")
    assert placed.credential_headers == ("x-token",)


@pytest.mark.parametrize("kind", [CDP, OIDC, Introspection, Stytch, StytchB2B])
def test_its_own_errors_are_its_own(kind: Callable[..., object]) -> None:
    """A TypeError from inside of a call with good arguments is not taken for one of its arguments."""
    needed = [one.name for one in inspect.signature(kind).parameters.values() if one.default is one.empty]
    with pytest.raises(ConfigurationError) as caught:
        kind(**dict.fromkeys(needed or ["url"], " "))
    assert not isinstance(caught.value, TypeError)
