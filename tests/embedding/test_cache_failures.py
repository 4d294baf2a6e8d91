"""A cache that is damaged, held, killed in the middle, or cannot be written costs a warning."""

from __future__ import annotations

import csv
import gc
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
from forked import Prepare, drop_rights, limit_files, run_forked
from numpy.typing import NDArray
from pictures import noise, save
from PIL import Image
from places import REFERENCE
from program import Result, n_known

from clipcli.cli.main import run
from clipcli.embedding.cache import proof, store, upkeep
from clipcli.embedding.cache.store import FILE_NAME, Cache

Cli = Callable[..., Result]

VIT = REFERENCE / "models/vit.pt"
N_PHOTOS = 6
LABELS = "dog,cat,rocket,cup"


@pytest.fixture(scope="module", autouse=True)
def quick_collection() -> Iterator[None]:
    """Let `gc.collect` look through what the runs leave, and not through torch each time."""
    import_module("clipcli.models.encoder")  # and torch with it
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory, example_photos: Path) -> Path:
    folder = tmp_path_factory.mktemp("album")
    for path in example_photos.glob("*.jpg"):
        with Image.open(path) as photo:
            photo.resize((96, 72)).save(folder / path.name)
    return folder


@pytest.fixture(scope="module")
def expected(album: Path, tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    """The embeddings of the album, float32 [N_PHOTOS, d], where nothing is remembered."""
    path = tmp_path_factory.mktemp("expected") / "album.npy"
    assert run(["embed", str(album), "--model", str(VIT), "-o", str(path), "-q", "--no-cache"]) == 0
    embeddings: NDArray[np.float32] = np.load(path)
    return embeddings


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a cache of the test's own, which is not there yet."""
    monkeypatch.setenv("CLIPCLI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / FILE_NAME


@pytest.fixture
def embed(
    cli: Cli, cache: Path, album: Path, expected: NDArray[np.float32], tmp_path: Path
) -> Callable[[], list[str]]:
    """Embed the album, which must go well; gives what stderr says."""

    def call() -> list[str]:
        output = tmp_path / "album.npy"
        result = cli("embed", album, "--model", VIT, "--batch-size", 2, "-o", output)
        gc.collect()  # closes the cache's file, as the end of a process does
        assert result.code == 0, result.stderr
        np.testing.assert_allclose(np.load(output), expected, atol=1e-5)
        return result.stderr.splitlines()

    return call


Embed = Callable[[], list[str]]


def warnings_in(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("clipcli: embedding cache ")]


def flip_a_bit(path: Path, stored: bytes) -> None:
    """Flip one bit of `stored`, wherever in the file it lies."""
    data = bytearray(path.read_bytes())
    assert data.count(stored) == 1
    data[data.find(stored) + len(stored) // 2] ^= 4
    path.write_bytes(data)


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def select(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


# --- damaged


def damage_head(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(100) + path.read_bytes()[100:])


def damage_middle(path: Path) -> None:
    data = path.read_bytes()
    quarter = len(data) // 4
    path.write_bytes(data[:quarter] + random.Random(0).randbytes(2 * quarter) + data[3 * quarter :])


def damage_end(path: Path) -> None:
    data = path.read_bytes()
    quarter = len(data) // 4
    path.write_bytes(data[: 3 * quarter] + random.Random(0).randbytes(len(data) - 3 * quarter))


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_short(path: Path) -> None:
    os.truncate(path, 50)


def make_a_text(path: Path) -> None:
    path.write_text("no database\n" * 1000)


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def empty(path: Path) -> None:
    os.truncate(path, 0)


def drop_tables(path: Path) -> None:
    change(path, *(f"DROP TABLE {name}" for name in ("file", "pixels", "embedding", "text")))


def litter(path: Path) -> None:
    """What SQLite keeps beside the file, left over from something else."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).write_bytes(random.Random(0).randbytes(50_000))


CLEAR = "; clipcli cache clear starts anew"
REPAIR = "; clipcli cache repair saves what it can"
VERIFY = "; clipcli cache verify looks for more"
CLOSED = "; see that it can be read and written, or name another folder with --cache-dir"


@pytest.mark.parametrize(
    ("damage", "advice"),
    [
        (damage_head, {CLEAR}),
        (damage_middle, {REPAIR}),
        (damage_end, {"", REPAIR, VERIFY}),  # as luck has it: it may not be looked at
        (cut_in_half, {REPAIR}),
        (cut_short, {REPAIR}),
        (make_a_text, {CLEAR}),
        (make_a_folder, {CLOSED}),
        (drop_tables, {REPAIR}),
        (empty, {""}),
        (litter, {""}),
    ],
)
def test_a_damaged_cache_costs_one_warning(
    embed: Embed, cli: Cli, cache: Path, damage: Callable[[Path], None], advice: set[str]
) -> None:
    embed()
    damage(cache)
    warning = "\n".join(warnings_in(embed()))
    assert any(warning.endswith(one) and bool(warning) == bool(one) for one in advice), warning
    assert not warning or str(cache) in warning
    if damage is not make_a_folder:
        assert cli("cache", "clear", "--yes").code == 0
        assert warnings_in(embed()) == []


def test_a_flipped_bit_in_an_embedding_is_named_and_encoded_again(
    embed: Embed, cli: Cli, cache: Path
) -> None:
    embed()
    ((rowid, blob),) = select(cache, "SELECT rowid, vector FROM embedding LIMIT 1 OFFSET 3")
    assert isinstance(blob, bytes)
    flip_a_bit(cache, blob)
    verified = cli("cache", "verify")
    assert verified.code == 1
    assert verified.stderr.splitlines()[0] == f"clipcli: embedding {rowid}: its bits have changed"
    lines = embed()
    assert warnings_in(lines) == [
        f"clipcli: embedding cache {cache}: 1 damaged entry was not used and made anew{VERIFY}"
    ]
    assert n_known(lines[-1]) == N_PHOTOS - 1
    assert cli("cache", "verify").code == 0
    assert n_known(embed()[-1]) == N_PHOTOS


def test_every_bit_of_an_embedding_and_of_its_key_is_watched(embed: Embed, cache: Path) -> None:
    embed()
    wanted = "SELECT pixels, model, vector, checksum FROM embedding LIMIT 1"
    ((*values, expected),) = select(cache, wanted)
    assert proof.fits(expected, *values)
    for index, value in enumerate(values):
        assert isinstance(value, bytes)
        for bit in range(8 * len(value)):
            flipped = bytearray(value)
            flipped[bit // 8] ^= 1 << bit % 8
            changed = [*values[:index], bytes(flipped), *values[index + 1 :]]
            assert not proof.fits(expected, *changed)


def test_what_is_remembered_of_texts_and_of_the_model_is_watched_too(
    cli: Cli, lite: str, cache: Path, album: Path
) -> None:
    arguments = ("classify", album, "--labels", "dog,cat,invoice", "--model", lite)
    first = cli(*arguments)
    gc.collect()  # closes the cache's file
    assert "lite has no evidence for invoice:" in first.stderr
    prompts = select(cache, "SELECT vector FROM text WHERE LENGTH(vector) > 1")
    assert len(prompts) == 3
    for (blob,) in prompts:
        assert isinstance(blob, bytes)
        flip_a_bit(cache, blob)
    change(
        cache,
        "UPDATE text SET vector = CASE vector WHEN x'00' THEN x'01' ELSE x'00' END"
        " WHERE LENGTH(vector) = 1",
        "UPDATE remembered SET value = replace(value, 'fp32', 'bf16')",
        "UPDATE remembered SET value = replace(value, '384', '383')",
    )
    assert cli("cache", "verify").code == 1
    again = cli(*arguments)
    assert again.stdout == first.stdout
    assert "lite has no evidence for invoice:" in again.stderr
    (warning,) = warnings_in(again.stderr.splitlines())  # photographs, words, and the model
    assert "7 damaged entries were not used and made anew" in warning
    assert again.last_line.endswith("; all known from before")
    assert cli("cache", "verify").code == 0


def test_a_cache_of_a_newer_version_is_left_as_it_is(embed: Embed, cache: Path) -> None:
    embed()
    change(cache, "PRAGMA user_version = 99")
    before = cache.read_bytes()
    lines = embed()
    (warning,) = warnings_in(lines)
    assert "its version is 99, this clipcli knows 3;" in warning
    assert "update clipcli" in warning
    assert n_known(lines[-1]) == 0
    assert cache.read_bytes() == before


def test_a_file_where_the_cache_folder_should_be_costs_a_warning(embed: Embed, cache: Path) -> None:
    cache.parent.write_text("a file")
    assert len(warnings_in(embed())) == 1
    assert cache.parent.read_text() == "a file"


# --- held by others


def test_a_cache_that_another_program_writes_can_still_be_read(
    embed: Embed, cache: Path, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed()
    change(cache, "DELETE FROM embedding WHERE rowid IN (SELECT rowid FROM embedding LIMIT 2)")
    monkeypatch.setattr(store, "BUSY_S", 0.05)
    with closing(sqlite3.connect(cache, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        lines = embed()
    (warning,) = warnings_in(lines)
    assert "database is locked; nothing is remembered in this run; another program" in warning
    assert n_known(lines[-1]) == N_PHOTOS - 2
    assert n_known(embed()[-1]) == N_PHOTOS - 2
    assert n_known(embed()[-1]) == N_PHOTOS


def test_all_who_make_the_cache_at_once_get_it(tmp_path: Path, notes: list[str]) -> None:
    n_at_once = 4
    for index in range(40):
        root = tmp_path / str(index)
        root.mkdir()
        barrier = threading.Barrier(n_at_once)

        def make(root: Path = root, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            Cache(root).close()

        threads = [threading.Thread(target=make) for _ in range(n_at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert notes == []


# --- real processes
#
# They are forked from one that has imported torch, which takes longer than all that they do.

FORKS = multiprocessing.get_context("forkserver")


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., BaseProcess]]:
    """Start clipcli as a process of its own; what it says goes to the file `stderr`."""
    FORKS.set_forkserver_preload(["clipcli.models.encoder", "clipcli.cli.app"])
    processes: list[BaseProcess] = []

    def call(*arguments: object, stderr: Path, prepare: Prepare = None) -> BaseProcess:
        words = [str(argument) for argument in arguments]
        process = FORKS.Process(target=run_forked, args=(words, stderr, prepare))
        processes.append(process)
        process.start()
        return process

    yield call
    for process in processes:
        process.kill()
        process.join()
        process.close()


Start = Callable[..., BaseProcess]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, example_photos: Path) -> Path:
    """24 photographs, no two alike."""
    folder = tmp_path_factory.mktemp("many")
    for path in example_photos.glob("*.jpg"):
        with Image.open(path) as photo:
            small = photo.convert("RGB").resize((120, 90))
        for index in range(4):
            small.crop((index, 0, index + 96, 72)).save(folder / f"{index}_{path.name}")
    return folder


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same_rows(found: list[dict[str, str]], expected: list[dict[str, str]]) -> None:
    assert [(row["path"], row["label"]) for row in found] == [
        (row["path"], row["label"]) for row in expected
    ]
    for name in ("probability", "similarity"):
        np.testing.assert_allclose(
            [float(row[name]) for row in found],
            [float(row[name]) for row in expected],
            atol=1e-4,
        )


@pytest.fixture(scope="module")
def undisturbed(
    many: Path, lite: str, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, str]]:
    output = tmp_path_factory.mktemp("undisturbed") / "rows.csv"
    arguments = ["classify", str(many), "--labels", LABELS, "--model", lite, "--no-cache", "-q"]
    assert run([*arguments, "--batch-size", "4", "-o", str(output)]) == 0
    return read_rows(output)


@pytest.mark.parametrize("n_rows", [-1, 4, 9])
def test_a_killed_run_loses_the_batch_in_flight_at_most(
    start: Start,
    cli: Cli,
    cache: Path,
    many: Path,
    lite: str,
    undisturbed: list[dict[str, str]],
    tmp_path: Path,
    n_rows: int,
) -> None:
    output, part = tmp_path / "rows.csv", tmp_path / "rows.csv.part"
    asked = ("--labels", LABELS, "--model", lite, "--batch-size", 4)
    arguments = ("classify", many, *asked, "-o", output, "--cache-dir", cache.parent)
    process = start(*arguments, stderr=tmp_path / "stderr")

    def n_written() -> int:
        return len(part.read_bytes().splitlines()) - 1 if part.exists() else -1

    while not cache.exists() or n_written() < n_rows:
        assert process.is_alive(), "it ended before it was killed"
        time.sleep(0.001)
    time.sleep(random.Random(n_rows).uniform(0, 0.03))  # anywhere in what follows
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    n_lost_rows = n_written()
    assert not output.exists()

    assert cli("cache", "verify").code == 0
    result = cli(*arguments)
    assert result.code == 0
    lines = result.stderr.splitlines()
    assert warnings_in(lines) == []
    assert n_known(lines[-1]) >= n_lost_rows
    assert n_known(lines[-1]) % 4 == 0  # whole batches, and nothing of the one in flight
    assert_same_rows(read_rows(output), undisturbed)
    assert cli("cache", "verify").code == 0
    assert n_known(cli(*arguments).last_line) == len(undisturbed)


def test_two_runs_at_once_share_a_new_cache(
    start: Start,
    cli: Cli,
    cache: Path,
    lite: str,
    undisturbed: list[dict[str, str]],
    tmp_path: Path,
) -> None:
    photos = [row["path"] for row in undisturbed[:12]]
    asked = ("--labels", LABELS, "--model", lite, "--batch-size", 4)
    arguments = ("classify", *photos, *asked, "--cache-dir", cache.parent)
    processes = [
        start(*arguments, "-o", tmp_path / f"{name}.csv", stderr=tmp_path / f"{name}.txt")
        for name in ("one", "other")
    ]
    for process, name in zip(processes, ("one", "other"), strict=True):
        process.join(60)
        assert process.exitcode == 0
        assert warnings_in((tmp_path / f"{name}.txt").read_text().splitlines()) == []
        assert_same_rows(read_rows(tmp_path / f"{name}.csv"), undisturbed[:12])
    assert cli("cache", "verify").code == 0
    (model,) = upkeep.info(cache).models
    assert (model.n_photos, model.n_texts) == (12, 4)


# --- full and read-only disks


@pytest.mark.parametrize("n_bytes", [1_000, 100_000, 300_000])
def test_a_full_disk_costs_a_warning(
    start: Start, embed: Embed, cli: Cli, cache: Path, album: Path, tmp_path: Path, n_bytes: int
) -> None:
    stderr, output = tmp_path / "stderr", tmp_path / "rows.csv"
    arguments = ("similar", album / "cat.jpg", album, "--model", VIT, "--batch-size", 1)
    where = ("--cache-dir", cache.parent, "-o", output)
    process = start(*arguments, *where, stderr=stderr, prepare=partial(limit_files, n_bytes))
    process.join(60)
    lines = stderr.read_text().splitlines()
    assert process.exitcode == 0, lines
    (warning,) = warnings_in(lines)
    assert warning.endswith(("; free some space", "; see whether its disk is full or failing"))
    assert f"{N_PHOTOS} compared, 0 passed over, 0 failed" in lines[-1]
    assert len(read_rows(output)) == N_PHOTOS - 1
    assert warnings_in(embed()) == []  # there is room again
    assert n_known(embed()[-1]) == N_PHOTOS
    assert cli("cache", "verify").code == 0


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that a process without rights can come to, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize(
    ("state", "n_known_photos"), [("read-only", N_PHOTOS), ("empty", 0), ("closed", 0)]
)
def test_a_cache_that_cannot_be_written_is_read_where_it_can_be(
    start: Start, cli: Cli, public: Path, album: Path, state: str, n_known_photos: int
) -> None:
    shutil.copytree(album, public / "album")
    (public / "album").chmod(0o755)
    shutil.copy(VIT, public / "vit.pt")
    cache, results = public / "closed" / "cache", public / "results"
    what = ("embed", public / "album", "--model", public / "vit.pt")
    arguments = (*what, "--cache-dir", cache)
    rehearsal = (*what, "--cache-dir", public / "other", "-o", public / "other.npy", "--quiet")
    if state == "empty":
        cache.mkdir(parents=True)
    else:
        assert cli(*arguments, "-o", public / "first.npy").code == 0
        gc.collect()  # closes the cache's file
        (cache / FILE_NAME).chmod(0o444)
    save(public / "album" / "new.png", noise(96, 72))
    cache.chmod(0o555)
    (public / "closed").chmod(0o000 if state == "closed" else 0o755)
    results.mkdir()
    results.chmod(0o777)
    stderr = public / "stderr"
    drop = partial(drop_rights, *rehearsal)
    process = start(*arguments, "-o", results / "all.npy", stderr=stderr, prepare=drop)
    process.join(60)
    (public / "closed").chmod(0o755)
    lines = stderr.read_text().splitlines()
    assert process.exitcode == 0, lines
    (warning,) = warnings_in(lines)
    assert warning.endswith(CLOSED)
    assert n_known(lines[-1]) == n_known_photos
    assert np.load(results / "all.npy").shape == (N_PHOTOS + 1, 48)
    assert [path.name for path in cache.iterdir()] == [FILE_NAME][: state != "empty"]
    cache.chmod(0o755)


@pytest.mark.parametrize("command", ["info", "clear"])
def test_a_cache_that_cannot_be_come_to_is_one_line(
    start: Start, public: Path, command: str
) -> None:
    cache = public / "closed" / "cache"
    cache.mkdir(parents=True)
    cache.parent.chmod(0o000)
    stderr = public / "stderr"
    drop = partial(drop_rights, "cache", "verify", "--cache-dir", public / "other", "--quiet")
    process = start("cache", command, "--cache-dir", cache, stderr=stderr, prepare=drop)
    process.join(60)
    cache.parent.chmod(0o755)
    lines = stderr.read_text().splitlines()
    assert process.exitcode == 1, lines
    (line,) = lines
    assert line.startswith(f"clipcli: {cache / FILE_NAME}")
    assert "Permission denied" in line
