"""Noise that is drawn before it is needed: `noise.draw`, mostly at once.

Exactness takes time, some 12 microseconds a key. Noise doesn't depend on what it is added to, so that of a measure's
next pane is drawn while the crowd still counts it, by a thread of low priority; it lives in memory only, and is used
once. What somebody waits for isn't left to that thread, which gets next to nothing of a busy machine: who waits draws
the rest, and has a helper. With 10,000 zones an hour's end needs 5 seconds of drawing, and 3 more for pairs that come
from data: of these nobody knows how many there will be, so there is noise for half as many again as last time. While a
pane is released the thread rests.

Memory may be copied: a machine that is put back to an earlier state has noise that it has used before. So where the
ledger shows that somebody else has drawn, be it oneself, what was drawn ahead is forgotten.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.stores.noise import Noise, draw

Wanted = tuple[int, float, float, float]
MOST_DRAWN: Final = 32
NICE: Final = 10
# Keys that are drawn in one go, 12 ms: so long may somebody have to wait for a thread of low priority, which also has
# the interpreter while a vector is handed to OpenDP and back.
BLOCK: Final = 1024
# Beside whoever waits. More would take the machine from its agents.
HELPERS: Final = 1


class _Drawing:
    """Noise of one vector, drawn block by block by whoever has time for it.

    A block that is in hand is waited for and not drawn by another: how long it takes tells of what it is.
    """

    def __init__(self, draw: Noise, wanted: Wanted) -> None:
        keys, *scale = wanted
        self.keys = keys
        self._draw = draw
        self._scale = scale
        self._noise = np.empty(keys, np.int64)
        self._changed = threading.Condition()
        self._waiting = list(range(0, max(keys, 1), BLOCK))[::-1]
        self._in_hand = 0
        self._error: Exception | None = None

    @property
    def waits(self) -> bool:
        """Is there anything that nobody has begun to draw?"""
        return bool(self._waiting)

    def draw_block(self) -> bool:
        """Draw a block that nobody has begun; False if there is none."""
        with self._changed:
            if not self._waiting:
                return False
            first = self._waiting.pop()
            self._in_hand += 1
        block = self._noise[first : first + BLOCK]
        try:
            block[:] = self._draw(np.zeros(len(block), np.int64), *self._scale)
        except Exception as error:  # noqa: BLE001 - whoever takes the noise gets it
            with self._changed:
                self._error = error
                self._waiting.clear()
        with self._changed:
            self._in_hand -= 1
            self._changed.notify_all()
        return True

    def finished(self, keys: int | None = None) -> NDArray[np.int64]:
        """All of it, or of the first keys: what is left is drawn here and by helpers, at the priority of who asks.

        Raises:
            ThrongError: what drawing it raised.
        """
        keys = self.keys if keys is None else keys
        with self._changed:
            self._waiting = [first for first in self._waiting if first < max(keys, 1)]
        for _ in range(min(HELPERS, len(self._waiting) - 1)):
            threading.Thread(target=self._draw_rest, name="noise helper", daemon=True).start()
        self._draw_rest()
        with self._changed:
            self._changed.wait_for(lambda: not self._in_hand)
        if self._error is not None:
            raise self._error
        return self._noise[:keys]

    def _draw_rest(self) -> None:
        while self.draw_block():
            pass


class Ahead:
    """A `NoiseSource`: whoever asks starts the drawing of as much again, which is ready for the next call.

    Adding noise of `draw(zeros)` to counts is what `draw(counts)` does, but for saturation, which counts of people are
    far from.
    """

    def __init__(self, draw: Noise = draw) -> None:
        self._draw = draw
        self._drawn: dict[Wanted, _Drawing] = {}
        self._room: dict[tuple[float, ...], int] = {}
        self._asked = threading.Condition()
        self._rests = False
        # A daemon: the process may end while noise that nobody will use is drawn.
        self._thread = threading.Thread(target=self._keep_drawing, name="noise", daemon=True)

    def of_all(self, counts: NDArray[np.int64], sensitivity: float, scale: float, rho: float) -> NDArray[np.int64]:
        """As `draw`, which see."""
        wanted = (len(counts), sensitivity, scale, rho)
        return counts + self._taken(wanted, wanted).finished()

    def of_some(self, counts: NDArray[np.int64], sensitivity: float, scale: float, rho: float) -> NDArray[np.int64]:
        """As `draw`, of keys from data: there is room for as many as came last, and half as many again."""
        parameters, keys = (sensitivity, scale, rho), len(counts)
        room = self._room.get(parameters, 0)
        self._room[parameters] = -(-keys * 3 // 2 // BLOCK) * BLOCK
        drawing = self._taken((room, *parameters), (self._room[parameters], *parameters))
        beyond = _Drawing(self._draw, (max(keys - room, 0), *parameters))
        noisy: NDArray[np.int64] = counts + np.concatenate([drawing.finished(min(keys, room)), beyond.finished()])
        return noisy

    def expect(self, keys: int, sensitivity: float, scale: float, rho: float) -> None:
        """Draw noise for so many keys meanwhile: somebody will ask for it."""
        wanted = (keys, sensitivity, scale, rho)
        with self._asked:
            if wanted not in self._drawn:
                self._start_drawing(wanted)

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Draw nothing ahead meanwhile. A thread of low priority that has the interpreter on a busy machine keeps it
        from whoever is releasing."""
        self._rest(True)
        try:
            yield
        finally:
            self._rest(False)

    def forget(self) -> None:
        """Use nothing of what was drawn so far, or begun: all of it is drawn anew."""
        with self._asked:
            self._drawn = {wanted: _Drawing(self._draw, wanted) for wanted in self._drawn}
            self._asked.notify()

    def _rest(self, rests: bool) -> None:
        with self._asked:
            self._rests = rests
            self._asked.notify()

    def _taken(self, wanted: Wanted, following: Wanted) -> _Drawing:
        """What was drawn of this, as far as it was; what is to follow is drawn meanwhile."""
        with self._asked:
            drawing = self._drawn.pop(wanted, None)  # taken out for good: noise that is used twice hides nothing
            self._start_drawing(following)
        return drawing or _Drawing(self._draw, wanted)

    def _start_drawing(self, wanted: Wanted) -> None:
        self._drawn[wanted] = _Drawing(self._draw, wanted)
        if len(self._drawn) > MOST_DRAWN:  # of epochs that are over
            del self._drawn[next(iter(self._drawn))]
        self._asked.notify()
        if not self._thread.is_alive():
            self._thread.start()

    def _keep_drawing(self) -> None:
        if sys.platform == "linux":  # where a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while True:
            with self._asked:
                while (drawing := self._next()) is None:
                    self._asked.wait()
            drawing.draw_block()

    def _next(self) -> _Drawing | None:
        """The shortest that isn't begun or done: those of an hour are the longest, and are wanted last."""
        if self._rests:
            return None
        waiting = [drawing for drawing in self._drawn.values() if drawing.waits]
        return min(waiting, key=lambda each: each.keys, default=None)
