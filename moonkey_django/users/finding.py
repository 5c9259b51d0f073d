"""The search for the Django user of a MoonKey user, by :data:`moonkey_django.conf.UsersSetting`."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, OperationalError, ProgrammingError, router, transaction
from django.utils.module_loading import import_string

from moonkey_core.models import User
from moonkey_core.revocations import DEFAULT_SCOPE
from moonkey_core.web.advice import log_no_app_user
from moonkey_django.conf import UsersError, UsersSetting, configuration
from moonkey_django.users.emails import verified_email
from moonkey_django.users.fields import bare_id, is_id, stored_id

_UNMAPPED = (
    'MOONKEY["USERS"] has found no Django user, so login_required sends this user to sign in again. Let it return '
    "a saved user, or use require_auth there"
)
_MIGRATE = 'MOONKEY["USERS"] has asked the database. If a table is missing, run: python manage.py migrate'
_INACTIVE = 'the Django user that MOONKEY["USERS"] has found is inactive. Set is_active, if that is not meant'


def find_user(person: User) -> AbstractBaseUser | None:
    """Return the Django user of a verified MoonKey user; ``None`` where there is none, or it is inactive.

    Makes one query at most, unless a user is created.

    Args:
        person: The MoonKey user.

    Raises:
        ConfigurationError: The project's own function returns an object that is not a saved user, or the database
            refuses a new user.
    """
    how = configuration().users
    if not is_id(person.id, person.scope):
        return None  # such as one that is only the prefix
    try:
        if how == "match":
            found = mapped_user(person)
        elif how == "create":
            found = mapped_user(person) or _created(person)
        else:
            found = _answer_of(how, person)
    except (OperationalError, ProgrammingError) as error:
        error.add_note(_MIGRATE)  # which of the two it is for a missing table depends on the database
        raise
    if found is not None and getattr(found, "is_active", True):
        return found
    log_no_app_user(_UNMAPPED if found is None else _INACTIVE)
    return None


def mapped_user(person: User, *, using: str | None = None) -> AbstractBaseUser | None:
    """Return the Django user who is mapped to a MoonKey user by scope and id, active or not.

    Args:
        person: The MoonKey user.
        using: The database to query; by default Django's router selects it.
    """
    scope, stored = person.scope, stored_id(person.id, person.scope)
    users: Any = get_user_model()._default_manager  # the project's own manager, which may hide users
    if using is not None:
        users = users.using(using)
    found: Any = users.filter(moonkey__moonkey_id=stored, moonkey__scope=scope).select_related("moonkey").first()
    if found is None:
        return None
    # Ids and issuers are case-sensitive, and a database may compare them without regard to case.
    row = found.moonkey
    return found if row.scope == scope and stored_id(row.moonkey_id, row.scope) == stored else None


def _created(person: User) -> AbstractBaseUser | None:
    """Create and map a Django user for a MoonKey user.

    Another user may have taken the id as a user name. That is another account, whatever its name: the new user
    then gets a name that could not be predicted.

    Returns:
        The new user, or the one that another request has created meanwhile; ``None`` where the project's manager
        hides that one.

    Raises:
        UsersError: The database refuses the new user.
    """
    from moonkey_django.users.models import MoonKeyUser

    using = router.db_for_write(get_user_model())
    name = bare_id(person.id) if person.scope == DEFAULT_SCOPE else person.id
    for username in (name, f"{name}-{secrets.token_hex(4)}"):
        try:
            with transaction.atomic(using=using):
                return _create(person, username, using)
        except IntegrityError:
            if MoonKeyUser.objects.using(using).filter(scope=person.scope, moonkey_id=person.id).exists():
                return mapped_user(person, using=using)
    raise UsersError('MOONKEY["USERS"] is "create", but the database refuses the new user: write a function.')


def _create(person: User, username: str, using: str) -> AbstractBaseUser:
    from moonkey_django.users.models import MoonKeyUser

    model: Any = get_user_model()
    user: AbstractBaseUser = model(**{model.USERNAME_FIELD: username})
    user.set_unusable_password()
    email, email_field = verified_email(person), _email_field(model)
    if email is not None and email_field is not None:
        setattr(user, email_field, email)
    user.save(force_insert=True, using=using)
    MoonKeyUser(user=user, moonkey_id=person.id, scope=person.scope).save(force_insert=True, using=using)
    return user


def _answer_of(how: UsersSetting, person: User) -> AbstractBaseUser | None:
    find: Any = import_string(how) if isinstance(how, str) else how
    found = find(person)
    if found is None:
        return None
    if not isinstance(found, get_user_model()) or found.pk is None or found._state.adding:
        raise UsersError('The function in MOONKEY["USERS"] must return a saved user, or None.')
    return found


def _email_field(model: type[AbstractBaseUser]) -> str | None:
    name = model.get_email_field_name()
    return name if any(field.name == name for field in model._meta.get_fields()) else None
