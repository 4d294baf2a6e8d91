"""`--log FILE`: what was said, with times, and how each run ended."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from pictures import save_truncated_jpeg
from program import Result, command, started
from terminal import Terminal

Cli = Callable[..., Result]

LINE = re.compile(r"(\S+) (\d+) (.*)\n")
N_AT_ONCE = 4


def lines(log: Path) -> list[str]:
    """What each line says, after its time and process."""
    said = []
    for line in log.read_text(encoding="utf-8").splitlines(keepends=True):
        found = LINE.fullmatch(line)
        assert found is not None, line
        assert datetime.fromisoformat(found[1]).utcoffset() is not None
        said.append(found[3])
    return said


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("path,label\na.jpg,cat\n")
    return path


def test_notes_failures_and_the_end_are_logged_and_quiet_leaves_nothing_out(
    cli: Cli, lite: str, example_photos: Path, tmp_path: Path
) -> None:
    shutil.copy(example_photos / "cat.jpg", tmp_path)
    save_truncated_jpeg(tmp_path / "bad\n\x1b[31m.jpg")
    log = tmp_path / "run.log"
    log.write_text("2026-01-01T00:00:00+01:00 1 an older line\n")
    common = ("classify", tmp_path, "--model", lite, "--labels", "cat,dog", "--log", log)
    said = cli(*common).stderr.removesuffix("\n").replace("clipcli: ", "").split("\n")
    first = lines(log)
    assert first[0] == "an older line"
    assert first[1].startswith("begins: clipcli classify ")
    assert first[2:-1] == said
    assert "bad\\n\\x1b[31m.jpg: damaged picture" in said[0]
    assert first[-1] == "ends: exit code 3"
    quiet = cli(*common, "--quiet")
    assert len(quiet.stderr.splitlines()) == 1
    again = lines(log)[len(first) :]
    assert len(again) == len(first) - 1
    assert "1 labelled" in again[-2]


def test_errors_of_use_and_of_the_run_are_logged(cli: Cli, lite: str, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    runs = {
        ("classify", tmp_path, "--reference", "--fit", "pad", "--labels", "a,b"): 2,
        ("similar", "x", "--text", tmp_path / "gone", "--model", lite): 1,
        ("embed", tmp_path / "gone", "--model", "./no-model.pt"): 1,
        ("eval", tmp_path / "gone", "--model", lite): 2,
        ("diff", tmp_path / "gone", tmp_path / "gone"): 2,
    }
    for arguments, code in runs.items():
        result = cli(*arguments, "--log", log)
        assert result.code == code
        said = lines(log)
        assert said[-1] == f"ends: exit code {code}"
        assert f"clipcli: {said[-2]}\n" == "clipcli: " + result.stderr.split("clipcli: ")[-1]
    assert sum(line.startswith("begins: ") for line in lines(log)) == len(runs)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_logged(tmp_path: Path, number: signal.Signals, code: int) -> None:
    log, pipe = tmp_path / "run.log", tmp_path / "pipe"
    os.mkfifo(pipe)  # of which the run waits for a writer, in vain
    (tmp_path / "old.csv").write_text("path,label\n")
    with started(command("diff", tmp_path / "old.csv", pipe, "--log", log)) as process:
        writer = os.open(pipe, os.O_WRONLY)  # returns when the run reads
        process.send_signal(number)
        assert process.wait(timeout=60) == code
        os.close(writer)
    assert lines(log)[-1] == f"ends: exit code {code}"


def test_runs_at_once_share_a_log(rows: Path, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    arguments = command("diff", rows, rows, "--log", log)
    children = [
        subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(N_AT_ONCE)
    ]
    assert [child.wait(timeout=60) for child in children] == [0] * N_AT_ONCE
    said = lines(log)
    assert len(said) == 3 * N_AT_ONCE
    assert said.count("ends: exit code 0") == N_AT_ONCE


def test_a_log_that_cannot_be_written_ends_the_run_at_once(
    cli: Cli, rows: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")  # that nobody reads
    for path, why in {
        tmp_path: "Is a directory",
        tmp_path / "no" / "run.log": "No such file or directory",
        tmp_path / "pipe": "No such device or address",
        Path("/dev/full"): "No space left on device",
    }.items():
        result = cli("diff", rows, rows, "--log", path)
        assert (result.code, result.stdout) == (1, b"")
        assert result.stderr == f"clipcli: --log {path}: cannot be written: {why}\n"


def test_a_log_is_never_written_into_what_holds_something_else(
    cli: Cli, rows: Path, example_photos: Path, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.jpg"
    shutil.copy(example_photos / "cat.jpg", photo)
    for path in (photo, rows):
        before = path.read_bytes()
        assert cli("diff", rows, rows, "--log", path).code == 2
        assert path.read_bytes() == before
    result = cli("diff", rows, rows, "-o", tmp_path / "x", "--log", tmp_path / "." / "x")
    assert result.code == 2
    assert "another option writes this file" in result.stderr
    assert not (tmp_path / "x").exists()


def test_a_disk_that_fills_up_later_does_not_end_the_run(rows: Path, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    arguments = command("diff", rows, rows, "--log", log)
    subprocess.run(arguments, check=True, capture_output=True)
    first = log.read_text().splitlines(keepends=True)[0]
    n_bytes = log.stat().st_size + len(first) + 30
    code = "import sys; from clipcli.cli.main import run; sys.exit(run(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, *arguments[3:]],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes)),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "clipcli: no differences: 1 the same\n")
    assert log.stat().st_size <= n_bytes


BUG = """
import sys
from clipcli.cli import main
from clipcli.cli import talk
def dispatch(arguments):
    talk.log_to(arguments[0])
    raise KeyError("a\\nbug")
main._dispatch = dispatch
main.run(sys.argv[1:])
"""


def test_a_bug_is_logged_in_one_line(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    done = subprocess.run(
        [sys.executable, "-c", BUG, log], capture_output=True, text=True, check=False
    )
    assert "Traceback" in done.stderr
    assert lines(log)[-1] == "ends: KeyError: 'a\\nbug'"


def test_progress_is_not_logged(tmp_path: Path, lite: str, example_photos: Path) -> None:
    """On a terminal without a cursor it is said in lines."""
    log = tmp_path / "run.log"
    terminal = Terminal(tmp_path)
    code, printed = terminal.run(
        *("classify", example_photos / "cat.jpg", "--labels", "cat,dog"),
        *("--model", lite, "--log", log),
        TERM="dumb",
    )
    terminal.close()
    assert code == 0
    assert "loading lite" in printed
    assert [line.split()[0] for line in lines(log)] == ["begins:", "1", "ends:"]
