"""What there is to learn from: photographs and their captions, of a table or a labelled folder."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipcli.errors import UsageError
from clipcli.labels.label import DEFAULT_TEMPLATE, PLACE, check_templates
from clipcli.photos.find import find_listed
from clipcli.photos.truth import model_words, read_truth
from clipcli.records import Failure

EXPECTED = (
    "expected a .csv, .tsv or .jsonl of path and caption, or a folder with one sub-folder for"
    " each label"
)
COLUMNS = ("path", "caption")
DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Pair:
    """A photograph and what may be said of it; one of the captions is drawn each epoch.

    is_label: the captions are a label in several templates, and all mean the same.
    """

    path: str
    captions: tuple[str, ...]
    is_label: bool = False


@dataclass(frozen=True)
class Pairs:
    """Pairs to train on, each photograph once, and photographs known to be missing."""

    pairs: list[Pair]
    failures: list[Failure]

    def fingerprint(self) -> str:
        """SHA-256 of all paths and captions in their order."""
        digest = hashlib.sha256()
        for pair in self.pairs:
            digest.update(json.dumps([pair.path, *pair.captions]).encode() + b"\n")
        return digest.hexdigest()


def read_pairs(path: str, templates: Sequence[str] = ()) -> Pairs:
    """The pairs of a file or folder.

    A folder's captions are its sub-folders' names in each of the `templates`. A relative path in
    a file is looked for beside the file, then in the working directory; rows of one photograph
    are one pair. Raises UsageError for what is neither, or holds fewer than two pairs.
    """
    check_templates(templates)
    if os.path.isdir(path):
        found = _of_folder(path, templates or [DEFAULT_TEMPLATE])
    elif templates:
        raise UsageError(f"--template goes around a folder's labels, and {path} has captions")
    else:
        found = _of_file(path)
    if len(found.pairs) < 2:
        missing = f", {len(found.failures)} missing" if found.failures else ""
        raise UsageError(
            f"{path}: {len(found.pairs)} photographs with a caption{missing}; training compares"
            " at least two"
        )
    return found


def _of_folder(top: str, templates: Sequence[str]) -> Pairs:
    truth = read_truth(top)
    captions = {
        label: tuple(template.replace(PLACE, model_words(label)) for template in templates)
        for label in truth.labels
    }
    pairs = [Pair(photo.path, captions[photo.label], is_label=True) for photo in truth.photos]
    return Pairs(pairs, truth.failures)


def _of_file(path: str) -> Pairs:
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".jsonl":
        rows = _json_rows(path)
    elif suffix in DELIMITERS:
        rows = _table_rows(path, DELIMITERS[suffix])
    else:
        raise UsageError(f"{path}: {suffix or 'no suffix'}; {EXPECTED}")
    captions: dict[str, list[str]] = {}
    failures: dict[str, Failure] = {}
    for named, caption in rows:
        found = find_listed(named, path)
        if isinstance(found, Failure):
            failures[named] = found
        else:
            captions.setdefault(found.path, []).append(caption)
    pairs = [Pair(photo, tuple(dict.fromkeys(some))) for photo, some in captions.items()]
    return Pairs(pairs, list(failures.values()))


def _table_rows(path: str, delimiter: str) -> Iterator[tuple[str, str]]:
    """Path and caption of each row; the header, where there is one, says which is which."""
    reader = csv.reader(io.StringIO(_text(path), newline=""), delimiter=delimiter)
    place_of_path, place_of_caption, width = 0, 1, 2
    is_first = True
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            names = [cell.strip().lower() for cell in cells]
            if is_first and all(column in names for column in COLUMNS):
                place_of_path, place_of_caption = (names.index(column) for column in COLUMNS)
                width = len(cells)
            elif len(cells) != width:
                raise UsageError(
                    f"{path}, line {reader.line_num}: {len(cells)} columns instead of {width};"
                    f" {EXPECTED}"
                )
            else:
                row = cells[place_of_path], cells[place_of_caption].strip()
                yield _checked(row, f"{path}, line {reader.line_num}")
            is_first = False
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}; {EXPECTED}") from error


def _json_rows(path: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{where}: {error}; expected one object of JSON a line") from error
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in COLUMNS):
            raise UsageError(f'{where}: expected {{"path": "...", "caption": "..."}}')
        yield _checked((row["path"], row["caption"].strip()), where)


def _checked(row: tuple[str, str], where: str) -> tuple[str, str]:
    path, caption = row
    if not path or not caption:
        raise UsageError(f"{where}: no {'caption' if path else 'path'}; {EXPECTED}")
    if any("\ud800" <= character <= "\udfff" for character in caption):
        raise UsageError(f"{where}: a caption that is no UTF-8; save the file as UTF-8")
    return row


def _text(path: str) -> str:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; {EXPECTED}") from error
    if b"\0" in data:
        raise UsageError(f"{path}: no text file; {EXPECTED}")
    return data.decode("utf-8-sig", "surrogateescape")  # a path may be no UTF-8
