"""`--embed-keywords` of `classify` and `tag`, as a user meets it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from photographs import exiftool, needs_exiftool
from pictures import save
from program import Result, command, started

from clipcli.photos.same_pixels import same_pixels

pytestmark = needs_exiftool
Cli = Callable[..., Result]


@pytest.fixture
def album(example_photos: Path, tmp_path: Path) -> Path:
    (tmp_path / "album").mkdir()
    for name in ("cat", "rocket"):
        shutil.copy2(example_photos / f"{name}.jpg", tmp_path / "album")
    return tmp_path / "album"


def _words(album: Path) -> list[str]:
    return exiftool(
        "-S", "-s", "-XMP-dc:Subject", "-IPTC:Keywords", *sorted(album.glob("*.jpg"))
    ).splitlines()


def test_classify_writes_into_photographs_which_are_not_encoded_again(
    cli: Cli, lite: str, album: Path, example_photos: Path, tmp_path: Path
) -> None:
    save(album / "drawing.gif")

    def classify(*options: object) -> Result:
        labels = ("--labels", "animal/cat,rocket", "--min-probability", 0)
        return cli("classify", "--model", lite, album, *labels, "--embed-keywords", *options)

    before = {one.name: one.read_bytes() for one in album.iterdir()}
    result = classify("--dry-run")
    assert result.code == 0
    assert result.stdout.decode().splitlines() == [
        "path,sidecar,added,taken_back",
        f"{album}/cat.jpg,,animal/cat,",
        f"{album}/rocket.jpg,,rocket,",
    ]
    assert {one.name: one.read_bytes() for one in album.iterdir()} == before

    result = classify("-o", tmp_path / "labels.csv")
    assert result.code == 0
    assert "drawing.gif: GIF: keywords are written into JPEG, TIFF, PNG, WebP and DNG" in (
        result.stderr
    )
    assert result.last_line == (
        "clipcli: 2 photographs written, 0 unchanged, 0 labels taken back, 1 of other formats left"
        " alone"
    )
    assert _words(album) == ["cat", "cat", "rocket", "rocket"]
    assert sorted({one.name for one in album.iterdir()} - {*before}) == [
        "cat.jpg_original",
        "rocket.jpg_original",
    ]

    result = classify("--overwrite-original", "-o", tmp_path / "labels.csv")
    assert result.code == 0
    assert "0 failed; lite, bf16 on cpu; all known from before" in result.stderr
    assert "0 photographs written, 2 unchanged" in result.last_line

    result = cli("tag", "--clear", "--embed-keywords", "--overwrite-original", album)
    assert result.code == 0
    assert "2 photographs written, 0 unchanged, 2 labels taken back" in result.last_line
    assert _words(album) == []
    assert not [*album.glob("*.xmp")]
    for name in ("cat.jpg", "rocket.jpg"):
        assert same_pixels(str(album / name), str(example_photos / name))


def test_tag_writes_rows_into_photographs_and_names_those_that_it_cannot(
    cli: Cli, album: Path
) -> None:
    rows = album / "corrections.csv"
    rows.write_text("path,label\ncat.jpg,animal/cat\nrocket.jpg,rocket\n")
    (album / "rocket.jpg").chmod(0o444)
    result = cli("tag", rows, "--embed-keywords")
    assert result.code == 3
    assert "rocket.jpg: read-only, so no keywords were written" in result.stderr
    assert "; 1 photograph written, 0 unchanged, 0 labels taken back, 1 failed" in result.last_line
    assert "cat" in _words(album)
    status = exiftool("-s3", "-XMP-clipcli:LabelsStatus", album / "cat.jpg")
    assert status == "confirmed\n"


@pytest.mark.parametrize(
    ("options", "code", "why"),
    [
        (("--embed-keywords",), 2, "--embed-keywords: one label wins on every photograph"),
        (("--overwrite-original",), 2, "give --embed-keywords too"),
        (("--embed-keywords", "--min-probability", "0"), 1, "no exiftool, which"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_done(
    cli: Cli,
    lite: str,
    album: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    code: int,
    why: str,
) -> None:
    if code == 1:
        monkeypatch.setenv("PATH", str(tmp_path))
    output = tmp_path / "labels.csv"
    result = cli(
        "classify", "--model", lite, album, "--labels", "cat,rocket", *options, "-o", output
    )
    assert (result.code, result.stderr.count("\n")) == (code, 1)
    assert why in result.stderr
    assert sorted(one.name for one in album.iterdir()) == ["cat.jpg", "rocket.jpg"]
    assert not output.exists()


def test_a_run_that_is_killed_leaves_every_photograph_whole(
    cli: Cli,
    album: Path,
    example_photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # for what a killed run leaves there
    names = [f"{n}.jpg" for n in range(6)]
    for name in names:
        shutil.copy(example_photos / "cat.jpg", album / name)
    rows = album / "corrections.csv"
    rows.write_text("path,label\n" + "".join(f"{name},cat\n" for name in names))
    for n_done in (1, 4):
        with started(command("tag", rows, "--embed-keywords")) as process:
            while len([*album.glob("*_original")]) < n_done and process.poll() is None:
                time.sleep(0.005)
            process.kill()
        for name in names:
            assert same_pixels(str(album / name), str(example_photos / "cat.jpg"))
    assert cli("tag", rows, "--embed-keywords").code == 0
    for name in names:
        assert (album / f"{name}_original").read_bytes() == (album / "cat.jpg").read_bytes()
    assert _words(album).count("cat") == 2 * len(names)
    assert not [*album.glob("*.part")]
