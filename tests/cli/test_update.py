"""`classify --update`: rows as of a fresh run, what changed in them, and a file that stays."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from families import make_siglip
from pictures import save_truncated_jpeg
from PIL import Image
from program import Result, command, run, started
from terminal import Terminal

Cli = Callable[..., Result]
LABELS = "cat,rocket,coffee"
NONE_NEW = "0 new, 0 changed, 0 gone, 0 with another label"
FIRST = "3 new, 0 changed, 0 gone, 0 with another label"


@pytest.fixture
def album(tmp_path: Path, example_photos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photographs of a cat, coffee and a rocket, and a file that is none."""
    monkeypatch.chdir(tmp_path)
    Path("album/below").mkdir(parents=True)
    for name in ("cat.jpg", "coffee.jpg", "below/rocket.jpg"):
        shutil.copy(example_photos / Path(name).name, f"album/{name}")
    Path("album/notes.txt").touch()
    return Path("album")


@pytest.fixture
def classify(cli: Cli, lite: str, album: Path) -> Cli:
    """Into rows.csv, and from `album` where no other PATH is given."""

    def call(
        *options: object, paths: tuple[object, ...] = (album,), output: object = "rows.csv"
    ) -> Result:
        return cli("classify", *paths, "--model", lite, "--labels", LABELS, "-o", output, *options)

    return call


@pytest.fixture
def updated(classify: Cli) -> Cli:
    return lambda *options, **more: classify(*options, "--update", **more)


def changes(result: Result) -> str:
    """How the summary ends."""
    return result.last_line.rpartition("; ")[2]


def state_of(name: str) -> object:
    """What shows that a file was written, even with the same bytes."""
    stat = os.stat(name)
    return Path(name).read_bytes(), stat.st_mtime_ns, stat.st_ino


@pytest.fixture
def check(updated: Cli, classify: Cli) -> Callable[..., None]:
    """That rows are those of a fresh run, what is said of them, and that they then stay."""

    def call(expected: str, *options: object, suffix: str = "csv") -> None:
        rows, fresh_rows = f"rows.{suffix}", f"fresh.{suffix}"
        result = updated(*options, output=rows)
        assert re.fullmatch(expected, changes(result)), result.stderr
        fresh = classify(*options, "--no-cache", output=fresh_rows)
        assert result.code == fresh.code
        assert Path(rows).read_bytes() == Path(fresh_rows).read_bytes()
        before = state_of(rows)
        again = updated(*options, output=rows)
        assert again.last_line.startswith("clipcli: nothing new: ")
        assert (again.code, state_of(rows)) == (result.code, before)

    return call


def test_rows_are_those_of_a_fresh_run_whatever_changed(
    check: Callable[..., None], album: Path, example_photos: Path, tmp_path: Path
) -> None:
    check(FIRST)
    shutil.copy(example_photos / "galaxies.jpg", album / "new.jpg")
    check("1 new, 0 changed, 0 gone, 0 with another label")
    shutil.copy(album / "cat.jpg", album / "coffee.jpg")  # what it holds is known, and not here
    check("0 new, 1 changed, 0 gone, 1 with another label")
    (album / "new.jpg").rename(album / "named.jpg")
    (album / "below/rocket.jpg").unlink()
    check("1 new, 0 changed, 2 gone, 0 with another label")
    save_truncated_jpeg(album / "coffee.jpg")
    check("0 new, 0 changed, 1 gone, 0 with another label")
    check(NONE_NEW, "--top-k", 3)
    check(
        "0 new, 0 changed, 0 gone, 2 with another label", "--labels", "pet,stars", "--multi-label"
    )
    siglip = make_siglip(tmp_path / "siglip")
    check("0 new, 0 changed, 0 gone, [012] with another label", "--model", siglip)


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_failures_among_the_rows_are_no_labels(
    check: Callable[..., None], album: Path, suffix: str
) -> None:
    save_truncated_jpeg(album / "a, {.jpg")
    check(FIRST, suffix=suffix)
    save_truncated_jpeg(album / "cat.jpg")
    (album / "coffee.jpg").rename(album / os.fsdecode(b"caf\xe9\r.jpg"))
    check("1 new, 0 changed, 2 gone, 0 with another label", suffix=suffix)


def test_the_next_program_gets_what_is_new_or_changed(
    updated: Cli, album: Path, example_photos: Path
) -> None:
    updated()
    (album / "cat.jpg").rename(album / "dog.jpg")
    shutil.copy(example_photos / "galaxies.jpg", album / "coffee.jpg")
    with Image.open(album / "below/rocket.jpg") as rocket:
        rocket.crop((8, 8, *rocket.size)).save(album / "below/rocket.jpg")  # still a rocket
    shutil.copy2("rows.csv", "old.csv")
    expected = ["album/below/rocket.jpg", "album/coffee.jpg", "album/dog.jpg"]
    for name in ("new.csv", "new.json", "new.jsonl", "new", "-"):
        shutil.copy2("old.csv", "rows.csv")  # with the time of its writing
        result = updated("--new-rows", name)
        assert changes(result) == "1 new, 2 changed, 1 gone, 1 with another label"
        text = result.stdout if name == "-" else Path(name).read_bytes()
        rows: list[dict[str, str]]
        if name.endswith(".json"):
            rows = json.loads(text)
        elif name.endswith(".jsonl"):
            rows = [json.loads(line) for line in text.splitlines()]
        else:
            rows = [*csv.DictReader(io.StringIO(text.decode()))]
            assert set(text.splitlines()) <= set(Path("rows.csv").read_bytes().splitlines())
        assert [row["path"] for row in rows] == expected, name
    for name, empty in (
        ("new.csv", Path("rows.csv").read_bytes().splitlines(True)[0]),
        ("new.json", b"[]\n"),
        ("new.jsonl", b""),
        ("-", b""),
    ):
        (album / "dog.jpg").touch()
        result = updated("--new-rows", name, "--top-k", 2)  # other ranks, the same label
        assert (result.stdout if name == "-" else Path(name).read_bytes()) == empty


def test_what_changes_while_a_run_goes_on_is_newer_than_its_rows(
    lite: str, album: Path, example_photos: Path
) -> None:
    arguments = ("--labels", LABELS, "--model", lite, "--update", "-o", "rows.csv")
    process = subprocess.Popen(command("classify", "-", *arguments), stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"\n" * 200_000)  # more than a pipe holds: it now reads the list
    shutil.copyfile(example_photos / "galaxies.jpg", album / "cat.jpg")
    process.communicate(str(album / "cat.jpg").encode())
    assert process.returncode == 0
    assert os.stat("rows.csv").st_mtime_ns < os.stat(album / "cat.jpg").st_mtime_ns


def test_rows_go_through_a_link_to_a_file_that_is_not_there_yet(updated: Cli) -> None:
    os.symlink("kept.csv", "rows.csv")
    assert changes(updated()) == FIRST
    assert changes(updated("--top-k", 2)) == NONE_NEW
    assert Path("rows.csv").is_symlink()
    assert not Path("kept.csv").is_symlink()


def test_what_would_lose_rows_changes_nothing(updated: Cli, album: Path, tmp_path: Path) -> None:
    """A disk that is not mounted, of several or below."""
    updated()
    empty, gone = Path("empty"), Path("gone")
    empty.mkdir()
    Path("linked").symlink_to("mount/photos")
    before = state_of("rows.csv")
    end = "--update changed nothing"
    hint = "; --allow-empty, if that is all right"
    for paths, said in {
        (empty,): f"empty: no photograph in this folder; {end}{hint}",
        (album, empty): f"empty: no photograph in this folder; {end}{hint}",
        (album, gone): f"gone: no such file or folder; {end}",
        ("linked", album): f"linked: a link to nothing; {end}",
        (gone, album, "away"): (
            f"gone: no such file or folder, away: no such file or folder; {end}"
        ),
    }.items():
        result = updated("--new-rows", "new.csv", "--failures", "failed.csv", paths=paths)
        assert (result.code, result.stdout) == (1, b"")
        assert result.stderr == f"clipcli: {said}\n"
    assert state_of("rows.csv") == before
    assert {*os.listdir()} == {"album", "empty", "linked", "rows.csv"}
    result = run(*"classify - --labels a,b --model lite --update -o rows.csv".split())
    assert (result.code, result.stderr) == (
        1,
        "clipcli: -: no path on stdin; --update changed nothing; expected a list of paths\n",
    )
    assert state_of("rows.csv") == before
    result = updated("--allow-empty", paths=(empty,))
    assert (result.code, changes(result)) == (0, "0 new, 0 changed, 3 gone, 0 with another label")
    assert Path("rows.csv").read_text().count("\n") == 1


def test_a_name_for_none_fits_is_another_answer_than_a_label_as_diff_has_it(
    cli: Cli, lite: str, album: Path
) -> None:
    common = ("classify", album, "--model", lite, "-o", "rows.csv", "--update")
    cli(*common, "--labels", "cat,rocket", "--unknown", "pet", "--min-probability", 1)
    shutil.copy("rows.csv", "old.csv")
    result = cli(*common, "--labels", "pet,rocket")
    assert changes(result) == "0 new, 0 changed, 0 gone, 3 with another label"
    assert " 3 with another label, " in cli("diff", "old.csv", "rows.csv").last_line


def test_a_dry_run_compares_nothing_and_writes_no_new_rows(updated: Cli, album: Path) -> None:
    updated()
    before = state_of("rows.csv")
    (album / "cat.jpg").rename(album / "dog.jpg")
    dry = ("--new-rows", "new.csv", "--move-to", "sorted", "--min-probability", 0, "--dry-run")
    result = updated(*dry)
    assert (result.code, len(result.rows)) == (0, 3)
    assert " gone" not in result.stderr
    assert state_of("rows.csv") == before
    assert {*os.listdir()} == {"album", "rows.csv"}
    assert updated(*dry, paths=("away",)).code == 1


def test_a_folder_below_that_cannot_be_read_changes_nothing(
    updated: Cli, tmp_path: Path, album: Path
) -> None:
    updated()
    updated()  # what reads old rows is imported while that is allowed
    before = state_of("rows.csv")
    for folder in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
        folder.chmod(0o755)
    tmp_path.chmod(0o777)
    (album / "below").chmod(0)
    rights = os.geteuid()
    try:
        if rights == 0:
            os.seteuid(65534)
        result = updated()
    finally:
        os.seteuid(rights)
        (album / "below").chmod(0o755)
    said = "album/below: folder cannot be read: Permission denied; --update changed nothing"
    assert (result.code, result.stderr) == (1, f"clipcli: {said}\n")
    assert state_of("rows.csv") == before


def test_what_is_no_output_of_classify_is_not_replaced(updated: Cli, tmp_path: Path) -> None:
    updated(output="rows.csv")
    rows = Path("rows.csv").read_text()
    judged = "path,label\nalbum/cat.jpg,cat\n"
    for text in ("my notes\n", judged, rows[:-20], '{"a": ', "[1, 2]\n", "\0"):
        Path("other.csv").write_text(text)
        result = updated(output="other.csv")
        assert (result.code, len(result.stderr.splitlines())) == (1, 1), text
        assert result.stderr.startswith("clipcli: other.csv"), text
        assert Path("other.csv").read_text() == text
    Path("other.csv").write_text("")  # as JSON Lines without rows are
    assert changes(updated(output="other.csv")) == FIRST
    Path("other.csv").write_bytes(b"\xef\xbb\xbf" + rows.replace("\n", "\r\n").encode())
    assert changes(updated(output="other.csv")) == NONE_NEW  # saved by a spreadsheet
    assert Path("other.csv").read_text() == rows


def test_under_auto_no_other_model_answers(
    cli: Cli, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPCLI_OFFLINE", "1")
    command = ("classify", album, "--labels", LABELS, "-o", "rows.csv", "--update")
    result = cli(*command)
    assert result.code == 1
    assert result.last_line.startswith("clipcli: --update: not with lite, which nobody asked for")
    assert os.listdir() == ["album"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--update"], "--update: of which file? give --output FILE"),
        (["--new-rows", "-"], "--new-rows: new since when? give --update too, with --output FILE"),
        (["--update", "-o", "/dev/null"], "--update: /dev/null keeps no rows;"),
        (["--update", "-o", "album"], "--update: album keeps no rows;"),
        (["--update", "-o", "rows.txt", "--format", "table"], "--update: a table for people"),
        (["--update", "-o", "rows.csv", "--no-cache"], "--update takes what it knows from"),
        (["--update", "-o", "rows.csv", "--new-rows", "rows.csv"], "--output and --new-rows name"),
        (["--update", "-o", "rows.csv", "--new-rows", "new.xlsx"], "--new-rows new.xlsx: .xlsx is"),
    ],
)
def test_what_cannot_be_kept_up_to_date_is_refused(
    cli: Cli, album: Path, options: list[str], said: str
) -> None:
    result = cli("classify", album, "--labels", LABELS, *options)
    assert (result.code, result.stdout) == (2, b"")
    assert result.stderr.startswith(f"clipcli: {said}")
    assert len(result.stderr.splitlines()) == 1
    assert os.listdir() == ["album"]


def test_a_second_run_ends_before_it_looks_for_anything(updated: Cli, classify: Cli) -> None:
    with Path("rows.csv.part").open("wb") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        for run_one in (updated, classify):
            result = run_one("--model", "no-such-model", paths=("gone",))
            assert (result.code, result.stdout) == (4, b"")
            assert result.stderr == (
                f"clipcli: {Path.cwd()}/rows.csv.part: another run is writing it; wait for that run"
                " or choose another --output\n"
            )
    assert updated(paths=("gone",)).code == 1
    assert not Path("rows.csv.part").exists()


def test_a_killed_run_leaves_the_old_rows_and_no_lock(
    updated: Cli, lite: str, album: Path, example_photos: Path
) -> None:
    updated()
    before = state_of("rows.csv")
    for index in range(100):
        shutil.copy(example_photos / "galaxies.jpg", album / f"{index:03}.jpg")
        with (album / f"{index:03}.jpg").open("ab") as file:
            file.write(b"%d" % index)  # so that each is read
    arguments = ("--labels", LABELS, "--model", lite, "--update", "-o", "rows.csv")
    part = Path("rows.csv.part")
    with started(command("classify", album, *arguments)) as process:
        while not part.exists() or part.read_bytes().count(b"\n") < 5:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert state_of("rows.csv") == before
    assert changes(updated()) == "100 new, 0 changed, 0 gone, 0 with another label"
    assert {*os.listdir()} == {"album", "rows.csv"}


def test_it_is_quiet_when_there_is_nothing_to_do(
    updated: Cli, tmp_path: Path, album: Path, lite: str
) -> None:
    updated(output="rows.csv", paths=(tmp_path / album,))
    assert updated("--quiet", paths=(tmp_path / album,)).stderr == ""
    arguments = ("--labels", LABELS, "--model", lite, "--update", "-o", tmp_path / "rows.csv")
    terminal = Terminal(tmp_path)
    cache = os.environ["CLIPCLI_CACHE"]
    assert terminal.run("classify", tmp_path / album, *arguments, CLIPCLI_CACHE=cache) == (
        0,
        f"clipcli: nothing new: 3 files labelled as before; {tmp_path}/rows.csv stays as it was\n",
    )
    terminal.close()
