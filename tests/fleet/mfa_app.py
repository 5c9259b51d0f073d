"""The sites of ``contract.mfa_sites``, for servers that are processes of their own. Settings: the environment."""

from __future__ import annotations

from typing import Any

from contract import mfa_sites


def flask_site() -> Any:
    """Return the Flask app."""
    return mfa_sites.flask_app({})


def starlette_site() -> Any:
    """Return the Starlette app."""
    return mfa_sites.starlette_app({})


def fastapi_site() -> Any:
    """Return the FastAPI app."""
    return mfa_sites.fastapi_app({})


def _django(*, is_async: bool) -> None:
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="served",
        ALLOWED_HOSTS=["127.0.0.1"],
        MIDDLEWARE=["moonkey_django.MoonKeyMiddleware"],
        INSTALLED_APPS=["moonkey_django"],
    )
    django.setup()
    from contract.django_mfa_site import urls

    settings.ROOT_URLCONF = urls("header", notes_starts=False, is_async=is_async)


def django_wsgi_site() -> Any:
    """Return the Django project as a WSGI app."""
    _django(is_async=False)
    from django.core.handlers.wsgi import WSGIHandler

    return WSGIHandler()


def django_asgi_site() -> Any:
    """Return the Django project as an ASGI app."""
    _django(is_async=True)
    from django.core.handlers.asgi import ASGIHandler

    return ASGIHandler()
