"""People of a whole mesh, who sign up as everybody does: by a mail with a link in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path

from crewmesh_testkit.mesh import MeshProcess
from crewmesh_testkit.mesh_client import ApiAnswer, MeshClient
from crewmesh_testkit.polling import until

PASSWORD = "seven green lamps over the river"
_TOKEN = re.compile(r"token=([A-Za-z0-9_.~-]+)")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is logged in, in the organization of their own."""

    email: str
    organization: str
    access_token: str


async def signed_up(mesh: MeshProcess, email: str, *, organization: str) -> Person:
    async with MeshClient(mesh.credentials.api_url, None) as client:
        wish = {"email": email, "password": PASSWORD, "name": email.split("@")[0], "organization": organization}
        asked = await client.post("/v1/auth/signup", wish)
        if asked.status != 202:
            raise RuntimeError(f"signing up was not accepted: {asked.body}")
        token = await until(
            lambda: token_in_mail(mesh.home / ".crewmesh" / "mail", email), seconds=60, what=f"a mail to {email}"
        )
        begun = await client.post("/v1/auth/verify-email", {"token": token, "password": PASSWORD})
    if begun.status != 200:
        raise RuntimeError(f"the address could not be verified: {begun.body}")
    return _person(email, begun)


def token_in_mail(folder: Path, email: str) -> str | None:
    """The token of the newest mail to this address."""
    for file in sorted(folder.glob("*.eml"), key=lambda each: each.stat().st_mtime, reverse=True):
        message = message_from_bytes(file.read_bytes(), policy=policy.default)
        body = message.get_body(("plain",))
        if email in str(message["to"]) and body is not None and (found := _TOKEN.search(str(body.get_content()))):
            return found[1]
    return None


def _person(email: str, begun: ApiAnswer) -> Person:
    return Person(email, str(begun.body["organization"]), str(begun.body["access_token"]))
