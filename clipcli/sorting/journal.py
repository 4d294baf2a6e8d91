"""The log of moves in a destination: what is about to be moved, written to the disk before it is.

One JSON object a line, which are only ever added: a move with its files, each with its size and
time; then what became of it, by its number. `at` is where the destination was: when the whole disk
is mounted elsewhere, the way from there leads back.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from clipcli.errors import LockedError, UsageError
from clipcli.files import strict_json
from clipcli.files.lock import lock_part
from clipcli.files.rows import json_text
from clipcli.photos.formats import is_picture
from clipcli.sorting.place import sync_folder

NAME = ".clipcli-moves.jsonl"
BEGINNING = b'{"move": '  # of every line

State = Literal["begun", "done", "failed", "undoing", "undone"]


@dataclass(frozen=True)
class MovedFile:
    """source: where it was, absolute; target: where it goes, below the destination."""

    source: str
    target: str
    size_bytes: int
    mtime_ns: int


@dataclass
class Move:
    """A photograph, and behind it what goes along. made: the folders that were made for it, below
    the destination, the outer ones first. device: its number, of a photograph that comes from
    another disk than the destination's."""

    number: int
    at: str
    files: tuple[MovedFile, ...]
    made: tuple[str, ...]
    device: int | None = None
    state: State = "begun"


class Journal:
    """The moves into `folder`, oldest first; `add` and `settle` only while it is locked."""

    def __init__(self, folder: str, text: bytes = b"", file: io.FileIO | None = None) -> None:
        self.folder = folder
        self.path = os.path.join(folder, NAME)
        self._at = os.path.realpath(folder)
        self._file = file
        self.moves: dict[int, Move] = {}
        whole, _, self.torn = text.rpartition(b"\n")  # of a run that was killed while it wrote
        lines = whole.splitlines() if whole else []
        for number, line in enumerate(lines, start=1):
            try:
                self._read(strict_json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise self._no_log(number) from error
        torn = self.torn.rstrip(b"\0")  # as a disk without power may leave it; it is cut off
        if torn[: len(BEGINNING)] != BEGINNING[: len(torn)]:
            raise self._no_log(len(lines) + 1)

    def _no_log(self, number: int) -> UsageError:
        return UsageError(
            f"{self.path}: line {number} is none of a log of moves; expected the file that"
            " clipcli classify --move-to wrote"
        )

    def _read(self, fields: dict[str, Any]) -> None:
        number, state = int(fields["move"]), fields.get("is", "begun")
        if state not in get_args(State):
            raise ValueError(state)
        if state != "begun":
            self.moves[number].state = state
            return
        files = tuple(
            MovedFile(
                _absolute(one["from"]),
                _below(one["to"]),
                int(one["size_bytes"]),
                int(one["mtime_ns"]),
            )
            for one in fields["files"]
        )
        made = tuple(_below(folder) for folder in fields["made"])
        if not files or not all(
            may_move(path) for one in files for path in (one.source, one.target)
        ):
            raise ValueError("no move of a photograph")
        device = None if fields.get("device") is None else int(fields["device"])
        self.moves[number] = Move(number, _absolute(fields["at"]), files, made, device)

    def add(self, files: Sequence[MovedFile], made: Sequence[str], device: int | None) -> Move:
        """Write what is about to be moved; when it returns, it is on the disk. device: that of the
        photograph, whichever it is."""
        if device == os.stat(self.folder).st_dev:
            device = None
        move = Move(max(self.moves, default=0) + 1, self._at, tuple(files), tuple(made), device)
        fields: dict[str, Any] = {
            "move": move.number,
            "at": move.at,
            "files": [
                {
                    "from": one.source,
                    "to": one.target,
                    "size_bytes": one.size_bytes,
                    "mtime_ns": one.mtime_ns,
                }
                for one in files
            ],
            "made": list(made),
        }
        if device is not None:
            fields["device"] = device
        self._append(fields, is_synced=True)
        self.moves[move.number] = move
        return move

    def settle(self, move: Move, state: State) -> None:
        """Write what became of a move. What is about to be undone is on the disk before it is."""
        self._append({"move": move.number, "is": state}, is_synced=state == "undoing")
        move.state = state

    def _append(self, fields: dict[str, Any], is_synced: bool) -> None:
        assert self._file is not None, "only while it is locked"
        n_bytes_before = self._file.seek(0, os.SEEK_END)
        left = memoryview((json_text(fields) + "\n").encode())
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:  # of a full disk: half a line would spoil the next one
            self._file.truncate(n_bytes_before)
            raise
        if is_synced:
            os.fsync(self._file.fileno())

    def target(self, file: MovedFile) -> str:
        return os.path.join(self.folder, file.target)

    def source(self, move: Move, file: MovedFile) -> str:
        """Where the file was: seen from the destination, where that lies elsewhere now together
        with its surroundings, or is a copy."""
        is_left = os.path.isdir(os.path.dirname(file.source)) and not os.path.isdir(move.at)
        if move.at != self._at and not is_left:
            way = os.path.relpath(file.source, move.at)
            there = os.path.normpath(os.path.join(self._at, way))
            if os.path.isdir(os.path.dirname(there)):
                return there
        return file.source

    @property
    def standing(self) -> list[Move]:
        """Moves that were made and not undone, the newest of each place alone."""
        by_target = {
            move.files[0].target: move for move in self.moves.values() if move.state == "done"
        }
        return [move for move in by_target.values() if os.path.lexists(self.target(move.files[0]))]


def may_move(path: str) -> bool:
    """Whether its name is that of a picture, or of what stands beside one. A log that came with a
    stranger's folder can put no other file where a system or a shell would obey it."""
    return is_picture(path.removesuffix("_original")) or path.lower().endswith(".xmp")


def read_journal(folder: str) -> Journal:
    """To look at; empty where there is none."""
    try:
        return Journal(folder, _checked(Path(folder, NAME)).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return Journal(folder)


@contextmanager
def locked_journal(folder: str) -> Iterator[Journal]:
    """To add to, in a folder that is there. One that stays empty is taken away.

    Raises LockedError while another run works in this folder, OSError where it cannot be written.
    """
    path = _checked(Path(folder, NAME))
    unlock = _lock(path)
    try:
        with io.FileIO(path, "a+b") as file:  # which makes it where its lock has not
            file.seek(0)
            text = file.readall()
            journal = Journal(folder, text, file)
            if journal.torn:
                file.truncate(len(text) - len(journal.torn))
            if not text:
                sync_folder(folder)
            yield journal
    finally:
        with suppress(FileNotFoundError):
            if not path.stat().st_size:
                path.unlink()
        unlock()


def _checked(path: Path) -> Path:
    """Raises UsageError for a link: a stranger's could lead to a file that is none to add to."""
    if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
        raise UsageError(f"{path}: is no file, so no log of moves; move it elsewhere")
    return path


def _lock(path: Path) -> Callable[[], None]:
    try:
        return lock_part(path)
    except LockedError as error:
        raise LockedError(
            f"{path}: another run is moving photographs there; wait for that run"
        ) from error


def _absolute(path: str) -> str:
    if not os.path.isabs(path) or "\0" in path:
        raise ValueError(path)
    return path


def _below(path: str) -> str:
    """The path itself. Raises ValueError for one that leads out of the destination."""
    if os.path.isabs(path) or "\0" in path or {"", os.pardir} & {*path.split(os.sep)}:
        raise ValueError(path)
    return path
