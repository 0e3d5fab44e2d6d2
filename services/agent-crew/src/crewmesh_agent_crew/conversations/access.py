"""Who may talk: whoever may set some agent or some crew to work. With which one is asked of that one."""

from __future__ import annotations

from typing import Annotated, cast

from crewmesh_kit.identity import Identity, Requires
from crewmesh_kit.resources import Resources
from crewmesh_kit.sharing.models import Need
from crewmesh_kit.sharing.service import Sharing
from fastapi import Request
from fastapi.params import Depends

from crewmesh_agent_crew.access import RUN, RUN_AGENT, SEE, SEE_AGENT


class ReachingAny(Requires):
    """Whoever has the permission, and persons who were granted the level on any crew or agent."""

    def __init__(self, *needs: Need) -> None:
        super().__init__(needs[0].permission)
        self._needs = needs

    async def __call__(self, request: Request) -> Identity:
        identity = await self.who(request)
        sharing = cast(Resources, request.app.state.resources).get(Sharing)
        for need in self._needs:
            if await sharing.reaches_any(identity, need):
                return identity
        self.check(identity)
        return identity


Reader = Annotated[Identity, Depends(ReachingAny(SEE, SEE_AGENT))]
Talker = Annotated[Identity, Depends(ReachingAny(RUN, RUN_AGENT))]
