"""Which Django user is which MoonKey user: an app of its own, ``"moonkey_django.users"``, with one small model.

Importing this loads no models.
"""

from moonkey_django.users.emails import verified_email

__all__ = ["verified_email"]
