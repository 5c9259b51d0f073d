"""Where a request was going, and which paths are those of the session routes, for paths of any kind."""

from __future__ import annotations

import string
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from integrations.starlette_visits import scope
from starlette.applications import Starlette
from starlette.routing import Match

from moonkey_core.flows import ROUTES
from moonkey_starlette import session_routes
from moonkey_starlette.mounted import Mounted
from moonkey_starlette.paths import as_link, target_of, visible_path

PATHS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).map(lambda text: f"/{text}")
WORDS = [*"/".join(route.path for route in ROUTES).split("/"), "auth", "sess_1", ".", "\n", "%2F"]


@given(PATHS, st.sampled_from(["", "/shop", "/a b"]))
@example("//evil.example", "")
@example("/shop", "/shop")
@example("/shopping", "/shop")
def test_a_target_is_the_path_as_the_browser_sees_it(path: str, root_path: str) -> None:
    seen = visible_path(path, root_path)
    assert seen.startswith(root_path)
    assert visible_path(root_path + path, root_path) in (root_path + path, seen)
    target = target_of(scope(path=path, root_path=root_path, query_string=b"a=%20&b=%3F"), root_path)
    assert target.isascii()
    assert target.isprintable()
    encoded, _, query = target.partition("?")
    assert (unquote(encoded), query) == (seen, "a=%20&b=%3F")
    assert not set(encoded) - set(string.ascii_letters + string.digits + "/:@!$&'()*+,;=~-._%")


def test_a_path_that_is_no_text_harms_nobody() -> None:
    assert target_of({**scope(), "path": "/\ud800"}, "") == "/%3F"


@pytest.mark.rule("S47")
@given(st.one_of(PATHS, st.sampled_from(["", "/", "//evil.example", "/\\evil.example", "///", "/a/"])))
def test_a_link_never_leads_to_another_host(prefix: str) -> None:
    link = as_link(prefix)
    whole = urlsplit(f"{link}/sign-in")
    assert (whole.scheme, whole.netloc, whole.query, whole.fragment) == ("", "", "", "")
    assert link == "" or (link[0] == "/" and link[1] not in "/\\" and link[-1] != "/")
    assert unquote(link).strip("/") == prefix.strip("/")


@pytest.mark.rule("S26")
@given(st.lists(st.sampled_from(WORDS), max_size=5).map("/".join).map(lambda path: f"/auth/{path}"))
@example("/auth/sign-in\n")
@example("/auth/sessions/x/revoke")
def test_nothing_is_left_open_but_the_routes(path: str) -> None:
    """``required=True`` leaves open what Starlette would hand to one of them, and nothing else."""
    app = Starlette(routes=[session_routes(url_prefix="/auth")])
    (mount,) = app.routes
    _, inner = mount.matches(scope(path=path))
    routes = mount.routes  # type: ignore[attr-defined]
    is_one = any(route.matches({**scope(path=path), **inner})[0] is not Match.NONE for route in routes)
    assert Mounted(app).covers(path) == (is_one and not path.endswith("\n"))
