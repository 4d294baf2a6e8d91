"""Rows that a person looked through to keywords."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

from clipcli.cli import talk
from clipcli.cli.options.keywords import KeywordOptions
from clipcli.cli.tag import TagRowsOptions
from clipcli.cli.work import progress
from clipcli.cli.work.keywords import KeywordWriter
from clipcli.errors import UsageError
from clipcli.files.classified_rows import PhotoRow, read_classified
from clipcli.files.part_file import write_whole
from clipcli.files.rows import FAILURE_COLUMNS, csv_line
from clipcli.files.suffixes import check_suffix
from clipcli.keywords.provenance import OurLabel
from clipcli.labels.label_path import check_label_paths
from clipcli.photos.find import find_photos
from clipcli.photos.formats import is_picture
from clipcli.records import PassedOver

ALWAYS_WINS = ("softmax", "sigmoid")  # a label of such rows may be the best of bad ones


def tag(names: Sequence[str], options: TagRowsOptions, keywords: KeywordOptions) -> int:
    if options.quiet:
        talk.leave_out_notes()
    check_suffix("--failures", options.failures, ".csv")
    if options.clear:
        if options.min_probability is not None:
            raise UsageError("--clear takes back all labels; leave --min-probability out")
        photos: dict[str, list[OurLabel]] = {
            path: [] for name in names for path in _photos_of(name)
        }
    else:
        photos = _labels_by_photo(names, options.min_probability)
    writer = KeywordWriter(keywords, options.dry_run)
    with writer, progress.of_files(len(photos), options.quiet) as advance:
        for photo, labels in photos.items():
            if os.path.isfile(photo):
                writer.write(photo, labels, options.clear)
            else:
                writer.failed(photo, "no such photograph")
            advance(len(writer.failures))
    if options.failures is not None:
        rows = [FAILURE_COLUMNS, *([one.path, one.error] for one in writer.failures)]
        text = "".join(map(csv_line, rows))
        write_whole(Path(options.failures), text.encode("utf-8", "surrogateescape"))
    return writer.conclude()


def _labels_by_photo(
    names: Sequence[str], min_probability: float | None
) -> dict[str, list[OurLabel]]:
    """The labels that stand in ROWS, of each photograph once; none for one that fits none."""
    if len(names) != 1:
        raise UsageError(f"{len(names)} ROWS; expected one file, or --clear with photographs")
    file = read_classified(names[0])
    photos: dict[str, list[OurLabel]] = {}
    today = date.today().isoformat()
    for row in file.photos.values():
        where = f"{file.path}, line {row.line}"
        labels = photos.setdefault(_found(row, where, file.path), [])
        for one in row.labels:
            if not one.is_accepted:
                continue
            check_label_paths([one.label], where)
            # version 0.1.0 does not name the scoring, and knew no other
            always_wins = row.scoring in ("", *ALWAYS_WINS) and not file.is_judged
            if always_wins and min_probability is None:
                raise UsageError(
                    f"{where}: {one.label}, which is the best label of a"
                    f" {row.scoring or ALWAYS_WINS[0]}, whether or not it is there; give"
                    " --min-probability (0 takes them all)"
                )
            # one without a number is a person's
            if one.probability is not None and one.probability < (min_probability or 0.0):
                continue
            if one.label not in [label.name for label in labels]:
                labels.append(
                    OurLabel(one.label, row.model, "", one.probability, today, file.is_judged)
                )
    return photos


def _photos_of(name: str) -> Iterator[str]:
    """Photographs of a PATH, or of a file of rows."""
    if os.path.isfile(name) and not is_picture(name):
        file = read_classified(name)
        for row in file.photos.values():
            yield _found(row, f"{file.path}, line {row.line}", name)
        return
    # also those that this installation cannot read, for a sidecar needs no pixels, and each RAW
    found = find_photos([name], raw="always")
    yield from (one.path for one in found if not isinstance(one, PassedOver))


def _found(row: PhotoRow, where: str, rows: str) -> str:
    """The photograph of a row: beside ROWS or in the working directory, where it was moved to or
    where it was. Raises UsageError where both have one of that name."""
    for named in filter(None, (row.moved_to, row.path)):
        beside = os.path.join(os.path.dirname(rows), named)
        there = [path for path in (beside, named) if os.path.lexists(path)]
        if len(there) == 2 and not os.path.samefile(beside, named):
            raise UsageError(
                f"{where}: {named} is there twice, beside {os.path.basename(rows)} and in the"
                " working directory; write its whole path"
            )
        if there:
            return os.path.normpath(there[0])
    return row.path
