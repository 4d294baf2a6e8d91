"""Ctrl-C, SIGTERM, closed pipes, full disks, two runs at once: real processes."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from program import command, run, started


@pytest.fixture
def many_photos(tmp_path: Path, example_photos: Path) -> Path:
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(300):
        shutil.copy(example_photos / "galaxies.jpg", folder / f"{index:04}.jpg")
    return folder


def wait_for_rows(part: Path, process: subprocess.Popen[str]) -> None:
    while not part.exists() or len(part.read_text().splitlines()) < 5:
        assert process.poll() is None, "it ended before it was interrupted"
        time.sleep(0.01)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_keeps_its_rows_beside_the_untouched_output(
    lite: str, many_photos: Path, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    output, part = tmp_path / "rows.csv", tmp_path / "rows.csv.part"
    output.write_text("before\n")
    arguments = ("--labels", "dog,cat", "--model", lite, "--batch-size", 4, "-o", output)
    with started(command("classify", many_photos, *arguments)) as process:
        wait_for_rows(part, process)
        process.send_signal(sent)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert stderr.splitlines()[-1].endswith(f"; the rows so far are in {part}")
    assert "Traceback" not in stderr
    assert output.read_text() == "before\n"
    rows = part.read_text().splitlines()
    assert rows[0] == "path,rank,label,probability,similarity"
    assert 5 <= len(rows) < 301
    assert all(row.count(",") == 4 for row in rows)


def test_a_run_that_was_started_with_sigint_ignored_goes_on_to_its_end(
    lite: str, many_photos: Path, tmp_path: Path
) -> None:
    """As `nohup` and the background of a script start it: Ctrl-C is meant for another."""
    output, part = tmp_path / "rows.csv", tmp_path / "rows.csv.part"
    arguments = ("--labels", "dog,cat", "--model", lite, "--batch-size", 4, "-o", output)
    with started(command("classify", many_photos, *arguments), ignores_sigint=True) as process:
        wait_for_rows(part, process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(output.read_text().splitlines()) == 301


def test_a_closed_pipe_ends_quietly(lite: str, many_photos: Path) -> None:
    arguments = ("--labels", "dog", "--model", lite, "--batch-size", 4, "--format", "jsonl")
    with subprocess.Popen(
        command("classify", many_photos, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b'{"path"')
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_full_disk_is_one_line_and_the_rows_so_far_are_named(
    lite: str, many_photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "rows.csv"
    process = subprocess.run(
        command("classify", many_photos, "--labels", "d", "--model", lite, "-o", output),
        capture_output=True,
        text=True,
        # a file may not grow past this: the same error at the same place as a full disk
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
        check=False,
    )
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1] == (
        f"clipcli: {output}: cannot be written: File too large; free some space;"
        f" the rows so far are in {output}.part"
    )
    assert not output.exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full (Linux)")
def test_a_full_disk_behind_stdout_is_one_line(lite: str, example_photos: Path) -> None:
    with open("/dev/full", "wb") as full:
        process = subprocess.run(
            command("classify", example_photos, "--labels", "dog", "--model", lite),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert process.returncode == 1
    assert process.stderr == "clipcli: stdout: cannot be written: No space left on device\n"


def test_a_second_run_into_the_same_file_is_refused(
    lite: str, example_photos: Path, tmp_path: Path
) -> None:
    with (tmp_path / "rows.csv.part").open("wb") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        arguments = ("--labels", "dog", "--model", lite, "-o", tmp_path / "rows.csv")
        result = run("classify", example_photos, *arguments)
    assert result.code == 4
    assert "another run is writing it" in result.last_line
