"""Running a server as an ordinary user when we are root ourselves (PostgreSQL refuses to be root).

``setpriv`` changes the user and then becomes the server, so the process id stays the one that was started. A folder
that the ordinary user could not even pass through (a checkout under /root, say) is opened to the server by the one
capability that overrides file permissions; it is given only in that case.
"""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """The user a server runs as; ``None`` in its place means: as we are."""

    uid: int
    gid: int

    def own(self, path: Path) -> None:
        os.chown(path, self.uid, self.gid)

    def command(self, command: Sequence[str], *, needs: Sequence[Path]) -> list[str]:
        """``command`` wrapped so that it runs as this user and can reach the folders it ``needs``."""
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise RuntimeError("As root, PostgreSQL needs setpriv; install util-linux, or be another user.")
        # The kernel forgets the parent-death signal when the user changes; setpriv sets it again.
        wrapped = [setpriv, f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups", "--pdeathsig=keep"]
        if not all(_passable(path) for path in needs):
            wrapped += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        return [*wrapped, "--", *command]


def ordinary_account() -> Account | None:
    """``None`` unless we are root; then the first of the usual accounts that exists."""
    if os.geteuid() != 0:
        return None
    for name in CANDIDATES:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(found.pw_uid, found.pw_gid)
    raise RuntimeError(f"As root, PostgreSQL needs an ordinary user ({' or '.join(CANDIDATES)}) to run as; create one.")


def _passable(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)
