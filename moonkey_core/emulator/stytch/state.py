"""The state of a consumer project: its users, beside what every project has."""

from __future__ import annotations

from moonkey_core.emulator.records import Json
from moonkey_core.emulator.stytch import wire
from moonkey_core.emulator.stytch.errors import user_not_found
from moonkey_core.emulator.stytch.project import SESSION_CLAIM, Project
from moonkey_core.emulator.stytch.rbac import usual_policy
from moonkey_core.emulator.stytch.records import StytchSession, StytchUser

MAX_USERS = 10_000


class StytchState(Project):
    """The memory of a consumer project. Hold ``lock`` while using it."""

    def _begin(self) -> None:
        super()._begin()
        self.users: dict[str, StytchUser] = {}

    def usual_policy(self) -> Json:
        """Return a policy with three roles over one resource."""
        return usual_policy()

    def session_body(self, session: StytchSession) -> Json:
        """Return the session object of a reply."""
        return self.changed(wire.session_body(session))

    def jwt_claims(self, session: StytchSession) -> Json:
        """Return the session claim, and the custom claims, which stand beside it."""
        return {**session.custom_claims, SESSION_CLAIM: self.changed(wire.session_claim(session))}

    def has_user(self, user_id: str) -> bool:
        """Return whether there is a user with this id."""
        return user_id in self.users

    def user(self, user_id: str) -> StytchUser:
        """Return a user by id, or by external id.

        Raises:
            ApiError: There is none.
        """
        found = self.users.get(user_id)
        if found is None and user_id:
            found = next((one for one in self.users.values() if one.external_id == user_id), None)
        if found is None:
            raise user_not_found()
        return found

    def add_user(self, user: StytchUser) -> None:
        """Keep a user. The oldest is dropped when there are too many."""
        self.users[user.user_id] = user
        if len(self.users) > MAX_USERS:
            self.drop_user(next(iter(self.users)))

    def drop_user(self, user_id: str) -> None:
        """Forget a user and all of their sessions."""
        del self.users[user_id]
        self.end_all(user_id)
