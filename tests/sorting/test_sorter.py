"""Which files go where, and what happens when they are not as they were: real files, no model."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from pictures import DROP_RIGHTS
from places import ROOT, other_file_system

from clipcli.sorting.free_names import FreeNames
from clipcli.sorting.journal import NAME, locked_journal, read_journal
from clipcli.sorting.sorter import Sorter


def sort(root: Path, plan: dict[str, str], way: str = "move") -> Sorter:
    """plan: label by path."""
    root.mkdir(exist_ok=True)
    with locked_journal(str(root)) as journal:
        sorter = Sorter(way, str(root))  # type: ignore[arg-type]
        for path, label in plan.items():
            sorter.plan(path, [label])
        for _ in sorter.carry_out(plan, journal):
            pass
    return sorter


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text(name)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_raw_goes_along_with_its_jpeg_and_a_shared_sidecar_leaves_with_the_last(
    tmp_path: Path, inbox: Path
) -> None:
    fill(inbox, "a.JPG", "a.CR2", "a.CR2.xmp", "a.xmp", "b.jpg", "b.png", "b.xmp", "ab.cr2")
    root = tmp_path / "sorted"
    sort(root, {str(inbox / "a.JPG"): "dog", str(inbox / "b.jpg"): "dog"})
    assert names(root / "dog") == {"a.JPG", "a.CR2", "a.CR2.xmp", "a.xmp", "b.jpg"}
    assert names(inbox) == {"b.png", "b.xmp", "ab.cr2"}
    sort(root, {str(inbox / "b.png"): "cat"})
    assert names(root / "cat") == {"b.png", "b.xmp"}


def test_a_raw_that_is_labelled_by_itself_goes_its_own_way(tmp_path: Path, inbox: Path) -> None:
    fill(inbox, "a.jpg", "a.nef")
    sort(tmp_path / "s", {str(inbox / "a.jpg"): "dog", str(inbox / "a.nef"): "cat"})
    assert names(tmp_path / "s/dog") == {"a.jpg"}
    assert names(tmp_path / "s/cat") == {"a.nef"}


def test_a_raw_stays_where_a_picture_leaves_that_no_camera_made_of_it(
    tmp_path: Path, inbox: Path
) -> None:
    fill(inbox, "a.png", "a.nef")
    sort(tmp_path / "s", {str(inbox / "a.png"): "dog"})
    assert names(tmp_path / "s/dog") == {"a.png"}
    assert names(inbox) == {"a.nef"}


def test_names_that_differ_in_case_or_accents_are_kept_apart(tmp_path: Path) -> None:
    free = FreeNames(str(tmp_path))
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog/there.jpg.xmp").touch()
    assert free.reserve("dog", "/one", "a.jpg") == "a.jpg"
    assert free.reserve("dog", "/one", "a.png") == "a.png"  # of one stem in one folder
    assert free.reserve("dog", "/one", "A.JPG") == "A-2.JPG"
    assert free.reserve("Dog", "/two", "a.jpg") == "a-3.jpg"  # its sidecar must not meet another
    assert free.reserve("dog", "/one", "caf\u00e9.jpg") == "caf\u00e9.jpg"
    assert free.reserve("dog", "/two", "cafe\u0301.jpg") == "cafe\u0301-2.jpg"
    assert free.reserve("dog", "/two", "there.jpg") == "there-2.jpg"
    assert free.reserve("cat", "/two", "there.jpg") == "there.jpg"


def test_a_number_fits_behind_the_longest_names(tmp_path: Path) -> None:
    free = FreeNames(str(tmp_path))
    longest = "\u00e9" * 125 + "x.jpg"
    assert free.reserve("dog", "/one", longest) == longest
    given = {free.reserve("dog", f"/{n}", longest) for n in range(2, 12)}
    assert len(given) == 10
    for name in given:
        assert name.startswith("\u00e9\u00e9")
        (tmp_path / f"{name}_original").touch()


def test_equal_copies_find_their_own_places_again(tmp_path: Path, inbox: Path) -> None:
    """The same photograph in two folders, with sidecars that differ."""
    plan = {}
    for number in (1, 2):
        folder = inbox / str(number)
        folder.mkdir()
        fill(folder, "a.jpg")
        (folder / "a.jpg.xmp").write_text(f"{number}")
        plan[str(folder / "a.jpg")] = "dog"
    for n_copied in (2, 0):
        sorter = sort(tmp_path / "s", plan, "copy")
        assert (sorter.n_placed, sorter.n_failed) == (n_copied, 0)
    assert names(tmp_path / "s/dog") == {"a.jpg", "a.jpg.xmp", "a-2.jpg", "a-2.jpg.xmp"}


PLAN_AS_NOBODY = f"""
import logging, os, sys
from clipcli.sorting.sorter import Sorter
{DROP_RIGHTS}
logging.basicConfig(format="%(message)s")
sorter = Sorter("move", "sorted")
print([len(sorter.plan(path, ["dog"])) for path in sys.argv[1:]], sorter.n_failed)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a folder that belongs to another user")
def test_no_place_is_planned_for_what_may_not_leave_its_folder() -> None:
    with tempfile.TemporaryDirectory() as top:  # others may not enter that of pytest
        os.chmod(top, 0o755)
        for folder, mode in (("open", 0o777), ("shut", 0o755)):
            Path(top, folder).mkdir()
            Path(top, folder).chmod(mode)
            fill(Path(top, folder), "a.jpg", "b.jpg")
        paths = ("open/a.jpg", "shut/a.jpg", "shut/b.jpg")
        done = subprocess.run(
            [sys.executable, "-c", PLAN_AS_NOBODY, *paths],
            cwd=top,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout == "[1, 0, 0] 2\n"
    assert done.stderr == f"{top}/shut: no right to move photographs out of it; they stay\n"


FILL_LOG = """
import resource, sys
from clipcli.sorting.journal import MovedFile, locked_journal
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with locked_journal(sys.argv[1]) as journal:
    while True:
        journal.add([MovedFile("/in/a.jpg", "dog/a.jpg", 1, 1)], [], None)
"""


def test_a_log_on_a_full_disk_ends_with_a_whole_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILL_LOG, tmp_path],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "File too large" in done.stderr
    assert (tmp_path / NAME).read_bytes()[-1:] == b"\n"
    assert len(read_journal(str(tmp_path)).moves) > 2


def test_what_vanished_or_was_changed_after_it_was_labelled_stays(
    tmp_path: Path, inbox: Path, notes: list[str]
) -> None:
    fill(inbox, "gone.jpg", "changed.jpg", "taken.jpg", "good.jpg")
    root = tmp_path / "s"
    root.mkdir()
    sorter = Sorter("move", str(root))
    paths = [str(inbox / name) for name in sorted(names(inbox))]
    for path in paths:
        sorter.plan(path, ["dog"])
    (inbox / "gone.jpg").unlink()
    (inbox / "changed.jpg").write_text("another")
    (root / "dog").mkdir()
    (root / "dog/taken.jpg").write_text("from elsewhere")
    with locked_journal(str(root)) as journal:
        assert len([*sorter.carry_out(paths, journal)]) == 4
    assert (sorter.n_placed, sorter.n_failed) == (1, 3)
    assert names(inbox) == {"changed.jpg", "taken.jpg"}
    assert (root / "dog/taken.jpg").read_text() == "from elsewhere"
    assert notes == [
        f"{inbox}/changed.jpg: not moved: it was changed after it was labelled",
        f"{inbox}/gone.jpg: not moved: it is gone",
        f"{inbox}/taken.jpg: not moved: its place is taken",
    ]
    assert len(read_journal(str(root)).standing) == 1


def test_links_are_not_moved_and_hard_links_are_two_files(tmp_path: Path, inbox: Path) -> None:
    fill(inbox, "a.jpg")
    os.link(inbox / "a.jpg", inbox / "b.jpg")
    (inbox / "c.jpg").symlink_to("a.jpg")
    sorter = sort(tmp_path / "s", {str(inbox / f"{n}.jpg"): "dog" for n in "abc"})
    assert (sorter.n_placed, sorter.n_staying) == (2, 1)
    assert names(tmp_path / "s/dog") == {"a.jpg", "b.jpg"}
    assert names(inbox) == {"c.jpg"}


def test_nothing_is_lost_when_the_disk_is_full(tmp_path: Path, inbox: Path) -> None:
    """Across file systems: a file may not grow past a limit, the same error as of a full disk."""
    memory = other_file_system(tmp_path)
    fill(inbox, "a.jpg")
    (inbox / "b.jpg").write_bytes(bytes(100_000))
    script = (
        "import sys; from pathlib import Path; from test_sorter import sort\n"
        "sort(Path(sys.argv[1]), dict.fromkeys(sys.argv[2:], 'dog'))"
    )
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        done = subprocess.run(
            [sys.executable, "-c", script, folder, inbox / "a.jpg", inbox / "b.jpg"],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/tests:{ROOT}/tests/sorting"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr.splitlines()[-1] == (
            f"clipcli.errors.OutputError: {folder}: cannot be written: File too large; free"
            " some space; 1 were moved, the others stay"
        )
        assert names(Path(folder, "dog")) == {"a.jpg"}
        assert len((inbox / "b.jpg").read_bytes()) == 100_000
