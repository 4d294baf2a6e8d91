"""Labels into sidecars: `classify --write-xmp`, and `clipcli tag` from rows."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from places import TESTS
from program import Result, command, run
from terminal import Terminal

from clipcli.keywords.fields import SUBJECT
from clipcli.keywords.xmp import read_packet

Cli = Callable[..., Result]
LABELS = "animal/cat,person,coffee"
SUBJECTS = {"cat": ["cat"], "astronaut": ["person"], "coffee": ["coffee"], "rocket": []}


@pytest.fixture
def album(tmp_path: Path, example_photos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three photographs that fit a label, and a rocket that fits none."""
    for name in SUBJECTS:
        shutil.copy(example_photos / f"{name}.jpg", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write_xmp(cli: Cli, lite: str, album: Path) -> Cli:
    """`classify --write-xmp` over the album."""
    options = ("--model", lite, "--labels", LABELS, "--write-xmp", "--min-probability", 0.9)
    return lambda *more: cli("classify", ".", *options, *more)


def subjects(folder: Path) -> dict[str, list[str]]:
    """The keywords of each photograph that has a sidecar."""
    return {
        path.name.partition(".")[0]: SUBJECT.entries(read_packet(path.read_bytes()))
        for path in sorted(folder.glob("*.xmp"))
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


WRITTEN = {name: words for name, words in sorted(SUBJECTS.items()) if words}


def test_accepted_labels_are_written_once_and_those_that_no_longer_apply_go(
    write_xmp: Cli, album: Path
) -> None:
    result = write_xmp("-o", "labels.csv")
    assert result.code == 0
    assert result.last_line == "clipcli: 3 sidecars written, 0 unchanged, 0 labels taken back"
    assert subjects(album) == WRITTEN
    assert "<clipcli:prompts>a photo of a cat.<" in (album / "cat.jpg.xmp").read_text()
    assert "animal/cat" in (album / "labels.csv").read_text()
    before = contents(album)
    for _ in range(2):
        assert write_xmp("-o", "labels.csv").last_line.endswith(
            ": 0 sidecars written, 3 unchanged, 0 labels taken back"
        )
    assert contents(album) == before
    shutil.copy(album / "rocket.jpg", album / "cat.jpg")
    result = write_xmp()
    assert result.last_line == "clipcli: 1 sidecar written, 2 unchanged, 1 label taken back"
    assert "cat" not in subjects(album)


def test_a_dry_run_shows_what_would_change_and_changes_nothing(write_xmp: Cli, album: Path) -> None:
    before = contents(album)
    result = write_xmp("--dry-run", "-o", "labels.csv")
    assert result.code == 0
    assert [list(row.values()) for row in result.rows] == [
        ["./astronaut.jpg", "./astronaut.jpg.xmp", "person", ""],
        ["./cat.jpg", "./cat.jpg.xmp", "animal/cat", ""],
        ["./coffee.jpg", "./coffee.jpg.xmp", "coffee", ""],
    ]
    assert result.last_line == (
        "clipcli: 3 sidecars would be written, 0 unchanged, 0 labels would be taken back"
    )
    assert contents(album) == before


def test_a_dry_run_at_a_terminal_is_a_table(album: Path, tmp_path: Path) -> None:
    evil = album / "\x1b[31mred\n.jpg"
    shutil.copy(album / "cat.jpg", evil)
    (album / "labels.csv").write_text(f'path,label\ncat.jpg,cat\n"{evil.name}",cat\n')
    terminal = Terminal(tmp_path)
    code, printed = terminal.run(
        "tag", album / "labels.csv", "--dry-run", "-q", columns=300, NO_COLOR="1"
    )
    terminal.close()
    assert code == 0
    header, *rows = printed.splitlines()
    assert header.split() == ["PATH", "SIDECAR", "ADDED", "TAKEN", "BACK"]
    assert [row.rstrip().endswith(" cat") for row in rows] == [True, True]
    assert r"\x1b[31mred\n.jpg" in printed


def test_without_a_threshold_some_label_would_always_win(cli: Cli, lite: str, album: Path) -> None:
    result = cli("classify", ".", "--labels", LABELS, "--write-xmp", "--model", lite)
    assert result.code == 2
    assert result.stderr.startswith("clipcli: --write-xmp: one label wins on every photograph")
    multi = cli("classify", ".", "--labels", LABELS, "--write-xmp", "--multi-label",
                "--model", lite)  # fmt: skip
    assert multi.code == 0
    assert subjects(album)["cat"] == ["cat"]


def test_labels_of_an_old_calibration_are_checked_where_they_act(
    cli: Cli, lite: str, album: Path
) -> None:
    known = (TESTS / "made_by_0_1_0" / "calibration.json").read_text()
    (album / "old.json").write_text(known.replace('"name": "person"', '"name": "person|man"'))
    options = ("--model", lite, "--calibration", "old.json")
    assert cli("classify", "astronaut.jpg", *options).code == 0
    result = cli("classify", "astronaut.jpg", *options, "--write-xmp")
    assert result.code == 2
    assert result.stderr.startswith("clipcli: old.json: person|man: a | in a label, where photo")


def test_another_model_than_the_wanted_one_writes_nothing(cli: Cli, album: Path) -> None:
    before = contents(album)
    result = cli("classify", ".", "--labels", LABELS, "--write-xmp", "--multi-label")
    assert result.code == 1
    assert "--write-xmp: not with lite, which nobody asked for" in result.stderr
    assert contents(album) == before


def test_what_cannot_be_written_is_named_and_the_rest_is_done(write_xmp: Cli, album: Path) -> None:
    (album / "cat.jpg.xmp").write_text("no xml")
    (album / "broken.jpg").write_text("no picture")
    shutil.copy(album / "cat.jpg", album / "taken.jpg")
    result = write_xmp("-o", "labels.csv")
    assert result.code == 3
    assert "clipcli: ./cat.jpg: cat.jpg.xmp: damaged XML: " in result.stderr
    assert result.last_line == (
        "clipcli: 3 sidecars written, 0 unchanged, 0 labels taken back, 1 failed"
    )
    assert (album / "cat.jpg.xmp").read_text() == "no xml"
    assert not (album / "broken.jpg.xmp").exists()
    assert "./cat.jpg,1,animal/cat" in (album / "labels.csv").read_text()


def test_a_full_disk_ends_the_run(album: Path) -> None:
    (album / "labels.csv").write_text("path,label\n" + "".join(f"{n}.jpg,dog\n" for n in SUBJECTS))
    done = subprocess.run(
        command("tag", "labels.csv"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500)),
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "clipcli: cat.jpg.xmp: cannot be written: File too large; free some space\n"
    )
    assert not [*album.glob("*.xmp*")]


# --- clipcli tag


def test_rows_are_written_after_a_person_looked_through_them(
    write_xmp: Cli, cli: Cli, lite: str, album: Path
) -> None:
    write_xmp("-o", "labels.jsonl")
    by_classify = contents(album)
    unchanged = cli("tag", "labels.jsonl", "--min-probability", 0)
    assert unchanged.last_line == "clipcli: 0 sidecars written, 3 unchanged, 0 labels taken back"
    assert contents(album) == by_classify
    rows = [json.loads(line) for line in (album / "labels.jsonl").read_text().splitlines()]
    for row in rows:
        if row["path"] == "./coffee.jpg":
            row["predictions"][0]["label"] = "drink/tea"
        if row["path"] == "./astronaut.jpg":
            row["predictions"][0]["accepted"] = False
    (album / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:3]))
    shown = cli("tag", "labels.jsonl", "--min-probability", 0, "--dry-run")
    assert [list(row.values()) for row in shown.rows] == [
        ["astronaut.jpg", "astronaut.jpg.xmp", "", "person"],
        ["coffee.jpg", "coffee.jpg.xmp", "drink/tea", "coffee"],
    ]
    assert subjects(album) == WRITTEN
    assert cli("tag", "labels.jsonl", "--min-probability", 0).code == 0
    assert subjects(album) == {"cat": ["cat"], "coffee": ["tea"]}


def test_a_table_of_path_and_label_counts_as_confirmed(
    write_xmp: Cli, cli: Cli, album: Path
) -> None:
    write_xmp()
    (album / "corrections.csv").write_text("path,label\ncat.jpg,animal/tiger\ngone.jpg,dog\n")
    result = cli("tag", "corrections.csv", "--failures", "failures.csv")
    assert result.code == 3
    assert result.stderr == (
        "clipcli: gone.jpg: no such photograph\n"
        "clipcli: 1 sidecar written, 0 unchanged, 1 label taken back, 1 failed\n"
    )
    assert (album / "failures.csv").read_text() == "path,error\ngone.jpg,no such photograph\n"
    write_xmp()
    assert subjects(album) == WRITTEN | {"cat": ["tiger"]}


def test_clear_takes_back_all_of_ours_of_rows_or_of_folders(
    write_xmp: Cli, cli: Cli, album: Path
) -> None:
    before = contents(album)
    write_xmp()
    result = cli("tag", "--clear", ".")
    assert result.last_line == "clipcli: 3 sidecars written, 0 unchanged, 3 labels taken back"
    assert contents(album) == before
    # a RAW counts once with its JPEG, and may have a sidecar of its own nevertheless
    (album / "cat.nef").touch()
    (album / "nef.csv").write_text("path,label\ncat.nef,cat\n")
    cli("tag", "nef.csv")
    assert cli("tag", "--clear", ".").last_line.endswith(" 1 label taken back")
    assert not (album / "cat.nef.xmp").exists()
    (album / "cat.nef").unlink()
    (album / "nef.csv").unlink()
    write_xmp("-o", "labels.csv")
    assert cli("tag", "--clear", "labels.csv", "--dry-run").rows[1]["taken_back"] == "animal/cat"
    assert cli("tag", "--clear", "labels.csv", "--quiet").stderr == ""
    (album / "labels.csv").unlink()
    assert contents(album) == before


def test_a_relative_path_is_beside_the_rows_or_in_the_working_directory(
    cli: Cli, album: Path
) -> None:
    (album / "rows").mkdir()
    rows = album / "rows" / "labels.csv"
    rows.write_text("path,label\ncat.jpg,cat\n")
    assert cli("tag", rows).code == 0
    assert subjects(album) == {"cat": ["cat"]}
    shutil.copy(album / "cat.jpg", album / "rows")
    before = contents(album / "rows")
    result = cli("tag", "rows/labels.csv")
    assert result.code == 2
    assert result.stderr == (
        "clipcli: rows/labels.csv, line 2: cat.jpg is there twice, beside labels.csv and in the"
        " working directory; write its whole path\n"
    )
    assert contents(album / "rows") == before


@pytest.mark.parametrize(
    ("rows", "arguments", "message"),
    [
        (
            "path,label,probability,accepted,scoring\ncat.jpg,cat,0.5,true,softmax\n",
            [],
            "labels.csv, line 2: cat, which is the best label of a softmax, whether or not",
        ),
        ("path,label\ncat.jpg,a|b\n", [], "labels.csv, line 2: a|b: a | in a label"),
        ("path,label\ncat.jpg,../etc\n", [], "labels.csv, line 2: ../etc: a part that is .."),
        ("path,label\ncat.jpg,cat\n", ["--clear", "--min-probability", "0"], "--clear takes back"),
        ("path,label\ncat.jpg,cat\n", ["other.csv"], "2 ROWS; expected one file, or --clear"),
        ("path,label\ncat.jpg,cat\n", ["--failures", "x.json"], "--failures x.json: .json is not"),
    ],
)
def test_what_cannot_work_changes_nothing(
    cli: Cli, album: Path, rows: str, arguments: list[str], message: str
) -> None:
    (album / "labels.csv").write_text(rows)
    before = contents(album)
    result = cli("tag", "labels.csv", *arguments)
    assert result.code == 2
    assert result.stderr.startswith(f"clipcli: {message}")
    assert contents(album) == before


def test_a_closed_pipe_ends_quietly_and_needs_no_heavy_import(album: Path) -> None:
    (album / "labels.csv").write_text("path,label\ncat.jpg,cat\n")
    script = (
        "import sys; from clipcli.cli.main import run; code = run(['tag', 'labels.csv', '-q']);"
        "print('torch' in sys.modules or 'PIL' in sys.modules); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
    read, write = os.pipe()
    os.close(read)
    closed = subprocess.run(
        command("tag", "--clear", ".", "--dry-run", "-q"), stdout=write, check=False,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(write)
    assert (closed.returncode, closed.stderr) == (0, b"")


def test_names_of_any_bytes_are_written(album: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \xff.jpg")
    shutil.copy(album / "cat.jpg", album / name)
    assert run("tag", "labels.csv", stdin=b"").code == 2
    (album / "labels.csv").write_bytes(b"path,label\n" + os.fsencode(name) + b",cat\n")
    assert run("tag", "labels.csv").code == 0
    assert (album / f"{name}.xmp").exists()
