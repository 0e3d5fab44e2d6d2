"""An account's own limits, requests and tokens in a minute, kept together with all replicas.

Each limit is a bucket that refills evenly and holds a minute's worth; it lives in Valkey, where one script looks and
takes. Tokens are estimated before a call and corrected after it. While Valkey is away nobody is held back: the provider
has limits of its own, and what it refuses is tried again.
"""

from __future__ import annotations

from crewmesh_kit.logs import get_logger
from redis.exceptions import RedisError

from crewmesh_agent_crew.providers.protocol import Account, ProviderError
from crewmesh_agent_crew.routing.valkey import Valkey

# KEYS: buckets. ARGV: whether to take in any case, then for each bucket its size and how much is taken of it: from all
# of them or from none. The answer is the wait in seconds until there is enough, 0 when it was taken. A bucket keeps
# what is missing and since when. What is larger than a whole bucket goes when the bucket is full.
_TAKE = """
local now = redis.call('TIME')
now = tonumber(now[1]) + tonumber(now[2]) / 1000000
local missing, wait = {}, 0
for i, key in ipairs(KEYS) do
  local size, wanted = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local kept = redis.call('HMGET', key, 'missing', 'at')
  local lacks = math.max(0, tonumber(kept[1] or 0) - (now - tonumber(kept[2] or now)) * size / 60)
  local short = lacks + math.min(wanted, size) - size
  if short > 0.000001 then wait = math.max(wait, short * 60 / size) end
  missing[i] = math.max(0, lacks + wanted)
end
if wait > 0 and tonumber(ARGV[1]) == 0 then return tostring(wait) end
for i, key in ipairs(KEYS) do
  redis.call('HSET', key, 'missing', tostring(missing[i]), 'at', string.format('%.6f', now))
  redis.call('EXPIRE', key, math.ceil(missing[i] / tonumber(ARGV[2 * i]) * 60) + 60)
end
return '0'
"""

log = get_logger(__name__)


class AccountLimits:
    def __init__(self, valkey: Valkey) -> None:
        self._take = valkey.register_script(_TAKE)

    async def admit(self, account: Account, tokens: int) -> None:
        """Take a request and so many tokens, or ProviderError with the time to wait."""
        wait = await self._taken(account, requests=1, tokens=tokens)
        if wait > 0:
            raise ProviderError("limited", "the limits that were set for its account are used up", pause=wait)

    async def correct(self, account: Account, tokens: int) -> None:
        """It was so many tokens more than were thought; less when it is negative."""
        await self._taken(account, requests=0, tokens=tokens)

    async def _taken(self, account: Account, *, requests: int, tokens: int) -> float:
        limits = [
            ("requests", account.requests_per_minute, requests),
            ("tokens", account.tokens_per_minute, tokens),
        ]
        set_ = [(name, size, wanted) for name, size, wanted in limits if size is not None and wanted]
        if not set_:
            return 0.0
        place = f"crewmesh:agent-crew:limits:{account.organization or ''}:{account.name}"
        keys = [f"{place}:{name}" for name, _, _ in set_]
        # A correction tells what has happened already.
        args = [float(requests == 0), *(float(number) for _, size, wanted in set_ for number in (size, wanted))]
        try:
            return float(await self._take(keys=keys, args=args))
        except (RedisError, OSError) as error:
            log.warning("limits of accounts are not kept right now", error=str(error))
            return 0.0
