"""A photograph that could not be decoded is not tried again until something has changed."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from opened import opened
from pictures import save, save_bomb, save_truncated_jpeg, soft
from places import REFERENCE
from program import Result

import clipcli
from clipcli.embedding.cache import photos
from clipcli.embedding.cache.store import FILE_NAME
from clipcli.embedding.embedder import Embedder
from clipcli.embedding.local import RunOptions
from clipcli.errors import PassingPhotoError, PhotoError
from clipcli.photos.decode import DecodeOptions
from clipcli.photos.formats import reader_versions
from clipcli.records import Embedded, Failure

Cli = Callable[..., Result]
VIT = REFERENCE / "models" / "vit.pt"


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every file had been there for a while."""
    monkeypatch.setattr(photos, "SETTLED_NS", 0)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / FILE_NAME


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """One photograph, and what is none for one reason or another."""
    album = tmp_path / "album"
    album.mkdir()
    save(album / "good.jpg", soft(160, 120))
    save_truncated_jpeg(album / "truncated.jpg")
    save_bomb(album / "large.png", side=20_000)
    (album / "empty.jpg").touch()
    (album / "text.jpg").write_text("no picture")
    return album


def tried(album: Path, cache: Path, **how: object) -> tuple[dict[str, str], set[str]]:
    """The failures of a run by name, and the names of the files that it opened."""
    embedder = Embedder.open(str(VIT), device="cpu", precision="fp32", cache_dir=cache.parent)
    options = RunOptions(DecodeOptions(**how))  # type: ignore[arg-type]
    with opened() as paths:
        records = list(clipcli.embed([album], embedder, options=options))
    failed = {
        Path(record.path).name: record.error for record in records if isinstance(record, Failure)
    }
    assert sum(isinstance(record, Embedded) for record in records) >= 1
    return failed, {Path(path).name for path in paths if Path(path).parent == album}


def change(cache: Path, *statements: str) -> None:
    with closing(sqlite3.connect(cache, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def n_remembered(cache: Path) -> int:
    with closing(sqlite3.connect(cache)) as connection:
        (n,) = connection.execute("SELECT COUNT(*) FROM failure").fetchone()
    return int(n)


def test_what_failed_fails_again_with_the_same_words_and_is_not_opened(
    album: Path, cache: Path
) -> None:
    first, opened_first = tried(album, cache)
    assert sorted(first) == ["empty.jpg", "large.png", "text.jpg", "truncated.jpg"]
    assert opened_first == {*first, "good.jpg"}
    assert tried(album, cache) == (first, set())


def test_a_file_that_changed_is_tried_again(album: Path, cache: Path) -> None:
    first, _ = tried(album, cache)
    os.utime(album / "empty.jpg", ns=(1, 1))
    shutil.move(album / "text.jpg", album / "renamed.jpg")
    save(album / "truncated.jpg", soft(160, 120))
    second, opened_second = tried(album, cache)
    assert opened_second == {"empty.jpg", "renamed.jpg", "truncated.jpg"}
    assert second["renamed.jpg"] == first["text.jpg"]
    assert "truncated.jpg" not in second
    assert n_remembered(cache) == 4  # good now; the old name is there until cache prune


def test_what_was_changed_a_moment_ago_is_tried_again(
    album: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos, "SETTLED_NS", 10**18)
    tried(album, cache)
    assert len(tried(album, cache)[1]) == 5


def test_another_way_of_reading_has_failures_of_its_own(album: Path, cache: Path) -> None:
    save_bomb(album / "large.png", side=2000)
    first, _ = tried(album, cache, max_megapixels=3)
    ways: tuple[dict[str, object], ...] = (
        {"max_megapixels": 5},
        {"max_megapixels": 3, "fit": "pad"},
        {"max_megapixels": 3, "exact": True},
        {"max_megapixels": 3.5, "reference": True},
    )
    for how in ways:
        found, opened_now = tried(album, cache, **how)
        assert opened_now >= {*first}
        assert ("large.png" in found) == (how["max_megapixels"] != 5)
        assert tried(album, cache, **how) == (found, set())
    del first["large.png"]  # whose embedding is known by now
    assert tried(album, cache, max_megapixels=3) == (first, set())


def test_another_version_of_a_reader_tries_again(
    album: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = tried(album, cache)
    other = tmp_path / "site" / "rawpy-99.0.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: rawpy\nVersion: 99.0\n")
    monkeypatch.syspath_prepend(str(other.parent))
    reader_versions.cache_clear()
    assert "rawpy 99.0" in reader_versions()
    assert tried(album, cache) == (first, {*first})
    assert tried(album, cache) == (first, set())
    assert n_remembered(cache) == len(first)
    reader_versions.cache_clear()


def test_what_could_not_be_read_this_time_is_tried_every_time(album: Path, cache: Path) -> None:
    os.mkfifo(album / "pipe.jpg")
    (album / "link.jpg").symlink_to("nowhere.jpg")
    (album / "folder.jpg").symlink_to("/proc/self/mem")  # which gives no first byte: EIO
    first, _ = tried(album, cache)
    assert first["folder.jpg"] == "Input/output error"
    assert n_remembered(cache) == 4
    second, opened_second = tried(album, cache)
    assert second == first
    assert opened_second == {"folder.jpg"}  # the others cannot even be opened
    with pytest.raises(PassingPhotoError):
        clipcli.decode("/proc/self/mem", clipcli.PreprocessConfig(32), DecodeOptions())


def test_pillows_limit_belongs_to_the_host_and_its_failures_are_passing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    save(tmp_path / "large.ico", soft(250, 250))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(PhotoError, match="Pillow's own limit") as raised:
        clipcli.decode(str(tmp_path / "large.ico"), clipcli.PreprocessConfig(32), DecodeOptions())
    assert isinstance(raised.value, PassingPhotoError)


def test_damage_to_what_is_remembered_is_noticed(
    album: Path, cache: Path, notes: list[str]
) -> None:
    first, _ = tried(album, cache)
    for column, value in {"error": "x'41'", "way": "way", "versions": "versions"}.items():
        change(cache, f"UPDATE failure SET {column} = {value}, checksum = checksum + 1")
        found, opened_now = tried(album, cache)
        assert (found, opened_now) == (first, {*first})
        assert "4 damaged entries were not used" in notes[-1]
        assert tried(album, cache) == (first, set())


def test_the_command_names_lists_and_counts_them_as_before(
    cli: Cli, album: Path, cache: Path, tmp_path: Path
) -> None:
    common = ("embed", album, "--model", VIT, "--cache-dir", cache.parent, "--format", "csv")
    listed = tmp_path / "failures.csv"
    seen = []
    for _ in range(2):
        result = cli(*common, "--failures", listed)
        assert result.code == 3
        *named, summary = result.stderr.splitlines()
        assert "1 embedded, 0 passed over, 4 failed" in summary
        seen.append((result.stdout, named, listed.read_text()))
    assert seen[0] == seen[1]
    cache.unlink()
    for _ in range(2):
        assert cli(*common, "--no-cache").code == 3
    assert not cache.exists()


def test_the_commands_of_the_cache_know_of_them(cli: Cli, album: Path, cache: Path) -> None:
    tried(album, cache)
    where = ("--cache-dir", cache.parent)
    info = cli("cache", "info", *where).stdout.decode().splitlines()[0]
    assert info.endswith(" MB, 1 files known by path, 4 known to be unreadable")
    assert cli("cache", "verify", *where).code == 0
    change(
        cache, "UPDATE failure SET mtime_ns = mtime_ns + 1 WHERE CAST(path AS TEXT) LIKE '%text%'"
    )
    verified = cli("cache", "verify", *where)
    assert verified.code == 1
    assert f"failure {album / 'text.jpg'}: its bits have changed" in verified.stderr
    assert "1 damaged ones dropped" in cli("cache", "repair", *where).stderr
    assert n_remembered(cache) == 3
    (album / "empty.jpg").unlink()
    assert "1 file that is gone and 0 embeddings" in cli("cache", "prune", "-y", *where).stderr
    assert n_remembered(cache) == 2
