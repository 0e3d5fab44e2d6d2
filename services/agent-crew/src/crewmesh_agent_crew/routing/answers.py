"""Answers that need not be paid for twice: of calls that say so and are asked without any freedom of choice.

Kept in Valkey by a hash of all that was asked and of whom, for each organization by itself. Losing one costs a call.
"""

from __future__ import annotations

import hashlib

from crewmesh_kit.logs import get_logger
from pydantic import ValidationError
from redis.exceptions import RedisError

from crewmesh_agent_crew.catalogue.costs import output_limit
from crewmesh_agent_crew.models.calls import ModelCall, ModelReply
from crewmesh_agent_crew.routing.candidates import Candidate
from crewmesh_agent_crew.routing.valkey import Valkey

_LARGEST = 256 * 1024
# Of the call: what is asked. Which name it was asked under and how long it may take changes no answer.
_ASKED = {"messages", "tools", "schema_"}

log = get_logger(__name__)


class KeptAnswers:
    def __init__(self, valkey: Valkey, *, seconds: int) -> None:
        self._valkey = valkey
        self._seconds = seconds

    async def find(self, candidate: Candidate, call: ModelCall) -> ModelReply | None:
        if not self._is_kept(candidate, call):
            return None
        try:
            kept = await self._valkey.get(_key(candidate, call))
            return None if kept is None else ModelReply.model_validate_json(kept)
        except (RedisError, OSError, ValidationError) as error:
            log.warning("an answer that may be kept could not be read", error=type(error).__name__)
            return None

    async def keep(self, candidate: Candidate, call: ModelCall, reply: ModelReply) -> None:
        """Whole answers only: one that was cut off by its limit, or filtered, is not worth repeating."""
        if not self._is_kept(candidate, call) or reply.finish not in ("stop", "tools"):
            return
        text = reply.model_dump_json()
        if len(text) > _LARGEST:
            return
        try:
            await self._valkey.set(_key(candidate, call), text, ex=self._seconds)
        except (RedisError, OSError) as error:
            log.warning("an answer that may be kept could not be", error=type(error).__name__)

    def _is_kept(self, candidate: Candidate, call: ModelCall) -> bool:
        temperature = candidate.entry.temperature if call.temperature is None else call.temperature
        return call.cacheable and temperature == 0 and self._seconds > 0


def _key(candidate: Candidate, call: ModelCall) -> str:
    account, entry = candidate.account, candidate.entry
    parts = (
        account.organization or "",
        account.name,
        account.base_url,
        entry.name,
        entry.model,
        str(output_limit(entry, call)),
        call.model_dump_json(include=_ASKED),
    )
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
    return f"crewmesh:agent-crew:answers:{candidate.organization}:{digest}"
