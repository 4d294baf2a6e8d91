"""Which files a piece of code opens."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_listeners: list[list[str]] = []


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _listeners and isinstance(arguments[0], str | os.PathLike):
        _listeners[-1].append(os.fspath(arguments[0]))


sys.addaudithook(_listen)  # Python's own record of what is opened; it cannot be taken away again


@contextmanager
def opened() -> Iterator[list[str]]:
    """The paths that are opened meanwhile, by any thread."""
    _listeners.append([])
    yield _listeners[-1]
    _listeners.pop()
