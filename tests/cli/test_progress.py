"""Talk while the work goes on: bars at a terminal, plain lines where it is dumb."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_server import ModelServer
from pictures import noise, save
from PIL import Image
from program import command, started
from safetensors.torch import save_file

from clipcli.cli.work.pace import Pace, time_left
from clipcli.models.on_disk import catalogue
from clipcli.network.clip import CLIP
from clipcli.network.config import (
    ClipConfig,
    TextConfig,
    TransformerConfig,
    VisionTransformerConfig,
)

N_COLUMNS = 80
STYLE = re.compile(r"\x1b\[\?25[hl]|\x1b\[[0-9;]*m")  # Rich hides the cursor, and colours
ERASED = re.compile(r"[^\n]*(\n\r\x1b\[1A|\r)\x1b\[2K")  # this line, or the one above
RUNS = """
import fcntl, json, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C comes as a signal
from clipcli.cli.main import run
from clipcli.cli.work import progress
progress.SECONDS_BETWEEN_LINES = 0.0
for line in open(int(sys.argv[1])):
    code = run(json.loads(line))
    sys.stdout.write(f"{code}\\x1e")
    sys.stdout.flush()
os._exit(0)  # as the program does; torch takes a second to be taken apart
"""
OPENING = "loading lite"
CURSOR_SHOWN, CURSOR_HIDDEN = "\x1b[?25h", "\x1b[?25l"


class Terminal:
    """A real pseudo-terminal of 80 by 24, and a process on it that runs one command line after
    another, with lines of progress as often as there is any."""

    def __init__(self, term: str, **environment: str) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, N_COLUMNS))
        to_read, to_write = os.pipe()
        # in the background of a script SIGINT is ignored, and children inherit that
        script = f"import signal; signal.signal(2, signal.default_int_handler)\n{RUNS}"
        self._process = subprocess.Popen(
            [sys.executable, "-c", script, str(to_read)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            pass_fds=[to_read],
            env=os.environ | {"TERM": term} | environment,
            start_new_session=True,
        )
        os.close(slave)
        os.close(to_read)
        self._runs = os.fdopen(to_write, "w")

    def begin(self, *arguments: object) -> None:
        self._runs.write(json.dumps([str(argument) for argument in arguments]) + "\n")
        self._runs.flush()

    def until(self, end: str) -> str:
        """All that comes to the terminal up to these characters."""
        printed = b""
        while end.encode() not in printed:
            assert select.select([self._master], [], [], 60)[0], printed
            printed += os.read(self._master, 1 << 16)
        return printed.decode(errors="replace").replace("\r\n", "\n")

    def run(self, *arguments: object) -> str:
        """All that came to the terminal, with the exit code at its end."""
        self.begin(*arguments)
        return self.until("\x1e").removesuffix("\x1e")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def close(self) -> None:
        self._runs.close()
        assert self._process.wait(60) == 0
        os.close(self._master)


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    terminal = Terminal("xterm-256color", CLIPCLI_CACHE=str(tmp_path_factory.mktemp("cache")))
    yield terminal
    terminal.close()


@pytest.fixture(scope="module")
def dumb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A terminal that cannot move its cursor; all there is to download is no model."""
    cache = str(tmp_path_factory.mktemp("cache"))
    rn50 = catalogue.find_published("RN50")
    assert rn50 is not None
    with ModelServer({f"/{rn50.sha256}/RN50.pt": b"no model" * 100_000}) as server:
        terminal = Terminal("dumb", CLIPCLI_CACHE=cache, CLIPCLI_MODEL_URL=server.url)
        yield terminal
        terminal.close()


def stays(printed: str) -> str:
    """What is left on the screen when Rich has erased what it drew."""
    return ERASED.sub("", STYLE.sub("", printed))


def waiting_on(terminal: int, seconds: float) -> str:
    """What comes to a terminal in this time, and what has come."""
    printed = b""
    end_s = time.monotonic() + seconds
    while select.select([terminal], [], [], max(0.0, end_s - time.monotonic()))[0]:
        try:
            printed += os.read(terminal, 1 << 16)
        except OSError:  # the last process on it has ended
            break
    return printed.decode(errors="replace").replace("\r\n", "\n")


def n_bytes_unread(pipe: int) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory, example_photos: Path) -> Path:
    """Two labels, ten pictures each."""
    top = tmp_path_factory.mktemp("labelled")
    for label in ("cat", "rocket"):
        (top / label).mkdir()
        with Image.open(example_photos / f"{label}.jpg") as photo:
            for number in range(10):
                save(top / label / f"{number}.png", photo.resize((90, 80 + number)))
    return top


@pytest.fixture(scope="module")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "small_clip.safetensors"
    transformer = TransformerConfig(64, 2, 1, 128)
    config = ClipConfig(
        32, VisionTransformerConfig(32, 8, transformer), TextConfig(16, 49_408, transformer)
    )
    save_file(CLIP(config).initialize_parameters().state_dict(), path)
    return path


def test_a_terminal_is_told_that_a_model_is_loaded_and_sees_nothing_of_it_afterwards(
    terminal: Terminal, labelled: Path, tmp_path: Path
) -> None:
    photo = labelled / "cat" / "1.png"
    classify = ("classify", photo, "--labels", "dog,cat")
    for line in (  # with photographs or texts that the cache does not know yet
        classify,
        ("embed", labelled, "-o", tmp_path / "some.npy"),
        ("similar", "a zebra", photo),
        ("eval", labelled, "--template", "one {}"),
        ("calibrate", labelled, "-o", tmp_path / "it.json", "--template", "this {}"),
        ("probe", "fit", labelled, "-o", tmp_path / "it.probe", "--template", "that {}"),
        ("prompts", "choose", labelled),
    ):
        printed = terminal.run(*line, "--model", "lite")
        assert printed.endswith("0"), printed
        assert OPENING in printed, line
        assert OPENING not in stays(printed), line
    known = terminal.run(*classify, "--model", "lite")
    assert "loading" not in known
    assert stays(known).count("all known from before") == 1
    hushed = terminal.run("embed", "--text", "a yak", "--model", "lite", "--format", "jsonl", "-q")
    assert hushed.startswith('{"text": "a yak"')


def test_ctrl_c_takes_the_bar_away(terminal: Terminal, tmp_path: Path) -> None:
    for number in range(200):
        save(tmp_path / f"{number}.png", noise(32, 32, number))
    rows = tmp_path / "rows.csv"
    terminal.begin("embed", tmp_path, "-o", rows, "--model", "lite", "--batch-size", 2)
    printed = terminal.until(" left")
    terminal.type("\x03")
    printed += terminal.until("\x1e")
    drawn = re.findall(r"files [^\r\n^]*", STYLE.sub("", printed))
    # where it is as wide as the terminal, ^C begins a line, and that is what is erased
    assert max(map(len, drawn)) < N_COLUMNS - len("^C^")
    assert stays(printed).startswith("clipcli: interrupted; the rows so far are in ")
    assert stays(printed).endswith("130\x1e")


@pytest.mark.parametrize(("is_read", "code", "said"), [(True, 130, "interrupted"), (False, 0, "")])
def test_the_bar_goes_away_also_where_a_run_ends_while_it_writes_rows(
    lite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_read: bool, code: int, said: str
) -> None:
    """By Ctrl-C while a slow reader is waited for, who then reads on, since no half row is left
    behind; or since nobody reads any more, as after `| head`."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for number in range(50):  # rows of 5 kB; a pipe holds 64
        save(tmp_path / f"{number}.png", noise(32, 32, number))
    arguments = ("--format", "csv", "--model", lite, "--no-cache", "--batch-size", 2)
    terminal, stderr = pty.openpty()
    termios.tcsetwinsize(stderr, (24, N_COLUMNS))
    printed = ""
    embed = command("embed", tmp_path, *arguments)
    with started(embed, stdout=subprocess.PIPE, stderr=stderr) as process:
        os.close(stderr)
        assert process.stdout is not None
        n_before, n_unread = -1, 0
        while not 0 < n_before == n_unread:  # until the pipe is full
            printed += waiting_on(terminal, 1.0)
            n_before, n_unread = n_unread, n_bytes_unread(process.stdout.fileno())
        if is_read:
            process.send_signal(signal.SIGINT)
            rows = process.stdout.read().splitlines()
            assert 1 < len(rows) < 51
            assert len({row.count(",") for row in rows}) == 1
        else:
            process.stdout.close()
        assert process.wait(60) == code
        printed += waiting_on(terminal, 0.0)
    os.close(terminal)
    assert "files" in printed
    last_line = f"clipcli: {said}\n" if said else ""
    assert stays(printed) == last_line
    assert printed.rindex(CURSOR_SHOWN) > printed.rindex(CURSOR_HIDDEN)


def test_a_dumb_terminal_gets_plain_lines_whose_rate_and_time_left_agree(
    dumb: Terminal, labelled: Path, tmp_path: Path
) -> None:
    download = dumb.run("models", "download", "RN50")
    assert re.search(r"^clipcli: downloading: 0\.\d MB of 0\.8 MB", download, re.MULTILINE)

    (labelled / "damaged.png").touch()
    model = ("--model", "lite", "--no-cache", "--batch-size", 4)
    run = dumb.run("embed", labelled, "-o", tmp_path / "some.npy", *model)
    (labelled / "damaged.png").unlink()
    assert "\x1b" not in run + download
    first, *others = run.splitlines()
    assert first == "clipcli: loading lite"
    line = re.compile(
        r"clipcli: ([\d,]+) of 21 files(?:, ([\d.,]+) files/s, (\d+) s left)?, 1 failed"
    )
    told = [found.groups() for text in others if (found := line.fullmatch(text))]
    assert [int(n) for n, _, _ in told] == sorted(int(n) for n, _, _ in told)
    assert told[-1][0] == "21"
    rates = [(21 - int(n), float(rate), int(left_s)) for n, rate, left_s in told if rate]
    assert len(rates) > 1
    for n_left, per_s, left_s in rates:
        assert abs(n_left / per_s - left_s) < 0.5 + 0.05 * n_left / per_s**2 + 0.01


def test_training_says_that_it_starts_and_no_loss_that_there_is_not(
    terminal: Terminal, labelled: Path, small_clip: Path, tmp_path: Path
) -> None:
    arguments = ("train", labelled, "--init", small_clip, "--epochs", 2)
    arguments += ("--batch-size", 10, "--workers", 1)
    printed = terminal.run(*arguments, "-o", tmp_path / "bar")
    bars = re.findall(r"steps [^\r\n]*", STYLE.sub("", printed))
    assert bars[0].rstrip().endswith("0/4 starting")
    assert "loading small_clip.safetensors" in printed
    assert "epoch 0" not in printed
    assert [
        bar
        for bar in bars
        if re.search(r"epoch \d, loss \d\.\d{4}, [\d,.]+ images/s, \d+ s left", bar)
    ]


def test_the_pace_is_that_of_the_last_seconds() -> None:
    pace = Pace()
    for n in range(1, 5001):  # known from before: they rush
        pace.reached(n, 10.0 + n * 1e-5)
    assert pace.per_s == 0.0
    for batch in range(1, 31):  # then 32 a second
        for n in range(32):
            pace.reached(5000 + 32 * batch - 31 + n, 10.0 + batch + n * 1e-4)
        assert pace.per_s == pytest.approx(32, rel=0.01)
    pace.reached(5960 + 1000, 50.0)
    pace.reached(5960 + 1100, 60.0)  # whatever was before is forgotten
    assert pace.per_s == pytest.approx(10)
    pace.reached(5, 61.0)  # starts over
    assert pace.per_s == 0.0


@pytest.mark.parametrize(
    ("n_left", "left"),
    [
        (0, "0 s left"),
        (990, "99 s left"),
        (1000, "2 min left"),
        (33_000, "55 min left"),
        (114_000, "3 h 10 min left"),
    ],
)
def test_the_time_left_is_in_words(n_left: int, left: str) -> None:
    assert time_left(n_left, 10.0) == left
