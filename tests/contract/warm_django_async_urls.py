"""The same routes with asynchronous views."""

from __future__ import annotations

from contract.warm_django_urls import anyone_async, protected_async
from django.urls import path

urlpatterns = [path("protected", protected_async), path("open", anyone_async)]
