"""`clipcli undo`: moved photographs back, and nothing overwritten."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from places import other_file_system
from program import Result

from clipcli.sorting.journal import NAME

Cli = Callable[..., Result]


@pytest.fixture
def moved(
    cli: Cli, lite: str, tmp_path: Path, example_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A disk on which three photographs were moved from in/ to out/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "disk/in").mkdir(parents=True)
    (tmp_path / "disk/out/thing").mkdir(parents=True)
    for name in ("cat", "coffee", "rocket"):
        shutil.copy(example_photos / f"{name}.jpg", tmp_path / "disk/in")
    (tmp_path / "disk/in/cat.jpg.xmp").write_text("cat")
    options = ("--labels", "thing,animal/cat", "--min-probability", 0, "--move-to", "disk/out")
    assert cli("classify", "disk/in", "--model", lite, *options).code == 0
    return tmp_path / "disk"


def files(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.name != NAME)
    return sorted(str(path.relative_to(folder)) for path in found if not path.is_dir())


BACK = ["in/cat.jpg", "in/cat.jpg.xmp", "in/coffee.jpg", "in/rocket.jpg"]


@pytest.mark.parametrize("log", ["disk/out", f"disk/out/{NAME}"])
def test_all_comes_back_and_folders_that_were_made_go(cli: Cli, moved: Path, log: str) -> None:
    times = {path.name: path.stat().st_mtime_ns for path in (moved / "out").rglob("*.jpg")}
    shown = cli("undo", log, "--dry-run")
    assert len(shown.rows) == 3
    assert shown.rows[0] == {
        "path": "disk/out/thing/rocket.jpg",
        "to": f"{moved}/in/rocket.jpg",
    }
    assert files(moved / "in") == []
    result = cli("undo", log)
    assert (result.code, result.stderr) == (0, "clipcli: 3 moved back\n")
    assert files(moved) == BACK
    assert {path.name: path.stat().st_mtime_ns for path in (moved / "in").glob("*.jpg")} == times
    assert {path.name for path in (moved / "out").iterdir()} == {NAME, "thing"}
    assert cli("undo", log).stderr == "clipcli: 0 moved back\n"


def test_it_works_where_the_disk_is_mounted_elsewhere_and_the_folder_is_gone(
    cli: Cli, moved: Path, tmp_path: Path
) -> None:
    moved.rename(tmp_path / "elsewhere")
    assert cli("undo", "elsewhere/out").code == 0
    assert files(tmp_path) == [f"elsewhere/{name}" for name in BACK]
    (tmp_path / "elsewhere").rename(moved)


def test_a_destination_that_was_moved_alone_gives_back_where_it_took(
    cli: Cli, moved: Path, tmp_path: Path
) -> None:
    (tmp_path / "other/in").mkdir(parents=True)
    (moved / "out").rename(tmp_path / "other/out")
    assert cli("undo", "other/out").code == 0
    assert files(tmp_path) == [f"disk/{name}" for name in BACK]


def test_a_copy_of_the_disk_is_undone_by_itself(cli: Cli, moved: Path, tmp_path: Path) -> None:
    there = files(moved)
    shutil.copytree(moved, tmp_path / "copy")
    assert cli("undo", "copy/out").code == 0
    assert files(tmp_path / "copy") == BACK
    assert files(moved) == there


def test_sidecars_that_came_since_go_along_and_keywords_are_no_change(
    cli: Cli, moved: Path
) -> None:
    for photo in (moved / "out").rglob("*.jpg"):
        photo.with_suffix(".xmp").write_text(photo.stem)
        (photo.parent / f"{photo.name}.xmp").write_text(photo.stem)
        status = photo.stat()
        with photo.open("ab") as file:
            file.write(b"keywords, as a program writes them that keeps the time")
        os.utime(photo, ns=(status.st_atime_ns, status.st_mtime_ns))
    (moved / "out/thing/other.xmp").write_text("of nothing that was moved")
    assert cli("undo", "disk/out").code == 0
    stems = ("cat", "coffee", "rocket")
    back = [f"in/{stem}{behind}" for stem in stems for behind in (".jpg", ".jpg.xmp", ".xmp")]
    assert files(moved) == [*back, "out/thing/other.xmp"]


def test_a_link_in_place_of_a_photograph_stays(cli: Cli, moved: Path) -> None:
    photo = next((moved / "out").rglob("cat.jpg"))
    photo.rename(moved / "mine.jpg")
    photo.symlink_to(moved / "mine.jpg")
    os.utime(photo, ns=(0, (moved / "mine.jpg").stat().st_mtime_ns), follow_symlinks=False)
    result = cli("undo", "disk/out")
    assert "cat.jpg: not moved back: it was changed after it was moved" in result.stderr
    assert photo.is_symlink()


def test_a_folder_that_is_gone_is_made_again(cli: Cli, moved: Path) -> None:
    (moved / "in").rmdir()
    assert cli("undo", "disk/out").code == 0
    assert files(moved) == BACK


def test_what_comes_from_a_disk_that_is_away_stays_until_it_is_back(
    cli: Cli, lite: str, tmp_path: Path, example_photos: Path
) -> None:
    """As where its place of mounting is gone, or empty."""
    mounted, to = tmp_path / "mounted", tmp_path / "to"
    card = Path(tempfile.mkdtemp(dir=other_file_system(tmp_path)))
    try:
        shutil.copy(example_photos / "cat.jpg", card)
        options = ("--labels", "cat,dog", "--min-probability", 0, "--move-to", to)
        assert cli("classify", card, "--model", lite, *options).code == 0
        log = to / NAME
        log.write_text(log.read_text().replace(str(card), str(mounted / card.name)))
        for _ in range(2):
            for dry_run in (["--dry-run"], []):
                result = cli("undo", to, *dry_run)
                assert result.code == 3
                assert "the disk as it seems; mount it, or make " in result.stderr
                assert f"{mounted / card.name}\n" in result.stderr
            assert files(to) == ["cat/cat.jpg"]
            mounted.mkdir(exist_ok=True)
        mounted.rmdir()
        mounted.symlink_to(card.parent)  # it is there again
        assert cli("undo", to).code == 0
        assert files(card) == ["cat.jpg"]
        # of a folder that was removed, and the disk is there
        assert cli("classify", card, "--model", lite, *options).code == 0
        card.rmdir()
        assert cli("undo", to).code == 0
        assert files(card) == ["cat.jpg"]
    finally:
        shutil.rmtree(card, ignore_errors=True)


def test_what_cannot_go_back_is_named_and_stays(cli: Cli, moved: Path) -> None:
    (moved / "in/cat.jpg").write_text("a new one")
    places = {path.stem: path for path in (moved / "out").rglob("*.jpg")}
    with places["coffee"].open("ab") as file:
        file.write(b"edited")
    places["rocket"].unlink()
    for _ in range(2):
        result = cli("undo", "disk/out")
        assert result.code == 3
        assert [line.rpartition(": ")[2] for line in result.stderr.splitlines()] == [
            "it is gone",
            "it was changed after it was moved",
            f"its place is taken, {moved}/in/cat.jpg",
            "0 moved back, 3 could not be",
        ]
    assert (moved / "in/cat.jpg").read_text() == "a new one"
    assert places["cat"].with_name("cat.jpg.xmp").exists()
    (moved / "in/cat.jpg").unlink()
    assert cli("undo", "disk/out").last_line == "clipcli: 1 moved back, 2 could not be"


def test_what_is_no_log_is_refused(cli: Cli, moved: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for log in ("other", "nowhere", "disk/in", f"other/{NAME}"):
        result = cli("undo", log)
        assert result.code == 2
        assert "no log of moves" in result.stderr
    outside = '{"move": 1, "at": "/", "files": [{"from": "/a", "to": "../b", "size_bytes": 1,'
    outside += ' "mtime_ns": 1}], "made": []}'
    planted = outside.replace("../b", "b.jpg").replace("/a", "/etc/profile.d/a.sh")
    obeyed = planted.replace("/etc/profile.d/a.sh", "/etc/cron.d/a_original")
    lines = ("nonsense", "[]", '{"move": 7, "is": "done"}', "{}", outside, planted, obeyed)
    for text in (*(f"{line}\n" for line in lines), "[" * 100_000 + "\n", "no line end"):
        (tmp_path / "other" / NAME).write_text(text)
        result = cli("undo", "other")
        assert result.code == 2
        assert f"other/{NAME}: line 1 is none of a log of moves" in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert (tmp_path / "other" / NAME).read_text() == text


def test_a_log_that_is_a_link_is_not_written_through(cli: Cli, moved: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "note.txt").touch()
    (tmp_path / "other" / NAME).symlink_to(tmp_path / "note.txt")
    result = cli("undo", "other")
    assert (result.code, len(result.stderr.splitlines())) == (2, 1)
    assert "is no file, so no log of moves" in result.stderr
    assert (tmp_path / "note.txt").exists()


def test_half_a_line_of_a_killed_run_is_passed_over(cli: Cli, moved: Path) -> None:
    with open(moved / "out" / NAME, "ab") as log:
        log.write(b'{"move": 4, "at": "/tm')
    assert cli("undo", "disk/out").code == 0
    assert files(moved) == BACK
    assert os.path.getsize(moved / "out" / NAME)
