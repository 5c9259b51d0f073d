"""The identity of a request in its templates."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from moonkey_django.identity import identity_of


def moonkey(request: HttpRequest) -> dict[str, Any]:
    """``{{ moonkey.user }}``, ``{{ moonkey.session }}``, ``{% if moonkey.is_authenticated %}``: the ``Auth``.

    Nothing is verified unless the template reads it.
    """
    # An error page of a middleware outside of ours has no identity: only those who read it need one.
    missing = SimpleLazyObject(partial(identity_of, request))
    return {"moonkey": getattr(request, "moonkey", missing)}
