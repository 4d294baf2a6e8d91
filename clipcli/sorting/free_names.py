"""Names in the destination that nothing there has, and nothing else of this run will have."""

from __future__ import annotations

import os
import unicodedata
from contextlib import suppress
from itertools import count

from clipcli.sorting.label_folder import MAX_NAME_BYTES

LONGEST_BEHIND = "_original"  # of what stands behind the name of a photograph
Source = tuple[str, str]  # the folder that a photograph comes from, and its stem, folded
_THERE: Source = ("", "")  # of what lies in the destination from before


class FreeNames:
    """Reserves names below `root`, with all that may stand behind their stem.

    A stem belongs to the photographs of one stem of one folder, so their sidecars, whatever there
    will be, find their names free: photo.jpg and photo.cr2 of one folder keep their names, and a
    photo.jpg of another becomes photo-2.jpg. Names that differ in case or in how an accent is
    written are one, as they are on many file systems.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._stems: dict[str, dict[str, Source]] = {}  # by folder, folded
        self._names: set[str] = set()  # below the root, folded
        self._numbers: dict[str, int] = {}  # the last one given, by path below the root, folded

    def reserve(self, folder: str, source_folder: str, name: str) -> str:
        """A name like `name` for a photograph that goes into `folder`, below the root."""
        stem, suffix = os.path.splitext(name)
        source = (source_folder, folded(stem))
        stems = self._stems_of(folder)
        wanted = folded(os.path.join(folder, stem))
        for n in count(self._numbers.get(wanted, 1)):
            new_stem = _numbered(stem, suffix, n)
            new_name = new_stem + suffix
            whole = folded(os.path.join(folder, new_name))
            owner = stems.get(folded(new_stem), source)
            if owner == source and whole not in self._names:
                stems[folded(new_stem)] = source
                self._names.add(whole)
                self._numbers[wanted] = n
                return new_name
        raise AssertionError("there is always another number")

    def candidates(self, folder: str, source_folder: str, name: str) -> list[str]:
        """Names like `name` that are there from before and no other photograph's, the plain one
        first."""
        stem, suffix = os.path.splitext(name)
        source = (source_folder, folded(stem))
        stems = self._stems_of(folder)
        found: list[str] = []
        for n in count(1):
            new_stem = _numbered(stem, suffix, n)
            if stems.get(folded(new_stem)) is None:
                return found
            if stems[folded(new_stem)] in (_THERE, source):
                found.append(new_stem + suffix)
        raise AssertionError("there is always another number")

    def claim(self, folder: str, source_folder: str, name: str, candidate: str) -> None:
        """Say that a candidate is what an earlier run made of this photograph."""
        stem, new_stem = (folded(os.path.splitext(one)[0]) for one in (name, candidate))
        self._stems_of(folder)[new_stem] = (source_folder, stem)

    def _stems_of(self, folder: str) -> dict[str, Source]:
        key = folded(folder)
        if key not in self._stems:
            self._stems[key] = {}
            with suppress(FileNotFoundError):
                for name in os.listdir(os.path.join(self._root, folder)):
                    self._names.add(folded(os.path.join(folder, name)))
                    suffix = "."
                    while suffix:  # photo.jpg.xmp goes with photo.jpg, and with photo
                        name, suffix = os.path.splitext(name)
                        self._stems[key][folded(name)] = _THERE
        return self._stems[key]


def _numbered(stem: str, suffix: str, n: int) -> str:
    """The n-th stem like this one, cut where no file system would take the name."""
    if n == 1:
        return stem
    number = f"-{n}"
    n_bytes = MAX_NAME_BYTES - len(os.fsencode(number + suffix)) - len(LONGEST_BEHIND)
    while len(os.fsencode(stem)) > n_bytes:
        stem = stem[:-1]
    return stem + number


def folded(name: str) -> str:
    """The same for names that a file system may take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
