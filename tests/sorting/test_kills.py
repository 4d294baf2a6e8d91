"""No photograph is lost, whatever kills the run: kill -9 at random moments, on one file system and
across two. CLIPCLI_N_SORTED and CLIPCLI_N_KILLS make it larger than usual."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import other_file_system

from clipcli.sorting.journal import NAME, locked_journal
from clipcli.sorting.undo import undo

N_PHOTOS = int(os.environ.get("CLIPCLI_N_SORTED", 60))
N_KILLS = int(os.environ.get("CLIPCLI_N_KILLS", 5))
LABELS = ("animal/dog", "animal/cat", "thing")

# what `classify --move-to` does behind its model; a line for each photograph that is settled
SORT = f"""
import os, sys
from clipcli.photos.find import find_photos
from clipcli.records import Photo
from clipcli.sorting.journal import locked_journal
from clipcli.sorting.sorter import Sorter
from clipcli.sorting.undo import finish_begun, undo

inbox, root, what = sys.argv[1:]
with locked_journal(root) as journal:
    if what == "undo":
        for _ in undo(journal):
            print(flush=True)
        sys.exit()
    finish_begun(journal)
    sorter = Sorter("move", root)
    photos = [one.path for one in find_photos([inbox]) if isinstance(one, Photo)]
    for path in photos:
        sorter.plan(path, [{LABELS}[int(os.path.basename(path)[4:-4]) % 3]])
    for _ in sorter.carry_out(photos, journal):
        print(flush=True)
    sys.exit(sorter.n_failed)
"""


@pytest.fixture(params=["one file system", "two file systems"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where photographs go."""
    if request.param == "one file system":
        (tmp_path / "sorted").mkdir()
        yield tmp_path / "sorted"
        return
    with tempfile.TemporaryDirectory(dir=other_file_system(tmp_path)) as folder:
        yield Path(folder)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Photographs in three folders, of the same names; some have a sidecar."""
    folder = tmp_path / "inbox"
    some = random.Random(0)
    for number in range(N_PHOTOS):
        path = folder / f"card{number % 3}" / f"IMG_{number // 3}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(some.randbytes(some.randrange(1, 200_000)))
        os.utime(path, ns=(number * 10**9 + 7, number * 10**9 + 123_456_789))
        if number % 4 == 0:
            path.with_name(f"{path.name}.xmp").write_bytes(some.randbytes(100))
    return folder


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Of each file its bytes, as a digest, and when it was last changed."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).digest(),
            path.stat().st_mtime_ns,
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


def kill_somewhere(inbox: Path, root: Path, what: str, some: random.Random) -> None:
    """After a random photograph, and a random moment later."""
    command = [sys.executable, "-c", SORT, str(inbox), str(root), what]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(some.randrange(max(1, 2 * N_PHOTOS // N_KILLS))):
            process.stdout.readline()
        until_s = time.monotonic() + some.random() * 0.005
        while time.monotonic() < until_s:
            pass
        process.kill()


def contents(*folders: Path) -> list[tuple[bytes, int]]:
    return sorted(
        what
        for folder in folders
        for path, what in tree(folder).items()
        if os.path.basename(path) not in (NAME, ".clipcli-part")
    )


def test_killed_moves_lose_nothing_and_all_comes_back(inbox: Path, root: Path) -> None:
    some = random.Random(0)
    before = tree(inbox)
    everything = sorted(before.values())
    for _ in range(N_KILLS):
        kill_somewhere(inbox, root, "sort", some)
        assert {*everything} <= {*contents(inbox, root)}
    command = [sys.executable, "-c", SORT, str(inbox), str(root), "sort"]
    subprocess.run(command, check=True, capture_output=True)
    assert tree(inbox) == {}
    assert contents(root) == everything
    assert [*root.rglob(".clipcli-part")] == []
    folders = {path.parent.relative_to(root).as_posix() for path in root.rglob("*.jpg")}
    assert folders == {*LABELS}

    for _ in range(N_KILLS):
        kill_somewhere(inbox, root, "undo", some)
        assert {*everything} <= {*contents(inbox, root)}
    with locked_journal(str(root)) as journal:
        assert [why for _, why in undo(journal) if why] == []
    assert tree(inbox) == before
    assert [path.name for path in root.rglob("*")] == [NAME]
