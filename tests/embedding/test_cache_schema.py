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

from clipcli.embedding.cache.schema import STEPS, NewerCacheError, bring_up_to_date, check_version
from clipcli.embedding.cache.store import FILE_NAME, connect, connect_read_only

MADE_BY_0_1_0 = Path(__file__).parents[1] / "made_by_0_1_0" / "embeddings.sqlite.gz"
LATER = (  # fails if it is taken twice
    *STEPS,
    "CREATE TABLE step (number INTEGER); INSERT INTO step VALUES (2)",
    "INSERT INTO step VALUES (3); ALTER TABLE model ADD COLUMN seen INTEGER",
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


def test_a_cache_made_by_0_1_0_is_opened_with_nothing_changed(old: Path) -> None:
    before = dump(old)
    assert any(line.startswith('INSERT INTO "embedding"') for line in before)
    connect(old).close()
    connect_read_only(old).close()
    assert dump(old) == before


def test_a_new_cache_has_the_tables_of_0_1_0(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new" / FILE_NAME
    connect(new).close()
    assert tables(new) == tables(old)


@pytest.mark.parametrize("n_taken", range(len(LATER) + 1))
def test_a_file_takes_the_steps_that_it_lacks_in_their_order(n_taken: int) -> None:
    with closing(raw(Path(":memory:"))) as connection:
        bring_up_to_date(connection, LATER[:n_taken])
        assert version_of(connection) == n_taken
        for _ in range(2):
            bring_up_to_date(connection, LATER)
            assert version_of(connection) == len(LATER)
            numbers = connection.execute("SELECT number FROM step").fetchall()
            assert numbers == [(2,), (3,)]


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
    broken = (*LATER, "DELETE FROM embedding; DROP TABLE model; INSERT INTO nowhere VALUES (4)")
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
    with closing(raw(old)) as connection:
        check_version(connection)
        with pytest.raises(sqlite3.DatabaseError):
            check_version(connection, LATER)
        assert version_of(connection) == len(STEPS)


def test_a_newer_file_is_refused_and_left_as_it_is(old: Path) -> None:
    with closing(raw(old)) as connection:
        bring_up_to_date(connection, LATER)
    before = dump(old)
    for opener in (connect, connect_read_only):
        with pytest.raises(NewerCacheError, match="its version is 3, this clipcli knows 1"):
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
                assert connection.execute("SELECT number FROM step").fetchall() == [(2,), (3,)]
