"""How fast it goes of late, and how long it will still take: both from the same number."""

from __future__ import annotations

import time
from collections import deque

WINDOW_S = 5.0
BURST_S = 0.1  # what is settled together, as a batch or what the cache knows, is one mark


class Pace:
    """Of files, bytes or whatever is counted. The first that are done are where the clock starts:
    a model was opened before, and the cache may have known thousands of them."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()  # seconds, and how many were done

    def reached(self, n_done: int, now_s: float | None = None) -> None:
        """So many are done now, by the clock of `time.monotonic`."""
        now_s = time.monotonic() if now_s is None else now_s
        marks = self._marks
        if marks and n_done < marks[-1][1]:  # a download that starts over
            marks.clear()
        if marks and now_s - marks[-1][0] < BURST_S:
            marks[-1] = (marks[-1][0], n_done)
        else:
            marks.append((now_s, n_done))
        while len(marks) > 2 and now_s - marks[1][0] >= WINDOW_S:
            marks.popleft()

    @property
    def per_s(self) -> float:
        """0.0 while there is nothing to go by."""
        if len(self._marks) < 2:
            return 0.0
        (start_s, n_before), (end_s, n_done) = self._marks[0], self._marks[-1]
        return (n_done - n_before) / (end_s - start_s)


def time_left(n_left: float, per_s: float) -> str:
    """`55 min left`."""
    seconds = n_left / per_s
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{seconds:.0f} s left"
    return f"{minutes} min left" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min left"
