"""What callers send and see of the second factor."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from crewmesh_contracts.base import Contract, Reply
from pydantic import ConfigDict, Field, StringConstraints

from crewmesh_gateway.accounts.fields import Password

Code: TypeAlias = Annotated[str, StringConstraints(strip_whitespace=True, min_length=6, max_length=40)]


class BeginSecondFactor(Contract):
    model_config = ConfigDict(json_schema_extra={"examples": [{"password": "four plain random words"}]})

    password: Password = Field(description="The current one.")


class SecondFactorBegun(Reply):
    """It is on when a code of it was shown: POST /v1/me/second-factor/confirm."""

    secret: str = Field(description="To be typed into an app that knows time-based codes.")
    uri: str = Field(description="The same as otpauth:// address, for a QR code.")


class ShowCode(Contract):
    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "492039"}]})

    code: Code = Field(description="What the app shows at present.")


class RemoveSecondFactor(Contract):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"password": "four plain random words", "code": "492039"}]}
    )

    password: Password = Field(description="The current one.")
    code: Code = Field(description="What the app shows at present, or a recovery code.")


class RecoveryCodes(Reply):
    recovery_codes: list[str] = Field(
        description="Each works once in place of a code of the app. They are shown this once; earlier ones are void."
    )
