"""Memory for the pictures that are decoded at once, shared by all threads of the process."""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Condition

BUDGET_BYTES = 1_000_000_000
SMALL_BYTES = 16_000_000  # what takes less never waits: an ordinary photograph, a scaled JPEG


def hand_back_freed_memory() -> None:
    """To the system, once: for when memory runs out. Each thread keeps what it has freed, where
    the C library was told to."""
    with suppress(OSError, AttributeError):  # another C library, which has no such call
        ctypes.CDLL("libc.so.6").malloc_trim(0)


class Budget:
    """Bytes that are taken for a while. Who waits is served in turn, so no one waits for ever.

    What is larger than all of it takes all of it, and so is there alone.
    """

    def __init__(self, n_bytes: int) -> None:
        self.n_bytes = n_bytes
        self.give_all_back()

    def give_all_back(self) -> None:
        """As if nothing had ever been taken."""
        self._taken_bytes = 0
        self._freed_bytes = 0  # since freed memory was last handed back to the system
        self._waiting: deque[object] = deque()
        self._changed = Condition()

    @contextmanager
    def taken(self, n_bytes: int) -> Iterator[None]:
        """Wait until so many bytes are free, and take them for the length of the block."""
        if n_bytes < SMALL_BYTES:
            yield
            return
        share = min(n_bytes, self.n_bytes)
        self._take(share)
        try:
            yield
        finally:
            with self._changed:
                self._taken_bytes -= share
                self._freed_bytes += share
                self._changed.notify_all()

    def _take(self, share: int) -> None:
        turn = object()
        with self._changed:
            self._waiting.append(turn)
            try:
                self._changed.wait_for(
                    lambda: self._waiting[0] is turn and self._taken_bytes + share <= self.n_bytes
                )
                self._taken_bytes += share
                if self._taken_bytes + self._freed_bytes > self.n_bytes:
                    hand_back_freed_memory()
                    self._freed_bytes = 0
            finally:  # also where Ctrl-C ends the waiting
                self._waiting.remove(turn)
                self._changed.notify_all()


IN_FLIGHT = Budget(BUDGET_BYTES)
if hasattr(os, "register_at_fork"):  # a child decodes nothing of what its parent is decoding
    os.register_at_fork(after_in_child=IN_FLIGHT.give_all_back)
