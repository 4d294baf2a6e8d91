"""`clipcli cache prune` and `clear`: what they show, what they ask, and what they leave alone."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import sqlite3
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from program import Result

from clipcli.embedding.cache import store
from clipcli.embedding.cache.photos import NOT_TRUSTED
from clipcli.embedding.cache.proof import checksum
from clipcli.embedding.cache.store import FILE_NAME

Cli = Callable[..., Result]

RUNS = """
import fcntl, json, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C comes to this process
signal.signal(signal.SIGINT, signal.default_int_handler)
from clipcli.cli.main import run
for line in open(int(sys.argv[1])):
    code = run(json.loads(line))
    sys.stderr.flush()
    sys.stdout.buffer.write(b"%d\\x1e" % code)
    sys.stdout.buffer.flush()
"""
CTRL_C, CTRL_D = b"\x03", b"\x04"


class Terminal:
    """A real pseudo-terminal, and a process that it controls and that runs command lines."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 500))
        to_read, to_write = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", RUNS, str(to_read)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            pass_fds=[to_read],
            start_new_session=True,
        )
        os.close(slave)
        os.close(to_read)
        self._runs = os.fdopen(to_write, "w")
        self._printed = b""

    def ask(self, *arguments: object) -> str:
        """Start a command line; what it said up to the question."""
        self._runs.write(json.dumps([str(argument) for argument in arguments]) + "\n")
        self._runs.flush()
        return self._read_until(b"[y/N] ")

    def answer(self, keys: bytes) -> tuple[int, list[str]]:
        """Press the keys. The exit code, and the lines that come then, the keys' own first."""
        os.write(self._master, keys)
        *said, code = self._read_until(b"\x1e").split("\n")
        return int(code[:-1]), said

    def close(self) -> None:
        self._runs.close()
        self._process.wait(timeout=60)
        os.close(self._master)

    def _read_until(self, end: bytes) -> str:
        printed = b""
        while not printed.endswith(end):
            assert select.select([self._master], [], [], 60)[0], printed
            printed += os.read(self._master, 1 << 16)
        return printed.replace(b"\r\n", b"\n").decode(errors="replace")


@pytest.fixture(scope="module")
def terminal() -> Iterator[Terminal]:
    one = Terminal()
    yield one
    one.close()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache" / FILE_NAME


@pytest.fixture
def album(tmp_path: Path, cache: Path) -> Path:
    """Five photographs, all known; a and b are gone."""
    folder = tmp_path / "album"
    folder.mkdir()
    paths = [folder / f"{name}.jpg" for name in "abcde"]
    remember(cache, *paths)
    for path in paths[2:]:
        path.touch()
    return folder


def remember(cache: Path, *paths: Path) -> None:
    """As a run does that labels these photographs."""
    vector = np.eye(1, 8, dtype="<f4").tobytes()
    with closing(store.connect(cache)) as connection:
        for path in paths:
            key = os.fsencode(path)
            digest = sha256(key).digest()
            rows: dict[str, tuple[object, ...]] = {
                "file": (key, *NOT_TRUSTED, digest),
                "pixels": (digest, b"how", digest, 0),
                "embedding": (digest, b"model", vector),
                "model": (b"model", "lite", "abc", "fp32"),
            }
            for table, row in rows.items():
                values = [item.encode() if isinstance(item, str) else item for item in row]
                places = ", ".join("?" * (len(row) + 1))
                connection.execute(
                    f"INSERT OR REPLACE INTO {table} VALUES ({places})",
                    (*row, checksum(*values)),
                )


def known(cache: Path) -> set[str]:
    """Paths that are remembered; each has its embedding."""
    with closing(sqlite3.connect(cache)) as connection:
        paths = {os.fsdecode(path) for (path,) in connection.execute("SELECT path FROM file")}
        assert connection.execute("SELECT COUNT(*) FROM embedding").fetchone() == (len(paths),)
        return paths


def names(cache: Path) -> str:
    return "".join(sorted(Path(path).stem for path in known(cache)))


# --- the question


@pytest.mark.parametrize(
    ("keys", "forgets"),
    [
        (b"y\n", True),
        (b" YES\n", True),
        (b"\n", False),
        (b"no\n", False),
        (b"yep\n", False),
        (b"\xff\n", False),
        (CTRL_D, False),
    ],
)
def test_prune_shows_what_is_gone_and_forgets_it_after_a_yes(
    terminal: Terminal, cache: Path, album: Path, keys: bytes, forgets: bool
) -> None:
    asked = terminal.ask("cache", "prune", "--cache-dir", cache.parent)
    assert asked == (
        f"clipcli: gone from {album}: a.jpg, b.jpg\n"
        "clipcli: forget what is known of 2 files that are gone and 2 embeddings? [y/N] "
    )
    code, (_, said, *rest) = terminal.answer(keys)
    assert (code, rest) == (0, [])
    done = "2 files that are gone and 2 embeddings forgotten"
    assert said == f"clipcli: {cache}: {done if forgets else 'nothing was forgotten'}"
    assert names(cache) == ("cde" if forgets else "abcde")


def test_ctrl_c_at_the_question_does_nothing(terminal: Terminal, cache: Path, album: Path) -> None:
    for command in ("prune", "clear"):
        terminal.ask("cache", command, "--cache-dir", cache.parent)
        code, said = terminal.answer(CTRL_C)
        # on Ctrl-C a terminal throws away what waits to be shown, our line end at times
        assert (code, "".join(said)) == (130, "^Cclipcli: interrupted")
        assert names(cache) == "abcde"


def test_clear_shows_what_it_removes_and_does_after_a_yes(
    terminal: Terminal, cache: Path, album: Path
) -> None:
    for keys in (CTRL_D, b"y\n"):
        size = cache.stat().st_size
        asked = terminal.ask("cache", "clear", "--cache-dir", cache.parent)
        mb = f"{size / 1e6:.1f} MB"
        assert asked == (
            f"clipcli: {cache}: remove {mb}, embeddings of photographs: 5, of texts: 0? [y/N] "
        )
        code, (_, said) = terminal.answer(keys)
        assert code == 0
        if keys == CTRL_D:
            assert said == f"clipcli: {cache}: nothing was removed"
            assert names(cache) == "abcde"
    assert said == f"clipcli: {cache}: {mb} freed"
    assert not cache.exists()


def test_clear_asks_about_a_file_that_it_cannot_read(terminal: Terminal, cache: Path) -> None:
    cache.write_bytes(b"no cache" * 100_000)
    asked = terminal.ask("cache", "clear", "--quiet", "--cache-dir", cache.parent)
    assert asked == f"clipcli: {cache}: remove 0.8 MB, in which nothing can be read? [y/N] "
    assert terminal.answer(b"y\n") == (0, ["y"])
    assert not cache.exists()


def test_without_a_terminal_nothing_is_done_unless_told_so(
    cli: Cli, cache: Path, album: Path
) -> None:
    for command, what in (
        ("prune", "forget what is known of 2 files that are gone and 2 embeddings"),
        ("clear", rf"{re.escape(str(cache))}: remove 0\.\d MB, embeddings of .* texts: 0"),
    ):
        result = cli("cache", command, "--quiet", "--cache-dir", cache.parent)
        assert (result.code, result.stdout) == (2, b"")
        reason = "There is no terminal to ask at, and nothing was done; give --yes"
        assert re.fullmatch(rf"clipcli: {what}\? {reason}\n", result.stderr)
        assert names(cache) == "abcde"
    for command in ("prune", "clear"):
        result = cli("cache", command, "--yes", "--quiet", "--cache-dir", cache.parent)
        assert (result.code, result.stdout, result.stderr) == (0, b"", "")
    assert not cache.exists()


def test_with_nothing_to_forget_nothing_is_asked(cli: Cli, cache: Path, album: Path) -> None:
    (album / "a.jpg").touch()
    (album / "b.jpg").symlink_to("nowhere")  # a link is there, whatever it leads to
    result = cli("cache", "prune", "--cache-dir", cache.parent)
    said = "0 files that are gone and 0 embeddings forgotten"
    assert (result.code, result.stderr) == (0, f"clipcli: {cache}: {said}\n")
    cache.unlink()
    for command, said in (("prune", "nothing is remembered yet"), ("clear", "0.0 MB freed")):
        result = cli("cache", command, "--cache-dir", cache.parent)
        assert (result.code, result.stderr) == (0, f"clipcli: {cache}: {said}\n")


def test_an_embedding_that_no_file_leads_to_is_asked_about(
    cli: Cli, cache: Path, album: Path
) -> None:
    (album / "a.jpg").touch()
    (album / "b.jpg").touch()
    with closing(sqlite3.connect(cache, isolation_level=None)) as connection:
        connection.execute("DELETE FROM file WHERE path = ?", (os.fsencode(album / "c.jpg"),))
    result = cli("cache", "prune", "--cache-dir", cache.parent)
    assert result.code == 2
    assert "of 0 files that are gone and 1 embedding?" in result.stderr
    assert cli("cache", "prune", "--yes", "--cache-dir", cache.parent).code == 0
    assert names(cache) == "abde"


def test_a_dry_run_shows_and_forgets_nothing(cli: Cli, cache: Path, album: Path) -> None:
    remember(cache, *(album / f"f{n}.jpg" for n in range(4)))
    for n in range(12):
        folder = album / f"{n:02}"
        folder.mkdir()
        (folder / "another").touch()
        remember(cache, folder / "g.jpg")
    before = known(cache)
    for options in ((), ("--yes",)):
        result = cli("cache", "prune", "--dry-run", *options, "--cache-dir", cache.parent)
        assert (result.code, result.stdout) == (0, b"")
        assert result.stderr == (
            "".join(f"clipcli: gone from {album}/{n:02}: g.jpg\n" for n in range(10))
            + "clipcli: gone from 3 more folders: 8 more\n"
            f"clipcli: {cache}: 18 files that are gone and 18 embeddings would be forgotten\n"
        )
        assert known(cache) == before


# --- what is left alone


def test_what_lies_on_a_disk_that_is_not_connected_is_kept(
    cli: Cli, cache: Path, album: Path, tmp_path: Path
) -> None:
    mnt = tmp_path / "mnt"
    empty = mnt / "empty"  # where a disk was mounted
    empty.mkdir(parents=True)
    (mnt / "loop").symlink_to("loop")  # what is below cannot be looked at
    (mnt / "file").touch()
    away = [
        mnt / "no" / "p.jpg",
        mnt / "no" / "deep" / "q.jpg",
        empty / "r.jpg",
        empty / "deep" / "s.jpg",
        mnt / "file" / "t.jpg",
        mnt / "loop" / "u.jpg",
    ]
    remember(cache, *away)
    result = cli("cache", "prune", "--yes", "--cache-dir", cache.parent)
    assert result.code == 0
    assert result.stderr == (
        f"clipcli: gone from {album}: a.jpg, b.jpg\n"
        "clipcli: kept: 6 files below what is not there, empty or not readable, as a disk that is"
        f" not connected: {mnt}/empty, {mnt}/file, {mnt}/loop and 1 more;"
        " clipcli cache prune --gone FOLDER forgets such a folder\n"
        f"clipcli: {cache}: 2 files that are gone and 2 embeddings forgotten\n"
    )
    assert names(cache) == "cdepqrstu"
    (mnt / "empty" / "r.jpg").touch()  # the disk is there again, and lacks a folder
    cli("cache", "prune", "--yes", "--cache-dir", cache.parent)
    assert names(cache) == "cdepqrstu"


def test_a_folder_is_forgotten_by_name(
    cli: Cli, cache: Path, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = tmp_path / "away"
    remember(cache, away / "deep" / "p.jpg", tmp_path / "away2" / "q.jpg", away / "r.jpg")
    away.mkdir()
    (away / "r.jpg").touch()
    (away / "loop").symlink_to("loop")
    remember(cache, away / "loop" / "u.jpg")
    monkeypatch.chdir(tmp_path)
    gone = ("cache", "prune", "--cache-dir", cache.parent, "--gone")
    assert cli(*gone, "away").code == 2
    result = cli(*gone, "away/", "--yes")
    assert result.code == 0
    assert result.stderr == (
        f"clipcli: gone from {away}/deep: p.jpg\n"
        f"clipcli: kept: 1 file that cannot be looked at, in {away}/loop\n"
        f"clipcli: {cache}: 1 file that is gone and 1 embedding forgotten\n"
    )
    assert names(cache) == "abcdeqru"
    result = cli(*gone, "elsewhere", "--yes")
    said = "clipcli: no file below elsewhere is known\n"
    assert (result.code, result.stderr[: len(said)]) == (0, said)
    result = cli(*gone, "", "--yes")
    assert (result.code, result.stderr) == (
        2,
        "clipcli: --gone '': expected the name of a folder\n",
    )
    assert names(cache) == "abcdeqru"


def test_what_comes_back_before_the_answer_is_kept(
    terminal: Terminal, cache: Path, album: Path, tmp_path: Path
) -> None:
    prune = ("cache", "prune", "--cache-dir", cache.parent)
    terminal.ask(*prune)
    album.rename(tmp_path / "unmounted")
    code, (_, said) = terminal.answer(b"y\n")
    assert said == f"clipcli: {cache}: 0 files that are gone and 0 embeddings forgotten"
    shutil.move(tmp_path / "unmounted", album)
    terminal.ask(*prune)
    (album / "a.jpg").touch()
    code, (_, said) = terminal.answer(b"y\n")
    assert code == 0
    assert said == f"clipcli: {cache}: 1 file that is gone and 1 embedding forgotten"
    assert names(cache) == "acde"
