"""The Django app ``"moonkey_django.users"``, whose one model maps Django users to MoonKey users.

Importing this package loads no models.
"""

from moonkey_django.users.emails import verified_email

__all__ = ["verified_email"]
