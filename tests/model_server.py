"""A web server in a thread that serves files, and misbehaves for as many requests as told."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

PIECES_S = 0.02  # between the pieces of `Behaviour.raw`


@dataclass(frozen=True)
class Behaviour:
    """How one request is answered; without arguments, as it should be.

    status: this one and no file, but with 206 the file. redirect: to this URL. body: these bytes
    instead of the file's. extra_length: added to the true Content-Length. has_length: False leaves
    it out. ignores_range: the whole file is sent, whatever was asked. range_shift: another range
    is sent, so many bytes later. range_length: at most so many bytes of the range are sent.
    break_after: the connection ends after so many bytes. hold_after: nothing more is sent after so
    many bytes until `ModelServer.release` is set. endless: the bytes are sent again and again.
    headers: sent besides the usual ones, or in place of them. raw: these pieces and nothing else,
    heads and all, one each PIECES_S seconds.
    """

    status: int | None = None
    redirect: str | None = None
    body: bytes | None = None
    extra_length: int = 0
    has_length: bool = True
    ignores_range: bool = False
    range_shift: int = 0
    range_length: int | None = None
    break_after: int | None = None
    hold_after: int | None = None
    endless: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    raw: Sequence[bytes] | None = None


@dataclass(frozen=True)
class Request:
    """What was asked: the target as it was sent, and the Range header."""

    target: str
    range: str | None


class ModelServer:
    """Serves `files` (path, with its leading slash, to bytes) on 127.0.0.1 at `url`.

    `behaviour` is consumed, one for each request; after them the server behaves. `requests` lists
    what was asked. A proxy's requests, which name a host too, are answered like others.
    """

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = {} if files is None else files
        self.requests: list[Request] = []
        self.release = threading.Event()
        self._lock = threading.Lock()
        self._behaviour: Iterator[Behaviour] = iter(())
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"model": self}))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def behaviour(self) -> Iterator[Behaviour]:
        return self._behaviour

    @behaviour.setter
    def behaviour(self, behaviours: Iterable[Behaviour]) -> None:
        self._behaviour = iter(behaviours)

    def record(self, request: Request) -> Behaviour:
        with self._lock:
            self.requests.append(request)
            return next(self._behaviour, Behaviour())

    def __enter__(self) -> ModelServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()  # joins the threads of the requests


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        # clients hang up while they are being answered: that is what the tests are about
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: ModelServer

    def do_GET(self) -> None:
        self.close_connection = True
        asked_range = self.headers.get("Range")
        behaviour = self.model.record(Request(self.path, asked_range))
        if behaviour.raw is not None:
            for piece in behaviour.raw:
                self.wfile.write(piece)
                if self.model.release.wait(PIECES_S):
                    break
            return
        if behaviour.redirect is not None:
            self._head(302, 0, {"Location": behaviour.redirect})
            return
        whole = self.model.files.get(urlsplit(self.path).path)
        if whole is None or behaviour.status not in (None, 206):
            self._head(behaviour.status or 404, 0)
            return
        if behaviour.body is not None:
            whole = behaviour.body

        status, body, headers = 200, whole, {}
        if asked_range is not None and not behaviour.ignores_range:
            match = re.fullmatch(r"bytes=(\d+)-", asked_range)
            assert match is not None
            start = int(match[1])
            if start >= len(whole):
                self._head(416, 0, {"Content-Range": f"bytes */{len(whole)}"})
                return
            start += behaviour.range_shift
            end = len(whole)
            if behaviour.range_length is not None:
                end = min(end, start + behaviour.range_length)
            status, body = 206, whole[start:end]
            headers = {"Content-Range": f"bytes {start}-{end - 1}/{len(whole)}"}
        length = len(body) + behaviour.extra_length if behaviour.has_length else None
        self._head(behaviour.status or status, length, headers | dict(behaviour.headers))
        self._send(body, behaviour)

    def _head(self, status: int, length: int | None, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Connection", "close")
        lengths = {} if length is None else {"Content-Length": str(length)}
        for name, value in (lengths | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, body: bytes, behaviour: Behaviour) -> None:
        if behaviour.break_after is not None:
            body = body[: behaviour.break_after]
        if behaviour.hold_after is not None:
            self.wfile.write(body[: behaviour.hold_after])
            self.model.release.wait()
            body = body[behaviour.hold_after :]
        self.wfile.write(body)
        while behaviour.endless and not self.model.release.is_set():
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: pytest shows stderr, and the tests read `requests`."""
