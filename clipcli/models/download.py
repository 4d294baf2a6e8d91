"""One file over HTTP, whole or not at all: a broken download resumes, wrong bytes are refused.

The bytes grow in `NAME.part` beside the destination. What is there is never trusted: the file
gets its own name only when the SHA-256 of all its bytes is the expected one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from clipcli.errors import DownloadError, one_line

_PAUSE_S = 0.25  # before the second attempt; doubles with every attempt that brings nothing
_CHUNK_BYTES = 1 << 20


class _BrokenOffError(Exception):
    """An attempt ended before the file did; another one may bring the rest."""


class _RefusedError(Exception):
    """Another attempt would bring the same answer."""


_FINAL = (_RefusedError, httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects)
# Without a network the run fails at once; a download that has begun waits and tries again.
_NO_NETWORK = (httpx.ConnectError, httpx.ProxyError, httpx.TimeoutException)


def download(
    url: str,
    sha256: str,
    destination: Path,
    on_progress: Callable[[int, int | None], None] | None = None,
    *,
    stall_timeout_s: float = 30.0,
    connect_timeout_s: float = 5.0,
    max_attempts: int = 3,
    max_bytes: int | None = None,
) -> None:
    """Write the file behind `url` to `destination`, through `destination` + `.part`.

    sha256: of the whole file, lower case hexadecimal. on_progress: called with the bytes so far
    and their total, or None where the server does not tell. stall_timeout_s: the longest wait for
    the next byte. max_attempts: how many attempts in a row may bring nothing new. max_bytes: a
    longer file is refused. Proxies are taken from the environment.
    Raises DownloadError; an interrupted download keeps its `.part`, and the next call resumes it.
    """
    try:
        timeout = httpx.Timeout(stall_timeout_s, connect=connect_timeout_s)
        client = httpx.Client(follow_redirects=True, timeout=timeout)
    except (httpx.InvalidURL, ValueError, ImportError, OSError) as error:
        # httpx reads HTTP_PROXY, ALL_PROXY and SSL_CERT_FILE here, and says what is wrong with them
        raise DownloadError(
            f"the environment's proxy or certificate settings do not work: {one_line(str(error))}"
        ) from error
    with client, _Part(destination.with_name(f"{destination.name}.part")) as part:
        furthest_bytes = part.n_bytes
        received = started_over = False
        n_failures = 0
        while part.sha256() != sha256:
            try:
                resumed = _attempt(client, url, part, on_progress, max_bytes)
                if (found := part.sha256()) != sha256:
                    part.restart()
                    # only a resumed file may be wrong because of the bytes it began with
                    if not resumed or started_over:
                        raise _RefusedError(f"found SHA-256 {found}, expected {sha256}")
                    started_over = True
            except (_BrokenOffError, _RefusedError, httpx.HTTPError, httpx.InvalidURL) as error:
                n_failures += 1
                # Only bytes past the furthest point count: a server that cannot resume and always
                # breaks off at the same place would otherwise be asked for ever.
                if part.n_bytes > furthest_bytes:
                    furthest_bytes, n_failures, received = part.n_bytes, 0, True
                is_final = isinstance(error, _FINAL) or n_failures >= max_attempts
                if is_final or (isinstance(error, _NO_NETWORK) and not received):
                    reason = one_line(str(error)) or type(error).__name__
                    raise DownloadError(
                        f"cannot download {url}: {reason}; "
                        f"try again later, or put the file at {destination} by hand"
                    ) from error
                time.sleep(_PAUSE_S * 2**n_failures)
        part.move_to(destination)


def reach(url: str, timeout_s: float) -> str | None:
    """Why the server of `url` does not answer, or None if it does, whatever its answer."""
    try:
        with httpx.Client(timeout=timeout_s) as client, client.stream("GET", url):
            return None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, ImportError, OSError) as error:
        return one_line(str(error)) or type(error).__name__


def _attempt(
    client: httpx.Client,
    url: str,
    part: _Part,
    on_progress: Callable[[int, int | None], None] | None,
    max_bytes: int | None,
) -> bool:
    """Append to `part` what one request brings; True if that resumed what was there.

    Returns when the server says that the file is at its end, whatever its bytes are.
    """
    # compressed bytes can be neither counted nor resumed
    headers = {"Accept-Encoding": "identity"}
    if part.n_bytes:
        headers["Range"] = f"bytes={part.n_bytes}-"
    with client.stream("GET", url, headers=headers) as response:
        status = response.status_code
        answer = f"the server answered {status} {response.reason_phrase}"
        if status == 206 and part.n_bytes:
            start, total_bytes = _content_range(response)
            if start != part.n_bytes:
                found, asked = response.headers.get("Content-Range"), headers["Range"]
                part.restart()
                raise _BrokenOffError(f"the server sent range {found}, asked for {asked}")
        elif status == 200:
            part.restart()  # the whole file, whether or not a range was asked for
            length = response.headers.get("Content-Length")
            total_bytes = int(length) if length else None
        elif status == 416 and part.n_bytes:
            part.restart()  # what is there is as long as the file, or longer, and is not the file
            raise _BrokenOffError(answer)
        elif status in (408, 429) or status >= 500:
            raise _BrokenOffError(answer)
        else:
            raise _RefusedError(answer)

        for chunk in response.iter_raw():
            n_bytes = max(part.n_bytes + len(chunk), total_bytes or 0)
            if max_bytes is not None and n_bytes > max_bytes:
                part.restart()
                raise _RefusedError(
                    f"found at least {n_bytes} bytes, expected no more than {max_bytes}"
                )
            part.append(chunk)
            if on_progress is not None:
                on_progress(part.n_bytes, total_bytes)
    if total_bytes is not None and part.n_bytes < total_bytes:
        raise _BrokenOffError(f"the server ended after {part.n_bytes} of {total_bytes} bytes")
    return status == 206


def _content_range(response: httpx.Response) -> tuple[int | None, int | None]:
    """First byte and total bytes of a partial answer, None where it does not tell them."""
    header = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]+/([0-9]{1,18}|\*)", header)
    if match is None:
        return None, None
    start, total = match.groups()
    return int(start), None if total == "*" else int(total)


class _Part:
    """The growing file and the SHA-256 of its bytes; it disappears if it is still empty."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hash = hashlib.sha256()
        self.n_bytes = 0
        with self._disk():
            self._file = open(path, "a+b")  # noqa: SIM115  # closed by __exit__
            # an empty file is not read: a device in its place may be endless
            if self._file.seek(0, os.SEEK_END):
                self._file.seek(0)
                while chunk := self._file.read(_CHUNK_BYTES):
                    self._count(chunk)

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):  # an error here would hide the one that is on its way
            self._file.close()
            if self.n_bytes == 0:
                self._path.unlink(missing_ok=True)

    def sha256(self) -> str:
        return self._hash.hexdigest()

    def append(self, chunk: bytes) -> None:
        with self._disk():
            self._file.write(chunk)
            self._file.flush()  # a killed process leaves all that it has counted
        self._count(chunk)

    def restart(self) -> None:
        if self.n_bytes == 0:
            return
        with self._disk():
            self._file.seek(0)
            self._file.truncate()
        self._hash = hashlib.sha256()
        self.n_bytes = 0

    def move_to(self, destination: Path) -> None:
        with self._disk():
            os.fsync(self._file.fileno())
            self._file.close()
            self._path.replace(destination)

    def _count(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.n_bytes += len(chunk)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                cure = "make room and start again, the download goes on from there"
            else:
                cure = "choose a cache folder that can be written"
            raise DownloadError(
                f"cannot write {self._path} after {self.n_bytes} bytes: {error.strerror}; {cure}"
            ) from error
