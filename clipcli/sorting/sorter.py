"""From photographs and their labels to places, then carried out: planned while the rows are
written, and moved when they are."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from clipcli.errors import OutputError
from clipcli.files.part_file import FULL
from clipcli.sorting import place
from clipcli.sorting.free_names import FreeNames
from clipcli.sorting.goes_along import Companions
from clipcli.sorting.journal import Journal, MovedFile, may_move
from clipcli.sorting.label_folder import label_folder

logger = logging.getLogger(__name__)

Way = Literal["copy", "move", "link", "hard link"]
DONE: dict[Way, str] = {
    "copy": "copied",
    "move": "moved",
    "link": "linked",
    "hard link": "linked",
}
PLACE: dict[Way, Callable[[str, str], None]] = {
    "copy": place.copy,
    "move": place.move,
    "link": place.link,
    "hard link": place.hard_link,
}
HOPELESS = (*FULL, errno.EROFS)  # all others would fail, too


@dataclass(frozen=True)
class Placement:
    """path: as the user knows it; source: the same with its folder resolved; target: below the
    destination. is_there: an earlier run has put it there."""

    path: str
    source: str
    label: str
    target: str
    size_bytes: int
    mtime_ns: int
    is_there: bool = False


class Sorter:
    """One run into `root`, which need not be there yet. A file that could not be placed is named,
    and stays where it was."""

    def __init__(self, way: Way, root: str) -> None:
        self.way = way
        self.root = root
        self.placements: list[Placement] = []
        self.n_staying = self.n_placed = self.n_failed = 0
        self._names = FreeNames(root)
        self._may_be_left: dict[str, bool] = {}

    def plan(self, path: str, labels: Sequence[str]) -> list[Placement]:
        """Where a photograph goes that has these labels, best first: into the first one's folder,
        or with links into all."""
        source = real_path(path)
        try:
            status = os.lstat(source) if self.way == "move" else os.stat(source)
        except OSError as error:
            self._fail(path, error)
            return []
        why = ""
        if self.way == "move" and stat.S_ISLNK(status.st_mode):
            why = "a link"
        elif self.way == "move" and not may_move(path):
            why = "its suffix is no picture's"
        if why:
            logger.info(f"{path}: {why}, so it is not moved")
            labels = ()
        if not labels:
            self.n_staying += 1
            return []
        if self.way == "move" and not self._may_leave(os.path.dirname(source)):
            self.n_failed += 1
            return []
        planned = []
        for label in labels if "link" in self.way else labels[:1]:
            target, is_there = self._free_place(source, label_folder(label))
            planned.append(
                Placement(path, source, label, target, status.st_size, status.st_mtime_ns, is_there)
            )
        self.placements += planned
        return planned

    def _may_leave(self, folder: str) -> bool:
        """Whether files can be moved out of a folder: known before a row says that one was."""
        if folder not in self._may_be_left:
            self._may_be_left[folder] = os.access(folder, os.W_OK | os.X_OK)
            if not self._may_be_left[folder]:
                logger.warning(f"{folder}: no right to move photographs out of it; they stay")
        return self._may_be_left[folder]

    def _free_place(self, source: str, folder: str) -> tuple[str, bool]:
        from_folder, name = os.path.split(source)
        if self.way != "move":
            for other in self._names.candidates(folder, from_folder, name):
                target = os.path.join(folder, other)
                there = os.path.join(self.root, target)
                if os.path.isfile(there) and self._is_placed(source, there):
                    self._names.claim(folder, from_folder, name, other)
                    return target, True
        name = self._names.reserve(folder, from_folder, name)
        return os.path.join(folder, name), False

    def _is_placed(self, source: str, there: str) -> bool:
        """Whether this is what an earlier run would have made of it."""
        if self.way == "copy":
            return not os.path.islink(there) and place.has_same_bytes(source, there)
        return os.path.samefile(source, there) and os.path.islink(there) == (self.way == "link")

    def carry_out(self, photos: Iterable[str], journal: Journal) -> Iterator[Placement]:
        """Place what is planned, and give each as it is settled. photos: of this run.

        Raises OutputError where nothing can be written any more.
        """
        companions = Companions(real_path(path) for path in photos)
        for placement in self.placements:
            try:
                self._check_unchanged(placement)
                along = companions.of(placement.source, stays_shared=self.way == "move")
                files = {placement.source: placement.target, **_renamed(placement, along)}
                if self.way == "move":
                    self._move(files, journal)
                    for path in files:
                        companions.has_left(path)
                else:
                    self._place(placement, files)
                self.n_placed += not placement.is_there
            except OSError as error:
                self._fail(placement.path, error)
            yield placement

    def _check_unchanged(self, placement: Placement) -> None:
        status = os.stat(placement.source)
        if (status.st_size, status.st_mtime_ns) != (placement.size_bytes, placement.mtime_ns):
            raise OSError(errno.ESTALE, "it was changed after it was labelled")

    def _move(self, files: dict[str, str], journal: Journal) -> None:
        """A photograph and what goes along, as one entry of the journal."""
        statuses = [os.lstat(source) for source in files]
        listed = [
            MovedFile(source, target, status.st_size, status.st_mtime_ns)
            for (source, target), status in zip(files.items(), statuses, strict=True)
        ]
        photo, *along = listed
        made = self._missing_folders(os.path.dirname(photo.target))
        move = journal.add(listed, made, statuses[0].st_dev)
        try:
            self._make_folder(photo.target)
            place.move(photo.source, journal.target(photo))
        except OSError:
            journal.settle(move, "failed")
            raise
        for one in along:
            try:
                place.move(one.source, journal.target(one))
            except OSError as error:
                self._fail(one.source, error)
        journal.settle(move, "done")

    def _place(self, placement: Placement, files: dict[str, str]) -> None:
        self._make_folder(placement.target)
        for source, target in files.items():
            there = os.path.join(self.root, target)
            is_photo = source == placement.source
            if is_photo and placement.is_there:
                continue
            if not is_photo and os.path.lexists(there) and self._is_placed(source, there):
                continue
            try:
                PLACE[self.way](source, there)
            except OSError as error:
                if is_photo:
                    raise
                self._fail(source, error)

    def _make_folder(self, target: str) -> None:
        os.makedirs(os.path.join(self.root, os.path.dirname(target)), exist_ok=True)

    def _missing_folders(self, folder: str) -> list[str]:
        missing: list[str] = []
        while folder and not os.path.isdir(os.path.join(self.root, folder)):
            missing.insert(0, folder)
            folder = os.path.dirname(folder)
        return missing

    def _fail(self, path: str, error: OSError) -> None:
        self.n_failed += 1
        why = reason(error)
        if error.errno in HOPELESS:
            advice = "; free some space" if error.errno in FULL else ""
            where = error.filename2 or error.filename or self.root
            raise OutputError(
                f"{where}: cannot be written: {why}{advice};"
                f" {self.n_placed} were {DONE[self.way]}, the others stay"
            ) from error
        logger.warning(f"{path}: not {DONE[self.way]}: {why}")


def real_path(path: str) -> str:
    """With its folder resolved, and not what it may link to."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


def reason(error: OSError) -> str:
    if isinstance(error, FileExistsError):
        return "its place is taken"
    return "it is gone" if isinstance(error, FileNotFoundError) else error.strerror or str(error)


def _renamed(placement: Placement, along: Iterable[str]) -> dict[str, str]:
    """Where the files go that stand beside a photograph: beside it, under the stem it has there."""
    n_stem = len(os.path.splitext(os.path.basename(placement.source))[0])
    new_stem = os.path.splitext(placement.target)[0]
    return {path: new_stem + os.path.basename(path)[n_stem:] for path in along}
