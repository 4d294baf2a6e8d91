"""Which files to try: from PATHs to photographs, in an order that never changes.

Every file met ends as a `Photo` to try, a `PassedOver`, or a `Failure`; none is dropped.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import BinaryIO

from clipcli.errors import UsageError
from clipcli.photos.formats import is_paired, is_picture, is_raw, why_unreadable
from clipcli.records import Failure, PassedOver, Photo, RawFiles

FoundFile = Photo | PassedOver | Failure
_Level = tuple[Iterator[os.DirEntry[str] | Failure], str, str, str, dict[str, str]]
NO_PHOTOGRAPH = "no photograph in this folder"


def read_path_list(stream: BinaryIO, nul_separated: bool) -> list[str]:
    """The paths of a list such as `find` prints, one a line or NUL-separated; empty ones left out.

    Bytes that are no UTF-8 are kept as Python's file functions expect them. Raises UsageError
    for a NUL-separated list that was not said to be one.
    """
    listed = stream.read()
    if b"\0" in listed and not nul_separated:
        raise UsageError("the list of paths is NUL-separated; pass -0, or list one path a line")
    lines = listed.split(b"\0" if nul_separated else b"\n")
    if not nul_separated:
        lines = [line.removesuffix(b"\r") for line in lines]
    return [os.fsdecode(line) for line in lines if line]


def find_photos(
    paths: Iterable[str],
    *,
    recursive: bool = True,
    exclude: Sequence[str] = (),
    raw: RawFiles = "alone",
    empty_fails: bool = False,
    leave_out: str | None = None,
) -> Iterator[FoundFile]:
    """Files of all `paths` in their order, those of a folder by name, each file once.

    A path that is a file is always tried. In folders, hidden files, files that match one of the
    `exclude` globs (by name, or by path below the folder) and files whose suffix is no picture's
    are passed over, and links to folders are not followed. So is a camera's raw file beside a JPEG
    or HEIC of the same name, unless `raw` is "always". What is passed over comes last: a later path
    or link may still lead to it. With `empty_fails` a PATH that is a folder without a photograph is
    a `Failure`: it may be a disk that is not mounted. leave_out: a folder that is not entered; what
    a path or a link leads to in it is passed over.
    """
    finder = _Finder(recursive, exclude, raw, leave_out)
    for path in paths:
        if not path:
            raise UsageError("an empty PATH; expected a file, a folder, or -")
        if os.path.isdir(path):
            n_before = finder.n_tried
            yield from finder.walk(path)
            if empty_fails and finder.n_tried == n_before:
                yield from finder.once(Failure(path, NO_PHOTOGRAPH), _identity(path))
        elif os.path.lexists(path):
            yield from finder.once(Photo(path), _identity(path))
        else:
            yield from finder.once(Failure(path, _why_missing(path)), _identity(path))
    yield from finder.passed_over()


def find_listed(named: str, table: str) -> Photo | Failure:
    """A photograph that stands in a table: beside the table, else in the working directory."""
    for path in (os.path.join(os.path.dirname(table), named), named):
        if os.path.lexists(path):
            return Photo(path)
    where = f"neither beside {os.path.basename(table)} nor in the working directory"
    return Failure(named, f"no such file: {where}")


def _why_missing(path: str) -> str:
    """With what was probably meant: shells, browsers and Windows name files in other ways."""
    hint = ""
    if "://" in path:
        hint = "; nothing is downloaded, expected a file on this machine"
    elif path.startswith("~"):
        hint = "; ~ is your home folder only where it is not in quotes"
    elif "\\" in path:
        hint = f"; did you mean {path.replace(chr(92), '/')}"
    elif any(character in path for character in "*?["):
        hint = "; a pattern is for the shell, without quotes; expected a file or a folder"
    return f"no such file or folder{hint}"


def names_photo(named: str, table: str) -> bool:
    """Whether a table's cell names a photograph, there or missing, and not a column."""
    found = find_listed(named, table)
    is_there = isinstance(found, Photo) and os.path.isfile(found.path)
    return is_there or is_picture(named) or bool(re.search(r"[/\\]", named))


def why_outside(name: str, relative: str, exclude: Sequence[str]) -> str:
    """Why a file or folder is left out by its name or its path below the folder, or empty."""
    if name.startswith("."):
        return "hidden"
    for pattern in exclude:
        if fnmatchcase(name, pattern) or fnmatchcase(relative, pattern):
            return f"excluded by {pattern}"
    return ""


def of_folder(why: str) -> str:
    """Why the files below a folder are left out, which is left out itself."""
    return why if not why or why.startswith("in a ") else f"in a folder that is {why}"


def _identity(path: str) -> str:
    """The same for two paths of one file, through links or not."""
    return os.path.realpath(path)


class _Finder:
    """Remembers what it met, so that no file is tried twice, or tried and then passed over."""

    def __init__(
        self, recursive: bool, exclude: Sequence[str], raw: RawFiles, leave_out: str | None
    ) -> None:
        self.recursive = recursive
        self.exclude = exclude
        self.raw = raw
        self.left_out = None if leave_out is None else _identity(leave_out)
        self.n_tried = 0  # as often as they were met
        self.met: set[str] = set()
        self.left: dict[str, PassedOver] = {}  # by identity

    def once(self, record: FoundFile, identity: str) -> Iterator[FoundFile]:
        if self.left_out is not None and identity.startswith(os.path.join(self.left_out, "")):
            self.left.setdefault(identity, PassedOver(record.path, f"it lies in {self.left_out}"))
            return
        self.n_tried += 1
        if identity not in self.met:
            self.met.add(identity)
            yield record

    def passed_over(self) -> Iterator[PassedOver]:
        """What was met in folders and not tried."""
        for identity, record in self.left.items():
            if identity not in self.met:
                yield record

    def walk(self, top: str) -> Iterator[FoundFile]:
        """Files below a folder, by name; a folder's own files and sub-folders in one order."""
        # of each open folder: entries left, path below `top`, identity, why its files are left out,
        # and its pictures by stem, each of which speaks for a raw file
        levels = [self._level(top, "", _identity(top), "")]
        while levels:
            entries, below, identity, outside, paired = levels[-1]
            entry = next(entries, None)
            if entry is None:
                levels.pop()
                continue
            if isinstance(entry, Failure):
                yield from self.once(entry, identity)
                continue
            relative = _below(below, entry.name)
            outside = outside or why_outside(entry.name, relative, self.exclude)
            # realpath of every file would take longer than listing the folder
            is_link = entry.is_symlink()
            identity = _identity(entry.path) if is_link else f"{identity}{os.sep}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if self.recursive and identity != self.left_out:
                    levels.append(self._level(entry.path, relative, identity, of_folder(outside)))
            elif why := outside or _why_no_photograph(entry, is_link) or _why_paired(entry, paired):
                self.left.setdefault(identity, PassedOver(entry.path, why))
            else:
                reason = why_unreadable(entry.name)
                record = Failure(entry.path, reason) if reason else Photo(entry.path)
                yield from self.once(record, identity)

    def _level(self, folder: str, below: str, identity: str, outside: str) -> _Level:
        entries = self._entries(folder, bool(outside))
        return iter(entries), below, identity, outside, self._paired(entries, below)

    def _entries(self, folder: str, is_outside: bool) -> list[os.DirEntry[str] | Failure]:
        try:
            with os.scandir(folder) as scan:
                return [*sorted(scan, key=lambda entry: entry.name)]
        except OSError as error:
            reason = f"folder cannot be read: {error.strerror}"
            return [] if is_outside else [Failure(folder, reason)]

    def _paired(self, entries: Sequence[os.DirEntry[str] | Failure], below: str) -> dict[str, str]:
        """By stem, the pictures of a folder that are tried in place of a raw file."""
        files = [entry for entry in entries if not isinstance(entry, Failure)]
        if self.raw == "always" or not any(is_raw(entry.name) for entry in files):
            return {}
        return {
            _stem(entry.name): entry.name
            for entry in files
            if is_paired(entry.name)
            and why_unreadable(entry.name) is None
            and not why_outside(entry.name, _below(below, entry.name), self.exclude)
            and not _is_folder(entry)
        }


def _below(folder: str, name: str) -> str:
    return f"{folder}{os.sep}{name}" if folder else name


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _why_paired(entry: os.DirEntry[str], paired: dict[str, str]) -> str:
    """Empty for what is no raw file, and for one that stands alone."""
    picture = paired.get(_stem(entry.name)) if paired and is_raw(entry.name) else None
    return f"raw of {picture}" if picture else ""


def _why_no_photograph(entry: os.DirEntry[str], is_link: bool) -> str:
    """Empty for what may be one."""
    if is_link and _is_folder(entry):
        return "a link to a folder"
    if is_picture(entry.name):
        return ""
    suffix = os.path.splitext(entry.name)[1]
    return f"the suffix {suffix} is no picture's" if suffix else "no suffix, so no picture's"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return os.path.isdir(entry.path)  # entry.is_dir() raises for a link that goes in a circle
