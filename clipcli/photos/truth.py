"""Labelled photographs: a folder with one sub-folder for each label, or a CSV of path,label."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from clipcli.errors import UsageError
from clipcli.photos import find
from clipcli.records import Failure, Photo

EXPECTED = "expected a folder with one sub-folder for each label, or a CSV of path,label"
COLUMNS = ("path", "label")


@dataclass(frozen=True)
class LabelledPhoto:
    """A photograph to try, and what it shows: `label` as written, see `model_words`."""

    path: str
    label: str


@dataclass(frozen=True)
class Truth:
    """What a person says of some photographs.

    Each path stands once in `photos`. `labels` are sorted, each once, also those without a
    readable photograph. `failures` are known to be unreadable before anything is decoded.
    """

    photos: list[LabelledPhoto]
    failures: list[Failure]
    labels: list[str]


def read_truth(path: str, *, recursive: bool = True, exclude: Sequence[str] = ()) -> Truth:
    """Labelled photographs of a folder or of a CSV.

    A sub-folder's name is the label of the photographs below it, which are found as `images.find`
    finds them (`recursive` and `exclude` are its own). A relative path in a CSV is looked for
    beside the CSV, then in the working directory. Raises UsageError for what is neither.
    """
    truth = _read_folder(path, recursive, exclude) if os.path.isdir(path) else _read_csv(path)
    if not truth.photos and not truth.failures:
        raise UsageError(f"{path}: no labelled photograph in it; {EXPECTED}")
    return truth


def model_words(label: str) -> str:
    """What the model is shown for a label that names a folder: `polar_bear` is a polar bear."""
    return label.replace("_", " ")


def _read_folder(top: str, recursive: bool, exclude: Sequence[str]) -> Truth:
    photos = []
    failures = []
    labels = []
    # what lies in `top` itself is found as in any folder, and has no label
    for found in find.find([top], recursive=False, exclude=exclude):
        if isinstance(found, Photo):
            failures.append(Failure(found.path, "in no label's folder; move it into one"))
        elif isinstance(found, Failure):
            failures.append(found)
    for label in _sub_folders(top, exclude):
        if not _is_text(label):
            raise UsageError(f"{os.path.join(top, label)}: no UTF-8, so no label; rename it")
        labels.append(label)
        folder = os.path.join(top, label)
        for found in find.find([folder], recursive=recursive, exclude=exclude):
            if isinstance(found, Photo):
                photos.append(LabelledPhoto(found.path, label))
            elif isinstance(found, Failure):
                failures.append(found)
    if not labels:
        raise UsageError(f"{top}: no sub-folder in it; {EXPECTED}")
    return Truth(photos, failures, labels)


def _sub_folders(top: str, exclude: Sequence[str]) -> list[str]:
    """Names of the folders in a folder, links to folders too, hidden and excluded ones not."""
    try:
        with os.scandir(top) as scan:
            return sorted(
                entry.name
                for entry in scan
                if not entry.name.startswith(".")
                and not any(fnmatchcase(entry.name, pattern) for pattern in exclude)
                and os.path.isdir(entry.path)
            )
    except OSError as error:
        raise UsageError(f"{top}: {error.strerror}; {EXPECTED}") from error


def _read_csv(path: str) -> Truth:
    labels: dict[str, str] = {}  # path as found -> label
    failures = []
    for line, named, label in _rows(path):
        found = find.find_listed(named, path)
        if isinstance(found, Failure):
            failures.append(found)
        photo = found.path
        if labels.setdefault(photo, label) != label:
            raise UsageError(
                f"{path}, line {line}: {named} is {label} here and {labels[photo]} above;"
                " give each photograph one label"
            )
    missing = {failure.path: failure for failure in failures}
    return Truth(
        [LabelledPhoto(photo, label) for photo, label in labels.items() if photo not in missing],
        list(missing.values()),
        sorted(set(labels.values())),
    )


def _rows(path: str) -> Iterator[tuple[int, str, str]]:
    """Line, path and label of each row; the header, where there is one, says which is which."""
    try:
        reader = csv.reader(io.StringIO(_text(path), newline=""), skipinitialspace=True)
        place_of_path, place_of_label, width = 0, 1, 2
        is_first = True
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            names = [cell.strip().lower() for cell in cells]
            if is_first and all(column in names for column in COLUMNS):
                place_of_path, place_of_label = (names.index(column) for column in COLUMNS)
                width = len(cells)
            elif len(cells) != width:
                raise UsageError(
                    f"{path}, line {reader.line_num}: {len(cells)} columns instead of {width};"
                    f" {EXPECTED}"
                )
            else:
                named, label = cells[place_of_path], cells[place_of_label].strip()
                if not named or not label:
                    missing = "label" if named else "path"
                    raise UsageError(f"{path}, line {reader.line_num}: no {missing}; {EXPECTED}")
                if not _is_text(label):
                    raise UsageError(f"{path}, line {reader.line_num}: a label that is no UTF-8")
                yield reader.line_num, named, label
            is_first = False
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}; {EXPECTED}") from error


def _text(path: str) -> str:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; {EXPECTED}") from error
    if b"\0" in data:
        raise UsageError(f"{path}: no text file; {EXPECTED}")
    return data.decode("utf-8-sig", "surrogateescape")  # a path may be no UTF-8


def _is_text(label: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in label)
