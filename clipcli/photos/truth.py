"""Labelled photographs: a folder with one sub-folder for each label, or a CSV of path,label."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from clipcli.errors import UsageError
from clipcli.files.table_columns import Columns
from clipcli.files.table_reader import is_utf8, read_rows
from clipcli.photos.find import find_listed, find_photos, names_photo, of_folder, why_outside
from clipcli.records import Failure, PassedOver, Photo, RawFiles

EXPECTED = "expected a folder with one sub-folder for each label, or a CSV of path,label"
COLUMNS = Columns(("path", "label"))


@dataclass(frozen=True)
class LabelledPhoto:
    """A photograph to try, and what it shows: `label` as written, see `labels.folder_labels`."""

    path: str
    label: str


@dataclass(frozen=True)
class Truth:
    """What a person says of some photographs.

    Each path stands once in `photos`. `labels` are sorted, each once, also those without a
    readable photograph. `failures` are known to be unreadable before anything is decoded.
    `passed_over`: files of a folder that are no photographs.
    """

    photos: list[LabelledPhoto]
    failures: list[Failure]
    labels: list[str]
    passed_over: list[PassedOver] = field(default_factory=list)


def read_truth(
    path: str,
    *,
    recursive: bool = True,
    exclude: Sequence[str] = (),
    raw: RawFiles = "alone",
    columns: Columns = COLUMNS,
) -> Truth:
    """Labelled photographs of a folder or of a CSV.

    A sub-folder's name is the label of the photographs below it, which are found as `find_photos`
    finds them, with its options of the same names. A relative path in a CSV is looked for
    beside the CSV, then in the working directory; `columns` says where they are in it. Raises
    UsageError for what is neither.
    """
    if os.path.isdir(path):
        columns.check_none_chosen(path)
        truth = _read_folder(path, recursive, exclude, raw)
    else:
        truth = _read_csv(path, columns)
    if not truth.photos and not truth.failures:
        raise UsageError(f"{path}: no labelled photograph in it; {EXPECTED}")
    return truth


def _read_folder(top: str, recursive: bool, exclude: Sequence[str], raw: RawFiles) -> Truth:
    photos = []
    failures = []
    passed_over = []
    folders = _sub_folders(top, exclude)
    labels = [name for name, outside in folders.items() if not outside]
    # what lies in `top` itself is found as in any folder, and has no label
    for found in find_photos([top], recursive=False, exclude=exclude, raw=raw):
        if isinstance(found, Photo):
            failures.append(Failure(found.path, "in no label's folder; move it into one"))
        elif isinstance(found, Failure):
            failures.append(found)
        elif os.path.basename(found.path) not in labels:  # a link to a folder may be a label
            passed_over.append(found)
    for name, outside in folders.items():
        folder = os.path.join(top, name)
        if outside:
            below = find_photos([folder], recursive=recursive)
            passed_over += [PassedOver(found.path, of_folder(outside)) for found in below]
            continue
        if not is_utf8(name):
            raise UsageError(f"{folder}: no UTF-8, so no label; rename it")
        for found in find_photos([folder], recursive=recursive, exclude=exclude, raw=raw):
            if isinstance(found, Photo):
                photos.append(LabelledPhoto(found.path, name))
            elif isinstance(found, Failure):
                failures.append(found)
            else:
                passed_over.append(found)
    if not labels:
        raise UsageError(f"{top}: no sub-folder in it; {EXPECTED}")
    return Truth(photos, failures, labels, passed_over)


def _sub_folders(top: str, exclude: Sequence[str]) -> dict[str, str]:
    """Names of the folders in a folder, sorted, and why one is left out, empty for a label.

    Links to folders too, but none that is left out, or that leads back to the folder or above it:
    all that is there has a label already.
    """
    inside = os.path.join(os.path.realpath(top), "")
    folders = {}
    try:
        with os.scandir(top) as scan:
            for entry in sorted(scan, key=lambda entry: entry.name):
                outside = why_outside(entry.name, entry.name, exclude)
                if entry.is_symlink() and (
                    outside or inside.startswith(os.path.join(os.path.realpath(entry.path), ""))
                ):
                    continue
                if os.path.isdir(entry.path):
                    folders[entry.name] = outside
    except OSError as error:
        raise UsageError(f"{top}: {error.strerror}; {EXPECTED}") from error
    return folders


def _read_csv(path: str, columns: Columns) -> Truth:
    labels: dict[str, str] = {}  # path as found -> label
    failures = []
    is_photo = partial(names_photo, table=path)
    rows = read_rows(path, columns, EXPECTED, is_photo, skipinitialspace=True)
    for where, named, label in rows:
        if not is_utf8(label):
            raise UsageError(f"{where}: a label that is no UTF-8")
        found = find_listed(named, path)
        if isinstance(found, Failure):
            failures.append(found)
        photo = found.path
        if labels.setdefault(photo, label) != label:
            raise UsageError(
                f"{where}: {named} is {label} here and {labels[photo]} above;"
                " give each photograph one label"
            )
    missing = {failure.path: failure for failure in failures}
    return Truth(
        [LabelledPhoto(photo, label) for photo, label in labels.items() if photo not in missing],
        list(missing.values()),
        sorted(set(labels.values())),
    )
