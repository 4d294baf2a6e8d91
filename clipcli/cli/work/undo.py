"""Moved photographs back to where they were, as their log says."""

from __future__ import annotations

import logging
import os
import sys

from clipcli.cli import talk
from clipcli.cli.undo import UndoOptions
from clipcli.cli.work import progress
from clipcli.cli.work.tables import print_tables
from clipcli.errors import ExitCode, OutputError, StoppedError, UsageError
from clipcli.files.table import Row, Table, words
from clipcli.sorting.journal import NAME, Journal, locked_journal, read_journal
from clipcli.sorting.undo import to_take_back, why_not
from clipcli.sorting.undo import undo as taken_back

logger = logging.getLogger(__name__)


def undo(log: str, options: UndoOptions) -> int:
    if options.quiet:
        talk.leave_out_notes()
    folder = _folder(log)
    try:
        if options.dry_run:
            return _show(read_journal(folder))
        with locked_journal(folder) as journal:
            return _take_back(journal, options.quiet)
    except OSError as error:
        raise OutputError(f"{error.filename or log}: {error.strerror}") from error


def _folder(log: str) -> str:
    """The destination of the moves."""
    folder = log if os.path.isdir(log) else os.path.dirname(log) or os.curdir
    if not os.path.isdir(log) and os.path.basename(log) != NAME:
        raise UsageError(f"{log}: no log of moves; expected the {NAME} of a run, or its folder")
    if not os.path.isfile(os.path.join(folder, NAME)):
        raise UsageError(
            f"{log}: no log of moves there; expected the {NAME} that clipcli classify --move-to"
            " wrote, or its folder"
        )
    return folder


def _take_back(journal: Journal, quiet: bool) -> int:
    moves = to_take_back(journal)
    n_back = n_failed = 0
    try:
        with progress.of_files(len(moves), quiet) as advance:
            for move, why in taken_back(journal):
                if why:
                    n_failed += 1
                    logger.warning(f"{journal.target(move.files[0])}: not moved back: {why}")
                n_back += not why
                advance(n_failed)
    except (OutputError, StoppedError) as error:
        error.add_note(f"{n_back} moved back; run it again for the others")
        raise
    failed = f", {n_failed} could not be" if n_failed else ""
    logger.info(f"{n_back} moved back{failed}")
    return ExitCode.PARTLY_READ if n_failed else ExitCode.OK


def _show(journal: Journal) -> int:
    rows: list[Row] = []
    n_failed = 0
    for move in to_take_back(journal):
        photo = move.files[0]
        target, source = journal.target(photo), journal.source(move, photo)
        if why := why_not(journal, move):
            n_failed += 1
            logger.warning(f"{target}: would not be moved back: {why}")
        else:
            rows.append([target, source])
    table = Table((words("path"), words("to")), rows)
    print_tables([table], "table" if sys.stdout.isatty() else "csv")
    failed = f", {n_failed} could not be" if n_failed else ""
    logger.info(f"nothing was done; {len(rows)} would be moved back{failed}")
    return ExitCode.PARTLY_READ if n_failed else ExitCode.OK
