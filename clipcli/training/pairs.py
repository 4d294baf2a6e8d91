"""What there is to learn from: photographs and their captions, of a table or a labelled folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from clipcli.errors import UsageError
from clipcli.files.table_columns import Columns
from clipcli.files.table_reader import DELIMITERS, check_filled, is_utf8, read_rows, read_text
from clipcli.labels.folder_labels import model_words
from clipcli.labels.label import DEFAULT_TEMPLATE, PLACE, check_templates
from clipcli.photos.find import find_listed, names_photo
from clipcli.photos.truth import read_truth
from clipcli.records import Failure

EXPECTED = (
    "expected a .csv, .tsv or .jsonl of path and caption, or a folder with one sub-folder for"
    " each label"
)
COLUMNS = Columns(("path", "caption"))
DELIMITERS_BY_SUFFIX = {".csv": DELIMITERS, ".tsv": "\t"}
SPLIT = 2**32  # beside a seed, where `batches` has the epoch


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


def read_pairs(path: str, templates: Sequence[str] = (), columns: Columns = COLUMNS) -> Pairs:
    """The pairs of a file or folder.

    A folder's captions are its sub-folders' names in each of the `templates`. A relative path in
    a file is looked for beside the file, then in the working directory; rows of one photograph
    are one pair; `columns` says where they are in a table, and how an object's keys are called.
    Raises UsageError for what is neither, or holds fewer than two pairs.
    """
    check_templates(templates)
    if os.path.isdir(path):
        columns.check_none_chosen(path)
        found = _of_folder(path, templates or [DEFAULT_TEMPLATE])
    elif templates:
        raise UsageError(f"--template goes around a folder's labels, and {path} has captions")
    else:
        found = _of_file(path, columns)
    if len(found.pairs) < 2:
        missing = f", {len(found.failures)} missing" if found.failures else ""
        n_found = "1 photograph" if found.pairs else "no photograph"
        raise UsageError(
            f"{path}: {n_found} with a caption{missing}; training compares at least two"
        )
    return found


def hold_out(pairs: Sequence[Pair], share: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """What is left to train on, and a share that the seed draws, both in the order of `pairs`.

    Raises UsageError where one of the two would be fewer than two pairs.
    """
    n_held = round(share * len(pairs))
    if not 2 <= n_held <= len(pairs) - 2:
        raise UsageError(
            f"--validate {share:g}: {n_held} of {len(pairs)} photographs held out; expected at"
            " least two, and two to train on"
        )
    drawn = np.random.default_rng([seed, SPLIT]).permutation(len(pairs))[:n_held]
    held = set(drawn.tolist())
    trained = [pair for number, pair in enumerate(pairs) if number not in held]
    return trained, [pairs[number] for number in sorted(held)]


def n_shared(some: Sequence[Pair], others: Sequence[Pair]) -> int:
    """How many photographs of some are among the others, by whatever path."""
    files = {os.path.realpath(pair.path) for pair in others}
    return sum(os.path.realpath(pair.path) in files for pair in some)


def _of_folder(top: str, templates: Sequence[str]) -> Pairs:
    truth = read_truth(top)
    captions = {
        label: tuple(template.replace(PLACE, model_words(label)) for template in templates)
        for label in truth.labels
    }
    pairs = [Pair(photo.path, captions[photo.label], is_label=True) for photo in truth.photos]
    return Pairs(pairs, truth.failures)


def _of_file(path: str, columns: Columns) -> Pairs:
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".jsonl":
        rows = _json_rows(path, columns)
    elif suffix in DELIMITERS_BY_SUFFIX:
        is_photo = partial(names_photo, table=path)
        delimiters = DELIMITERS_BY_SUFFIX[suffix]
        rows = read_rows(path, columns, EXPECTED, is_photo, delimiters=delimiters)
    else:
        raise UsageError(f"{path}: {suffix or 'no suffix'}; {EXPECTED}")
    captions: dict[str, list[str]] = {}
    failures: dict[str, Failure] = {}
    for where, named, caption in rows:
        if not is_utf8(caption):
            raise UsageError(f"{where}: a caption that is no UTF-8; save the file as UTF-8")
        found = find_listed(named, path)
        if isinstance(found, Failure):
            failures[named] = found
        else:
            captions.setdefault(found.path, []).append(caption)
    pairs = [Pair(photo, tuple(dict.fromkeys(some))) for photo, some in captions.items()]
    return Pairs(pairs, list(failures.values()))


def _json_rows(path: str, columns: Columns) -> Iterator[tuple[str, str, str]]:
    keys = [one or name for one, name in zip(columns.chosen, columns.names, strict=True)]
    if keys[0] == keys[1]:
        raise UsageError(f"{' and '.join(columns.options)}: both {keys[0]}; name two keys")
    for number, line in enumerate(read_text(path, EXPECTED).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{where}: {error}; expected one object of JSON a line") from error
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in keys):
            raise UsageError(
                f'{where}: expected {{"{keys[0]}": "...", "{keys[1]}": "..."}}; say with'
                f" {' and '.join(columns.options)} how else they are called"
            )
        photo, caption = row[keys[0]], row[keys[1]].strip()
        check_filled((photo, caption), keys, where, EXPECTED)
        yield where, photo, caption
