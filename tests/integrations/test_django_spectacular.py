"""drf-spectacular finds the extension for ``MoonKeyAuthentication``."""

from __future__ import annotations

from typing import Any

import pytest
from integrations.django_visits import Configure

pytest.importorskip("drf_spectacular")

EITHER: list[Any] = [{"MoonKeyBearer": []}, {"MoonKeySessionToken": []}]


@pytest.fixture
def document(settings: Any, configure: Configure, request: pytest.FixtureRequest) -> Any:
    from django.urls import path
    from rest_framework.permissions import AllowAny, IsAuthenticated
    from rest_framework.response import Response
    from rest_framework.views import APIView

    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "rest_framework", "drf_spectacular"]
    from drf_spectacular.drainage import reset_generator_stats
    from drf_spectacular.generators import SchemaGenerator
    from drf_spectacular.openapi import AutoSchema

    from moonkey_django import rest_framework

    reset_generator_stats()  # each warning is written once
    rest_framework._describe_in_spectacular.cache_clear()
    configure(**getattr(request, "param", {}))

    class Own(rest_framework.MoonKeyAuthentication):
        pass

    class Api(APIView):
        schema = AutoSchema()
        permission_classes: Any = [IsAuthenticated]
        authentication_classes: Any = [rest_framework.MoonKeyAuthentication]

        def get(self, request: Any) -> Response:
            return Response({})

    class Open(Api):
        permission_classes = [AllowAny]

    class Derived(Api):
        authentication_classes = [Own]

    patterns = [path("api", Api.as_view()), path("open", Open.as_view()), path("own", Derived.as_view())]
    return SchemaGenerator(patterns=patterns).get_schema(request=None, public=True)


def test_a_subclass_has_the_same_schemes(capsys: pytest.CaptureFixture[str], document: Any) -> None:
    assert "identical names" not in capsys.readouterr().err


def test_the_schemes(document: Any) -> None:
    schemes = document["components"]["securitySchemes"]
    assert (schemes["MoonKeyBearer"]["type"], schemes["MoonKeyBearer"]["scheme"]) == ("http", "bearer")
    assert [schemes["MoonKeySessionToken"][key] for key in ("in", "name")] == ["header", "session-token"]
    for route in ("/api", "/own"):
        assert document["paths"][route]["get"]["security"] == EITHER
    assert document["paths"]["/open"]["get"]["security"] == [*EITHER, {}]


@pytest.mark.parametrize("document", [{"COOKIES": {}}], indirect=True)
def test_with_cookies(document: Any) -> None:
    scheme = document["components"]["securitySchemes"]["MoonKeySessionCookie"]
    assert (scheme["in"], scheme["name"]) == ("cookie", "__Host-moonkey_session")
    assert document["paths"]["/api"]["get"]["security"] == [*EITHER, {"MoonKeySessionCookie": []}]


@pytest.mark.parametrize("document", [{"CREDENTIAL_HEADERS": ["x-session"]}], indirect=True)
def test_with_other_headers(document: Any) -> None:
    (name,) = document["components"]["securitySchemes"]
    assert document["components"]["securitySchemes"][name]["name"] == "x-session"
