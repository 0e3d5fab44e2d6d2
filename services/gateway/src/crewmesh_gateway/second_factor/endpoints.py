"""HTTP of one's own second factor."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from fastapi import APIRouter, Response

from crewmesh_gateway.principals.access import Person
from crewmesh_gateway.second_factor.mine import MySecondFactor
from crewmesh_gateway.second_factor.schemas import (
    BeginSecondFactor,
    RecoveryCodes,
    RemoveSecondFactor,
    SecondFactorBegun,
    ShowCode,
)
from crewmesh_gateway.sessions.cookies import keep_private

router = APIRouter(prefix="/v1/me/second-factor", tags=["me"])

Mine = Annotated[MySecondFactor, provided(MySecondFactor)]


@router.post("", summary="Begin to turn on the second factor: get the secret for an app")
async def begin_second_factor(
    body: BeginSecondFactor, principal: Person, mine: Mine, response: Response
) -> SecondFactorBegun:
    keep_private(response)
    return await mine.begin(principal, body.password)


@router.post("/confirm", summary="Turn on the second factor with a first code, and get recovery codes")
async def confirm_second_factor(body: ShowCode, principal: Person, mine: Mine, response: Response) -> RecoveryCodes:
    keep_private(response)
    return await mine.confirm(principal, body.code)


@router.post("/recovery-codes", summary="Get new recovery codes in place of the old ones")
async def renew_recovery_codes(body: ShowCode, principal: Person, mine: Mine, response: Response) -> RecoveryCodes:
    keep_private(response)
    return await mine.renew_codes(principal, body.code)


@router.delete("", status_code=204, summary="Turn off the second factor")
async def remove_second_factor(body: RemoveSecondFactor, principal: Person, mine: Mine) -> None:
    await mine.remove(principal, body.password, body.code)
