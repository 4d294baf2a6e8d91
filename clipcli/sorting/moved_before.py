"""Photographs that an earlier run moved, where a run over the same PATHs would have found them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clipcli.photos.find import NO_PHOTOGRAPH, FoundFile, why_outside
from clipcli.records import Failure, PassedOver, Photo
from clipcli.sorting.journal import Journal
from clipcli.sorting.sorter import real_path


@dataclass(frozen=True)
class Walk:
    """What a run looks at: its PATHs and which files below them."""

    paths: Sequence[str]
    recursive: bool
    exclude: Sequence[str]

    def leads_to(self, tops: dict[str, int], path: str) -> tuple[int, str] | None:
        """The first PATH, by its place, that is this real path or holds it, and the way below."""
        found: tuple[int, str] | None = None
        top = path
        while True:
            index = tops.get(top)
            below = path[len(top) :].lstrip(os.sep)
            if index is not None and (found is None or index < found[0]) and self._is_in(below):
                found = index, below
            if top == os.path.dirname(top):
                return found
            top = os.path.dirname(top)

    def _is_in(self, below: str) -> bool:
        parts = below.split(os.sep) if below else []
        ways = [os.path.join(*parts[: n + 1]) for n in range(len(parts))]
        is_outside = any(
            why_outside(name, way, self.exclude) for name, way in zip(parts, ways, strict=True)
        )
        return not is_outside and (self.recursive or len(parts) < 2)


def with_moved(
    found: list[FoundFile], walk: Walk, journal: Journal
) -> tuple[list[FoundFile], dict[str, str]]:
    """The files found and those moved from there, in one order; and of each moved one, by where it
    lies now, the path that it had. A folder that they emptied is no failure."""
    moved = dict(_moved(walk, journal))
    if not moved:
        return found, moved
    kept = [record for record in found if not _is_explained(record, moved)]
    passed_over = [record for record in kept if isinstance(record, PassedOver)]
    tried = [record for record in kept if not isinstance(record, PassedOver)]
    tried += map(Photo, moved)
    order = _Order(walk.paths)
    tried.sort(key=lambda record: order.place(moved.get(record.path, record.path)))
    return [*tried, *passed_over], moved


def _moved(walk: Walk, journal: Journal) -> Iterator[tuple[str, str]]:
    """Where each lies now, and the path that it had, as a run over these PATHs would name it."""
    tops: dict[str, int] = {}
    for index, path in enumerate(walk.paths):
        top = os.path.realpath(path) if os.path.isdir(path) else real_path(path)
        tops.setdefault(top, index)
    for move in journal.standing:
        photo = move.files[0]
        led = walk.leads_to(tops, journal.source(move, photo))
        if led is not None:
            index, below = led
            path = walk.paths[index]
            yield journal.target(photo), os.path.join(path, below) if below else path


def _is_explained(record: FoundFile, moved: dict[str, str]) -> bool:
    """Whether a PATH is gone, or a folder empty, because of these moves."""
    if not isinstance(record, Failure):
        return False
    if record.error == NO_PHOTOGRAPH:
        start = os.path.join(record.path, "")
        return any(path.startswith(start) for path in moved.values())
    return record.path in moved.values() and not os.path.lexists(record.path)


class _Order:
    """The order of a walk: PATHs as they are given, and below each by names."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._tops: dict[str, int] = {}
        for index, path in enumerate(paths):
            self._tops.setdefault(path.rstrip(os.sep) or os.sep, index)

    def place(self, path: str) -> tuple[int, list[str]]:
        top = path.rstrip(os.sep)
        while top not in self._tops and top != os.path.dirname(top):
            top = os.path.dirname(top)
        return self._tops.get(top, len(self._tops)), path[len(top) :].split(os.sep)
