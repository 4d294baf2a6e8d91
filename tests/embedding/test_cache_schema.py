"""The cache's file is brought from any earlier version to the newest, step by step."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from clipcli.embedding.cache.repair import repair
from clipcli.embedding.cache.schema import STEPS, NewerCacheError, bring_up_to_date, check_version
from clipcli.embedding.cache.store import FILE_NAME, Cache, connect, connect_read_only
from clipcli.embedding.cache.upkeep import verify

MADE_BY_0_1_0 = Path(__file__).parents[1] / "made_by_0_1_0" / "embeddings.sqlite.gz"
LATER = (  # fails if it is taken twice
    *STEPS,
    "CREATE TABLE step (number INTEGER); INSERT INTO step VALUES (4)",
    "INSERT INTO step VALUES (5); ALTER TABLE model ADD COLUMN seen INTEGER",
)
N_ROUNDS = 40
OPENER = """
import json, sqlite3, sys
from clipcli.embedding.cache.schema import bring_up_to_date
steps = json.loads(sys.stdin.readline())
for path in sys.stdin:
    connection = sqlite3.connect(path.rstrip(), timeout=60, isolation_level=None)
    bring_up_to_date(connection, steps)
    connection.close()
    print("open", flush=True)
"""


KILLED = """
import os, shutil, signal, sqlite3, sys
from clipcli.embedding.cache.schema import bring_up_to_date
old, *counts = sys.argv[1:]
for count in counts:  # of steps of SQLite's machine, after which the process is killed
    path = f"{old}.{count}"
    shutil.copy(old, path)
    pid = os.fork()
    if pid == 0:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.set_progress_handler(lambda: os.kill(os.getpid(), signal.SIGKILL), int(count))
        bring_up_to_date(connection)
        os._exit(0)
    print(path, "killed" if os.waitpid(pid, 0)[1] else "whole", flush=True)
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A cache with photographs and texts that clipcli 0.1.0 left."""
    path = tmp_path / FILE_NAME
    path.write_bytes(gzip.decompress(MADE_BY_0_1_0.read_bytes()))
    return path


def raw(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def dump(path: Path) -> list[str]:
    """The version, and every table and row as SQL."""
    with closing(raw(path)) as connection:
        return [f"version {version_of(connection)}", *connection.iterdump()]


def tables(path: Path) -> list[tuple[str, str]]:
    with closing(raw(path)) as connection:
        return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def version_of(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All that 0.1.0 knew, by table, without checksums."""
    columns = {
        "file": "path, size, mtime_ns, ctime_ns, inode, content",
        "pixels": "content, preprocessing, pixels, middle_only",
        "embedding": "rowid, pixels, model, vector",
        "text": "rowid, text, model, vector",
        "model": "rowid, key, name, fingerprint, precision",
        "remembered": "rowid, key, value",
    }
    with closing(raw(path)) as connection:
        return {
            table: connection.execute(f"SELECT {names} FROM {table}").fetchall()
            for table, names in columns.items()
        }


def test_a_cache_made_by_0_1_0_gets_checksums_and_loses_nothing(
    old: Path, notes: list[str]
) -> None:
    before = rows(old)
    assert {table: len(some) for table, some in before.items()} == {
        "file": 6,
        "pixels": 18,
        "embedding": 12,
        "text": 29,
        "model": 1,
        "remembered": 1,
    }
    connect(old).close()
    connect_read_only(old).close()
    assert rows(old) == before
    assert verify(old) == []
    assert notes == []


def test_a_new_cache_has_the_tables_of_an_old_one(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new" / FILE_NAME
    for path in (new, old):
        connect(path).close()
    assert tables(new) == tables(old)


def test_what_is_damaged_in_an_old_cache_is_dropped_and_said_once(
    old: Path, notes: list[str]
) -> None:
    with closing(raw(old)) as connection:
        connection.execute("UPDATE text SET vector = zeroblob(16) WHERE rowid = 2")
        connection.execute("UPDATE text SET vector = 7 WHERE rowid = 3")
        connection.execute("UPDATE remembered SET value = CAST(x'ff' AS TEXT)")
    for _ in range(2):
        connect(old).close()
    (note,) = notes
    assert note == (
        f"embedding cache {old}: an earlier clipcli made it; damaged entries that were dropped: 3"
    )
    assert verify(old) == []


def test_an_old_cache_whose_structure_is_damaged_is_not_used_and_can_be_repaired(
    old: Path, notes: list[str]
) -> None:
    with closing(raw(old)) as connection:  # one table is another's
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name ="
            " 'text') WHERE name = 'embedding'"
        )
    before = old.read_bytes()
    Cache(old.parent).close()
    (warning,) = notes
    assert warning == (
        f"embedding cache {old}: an earlier clipcli made it, and it is damaged; the run does"
        " without; clipcli cache repair saves what it can"
    )
    assert old.read_bytes() == before
    assert repair(old).n_kept == 0  # which row has damage in its key, an old file does not say
    assert verify(old) == []


def test_a_process_that_is_killed_in_a_step_leaves_the_old_cache_or_the_new(old: Path) -> None:
    before = rows(old)
    child = [sys.executable, "-c", KILLED, str(old), *map(str, range(100, 8000, 400))]
    done = subprocess.run(child, capture_output=True, text=True, check=True)
    ends = done.stdout.splitlines()
    assert {end.split()[1] for end in ends} == {"killed", "whole"}
    for end in ends:
        path = Path(end.split()[0])
        with closing(raw(path)) as connection:
            assert version_of(connection) in (1, 2, 3)
        connect(path).close()
        assert rows(path) == before
        assert verify(path) == []


@pytest.mark.parametrize("n_taken", range(len(LATER) + 1))
def test_a_file_takes_the_steps_that_it_lacks_in_their_order(n_taken: int) -> None:
    with closing(raw(Path(":memory:"))) as connection:
        bring_up_to_date(connection, LATER[:n_taken])
        assert version_of(connection) == n_taken
        for _ in range(2):
            bring_up_to_date(connection, LATER)
            assert version_of(connection) == len(LATER)
            numbers = connection.execute("SELECT number FROM step").fetchall()
            assert numbers == [(4,), (5,)]


def test_a_later_step_leaves_what_0_1_0_wrote(old: Path) -> None:
    with closing(raw(old)) as connection:
        counts = [
            f"SELECT COUNT(*) FROM {table}" for table in ("file", "pixels", "embedding", "text")
        ]
        before = [connection.execute(count).fetchone() for count in counts]
        bring_up_to_date(connection, LATER)
        assert [connection.execute(count).fetchone() for count in counts] == before
        connection.execute("SELECT seen FROM model")


def test_a_step_that_fails_is_undone_whole_and_those_before_it_are_kept(old: Path) -> None:
    broken = (*LATER, "DELETE FROM embedding; DROP TABLE model; INSERT INTO nowhere VALUES (6)")
    with closing(raw(old)) as connection:
        bring_up_to_date(connection, LATER)
    before = dump(old)
    for _ in range(2):
        with closing(raw(old)) as connection:
            with pytest.raises(sqlite3.OperationalError, match="nowhere"):
                bring_up_to_date(connection, broken)
            assert not connection.in_transaction
        assert dump(old) == before


def test_a_file_that_lacks_a_step_is_not_read_where_it_cannot_be_written(old: Path) -> None:
    with pytest.raises(sqlite3.DatabaseError, match="its version is 1, expected 3"):
        connect_read_only(old)
    connect(old).close()
    with closing(raw(old)) as connection:
        check_version(connection)
        with pytest.raises(sqlite3.DatabaseError, match="its version is 3, expected 5"):
            check_version(connection, LATER)
        assert version_of(connection) == len(STEPS)


def test_a_newer_file_is_refused_and_left_as_it_is(old: Path) -> None:
    with closing(raw(old)) as connection:
        bring_up_to_date(connection, LATER)
    before = dump(old)
    for opener in (connect, connect_read_only):
        with pytest.raises(NewerCacheError, match="its version is 5, this clipcli knows 3"):
            opener(old)
    assert dump(old) == before


class Opener:
    """A process that opens each file that it is told of, and takes it to the newest of `LATER`."""

    def __init__(self, processes: ExitStack) -> None:
        self._process = processes.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", OPENER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        self.tell(json.dumps(LATER))

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@pytest.mark.parametrize("state", ["new", "old"])
def test_two_processes_at_once_take_each_step_once(old: Path, tmp_path: Path, state: str) -> None:
    with ExitStack() as processes:
        openers = [Opener(processes), Opener(processes)]
        for number in range(N_ROUNDS):
            path = tmp_path / f"{number}.sqlite"
            if state == "old":
                shutil.copy(old, path)
            for opener in openers:
                opener.tell(str(path))
            assert [opener.answer() for opener in openers] == ["open\n", "open\n"]
            with closing(raw(path)) as connection:
                assert version_of(connection) == len(LATER)
                assert connection.execute("SELECT number FROM step").fetchall() == [(4,), (5,)]
