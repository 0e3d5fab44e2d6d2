"""The main job, shown: publish one event and watch it become a durable run whose answer arrives at a webhook.

Only the public API is used, as any client would: an event goes in with an API key, the run's own event stream is
followed, and a small receiver on this machine checks the signature of what is delivered to it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import cast
from uuid import uuid4

QUESTION = "What happens to a run when a process is killed?"
EVENT_TYPE = "com.example.question.asked"


class DemoError(Exception):
    """Something a person can put right; the text says how."""


@dataclass(frozen=True)
class Credentials:
    api_url: str
    api_key: str
    webhook_secret: str

    @classmethod
    def read(cls, home: Path) -> Credentials:
        path = home / ".crewmesh" / "credentials.json"
        if not path.exists():
            raise DemoError(f"There is no {path}. Start the mesh first: make run")
        known = cast("dict[str, str]", json.loads(path.read_text()))
        return cls(api_url=known["api_url"], api_key=known["api_key"], webhook_secret=known["webhook_secret"])


class WebhookReceiver:
    """Waits on a free port of this machine for one delivery."""

    def __init__(self, secret: str) -> None:
        receiver = self
        self.secret = secret
        self.arrived = threading.Event()
        self.body: dict[str, str] = {}
        self.signature_holds = False

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("content-length", "0")))
                receiver.signature_holds = receiver.verify(self.headers, raw)
                receiver.body = json.loads(raw)
                self.send_response(204)
                self.end_headers()
                receiver.arrived.set()

            def log_message(self, *_: object, **__: object) -> None:
                """The demo's own lines are enough."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/answers"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def verify(self, headers: Message, raw: bytes) -> bool:
        """Standard Webhooks: HMAC-SHA256 over ``id.timestamp.body`` with the secret behind its ``whsec_`` prefix."""
        message_id, sent_at, signatures = (str(headers[f"webhook-{part}"]) for part in ("id", "timestamp", "signature"))
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        digest = hmac.new(key, f"{message_id}.{sent_at}.".encode() + raw, hashlib.sha256).digest()
        expected = "v1," + base64.b64encode(digest).decode()
        return any(hmac.compare_digest(expected, signature) for signature in signatures.split())


class Api:
    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def open(self, path: str, *, body: object = None, timeout: float = 30) -> Iterator[bytes]:
        request = urllib.request.Request(
            self._credentials.api_url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"authorization": f"Bearer {self._credentials.api_key}", "content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                yield from response
        except urllib.error.HTTPError as refused:
            problem = json.loads(refused.read() or b"{}")
            raise DemoError(f"{path} answered {refused.code}: {problem.get('detail', refused.reason)}") from refused
        except urllib.error.URLError as gone:
            url = self._credentials.api_url
            raise DemoError(f"Nothing answers at {url} ({gone.reason}). See what runs: make status") from gone

    def json(self, path: str, *, body: object = None) -> dict[str, object]:
        return json.loads(b"".join(self.open(path, body=body)))

    def events(self, run: str) -> Iterator[tuple[str, dict[str, object]]]:
        """The run's server-sent events until it ends."""
        kind = ""
        for raw in self.open(f"/v1/runs/{run}/events", timeout=600):
            name, _, value = raw.decode().rstrip("\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                yield kind, json.loads(value)
                if kind in ("run.completed", "run.failed"):
                    return


def say(started: float, text: str) -> None:
    print(f"{time.monotonic() - started:7.2f} s  {text}", flush=True)


def show(started: float, kind: str, data: dict[str, object]) -> None:
    node = f" {data['node']}" if data.get("node") else ""
    detail = f": {json.dumps(data['error'])}" if data.get("error") else ""
    say(started, f"{kind}{node}{detail}")


def run_demo(home: Path, question: str) -> None:
    credentials = Credentials.read(home)
    api, receiver = Api(credentials), WebhookReceiver(credentials.webhook_secret)
    started = time.monotonic()
    say(started, f"publishing {EVENT_TYPE}: {question!r}")
    event = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "/crewmesh/demo",
        "type": EVENT_TYPE,
        "data": {"question": question, "callback_url": receiver.url},
    }
    runs = cast("list[str]", api.json("/v1/events", body=event)["runs"])
    if not runs:
        raise DemoError(f"No active workflow is triggered by {EVENT_TYPE}. See: GET {credentials.api_url}/v1/workflows")
    run = runs[0]
    say(started, f"acknowledged as {run}; following {credentials.api_url}/v1/runs/{run}/events")
    for kind, data in api.events(run):
        show(started, kind, data)
        if kind == "run.failed":
            raise DemoError(f"The run failed. Its steps: GET {credentials.api_url}/v1/runs/{run}/steps")
    if not receiver.arrived.wait(10):
        raise DemoError(f"The run completed but nothing arrived at {receiver.url}. See: make logs")
    verdict = "its signature verifies" if receiver.signature_holds else "ITS SIGNATURE DOES NOT VERIFY"
    say(started, f"the answer arrived at {receiver.url}; {verdict}")
    print(f"\n  Q: {receiver.body['question']}\n  A: {receiver.body['answer'].strip()}\n")
    if not receiver.signature_holds:
        raise DemoError("The webhook's signature does not verify with the secret in .crewmesh/credentials.json.")


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, default=Path.cwd(), help="the folder that holds .crewmesh")
    parser.add_argument("--question", default=QUESTION)
    options = parser.parse_args()
    try:
        run_demo(options.home, options.question)
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
