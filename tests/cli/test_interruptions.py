"""Ctrl-C, SIGTERM, closed pipes, full disks, two runs at once: real processes."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import signalled
from program import command, run, started

from clipcli.cli import stopping


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
    assert rows[0] == "path,rank,label,probability,similarity,accepted,scoring,model"
    assert 5 <= len(rows) < 301
    assert all(row.count(",") == 7 for row in rows)


def test_a_signal_after_the_last_row_leaves_a_whole_file_or_none(
    example_photos: Path, tmp_path: Path
) -> None:
    """Wherever it lands until the process has ended, also inside of what ends a file."""
    script = Path(signalled.__file__)
    done = subprocess.run(
        [sys.executable, script, tmp_path, example_photos / "cat.jpg"],
        stdout=subprocess.PIPE,
        timeout=120,
        check=True,
    )
    ends = [json.loads(line) for line in done.stdout.splitlines()]
    names = [name for name, *_ in ends]
    assert {"RowWriter.finish", "PartFile.__exit__", "PartFile.commit", "Cache.__del__"} <= {*names}
    assert names.index("PartFile.commit") < names.index("Cache.__del__")
    for name, code, state, said, is_part in ends:
        *_, last = lines = said.splitlines()
        assert all(line.startswith("clipcli: ") for line in lines), name  # no traceback
        if code == 0:
            assert (state, is_part) == ("whole", False), name
            assert " 1 labelled," in last, name
        else:
            word = {130: "interrupted", 143: "terminated"}[code]
            assert (state == "before") == is_part == ("; the rows so far are in " in last), name
            assert last.startswith(f"clipcli: {word}"), name


def test_a_line_is_written_once_where_a_signal_follows_its_bytes() -> None:
    """The signal is sent where each function of a print returns, one print after another."""
    program = (
        "import os, signal, sys; from clipcli.cli.stopping import stop_at\n"
        "from clipcli.cli.surroundings import secure_streams\n"
        "from clipcli.errors import StoppedError\n"
        "def work(nth):\n"
        "    n_returned = 0\n"
        "    def profile(frame, event, argument):\n"
        "        nonlocal n_returned\n"
        "        n_returned += 'return' in event\n"
        "        if n_returned == nth:\n"
        "            sys.setprofile(None); os.kill(os.getpid(), signal.SIGINT)\n"
        "    sys.setprofile(profile)\n"
        "    for to in (sys.stdout, sys.stderr): print(f'line {nth}', file=to, flush=True)\n"
        "    sys.setprofile(None)\n"
        "secure_streams()\n"
        "stop_at(signal.SIGINT, StoppedError('interrupted', 130), work)\n"
        "for nth in range(1, 60):\n"
        "    try: work(nth)\n"
        "    except StoppedError: pass\n"
        "sys.stdout.flush(); sys.stderr.flush()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0
    for printed in (done.stdout, done.stderr):
        lines = printed.splitlines()
        assert len(lines) == len({*lines}) > 20


def test_no_lock_stays_taken_where_a_signal_follows_its_taking() -> None:
    """A thread that has a result for the run would wait for that lock, and the run for it."""
    program = (
        "import os, signal, sys, threading; from clipcli.cli.stopping import stop_at\n"
        "from clipcli.errors import StoppedError\n"
        "changed = threading.Condition()\n"
        "def profile(frame, event, argument):\n"
        "    if event == 'c_return' and frame.f_code is threading.Condition.__enter__.__code__:\n"
        "        sys.setprofile(None); os.kill(os.getpid(), signal.SIGINT)\n"
        "def work():\n"
        "    sys.setprofile(profile)\n"
        "    while True:\n"
        "        with changed: pass\n"
        "stop_at(signal.SIGINT, StoppedError('interrupted', 130), work)\n"
        "try: work()\n"
        "except StoppedError: print('stopped', flush=True)\n"
        "def take(): print('free' if changed.acquire(blocking=False) else 'taken')\n"
        "other = threading.Thread(target=take); other.start(); other.join()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["stopped", "free"], done.stderr


def test_what_hangs_while_it_is_put_away_is_stopped_by_a_second_signal() -> None:
    program = (
        "import signal, time; from clipcli.cli.stopping import stop_at\n"
        "from clipcli.errors import StoppedError\n"
        "class Hanging:\n"
        "    def __enter__(self): pass\n"
        "    def __exit__(self, *error): print('hangs', flush=True); time.sleep(60)\n"
        "def work():\n"
        "    with Hanging(): pass\n"
        "stop_at(signal.SIGINT, StoppedError('interrupted', 130), work)\n"
        "try: work()\n"
        "except StoppedError: print('stopped')\n"
    )
    with started([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "hangs\n"
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(stopping.INSISTS_S + 0.1)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "stopped\n"


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
    arguments = ("--labels", "dog,cat", "--model", lite, "--batch-size", 4, "--format", "jsonl")
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
            command("classify", example_photos, "--labels", "dog,cat", "--model", lite),
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
        arguments = ("--labels", "dog,cat", "--model", lite, "-o", tmp_path / "rows.csv")
        result = run("classify", example_photos, *arguments)
    assert result.code == 4
    assert "another run is writing it" in result.last_line
