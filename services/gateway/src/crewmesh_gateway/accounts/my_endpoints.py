"""HTTP of one's own account."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from fastapi import APIRouter

from crewmesh_gateway.accounts.profile import Profile
from crewmesh_gateway.accounts.schemas import Accepted, LoginClaim, PasswordChange, ProfileChange
from crewmesh_gateway.me.repository import MeRepository
from crewmesh_gateway.me.schemas import Me
from crewmesh_gateway.principals.access import Person, SignedIn

router = APIRouter(prefix="/v1/me", tags=["me"])

TheProfile = Annotated[Profile, provided(Profile)]


@router.patch("", summary="Change your name")
async def change_me(
    body: ProfileChange,
    principal: Person,
    profile: TheProfile,
    repository: Annotated[MeRepository, provided(MeRepository)],
) -> Me:
    await profile.rename(principal, body.name)
    return await repository.of(principal)


@router.put("/password", status_code=204, summary="Change your password; your other logins end")
async def change_password(body: PasswordChange, principal: Person, profile: TheProfile) -> None:
    await profile.change_password(principal, body.current, body.new)


@router.post("/login", status_code=202, summary="Give the first owner of an installation a login")
async def claim_login(body: LoginClaim, principal: SignedIn, profile: TheProfile) -> Accepted:
    """With the API key of the first run, as long as its owner has no address. A mail proves the address; then they can
    log in with it.
    """
    await profile.claim_login(principal, body.email, body.password)
    return Accepted(message="Look into your mails: there is how to go on.")
