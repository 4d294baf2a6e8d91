"""Downloads from a real server that misbehaves, on real sockets and a real disk."""

from __future__ import annotations

import errno
import hashlib
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import repeat
from pathlib import Path

import pytest
from model_server import Behaviour, ModelServer, Request
from program import command, started

from clipcli.errors import DownloadError
from clipcli.models.on_disk.catalogue import find_published
from clipcli.models.on_disk.download import download, reach

PAYLOAD = random.Random(0).randbytes(204_800)
SHA256 = hashlib.sha256(PAYLOAD).hexdigest()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer({"/m.pt": PAYLOAD}) as server:
        yield server


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "m.pt"


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "m.pt.part"


def ranges(server: ModelServer) -> list[str | None]:
    return [request.range for request in server.requests]


def message(url: str, reason: str, destination: Path) -> str:
    return (
        f"cannot download {url}: {reason}; "
        f"try again later, or put the file at {destination} by hand"
    )


def assert_only_the_file_is_there(destination: Path) -> None:
    assert destination.read_bytes() == PAYLOAD
    assert list(destination.parent.iterdir()) == [destination]


def test_file_arrives_whole_under_its_own_name(server: ModelServer, destination: Path) -> None:
    steps: list[tuple[int, int | None]] = []
    download(f"{server.url}/m.pt", SHA256, destination, lambda *step: steps.append(step))
    assert_only_the_file_is_there(destination)
    assert steps[-1] == (204_800, 204_800)
    assert server.requests == [Request("/m.pt", None)]


def test_total_is_unknown_without_a_content_length(server: ModelServer, destination: Path) -> None:
    server.behaviour = [Behaviour(has_length=False)]
    steps: list[tuple[int, int | None]] = []
    download(f"{server.url}/m.pt", SHA256, destination, lambda *step: steps.append(step))
    assert_only_the_file_is_there(destination)
    assert steps[-1] == (204_800, None)


A_BYTE_NOW_AND_THEN = [b"a"] * 150
REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: /m.pt\r\n"


def as_range(content_range: str, body: bytes | None = None) -> Behaviour:
    """A 206, whether or not a range was asked for."""
    return Behaviour(status=206, body=body, headers=(("Content-Range", f"bytes {content_range}"),))


ARRIVALS: dict[str, tuple[bytes, list[Behaviour], list[str | None]]] = {
    # what happens: (bytes in the .part before, the server's behaviours, the ranges asked for)
    "breaking off twice resumes twice": (
        b"",
        [Behaviour(break_after=50_000), Behaviour(break_after=70_000)],
        [None, "bytes=50000-", "bytes=120000-"],
    ),
    "stall and then silence are outlasted": (
        b"",
        [Behaviour(hold_after=50_000), Behaviour(hold_after=0)],
        [None, "bytes=50000-", "bytes=50000-"],
    ),
    "redirect is followed": (b"", [Behaviour(redirect="/m.pt")], [None, None]),
    "body of a redirect never ends": (
        b"",
        [Behaviour(raw=[REDIRECT + b"Content-Length: 9999\r\n\r\n", *A_BYTE_NOW_AND_THEN])],
        [None, None],
    ),
    "whole file is sent as a range": (b"", [as_range("0-204799/204800")], [None]),
    "whole file is sent as a range of less": (b"", [as_range("0-204799/9")], [None]),
    "whole file is sent as a range of more": (b"", [as_range("0-204799/999999")], [None]),
    "half the file is sent as a range": (
        b"",
        [as_range("0-9998/204800", PAYLOAD[:9_999])],
        [None, "bytes=9999-"],
    ),
    "range of another total is sent": (
        PAYLOAD[:1234],
        [Behaviour(headers=(("Content-Range", "bytes 1234-204799/1235"),))],
        ["bytes=1234-"],
    ),
    "file is shorter than its part": (
        PAYLOAD + b"+",
        [Behaviour(status=416)],
        ["bytes=204801-", None],
    ),
    "half the body is sent": (b"", [Behaviour(extra_length=10, break_after=9)], [None, "bytes=9-"]),
    "content length is no number": (
        b"",
        [Behaviour(headers=(("Content-Length", "abc"),))],
        [None, None],
    ),
    "part of an earlier process is resumed": (PAYLOAD[:1234], [], ["bytes=1234-"]),
    "complete part needs no request": (PAYLOAD, [], []),
    "part longer than the file is started over": (PAYLOAD + b"+", [], ["bytes=204801-", None]),
    "part with other bytes is started over": (b"other bytes", [], ["bytes=11-", None]),
    "all is sent though a range was asked for": (
        PAYLOAD[:1234],
        [Behaviour(ignores_range=True)],
        ["bytes=1234-"],
    ),
    "another range is not appended": (
        PAYLOAD[:1234],
        [Behaviour(range_shift=1)],
        ["bytes=1234-", None],
    ),
    "range shorter than asked for is continued": (
        PAYLOAD[:1234],
        [Behaviour(range_length=10_000)],
        ["bytes=1234-", "bytes=11234-"],
    ),
    "content length too large is survived": (b"", [Behaviour(extra_length=10)], [None]),
    "too many requests are repeated": (b"", [Behaviour(status=429)], [None, None]),
    "failing server is asked again": (b"", [Behaviour(status=500)], [None, None]),
    "busy server is asked again": (
        PAYLOAD[:1234],
        [Behaviour(status=503), Behaviour(status=503)],
        ["bytes=1234-"] * 3,
    ),
}


@pytest.mark.parametrize("case", ARRIVALS)
def test_file_arrives_although(
    server: ModelServer, destination: Path, part: Path, case: str
) -> None:
    before, server.behaviour, asked = ARRIVALS[case]
    if before:
        part.write_bytes(before)
    download(f"{server.url}/m.pt", SHA256, destination, stall_timeout_s=0.6, pause_s=0.01)
    assert_only_the_file_is_there(destination)
    assert ranges(server) == asked


REFUSALS = {
    # what happens: (the server's behaviour, the reason told, the number of requests)
    "wrong bytes": (
        Behaviour(body=b"not a model"),
        f"found SHA-256 {hashlib.sha256(b'not a model').hexdigest()}, expected {SHA256}",
        1,
    ),
    "content length too small": (
        Behaviour(extra_length=-10),
        f"found SHA-256 {hashlib.sha256(PAYLOAD[:-10]).hexdigest()}, expected {SHA256}",
        1,
    ),
    "too long": (
        Behaviour(extra_length=204_801),
        "found at least 409601 bytes, expected no more than 409600",
        1,
    ),
    "not found": (Behaviour(status=404), "the server answered 404 Not Found", 1),
    "busy": (Behaviour(status=503), "the server answered 503 Service Unavailable", 3),
    "silent": (
        Behaviour(hold_after=0),
        "timed out: 0 bytes in 0.6 s, expected at least 65,536",
        1,
    ),
    "range that was not asked for": (
        as_range("5-204799/204800", PAYLOAD[5:]),
        "the server answered 206 Partial Content",
        1,
    ),
    "negative content length": (
        Behaviour(headers=(("Content-Length", "-5"),)),
        "bad Content-Length",
        3,
    ),
    "compressed": (
        Behaviour(body=b"small", headers=(("Content-Encoding", "gzip"),)),
        (
            f"found SHA-256 {hashlib.sha256(b'small').hexdigest()}, expected {SHA256}; "
            "the server sent Content-Encoding gzip"
        ),
        1,
    ),
    "words without end": (
        Behaviour(raw=[b"HTTP/1.1 404 " + b"no " * 5_000 + b"\r\n\r\n"]),
        f"the server answered 404 {'no ' * 5_000}"[:400],
        1,
    ),
    "host that cannot be": (
        Behaviour(redirect="http://a..b/"),
        "encoding with 'idna' codec failed (UnicodeError: label empty or too long)",
        1,
    ),
    "circle": (Behaviour(redirect="/m.pt"), "Exceeded maximum allowed redirects.", 21),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusal_is_one_line_and_leaves_nothing(
    server: ModelServer, destination: Path, case: str
) -> None:
    behaviour, reason, n_requests = REFUSALS[case]
    server.behaviour = repeat(behaviour)
    url = f"{server.url}/m.pt"
    with pytest.raises(DownloadError) as caught:
        download(url, SHA256, destination, stall_timeout_s=0.6, pause_s=0.01, max_bytes=409_600)
    assert str(caught.value) == message(url, reason, destination)
    assert len(server.requests) == n_requests
    assert list(destination.parent.iterdir()) == []


def test_wrong_bytes_after_a_resumed_part_are_refused_after_one_fresh_start(
    server: ModelServer, destination: Path, part: Path
) -> None:
    part.write_bytes(PAYLOAD[:5])
    wrong = Behaviour(body=b"not a model")
    server.behaviour = [wrong, Behaviour(body=b"not a model", break_after=7), wrong]
    with pytest.raises(DownloadError, match="found SHA-256"):
        download(f"{server.url}/m.pt", SHA256, destination)
    assert list(destination.parent.iterdir()) == []
    assert ranges(server) == ["bytes=5-", None, "bytes=7-"]


def test_server_that_cannot_resume_and_always_breaks_off_is_given_up(
    server: ModelServer, destination: Path, part: Path
) -> None:
    server.behaviour = repeat(Behaviour(ignores_range=True, break_after=5000))
    with pytest.raises(DownloadError, match="5000 bytes"):
        download(
            f"{server.url}/m.pt", SHA256, destination, max_attempts=2, min_bytes=5000, pause_s=0.01
        )
    assert ranges(server) == [None, "bytes=5000-", "bytes=5000-"]
    assert part.read_bytes() == PAYLOAD[:5000]


OK = b"HTTP/1.1 200 OK\r\n"
STALLS = {
    # what happens: (the pieces that are sent, the bytes of the file among them)
    "within a header": ([OK + b"X: "], 0),
    "within a header, byte by byte": ([OK + b"X: ", *A_BYTE_NOW_AND_THEN], 0),
    "before the answer": ([b"HTTP/1.1 103 Early Hints\r\n\r\n"] * 150, 0),
    "in redirects": ([b""] * 5 + [REDIRECT + b"\r\n"], 0),
    "in the size of a chunk": (
        [OK + b"Transfer-Encoding: chunked\r\n\r\n9;", *A_BYTE_NOW_AND_THEN],
        0,
    ),
    "after the last chunk": (
        [OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: ", *A_BYTE_NOW_AND_THEN],
        3,
    ),
    "without a length": ([OK + b"\r\nabc", *[b""] * 150], 3),
}


@pytest.mark.parametrize("case", STALLS)
def test_stalled_attempt_is_broken_off(
    server: ModelServer, destination: Path, part: Path, case: str
) -> None:
    pieces, n_bytes = STALLS[case]
    server.behaviour = repeat(Behaviour(raw=[*pieces, *[b""] * 150]))
    with pytest.raises(DownloadError) as caught:
        download(f"{server.url}/m.pt", SHA256, destination, stall_timeout_s=0.3, max_attempts=1)
    reason = f"timed out: {n_bytes} bytes in 0.3 s, expected at least 65,536"
    assert str(caught.value) == message(f"{server.url}/m.pt", reason, destination)
    assert part.exists() == (n_bytes > 0)


def test_trickle_ends_and_each_pause_is_told(
    server: ModelServer, destination: Path, part: Path, notes: list[str]
) -> None:
    trickle = [OK + b"Content-Length: 204800\r\n\r\n", *A_BYTE_NOW_AND_THEN]
    server.behaviour = repeat(Behaviour(raw=trickle))
    stalled = r"timed out: \d+ bytes in 0\.2 s, expected at least 65,536"
    with pytest.raises(DownloadError, match=stalled):
        download(f"{server.url}/m.pt", SHA256, destination, stall_timeout_s=0.2, pause_s=0.01)
    assert len(server.requests) == 3
    first, second = notes
    assert re.fullmatch(rf"downloading m\.pt: {stalled}; trying again in 0\.02 s", first)
    assert re.fullmatch(rf"downloading m\.pt: {stalled}; trying again in 0\.04 s", second)
    assert 0 < part.stat().st_size < 150


def test_slow_line_finishes_in_one_attempt(server: ModelServer, destination: Path) -> None:
    """It takes more than stall_timeout_s, but brings enough in it."""
    pieces = [PAYLOAD[start : start + 4_096] for start in range(0, 204_800, 4_096)]
    server.behaviour = [Behaviour(raw=[OK + b"Content-Length: 204800\r\n\r\n", *pieces])]
    start_s = time.monotonic()
    download(f"{server.url}/m.pt", SHA256, destination, stall_timeout_s=0.5, min_bytes=4_096)
    assert time.monotonic() - start_s > 0.5
    assert_only_the_file_is_there(destination)
    assert len(server.requests) == 1


def test_server_that_always_breaks_off_is_asked_again_as_long_as_it_brings_enough(
    server: ModelServer, destination: Path
) -> None:
    server.behaviour = repeat(Behaviour(break_after=70_000))
    download(f"{server.url}/m.pt", SHA256, destination, max_attempts=1, pause_s=0.01)
    assert_only_the_file_is_there(destination)
    assert ranges(server) == [None, "bytes=70000-", "bytes=140000-"]


def test_server_that_breaks_off_after_a_few_new_bytes_is_given_up(
    server: ModelServer, destination: Path, part: Path
) -> None:
    server.behaviour = repeat(Behaviour(break_after=100))
    with pytest.raises(DownloadError, match="100 bytes"):
        download(f"{server.url}/m.pt", SHA256, destination, max_attempts=2, pause_s=0.01)
    assert ranges(server) == [None, "bytes=100-"]
    assert part.read_bytes() == PAYLOAD[:200]


def test_answer_that_trickles_is_no_answer(server: ModelServer) -> None:
    server.behaviour = [Behaviour(raw=[OK + b"X: ", *A_BYTE_NOW_AND_THEN])]
    assert reach(f"{server.url}/m.pt", 0.3) == "no answer within 0.3 s"


def test_ctrl_c_in_a_pause_ends_the_command_and_the_part_stays(
    server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = find_published("ViT-B/32")
    assert model is not None
    monkeypatch.setenv("CLIPCLI_MODEL_URL", server.url)
    server.files = {f"/{model.sha256}/{model.file_name}": PAYLOAD}
    server.behaviour = [Behaviour(break_after=100), *[Behaviour(status=503)] * 5]
    arguments = ("models", "download", "ViT-B/32", "--cache-dir", tmp_path)
    with started(command(*arguments)) as child:
        assert child.stderr is not None
        while (line := child.stderr.readline()) and not line.endswith("again in 1 s\n"):
            pass
        assert line == (
            "clipcli: downloading ViT-B-32.pt: the server answered 503 Service Unavailable;"
            " trying again in 1 s\n"
        )
        child.send_signal(signal.SIGINT)
        assert child.stderr.read() == "clipcli: interrupted\n"
        assert child.wait() == 130
    assert (tmp_path / "models" / "ViT-B-32.pt.part").read_bytes() == PAYLOAD[:100]
    assert len(server.requests) == 2


def test_endless_body_is_refused(server: ModelServer, destination: Path) -> None:
    server.behaviour = [Behaviour(has_length=False, endless=True)]
    with pytest.raises(DownloadError, match=r"found at least \d+ bytes, expected no more than"):
        download(f"{server.url}/m.pt", SHA256, destination, max_bytes=409_600)
    assert list(destination.parent.iterdir()) == []


def test_refused_connection_is_told_at_once(destination: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/m.pt"
        start_s = time.monotonic()
        with pytest.raises(DownloadError) as caught:
            download(url, SHA256, destination)
        assert time.monotonic() - start_s < 2
    reason = f"[Errno {errno.ECONNREFUSED}] Connection refused"
    assert str(caught.value) == message(url, reason, destination)
    assert list(destination.parent.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="how Linux treats a full queue")
def test_connection_that_is_never_made_is_given_up_in_time(destination: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as clients:
        address = listener.getsockname()
        for _ in range(4):  # fills the queue; what comes next gets no answer at all
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(address)
        url = f"http://127.0.0.1:{address[1]}/m.pt"
        start_s = time.monotonic()
        with pytest.raises(DownloadError) as caught:
            download(url, SHA256, destination, connect_timeout_s=0.3)
        assert time.monotonic() - start_s < 2
    assert str(caught.value) == message(url, "timed out", destination)


def test_url_without_a_scheme_is_refused(destination: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        download("models/m.pt", SHA256, destination)
    reason = "Request URL is missing an 'http://' or 'https://' protocol."
    assert str(caught.value) == message("models/m.pt", reason, destination)


def test_proxy_of_the_environment_is_used(
    server: ModelServer, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    download("http://models.invalid/m.pt", SHA256, destination)
    assert_only_the_file_is_there(destination)
    assert server.requests == [Request("http://models.invalid/m.pt", None)]


def test_proxy_that_cannot_work_is_named(
    destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "gopher://127.0.0.1:70")
    with pytest.raises(DownloadError) as caught:
        download("http://models.invalid/m.pt", SHA256, destination)
    assert str(caught.value).startswith(
        "the environment's proxy or certificate settings do not work: "
    )
    assert "gopher" in str(caught.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_full_disk_is_told(server: ModelServer, destination: Path, part: Path) -> None:
    part.symlink_to("/dev/full")
    with pytest.raises(DownloadError) as caught:
        download(f"{server.url}/m.pt", SHA256, destination)
    assert str(caught.value) == (
        f"cannot write {part} after 0 bytes: No space left on device; "
        "make room and start again, the download goes on from there"
    )


def test_folder_that_is_not_there_is_named(server: ModelServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        download(f"{server.url}/m.pt", SHA256, tmp_path / "none" / "m.pt")
    assert str(caught.value) == (
        f"cannot write {tmp_path}/none/m.pt.part after 0 bytes: No such file or directory; "
        "choose a cache folder that can be written"
    )


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_process_leaves_a_part_that_is_resumed(
    server: ModelServer, destination: Path, part: Path, signal_number: signal.Signals
) -> None:
    server.behaviour = [Behaviour(hold_after=1_000)]
    program = (
        "import sys; from pathlib import Path\n"
        "from clipcli.models.on_disk.download import download\n"
        "show = lambda n_bytes, total: print(n_bytes, flush=True)\n"
        "download(sys.argv[1], sys.argv[2], Path(sys.argv[3]), show)\n"
    )
    arguments = [sys.executable, "-c", program, f"{server.url}/m.pt", SHA256, str(destination)]
    with started(arguments, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        while child.stdout.readline() != "1000\n":
            assert child.poll() is None
        child.send_signal(signal_number)
        child.communicate(timeout=60)
    assert part.read_bytes() == PAYLOAD[:1_000]
    assert not destination.exists()

    download(f"{server.url}/m.pt", SHA256, destination)
    assert_only_the_file_is_there(destination)
    assert ranges(server) == [None, "bytes=1000-"]
