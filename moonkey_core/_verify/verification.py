"""What comes of a credential that is good, before it becomes the identity of a request."""

from __future__ import annotations

from dataclasses import dataclass, replace

from moonkey_core._plan import Plan
from moonkey_core._verify.cache import Known
from moonkey_core.errors import InvalidCredentials, NotFound, ProviderUnavailable, RequestRefused
from moonkey_core.events import Source
from moonkey_core.models import VerifiedSession, with_user_id
from moonkey_core.providers.moonkey.client import Answer, MoonKeyApi

NO_SUCH_USER = "user_not_found"


@dataclass(slots=True, eq=False, repr=False)
class Proof:
    """A credential that is good: what it proved, how that is known, and the API's answer if it was asked."""

    source: Source
    as_of: float
    known: Known
    answer: Answer | None = None
    asked_for_it: bool = False

    @property
    def fresh_jwt(self) -> str | None:
        return self.answer.fresh_jwt if self.answer is not None else None


def completed(api: MoonKeyApi, verified: VerifiedSession) -> Plan[VerifiedSession]:
    """With all the user's fields, as the ``load_user`` setting asks for them."""
    if verified.user.complete:
        return verified
    try:
        user = yield from api.get_user(verified.user.id, remember=True)
    except NotFound as error:
        # Only the code tells that it is the user who is not there any more.
        raise InvalidCredentials(
            reason="user_unknown", evidence=error.evidence, session_is_over=error.code == NO_SUCH_USER
        ) from None
    except RequestRefused as error:
        raise ProviderUnavailable(reason="user_refused", evidence=error.evidence) from None
    return replace(verified, user=with_user_id(user, verified.user.id))
