"""The quick reader of a session token with its JWT in cookies.

All but the usual form is left to :mod:`moonkey_core.web.credentials`.
"""

from __future__ import annotations

from moonkey_core.settings import Settings
from moonkey_core.web.credentials import reads_pairs
from moonkey_core.web.origin import is_safe
from moonkey_core.web.request import HeaderView, RequestInfo


class UsualPair:
    """The reader of a session token and a JWT in the cookies of a usual request.

    Such a request has a safe method and one ``Cookie`` line within bounds, in which each of the two cookies is
    there once, in the usual spelling. Then ``cookies_of_request`` finds the same two, in several times the time.

    Args:
        settings: The settings of the only provider.
    """

    __slots__ = ("_is_usual", "_jwt", "_longest", "_prefix", "_session")

    def __init__(self, settings: Settings) -> None:
        cookies = settings.cookies
        self._is_usual: bool = cookies is not None and settings.routes is None and reads_pairs(settings)
        self._session: str = "" if cookies is None else f"{cookies.session_name}="
        self._jwt: str = "" if cookies is None else f"{cookies.jwt_name}="
        self._prefix: str = settings.token_prefix
        self._longest: int = 2 * settings.max_credential_length

    def read(self, headers: HeaderView, info: RequestInfo | None) -> str | None:
        """Return the text of the pair, unchecked; ``None`` where ``cookies_of_request`` decides.

        Args:
            headers: The headers of a request that presents no credential in another header than ``Cookie``.
            info: The facts by which cookies are judged.
        """
        line = self.line(headers, info)
        return None if line is None else self.text(line)

    def line(self, headers: HeaderView, info: RequestInfo | None) -> str | None:
        """Return the ``Cookie`` line of a request that may hold such a pair, in ASCII; ``None`` where none may.

        The arguments are those of :meth:`read`.
        """
        if not self._is_usual or info is None or not is_safe(info):
            return None
        lines = headers("cookie")
        if len(lines) != 1:
            return None
        line = lines[0]
        is_usual = len(line) <= self._longest and line.isascii() and "," not in line and "\t" not in line
        return line if is_usual else None

    def text(self, line: str) -> str | None:
        """Return what :meth:`read` does, for the :meth:`line` of a request. Nothing else of it counts."""
        head, _, rest = line.partition(self._jwt)
        jwt, _, tail = rest.partition(";")
        # Without another "=" in it, no cookie begins in the JWT, which is most of the line.
        if not jwt or "=" in jwt or (head and head[-2:] != "; ") or (tail and tail[0] != " "):
            return None
        others = head + tail[1:]
        before, _, rest = others.partition(self._session)
        token, _, after = rest.partition(";")
        if not token or "." in token or (before and before[-2:] != "; "):
            return None
        if self._jwt in tail or self._session in after or self._session in token:
            return None
        if token[-1] == " " or jwt[-1] == " ":
            return None
        return None if self._prefix and token.startswith(self._prefix) else f"{token}\n{jwt}"
