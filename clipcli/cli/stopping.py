"""Ctrl-C and SIGTERM as an exception, raised where the run can end in order.

Python raises between any two instructions: after the last `except`; in a `__del__`, which prints
a traceback and goes on; in an `__exit__`, before its first line, or when a file is closed and not
yet renamed; in a `Condition.__enter__` that has its lock, which nobody would release, and for which
the other threads would wait for ever. There the signal waits and looks again in a moment; after the
work it comes to nothing.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from types import CodeType, FrameType

from clipcli.errors import StoppedError

LOOK_AGAIN_S = 0.02
INSISTS_S = 1.0  # the same signal so much later does not wait: what is being ended may hang
_ENDS = ("__exit__", "__del__")
_LOCKING = threading.Condition.__enter__.__code__


def stop_at(number: signal.Signals, stop: StoppedError, work: Callable[..., object]) -> None:
    """Have the signal raise `stop` while `work` runs, unless the process was told to ignore it."""
    waits_since_s: float | None = None

    def handle(signum: int, frame: FrameType | None) -> None:
        nonlocal waits_since_s
        now_s = time.monotonic()
        running = _running(frame)
        if work.__code__ in running:
            waits = _LOCKING in running or any(code.co_name in _ENDS for code in running)
            if not waits or (signum == number and now_s - (waits_since_s or now_s) > INSISTS_S):
                raise stop
        waits_since_s = waits_since_s or now_s
        if sys.platform != "win32":  # which has no such timer: there Ctrl-C is pressed again
            signal.signal(signal.SIGALRM, handle)
            signal.setitimer(signal.ITIMER_REAL, LOOK_AGAIN_S)

    if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
        signal.signal(number, handle)


def _running(frame: FrameType | None) -> set[CodeType]:
    """The functions that are being called."""
    running = set()
    while frame is not None:
        running.add(frame.f_code)
        frame = frame.f_back
    return running
