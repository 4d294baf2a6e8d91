"""`classify --copy-to`, `--move-to` and `--link-to`: real photographs into real folders."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from places import other_file_system
from program import Result, command, run

from clipcli.sorting.journal import NAME, locked_journal

Cli = Callable[..., Result]
LABELS = ("--labels", "animal/cat,space/rocket,drink/coffee", "--min-probability", "0.9")
N_PHOTOS = int(os.environ.get("CLIPCLI_N_SORTED", 12))
N_KILLS = int(os.environ.get("CLIPCLI_N_KILLS", 1))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def inbox(here: Path, example_photos: Path) -> Path:
    """A cat twice, of one name; what goes along with it; a face that is none of the labels."""
    (here / "inbox/more").mkdir(parents=True)
    for name in ("cat", "coffee", "photographer"):
        shutil.copy(example_photos / f"{name}.jpg", here / "inbox")
    shutil.copy(example_photos / "cat.jpg", here / "inbox/more")
    for name in ("cat.jpg.xmp", "cat.XMP", "cat.jpg_original", "coffee.txt"):
        (here / "inbox" / name).write_text(name)
    return here / "inbox"


@pytest.fixture
def sort(cli: Cli, lite: str) -> Cli:
    return lambda *arguments: cli("classify", "inbox", "--model", lite, *LABELS, *arguments)


def files(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if not path.is_dir() and path.name != NAME
    )


SORTED = [
    *("animal/cat/cat-2.jpg", "animal/cat/cat.XMP", "animal/cat/cat.jpg"),
    *("animal/cat/cat.jpg.xmp", "animal/cat/cat.jpg_original", "drink/coffee/coffee.jpg"),
]


def test_photographs_are_moved_with_what_goes_along_and_the_record_says_where(
    sort: Cli, inbox: Path, here: Path
) -> None:
    result = sort("--move-to", "sorted")
    assert result.code == 0
    assert {row["path"]: row["moved_to"] for row in result.rows} == {
        "inbox/cat.jpg": "sorted/animal/cat/cat.jpg",
        "inbox/coffee.jpg": "sorted/drink/coffee/coffee.jpg",
        "inbox/more/cat.jpg": "sorted/animal/cat/cat-2.jpg",
        "inbox/photographer.jpg": "",
    }
    assert files(here / "sorted") == SORTED
    assert files(inbox) == ["coffee.txt", "photographer.jpg"]
    assert result.last_line == (
        f"clipcli: 3 moved to sorted (clipcli undo sorted/{NAME} moves them back), 1 stay"
    )


def test_a_later_run_has_the_rows_of_what_was_moved_before_in_the_same_order(
    sort: Cli, inbox: Path, here: Path, example_photos: Path
) -> None:
    sort("--move-to", "sorted", "-o", "one.jsonl")
    sort("--move-to", "sorted", "-o", "two.jsonl")
    assert (here / "one.jsonl").read_bytes() == (here / "two.jsonl").read_bytes()
    shutil.copy(example_photos / "rocket.jpg", inbox / "d.jpg")
    (inbox / "photographer.jpg").unlink()
    result = sort("--move-to", "sorted", "--format", "jsonl")
    assert [(one["path"], one["moved_to"]) for one in result.objects] == [
        ("inbox/cat.jpg", "sorted/animal/cat/cat.jpg"),
        ("inbox/coffee.jpg", "sorted/drink/coffee/coffee.jpg"),
        ("inbox/d.jpg", "sorted/space/rocket/d.jpg"),
        ("inbox/more/cat.jpg", "sorted/animal/cat/cat-2.jpg"),
    ]
    emptied = sort("--move-to", "sorted", "--format", "jsonl")
    assert emptied.objects == result.objects
    assert (emptied.code, emptied.last_line) == (
        0,
        "clipcli: 0 moved to sorted, 4 moved before, 0 stay",
    )
    left_out = sort("--move-to", "sorted", "--exclude", "more", "--format", "jsonl")
    assert left_out.objects == result.objects[:3]


def test_photographs_of_one_name_keep_their_own_rows(
    sort: Cli, cli: Cli, inbox: Path, here: Path, example_photos: Path
) -> None:
    """A camera begins again with IMG_1.jpg: then two rows have one path, and lie in two places."""
    shutil.rmtree(inbox)
    inbox.mkdir()
    for name in ("cat", "coffee"):
        shutil.copy(example_photos / f"{name}.jpg", inbox / "IMG_1.jpg")
        for format in ("csv", "jsonl"):
            sort("--move-to", "sorted", "-o", f"{name}.{format}")
    for format in ("csv", "jsonl"):
        differences = cli("diff", f"cat.{format}", f"coffee.{format}")
        assert differences.last_line.endswith("1 the same, 0 with another label, 1 new, 0 gone")
        shutil.copy(f"cat.{format}", f"new.{format}")
        updated = sort("--move-to", "sorted", "-o", f"new.{format}", "--update")
        assert "1 new, 0 changed, 0 gone, 0 with another label" in updated.stderr
        assert cli("tag", f"coffee.{format}", "--min-probability", "0.9").code == 0
    words = {
        path.parent.name: [name for name in ("cat", "coffee") if f">{name}<" in path.read_text()]
        for path in (here / "sorted").rglob("*.xmp")
    }
    assert words == {"cat": ["cat"], "coffee": ["coffee"]}


def test_a_second_copy_adds_nothing(sort: Cli, inbox: Path, here: Path) -> None:
    before = files(inbox)
    for n_copied, there in ((3, ""), (0, ", 3 there already")):
        result = sort("--copy-to", "sorted")
        assert "moved_to" not in result.rows[0]
        assert result.last_line == f"clipcli: {n_copied} copied to sorted{there}, 1 stay"
        assert files(here / "sorted") == SORTED
    assert files(inbox) == before


@pytest.mark.parametrize("hard", [False, True])
def test_links_stand_in_the_folder_of_every_accepted_label(
    cli: Cli, lite: str, inbox: Path, here: Path, hard: bool
) -> None:
    options = ("--labels", "cat,animal", "--multi-label", "--min-probability", 0, "--link-to", "s")
    for _ in range(2):
        cli("classify", "inbox/cat.jpg", "--model", lite, *options, *["--hard"] * hard)
        names = ("cat.XMP", "cat.jpg", "cat.jpg.xmp", "cat.jpg_original")
        assert files(here / "s") == [f"{a}/{b}" for a in ("animal", "cat") for b in names]
    link = here / "s/animal/cat.jpg"
    assert link.is_symlink() != hard
    assert link.samefile(inbox / "cat.jpg")
    if not hard:
        assert os.readlink(link) == "../../inbox/cat.jpg"


def test_a_dry_run_shows_the_plan_and_does_nothing(sort: Cli, inbox: Path, here: Path) -> None:
    before = files(here)
    result = sort("--move-to", "sorted", "--dry-run", "-o", "rows.csv")
    assert result.stdout.decode().splitlines() == [
        "path,label,to",
        "inbox/cat.jpg,animal/cat,sorted/animal/cat/cat.jpg",
        "inbox/coffee.jpg,drink/coffee,sorted/drink/coffee/coffee.jpg",
        "inbox/more/cat.jpg,animal/cat,sorted/animal/cat/cat-2.jpg",
    ]
    assert result.last_line == "clipcli: nothing was done; 3 would be moved to sorted, 1 stay"
    assert files(here) == before
    assert not (here / "sorted").exists()


def test_the_destination_is_left_out_of_the_walk(
    sort: Cli, inbox: Path, here: Path, example_photos: Path
) -> None:
    sort("--copy-to", "inbox/sorted")
    (inbox / "link.jpg").symlink_to("sorted/animal/cat/cat.jpg")
    result = sort("--copy-to", "inbox/sorted")
    assert [row["path"] for row in result.rows] == [
        *("inbox/cat.jpg", "inbox/coffee.jpg", "inbox/more/cat.jpg", "inbox/photographer.jpg")
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--move-to s --copy-to t", "--copy-to and --move-to are two ways to sort"),
        ("--copy-to s --hard", "--hard: no --link-to DIR"),
        ("--dry-run", "--dry-run: nothing would be written or moved"),
        ("--move-to inbox", "--move-to inbox: inbox lies in it"),
        ("--move-to .", "--move-to .: inbox lies in it"),
        ("--move-to inbox/cat.jpg", "--move-to inbox/cat.jpg: is no folder"),
        ("--move-to taken", "taken/animal is no folder"),
        ("--move-to around", "--move-to around: around/animal/cat leads into inbox"),
        ("--move-to s --labels a/../b", "a/../b: a part that is .."),
        ("--move-to s --labels a//b", "a//b: an empty part; expected a word"),
        ("--move-to s --labels con,b", "cannot be a folder: con is a device on Windows"),
        (f"--move-to s --labels {'x' * 256}", "256 bytes, of 255 at most"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(
    sort: Cli, inbox: Path, here: Path, options: str, said: str
) -> None:
    (here / "taken").mkdir()
    (here / "taken/animal").write_text("a file")
    (here / "around/animal").mkdir(parents=True)
    (here / "around/animal/cat").symlink_to(inbox)
    before = files(here)
    result = sort(*options.split())
    assert (result.code, result.stdout) == (2, b"")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert files(here) == before


def test_some_label_must_be_able_to_lose(cli: Cli, lite: str, inbox: Path) -> None:
    result = cli("classify", "inbox", "--model", lite, "--labels", "a,b", "--move-to", "s")
    assert result.code == 2
    assert "--move-to: one label wins on every photograph" in result.stderr


def test_a_destination_without_its_disk_is_refused(sort: Cli, inbox: Path, here: Path) -> None:
    result = sort("--move-to", "disk/sorted")
    assert result.code == 1
    assert "disk/sorted: cannot be written: there is no folder disk" in result.stderr


def test_hard_links_to_another_file_system_are_refused(sort: Cli, inbox: Path, here: Path) -> None:
    memory = other_file_system(here)
    result = sort("--link-to", memory / "clipcli-links", "--hard")
    assert result.code == 2
    assert "--hard: inbox is on another file system" in result.stderr


def test_a_second_run_at_the_same_time_ends_at_once(sort: Cli, inbox: Path, here: Path) -> None:
    before = files(inbox)
    (here / "sorted").mkdir()
    with locked_journal("sorted"):
        result = sort("--move-to", "sorted")
    assert result.code == 4
    assert "another run is moving photographs there" in result.stderr
    assert files(inbox) == before


def test_nothing_is_moved_when_the_rows_cannot_be_written(
    lite: str, inbox: Path, here: Path
) -> None:
    before = files(inbox)
    done = subprocess.run(
        command("classify", "inbox", "--model", lite, *LABELS, "--move-to", "s", "-o", "rows.csv"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"rows.csv: cannot be written" in done.stderr
    assert files(inbox) == before


def test_names_that_are_no_utf8_come_and_go(sort: Cli, cli: Cli, here: Path, inbox: Path) -> None:
    os.rename("inbox/cat.jpg", b"inbox/k\xe4tzchen.jpg")
    result = sort("--move-to", "sorted")
    assert b"inbox/k\xe4tzchen.jpg,1,animal/cat" in result.stdout
    assert os.path.exists(b"sorted/animal/cat/k\xe4tzchen.jpg")
    assert cli("undo", "sorted").code == 0
    assert os.path.exists(b"inbox/k\xe4tzchen.jpg")


def test_a_killed_run_is_finished_by_the_next(lite: str, here: Path, example_photos: Path) -> None:
    (here / "inbox").mkdir()
    cats = (example_photos / "cat.jpg").read_bytes()
    for number in range(N_PHOTOS):
        (here / f"inbox/{number:04}.jpg").write_bytes(cats + b"%d" % number)
    before = sorted(path.read_bytes() for path in (here / "inbox").iterdir())
    arguments = ("classify", "inbox", "--model", lite, *LABELS, "--move-to", "sorted")
    run(*arguments, "--dry-run")
    some = random.Random(0)
    log = here / "sorted" / NAME
    for _ in range(N_KILLS):
        n_least = some.randrange(2 * N_PHOTOS // N_KILLS)
        n_least += log.read_bytes().count(b"\n") if log.exists() else 0
        with subprocess.Popen(
            command(*arguments, "-o", "rows.jsonl"), stderr=subprocess.DEVNULL
        ) as process:
            while process.poll() is None and not (
                log.exists() and log.read_bytes().count(b"\n") > n_least
            ):
                pass
            process.kill()
    result = run(*arguments, "-o", "rows.jsonl")
    assert result.code == 0
    there = sorted(path.read_bytes() for path in (here / "sorted/animal/cat").iterdir())
    assert there == before
    assert [*(here / "inbox").iterdir()] == []
    rows = [json.loads(line) for line in (here / "rows.jsonl").read_text().splitlines()]
    assert [(row["path"], row["moved_to"]) for row in rows] == [
        (f"inbox/{number:04}.jpg", f"sorted/animal/cat/{number:04}.jpg")
        for number in range(N_PHOTOS)
    ]
