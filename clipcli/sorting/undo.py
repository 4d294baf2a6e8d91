"""Moves taken back, and moves finished that were killed."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from clipcli.errors import OutputError
from clipcli.sorting import place
from clipcli.sorting.goes_along import Companions
from clipcli.sorting.journal import Journal, Move, MovedFile
from clipcli.sorting.sorter import HOPELESS, reason

logger = logging.getLogger(__name__)

CHANGED = "it was changed after it was moved"
MTIME_TOLERANCE_NS = 2_000_000_000  # FAT keeps every second second


def finish_begun(journal: Journal) -> None:
    """Finish what a killed run had begun: each photograph is at one place afterwards."""
    for move in journal.moves.values():
        if move.state == "undoing":
            take_back(journal, move, Companions(()))
        elif move.state == "begun":
            photo, *along = move.files
            try:
                _finish(journal, move, photo)
            except OSError:  # it is where it was
                journal.settle(move, "failed")
                continue
            for one in along:
                try:
                    _finish(journal, move, one)
                except OSError as error:
                    logger.warning(f"{one.source}: not moved: {reason(error)}")
            journal.settle(move, "done")


def _finish(journal: Journal, move: Move, file: MovedFile) -> None:
    source, target = journal.source(move, file), journal.target(file)
    if os.path.lexists(source) and _is_changed(source, file):
        raise OSError(errno.ESTALE, CHANGED)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    place.finish_move(source, target)


def to_take_back(journal: Journal) -> list[Move]:
    """Newest first."""
    states = ("begun", "done", "undoing")
    return [move for move in reversed(journal.moves.values()) if move.state in states]


def why_not(journal: Journal, move: Move) -> str:
    """Why a move cannot be taken back, or empty."""
    photo = move.files[0]
    source, target = journal.source(move, photo), journal.target(photo)
    is_half = move.state != "done"  # a killed run may have left it at both places
    if not os.path.lexists(target):
        return "" if is_half and os.path.lexists(source) else "it is gone"
    if os.path.lexists(source):  # of one that was killed, `finish_move` looks at both
        return "" if is_half else f"its place is taken, {source}"
    folder = os.path.dirname(source)
    if _is_disk_away(move, folder):
        return f"its folder is gone, and the disk as it seems; mount it, or make {folder}"
    return CHANGED if _is_changed(target, photo) else ""


def _is_disk_away(move: Move, folder: str) -> bool:
    """Whether a folder is missing that was on a disk of its own, and what is there is another: a
    photograph put there would be hidden as soon as the disk is mounted."""
    if move.device is None or os.path.isdir(folder):
        return False
    there = next(filter(os.path.isdir, map(str, Path(folder).parents)), None)
    return there is None or os.stat(there).st_dev != move.device


def _is_changed(path: str, file: MovedFile) -> bool:
    """Also of a link, which is none of the files that are moved. Whoever writes keywords into a
    photograph and keeps its time, as --embed-keywords does, has not changed it."""
    status = os.lstat(path)
    late_ns = abs(status.st_mtime_ns - file.mtime_ns)
    is_same = status.st_size == file.size_bytes and late_ns <= MTIME_TOLERANCE_NS
    return not (is_same or late_ns == 0) or not stat.S_ISREG(status.st_mode)


def take_back(journal: Journal, move: Move, companions: Companions) -> str:
    """Move a photograph back, with what went along and sidecars that came since: why that cannot
    be, or empty. companions: of the destination.

    Raises OutputError where nothing can be written any more.
    """
    if why := why_not(journal, move):
        if move.state != "done":
            journal.settle(move, "done")
        return why
    photo, *along = move.files
    journal.settle(move, "undoing")
    try:
        _take_back(journal, move, photo)
    except OSError as error:
        if error.errno in HOPELESS:
            raise OutputError(f"{journal.source(move, photo)}: {error.strerror}") from error
        journal.settle(move, "done")
        return reason(error)
    companions.has_left(journal.target(photo))
    for one in (*along, *_came_since(journal, move, companions)):
        try:
            _take_back(journal, move, one)
            companions.has_left(journal.target(one))
        except OSError as error:
            logger.warning(f"{journal.target(one)}: not moved back: {reason(error)}")
    journal.settle(move, "undone")
    return ""


def _came_since(journal: Journal, move: Move, companions: Companions) -> Iterator[MovedFile]:
    """Sidecars that were written beside a photograph after it was moved."""
    photo = move.files[0]
    target = journal.target(photo)
    listed = {journal.target(one) for one in move.files}
    for path in companions.of(target, stays_shared=True):
        if path.lower().endswith(".xmp") and path not in listed:
            behind_stem = path[len(os.path.splitext(target)[0]) :]
            below = os.path.relpath(path, journal.folder)
            yield MovedFile(os.path.splitext(photo.source)[0] + behind_stem, below, 0, 0)


def _take_back(journal: Journal, move: Move, file: MovedFile) -> None:
    source, target = journal.source(move, file), journal.target(file)
    if not os.path.lexists(target) and os.path.lexists(source):
        return  # it has not left, or it is back
    if os.path.islink(target):
        raise OSError(errno.ESTALE, CHANGED)
    os.makedirs(os.path.dirname(source), exist_ok=True)
    place.finish_move(target, source)


def remove_made_folders(journal: Journal) -> None:
    """Those that undone moves made and that are empty."""
    made = {
        folder for move in journal.moves.values() if move.state == "undone" for folder in move.made
    }
    for folder in sorted(made, key=len, reverse=True):
        with suppress(OSError):
            os.rmdir(os.path.join(journal.folder, folder))


def undo(journal: Journal) -> Iterator[tuple[Move, str]]:
    """Take all moves back, newest first, and give each with why it could not be, or empty."""
    companions = Companions(())
    for move in to_take_back(journal):
        yield move, take_back(journal, move, companions)
    remove_made_folders(journal)
