"""An end to waiting for a server that answers too slowly to be of use."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Any, Self

import httpx


class StallWatch:
    """Cuts the connections made in a `with` block once `timeout_s` seconds bring too little.

    Too little is less than `min_bytes` of what `count` is told. httpx alone bounds the wait for
    one byte, also one of a header or of an answer 1xx: a byte now and then would hold it for ever.
    Connections are seen that get `trace` as a request's extension, each used for one request.
    Raises httpx.ReadTimeout at the end of a block that was cut.
    """

    def __init__(self, timeout_s: float, min_bytes: int = 1) -> None:
        self._timeout_s = timeout_s
        self._min_bytes = min_bytes
        self._n_bytes = 0  # since the last `min_bytes` were complete
        self._stalled_at_s = time.monotonic() + timeout_s
        self._sockets: list[socket.socket] = []
        self._is_cut = False
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._is_over.set()
        self._thread.join()
        for connection in self._sockets:
            connection.close()
        if self._is_cut and (error is None or isinstance(error, httpx.HTTPError)):
            raise httpx.ReadTimeout(
                f"timed out: {self._n_bytes:,} bytes in {self._timeout_s:g} s,"
                f" expected at least {self._min_bytes:,}"
            ) from error

    def count(self, n_bytes: int) -> None:
        """So many more bytes of what is waited for have come."""
        self._n_bytes += n_bytes
        if self._n_bytes >= self._min_bytes:
            self._n_bytes = 0
            self._stalled_at_s = time.monotonic() + self._timeout_s

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Of httpx, which calls it at each step of a request."""
        if event.endswith(".connect_tcp.complete"):
            with self._lock:
                # TLS takes the first one over; a copy of it cuts both
                self._sockets.append(info["return_value"].get_extra_info("socket").dup())
                if self._is_cut:
                    _cut(self._sockets[-1])

    def _watch(self) -> None:
        while (left_s := self._stalled_at_s - time.monotonic()) > 0:
            if self._is_over.wait(left_s):
                return
        with self._lock:
            self._is_cut = True
            for connection in self._sockets:
                _cut(connection)


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):  # the server was faster
        connection.shutdown(socket.SHUT_RDWR)
