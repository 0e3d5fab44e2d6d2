"""Accounts inside the running gateway."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.app import Service
from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.logs import get_logger
from crewmesh_kit.resources import Resources

from crewmesh_gateway.accounts import (
    endpoints,
    later,
    my_endpoints,
    one_time_tokens,
    page_endpoints,
    throttle_repository,
)
from crewmesh_gateway.accounts.joining import Joining, SignupMode
from crewmesh_gateway.accounts.later import Later
from crewmesh_gateway.accounts.letters import Letters
from crewmesh_gateway.accounts.login import Login
from crewmesh_gateway.accounts.passwords import Passwords
from crewmesh_gateway.accounts.profile import Profile
from crewmesh_gateway.accounts.recovery import Recovery
from crewmesh_gateway.accounts.sign_in import SignIn
from crewmesh_gateway.accounts.signup import Signup
from crewmesh_gateway.accounts.throttle import Throttle
from crewmesh_gateway.invitations.accepting import Accepting
from crewmesh_gateway.mail.service import Mailer
from crewmesh_gateway.second_factor import endpoints as second_factor
from crewmesh_gateway.second_factor.mine import MySecondFactor
from crewmesh_gateway.second_factor.service import SecondFactor
from crewmesh_gateway.sessions.repository import SessionRepository
from crewmesh_gateway.sessions.service import Sessions
from crewmesh_gateway.settings import Settings
from crewmesh_gateway.signing_keys.master import MasterKey

_FORGET_EVERY_SECONDS = 3600.0

log = get_logger(__name__)


def install(service: Service) -> None:
    service.lifetime(open_accounts)
    service.background("requests about accounts", do_later)
    service.background("old tokens of accounts", keep_forgetting)
    service.routes(endpoints.router, page_endpoints.router, my_endpoints.router, second_factor.router)


@asynccontextmanager
async def open_accounts(resources: Resources) -> AsyncGenerator[Signup]:
    settings, database = resources.get(Settings), resources.get(Database)
    sessions, memberships = resources.get(Sessions), resources.get(SessionRepository)
    mailer, master, letters = resources.get(Mailer), resources.get(MasterKey), Letters(settings)
    throttle, later_on, factor = Throttle(database, settings.accounts), Later(database), SecondFactor(master)
    joining = Joining(resources.get(Accepting), mode_of(settings))
    sign_in = SignIn(sessions, memberships, joining)
    async with Passwords.open(settings.passwords) as passwords:
        common = (database, passwords, throttle)
        mails = (mailer, letters)
        signup = Signup(*common, later_on, *mails, joining, sign_in, master, settings.accounts)
        profile = Profile(*common, *mails, sessions, signup)
        for part in (
            later_on,
            Login(*common, later_on, factor, sign_in, memberships, settings.accounts),
            Recovery(*common, later_on, *mails, sessions, memberships, settings.accounts),
            profile,
            MySecondFactor(database, factor, profile, throttle, *mails),
        ):
            resources.add(part)
        yield signup


def mode_of(settings: Settings) -> SignupMode:
    if settings.accounts.signup is not None:
        return settings.accounts.signup
    return "open" if settings.environment == "development" else "invited"


async def do_later(resources: Resources) -> None:
    signup, login, recovery = resources.get(Signup), resources.get(Login), resources.get(Recovery)
    await resources.get(Later).run(
        {"signup": signup.asked, "resend": signup.asked_again, "forgot": recovery.asked, "failed": login.failed}
    )


async def forget(database: Database) -> None:
    """Delete what is over: tokens, attempts that ran empty, requests that nobody waits for."""
    async with database.system() as conn:
        await one_time_tokens.forget_old(conn)
        await throttle_repository.forget_old(conn)
        await later.forget_old(conn)


async def keep_forgetting(resources: Resources) -> None:
    """Once an hour, replicas at different moments."""
    while True:
        await asyncio.sleep(_FORGET_EVERY_SECONDS * random.uniform(0.5, 1.5))
        try:
            await forget(resources.get(Database))
        except DatabaseUnavailable as problem:
            log.warning("forgetting old tokens waits for the next hour", reason=problem.detail)
