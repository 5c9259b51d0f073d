"""What a request does for its session: as somebody is using it, its end may have to be moved."""

from __future__ import annotations

import logging

from moonkey_core._plan import Plan
from moonkey_core._repeated_log import log_repeated
from moonkey_core._session_life.sliding import Extension
from moonkey_core._verify.introspection import Inquiry
from moonkey_core._verify.recall import Recall
from moonkey_core.auth import Auth
from moonkey_core.errors import AuthenticationError, ProviderError
from moonkey_core.providers.moonkey.client import Question
from moonkey_core.settings import Settings
from moonkey_core.web.credentials import Credentials, HeaderView, cookie_pair, parse_credentials


class Activity:
    """Makes plans that extend sessions, to be run off the path of the request that shows one to be in use."""

    def __init__(self, settings: Settings, recall: Recall, inquiry: Inquiry, extension: Extension) -> None:
        self._settings = settings
        self._credentials = recall.credentials
        self._inquiry = inquiry
        self._extension = extension

    def extension_due(self, auth: Auth, headers: HeaderView) -> Plan[None] | None:
        """A plan that extends the session of a request, where that is due and nobody else is about it."""
        known = auth.known
        minutes = None if known is None else self._extension.claim(known)
        credentials = None if minutes is None else self._presented(headers)
        if minutes is None or credentials is None:
            return None
        return self._extended(credentials, minutes)

    def _presented(self, headers: HeaderView) -> Credentials | None:
        credentials = parse_credentials(headers, self._settings)
        if credentials is not None:
            return credentials
        pair = cookie_pair(headers, self._settings)
        return None if pair is None else Credentials(pair.token, "session_token", "cookie")

    def _extended(self, credentials: Credentials, minutes: int) -> Plan[None]:
        question = Question(credentials, self._credentials.digest(credentials.value), minutes=minutes)
        try:
            proof = yield from self._inquiry.ask(question)
            self._inquiry.note_extension(proof.known, question.unextended)
        except (AuthenticationError, ProviderError) as error:
            log_repeated(
                logging.WARNING,
                "a session in use could not be extended: %s",
                error.reason,
                extra={"reason": "extension_failed"},
            )
