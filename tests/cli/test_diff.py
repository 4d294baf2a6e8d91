"""`clipcli diff`: which photographs got another label, and what its exit codes say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from program import Result, command
from terminal import Terminal

Cli = Callable[..., Result]

HEADER = "path,rank,label,probability,similarity,accepted,scoring,model\n"
OLD = """\
same.jpg,1,dog,0.9,0.2,true,softmax,lite
closer.jpg,1,dog,0.6,0.2,true,softmax,lite
other.jpg,1,dog,0.9,0.2,true,softmax,lite
"gone, with a comma.jpg",1,cat,0.75,0.2,true,softmax,lite
"""
NEW = """\
other.jpg,1,cat,0.6,0.2,true,softmax,lite
new.jpg,1,cat,0.5,0.2,true,softmax,lite
closer.jpg,1,dog,0.7,0.2,true,softmax,lite
same.jpg,1,dog,0.9,0.2,true,softmax,lite
"""
DIFFERENCES = """\
path,change,old_label,old_probability,new_label,new_probability
other.jpg,label,dog,0.9,cat,0.6
new.jpg,new,,,cat,0.5
"gone, with a comma.jpg",gone,cat,0.75,,
"""
N = 100_000
MAX_S = 20.0  # takes 2 s
MAX_BYTES = 500_000_000  # of address space beside what the program itself takes: 60 MB


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    for name, rows in {"old.csv": OLD, "new.csv": NEW}.items():
        (tmp_path / name).write_text(HEADER + rows)
    return tmp_path / "old.csv", tmp_path / "new.csv"


def test_it_says_which_photographs_changed_came_and_went(
    cli: Cli, files: tuple[Path, Path]
) -> None:
    result = cli("diff", *files)
    assert result.stdout.decode() == DIFFERENCES
    assert result.stderr == "clipcli: 2 the same, 1 with another label, 1 new, 1 gone\n"
    assert result.code == 0
    assert cli("diff", *files, "--quiet").stderr == ""
    table = cli("diff", *files, "--format", "table").stdout.decode().splitlines()
    assert table[0].split() == ["PATH", "CHANGE", "OLD", "WAS", "NEW", "IS"]
    assert table[1].split() == ["other.jpg", "label", "dog", "90.0", "%", "cat", "60.0", "%"]
    written = files[0].with_name("d.csv")
    assert cli("diff", *files, "-o", written).stdout == b""
    assert written.read_text() == DIFFERENCES
    assert cli("diff", *files, "-o", written.with_suffix(".json")).code == 2


def test_a_file_may_be_a_pipe(files: tuple[Path, Path], tmp_path: Path) -> None:
    """As in a shell's <(...)."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    arguments = command("diff", files[0], pipe, "-q")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
        pipe.write_text(HEADER + NEW)
        assert child.communicate(timeout=60)[0] == DIFFERENCES


def test_a_terminal_gets_a_table(files: tuple[Path, Path], tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    code, printed = terminal.run("diff", *files, columns=60, NO_COLOR="1")
    terminal.close()
    assert code == 0
    assert printed.splitlines()[0].startswith("PATH")
    assert "gone, with a comma.jpg  gone" in printed


def test_labels_are_compared_as_a_set(cli: Cli, tmp_path: Path) -> None:
    """Their order and what merely stands behind them matter to nobody."""

    def written(name: str, *labels: tuple[str, float, bool]) -> Path:
        predictions = [
            {"label": label, "probability": p, "similarity": 0.2, "accepted": accepted}
            for label, p, accepted in labels
        ]
        record = {"path": "a.jpg", "predictions": predictions, "scoring": "presence", "model": "m"}
        path = tmp_path / name
        path.write_text(json.dumps(record) + "\n")
        return path

    old = written("old.jsonl", ("dog", 0.9, True), ("cat", 0.6, True), ("cow", 0.1, False))
    same = written("same.jsonl", ("cat", 0.8, True), ("dog", 0.7, True), ("pig", 0.2, False))
    more = written("more.jsonl", ("dog", 0.9, True), ("cat", 0.6, True), ("cow", 0.5, True))
    none = written("none.jsonl")
    unknown = written("unknown.jsonl", ("dog", 0.5, False))
    dog = written("dog.jsonl", ("dog", 0.9, True))
    assert cli("diff", old, same, "--exit-code").code == 0
    assert cli("diff", old, more).stdout.endswith(b"a.jpg,label,dog|cat,0.9,dog|cat|cow,0.9\n")
    assert cli("diff", old, none).stdout.endswith(b"a.jpg,label,dog|cat,0.9,,\n")
    assert cli("diff", none, none, "--exit-code").code == 0
    assert cli("diff", unknown, dog, "--exit-code").code == 1


def test_what_classify_writes_in_two_formats_is_the_same(
    cli: Cli, lite: str, example_photos: Path, tmp_path: Path
) -> None:
    common = ("classify", example_photos, "--model", lite, "--labels", "cat,coffee,rocket", "-q")
    for name in ("old.csv", "new.jsonl"):
        assert cli(*common, "-o", tmp_path / name).code == 0
    result = cli("diff", tmp_path / "old.csv", tmp_path / "new.jsonl", "--exit-code")
    assert (result.code, result.stderr) == (0, "clipcli: no differences: 6 the same\n")


def test_the_exit_code_says_whether_they_differ_if_it_is_asked_to(
    cli: Cli, files: tuple[Path, Path], tmp_path: Path
) -> None:
    old, new = files
    damaged = tmp_path / "damaged.csv"
    damaged.write_text(HEADER + "a.jpg,1,dog\n")
    for asked, differs, fails in (((), 0, 1), (("--exit-code",), 1, 2)):
        assert cli("diff", old, old, *asked).code == 0
        assert cli("diff", old, new, *asked).code == differs
        assert cli("diff", old, tmp_path / "missing", *asked).code == 2
        assert cli("diff", damaged, new, *asked).code == 2
        assert cli("diff", old, new, "-o", tmp_path / "no" / "d.csv", *asked).code == fails
        assert cli("diff", old, new, "-o", tmp_path, *asked).code == fails


def test_who_stops_reading_changes_no_exit_code(files: tuple[Path, Path]) -> None:
    arguments = command("diff", *files, "--exit-code")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        child.stdout.close()
        assert child.wait() == 1


def test_other_models_scorings_and_folders_are_said(
    cli: Cli, files: tuple[Path, Path], tmp_path: Path
) -> None:
    old, _ = files
    new = tmp_path / "new.csv"
    new.write_text(HEADER + OLD.replace("softmax,lite", "sigmoid,siglip"))
    remark, _ = cli("diff", old, new).stderr.splitlines()
    assert remark == (
        f"clipcli: {old} is by lite, {new} by siglip; probabilities are softmax in {old},"
        f" sigmoid in {new}: not to be compared"
    )
    new.write_text(HEADER + OLD.replace(".jpg", ".png"))
    assert "no path is in both" in cli("diff", old, new).stderr


LARGE = """
import resource, sys
old, new, n_bytes = sys.argv[1:]
from clipcli.cli.main import run
resource.setrlimit(resource.RLIMIT_DATA, (int(n_bytes), int(n_bytes)))
sys.exit(run(["diff", old, new, "--exit-code"]))
"""


def test_a_hundred_thousand_rows_take_seconds_and_little_memory(tmp_path: Path) -> None:
    for name, label in (("old.csv", "cat"), ("new.csv", "dog")):
        with open(tmp_path / name, "w") as file:
            file.write(HEADER)
            for n in range(N):
                row = label if n % 100 == 0 else "cow"
                file.write(f"photos/IMG_{n:06}.jpg,1,{row},0.5,0.2,true,softmax,lite\n")
    done = subprocess.run(
        [sys.executable, "-c", LARGE, tmp_path / "old.csv", tmp_path / "new.csv", str(MAX_BYTES)],
        capture_output=True,
        text=True,
        timeout=MAX_S,
        check=False,
    )
    assert done.stderr == "clipcli: 99,000 the same, 1,000 with another label, 0 new, 0 gone\n"
    assert done.stdout.count("\n") == 1 + N // 100
    assert done.returncode == 1
