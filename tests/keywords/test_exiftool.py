"""An exiftool that stays open, and one that hangs, breaks, lies or is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from photographs import needs_exiftool, save_photograph
from pictures import noise

from clipcli.errors import ExifToolError, KeywordsError
from clipcli.keywords.embed import embed_keywords
from clipcli.keywords.exiftool import ExifTool, find_exiftool
from clipcli.keywords.provenance import OurLabel

pytestmark = [
    needs_exiftool,
    pytest.mark.skipif(sys.platform == "win32", reason="programs of this test are scripts"),
]
LABELS = [OurLabel("dog")]
# the real one behind a program that does something else once it is to write
BEHIND = f"""#!{sys.executable}
import os, signal, subprocess, sys
real = subprocess.Popen(["exiftool", *sys.argv[1:]], stdin=subprocess.PIPE)
is_writing = False
for line in sys.stdin.buffer:
    is_writing = line == b"-o\\n" or is_writing and not line.startswith(b"-execute")
    INSTEAD
    real.stdin.write(line)
    real.stdin.flush()
"""
DIES = 'if is_writing: os.write(1, b"\\xff\\xd8half a picture"); os.killpg(0, signal.SIGKILL)'
LIES = 'if is_writing and line.startswith(b"/"): line = OTHER'


def _program(folder: Path, text: str, name: str = "exiftool") -> str:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    save_photograph(tmp_path / "photos" / "photo.jpg")
    return tmp_path / "photos" / "photo.jpg"


def test_one_that_is_killed_in_the_middle_costs_no_photograph(photo: Path, tmp_path: Path) -> None:
    data = photo.read_bytes()
    with ExifTool(_program(tmp_path, BEHIND.replace("INSTEAD", DIES))) as exiftool:
        for _ in range(2):
            with pytest.raises(KeywordsError, match="exiftool ended in the middle"):
                embed_keywords(str(photo), LABELS, exiftool)
            assert b"JPEG" in exiftool.read("-FileType", str(photo))  # another one answers
    assert [one.name for one in photo.parent.iterdir()] == ["photo.jpg"]
    assert photo.read_bytes() == data


def test_a_picture_with_other_pixels_never_takes_the_place(photo: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jpg"
    noise(80, 60).save(other)
    data = photo.read_bytes()
    lies = LIES.replace("OTHER", repr(f"{other}\n".encode()))
    with (
        ExifTool(_program(tmp_path, BEHIND.replace("INSTEAD", lies))) as exiftool,
        pytest.raises(KeywordsError, match="exiftool changed the pixels"),
    ):
        embed_keywords(str(photo), LABELS, exiftool)
    assert [one.name for one in photo.parent.iterdir()] == ["photo.jpg"]
    assert photo.read_bytes() == data


def test_one_that_hangs_is_ended_and_in_the_end_given_up(photo: Path, tmp_path: Path) -> None:
    hangs = _program(tmp_path, f"#!/bin/sh\necho $$ >> {tmp_path}/pids\nexec sleep 1000\n")
    with ExifTool(hangs, timeout_s=0.5) as exiftool:
        for _ in range(2):
            with pytest.raises(KeywordsError, match="exiftool took longer than 0 s"):
                embed_keywords(str(photo), LABELS, exiftool)
        with pytest.raises(ExifToolError, match="3 times in a row; install it again"):
            embed_keywords(str(photo), LABELS, exiftool)
    pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert pids
    _wait_for_the_end(pids)


def test_it_ends_by_itself_when_nobody_is_left_to_ask(photo: Path, tmp_path: Path) -> None:
    script = _program(tmp_path, f'#!/bin/sh\necho $$ > {tmp_path}/pid\nexec exiftool "$@"\n')
    code = f"""if True:
        from clipcli.keywords.exiftool import ExifTool
        exiftool = ExifTool({script!r})
        print(exiftool.read("-FileType", {str(photo)!r}), flush=True)
        input()
    """
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert b"JPEG" in process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    _wait_for_the_end([int((tmp_path / "pid").read_text())])


def _wait_for_the_end(pids: list[int]) -> None:
    """Until none of these runs any more; one that nobody has asked after does not run."""
    until = time.monotonic() + 20
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < until, "still running"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat")
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_nothing_of_a_configuration_is_executed(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace"
    (tmp_path / ".ExifTool_config").write_text(f'open(my $f, ">", "{trace}"); 1;')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EXIFTOOL_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with ExifTool(find_exiftool()) as exiftool:
        embed_keywords(str(photo), LABELS, exiftool)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (None, "no exiftool, which --embed-keywords needs; Debian: apt-get install"),
        ("echo 9.46", "version 9.46; expected 12.00 or newer; Debian: apt-get"),
        ("echo Can\\'t locate Image/ExifTool.pm >&2; exit 2", "-ver: said Can't locate Image"),
        ("exit 0", "-ver: said nothing; expected a version"),
    ],
)
def test_one_that_cannot_work_is_known_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, why: str
) -> None:
    if script is not None:
        _program(tmp_path, f"#!/bin/sh\n{script}\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExifToolError) as raised:
        find_exiftool()
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)
