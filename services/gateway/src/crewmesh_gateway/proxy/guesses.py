"""Makes guessing of public addresses slow, as it is with keys: who names many that do not exist has to wait.

A path that was good before is never held up by what its neighbours behind one address do, for senders of webhooks share
theirs with strangers.
"""

from __future__ import annotations

from collections import OrderedDict

from starlette.types import Message, Send

from crewmesh_gateway.api_keys.throttle import WrongKeyThrottle
from crewmesh_gateway.proxy.errors import TooManyGuesses
from crewmesh_gateway.settings import ThrottleSettings

_WRONG = (401, 404)
_RUN_HEADER = b"x-crewmesh-run"
_MOST_REMEMBERED = 10_000


class Guesses:
    def __init__(self, settings: ThrottleSettings) -> None:
        self._throttle = WrongKeyThrottle(settings, refusal=TooManyGuesses)
        self._good: OrderedDict[int, None] = OrderedDict()  # by hash, for paths hold secrets

    def counted(self, send: Send, address: str, path: str) -> Send:
        """Refuses an address that guessed too much; otherwise ``send``, which notices when this was a wrong guess."""
        mark = hash(path)
        if mark not in self._good:
            self._throttle.admit(address)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._note(mark, address, message)
            await send(message)

        return watched

    def _note(self, mark: int, address: str, answer: Message) -> None:
        # A workflow may answer 404 itself, to who had the right address; then the answer names its run.
        is_from_run = any(name == _RUN_HEADER for name, _ in answer["headers"])
        if answer["status"] in _WRONG and not is_from_run:
            self._throttle.failed(address)
            return
        self._good[mark] = None
        self._good.move_to_end(mark)
        if len(self._good) > _MOST_REMEMBERED:
            self._good.popitem(last=False)
