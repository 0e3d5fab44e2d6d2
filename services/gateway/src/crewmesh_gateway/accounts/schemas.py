"""What callers send and see on their way in, and of their own account."""

from __future__ import annotations

from datetime import datetime

from crewmesh_contracts.base import Contract, Reply
from pydantic import ConfigDict, Field

from crewmesh_gateway.accounts.fields import EmailAddress, Password, Token
from crewmesh_gateway.ids import IdText
from crewmesh_gateway.names import Name
from crewmesh_gateway.second_factor.schemas import Code

_EMAIL, _PASSWORD = "ada@example.org", "four plain random words"
_TOKEN = "5fGq1JmVYw2r8sTnXb0cKeHdLpAoUi3Zy7vQxR4tNkE"


def _example(**fields: str) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [{**fields}]})


class SignupRequest(Contract):
    model_config = _example(email=_EMAIL, password=_PASSWORD, name="Ada Lovelace", organization="Analytical Engines")

    email: EmailAddress
    password: Password = Field(
        description="12 to 256 characters that are not guessed first; some random words do well."
    )
    name: Name
    organization: Name = Field(description="Name of the organization to begin with, unless one is invited to another.")
    invitation: Token | None = Field(default=None, description="Token of an invitation, from its mail.")


class Accepted(Reply):
    """The same whether there is such an account or not."""

    message: str


class EmailRequest(Contract):
    model_config = _example(email=_EMAIL)

    email: EmailAddress


class VerifyRequest(Contract):
    model_config = _example(token=_TOKEN, password=_PASSWORD)

    token: Token = Field(description="From the mail.")
    password: Password = Field(description="The one that was chosen when signing up.")


class LoginRequest(Contract):
    model_config = _example(email=_EMAIL, password=_PASSWORD)

    email: EmailAddress
    password: Password
    organization: IdText | None = Field(
        default=None, description="Where to work first; otherwise where one worked last."
    )
    invitation: Token | None = Field(default=None, description="Token of an invitation to accept on the way in.")


class SecondFactorToken(Reply):
    token: str = Field(description="Send it with a code to POST /v1/auth/login/second-factor.")
    expires_at: datetime


class SecondFactorWanted(Reply):
    """The password was right, and the account has a second factor."""

    second_factor: SecondFactorToken


class SecondFactorRequest(Contract):
    model_config = _example(token=_TOKEN, code="492039")

    token: Token = Field(description="From the answer to the login.")
    code: Code = Field(description="What the app shows at present, or a recovery code.")
    invitation: Token | None = Field(default=None, description="Token of an invitation to accept on the way in.")


class ResetRequest(Contract):
    model_config = _example(token=_TOKEN, password=_PASSWORD)

    token: Token = Field(description="From the mail.")
    password: Password = Field(description="The new one.")


class ProfileChange(Contract):
    model_config = _example(name="Ada King")

    name: Name


class PasswordChange(Contract):
    model_config = _example(current=_PASSWORD, new="other plain random words")

    current: Password
    new: Password


class LoginClaim(Contract):
    model_config = _example(email=_EMAIL, password=_PASSWORD)

    email: EmailAddress
    password: Password
