"""Two outputs of `classify` held against each other: which photographs got another label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from clipcli.files.classified_rows import ClassifiedFile, PhotoRow

N_WHAT = 3  # models or scorings of one file that a remark names


class Change(NamedTuple):
    """What became of one photograph; old and new: None where a file lacks it."""

    path: str
    old: PhotoRow | None
    new: PhotoRow | None

    @property
    def kind(self) -> Literal["label", "new", "gone"]:
        """Another label or other labels, or a photograph that came or went."""
        if self.old is None:
            return "new"
        return "gone" if self.new is None else "label"


@dataclass(frozen=True)
class Comparison:
    """Changes in the order of the new file, then what is gone in that of the old one.

    remark: why probabilities, or all of it, should be compared with care; or empty.
    """

    changes: list[Change]
    n_same: int
    remark: str

    def count(self, kind: str) -> int:
        return sum(change.kind == kind for change in self.changes)


def compare(old: ClassifiedFile, new: ClassifiedFile) -> Comparison:
    """Photographs are the same by where they were moved to, or else by their path, as it is
    written; labels as a set, whatever their order and probability."""
    changes = []
    n_same = 0
    left = dict(old.photos)
    places = {row.path: place for place, row in old.photos.items() if place not in new.photos}
    for place, row in new.photos.items():
        before = left.pop(place, None) or left.pop(places.get(row.path, ""), None)
        if before is not None and before.answer == row.answer:
            n_same += 1
        else:
            changes.append(Change(row.path, before, row))
    changes += [Change(row.path, row, None) for row in left.values()]
    return Comparison(changes, n_same, "; ".join(_remarks(old, new)))


def _remarks(old: ClassifiedFile, new: ClassifiedFile) -> Iterator[str]:
    if old.photos and new.photos and not _paths(old) & _paths(new):
        yield (
            "no path is in both; paths are compared as they are written, so classify the same PATH"
            " from the same folder"
        )
    models = [{row.model for row in file.photos.values()} for file in (old, new)]
    if models[0] != models[1] and all(models):
        yield f"{old.path} is by {_named(models[0])}, {new.path} by {_named(models[1])}"
    ways = [{row.scoring for row in file.photos.values()} for file in (old, new)]
    if ways[0] != ways[1] and all(ways):
        yield (
            f"probabilities are {_named(ways[0])} in {old.path}, {_named(ways[1])} in {new.path}:"
            " not to be compared"
        )


def _paths(file: ClassifiedFile) -> set[str]:
    return {path for place, row in file.photos.items() for path in (place, row.path)}


def _named(found: set[str]) -> str:
    names = sorted(name or "nobody" for name in found)
    more = f" and {len(names) - N_WHAT} more" if len(names) > N_WHAT else ""
    return ", ".join(names[:N_WHAT]) + more
