"""What examples/cron/ offers: a script, run as cron and systemd run it, and the files that call it.

A container is not built here: that takes a registry.
"""

from __future__ import annotations

import configparser
import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pictures import save_truncated_jpeg
from places import ROOT

from clipcli.files.part_file import PartFile

CRON = ROOT / "examples" / "cron"
SCRIPT = CRON / "label-photos.sh"
FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))  # of a crontab: minute to day of the week
INSTRUCTIONS = {"FROM", "COPY", "RUN", "ENV", "VOLUME", "ENTRYPOINT"}


@pytest.fixture
def home(tmp_path: Path, example_photos: Path) -> Path:
    """A user with two photographs, labels, and clipcli in a folder of programs."""
    (tmp_path / "Pictures").mkdir()
    for name in ("cat.jpg", "coffee.jpg"):
        shutil.copy(example_photos / name, tmp_path / "Pictures")
    (tmp_path / "labels.txt").write_text("cat\ncoffee\nrocket\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    clipcli = programs / "clipcli"
    clipcli.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m clipcli "$@"\n')
    clipcli.chmod(0o755)
    shutil.copy(SCRIPT, programs)
    return tmp_path


def as_cron(home: Path, line: str) -> subprocess.CompletedProcess[str]:
    """A command line with as little around it as cron gives it."""
    keys = ("PYTHONPATH", "PYTHONSAFEPATH", "CLIPCLI_CACHE", "XDG_CONFIG_HOME", "HF_HOME")
    environment = {key: os.environ[key] for key in keys if key in os.environ}
    environment |= {"HOME": str(home), "PATH": f"{home / 'bin'}:/usr/bin:/bin"}
    return subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def crontab_line() -> list[str]:
    """Its five fields and the command."""
    lines = (CRON / "crontab").read_text().splitlines()
    (line,) = [one for one in lines if one and not re.match(r"#|[A-Z]+=", one)]
    return line.split(maxsplit=5)


def rows(path: Path) -> dict[str, str]:
    table = csv.DictReader(path.read_text().splitlines())
    return {Path(row["path"]).name: row["label"] for row in table}


def test_the_line_of_the_crontab_keeps_labels_up_to_date(home: Path, example_photos: Path) -> None:
    command = crontab_line()[5] + " --model lite"

    def run(code: int) -> str:
        done = as_cron(home, command)
        assert (done.returncode, done.stdout) == (code, "")
        return done.stderr

    labels, new = home / "labels.csv", home / "labels-new.csv"
    assert run(0) == ""
    assert rows(labels) == rows(new) == {"cat.jpg": "cat", "coffee.jpg": "coffee"}
    before = labels.stat().st_mtime_ns
    assert run(0) == ""  # no mail
    assert labels.stat().st_mtime_ns == before
    assert rows(new) == {}
    shutil.copy(example_photos / "rocket.jpg", home / "Pictures")
    save_truncated_jpeg(home / "Pictures" / "bad.jpg")
    assert "bad.jpg: damaged picture" in run(3)
    assert rows(new) == {"rocket.jpg": "rocket"}
    with PartFile(labels, kept="rows"):  # as the run before, which is still at work
        assert run(0) == ""
    kept = labels.read_bytes()
    (home / "Pictures").rename(home / "elsewhere")  # as a disk that is not mounted
    assert "Pictures" in run(1)
    assert labels.read_bytes() == kept
    ends = re.findall("ends: exit code ([0-9])", (home / "labels.log").read_text())
    assert ends == ["0", "0", "3", "4", "1"]


def test_the_script_says_how_it_is_called() -> None:
    done = subprocess.run([SCRIPT, "photos"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"usage: {SCRIPT} PHOTOS ROWS.csv LABELS.txt")


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="needs apt-get install shellcheck")
def test_the_script_is_clean_posix_shell() -> None:
    done = subprocess.run(["shellcheck", SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_crontab_is_one_that_cron_reads() -> None:
    *fields, command = crontab_line()
    for field, (low, high) in zip(fields, FIELDS, strict=True):
        assert field == "*" or low <= int(field) <= high
    assert "%" not in command  # which cron takes for a line end
    assert (CRON / "crontab").read_text().endswith("\n")  # it leaves out a line without one


def test_the_units_are_ones_that_systemd_reads(tmp_path: Path) -> None:
    units = {path.name: path.read_text() for path in CRON.glob("label-photos.[st][ei]*")}
    assert sorted(units) == ["label-photos.service", "label-photos.timer"]
    parsed = {}
    for name, text in units.items():
        parser = configparser.ConfigParser(strict=True, interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(text)
        parsed[name] = parser
        # systemd-analyze looks whether the program is there
        (tmp_path / name).write_text(text.replace(f"/usr/local/bin/{SCRIPT.name}", str(SCRIPT)))
    assert parsed["label-photos.timer"]["Timer"]["OnCalendar"] == "hourly"
    program, *arguments = shlex.split(parsed["label-photos.service"]["Service"]["ExecStart"])
    assert Path(program).name == SCRIPT.name
    assert [Path(one).name for one in arguments] == ["Pictures", "labels.csv", "labels.txt"]
    if shutil.which("systemd-analyze"):
        done = subprocess.run(
            ["systemd-analyze", "--man=no", "verify", *sorted(tmp_path.glob("label-photos.*"))],
            capture_output=True,
            text=True,
            check=False,
        )
        assert str(tmp_path) not in done.stderr, done.stderr
        assert done.returncode == 0, done.stderr


def test_the_container_file_copies_and_starts_what_is_there() -> None:
    text = (CRON / "Containerfile").read_text().replace("\\\n", "")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line[:1] not in ("", "#")]
    assert {instruction for instruction, _ in lines} == INSTRUCTIONS
    assert lines[0][0] == "FROM"
    entry = json.loads(dict(lines)["ENTRYPOINT"])  # the form that starts no shell
    assert entry[0] == SCRIPT.name
    assert f"examples/cron/{SCRIPT.name}" in dict(lines)["RUN"]
    assert os.access(SCRIPT, os.X_OK)
