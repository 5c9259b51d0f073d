"""The counts of attempts to sign in that the processes of a fleet share: one script, one round trip.

What is stored are times and random ids, under names that are keyed digests. Redis 6 or newer runs the script; its
own clock dates the attempts.
"""

from __future__ import annotations

from typing import Any

from moonkey_core._crypto import fleet_sealers
from moonkey_core._plan import CountAttempt, Counts
from moonkey_core.settings import Settings

MAX_COUNTS = 65_536
"""Counts that are kept at most; beyond, those that end first are dropped."""

# The first key lists the others by when they end. The arguments are the step, the id of the attempt, the size of
# that list, and for each of the other keys: how many, within how many milliseconds, 1 if it is to be listed.
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local step, id = ARGV[1], ARGV[2]
local used, reached, wait = {}, 0, 0
for i = 2, #KEYS do
  local most, window = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1])
  if step == 'forget' then
    redis.call('DEL', KEYS[i])
    redis.call('ZREM', KEYS[1], KEYS[i])
  elseif step == 'undo' then
    redis.call('ZREM', KEYS[i], id)
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now - window)
  local count = redis.call('ZCARD', KEYS[i])
  used[i - 1] = count
  if step == 'count' and count >= most and reached == 0 then
    local first = redis.call('ZRANGE', KEYS[i], count - most, count - most, 'WITHSCORES')
    reached, wait = i - 1, first[2] + window - now
  end
end
if step == 'count' and reached == 0 then
  for i = 2, #KEYS do
    local window = tonumber(ARGV[3 * i - 1])
    redis.call('ZADD', KEYS[i], now, id)
    redis.call('PEXPIRE', KEYS[i], window)
    used[i - 1] = used[i - 1] + 1
    if ARGV[3 * i] == '1' then
      redis.call('ZADD', KEYS[1], now + window, KEYS[i])
      redis.call('PEXPIRE', KEYS[1], 86400000)
    end
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
  local excess = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[3])
  if excess > 0 then
    local dropped = redis.call('ZPOPMIN', KEYS[1], excess)
    for i = 1, #dropped, 2 do
      redis.call('DEL', dropped[i])
    end
  end
end
return {reached, wait, unpack(used)}
"""


class AttemptScript:
    """The conversion between attempts and calls of the script. Makes no network call."""

    def __init__(self, settings: Settings) -> None:
        # With the previous secret while there is one: processes that know only that one count on together with us.
        self._sealer = fleet_sealers(settings, "attempts")[-1]
        # All keys are in one slot of a cluster: what stands in braces decides.
        self._root = f"moonkey:{{{self._sealer.digest('attempts')[:32]}}}:attempts"

    def arguments(self, action: CountAttempt) -> tuple[Any, ...]:
        """Return the arguments of ``EVAL``."""
        keys = [f"{self._root}:{self._sealer.digest(f'{one.kind} {one.value}')}" for one in action.limits]
        numbers = [
            number
            for one in action.limits
            for number in (one.most, int(one.seconds * 1000), 0 if one.is_of_app else 1)
        ]
        return (_SCRIPT, 1 + len(keys), self._root, *keys, action.step, action.id, MAX_COUNTS, *numbers)

    def counts(self, action: CountAttempt, reply: Any) -> Counts:
        """Return the counts in the reply of Redis.

        Raises:
            ValueError: The reply is none of the script.
        """
        if not isinstance(reply, list) or len(reply) != 2 + len(action.limits):
            raise ValueError("not a reply of the script")
        reached, wait, *used = (int(number) for number in reply)
        limit = action.limits[reached - 1] if reached else None
        return Counts(tuple(used), limit, max(wait / 1000, 0.0))
