"""An account with a secret of the operator is trusted as long as the operator says so."""

from __future__ import annotations

from crewmesh_agent_crew.providers.accounts import Accounts
from crewmesh_kit.ids import new_id
from crewmesh_testkit.identities import identity

from .test_providers_accounts import READ, WRITE, replica

INSIDE = "http://127.0.0.1:9/v1"


async def test_it_leads_inside_only_while_the_operator_says_so(crews_database: str, valkey: str) -> None:
    who = identity(READ, WRITE, organization=new_id("org"))
    # With a slash at the end, as an operator may write it.
    async with replica(crews_database, valkey, who=who, private=False, secrets={"model-given": f"{INSIDE}/"}) as desk:
        await desk.add(name="acme", kind="openai-compatible", base_url=INSIDE, key_secret="model-given")
        account = await desk.resources.get(Accounts).get(who.organization, "acme")
        assert account is not None
        assert (account.trusted, account.key != "") == (True, True)
    async with replica(crews_database, valkey, who=who, private=False) as later:
        account = await later.resources.get(Accounts).get(who.organization, "acme")
        assert account is not None
        assert (account.trusted, account.key) == (False, "")
        assert "refused" in str((await later.tested("acme"))["trouble"])
