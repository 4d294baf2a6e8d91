"""What the cache knows; forgetting some of it, or all, after it was shown and agreed to."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from clipcli.cli import talk
from clipcli.cli.printing import print_line
from clipcli.cli.work.question import is_agreed
from clipcli.cli.work.tables import print_tables
from clipcli.embedding.cache import upkeep
from clipcli.embedding.cache.prune import forget, look
from clipcli.errors import CacheError, UsageError
from clipcli.files.table import Cell, Row, Table, count, number, words
from clipcli.files.table_text import TableFormat

logger = logging.getLogger(__name__)

N_FOLDERS_SHOWN = 10
N_NAMES_SHOWN = 3


def info(path: Path, is_there: bool, format: TableFormat) -> int:
    found = upkeep.info(path) if is_there else upkeep.Info(0, 0, [])
    columns = (
        words("model"),
        words("precision"),
        number("photos", "n_photos"),
        number("texts", "n_texts"),
        words("fingerprint"),
    )
    rows: list[Row] = [
        [
            model.name,
            model.precision,
            count(model.n_photos),
            count(model.n_texts),
            Cell(model.fingerprint[:12], (model.fingerprint,)),
        ]
        for model in found.models
    ]
    if format == "table":
        failed = f", {found.n_failed:,} known to be unreadable" if found.n_failed else ""
        size = f"{found.n_bytes / 1e6:,.1f} MB, {found.n_files:,} files known by path{failed}"
        print_line(f"{path}: {size if is_there else 'nothing is remembered yet'}")
    if is_there or format == "csv":
        print_tables([Table(columns, rows)], format)
    return 0


def prune(path: Path, below: Sequence[str], yes: bool, dry_run: bool, quiet: bool) -> int:
    if quiet:
        talk.leave_out_notes()
    if "" in below:  # it would be the working directory
        raise UsageError("--gone '': expected the name of a folder")
    found = look(path, below)
    if below and not found.n_known:
        logger.info(f"no file below {', '.join(below)} is known")
    _show_gone(found.gone)
    if found.kept:
        _show_kept(found.kept, is_named=bool(below))
    what = _counted(len(found.gone), found.n_embeddings)
    if dry_run:
        logger.info(f"{path}: {what} would be forgotten")
        return 0
    is_something = found.gone or found.n_embeddings
    if is_something and not yes and not is_agreed(f"forget what is known of {what}"):
        logger.info(f"{path}: nothing was forgotten")
        return 0
    done = forget(path, found.gone, is_named=bool(below))
    logger.info(f"{path}: {_counted(*done)} forgotten")
    return 0


def clear(path: Path, yes: bool, quiet: bool) -> int:
    if quiet:
        talk.leave_out_notes()
    n_bytes = upkeep.size_bytes(path)
    if (
        n_bytes
        and not yes
        and not is_agreed(f"{path}: remove {n_bytes / 1e6:,.1f} MB, {_in(path)}")
    ):
        logger.info(f"{path}: nothing was removed")
        return 0
    logger.info(f"{path}: {upkeep.clear(path) / 1e6:,.1f} MB freed")
    return 0


def _show_gone(gone: Sequence[str]) -> None:
    names = defaultdict(list)
    for path in sorted(gone):
        names[os.path.dirname(path)].append(os.path.basename(path))
    for folder, some in islice(names.items(), N_FOLDERS_SHOWN):
        logger.info(f"gone from {folder}: {_listed(some, N_NAMES_SHOWN)}")
    n_others = sum(map(len, islice(names.values(), N_FOLDERS_SHOWN, None)))
    if n_others:
        n_folders = len(names) - N_FOLDERS_SHOWN
        logger.info(f"gone from {n_folders:,} more folders: {n_others:,} more")


def _show_kept(kept: Mapping[str, int], is_named: bool) -> None:
    n_files = sum(kept.values())
    files = "1 file" if n_files == 1 else f"{n_files:,} files"
    folders = _listed(sorted(kept), N_NAMES_SHOWN)
    if is_named:
        logger.info(f"kept: {files} that cannot be looked at, in {folders}")
    else:
        logger.info(
            f"kept: {files} below what is not there, empty or not readable, as a disk that is not"
            f" connected: {folders}; clipcli cache prune --gone FOLDER forgets such a folder"
        )


def _listed(names: Sequence[str], n_shown: int) -> str:
    n_more = len(names) - n_shown
    return ", ".join(names[:n_shown]) + (f" and {n_more:,} more" if n_more > 0 else "")


def _counted(n_files: int, n_embeddings: int) -> str:
    files = "1 file that is gone" if n_files == 1 else f"{n_files:,} files that are gone"
    return f"{files} and {n_embeddings:,} embedding{'s' * (n_embeddings != 1)}"


def _in(path: Path) -> str:
    try:
        models = upkeep.info(path).models
    except CacheError:  # damaged, newer or in use
        return "in which nothing can be read"
    n_photos = sum(model.n_photos for model in models)
    n_texts = sum(model.n_texts for model in models)
    return f"embeddings of photographs: {n_photos:,}, of texts: {n_texts:,}"
