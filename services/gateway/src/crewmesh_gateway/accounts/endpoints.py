"""HTTP of every way in, for who is not signed in yet."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.identity import public
from fastapi import APIRouter, Response

from crewmesh_gateway.accounts.login import Credentials, HalfWay, Login
from crewmesh_gateway.accounts.recovery import Recovery
from crewmesh_gateway.accounts.schemas import (
    Accepted,
    EmailRequest,
    LoginRequest,
    ResetRequest,
    SecondFactorRequest,
    SecondFactorToken,
    SecondFactorWanted,
    SignupRequest,
    VerifyRequest,
)
from crewmesh_gateway.accounts.signup import Signup, Wish
from crewmesh_gateway.sessions.cookies import give, keep_private
from crewmesh_gateway.sessions.models import Begun
from crewmesh_gateway.sessions.origins import CameFrom, from_our_pages
from crewmesh_gateway.sessions.schemas import TokenView, shown

router = APIRouter(prefix="/v1/auth", tags=["auth"])

TheSignup = Annotated[Signup, provided(Signup)]
TheLogin = Annotated[Login, provided(Login)]
TheRecovery = Annotated[Recovery, provided(Recovery)]


@router.post("/signup", status_code=202, summary="Sign up; the rest is in a mail", dependencies=[public()])
async def sign_up(body: SignupRequest, origin: CameFrom, signup: TheSignup) -> Accepted:
    wish = Wish(body.email, body.password, body.name, body.organization, body.invitation)
    await signup.ask(wish, origin)
    return Accepted(message="Look into your mails: there is how to go on.")


@router.post(
    "/verify-email",
    summary="Prove an address with the token from its mail; the account exists from then on",
    dependencies=[public(), from_our_pages()],
)
async def verify_email(body: VerifyRequest, origin: CameFrom, signup: TheSignup, response: Response) -> TokenView:
    return _let_in(response, await signup.verify(body.token, body.password, origin))


@router.post(
    "/verify-email/resend",
    status_code=202,
    summary="Have the mail sent again that proves an address",
    dependencies=[public()],
)
async def resend_verification(body: EmailRequest, origin: CameFrom, signup: TheSignup) -> Accepted:
    await signup.ask_again(body.email, origin)
    return Accepted(message="If somebody signed up with this address, a new mail is on its way.")


@router.post("/login", summary="Log in with address and password", dependencies=[public(), from_our_pages()])
async def log_in(
    body: LoginRequest, origin: CameFrom, login: TheLogin, response: Response
) -> TokenView | SecondFactorWanted:
    """With a second factor the answer is a token, which goes to POST /v1/auth/login/second-factor with a code."""
    credentials = Credentials(body.email, body.password, body.organization, body.invitation)
    outcome = await login.log_in(credentials, origin)
    if isinstance(outcome, HalfWay):
        keep_private(response)
        return SecondFactorWanted(second_factor=SecondFactorToken(token=outcome.token, expires_at=outcome.expires_at))
    return _let_in(response, outcome)


@router.post(
    "/login/second-factor", summary="Log in: the second half, with a code", dependencies=[public(), from_our_pages()]
)
async def show_second_factor(
    body: SecondFactorRequest, origin: CameFrom, login: TheLogin, response: Response
) -> TokenView:
    return _let_in(response, await login.show_code(body.token, body.code, body.invitation, origin))


@router.post(
    "/password/forgot",
    status_code=202,
    summary="Have a link sent with which to choose a new password",
    dependencies=[public()],
)
async def forgot_password(body: EmailRequest, origin: CameFrom, recovery: TheRecovery) -> Accepted:
    await recovery.forgot(body.email, origin)
    return Accepted(message="If there is an account with this address, a mail is on its way.")


@router.post(
    "/password/reset",
    status_code=204,
    summary="Choose a new password with the token from the mail",
    dependencies=[public()],
)
async def reset_password(body: ResetRequest, origin: CameFrom, recovery: TheRecovery) -> None:
    """Every login of the account ends. Then log in with the new password."""
    await recovery.reset(body.token, body.password, origin)


def _let_in(response: Response, begun: Begun) -> TokenView:
    give(response, begun)
    return shown(begun)
