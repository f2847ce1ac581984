"""How long brokers hold up what a client asks, by a quota of its user's.

In: a client's answers. A broker says in them for how long it reads nothing more of the connection; aiokafka passes that
over, so what is asked next seems to be slow, or to get no answer at all. Out: the time that was told, while it lasts.
Nothing can fail.
"""

import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol


class Asking(Protocol):
    """A client's way to ask (`AIOKafkaClient`)."""

    send: Callable[..., Coroutine[Any, Any, Any]]


class Throttled:
    """Of one client, or of several of one worker. Heard in one thread, asked in any."""

    def __init__(self) -> None:
        # By broker and kind of request, since quotas are of some kinds: what was told, and when it is over, both s.
        self._held: dict[tuple[object, type], tuple[float, float]] = {}

    def heard(self, node_id: object, request: object, answer: object) -> None:
        """Take what an answer says of it. One that says nothing ends what one of its kind has said before: whoever is
        held up for long asks anew, over another connection, and quotas may have been raised by then."""
        told_s = getattr(answer, "throttle_time_ms", 0) / 1000
        if told_s:
            self._held[node_id, type(request)] = told_s, time.monotonic() + told_s
        else:
            self._held.pop((node_id, type(request)), None)

    def listen(self, client: Asking) -> None:
        """Hear all answers that this client gets from now on."""
        ask = client.send

        async def asked(node_id: object, request: object, **more: Any) -> Any:
            answer = await ask(node_id, request, **more)
            self.heard(node_id, request, answer)
            return answer

        client.send = asked

    @property
    def seconds(self) -> float:
        """The longest time that was told, s, of those that aren't over; else 0."""
        now = time.monotonic()
        return max((told_s for told_s, until in list(self._held.values()) if now < until), default=0.0)
