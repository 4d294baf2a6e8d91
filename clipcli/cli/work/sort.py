"""Photographs into a folder for each label, as `classify` is told to: checked before anything
runs, planned while the rows pass, carried out when they are written."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

from clipcli.cli.options.keywords import TagOptions
from clipcli.cli.options.shared import LabelOptions, PhotoOptions
from clipcli.cli.options.sorting import SortOptions
from clipcli.cli.work import progress
from clipcli.cli.work.labels import check_none_can_win
from clipcli.cli.work.tables import print_tables
from clipcli.errors import ExitCode, OutputError, StoppedError, UsageError
from clipcli.files.table import Row, Table, words
from clipcli.files.table_text import TableFormat
from clipcli.photos.find import FoundFile
from clipcli.records import Classified, Photo, Record
from clipcli.sorting.journal import Journal, locked_journal, read_journal
from clipcli.sorting.label_folder import check_label_folders, label_folder
from clipcli.sorting.moved_before import Walk, with_moved
from clipcli.sorting.sorter import DONE, Sorter, Way
from clipcli.sorting.undo import finish_begun

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)


def chosen(sort: SortOptions, tag: TagOptions) -> tuple[str, str, Way] | None:
    """The option that sorts, its folder, and how. Raises UsageError for what contradicts itself."""
    ways: list[tuple[str, str | None, Way]] = [
        ("--copy-to", sort.copy_to, "copy"),
        ("--move-to", sort.move_to, "move"),
        ("--link-to", sort.link_to, "hard link" if sort.hard else "link"),
    ]
    given = [(option, folder, way) for option, folder, way in ways if folder is not None]
    if len(given) > 1:
        options = " and ".join(option for option, _, _ in given)
        raise UsageError(f"{options} are two ways to sort; give one of them")
    if sort.hard and sort.link_to is None:
        raise UsageError("--hard: no --link-to DIR; expected both, or neither")
    if not given and sort.dry_run and not (tag.write_xmp or tag.embed_keywords):
        raise UsageError(
            "--dry-run: nothing would be written or moved; give it with --move-to, --copy-to,"
            " --link-to or --write-xmp"
        )
    return given[0] if given else None


@dataclass
class Sorting:
    """One run's. labels: all there are; moved_before: of each photograph that an earlier run moved,
    by where it lies now, the path that it had."""

    option: str
    sorter: Sorter
    journal: Journal
    labels: Sequence[str]
    moved_before: dict[str, str] = field(default_factory=dict)
    photos: list[str] = field(default_factory=list)

    def check_paths(self, paths: Sequence[str]) -> None:
        """Raises UsageError for a PATH that cannot be sorted into this destination."""
        root = os.path.realpath(self.sorter.root)
        device = os.stat(_there(root)).st_dev
        folders = {os.path.join(self.sorter.root, label_folder(name)) for name in self.labels}
        links = [one for one in sorted(folders) if not _lies_in(os.path.realpath(one), root)]
        for path in filter(os.path.exists, paths):
            top = os.path.realpath(path)
            if _lies_in(top, root) and os.path.isdir(path):
                raise UsageError(
                    f"{self.option} {self.sorter.root}: {path} lies in it; expected a folder that"
                    " the photographs are not in yet"
                )
            for there in links:
                if _lies_in(os.path.realpath(there), top):
                    raise UsageError(
                        f"{self.option} {self.sorter.root}: {there} leads into {path}, where it"
                        " would be met again; remove that link"
                    )
            if self.sorter.way == "hard link" and os.stat(path).st_dev != device:
                raise UsageError(
                    f"--hard: {path} is on another file system than {self.sorter.root}, and no hard"
                    " link leads there; leave --hard out"
                )

    def found(
        self, found: list[FoundFile], paths: Sequence[str], photo: PhotoOptions
    ) -> list[FoundFile]:
        """The files found, with those that were moved from there before."""
        self.photos = [record.path for record in found if isinstance(record, Photo)]
        if self.sorter.way == "move":
            walk = Walk(paths, photo.recursive, photo.exclude or ())
            found, self.moved_before = with_moved(found, walk, self.journal)
        return found

    def planned(self, records: Iterable[R]) -> Iterator[R | Classified]:
        """The records, and on those of moved photographs where these go."""
        for record in records:
            if not isinstance(record, Classified):
                yield record
            elif record.path in self.moved_before:
                path = self.moved_before[record.path]
                yield replace(record, path=path, moved_to=record.path)
            else:
                labels = [one.label for one in record.standing]
                placements = self.sorter.plan(record.path, labels)
                if placements and self.sorter.way == "move":
                    target = os.path.join(self.sorter.root, placements[0].target)
                    record = replace(record, moved_to=target)
                yield record

    def show_plan(self) -> ExitCode:
        """What would be done, on stdout."""
        rows: list[Row] = [
            [one.path, one.label, os.path.join(self.sorter.root, one.target)]
            for one in self.sorter.placements
            if not one.is_there
        ]
        format: TableFormat = "table" if sys.stdout.isatty() else "csv"
        print_tables([Table((words("path"), words("label"), words("to")), rows)], format)
        logger.info(f"nothing was done; {self._summary(len(rows), 'would be ')}")
        return ExitCode.PARTLY_READ if self.sorter.n_failed else ExitCode.OK

    def carry_out(self, quiet: bool) -> ExitCode:
        """Place them all, and say how it ended. Raises OutputError where the disk is full."""
        sorter = self.sorter
        try:
            with progress.of_files(len(sorter.placements), quiet) as advance:
                for _ in sorter.carry_out(self.photos, self.journal):
                    advance(sorter.n_failed)
        except StoppedError as error:
            error.add_note(f"{self._summary(sorter.n_placed)}; run it again for the others")
            raise
        logger.info(self._summary(sorter.n_placed))
        return ExitCode.PARTLY_READ if sorter.n_failed else ExitCode.OK

    def _summary(self, n: int, would_be: str = "") -> str:
        sorter = self.sorter
        where = "in" if "link" in sorter.way else "to"
        line = f"{n} {would_be}{DONE[sorter.way]} {where} {sorter.root}"
        if sorter.way == "move" and n and not would_be:
            line += f" (clipcli undo {shlex.quote(self.journal.path)} moves them back)"
        if n_there := sum(one.is_there for one in sorter.placements):
            line += f", {n_there} there already"
        if self.moved_before:
            line += f", {len(self.moved_before)} moved before"
        line += f", {sorter.n_staying} stay"
        return line + (f", {sorter.n_failed} could not be" if sorter.n_failed else "")


@contextmanager
def opened(
    sort: SortOptions, tag: TagOptions, label: LabelOptions, names: Sequence[str]
) -> Iterator[Sorting | None]:
    """The destination, locked, and what a killed run had begun there finished. names: of all
    labels. Raises UsageError, OutputError or LockedError for what cannot work."""
    given = chosen(sort, tag)
    if given is None:
        yield None
        return
    option, root, way = given
    check_none_can_win(label, option)
    check_label_folders(names, option)
    _check_destination(option, root, names)
    with ExitStack() as stack:
        try:
            if sort.dry_run:
                journal = read_journal(root)
            else:
                if not os.path.isdir(root):
                    os.mkdir(root)
                    stack.callback(_remove_if_empty, root)
                journal = stack.enter_context(locked_journal(root))
                finish_begun(journal)
        except OSError as error:
            raise OutputError(f"{root}: cannot be written: {error.strerror}") from error
        yield Sorting(option, Sorter(way, root), journal, names)


def _check_destination(option: str, root: str, names: Sequence[str]) -> None:
    if not root:
        raise UsageError(f"{option}: an empty name; expected a folder")
    there = _there(root)
    if os.path.lexists(root) and not os.path.isdir(root):
        raise UsageError(f"{option} {root}: is no folder; expected one, or a name for a new one")
    if not os.path.isdir(there):
        raise OutputError(f"{root}: cannot be written: there is no folder {there}; make it first")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"{root}: cannot be written: no right to write in {there}")
    for name in names:
        folder = os.path.join(root, label_folder(name))
        while len(folder) > len(root):
            if os.path.lexists(folder) and not os.path.isdir(folder):
                raise UsageError(f"{option} {root}: {folder} is no folder; move it elsewhere")
            folder = os.path.dirname(folder)


def _lies_in(path: str, folder: str) -> bool:
    """Both without links; also where they are one."""
    return os.path.join(path, "").startswith(os.path.join(folder, ""))


def _there(root: str) -> str:
    """The destination, or the folder that it will be made in."""
    return root if os.path.isdir(root) else os.path.dirname(root.rstrip(os.sep)) or os.curdir


def _remove_if_empty(folder: str) -> None:
    with suppress(OSError):
        os.rmdir(folder)
