"""Routes of the gateway that take a body and leave no line in its log, each with why. All others must leave one."""

from __future__ import annotations

from typing import Final

WITHOUT_A_LINE: Final = {
    "POST /v1/audit-events/verify": "it only reads",
    "POST /v1/auth/password/forgot": "nothing is changed, and it must look the same whether there is an account or not",
    "POST /v1/auth/refresh": "a login goes on, every few minutes; that it began and ended is told",
    "POST /v1/auth/signup": "there is nobody until the address is proved",
    "POST /v1/auth/verify-email/resend": "the same mail again",
    "POST /v1/invitations/look-up": "it only reads",
    "POST /v1/retention/preview": "it only counts",
}
