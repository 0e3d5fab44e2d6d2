"""The bridge between a crew in its thread and the model client on the event loop.

The thread asks and waits; the call itself is made on the loop, with its pooled connections and in the kickoff's trace.
What goes wrong is kept here as it was, for CrewAI wraps, retries and rewords what passes through it. To stop a crew,
its conversation is closed: the question in flight is cancelled and no further one is taken.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
from collections.abc import Sequence

from crewmesh_agent_crew.models.client import ModelClient
from crewmesh_agent_crew.models.schemas import NO_WISHES, ChatMessage, Usage, Wishes


class ConversationOverError(Exception):
    """No answer will come; ``Conversation.failure`` tells why, if it was not closed."""


class Conversation:
    """Made on the event loop, one per kickoff."""

    def __init__(self, client: ModelClient, usage: Usage, wishes: Wishes = NO_WISHES) -> None:
        self.usage = usage
        self.stopped = False
        self.failure: Exception | None = None
        self._client = client
        self._wishes = wishes
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._asked: concurrent.futures.Future[str] | None = None
        self._closed = False

    @property
    def model(self) -> str:
        return self._client.model

    def ask(self, messages: Sequence[ChatMessage]) -> str:
        """Called from the crew's thread."""
        with self._lock:
            if self._closed or self.failure is not None:
                raise ConversationOverError
            asked = self._asked = self._context.copy().run(
                asyncio.run_coroutine_threadsafe, self._client.ask(messages, self.usage, self._wishes), self._loop
            )
        concurrent.futures.wait([asked])
        # Raised with no cause attached, or CrewAI would look into it for a rate limit and ask again by itself.
        failure = None if asked.cancelled() else asked.exception()
        if isinstance(failure, Exception):
            self.failure = failure
        if asked.cancelled() or failure is not None:
            raise ConversationOverError
        return asked.result()

    def stop(self) -> None:
        """Close it because the service stops."""
        self.stopped = True
        self.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._asked is not None:
                self._asked.cancel()
