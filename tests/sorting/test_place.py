"""One file to its place, with real files: nothing is overwritten, whatever was interrupted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pictures import DROP_RIGHTS
from places import ROOT

from clipcli.sorting import place


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"a photograph")
    path.chmod(0o640)
    os.utime(path, ns=(1, 1_234_567_891))
    return path


@pytest.mark.parametrize("how", [place.move, place.copy, place.link, place.hard_link])
def test_what_is_there_stays(photo: Path, tmp_path: Path, how: object) -> None:
    target = tmp_path / "there.jpg"
    target.write_bytes(b"another")
    with pytest.raises(FileExistsError):
        how(str(photo), str(target))  # type: ignore[operator]
    assert (photo.read_bytes(), target.read_bytes()) == (b"a photograph", b"another")
    assert {path.name for path in tmp_path.iterdir()} == {"photo.jpg", "there.jpg"}


def test_a_copy_keeps_times_and_mode(photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.jpg"
    place.copy(str(photo), str(target))
    assert target.read_bytes() == photo.read_bytes()
    assert target.stat().st_mtime_ns == 1_234_567_891
    assert target.stat().st_mode == photo.stat().st_mode


def test_a_link_leads_there_when_the_tree_is_moved(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "tree/in").mkdir(parents=True)
    (tmp_path / "tree/sorted/dog").mkdir(parents=True)
    original = photo.rename(tmp_path / "tree/in/photo.jpg")
    (tmp_path / "tree/in/other.jpg").symlink_to(original)  # a link to a link is one to the file
    place.link(str(tmp_path / "tree/in/other.jpg"), str(tmp_path / "tree/sorted/dog/photo.jpg"))
    moved = (tmp_path / "tree").rename(tmp_path / "elsewhere")
    assert os.readlink(moved / "sorted/dog/photo.jpg") == "../../in/photo.jpg"
    assert (moved / "sorted/dog/photo.jpg").read_bytes() == b"a photograph"


def half_linked(photo: Path, target: Path) -> None:
    os.link(photo, target)


def half_copied(photo: Path, target: Path) -> None:
    target.with_name(place.PART).write_bytes(b"a photo")


def copied_and_not_deleted(photo: Path, target: Path) -> None:
    place.copy(str(photo), str(target))


def reserved(photo: Path, target: Path) -> None:
    target.touch()


def moved(photo: Path, target: Path) -> None:
    photo.rename(target)


@pytest.mark.parametrize(
    "killed", [half_linked, half_copied, copied_and_not_deleted, reserved, moved]
)
def test_a_move_that_was_killed_is_finished(photo: Path, tmp_path: Path, killed: object) -> None:
    target = tmp_path / "moved.jpg"
    killed(photo, target)  # type: ignore[operator]
    place.finish_move(str(photo), str(target))
    assert [path.name for path in tmp_path.iterdir()] == ["moved.jpg"]
    assert target.read_bytes() == b"a photograph"


def test_a_move_is_not_finished_onto_another_file(photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "moved.jpg"
    target.write_bytes(b"another one!")
    with pytest.raises(FileExistsError):
        place.finish_move(str(photo), str(target))
    assert (photo.read_bytes(), target.read_bytes()) == (b"a photograph", b"another one!")


MOVE_AS_NOBODY = f"""
import os, sys
from clipcli.sorting import place
{DROP_RIGHTS}
for source, target in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        place.move(source, target)
        print("moved")
    except OSError as error:
        print(error.strerror)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a file that belongs to another user")
def test_where_no_hard_link_may_be_made_and_where_nothing_may_be_deleted(tmp_path: Path) -> None:
    """Others' files cannot be linked to; they can be renamed, and never over another one."""
    folders = [tmp_path / name for name in ("open", "shut")]
    for folder, mode in zip(folders, (0o777, 0o755), strict=True):
        folder.mkdir()
        folder.chmod(mode)
        for name in ("one", "two"):
            (folder / name).write_bytes(name.encode())
    (folders[1] / "one").chmod(0o666)  # may be linked to, so the target comes to be
    tmp_path.chmod(0o755)
    ways = ["open/one", "open/two", "open/one", "open/three", "shut/one", "open/four"]
    done = subprocess.run(
        [sys.executable, "-c", MOVE_AS_NOBODY, *ways],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["File exists", "moved", "Permission denied"]
    assert {path.name: path.read_text() for path in folders[0].iterdir()} == {
        "two": "two",
        "three": "one",
    }
    assert {path.name for path in folders[1].iterdir()} == {"one", "two"}


def test_one_file_under_two_names_is_not_deleted(photo: Path, tmp_path: Path) -> None:
    """Through a link to its folder it is no second file, and a link to it is none either."""
    (tmp_path / "here").symlink_to(".")
    place.finish_move(str(photo), str(tmp_path / "here/photo.jpg"))
    assert photo.read_bytes() == b"a photograph"
    link = tmp_path / "link.jpg"
    link.symlink_to(photo)
    for source, target in ((photo, link), (link, photo)):
        with pytest.raises(FileExistsError):
            place.finish_move(str(source), str(target))
    assert photo.read_bytes() == b"a photograph"
