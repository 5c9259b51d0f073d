"""What the roles of a session may do, by the RBAC policy of the project.

A role permits an action on a resource where one of its permissions has exactly this resource, and this action or
``*`` among its actions. There is no wildcard for resources. The service judges by the same rule.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from typing import Any

from moonkey_core import _clock
from moonkey_core._dataclass import dataclass
from moonkey_core._plan import Fetch, Plan
from moonkey_core._transport.replies import require_reply
from moonkey_core.errors import MoonKeyError, ProviderError, ProviderUnavailable
from moonkey_core.models import Grants
from moonkey_core.providers.stytch.replies import StytchError, answer_of, refused_call, trouble

POLICY_SECONDS = 600.0
"""For how long a policy is used before it is fetched again."""

POLICY_BYTES = 1024 * 1024
"""The longest policy that is read."""

ANY_ACTION = "*"
_SHARED_SECONDS = 1.0  # for which one reply is handed to all that have to wait for a policy, a failure too
_MAX_GRANTS = 1024
_MAX_ORGANIZATIONS = 1024

Permissions = Mapping[str, frozenset[str]]
"""By resource, the actions that a role permits."""


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """The permissions of each role.

    Attributes:
        roles: The permissions by the id of the role.
        actions: The known actions by the id of the resource, in their order.
    """

    roles: Mapping[str, Permissions]
    actions: Mapping[str, tuple[str, ...]]
    _grants: dict[tuple[str, ...], Grants] = field(default_factory=dict, repr=False)

    def allows(self, roles: Collection[str], resource_id: str, action: str) -> bool:
        """Return whether one of the roles permits an action on a resource."""
        for role in roles:
            allowed = self.roles.get(role, {}).get(resource_id, frozenset())
            if action in allowed or ANY_ACTION in allowed:
                return True
        return False

    def grants(self, roles: tuple[str, ...]) -> Grants:
        """Return what roles permit, as texts ``resource:action``, and the resources of which every action is.

        A resource with a colon in its id has no text: it could be read as another one.
        """
        known = self._grants.get(roles)
        if known is not None:
            return known
        found: dict[str, None] = {}
        wholly: dict[str, None] = {}
        for role in roles:
            for resource, actions in self.roles.get(role, {}).items():
                if ":" in resource:
                    continue
                if ANY_ACTION in actions:
                    wholly[resource] = None
                    found |= {f"{resource}:{action}": None for action in self.actions.get(resource, ())}
                found |= {f"{resource}:{action}": None for action in sorted(actions)}
        grants = Grants(roles=roles, permissions=tuple(found), wholly=tuple(wholly))
        if len(self._grants) >= _MAX_GRANTS:
            self._grants.clear()
        self._grants[roles] = grants
        return grants


def parse_roles(entries: object) -> dict[str, Permissions]:
    """Return the permissions of the roles in a policy.

    Raises:
        ValueError: They cannot be read: what a role permits must not be guessed.
    """
    found: dict[str, Permissions] = {}
    for entry in _objects(entries):
        permissions: dict[str, frozenset[str]] = {}
        for permission in _objects(entry.get("permissions")):
            resource, actions = _text(permission.get("resource_id")), _texts(permission.get("actions"))
            permissions[resource] = permissions.get(resource, frozenset()).union(actions)
        role = _text(entry.get("role_id"))
        found[role] = _united(found.get(role, {}), permissions)
    return found


def _united(one: Permissions, other: Permissions) -> Permissions:
    """Return what either of two permits: a role that is listed twice has both."""
    return {
        resource: one.get(resource, frozenset()).union(other.get(resource, frozenset()))
        for resource in {**one, **other}
    }


def parse_organization(body: Mapping[str, Any]) -> Policy:
    """Return the policy of an organization in a reply: it has roles only.

    Raises:
        ValueError: It cannot be read.
    """
    policy = body.get("org_policy")
    if not isinstance(policy, Mapping):
        raise ValueError("no policy")
    return Policy(parse_roles(policy.get("roles")), {})


def united(project: Policy, organization: Policy) -> Policy:
    """Return the policy of a project with the roles of an organization added to its own."""
    roles = {
        role: _united(project.roles.get(role, {}), organization.roles.get(role, {}))
        for role in {**project.roles, **organization.roles}
    }
    return Policy(roles, project.actions)


def parse_policy(body: Mapping[str, Any]) -> Policy:
    """Return the policy in a reply.

    Raises:
        ValueError: It cannot be read.
    """
    policy = body.get("policy")
    if not isinstance(policy, Mapping):
        raise ValueError("no policy")
    resources = _objects(policy.get("resources"))
    actions = {_text(entry.get("resource_id")): _texts(entry.get("actions")) for entry in resources}
    return Policy(parse_roles(policy.get("roles")), actions)


class PolicyCache:
    """The last policy of a project, and how it is fetched. Thread-safe: it is replaced as a whole."""

    def __init__(self, fetch: Fetch, read: Callable[[Mapping[str, Any]], Policy] = parse_policy) -> None:
        """Take the call that fetches the policy, and what reads its reply.

        Overlapping calls become one: the call has a ``coalesce_key``.
        """
        self._fetch = fetch
        self._read = read
        self._known: tuple[Policy, float] | None = None

    def current(self) -> Policy | None:
        """Return the policy; ``None`` where it has to be fetched first."""
        known = self._known
        return known[0] if known is not None and _clock.monotonic() < known[1] else None

    def load(self) -> Plan[Policy]:
        """Return the policy, after one call where that is needed.

        Raises:
            ProviderError: It cannot be had. What a role permits is not known then.
        """
        known = self.current()
        if known is not None:
            return known
        reply = require_reply((yield self._fetch))
        answer = answer_of(reply)
        if isinstance(answer, StytchError):
            raise _unavailable(answer)
        try:
            policy = self._read(answer)
        except ValueError:
            raise trouble(reply) from None
        self._known = policy, _clock.monotonic() + POLICY_SECONDS
        return policy


class OrganizationPolicies:
    """The policies of the organizations of a project, each with the roles of the project.

    They are bounded in number: when there are too many, all are forgotten, and loaded anew where they are needed.
    """

    def __init__(self, project: PolicyCache, call: Callable[[str], Fetch]) -> None:
        """Take the policy of the project, and what makes the call for that of an organization by its id."""
        self._project = project
        self._call = call
        self._caches: dict[str, PolicyCache] = {}
        self._merged: dict[str, tuple[Policy, Policy, Policy]] = {}

    def current(self, organization_id: str) -> Policy | None:
        """Return the policy in an organization; ``None`` where one of the two has to be fetched first."""
        project = self._project.current()
        cache = self._caches.get(organization_id)
        own = None if cache is None else cache.current()
        return None if project is None or own is None else self._both(organization_id, project, own)

    def load(self, organization_id: str) -> Plan[Policy]:
        """Return the same, after at most two calls.

        Raises:
            ProviderError: One of the two cannot be had.
        """
        project = yield from self._project.load()
        cache = self._caches.get(organization_id)
        if cache is None:
            if len(self._caches) >= _MAX_ORGANIZATIONS:
                self._caches.clear()
                self._merged.clear()
            cache = self._caches[organization_id] = PolicyCache(self._call(organization_id), parse_organization)
        return self._both(organization_id, project, (yield from cache.load()))

    def _both(self, organization_id: str, project: Policy, own: Policy) -> Policy:
        known = self._merged.get(organization_id)
        if known is not None and known[0] is project and known[1] is own:
            return known[2]
        both = united(project, own)
        self._merged[organization_id] = (project, own, both)
        return both


def policy_call(call: Fetch, project_id: str) -> Fetch:
    """Return a call for a policy as :class:`PolicyCache` makes it."""
    return Fetch(
        call.method,
        call.url,
        authorization=call.authorization,
        judge=call.judge,
        operation=call.operation,
        coalesce_key=f"{call.operation}:{project_id}",
        ttl=_SHARED_SECONDS,
        reuse_failures=True,
        max_bytes=POLICY_BYTES,
        uses_breaker=False,  # credentials are verified without a policy, too
    )


def _unavailable(error: StytchError) -> MoonKeyError:
    found = refused_call(error)
    if isinstance(found, ProviderError):
        return found
    return ProviderUnavailable(reason="api_status", evidence=error.evidence)


def _objects(entries: object) -> list[Mapping[str, Any]]:
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ValueError("not a list of objects")
    return entries


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("no text")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError("not a list of texts")
    return tuple(value)
