"""What goes along with a photograph: its sidecars, its RAW, what exiftool kept of it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress

from clipcli.photos.formats import is_paired, is_picture, is_raw


class Companions:
    """Reads each folder once, and is told which files have left it."""

    def __init__(self, photos: Iterable[str]) -> None:
        """photos: of this run, real paths; a RAW that is one of them goes its own way."""
        self._photos = {path for path in photos if is_raw(path)}
        self._folders: dict[str, dict[str, set[str]]] = {}  # names by stem

    def of(self, photo: str, *, stays_shared: bool) -> list[str]:
        """Paths of what goes along with the photograph at this real path.

        stays_shared: a photo.xmp stays for another picture of that stem, and leaves with the last.
        """
        folder, name = os.path.split(photo)
        names = self._names(folder)
        stem = os.path.splitext(name)[0]
        same_stem = sorted(names[stem] - {name})
        found = []
        if is_paired(name):
            found = [
                one
                for one in same_stem
                if is_raw(one) and os.path.join(folder, one) not in self._photos
            ]
        leaving = [name, *found]
        for one in leaving:
            found += sorted(way for way in names[one] if _suffix(way) == ".xmp")
            found += [way for way in same_stem if way == f"{one}_original"]
        others = [one for one in same_stem if is_picture(one) and one not in leaving]
        if not (stays_shared and others):
            found += [one for one in same_stem if _suffix(one) == ".xmp"]
        return [os.path.join(folder, one) for one in found]

    def has_left(self, path: str) -> None:
        folder, name = os.path.split(path)
        self._names(folder)[os.path.splitext(name)[0]].discard(name)

    def _names(self, folder: str) -> dict[str, set[str]]:
        if folder not in self._folders:
            names: dict[str, set[str]] = defaultdict(set)
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_file(follow_symlinks=False):
                        names[os.path.splitext(entry.name)[0]].add(entry.name)
            self._folders[folder] = names
        return self._folders[folder]


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()
