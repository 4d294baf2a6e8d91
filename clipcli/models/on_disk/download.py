"""One file over HTTP, whole or not at all: a broken download resumes, wrong bytes are refused.

The bytes grow in `NAME.part` beside the destination. What is there is never trusted: the file
gets its own name only when the SHA-256 of all its bytes is the expected one.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx

from clipcli.errors import DownloadError, one_line
from clipcli.models.on_disk.stall_watch import StallWatch

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
_MAX_REASON = 400  # characters: a server's own words may be long


class _BrokenOffError(Exception):
    """An attempt ended before the file did; another one may bring the rest."""


class _RefusedError(Exception):
    """Another attempt would bring the same answer."""


# UnicodeError: a host, maybe of a redirect, that cannot be a name
_NO_URL = (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError)
_FINAL = (_RefusedError, httpx.TooManyRedirects, *_NO_URL)
_ERRORS = (_BrokenOffError, _RefusedError, httpx.HTTPError, *_NO_URL)
# Without a network the run fails at once; a download that has begun waits and tries again.
_NO_NETWORK = (httpx.ConnectError, httpx.ProxyError, httpx.TimeoutException)


def download(
    url: str,
    sha256: str,
    destination: Path,
    on_progress: Callable[[int, int | None], None] | None = None,
    *,
    stall_timeout_s: float = 30.0,
    min_bytes: int = 1 << 16,
    connect_timeout_s: float = 5.0,
    max_attempts: int = 3,
    pause_s: float = 0.25,
    max_bytes: int | None = None,
) -> None:
    """Write the file behind `url` to `destination`, through `destination` + `.part`.

    sha256: of the whole file, lower case hexadecimal. on_progress: called with the bytes so far
    and their total, or None where the server does not tell. stall_timeout_s, min_bytes: an attempt
    is broken off when so many seconds bring fewer bytes. max_attempts: the download is given up
    when so many attempts in a row bring fewer new bytes, so after max_attempts * stall_timeout_s
    and the pauses. pause_s: before the next attempt; doubles with each that brings too little.
    max_bytes: a longer file is refused. Proxies are taken from the environment.
    Raises DownloadError; an interrupted download keeps its `.part`, and the next call resumes it.
    """
    with (
        _client(stall_timeout_s, connect_timeout_s) as client,
        _Part(destination.with_name(f"{destination.name}.part")) as part,
    ):
        credited_bytes = part.n_bytes
        received = started_over = False
        n_failures = 0
        while part.sha256() != sha256:
            try:
                with StallWatch(stall_timeout_s, min_bytes) as watch:
                    resumed, encoding = _attempt(client, watch, url, part, on_progress, max_bytes)
                if (found := part.sha256()) != sha256:
                    part.restart()
                    wrong = f"found SHA-256 {found}, expected {sha256}{encoding}"
                    # only a resumed file may be wrong because of the bytes it began with
                    if not resumed or started_over:
                        raise _RefusedError(wrong)
                    started_over = True
                    logger.info(f"downloading {destination.name}: {wrong}; starting over")
            except _ERRORS as error:
                if part.sha256() == sha256:
                    break  # whatever the server says of a file that is whole
                n_failures += 1
                received = received or part.n_bytes > credited_bytes
                # Only bytes past the furthest point count: a server that cannot resume and always
                # breaks off at the same place would otherwise be asked for ever.
                if part.n_bytes >= credited_bytes + min_bytes:
                    credited_bytes, n_failures = part.n_bytes, 0
                reason = _reason(error)
                is_final = isinstance(error, _FINAL) or n_failures >= max_attempts
                if is_final or (isinstance(error, _NO_NETWORK) and not received):
                    raise DownloadError(
                        f"cannot download {url}: {reason}; "
                        f"try again later, or put the file at {destination} by hand"
                    ) from error
                wait_s = pause_s * 2**n_failures
                logger.info(
                    f"downloading {destination.name}: {reason}; trying again in {wait_s:g} s"
                )
                time.sleep(wait_s)
        part.move_to(destination)


def reach(url: str, timeout_s: float) -> str | None:
    """Why the server of `url` does not answer in time, or None if it does, whatever its answer."""
    try:
        with (
            _client(timeout_s, timeout_s) as client,
            StallWatch(timeout_s) as watch,
            client.stream("GET", url, extensions={"trace": watch.trace}),
        ):
            return None
    except httpx.TimeoutException:
        return f"no answer within {timeout_s:g} s"
    except (*_ERRORS, DownloadError) as error:
        return _reason(error)


def _client(timeout_s: float, connect_timeout_s: float) -> httpx.Client:
    try:
        timeout = httpx.Timeout(timeout_s, connect=connect_timeout_s)
        # a connection serves one request, as StallWatch asks for
        return httpx.Client(timeout=timeout, limits=httpx.Limits(max_keepalive_connections=0))
    except (httpx.InvalidURL, ValueError, ImportError, OSError) as error:
        # httpx reads HTTP_PROXY, ALL_PROXY and SSL_CERT_FILE here, and says what is wrong with them
        raise DownloadError(
            f"the environment's proxy or certificate settings do not work: {one_line(str(error))}"
        ) from error


def _reason(error: Exception) -> str:
    return one_line(str(error))[:_MAX_REASON] or type(error).__name__


def _attempt(
    client: httpx.Client,
    watch: StallWatch,
    url: str,
    part: _Part,
    on_progress: Callable[[int, int | None], None] | None,
    max_bytes: int | None,
) -> tuple[bool, str]:
    """Append to `part` what one request brings.

    Returns when the server says that the file is at its end, whatever its bytes are: whether it
    resumed what was there, and a word on bytes that came compressed.
    """
    # compressed bytes can be neither counted nor resumed
    headers = {"Accept-Encoding": "identity"}
    n_bytes_before = part.n_bytes
    if n_bytes_before:
        headers["Range"] = f"bytes={n_bytes_before}-"
    extensions = {"trace": watch.trace}
    request = client.build_request("GET", url, headers=headers, extensions=extensions)
    with _answer(client, request) as response:
        total_bytes = _begin(response, part)
        for chunk in response.iter_raw():
            n_bytes = max(part.n_bytes + len(chunk), total_bytes or 0)
            if max_bytes is not None and n_bytes > max_bytes:
                part.restart()
                raise _RefusedError(
                    f"found at least {n_bytes} bytes, expected no more than {max_bytes}"
                )
            part.append(chunk)
            watch.count(len(chunk))
            if on_progress is not None:
                on_progress(part.n_bytes, total_bytes)
    if total_bytes is not None and part.n_bytes < total_bytes:
        raise _BrokenOffError(f"the server ended after {part.n_bytes} of {total_bytes} bytes")
    encoding = response.headers.get("Content-Encoding", "identity")
    word = f"; the server sent Content-Encoding {encoding}" if encoding != "identity" else ""
    return response.status_code == 206 and n_bytes_before > 0, word


@contextmanager
def _answer(client: httpx.Client, request: httpx.Request) -> Iterator[httpx.Response]:
    """The answer at the end of all redirects, whose own bodies may be endless and are not read."""
    for _ in range(client.max_redirects + 1):
        with closing(client.send(request, stream=True)) as response:
            if response.next_request is None:
                yield response
                return
            request = response.next_request
    raise httpx.TooManyRedirects("Exceeded maximum allowed redirects.", request=request)


def _begin(response: httpx.Response, part: _Part) -> int | None:
    """Make `part` ready for the body: the total bytes of the file, None where they are not told."""
    status = response.status_code
    answer = f"the server answered {status} {response.reason_phrase}"
    if status == 200:
        part.restart()  # the whole file, whether or not a range was asked for
        length = response.headers.get("Content-Length")  # h11 has refused all but digits
        return int(length) if length else None
    if status == 206:
        start, total_bytes = _content_range(response)
        if start == part.n_bytes:  # also the whole file, when no range was asked for
            return total_bytes
        if part.n_bytes:
            found, asked = response.headers.get("Content-Range"), f"bytes={part.n_bytes}-"
            part.restart()
            raise _BrokenOffError(f"the server sent range {found}, asked for {asked}")
    if status == 416 and part.n_bytes:
        part.restart()  # what is there is as long as the file, or longer, and is not the file
        raise _BrokenOffError(answer)
    if status in (408, 429) or status >= 500:
        raise _BrokenOffError(answer)
    raise _RefusedError(answer)


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
