"""`clipcli cache`: look at what is remembered, check it, forget some or all of it."""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from places import REFERENCE
from program import Result, n_known

from clipcli.embedding.cache import store
from clipcli.embedding.cache.proof import checksum
from clipcli.embedding.cache.store import FILE_NAME

Cli = Callable[..., Result]

VIT = REFERENCE / "models/vit.pt"
COMMANDS = ("info", "verify", "repair", "prune", "clear")


@pytest.fixture(scope="module", autouse=True)
def quick_collection() -> Iterator[None]:
    """Let `gc.collect` look through what the runs leave, and not through torch each time."""
    import_module("clipcli.models.encoder")  # and torch with it
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a cache of the test's own, which is not there yet."""
    monkeypatch.setenv("CLIPCLI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / FILE_NAME


@pytest.fixture
def album(tmp_path: Path, example_photos: Path) -> Path:
    """Six small photographs."""
    folder = tmp_path / "album"
    folder.mkdir()
    for path in example_photos.glob("*.jpg"):
        with Image.open(path) as photo:
            photo.resize((96, 72)).save(folder / path.name)
    return folder


@pytest.fixture
def embed(cli: Cli, cache: Path, album: Path, tmp_path: Path) -> Callable[..., int]:
    """Embed the album; gives how many of it were known."""

    def call(*options: object) -> int:
        result = cli("embed", album, "--model", VIT, "-o", tmp_path / "album.npy", *options)
        gc.collect()  # closes the cache's file, as the end of a process does
        assert result.code == 0
        return n_known(result.last_line)

    return call


Embed = Callable[..., int]


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def count(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        (n_rows,) = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
        return int(n_rows)


def trust(cache: Path, album: Path) -> None:
    """As if two seconds had passed, and another run: each photograph is known by its path."""
    with closing(sqlite3.connect(cache, isolation_level=None)) as connection:
        for path in album.iterdir():
            state = path.stat()
            known = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
            row = (os.fsencode(path), *known, sha256(path.read_bytes()).digest())
            proven = (*row, checksum(*row))
            connection.execute("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?, ?)", proven)


def lines(result: Result) -> list[str]:
    return result.stdout.decode().splitlines()


# --- info


def test_info_lists_each_model_and_precision(
    cli: Cli, lite: str, embed: Embed, cache: Path, album: Path
) -> None:
    embed("--precision", "fp32")
    embed("--precision", "bf16")
    cli("classify", album, "--labels", "dog,cat,cup", "--model", lite, "--precision", "fp32")
    found = cli("cache", "info")
    assert found.code == 0
    first, header, *models = lines(found)
    assert first.startswith(f"{cache}: 0.")
    assert " MB, " in first
    assert header.split() == ["MODEL", "PRECISION", "PHOTOS", "TEXTS", "FINGERPRINT"]
    assert [line.split()[:4] for line in models] == [
        [str(VIT), "bf16", "6", "0"],
        [str(VIT), "fp32", "6", "0"],
        ["lite", "fp32", "6", "3"],
    ]
    assert all(len(line.split()[4]) == 12 for line in models)
    assert cli("cache").stdout == found.stdout


def test_info_counts_the_paths_that_are_trusted(
    cli: Cli, embed: Embed, cache: Path, album: Path
) -> None:
    embed()  # just made, so trusted not yet
    assert lines(cli("cache", "info"))[0].endswith(" MB, 0 files known by path")
    trust(cache, album)
    assert lines(cli("cache", "info"))[0].endswith(" MB, 6 files known by path")


def test_nothing_is_remembered_before_the_first_run(cli: Cli, cache: Path) -> None:
    for command in COMMANDS:
        assert cli("cache", command).code == 0
        assert not cache.exists()
    assert lines(cli("cache")) == [f"{cache}: nothing is remembered yet"]


# --- verify


def test_verify_says_that_all_is_well(cli: Cli, embed: Embed, cache: Path) -> None:
    embed()
    result = cli("cache", "verify")
    assert (result.code, result.stdout) == (0, b"")
    assert result.stderr == f"clipcli: {cache}: all well\n"
    assert cli("cache", "verify", "--quiet").stderr == ""


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (
            "UPDATE embedding SET vector = zeroblob(LENGTH(vector)) WHERE rowid = 2",
            "embedding 2: its bits have changed",
        ),
        (
            "UPDATE embedding SET checksum = checksum + 1 WHERE rowid = 3",
            "embedding 3: its bits have changed",
        ),
        ("DELETE FROM embedding WHERE rowid IN (1, 4)", "2 pixels without an embedding"),
        ("DELETE FROM model", "6 embeddings without a model"),
    ],
)
def test_verify_names_what_is_wrong(
    cli: Cli, embed: Embed, cache: Path, statement: str, problem: str
) -> None:
    embed()
    change(cache, statement)
    result = cli("cache", "verify")
    assert result.code == 1
    said = result.stderr.splitlines()
    assert said[0] == f"clipcli: {problem}"
    assert said[-1] == (
        f"clipcli: {cache}: 1 problems; damaged entries are never used;"
        " clipcli cache repair drops them"
    )
    embed()
    assert cli("cache", "verify").code == 0  # what a run missed is there again


@pytest.mark.parametrize(
    ("vector", "said"),
    [
        (np.full(48, 0.5), "3.464"),
        (np.full(48, np.nan), "nan"),
        (np.full(48, np.inf), "inf"),
        (np.full(48, 3e38), "2.078e+39"),
        (np.zeros(48), "0"),
    ],
    ids=["long", "nan", "infinite", "huge", "zero"],
)
def test_vectors_that_are_not_of_unit_length_are_named_and_not_used(
    cli: Cli, embed: Embed, cache: Path, vector: NDArray[np.float64], said: str
) -> None:
    embed()
    blob = vector.astype("<f4").tobytes()
    with closing(sqlite3.connect(cache, isolation_level=None)) as connection:
        key = "SELECT pixels, model FROM embedding WHERE rowid = 1"
        proven = checksum(*connection.execute(key).fetchone(), blob)
        setting = "UPDATE embedding SET vector = ?, checksum = ? WHERE rowid = 1"
        connection.execute(setting, (blob, proven))
    result = cli("cache", "verify")
    assert result.code == 1
    assert result.stderr.startswith(f"clipcli: embedding 1: its length is {said}, expected 1\n")
    assert embed() == 5
    assert cli("cache", "verify").code == 0


# --- repair


def test_repair_drops_what_is_damaged_and_keeps_the_rest(
    cli: Cli, embed: Embed, cache: Path, album: Path
) -> None:
    embed()
    trust(cache, album)
    change(
        cache,
        "UPDATE embedding SET vector = (SELECT vector FROM embedding WHERE rowid = 1),"
        " checksum = (SELECT checksum FROM embedding WHERE rowid = 1) WHERE rowid = 2",
        "UPDATE embedding SET pixels = 7 WHERE rowid = 3",
        "UPDATE model SET name = CAST(x'ff' AS TEXT)",
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = replace(sql, 'path', 'pfad') WHERE name = 'file'",
    )
    for command in ("info", "verify"):
        result = cli("cache", command)
        assert result.code == 1
        assert result.stderr == (
            f"clipcli: {cache}: it lacks the tables of version 3; clipcli cache repair saves what"
            " it can\n"
        )
    change(
        cache,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = replace(sql, 'pfad', 'path') WHERE name = 'file'",
    )
    assert "embedding 2: its bits have changed\n" in cli("cache", "verify").stderr
    result = cli("cache", "repair")
    assert (result.code, result.stdout) == (0, b"")
    # with the two embeddings go the pixels and the files that led to them; the model stays nameless
    said = "14 entries kept, 7 damaged ones dropped"
    assert result.stderr == f"clipcli: {cache}: {said}\n"
    assert cli("cache", "verify").code == 0
    assert lines(cli("cache", "info"))[2].split()[:3] == ["unknown", "4", "0"]
    assert embed() == 4
    assert embed() == 6
    assert cli("cache", "repair", "--quiet").stderr == ""


def test_repair_waits_for_another_program_and_gives_up(
    cli: Cli, embed: Embed, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed()
    before = cache.read_bytes()
    monkeypatch.setattr(store, "BUSY_S", 0.05)
    with closing(sqlite3.connect(cache, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        result = cli("cache", "repair")
    assert result.code == 1
    assert result.stderr == (
        f"clipcli: {cache}: database is locked; another program holds it; try again when that has"
        " ended\n"
    )
    assert cache.read_bytes() == before
    assert embed() == 6


# --- prune


def test_prune_forgets_photographs_that_are_gone(
    cli: Cli, embed: Embed, cache: Path, album: Path
) -> None:
    embed()
    trust(cache, album)
    kept = (album / "rocket.jpg").read_bytes()
    for name in ("cat.jpg", "rocket.jpg"):
        (album / name).unlink()
    result = cli("cache", "prune", "--yes")
    assert (result.code, result.stdout) == (0, b"")
    assert result.stderr == (
        f"clipcli: gone from {album}: cat.jpg, rocket.jpg\n"
        f"clipcli: {cache}: 2 files that are gone and 2 embeddings forgotten\n"
    )
    assert (count(cache, "file"), count(cache, "pixels"), count(cache, "embedding")) == (4, 4, 4)
    assert cli("cache", "verify").code == 0
    assert embed() == 4
    (album / "rocket.jpg").write_bytes(kept)
    assert embed() == 4  # it was forgotten


def test_prune_keeps_what_was_just_made(cli: Cli, embed: Embed, cache: Path) -> None:
    embed()  # the photographs are too young to be trusted by their paths
    said = "0 files that are gone and 0 embeddings forgotten"
    assert cli("cache", "prune").stderr == f"clipcli: {cache}: {said}\n"
    assert embed() == 6


def test_prune_keeps_what_another_file_leads_to(
    cli: Cli, embed: Embed, cache: Path, album: Path
) -> None:
    shutil.copy(album / "cat.jpg", album / "kitten.jpg")
    embed()
    trust(cache, album)
    (album / "cat.jpg").unlink()
    said = "1 file that is gone and 0 embeddings forgotten"
    assert cli("cache", "prune", "--yes").last_line == f"clipcli: {cache}: {said}"
    assert embed() == 6


def test_prune_keeps_every_models_embeddings_of_what_is_there(
    cli: Cli, embed: Embed, cache: Path, album: Path
) -> None:
    for precision in ("fp32", "bf16"):
        embed("--precision", precision)
    embed("--precision", "fp32", "--fit", "pad")
    trust(cache, album)
    (album / "cat.jpg").unlink()
    said = "1 file that is gone and 3 embeddings forgotten"
    assert cli("cache", "prune", "--yes").last_line == f"clipcli: {cache}: {said}"
    assert embed("--precision", "fp32") == 5
    assert embed("--precision", "bf16") == 5
    assert embed("--precision", "fp32", "--fit", "pad") == 5


def test_prune_makes_torn_entries_whole(cli: Cli, embed: Embed, cache: Path, album: Path) -> None:
    embed()
    trust(cache, album)
    change(cache, "DELETE FROM embedding WHERE rowid IN (1, 4)")
    assert cli("cache", "prune", "--quiet").stderr == ""
    assert cli("cache", "verify").code == 0
    assert embed() == 4


def test_prune_gives_the_room_back(cli: Cli, embed: Embed, cache: Path, album: Path) -> None:
    embed()
    trust(cache, album)
    change(
        cache,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
        " INSERT INTO file"
        f" SELECT CAST('{album}/gone' || i AS BLOB), i, i, i, i, randomblob(32), 0 FROM n",
    )
    before = cache.stat().st_size
    assert "3,000 files that are gone" in cli("cache", "prune", "--yes").stderr
    assert cache.stat().st_size < before
    assert embed() == 6


# --- clear


def test_clear_forgets_everything_but_the_models(
    cli: Cli, embed: Embed, cache: Path, album: Path
) -> None:
    embed()
    model = cache.parent / "models" / "ViT-B-32.pt"
    model.parent.mkdir()
    model.write_bytes(b"downloaded")
    size = cache.stat().st_size
    result = cli("cache", "clear", "--yes")
    assert (result.code, result.stdout) == (0, b"")
    assert result.stderr == f"clipcli: {cache}: {size / 1e6:.1f} MB freed\n"
    assert [path.name for path in cache.parent.iterdir()] == ["models"]
    assert model.read_bytes() == b"downloaded"
    assert embed() == 0
    assert embed() == 6


def test_clear_removes_what_sqlite_keeps_beside_the_file(cli: Cli, cache: Path) -> None:
    cache.parent.mkdir()
    for suffix in ("", "-wal", "-shm"):
        cache.with_name(cache.name + suffix).write_bytes(b"x" * 100_000)
    assert cli("cache", "clear", "--yes").stderr == f"clipcli: {cache}: 0.3 MB freed\n"
    assert list(cache.parent.iterdir()) == []


# --- a file that cannot be looked after


@pytest.mark.parametrize("command", ["info", "verify", "repair", "prune"])
def test_a_file_that_is_no_cache_is_one_line(cli: Cli, cache: Path, command: str) -> None:
    cache.parent.mkdir()
    cache.write_text("not a database, but long enough to be looked at" * 20)
    result = cli("cache", command)
    assert (result.code, result.stdout) == (1, b"")
    assert result.stderr == (
        f"clipcli: {cache}: file is not a database; expected a cache of embeddings;"
        " clipcli cache clear starts anew\n"
    )
    assert cli("cache", "clear", "--yes").code == 0
    assert not cache.exists()


@pytest.mark.parametrize("command", ["info", "verify", "repair", "prune"])
def test_a_newer_cache_is_left_alone(cli: Cli, embed: Embed, cache: Path, command: str) -> None:
    embed()
    change(cache, "PRAGMA user_version = 4")
    before = cache.read_bytes()
    result = cli("cache", command)
    assert result.code == 1
    assert result.stderr == (
        f"clipcli: {cache}: its version is 4, this clipcli knows 3; update clipcli\n"
    )
    assert cache.read_bytes() == before
    assert cli("cache", "clear", "--yes").code == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_in_the_files_place_is_one_line(cli: Cli, cache: Path, command: str) -> None:
    cache.mkdir(parents=True)
    result = cli("cache", command, *["--yes"] * (command == "clear"))
    assert result.code == 1
    assert result.stderr.startswith(f"clipcli: {cache}")
    assert len(result.stderr.splitlines()) == 1
    assert cache.is_dir()


def test_a_large_damage_is_found(cli: Cli, embed: Embed, cache: Path) -> None:
    embed()
    data = bytearray(cache.read_bytes())
    data[40_000:] = bytes(len(data) - 40_000)
    cache.write_bytes(data)
    for command in ("verify", "prune"):
        result = cli("cache", command)
        assert result.code == 1
        assert "Traceback" not in result.stderr
        assert "; clipcli cache repair " in result.last_line


# --- another folder


def test_cache_dir_names_another_cache(cli: Cli, embed: Embed, cache: Path, tmp_path: Path) -> None:
    embed()
    other = tmp_path / "other"
    for command in COMMANDS:
        result = cli("cache", command, "--cache-dir", other)
        assert result.code == 0
        assert str(other) in result.stderr + result.stdout.decode() or command == "verify"
    assert lines(cli("cache", "--cache-dir", other)) == [
        f"{other / FILE_NAME}: nothing is remembered yet"
    ]
    assert embed() == 6


@pytest.mark.parametrize("command", COMMANDS)
def test_cache_dir_before_the_command_is_not_ignored(
    cli: Cli, embed: Embed, cache: Path, tmp_path: Path, command: str
) -> None:
    embed()
    result = cli("cache", "--cache-dir", tmp_path / "other", command)
    assert str(cache) not in result.stderr + result.stdout.decode()
    assert embed() == 6
